"""The PostgreSQL server is started again, or a backup is put in its place, under pages and upward."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from postgres_server import NoServerError, PostgresServer
from station_rig import Rig, free_port, until
from store_samples import inspected, trigger
from upward_peers import Receiver

from inspection.config import load_station
from inspection.errors import StoreError
from inspection.store.outbox import Outbox
from inspection.store.sql import SqlStore
from inspection.store.verify import verify
from inspection.store.web.access import WebStore
from inspection.store.web.counting import Filled
from inspection.types import Reason
from inspection_serve.upward.process import run
from inspection_serve.upward.sender import Backoff
from inspection_serve.web.line.watch import Watch
from inspection_serve.web.site import open_site


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this file alone: it is stopped here."""
    try:
        found = PostgresServer()
    except NoServerError as error:
        pytest.skip(str(error))
    yield found
    found.close()


class Plant:
    """A station on the server, the pages' look at it, and the process that tells it upward."""

    def __init__(self, folder: Path, server: PostgresServer, name: str, receiver: Receiver) -> None:
        rig = Rig(folder, store={"url": server.url(name)})
        rig.station["upward"] = [{"type": "webhook", "name": "mes", "url": receiver.url}]
        rig.station["upward_metrics_port"] = free_port()
        rig.write()
        self.config = load_station(folder / "station.yaml")
        self.receiver = receiver
        self.start_line()
        self.site = open_site(str(folder / "station.yaml"))
        self.watch = Watch(self.site)
        self.stop = threading.Event()
        backoff = Backoff(longest=1.0)
        self.upward = threading.Thread(target=run, args=(self.config, self.stop, backoff))
        self.upward.start()

    def start_line(self) -> None:
        self.line = SqlStore(self.config.store)
        self.line.tell_upward("test", {"mes": 600})
        self.line.close_open_parts("test", Reason.RESTART)
        self.epoch = self.line.begin_epoch("test", "start")

    def parts(self, first: int, last: int) -> None:
        for number in range(first, last + 1):
            self.line.decided(inspected(trigger(number, station="test", epoch=self.epoch)))

    def told(self) -> list[tuple[int, int]]:
        parts = [said for said in self.receiver.taken() if said["kind"] == "part"]
        return [(said["epoch"], said["sequence"]) for said in parts]

    def alarms(self) -> list[str]:
        look = self.watch.look()
        if look.store_down or "test" not in look.stations:
            return ["?"]
        return sorted(alarm.code for alarm in look.stations["test"].alarms if alarm.on)

    def close(self) -> None:
        self.stop.set()
        self.upward.join(20)
        self.site.close()
        self.line.close()


@pytest.fixture
def plant(tmp_path: Path, server: PostgresServer, request: Any) -> Iterator[Plant]:
    with Receiver() as receiver:
        found = Plant(tmp_path, server, request.node.name[-12:], receiver)
        yield found
        found.close()


def test_started_again(plant: Plant, server: PostgresServer) -> None:
    """Pages say that the store is away, then show what there is; every part is told, in order."""
    plant.parts(1, 3)
    plant.line.alarm("test", Reason.PLC_HEARTBEAT, "", True)
    until(lambda: plant.told() == [(1, n) for n in (1, 2, 3)], 30, "the first parts")
    until(lambda: plant.alarms() == ["PLC_HEARTBEAT"], 20, "the alarm")
    server.stop(kill=True)
    until(lambda: plant.watch.look().store_down, 30, "the pages say that the store is away")
    with pytest.raises(StoreError):
        plant.parts(4, 4)
    server.start()
    until(lambda: written(plant, 4), 60, "the line writes again")
    plant.parts(5, 6)
    until(lambda: plant.told() == [(1, n) for n in range(1, 7)], 60, "all of them")
    until(lambda: plant.alarms() == ["PLC_HEARTBEAT"], 60, "the pages show it again")


