"""Partitions of the plant store: one for each month (UTC) in which parts were triggered.

part ─▶ its month's partition, made ahead by whoever writes ─▶ dropped whole when it is too old
  └──▶ the default partition: a time that makes no sense, lies far ahead, or before what was dropped
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from inspection.errors import StoreError
from inspection.store.plant.removed import dropped_before

TABLES = ("parts", "verdicts")
FIRST = "2020-01"
"""Months before this one make no sense: a clock was not set."""
_MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])")
LOCK = 7310581
"""Advisory lock of whoever makes or drops partitions."""
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


def wanted(times: Iterable[str], now: datetime | None = None) -> set[str]:
    """Return the months that need a partition before rows of these times are written.

    Args:
        times: when parts were triggered, as the store has it.
        now: UTC; this month and the next are always among them.
    """
    this = (now or datetime.now(UTC)).strftime("%Y-%m")
    latest = after(this)
    months = {time[:7] for time in times if _MONTH.fullmatch(time[:7])}
    return {this, latest} | {month for month in months if FIRST <= month <= latest}


def existing(connection: sa.Connection) -> set[str]:
    """Return the months that have partitions."""
    query = (
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = to_regclass('parts')"
    )
    names = connection.execute(sa.text(query)).scalars()
    return {n.removeprefix("parts_").replace("_", "-") for n in names} - {"default"}


def make(connection: sa.Connection, months: Iterable[str]) -> None:
    """Make partitions that are not there, in the caller's transaction; two may do it at once.

    A month that was dropped is not made again, and one of which rows lie in the default partition gets none:
    its rows go on to be kept there.
    """
    months = set(months)
    if not _missing(connection, months):
        return
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    for month in _missing(connection, months):
        try:
            with connection.begin_nested():
                for table in TABLES:
                    name = f"{table}_{month.replace('-', '_')}"
                    connection.execute(
                        sa.text(
                            f"CREATE TABLE {name} PARTITION OF {table}"
                            f" FOR VALUES FROM ('{month}') TO ('{after(month)}')"
                        )
                    )
        except IntegrityError:
            log.warning("month %s has no partition: rows of it lie in the default one", month)


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
