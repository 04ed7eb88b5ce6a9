"""The quality page as JSON and CSV."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from inspection.store.web import settings
from inspection.store.web.people import Person, Role
from inspection_serve.web.guard import Needs, site_of
from inspection_serve.web.machine import Opens
from inspection_serve.web.quality.answers import Positions, Summary
from inspection_serve.web.quality.asked import AskedQuery, shifts_of, summary_of
from inspection_serve.web.quality.period import SHIFTS, Shift, read_shifts
from inspection_serve.web.quality.positions import find_positions
from inspection_serve.web.quality.tables import write_csv

router = APIRouter(prefix="/api/v1/quality", tags=["quality"])
Viewing = Annotated[Person, Depends(Needs(Role.VIEWER, opens=Opens.READING))]
Engineering = Annotated[Person, Depends(Needs(Role.ENGINEER))]


class ShiftAnswer(BaseModel):
    """A shift; it lasts until the next one starts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=32, description="as people call it")
    start: str = Field(pattern=r"^([01]\d|2[0-3]):(00|30)$", description="local time of day, 08:30")


@router.get("/summary")
def summary(request: Request, _: Viewing, asked: AskedQuery) -> Summary:
    """Give every number of the quality page but the places of defects."""
    return summary_of(request, asked)


@router.get("/positions")
def positions(request: Request, _: Viewing, asked: AskedQuery) -> Positions:
    """Give the places of defects of the latest flagged parts."""
    period = asked.period(shifts_of(request))
    return find_positions(site_of(request).store, asked.wanted(period))


@router.get("/tables/{name}.csv", response_class=Response)
def table(
    request: Request,
    _: Viewing,
    asked: AskedQuery,
    name: Annotated[
        Literal["time", "defects", "reasons", "estimates", "promises", "confusion", "control"],
        Path(description="which table"),
    ],
) -> Response:
    """Give a table of the page as CSV."""
    found = summary_of(request, asked)
    headers = {
        "Content-Disposition": f'attachment; filename="quality-{name}-{found.since[:10]}.csv"'
    }
    return Response(write_csv(name, found), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/shifts")
def get_shifts(request: Request, _: Viewing) -> list[ShiftAnswer]:
    """Give the shifts, by their start."""
    return [_answer(shift) for shift in shifts_of(request)]


@router.put("/shifts")
def put_shifts(
    request: Request, person: Engineering, wanted: list[ShiftAnswer]
) -> list[ShiftAnswer]:
    """Set the shifts; the change is audited."""
    shifts = read_shifts([one.model_dump() for one in wanted])
    value = [_answer(shift).model_dump() for shift in shifts]
    with site_of(request).store.write("setting the shifts") as connection:
        settings.change(connection, SHIFTS, value, person.name)
    return [_answer(shift) for shift in shifts]


def _answer(shift: Shift) -> ShiftAnswer:
    return ShiftAnswer(name=shift.name, start=f"{shift.start:%H:%M}")
