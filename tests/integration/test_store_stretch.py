"""The parts of one OPC UA job are found by their sequences, on SQLite and on PostgreSQL."""

from __future__ import annotations

import contextlib

from store_samples import PASSED, inspected, trigger

from inspection.store.config import StoreConfig
from inspection.store.following import Stretch, latest_parts, newest
from inspection.store.sql import SqlStore
from inspection.store.web.access import WebStore


def test_a_job_is_a_stretch_of_sequences(config: StoreConfig) -> None:
    with contextlib.closing(SqlStore(config)) as line:
        for epoch, sequence in ((1, 1), (1, 2), (1, 65535), (2, 1), (2, 2), (2, 3)):
            line.decided(inspected(trigger(sequence, epoch=epoch), PASSED))

    def found(stretch: Stretch) -> list[tuple[int, int]]:
        with store.read("looking") as connection:
            rows = latest_parts(connection, "st1", {}, stretch=stretch)
        return [(row["epoch"], row["sequence"]) for row in rows]

    with contextlib.closing(WebStore(config)) as store:
        with store.read("looking") as connection:
            last = newest(connection, "st1")
        first = last - 5
        assert found(Stretch(0, None, 1, 2)) == [(2, 2), (2, 1), (1, 2), (1, 1)]
        assert found(Stretch(first + 1, None, 65535, 2)) == [(2, 2), (2, 1), (1, 65535)]
        assert found(Stretch(0, first + 1, 1, 65535)) == [(1, 2), (1, 1)]
        assert found(Stretch(last, None, 1, 65535)) == []
