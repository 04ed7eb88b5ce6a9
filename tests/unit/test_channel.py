"""Channels: bounded, in order, and never a lost or a doubled item."""

from __future__ import annotations

import threading

import pytest

from inspection.channel import Channel, ChannelClosedError


def test_offer_keeps_nothing_when_full():
    channel: Channel[int] = Channel(1)
    assert channel.offer(1)
    assert not channel.offer(2)
    assert channel.get(0) == 1
    assert len(channel) == 0


def test_get_and_put_time_out():
    channel: Channel[int] = Channel(1)
    with pytest.raises(TimeoutError):
        channel.get(0.01)
    channel.put(1)
    with pytest.raises(TimeoutError):
        channel.put(2, 0.01)


def test_closing_gives_what_is_there_then_ends():
    channel: Channel[int] = Channel(2)
    channel.put(1)
    channel.close()
    channel.close()
    assert not channel.offer(2)
    with pytest.raises(ChannelClosedError):
        channel.put(2)
    assert channel.get() == 1
    with pytest.raises(ChannelClosedError):
        channel.get()


def test_closing_wakes_a_waiting_reader():
    channel: Channel[int] = Channel(1)
    ended = threading.Event()

    def read() -> None:
        with pytest.raises(ChannelClosedError):
            channel.get()
        ended.set()

    thread = threading.Thread(target=read)
    thread.start()
    channel.close()
    assert ended.wait(5)
    thread.join()


def test_many_writers_one_reader_lose_nothing():
    channel: Channel[int] = Channel(3)
    writers = [
        threading.Thread(target=lambda n=n: [channel.put(n * 1000 + i) for i in range(200)])
        for n in range(4)
    ]
    for writer in writers:
        writer.start()
    got = [channel.get(5) for _ in range(800)]
    for writer in writers:
        writer.join()
    assert sorted(got) == sorted(n * 1000 + i for n in range(4) for i in range(200))
    for n in range(4):
        assert [g for g in got if g // 1000 == n] == [n * 1000 + i for i in range(200)]


def test_capacity_is_positive():
    with pytest.raises(ValueError, match="capacity"):
        Channel(0)
