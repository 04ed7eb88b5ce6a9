"""Searching the results: newest first, page after page, quick also where nothing matches.

    what people said                   ─▶ go through `reviews`
    few parts have that id or serial   ─▶ look at those few
    station, decision, class …         ─▶ of each kind of part that matches take the newest, and merge
    only times                         ─▶ go through the index of times

A part's `kind` is its station, recipe, release, decision, reason and class in one text. There are some
hundred kinds, and the index `parts_kind` is stepped through from one to the next, so a combination that no
part has costs nothing. Pages go by key (`below`), never by offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from inspection.errors import InspectionError
from inspection.store.rows import Values
from inspection.store.tables import KINDS, MAX_RECORD, parts
from inspection.store.web.tables import reviews

FEW = 2000
"""So many parts of one id or serial are looked at one by one."""
_RANGE = 50_000
"""Parts whose serial begins alike of which the first and last time are looked up, and so many lots."""
_ARMS = 100
"""Kinds in one statement."""
_NEWEST = 60_000
"""Where very many kinds match, the newest parts are looked at first: most often they do."""
COUNTED = 1000
"""Up to here a search says how many parts it found."""
WAITING = ("open", "second", "engineer")
"""States of `reviews` that wait for a person."""
REVIEWED = ("waiting", "done", "none")
"""What `Search.review` may be: a person must still judge it, somebody did, nobody was asked."""
_PREFIX_END = "\U0010ffff"

SHOWN = tuple(
    parts.c[name]
    for name in (
        "id", "station", "epoch", "sequence", "state", "part_id", "serial", "recipe_number", "part_name",
        "release", "model_sha256", "decision", "reason", "defect_class", "deciding_score", "over_t1",
        "anomaly_score", "camera", "simulated", "triggered_at", "decided_at", "acknowledged_at",
        "triggered_mono", "decided_mono", "image_state",
    )
)  # fmt: skip
"""Columns of a row in a list and in an export."""


class SearchError(InspectionError):
    """What was asked for cannot be searched; the message says what to change.

    Attributes:
        text: English, with `{name}` places: a page translates it.
        values: what fills them.
    """

    def __init__(self, text: str, **values: object) -> None:
        super().__init__(text.format(**values))
        self.text, self.values = text, values


@dataclass(frozen=True, slots=True)
class Search:
    """Which parts are wanted; None means any.

    Attributes:
        part_id: as given by the PLC.
        serial: how the part serial or lot begins.
        since: triggered at or after this UTC text.
        until: triggered before this UTC text.
        station: name of the station.
        recipe_number: as the PLC asked for it.
        release: `PART/NUMBER`.
        decision: the machine's answer.
        reason: name of the deciding reason.
        defect_class: name of the deciding class.
        review: one of `REVIEWED`.
        verdict: the last one given. A first verdict that a second person must not know is no verdict yet.
    """

    part_id: int | None = None
    serial: str | None = None
    since: str | None = None
    until: str | None = None
    station: str | None = None
    recipe_number: int | None = None
    release: str | None = None
    decision: str | None = None
    reason: str | None = None
    defect_class: str | None = None
    review: str | None = None
    verdict: str | None = None


def find(
    connection: sa.Connection, wanted: Search, *, below: int | None = None, limit: int = 50
) -> list[int]:
    """Return record ids, newest trigger first; `below` is the last record of the page before.

    Raises:
        SearchError: there is no record `below`.
    """
    after = None if below is None else _place(connection, below)
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET LOCAL jit = off"))  # compiling takes longer than searching
    if wanted.verdict is not None or wanted.review in ("waiting", "done"):
        return _ids(connection, _reviewed(wanted, after).limit(limit))
    few, wanted = _narrow(connection, wanted)
    if few is not None:
        query = _scan(wanted, after).where(parts.c.id.in_(few))
        return _ids(connection, query.limit(limit)) if few else []
    if all(getattr(wanted, name) is None for name in KINDS):
        return _ids(connection, _scan(wanted, after).limit(limit))
    return _by_kind(connection, wanted, after, limit)


def rows(connection: sa.Connection, records: Sequence[int]) -> list[Values]:
    """Return `SHOWN` of these records in the order given, with the state and the verdict of the review."""
    query = (
        sa.select(
            *SHOWN, reviews.c.state.label("review"), _known(reviews.c.verdict).label("verdict")
        )
        .select_from(parts.outerjoin(reviews, reviews.c.record == parts.c.id))
        .where(parts.c.id.in_(records))
    )
    found = {row["id"]: dict(row) for row in connection.execute(query).mappings()}
    return [found[record] for record in records if record in found]


def page(
    connection: sa.Connection, wanted: Search, *, below: int | None = None, limit: int = 50
) -> tuple[list[Values], int | None]:
    """Return a page of rows, and how many parts match from here on: None says more than `COUNTED`."""
    records = find(connection, wanted, below=below, limit=max(limit, COUNTED) + 1)
    number = len(records) if len(records) <= COUNTED else None
    return rows(connection, records[:limit]), number


def choices(connection: sa.Connection) -> dict[str, list[str]]:
    """Return the values that there are of each of `KINDS`, sorted, for a form."""
    found: dict[str, set[str]] = {name: set() for name in KINDS}
    for kind in _kinds(connection):
        for name, value in (_values(kind) or {}).items():
            found[name].add(value)
    return {name: sorted(values - {""}, key=_natural) for name, values in found.items()}


def _natural(value: str) -> tuple[int, str]:
    return (int(value), value) if value.isascii() and value.isdigit() else (0, value)


def _ids(connection: sa.Connection, query: sa.Executable) -> list[int]:
    return [int(record) for record in connection.execute(query).scalars()]


def _kinds(connection: sa.Connection) -> list[str]:
    """Return every kind of part that there is: one step of the index for each."""
    first = sa.select(parts.c.kind).order_by(parts.c.kind).limit(1).scalar_subquery()
    known = sa.select(first.label("kind")).cte("known", recursive=True)
    following = (
        sa.select(parts.c.kind)
        .where(parts.c.kind > known.c.kind)
        .order_by(parts.c.kind)
        .limit(1)
        .correlate(known)
        .scalar_subquery()
    )
    known = known.union_all(sa.select(following).where(known.c.kind.is_not(None)))
    query = sa.select(known.c.kind).where(known.c.kind.is_not(None))
    return [str(kind) for kind in connection.execute(query).scalars()]


def _values(kind: str) -> dict[str, str] | None:
    """Return the values in a kind; None where one of them holds a `|` itself."""
    values = kind.split("|")[1:]
    return dict(zip(KINDS, values, strict=True)) if len(values) == len(KINDS) else None


def kinds_like(connection: sa.Connection, wanted: Search) -> list[str]:
    """Return the kinds of part that a search may find; those that cannot be told are left out."""
    return [kind for kind, doubtful in _matching(connection, _asked(wanted)) if not doubtful]


def _asked(wanted: Search) -> dict[str, str]:
    return {name: str(v) for name in KINDS if (v := getattr(wanted, name)) is not None}


def _matching(connection: sa.Connection, asked: dict[str, str]) -> list[tuple[str, bool]]:
    """Return the kinds that match, and of each whether its columns must be compared after all."""
    found: list[tuple[str, bool]] = []
    for kind in _kinds(connection):
        values = _values(kind)
        if values is None or all(values[name] == value for name, value in asked.items()):
            found.append((kind, values is None))
    return found


def _by_kind(
    connection: sa.Connection, wanted: Search, after: tuple[str, int] | None, limit: int
) -> list[int]:
    asked = _asked(wanted)
    matching = _matching(connection, asked)
    if len(matching) > _ARMS and connection.dialect.name == "sqlite":
        newest = _scan(replace(wanted, **dict.fromkeys(KINDS)), after, full=True).limit(_NEWEST)
        table = newest.subquery()
        query = sa.select(table.c.id).where(*(table.c[n] == getattr(wanted, n) for n in asked))
        found = _ids(connection, query.limit(limit))
        if len(found) == limit:
            return found
    places: list[tuple[str, int]] = []
    if connection.dialect.name == "postgresql":  # one plan for all kinds that can be told
        clear = [kind for kind, doubtful in matching if not doubtful]
        matching = [(kind, True) for kind, doubtful in matching if doubtful]
        places += _places(connection, _lateral(wanted, after, clear, limit))
    for start in range(0, len(matching), _ARMS):
        arms = [
            _arm(wanted, after, kind, asked if doubtful else {}).limit(limit).subquery()
            for kind, doubtful in matching[start : start + _ARMS]
        ]
        merged = sa.union_all(*(sa.select(arm.c.triggered_at, arm.c.id) for arm in arms))
        places += _places(connection, merged)
    return [record for _, record in sorted(places, reverse=True)[:limit]]


def _places(connection: sa.Connection, query: sa.Executable) -> list[tuple[str, int]]:
    return [(str(at), int(record)) for at, record in connection.execute(query)]


def _lateral(
    wanted: Search, after: tuple[str, int] | None, kinds: list[str], limit: int
) -> sa.Select[Any, Any]:
    """Return the query for the newest parts of each kind; PostgreSQL only."""
    named = (
        sa.func.unnest(sa.cast(kinds, postgresql.ARRAY(sa.Text)))
        .table_valued("kind")
        .render_derived("wanted")
    )
    newest = _scan(replace(wanted, **dict.fromkeys(KINDS)), after)
    newest = newest.where(parts.c.kind == named.c.kind).correlate(named)
    newest = newest.with_only_columns(parts.c.triggered_at, parts.c.id).limit(limit)
    table = newest.lateral()
    both = named.join(table, sa.true())
    query = sa.select(table.c.triggered_at, table.c.id).select_from(both)
    return query.order_by(table.c.triggered_at.desc(), table.c.id.desc()).limit(limit)


def _arm(
    wanted: Search, after: tuple[str, int] | None, kind: str, asked: dict[str, str]
) -> sa.Select[Any, Any]:
    """Return the query for the parts of one kind; `asked` is compared where the kind does not tell."""
    query = _scan(replace(wanted, **dict.fromkeys(KINDS)), after).where(parts.c.kind == kind)
    query = query.where(*(sa.cast(parts.c[name], sa.Text) == asked[name] for name in asked))
    return query.with_only_columns(parts.c.triggered_at, parts.c.id)


def _place(connection: sa.Connection, record: int) -> tuple[str, int]:
    at = None
    if 0 < record <= MAX_RECORD:
        at = connection.execute(
            sa.select(parts.c.triggered_at).where(parts.c.id == record)
        ).scalar()
    if at is None:
        raise SearchError("There is no record {record} to go on from; search again.", record=record)
    return str(at), record


def _narrow(connection: sa.Connection, wanted: Search) -> tuple[list[int] | None, Search]:
    """Return the only records that can match where these are few, and the search.

    A serial that many parts have narrows the times of the search instead.
    """
    probes: list[sa.ColumnElement[bool]] = []
    if wanted.part_id is not None:
        probes.append(parts.c.part_id == wanted.part_id)
    if wanted.serial:
        probes.append(_begins(connection, wanted.serial))
    for probe in probes:
        records = _ids(connection, sa.select(parts.c.id).where(probe).limit(FEW + 1))
        if len(records) <= FEW:
            return records, wanted
    if not wanted.serial:
        return None, wanted
    span = _span(connection, wanted.serial)
    if span is None:
        return None, wanted
    first, last = span
    since = first if wanted.since is None else max(first, wanted.since)
    end = last + _PREFIX_END  # `until` is not included, the last part is
    return None, replace(
        wanted, since=since, until=end if wanted.until is None else min(end, wanted.until)
    )


def _span(connection: sa.Connection, start: str) -> tuple[str, str] | None:
    """Return the first and last time of parts whose serial begins so; None where that takes long."""
    begins = _begins(connection, start)
    times = sa.select(parts.c.triggered_at).where(begins).limit(_RANGE + 1).subquery()
    at = times.c.triggered_at
    query = sa.select(sa.func.min(at), sa.func.max(at), sa.func.count())
    first, last, number = connection.execute(query).one()
    return (first, last) if number <= _RANGE else None


def _begins(connection: sa.Connection, start: str) -> sa.ColumnElement[bool]:
    """Return the condition that a serial begins so, as a range of the index `parts_serial`."""
    end = start + _PREFIX_END
    if connection.dialect.name == "postgresql":
        return sa.and_(parts.c.serial.bool_op("~>=~")(start), parts.c.serial.bool_op("~<~")(end))
    return (parts.c.serial >= start) & (parts.c.serial < end)


def _scan(wanted: Search, after: tuple[str, int] | None, *, full: bool = False) -> sa.Select[Any]:
    """Return the query for parts, newest first, with all of `KINDS` when `full`."""
    columns = [parts.c[name] for name in KINDS] if full else []
    query = sa.select(parts.c.id, *columns)
    query = query.where(*_times(wanted, after, parts.c.triggered_at, parts.c.id))
    for name in (*KINDS, "part_id"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(parts.c[name] == value)
    if wanted.serial:
        query = query.where(sa.func.substr(parts.c.serial, 1, len(wanted.serial)) == wanted.serial)
    if wanted.review == "none":
        query = query.where(~sa.exists().where(reviews.c.record == parts.c.id))
    return query.order_by(parts.c.triggered_at.desc(), parts.c.id.desc())


def _reviewed(wanted: Search, after: tuple[str, int] | None) -> sa.Select[int]:
    table = reviews.c
    query = sa.select(table.record).where(*_times(wanted, after, table.triggered_at, table.record))
    for name in KINDS:
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(table[name] == value)
    if wanted.verdict is not None:  # of whose verdict nobody must be told, none is known
        known = (*(state for state in WAITING if state != "second"), "done")
        query = query.where(table.state.in_(known), table.verdict == wanted.verdict)
    if wanted.review is not None:
        states = {"waiting": WAITING, "done": ("done",), "none": ()}[wanted.review]
        query = query.where(table.state.in_(states))
    if wanted.serial or wanted.part_id is not None:
        query = query.join(parts, parts.c.id == table.record)
        if wanted.part_id is not None:
            query = query.where(parts.c.part_id == wanted.part_id)
        if wanted.serial:
            begins = sa.func.substr(parts.c.serial, 1, len(wanted.serial)) == wanted.serial
            query = query.where(begins)
    return query.order_by(table.triggered_at.desc(), table.record.desc())


def _known(verdict: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return the verdict; nothing while a second person must judge without knowing the first."""
    return sa.case((reviews.c.state == "second", None), else_=verdict)


def _times(
    wanted: Search,
    after: tuple[str, int] | None,
    at: sa.ColumnElement[str],
    record: sa.ColumnElement[int],
) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if wanted.since is not None:
        found.append(at >= wanted.since)
    if wanted.until is not None:
        found.append(at < wanted.until)
    if after is not None:
        found += [at <= after[0], sa.or_(at < after[0], record < after[1])]
    return found
