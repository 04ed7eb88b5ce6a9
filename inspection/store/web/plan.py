"""The quickest way to what is wanted of the results: which rows are walked, and from when on.

Each count here stops at its limit and reads an index alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import sqlalchemy as sa

from inspection.store.tables import KINDS, MAX_RECORD, parts
from inspection.store.web import kinds as by_kind
from inspection.store.web.kinds import PARTS, REVIEWS, Place, Sorted, Span
from inspection.store.web.wanted import KNOWN, WAITING, Search, SearchError

SERIALS = 20_000
"""So many parts whose serials begin alike are sorted; the index of serials has their times."""
ROWS = 10_000
"""So many rows of the kinds that match are sorted: not more than one look compares."""
SPANNED = 500_000
"""Of so many parts whose serials begin alike the newest is looked up; a walk begins there."""
UNASKED = 60_000
"""So many parts are compared with all reviews, by indexes alone, to find those nobody was asked about."""
_PREFIX_END = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Plan:
    """How a search goes.

    Attributes:
        table: that is walked.
        kinds: of the table that match; the newest rows of them are what is wanted. None: walk.
        source: conditions on the rows that are walked, beside the span.
        ordered: the index of `source` is in the order of time: the newest need no sorting.
        unasked: only parts without a review.
        rest: what a kind does not tell is compared with each row.
    """

    table: Sorted
    span: Span
    wanted: Search
    kinds: list[str] | None
    rest: bool = False
    source: tuple[sa.ColumnElement[bool], ...] = ()
    ordered: bool = False
    unasked: bool = False

    @property
    def sorts(self) -> bool:
        """The rows are found by an index of another order, and sorted then."""
        return bool(self.source) and not self.ordered


def place_of(connection: sa.Connection, record: int) -> Place:
    """Return where a record stands in the order. Raises SearchError: there is none."""
    at = None
    if 0 < record <= MAX_RECORD:
        at = connection.execute(
            sa.select(parts.c.triggered_at).where(parts.c.id == record)
        ).scalar()
    if at is None:
        raise SearchError("There is no record {record} to go on from; search again.", record=record)
    return str(at), record


def make_plan(connection: sa.Connection, wanted: Search, below: int | None) -> Plan:
    """Return the quickest way to what is wanted, older than `below`. Raises SearchError."""
    if connection.dialect.name == "postgresql":  # compiling takes longer than searching
        connection.execute(sa.text("SET LOCAL jit = off"))
    after = None if below is None else place_of(connection, below)
    span = Span(wanted.since, wanted.until, after, wanted.first, wanted.last)
    asked = wanted.verdict is not None or wanted.review in ("waiting", "done")
    table = REVIEWS if asked else PARTS
    has_kind = asked or any(getattr(wanted, name) is not None for name in (*KINDS, "first", "last"))
    kinds = kinds_that_match(connection, table, wanted) if has_kind else None
    if wanted.code and kinds != []:  # its index is in the order of time
        return Plan(PARTS, span, wanted, None, rest=True, source=(parts.c.code == wanted.code,))
    if kinds == [] or not (wanted.serial or wanted.part_id is not None or wanted.review == "none"):
        return Plan(table, span, wanted, kinds)
    few, newest = _fewest(connection, wanted, span)
    if few is not None:
        return Plan(PARTS, span, wanted, None, rest=True, source=(few,))
    if kinds:
        alone = not wanted.serial and wanted.part_id is None
        most = UNASKED if alone else ROWS
        if by_kind.count(connection, table, kinds, span, most + 1) <= most:
            among = by_kind.among(connection, table, kinds)
            return Plan(table, span, wanted, None, rest=not alone, source=(among,), unasked=alone)
    span = _begun(connection, table, kinds, newest, span)
    if wanted.part_id is not None:
        has_id = (_has_id(wanted.part_id),)
        more = kinds is not None or bool(wanted.serial) or wanted.review == "none"
        return Plan(PARTS, span, wanted, None, rest=more, source=has_id, ordered=True)
    return Plan(table, span, wanted, None, rest=True)


def _begun(
    connection: sa.Connection,
    table: Sorted,
    kinds: list[str] | None,
    newest: str | None,
    span: Span,
) -> Span:
    """Return the span without the newest rows of which none can match."""
    last = (
        [] if kinds is None else [at for at, _ in by_kind.newest(connection, table, kinds, span, 1)]
    )
    last += [] if newest is None else [newest]
    if not last:
        return span
    end = min(last) + _PREFIX_END  # `until` is not included, that time is
    return replace(span, until=end if span.until is None else min(end, span.until))


def _fewest(
    connection: sa.Connection, wanted: Search, span: Span
) -> tuple[sa.ColumnElement[bool] | None, str | None]:
    """Return the id or the serial, where few parts have it; and the newest time of the serial, if known."""
    found: list[tuple[int, sa.ColumnElement[bool]]] = []
    newest = None
    if wanted.part_id is not None:
        has_id = _has_id(wanted.part_id)
        found.append((_number(connection, has_id, span, SERIALS)[0], has_id))
    if wanted.serial:
        begins = _begins(connection, wanted.serial)
        number, last = _number(connection, begins, span, SPANNED)
        found.append((number, begins))
        newest = last if number <= SPANNED else None
    number, fewest = min(found, key=lambda one: one[0], default=(SERIALS + 1, None))
    return (fewest if number <= SERIALS else None), newest


def _number(
    connection: sa.Connection, where: sa.ColumnElement[bool], span: Span, most: int
) -> tuple[int, str | None]:
    """Return how many parts there are, more than `most` stands for more; and the newest time of those."""
    inner = sa.select(parts.c.triggered_at).where(where, *span.of(PARTS)).limit(most + 1).subquery()
    query = sa.select(sa.func.count(), sa.func.max(inner.c.triggered_at))
    number, newest = connection.execute(query).one()
    return int(number), newest


def _has_id(part_id: int) -> sa.ColumnElement[bool]:
    return parts.c.part_id == part_id


def _begins(connection: sa.Connection, start: str) -> sa.ColumnElement[bool]:
    """Return the condition that a serial begins so, as a range of the index `parts_serial`."""
    end = start + _PREFIX_END
    if connection.dialect.name == "postgresql":
        return sa.and_(parts.c.serial.bool_op("~>=~")(start), parts.c.serial.bool_op("~<~")(end))
    return (parts.c.serial >= start) & (parts.c.serial < end)


def kinds_that_match(connection: sa.Connection, table: Sorted, wanted: Search) -> list[str]:
    """Return the kinds of a table's rows that match."""
    asked = {name: str(v) for name in KINDS if (v := getattr(wanted, name)) is not None}
    states: tuple[str, ...] | None = None
    if table is REVIEWS:
        states = {"waiting": WAITING, "done": ("done",), "none": ()}.get(wanted.review or "")
        if wanted.verdict is not None:
            asked["verdict"] = wanted.verdict
            states = tuple(state for state in KNOWN if states is None or state in states)
    found: list[str] = []
    for kind in by_kind.all_kinds(connection, table):
        values = by_kind.values_of(table, kind)
        if all(values[name] == value for name, value in asked.items()) and (
            states is None or values["state"] in states
        ):
            found.append(kind)
    return found
