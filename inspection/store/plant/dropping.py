"""Removing old months: their parts, verdicts, reviews and alarms go, their counts stay.

count_before: parts, reviews ─▶ slots, tallies, as the pages do it
drop: is all of it counted? ─▶ which records go is noted ─▶ partitions and keys go, in one transaction
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import sqlalchemy as sa

from inspection.errors import StoreError
from inspection.store.config import StoreConfig
from inspection.store.plant.months import LOCK, Month, old
from inspection.store.plant.removed import note_alarms, note_month, note_removed
from inspection.store.web.access import WebStore
from inspection.store.web.counting import Counting
from inspection.store.web.counts import read_mark
from inspection.store.web.tables import changes
from inspection.store.web.tallies import tally_step

_AGAIN = 0.1
"""Seconds between two looks: what others are writing has to end first."""


def count_before(config: StoreConfig, before: str, *, patience: float = 60.0) -> None:
    """Count all parts and reviews of the months before this one, where the pages have not done it.

    Args:
        config: which plant.
        before: first month that need not be counted.
        patience: seconds without any progress after which it is given up.

    Raises:
        StoreError: they could not be counted, or the plant cannot be used.
    """
    store = WebStore(config)
    try:
        with store.read("looking what is to be counted") as connection:
            newest = _newest(connection, old(connection, before))
        _count_to(store, newest, patience)
    finally:
        store.close()


def _count_to(store: WebStore, newest: int, patience: float) -> None:
    counting, wait = Counting(store), threading.Event()
    reached, at = -1, time.monotonic()
    while True:
        more = counting.step(worth=0)
        while tally_step(store):
            pass
        with store.read("looking what was counted") as connection:
            mark = read_mark(connection).record
        if mark >= newest:
            return
        if mark > reached or more:
            reached, at = mark, time.monotonic()
        elif time.monotonic() - at > patience:
            raise StoreError(
                f"parts up to {newest} are to be counted before they go, and in {patience:.0f} s only "
                f"those up to {mark} could be: a transaction that began long ago is still open; end it, "
                "then try again"
            )
        else:
            wait.wait(_AGAIN)


def drop(connection: sa.Connection, before: str) -> list[Month]:
    """Remove the parts of all months before this one, with what was said of them; counts are kept.

    In the caller's transaction. What lies in the default partition stays.

    Returns:
        What was removed.

    Raises:
        StoreError: something of it is not counted yet, or `before` is no month that is over.
    """
    connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    connection.execute(sa.text("LOCK TABLE parts, verdicts IN ACCESS EXCLUSIVE MODE"))
    gone = old(connection, before)
    _check_counted(connection, gone, before)
    for month in gone:
        suffix = month.month.replace("-", "_")
        connection.execute(sa.text(f"DROP TABLE verdicts_{suffix}"))
        of_month = f"SELECT id FROM parts_{suffix}"  # noqa: S608  from the catalogue
        connection.execute(sa.text(f"CREATE TEMPORARY TABLE gone ON COMMIT DROP AS {of_month}"))
        note_removed(
            connection, sa.select(sa.column("id", sa.BigInteger)).select_from(sa.table("gone"))
        )
        connection.execute(sa.text("DELETE FROM reviews WHERE record IN (SELECT id FROM gone)"))
        connection.execute(sa.text(f"DROP TABLE parts_{suffix}"))
        connection.execute(sa.text("DELETE FROM part_keys WHERE id IN (SELECT id FROM gone)"))
        connection.execute(sa.text("DROP TABLE gone"))
    # who deletes reviews notes their half hours to be counted anew: what was counted is to stay
    connection.execute(sa.text("DELETE FROM changes WHERE slot < :before"), {"before": before})
    acknowledged = (
        "DELETE FROM alarm_acks WHERE alarm IN (SELECT id FROM alarms WHERE at < :before)"
    )
    for statement in (acknowledged, "DELETE FROM alarms WHERE at < :before"):
        connection.execute(sa.text(statement), {"before": before})
    note_alarms(connection)
    note_month(connection, before)
    return gone


def _check_counted(connection: sa.Connection, months: Sequence[Month], before: str) -> None:
    noted = sa.select(changes.c.id).where(changes.c.slot < before).limit(1)
    if (
        read_mark(connection).record < _newest(connection, months)
        or connection.execute(noted).first() is not None
    ):
        raise StoreError(
            f"parts before {before} came meanwhile and are not counted yet; nothing was removed, try again"
        )


def _newest(connection: sa.Connection, months: Sequence[Month]) -> int:
    """Return the highest id of the parts of these months; 0 without any."""
    names = [f"parts_{one.month.replace('-', '_')}" for one in months]
    found = [connection.execute(sa.text(f"SELECT max(id) FROM {n}")).scalar() for n in names]  # noqa: S608  from the catalogue
    return max([0, *(one for one in found if one is not None)])
