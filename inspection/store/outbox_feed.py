"""The outbox for who asks: messages in their order, from a place on that the asker remembers.

    GET … after=PLACE ─▶ is PLACE still the row it was? ─▶ rows after it, up to what is final ─▶ next PLACE

A place is `NUMBER-MARK`: the number of a row of the outbox and a hash of what can never change of it. A store
that was made anew or restored from a backup has another row there, or none, and the asker is told: going on
by the number alone would leave out what came in between, unseen.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from inspection.errors import InspectionError, StoreError
from inspection.store.final import Final, newest, see_each_commit
from inspection.store.outbox import Told, load
from inspection.store.rows import REPLACED
from inspection.store.tables import outbox, parts, verdicts
from inspection.store.web.access import WebStore
from inspection.store.web.place import Place, place_of
from inspection.store.web.wanted import SearchError

START = "0"
"""The place before the first message."""
TOLD_KINDS = ("part", "verdict", "alarm")
"""Kinds of messages."""
MOST = 10_000
"""Parts that one question may be about."""
_LOOKS, _BETWEEN = 3, 0.02
"""Looks for the end of those who write on PostgreSQL, and seconds between: they take a millisecond."""


class OtherStoreError(InspectionError):
    """The place is of another store, or of this one before a backup was restored."""


@dataclass(frozen=True, slots=True)
class About:
    """Which messages are wanted; None means any.

    Attributes:
        station: that tells.
        kinds: part, verdict, alarm; empty: none at all.
        part_id: as given by the PLC.
        serial: part serial or lot, whole.
        code: the part's own code, whole.
    """

    station: str | None = None
    kinds: Collection[str] | None = None
    part_id: int | None = None
    serial: str | None = None
    code: str | None = None

    @property
    def names_parts(self) -> bool:
        """Only messages of some parts are wanted."""
        return not (self.part_id is None and self.serial is None and self.code is None)


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Some messages.

    Attributes:
        told: oldest first.
        next: the place to go on from.
        more: there is more already; False: ask again later.
    """

    told: list[Told]
    next: str
    more: bool


