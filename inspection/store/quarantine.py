"""What destinations refused: looked at, sent again, or given up. Nothing leaves it by itself.

A row with an empty `why` lies in no quarantine: a plant took the message later, out of its order. It is kept
for a plant that is restored from a backup: see `outbox.Outbox.taken_late`.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from inspection.store.tables import outbox, outbox_quarantine
from inspection.store.web import audit

IS_HELD = outbox_quarantine.c.why != ""
"""Of a row: its message lies in quarantine."""


def send_again(connection: sa.Connection, station: str, destination: str) -> int:
    """Ask for everything in a destination's quarantine to be sent again; return how many."""
    change = sa.update(outbox_quarantine).where(
        outbox_quarantine.c.station == station,
        outbox_quarantine.c.destination == destination,
        IS_HELD,
    )
    return connection.execute(change.values(again=True)).rowcount


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that lies in quarantine.

    Attributes:
        message: its id in the outbox.
        kind: `part`, `verdict` or `alarm`.
        subject: id of what it tells of.
        at: when it was refused last, UTC.
        why: what the receiver said.
        again: somebody wants it sent once more.
    """

    message: int
    kind: str
    subject: int
    at: str
    why: str
    again: bool


def quarantined(connection: sa.Connection, station: str, destination: str) -> list[Refused]:
    """Return everything in a destination's quarantine, the oldest message first."""
    held = outbox_quarantine
    columns = (held.c.message, outbox.c.kind, outbox.c.subject, held.c.at, held.c.why, held.c.again)
    query = (
        sa.select(*columns)
        .join_from(held, outbox, outbox.c.id == held.c.message)
        .where(held.c.station == station, held.c.destination == destination, IS_HELD)
        .order_by(held.c.message)
    )
    return [Refused(*row) for row in connection.execute(query).all()]


def discard(
    connection: sa.Connection, station: str, destination: str, who: str, why: str
) -> list[int]:
    """Empty a destination's quarantine for good, with a row in the audit.

    Args:
        connection: inside a transaction that writes.
        station: whose outbox.
        destination: that will never get these messages.
        who: login name, as the audit knows it.
        why: in a person's words.

    Returns:
        The messages given up; what they tell of stays in the store.
    """
    held = outbox_quarantine
    here = (held.c.station == station, held.c.destination == destination, IS_HELD)
    gone = sa.delete(held).where(*here)
    messages = sorted(connection.execute(gone.returning(held.c.message)).scalars())
    if messages:
        named = {"station": station, "messages": messages, "why": why}
        audit.append(connection, who, "upward.discarded", f"destination:{destination}", **named)
    return messages
