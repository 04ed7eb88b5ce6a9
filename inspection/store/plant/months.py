"""Partitions of the plant store: one for each month (UTC) in which parts were triggered.

part ─▶ its month's partition, made ahead by whoever writes ─▶ dropped whole when it is too old
  └──▶ the default partition: a time that makes no sense, or before what was dropped; a time that lies far
       ahead, until its month is made
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from inspection.errors import StoreError
from inspection.store.plant.removed import dropped_before

TABLES = ("parts", "verdicts")
FIRST = "2020-01"
"""Months before this one make no sense: a clock was not set."""
_MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])")
LOCK = 7310581
"""Advisory lock of whoever makes or drops partitions."""
SHORT_MS = 200
"""Milliseconds that pages and stations may wait for who makes a partition ahead."""
MOVED = 10_000
"""Rows that are moved out of the default partition while stations and pages wait."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Month:
    """One month's partitions.

    Attributes:
        month: as `2026-11`; `default` for the partition of times that make no sense.
        parts: rows of it.
        verdicts: rows of it.
        size: bytes of both, with indexes.
    """

    month: str
    parts: int
    verdicts: int
    size: int


def after(month: str) -> str:
    """Return the month after this one. Raises StoreError for what is no month."""
    found = _MONTH.fullmatch(month)
    if found is None:
        raise StoreError(f"{month!r} is no month; write it as 2026-11")
    year, number = int(found[1]), int(found[2])
    return f"{year + number // 12:04d}-{number % 12 + 1:02d}"


def ahead(now: datetime | None = None) -> set[str]:
    """Return the months that are made ahead: this one and the next, by UTC."""
    this = (now or datetime.now(UTC)).strftime("%Y-%m")
    return {this, after(this)}


def wanted(times: Iterable[str], now: datetime | None = None) -> set[str]:
    """Return the months that need a partition before rows of these times are written.

    Args:
        times: when parts were triggered, as the store has it.
        now: UTC; what lies after the next month lies in the default partition.
    """
    months = {time[:7] for time in times if _MONTH.fullmatch(time[:7])}
    return {month for month in months if FIRST <= month <= max(ahead(now))}


def existing(connection: sa.Connection) -> set[str]:
    """Return the months that have partitions."""
    query = (
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = to_regclass('parts')"
    )
    names = connection.execute(sa.text(query)).scalars()
    return {n.removeprefix("parts_").replace("_", "-") for n in names} - {"default"}


def make(connection: sa.Connection, months: Iterable[str], *, most: int | None = MOVED) -> None:
    """Make partitions that are not there, in the caller's transaction; two may do it at once.

    Made apart and then attached, so that nobody waits who reads single months only: who reads all of them,
    as a dump does, is waited for. Rows of the month that lie in the default partition, told by a clock that
    was ahead, move into it. A month that was dropped is not made again.

    Args:
        connection: of the plant.
        months: as `wanted` and `ahead` give them.
        most: rows to move at most; a month with more stays in the default partition. None: all.
    """
    months = set(months)
    if not _missing(connection, months):
        return
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    for month in _missing(connection, months):
        _make(connection, month, most)


def make_ahead(connection: sa.Connection) -> None:
    """Make the months of `ahead` where that needs no wait: others would wait behind it."""
    connection.execute(sa.text(f"SET LOCAL lock_timeout = '{SHORT_MS}ms'"))
    make(connection, ahead())


def make_due(connection: sa.Connection) -> None:
    """Make the months of `ahead` and those of which rows lie in the default partition, however many."""
    connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
    times = connection.execute(
        sa.text("SELECT DISTINCT substr(triggered_at, 1, 7) FROM parts_default")
    )
    make(connection, ahead() | wanted(times.scalars()), most=None)


def _make(connection: sa.Connection, month: str, most: int | None) -> None:
    bounds = {"first": month, "last": after(month)}
    here = "triggered_at >= :first AND triggered_at < :last"
    early = sa.text(f"SELECT count(*) FROM parts_default WHERE {here}")  # noqa: S608  constant
    if most is not None and connection.execute(early, bounds).scalar_one() > most:
        log.warning(
            "month %s has no partition: more than %d of its rows lie in the default one; inspection plant "
            "init moves them",
            month, most,
        )  # fmt: skip
        return
    names = {table: f"{table}_{month.replace('-', '_')}" for table in TABLES}
    for table, name in names.items():
        connection.execute(sa.text(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)"))
    # nobody adds to the default partitions from here on; attaching would lock them in the same way
    connection.execute(
        sa.text("LOCK TABLE parts_default, verdicts_default IN ACCESS EXCLUSIVE MODE")
    )
    for table, name in names.items():
        _move(connection, table, name, bounds)
        connection.execute(
            sa.text(
                f"ALTER TABLE {table} ATTACH PARTITION {name}"
                f" FOR VALUES FROM ('{month}') TO ('{bounds['last']}')"
            )
        )


def _move(connection: sa.Connection, table: str, name: str, bounds: dict[str, str]) -> None:
    """Move rows of a month out of the default partition; what people said is not changed by that."""
    here = "triggered_at >= :first AND triggered_at < :last"
    if not connection.execute(
        sa.text(f"SELECT EXISTS (SELECT 1 FROM {table}_default WHERE {here})"),  # noqa: S608  constant
        bounds,
    ).scalar_one():
        return
    given = connection.execute(
        sa.text(
            "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute WHERE attnum > 0"
            " AND attrelid = CAST(:table AS regclass) AND NOT attisdropped AND attgenerated = ''"
        ),
        {"table": table},
    ).scalar_one()
    connection.execute(sa.text(f"ALTER TABLE {table}_default DISABLE TRIGGER USER"))
    connection.execute(
        sa.text(
            f"WITH moved AS (DELETE FROM {table}_default WHERE {here} RETURNING *)"  # noqa: S608  from the catalogue
            f" INSERT INTO {name} ({given}) SELECT {given} FROM moved"
        ),
        bounds,
    )
    connection.execute(sa.text(f"ALTER TABLE {table}_default ENABLE TRIGGER USER"))


def _missing(connection: sa.Connection, months: set[str]) -> list[str]:
    first = dropped_before(connection)
    return sorted(month for month in months - existing(connection) if month >= first)


def overview(connection: sa.Connection) -> list[Month]:
    """Return all partitions, oldest month first, the default last."""
    return [_look(connection, name) for name in [*sorted(existing(connection)), "default"]]


def _look(connection: sa.Connection, month: str) -> Month:
    suffix = month.replace("-", "_")
    numbers = [
        int(connection.execute(sa.text(f"SELECT count(*) FROM {t}_{suffix}")).scalar_one())  # noqa: S608  from the catalogue
        for t in TABLES
    ]
    size = sum(
        int(
            connection.execute(
                sa.text("SELECT pg_total_relation_size(to_regclass(:name))"),
                {"name": f"{table}_{suffix}"},
            ).scalar_one()
        )
        for table in TABLES
    )
    return Month(month, numbers[0], numbers[1], size)


def old(connection: sa.Connection, before: str) -> list[Month]:
    """Return the months that `drop` would remove. Raises StoreError for what is no month, or not over."""
    if after(before) > after(datetime.now(UTC).strftime("%Y-%m")):
        raise StoreError(f"month {before} is not over yet; name this month or an earlier one")
    return [_look(connection, month) for month in sorted(existing(connection)) if month < before]
