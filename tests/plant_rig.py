"""A plant store on a real server, and stations that are forwarded to it."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from postgres_server import PostgresServer
from station_rig import Process, Rig
from store_samples import FAILED, PASSED, inspected, trigger, utc_now

from inspection.config import load_station
from inspection.store.database import make_engine
from inspection.store.outbox_standing import Standing, read_standings
from inspection.store.plant import database, months
from inspection.store.plant.source import PART_COLUMNS
from inspection.store.plant.tables import part_keys
from inspection.store.rows import Values
from inspection.store.sql import SqlStore
from inspection.store.tables import outbox, parts
from inspection_serve.upward.process import run
from inspection_serve.upward.sender import Backoff

QUICK = Backoff(first=0.1, longest=0.3)


def _template(server: PostgresServer) -> str:
    """A plant store that others are copied from: making one takes a second."""
    config = database.plant_config(server.url("plant_template"))
    database.init(config)
    return "plant_template"


class PlantStore:
    """A plant store of ours."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        name = "plant" + "".join(c for c in folder.name.lower() if c.isalnum())[-50:]
        self.url = server.url(name, like=_template(server))
        self.config = database.plant_config(self.url)
        self._plant = database.Plant(self.config)

    def __enter__(self) -> PlantStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._plant.close()

    def at(self, port: int) -> str:
        """The address through a proxy."""
        head, _, rest = self.url.partition("@127.0.0.1:")
        return f"{head}@127.0.0.1:{port}/{rest.partition('/')[2]}"

    def rows(self, query: sa.Executable) -> list[Values]:
        with self._plant.transaction("a test") as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def rows_of(self, table: str) -> list[Values]:
        return self.rows(sa.text(f"SELECT * FROM {table}"))

    def do(self, *statements: str) -> None:
        with self._plant.transaction("a test") as connection:
            for statement in statements:
                connection.execute(sa.text(statement))

    def months(self) -> dict[str, int]:
        with self._plant.transaction("a test") as connection:
            return {one.month: one.parts for one in months.overview(connection)}

    def parts(self, station: str) -> list[Values]:
        """Parts in the plant's order, with the record of the station as id."""
        query = (
            sa.select(*(parts.c[name] for name in PART_COLUMNS), part_keys.c.record.label("told"))
            .join(part_keys, part_keys.c.id == parts.c.id)
            .where(parts.c.station == station)
            .order_by(parts.c.id)
        )
        return [{**row, "id": row["told"]} for row in self.rows(query)]


class Station:
    """A station file with the plant as its destination, its store, written to as the line does."""

    def __init__(
        self, folder: Path, name: str, url: str, *, rig: Rig | None = None, **link: Any
    ) -> None:
        """With a `rig` a real line writes to the store, else we do."""
        folder.mkdir(exist_ok=True)
        self.rig = rig or Rig(folder, store={"busy_timeout": 10.0})
        self.name, self.folder, self.file = name, folder, folder / "station.yaml"
        self.rig.station["station"] = name
        self.rig.station["upward"] = [{"type": "plant", "name": "plant", "url": url, **link}]
        self.rig.write()
        self.config = load_station(self.file)
        if rig is None:
            self.open()

    def open(self) -> None:
        self.store = SqlStore(self.config.store)
        self.store.tell_upward(self.name, {"plant": 600.0})
        self.epoch, self.sequence = self.store.begin_epoch(self.name, "start"), 0

    def part(self, *, done: bool = True, **changes: Any) -> int:
        """One part as the line writes it; returns its sequence."""
        self.sequence += 1
        asked = trigger(self.sequence, station=self.name, epoch=self.epoch)
        part = inspected(asked, FAILED if self.sequence % 3 == 0 else PASSED, **changes)
        self.store.triggered(asked, 1)
        self.store.decided(part)
        if done:
            self.store.sent(asked.key, asked.seen_mono + 1, utc_now())
            self.store.acknowledged(asked.key, asked.seen_mono + 2, utc_now())
            self.store.images(asked.key, "shed", [])
        return self.sequence

    def parts(self, number: int) -> None:
        for _ in range(number):
            self.part()

    def start(self) -> Process:
        return Process(["upward", str(self.file)], self.folder / "upward.log")

    @contextlib.contextmanager
    def forwarding(self) -> Iterator[None]:
        """What `inspection upward` runs, in this process: it starts faster."""
        stop = threading.Event()
        thread = threading.Thread(target=run, args=(self.config, stop, QUICK))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(30)
            assert not thread.is_alive()

    def standing(self) -> Standing:
        (found,) = read_standings(self.config.store, self.name)
        return found

    def rows(self, query: sa.Executable) -> list[Values]:
        engine = make_engine(self.config.store, read_only=True)
        try:
            with engine.connect() as connection, connection.begin():
                return [dict(row) for row in connection.execute(query).mappings()]
        finally:
            engine.dispose()

    def told(self) -> list[Values]:
        """Whole parts in the order of the outbox."""
        query = (
            sa.select(*(parts.c[name] for name in PART_COLUMNS), parts.c.id.label("told"))
            .join(outbox, outbox.c.subject == parts.c.id)
            .where(outbox.c.kind == "part", outbox.c.version == 1)
            .order_by(outbox.c.id)
        )
        return self.rows(query)

    def do(self, *statements: str) -> None:
        engine = make_engine(self.config.store)
        with engine.connect() as connection, connection.begin():
            for statement in statements:
                connection.execute(sa.text(statement))
        engine.dispose()

    def restore(self, file: Path) -> None:
        """Put a copy in the place of the store, as somebody with a backup does."""
        self.store.close()
        for name in ("results.db-wal", "results.db-shm"):
            (self.folder / name).unlink(missing_ok=True)
        shutil.copy(file, self.rig.database)
        self.open()

    def copy(self) -> Path:
        """A backup of the store as it is now."""
        target = self.folder / "backup.db"
        source, backup = sqlite3.connect(self.rig.database), sqlite3.connect(target)
        source.backup(backup)
        source.close()
        backup.close()
        return target
