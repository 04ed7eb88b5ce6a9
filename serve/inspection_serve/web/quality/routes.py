"""The quality page: charts and the tables beside them; without scripts the tables and bars remain."""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from inspection.quality.intervals import round_down, round_up
from inspection.store.web import counts
from inspection.store.web.people import Person, Role
from inspection_serve.web.guard import Needs, site_of
from inspection_serve.web.pages import language_of, page
from inspection_serve.web.quality.asked import AskedQuery, shifts_of, summary_of
from inspection_serve.web.quality.positions import COLUMNS, ROWS, find_cell
from inspection_serve.web.reasons import reason_text

router = APIRouter(prefix="/quality", include_in_schema=False)
LISTED = 500
"""Parts of a place that are listed."""


@router.get("")
def quality(
    request: Request, person: Annotated[Person, Depends(Needs(Role.VIEWER))], asked: AskedQuery
) -> Response:
    """Show whether the station keeps its promise."""
    store, shifts = site_of(request).store, shifts_of(request)
    found, language = summary_of(request, asked), language_of(request)
    with store.read("what can be chosen") as connection:
        choices = counts.choices(connection)
    charts = {
        "per": found.per,
        "offset": _offset(found.until),
        "points": [point.model_dump() for point in found.points],
        "control": found.control.model_dump(),
    }
    return page(
        request,
        "quality/quality.html",
        asked=asked,
        found=found,
        shifts=shifts,
        may_set=person.role.covers(Role.ENGINEER),
        choices=choices,
        results=asked.results(),
        reason_text=reason_text,
        charts=json.dumps(charts, ensure_ascii=False).replace("<", "\\u003c"),
        at=found.at,
        up=lambda share: round_up(share, 4),
        down=lambda share: round_down(share, 4),
        number=cache(language.number),  # the tables say many numbers and times more than once
        percent=cache(language.percent),
        when=cache(language.when),
    )


@router.get("/cell")
def cell(
    request: Request,
    _: Annotated[Person, Depends(Needs(Role.VIEWER))],
    asked: AskedQuery,
    column: Annotated[int, Query(ge=1, le=COLUMNS, description="from 1")],
    row: Annotated[int, Query(ge=1, le=ROWS, description="from 1")],
) -> Response:
    """Show the parts that have a defect at one place of the picture."""
    wanted = asked.wanted(asked.period(shifts_of(request)))
    found = find_cell(site_of(request).store, wanted, column - 1, row - 1)
    return page(
        request,
        "quality/cell.html",
        asked=asked,
        column=column,
        row=row,
        rows=found,
        boxes=sum(one["boxes"] for one in found),
        shown=LISTED,
    )


def _offset(until: str) -> int:
    """Return how far the station's clock is ahead of UTC at the end of the time, seconds."""
    ahead = datetime.fromisoformat(until + ":00+00:00").astimezone().utcoffset()
    return 0 if ahead is None else int(ahead.total_seconds())