def written(plant: Plant, number: int) -> bool:
    """What the line's record stage does with a store that failed."""
    try:
        plant.line.recover()
        plant.parts(number, number)
    except StoreError:
        return False
    return True


@pytest.mark.parametrize("way", ["dump", pytest.param("files", marks=pytest.mark.soak)])
def test_restored(plant: Plant, server: PostgresServer, way: str) -> None:
    """The backup's rows are what the pages show; nothing that comes after it is skipped."""
    name = plant.config.store.database_url.rsplit("/", 1)[1]
    plant.parts(1, 3)
    until(lambda: plant.told() == [(1, 1), (1, 2), (1, 3)], 30, "the first parts")
    until(lambda: noted(plant, 3), 20, "noted")
    if way == "dump":
        server.dump(name, "backup")
    else:
        server.stop()
        server.keep_files()
        server.start()
        until(lambda: written(plant, 4), 60, "the line writes again")
    plant.parts(5, 9)
    plant.line.alarm("test", Reason.PLC_HEARTBEAT, "", True)
    plant.line.alarm("test", Reason.CAMERA_LOST, "", True)
    until(lambda: (1, 9) in plant.told(), 60, "parts after the backup")
    until(lambda: "PLC_HEARTBEAT" in plant.alarms(), 60, "alarms after the backup")
    plant.line.close()
    if way == "dump":
        server.restore(name, "backup")
    else:
        server.stop()
        server.put_back_files()
        server.start()
    plant.start_line()
    plant.line.alarm("test", Reason.RECIPE_NONE, "", True)
    plant.parts(1, 4)
    again = [(plant.epoch, n) for n in (1, 2, 3, 4)]
    until(lambda: set(again) <= set(plant.told()), 60, "parts of the restored store")
    assert [one for one in plant.told() if one in again] == again
    until(lambda: plant.alarms() == ["RECIPE_NONE"], 60, "the restored store's alarms alone")
    assert [one.code for one in verify(plant.config.store).findings if one.status == "breach"] == []


def noted(plant: Plant, number: int) -> bool:
    batch = Outbox(plant.site.store, "test", "mes").batch(1)
    return batch is not None and batch.delivered >= number and not batch.told


def test_what_was_taken_before_the_files_were_put_back(
    tmp_path: Path, server: PostgresServer
) -> None:
    """It could not be noted any more; in the backup the same ids are given to other messages."""
    rig = Rig(tmp_path, store={"url": server.url("taken")})
    rig.write()
    config = load_station(tmp_path / "station.yaml").store
    line = SqlStore(config, upward={"test": {"mes": 600.0}})
    line.begin_epoch("test", "start")
    pages, filled = WebStore(config), Filled()
    box = Outbox(pages, "test", "mes")
    assert box.batch(9) is not None
    line.close()
    server.stop()
    server.keep_files()
    server.start()
    line = SqlStore(config, upward={"test": {"mes": 600.0}})
    for number in range(1, 6):
        line.decided(inspected(trigger(number, station="test")))
    batch = box.batch(9)
    assert batch is not None
    assert [one.id for one in batch.told] == [1, 2, 3, 4, 5]
    for _ in range(2):
        with pages.read("a test") as connection:
            counted = filled.look(connection)
    assert counted >= 5
    line.close()
    server.stop()
    with pytest.raises(StoreError):
        box.save(batch, 5)
    server.put_back_files()
    server.start()
    line = SqlStore(config, upward={"test": {"mes": 600.0}})
    for number in range(1, 3):
        line.decided(inspected(trigger(number, station="test", epoch=2)))
    until(lambda: readable(pages), 60, "the pages read again")
    again = box.batch(9)
    assert again is not None
    assert [one.id for one in again.told] == [1, 2]
    with pages.read("a test") as connection:
        assert filled.look(connection) == 0  # not what the other rows had
    pages.close()
    line.close()


def readable(pages: WebStore) -> bool:
    try:
        with pages.read("a test"):
            return True
    except StoreError:
        return False
