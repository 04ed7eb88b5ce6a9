"""Reading the store beside the running line, and the verdicts of people.

Every read is one short transaction: an open one would make SQLite's log grow. Pages go by key
(`below`), never by offset, so that page one thousand costs as much as page one.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from inspection.errors import StoreError
from inspection.store.config import StoreConfig
from inspection.store.database import discard, make_engine, revision, store_error
from inspection.store.rows import Values, utc_now
from inspection.store.tables import HEAD, alarms, parts, verdicts
from inspection.store.web.tables import reviews
from inspection.types import Decision, PartState, Verdict


class VersionConflictError(StoreError):
    """Someone else gave a verdict meanwhile: look at the part again before you give yours."""


@dataclass(frozen=True, slots=True)
class PartFilter:
    """Which parts a page shows; None means any.

    Attributes:
        station: name of the station.
        decision: the answer.
        state: how far the row came.
        part_id: as given by the PLC.
        serial: part serial or lot, exactly.
        since: `triggered_at` at or after this UTC text.
        until: `triggered_at` before this UTC text.
        unreviewed: only parts without a verdict.
    """

    station: str | None = None
    decision: Decision | None = None
    state: PartState | None = None
    part_id: int | None = None
    serial: str | None = None
    since: str | None = None
    until: str | None = None
    unreviewed: bool = False

    def clauses(self) -> list[sa.ColumnElement[bool]]:
        """Return the conditions, all of which must hold."""
        found: list[sa.ColumnElement[bool]] = []
        for name in ("station", "decision", "state", "part_id", "serial"):
            value = getattr(self, name)
            if value is not None:
                found.append(parts.c[name] == value)
        if self.since is not None:
            found.append(parts.c.triggered_at >= self.since)
        if self.until is not None:
            found.append(parts.c.triggered_at < self.until)
        if self.unreviewed:
            found.append(~sa.exists().where(verdicts.c.record == parts.c.id))
        return found


class StoreReader:
    """The store as pages and tests read it. Opens its own connections; safe in several threads."""

    def __init__(self, config: StoreConfig) -> None:
        """Check that there is a results store of this program's migration.

        Raises:
            StoreError: there is none, it cannot be read, or its tables are older or newer.
        """
        self._config = config
        path = config.sqlite_path
        if path is not None and not path.is_file():
            raise StoreError(f"there is no store at {path}; check the path, or start the line once")
        self._reading = make_engine(config, read_only=True)
        with self._read("opening") as connection:
            found = revision(connection)
        if found != HEAD:
            raise StoreError(
                f"the store's tables are at migration {found}, this program reads {HEAD}"
            )

    def __enter__(self) -> StoreReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release everything. May be called twice."""
        self._reading.dispose()

    def counts(self, wanted: PartFilter | None = None) -> dict[str, int]:
        """Return the number of parts by decision; `OPEN` counts those not decided yet."""
        query = sa.select(parts.c.decision, sa.func.count()).group_by(parts.c.decision)
        with self._read("counting parts") as connection:
            found = connection.execute(query.where(*(wanted or PartFilter()).clauses())).all()
        counted = dict.fromkeys([*(d.value for d in Decision), "OPEN"], 0)
        return counted | {decision or "OPEN": number for decision, number in found}

    def page(
        self, wanted: PartFilter | None = None, *, below: int | None = None, limit: int = 50
    ) -> list[Values]:
        """Return rows, newest first; `below` is the last record id of the page before."""
        query = sa.select(parts).where(*(wanted or PartFilter()).clauses())
        if below is not None:
            query = query.where(parts.c.id < below)
        query = query.order_by(parts.c.id.desc()).limit(max(1, min(limit, 1000)))
        with self._read("reading a page") as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def part(self, record: int) -> tuple[Values, list[Values]] | None:
        """Return a part's row and its verdicts, oldest first; None when there is none."""
        given = sa.select(verdicts).where(verdicts.c.record == record).order_by(verdicts.c.version)
        with self._read("reading a part") as connection:
            row = (
                connection.execute(sa.select(parts).where(parts.c.id == record)).mappings().first()
            )
            if row is None:
                return None
            return dict(row), [dict(verdict) for verdict in connection.execute(given).mappings()]

    def review_states(self, records: Sequence[int]) -> dict[int, str]:
        """Return where these parts stand in the review; those that are not in it are left out."""
        query = sa.select(reviews.c.record, reviews.c.state).where(reviews.c.record.in_(records))
        with self._read("reading reviews") as connection:
            return {int(row.record): str(row.state) for row in connection.execute(query)}

    def alarms(self, station: str | None = None, *, limit: int = 100) -> list[Values]:
        """Return the latest alarms, newest first."""
        query = sa.select(alarms).order_by(alarms.c.id.desc()).limit(limit)
        if station is not None:
            query = query.where(alarms.c.station == station)
        with self._read("reading alarms") as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def add_verdict(
        self,
        record: int,
        verdict: Verdict,
        who: str,
        *,
        version_seen: int,
        reason_code: str = "",
        comment: str = "",
    ) -> int:
        """Add what a person says of a part; return the verdict's version, from 1.

        Args:
            record: the part's record id.
            verdict: what they say.
            who: the signed-in person.
            version_seen: highest version the person saw; 0 when there was none.
            reason_code: a code from the reason list, may be empty.
            comment: free text, may be empty.

        Raises:
            VersionConflictError: someone else was faster.
            StoreError: there is no such part, it is not decided, or the row is not durable.
        """
        row: dict[str, Any] = {
            "record": record,
            "version": version_seen + 1,
            "verdict": verdict.value,
            "who": who,
            "at": utc_now(),
            "reason_code": reason_code,
            "comment": comment,
        }
        connection = None
        try:
            connection = make_engine(self._config).connect()
            with connection.begin():
                self._check_version(connection, record, version_seen)
                connection.execute(sa.insert(verdicts), row)
        except IntegrityError as error:
            raise _conflict(record) from error
        except SQLAlchemyError as error:
            raise store_error(error, self._config, f"part {record}: adding a verdict") from error
        finally:
            if connection is not None:
                discard(connection)
        return cast(int, row["version"])

    @staticmethod
    def _check_version(connection: sa.Connection, record: int, seen: int) -> None:
        state = connection.execute(sa.select(parts.c.state).where(parts.c.id == record)).scalar()
        if state is None or state == PartState.TRIGGERED:
            raise StoreError(f"part {record} is not in the store or not decided; reload the page")
        newest = sa.select(sa.func.max(verdicts.c.version)).where(verdicts.c.record == record)
        if (connection.execute(newest).scalar() or 0) != seen:
            raise _conflict(record)

    @contextmanager
    def _read(self, what: str) -> Generator[sa.Connection]:
        try:
            with self._reading.connect() as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            raise store_error(error, self._config, what) from error


def _conflict(record: int) -> VersionConflictError:
    return VersionConflictError(
        f"part {record}: someone gave another verdict meanwhile; look at it again, then give yours"
    )
