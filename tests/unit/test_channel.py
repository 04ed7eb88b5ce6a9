"""Channels: bounded, in order, and never a lost or a doubled item."""

from __future__ import annotations

import threading
import time

import pytest

from inspection.channel import Channel, ChannelClosedError, Wake


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


def test_a_writer_waits_for_room_and_a_close_ends_its_wait():
    channel: Channel[int] = Channel(1)
    channel.put(1)
    ended: list[object] = []

    def write() -> None:
        channel.put(2)
        ended.append(2)
        with pytest.raises(ChannelClosedError):
            channel.put(3)
        ended.append(3)

    thread = threading.Thread(target=write)
    thread.start()
    assert channel.get(5) == 1
    for _ in range(1000):
        if ended:
            break
        time.sleep(0.005)
    assert ended == [2]
    channel.close()
    thread.join(5)
    assert ended == [2, 3]
    assert (len(channel), channel.get(0)) == (1, 2)
    assert len(channel) == 0


def test_every_reader_of_a_closed_channel_is_told():
    channel: Channel[int] = Channel(1)
    channel.close()
    for _ in range(3):
        with pytest.raises(ChannelClosedError):
            channel.get(0)
        assert len(channel) == 0


def test_news_before_the_wait_ends_it_and_is_taken_once():
    wake = Wake()
    wake.set()
    wake.set()
    assert wake.wait(0.0)
    assert not wake.wait(0.0)
    assert not wake.wait(0.01)


def test_news_ends_a_wait():
    wake = Wake()
    woken = threading.Event()
    thread = threading.Thread(target=lambda: wake.wait(60.0) and woken.set())
    thread.start()
    wake.set()
    assert woken.wait(5)
    thread.join()


def test_no_news_is_lost_between_two_threads():
    """Who counts before it sets is always seen: the last count of all is never slept through."""
    wake, counts = Wake(), [0, 0, 0]
    total = 2000

    def count(place: int) -> None:
        for _ in range(total):
            counts[place] += 1
            wake.set()

    threads = [threading.Thread(target=count, args=(place,)) for place in range(3)]
    for thread in threads:
        thread.start()
    while sum(counts) < 3 * total:
        assert wake.wait(5) or sum(counts) == 3 * total
    for thread in threads:
        thread.join()
