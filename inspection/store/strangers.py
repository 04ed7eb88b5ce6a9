"""Pictures of a station that belong to no epoch of its store: another store wrote them, one that is gone.

A file lies in `STATION/EPOCH/…`, and a new store never gives an epoch again. Nothing here deletes: they may
be the only proof, or belong to a store that is put back.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from inspection.store.config import StoreConfig
from inspection.store.database import make_engine
from inspection.store.tables import epochs, parts

MOST = 200_000
"""Files looked at; a folder may hold millions."""


@dataclass(frozen=True, slots=True)
class Strangers:
    """Pictures that no row names.

    Attributes:
        folders: one for each epoch that the store does not know, in order.
        files: how many they hold; at least, from `MOST` on.
        size: bytes of these.
    """

    folders: tuple[Path, ...]
    files: int
    size: int

    def __str__(self) -> str:
        """Return it for people."""
        least = "at least " if self.files >= MOST else ""
        return (
            f"{least}{self.files} files, {self.size / 1e9:.1f} GB, in {len(self.folders)} folders of "
            f"{self.folders[0].parent} belong to no row of this store"
        )


def station_folder(station: str) -> str:
    """Return the name of a station's folder in the folder of the pictures."""
    return quote(station, safe="").replace(".", "%2E")


def find_strangers(config: StoreConfig, station: str) -> Strangers | None:
    """Return the station's pictures of epochs that the store does not know; None: there are none.

    Raises:
        SQLAlchemyError: the store cannot be read.
        OSError: the folder cannot be read.
    """
    top = config.images.folder / station_folder(station)
    if not top.is_dir():
        return None
    there = {int(path.name): path for path in top.iterdir() if path.name.isdigit()}
    engine = make_engine(config, read_only=True)
    try:
        with engine.connect() as connection, connection.begin():
            known = sa.select(epochs.c.epoch).where(epochs.c.station == station)
            for epoch in connection.execute(known).scalars():
                there.pop(epoch, None)
            for epoch in list(there):  # parts of the journal can be of an epoch that was lost
                row = sa.select(parts.c.id).where(
                    parts.c.station == station, parts.c.epoch == epoch
                )
                if connection.execute(row.limit(1)).first() is not None:
                    del there[epoch]
    finally:
        engine.dispose()
    found = [there[epoch] for epoch in sorted(there)]
    files, size = _measure(found)
    if not files:
        return None
    return Strangers(tuple(found), files, size)


def _measure(folders: list[Path]) -> tuple[int, int]:
    files = size = 0
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in names:
                files += 1
                size += os.lstat(os.path.join(place, name)).st_size
                if files >= MOST:
                    return files, size
    return files, size
