"""How the destinations stand that a station tells upward: for people, `doctor` and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from inspection.errors import StoreError
from inspection.store.config import StoreConfig
from inspection.store.database import make_engine, revision, store_error
from inspection.store.outbox import age_of
from inspection.store.quarantine import IS_HELD
from inspection.store.tables import (
    HEAD,
    alarms,
    outbox,
    outbox_delivery,
    outbox_quarantine,
    parts,
    verdicts,
)

COUNTED = 10_000
"""Waiting messages are counted up to here: a page asks every second."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a destination stands.

    Attributes:
        station: that tells it.
        destination: its name in the station file.
        waiting: messages it does not have yet; `COUNTED` means that many or more.
        oldest_at: UTC, when the oldest of them happened; None without one.
        quarantined: messages it refused.
        delivered_at: UTC, when it last took one; None: never.
        attempts: how often sending has failed in a row; 0: it is there.
        next_at: UTC, when it is tried again; None unless it is away.
        detail: why the last attempt failed; empty when it did not.
        late: the oldest one waits longer than the station file allows.
    """

    station: str
    destination: str
    waiting: int
    oldest_at: str | None
    quarantined: int
    delivered_at: str | None
    attempts: int
    next_at: str | None
    detail: str
    late: bool

    @property
    def oldest_age(self) -> float | None:
        """Seconds since the oldest waiting one happened; None without one."""
        if not self.oldest_at:
            return None
        age = age_of(self.oldest_at)
        return None if age is None else round(max(0.0, age), 1)


def standings(connection: sa.Connection, station: str | None = None) -> list[Standing]:
    """Return how every active destination stands, by station and name."""
    query = sa.select(outbox_delivery).where(outbox_delivery.c.active)
    if station is not None:
        query = query.where(outbox_delivery.c.station == station)
    order = (outbox_delivery.c.station, outbox_delivery.c.destination)
    return [_standing(connection, row) for row in connection.execute(query.order_by(*order)).all()]


def read_standings(config: StoreConfig, station: str) -> list[Standing]:
    """Return how a station's destinations stand; none where there is no store yet.

    Raises:
        StoreError: the store cannot be read, or is of another program.
    """
    path = config.sqlite_path
    if path is not None and not path.is_file():
        return []
    engine = make_engine(config, read_only=True)
    try:
        with engine.connect() as connection, connection.begin():
            found = revision(connection)
            if found != HEAD:
                raise StoreError(
                    f"the store is at migration {found}, not {HEAD}; start the line once"
                )
            return standings(connection, station)
    except SQLAlchemyError as error:
        raise store_error(error, config, "reading the outbox") from error
    finally:
        engine.dispose()


def _standing(connection: sa.Connection, row: sa.Row[tuple[object, ...]]) -> Standing:
    left = sa.select(outbox).where(outbox.c.station == row.station, outbox.c.id > row.delivered)
    some = left.with_only_columns(outbox.c.id).limit(COUNTED).subquery()
    held = sa.select(sa.func.count()).where(
        outbox_quarantine.c.station == row.station,
        outbox_quarantine.c.destination == row.destination,
        IS_HELD,
    )
    oldest_at = _oldest_at(connection, left)
    limit = (datetime.now(UTC) - timedelta(seconds=row.patience)).isoformat(timespec="microseconds")
    return Standing(
        station=row.station,
        destination=row.destination,
        waiting=int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()),
        oldest_at=oldest_at,
        quarantined=int(connection.execute(held).scalar_one()),
        delivered_at=row.delivered_at,
        attempts=int(row.attempts),
        next_at=row.next_at,
        detail=row.detail,
        late=oldest_at is not None and oldest_at < limit,
    )


def _oldest_at(connection: sa.Connection, left: sa.Select[tuple[object, ...]]) -> str | None:
    """Return when the oldest of these happened; None without one, or where its time is none.

    Only the time is read: a row may be damaged elsewhere, and people are told of the wait all the same.
    """
    oldest = connection.execute(left.order_by(outbox.c.id).limit(1)).first()
    if oldest is None:
        return None
    at = {"part": parts.c.decided_at, "verdict": verdicts.c.at, "alarm": alarms.c.at}[oldest.kind]
    found = connection.execute(sa.select(at).where(at.table.c.id == oldest.subject)).scalar()
    return found if found and age_of(found) is not None else None