class Feed:
    """Reads the outbox of a store. Safe in several threads; remembers nothing of who asks."""

    def __init__(self, store: WebStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._final = Final()
        self._place: Place = ()
        self._rest = threading.Event()

    def newest(self) -> str:
        """Return the place after the newest message: nothing that was told before follows it.

        Raises:
            StoreError: the store cannot be read; or nothing is known to be final yet.
        """
        file = self._store.file
        with self._store.read("reading the outbox") as connection:
            see_each_commit(connection)
            final = self._final_up_to(connection, file)
            if not final and newest(connection):  # the beginning would be told as new
                raise StoreError("somebody is writing to the outbox; ask again in a second")
            return _place_at(connection, final)

    def read(self, after: str, limit: int, about: About) -> FeedPage:
        """Return at most `limit` messages after a place, without gaps and none twice.

        Raises:
            OtherStoreError: `after` is no place of this store.
            SearchError: it is about more than `MOST` parts.
            StoreError: the store cannot be read.
        """
        file = self._store.file
        with self._store.read("reading the outbox") as connection:
            see_each_commit(connection)
            number = _checked(connection, after)
            final = max(number, self._final_up_to(connection, file))
            ids = _ids(connection, number, final, limit + 1, about)
            is_full = len(ids) > limit
            told = load(
                connection,
                sa.select(outbox).where(_is_one_of(connection, outbox.c.id, ids[:limit]))
                .order_by(outbox.c.id),
            )  # fmt: skip
            end = _place_at(connection, ids[limit - 1] if is_full else final)
            more = is_full or number < final < newest(connection)
        return FeedPage(told, after if end == START else end, more)

    def _final_up_to(self, connection: sa.Connection, file: Place) -> int:
        with self._lock:
            place = place_of(connection, file)
            if place != self._place:
                self._final, self._place = Final(), place
            final = self._final.up_to(connection)
            for _ in range(_LOOKS):
                if final >= newest(connection):
                    break
                self._rest.wait(_BETWEEN)
                final = self._final.up_to(connection)
            return final


def _checked(connection: sa.Connection, after: str) -> int:
    """Return the number of a place. Raises OtherStoreError."""
    if after == START:
        return 0
    number, _, mark = after.partition("-")
    found = load(connection, sa.select(outbox).where(outbox.c.id == int(number)))
    if not found or _mark(connection, found[0]) != mark:
        raise OtherStoreError(
            f"there is no message {after} here: the store was made anew, or a backup was restored; "
            "ask again from the first message, and drop what you have by `id` and `effectiveTimestamp`"
        )
    return int(number)


def _place_at(connection: sa.Connection, number: int) -> str:
    """Return the place of the last row up to a number."""
    last = sa.select(sa.func.max(outbox.c.id)).where(outbox.c.id <= number).scalar_subquery()
    found = load(connection, sa.select(outbox).where(outbox.c.id == last))
    return f"{found[0].id}-{_mark(connection, found[0])}" if found else START


def _mark(connection: sa.Connection, told: Told) -> str:
    """Return a hash of what can never change of a message in this store."""
    text = json.dumps(
        [told.id, told.station, told.kind, told.subject, told.version, _time_of(connection, told)]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _time_of(connection: sa.Connection, told: Told) -> str:
    """Return when that was so which a message tells; of a part, when this version of it was decided.

    A backup may hold a part before its decision: after a restore it has another one, at another time.
    """
    if told.row is None:
        return ""
    if told.kind != "part":
        return str(told.row["at"])
    times = sa.select(parts.c.decided_at, parts.c.late).where(parts.c.id == told.subject)
    try:
        row = connection.execute(times).one()
    except ValueError:  # damaged; `inspection verify` says so
        return ""
    before = [one for one in row.late or [] if one.get("why") == REPLACED]
    return str(before[-1]["decided_at"] if before and told.version == 1 else row.decided_at)


def _ids(connection: sa.Connection, after: int, final: int, limit: int, about: About) -> list[int]:
    """Return the first rows of the outbox that are wanted, in their order."""
    query = sa.select(outbox.c.id).where(outbox.c.id > after, outbox.c.id <= final)
    if about.station is not None:
        query = query.where(outbox.c.station == about.station)
    if about.kinds is not None and set(about.kinds) != set(TOLD_KINDS):
        # not by an index of the kind: SQLite would then read and sort all rows for the first few
        query = query.where((outbox.c.kind + "").in_(sorted(about.kinds)))
    if not about.names_parts:
        return list(connection.execute(query.order_by(outbox.c.id).limit(limit)).scalars())
    records = _records(connection, about)
    said = sa.select(verdicts.c.id).where(_is_one_of(connection, verdicts.c.record, records))
    subjects = {"part": records, "verdict": list(connection.execute(said).scalars())}
    found: list[int] = []
    for kind, subject in subjects.items():  # sorted here: else a walk over all rows in order of id
        of_them = (outbox.c.kind == kind, _is_one_of(connection, outbox.c.subject, subject))
        found += connection.execute(query.where(*of_them)).scalars()
    return sorted(found)[:limit]


def _records(connection: sa.Connection, about: About) -> list[int]:
    """Return the parts that are asked for. Raises SearchError: too many."""
    query = sa.select(parts.c.id).limit(MOST + 1)
    for name in ("part_id", "serial", "code"):
        value = getattr(about, name)
        if value is not None:
            query = query.where(parts.c[name] == value)
    found = list(connection.execute(query).scalars())
    if len(found) > MOST:
        raise SearchError(
            "More than {most} parts; ask for less of them, or read on with `after`.", most=MOST
        )
    return found


def _is_one_of(
    connection: sa.Connection, column: sa.Column[int], numbers: Sequence[int]
) -> sa.ColumnElement[bool]:
    if connection.dialect.name == "postgresql":
        return column == sa.any_(sa.cast(list(numbers), postgresql.ARRAY(sa.BigInteger)))
    given = sa.func.json_each(json.dumps(list(numbers))).table_valued("value", name="given")
    return column.in_(sa.select(given.c.value))
