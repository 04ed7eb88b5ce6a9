"""The JSON API of the line: state, picture, alarms, control, recipe."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from inspection.store.web import alarms, commands
from inspection.store.web.alarms import (
    LONGEST_SHELF,
    NG_RATE,
    OVERRULE_RATE,
    REPEATED_NG,
    Rules,
)
from inspection.store.web.commands import ControlHeldError, NoControlError
from inspection.store.web.people import Person, Role
from inspection_serve.web.guard import Needs, site_of
from inspection_serve.web.line.recipes import recipes_in
from inspection_serve.web.line.routes import Station, Viewer, known, watch_of
from inspection_serve.web.line.state import LiveState, read_picture
from inspection_serve.web.line.watch import StationLook
from inspection_serve.web.line.words import frame_age, standing

router = APIRouter(prefix="/api/v1", tags=["line"])
Operator = Annotated[Person, Depends(Needs(Role.OPERATOR))]
Engineer = Annotated[Person, Depends(Needs(Role.ENGINEER))]
_ROW = re.compile(r"row:([0-9]{1,18})")


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AlarmAnswer(BaseModel):
    """An alarm that is on, or gone and not acknowledged."""

    key: str = Field(description="names it in this API")
    code: str = Field(description="name of a reason, REPEATED_NG, NG_RATE or OVERRULE_RATE")
    on: bool = Field(description="its cause still holds")
    at: str = Field(description="UTC, when it came")
    detail: str = Field(description="as the line says; of a rule: its number")
    who: str = Field(description="who acknowledged it; empty for nobody")
    acknowledged_at: str | None = Field(description="UTC")
    note: str = Field(description="of the acknowledgement")
    shelved_until: str | None = Field(description="UTC; null when it is not put aside")


class ControlAnswer(BaseModel):
    """Who may send commands to a station."""

    who: str = Field(description="login name")
    since: str = Field(description="UTC")
    until: str = Field(description="UTC; it ends then unless it is used")
    mine: bool = Field(description="this session holds it")


class CommandAnswer(BaseModel):
    """What was asked of the line, and what became of it."""

    id: int = Field(description="of the command")
    number: int | None = Field(description="recipe asked for")
    who: str = Field(description="login name")
    at: str = Field(description="UTC, when it was asked")
    state: str = Field(description="asked, taken, done, refused or expired")
    answered_at: str | None = Field(description="UTC, when the line said so")
    detail: str | None = Field(description="release in force, or why not")


class DestinationAnswer(BaseModel):
    """How a destination stands that the station tells upward."""

    destination: str = Field(description="its name in the station file")
    waiting: int = Field(description="messages it does not have yet; 10000: that many or more")
    oldest_at: str | None = Field(description="UTC, when the oldest of them happened")
    quarantined: int = Field(description="messages it refused")
    attempts: int = Field(description="how often sending has failed in a row; 0: it is there")
    late: bool = Field(description="the oldest one waits longer than the station file allows")


class StationAnswer(BaseModel):
    """How a station stands."""

    name: str = Field(description="of the station")
    code: str = Field(description="ready, LINE_SILENT, LINE_STOPPED, or the reason's name")
    kind: str = Field(description="ready, waiting or fault")
    stale: bool = Field(description="the line says nothing any more: the rest is old")
    age: float | None = Field(description="seconds since the line's last news; null: never any")
    frame_age: float | None = Field(description="seconds since the last answer; null without one")
    live: LiveState | None = Field(description="as the line wrote it last")
    alarms: list[AlarmAnswer] = Field(description="newest first")
    control: ControlAnswer | None = Field(description="null: nobody holds it")
    command: CommandAnswer | None = Field(description="the newest command")
    upward: list[DestinationAnswer] = Field(description="whom it tells upward, by name")


class LineAnswer(BaseModel):
    """All stations of the store."""

    store: str = Field(description="what is wrong with the store; empty when it can be read")
    stations: list[StationAnswer] = Field(description="by name")


class RecipeAnswer(BaseModel):
    """A recipe file."""

    number: int = Field(description="what the line is asked for")
    release: str = Field(description="PART/NUMBER that it names")


class TakeControl(_Body):
    """Take the control of a station."""

    force: bool = Field(False, description="from who holds it; administrators only")


class AskRecipe(_Body):
    """Ask the line for a recipe."""

    number: int = Field(ge=1, le=65535, description="recipe number")


class Acknowledge(_Body):
    """Acknowledge an alarm."""

    note: str = Field("", max_length=500, description="what was found or done")
    minutes: int = Field(
        0, ge=0, le=int(LONGEST_SHELF / 60), description="put aside for so long; 0: not"
    )


class RulesBody(_Body):
    """When the answers themselves are an alarm; 0 switches a rule off."""

    repeated: int = Field(ge=0, le=1000, description="so many NG one after the other")
    rate_percent: float = Field(
        ge=0, le=100, allow_inf_nan=False, description="share of NG in percent"
    )
    window: int = Field(ge=1, le=500, description="among so many latest parts")
    overrule_percent: float = Field(
        ge=0, le=100, allow_inf_nan=False, description="share of overruled NG in percent"
    )
    overrule_window: int = Field(ge=1, le=500, description="among so many latest judged NG parts")


@router.get("/line")
def line(request: Request, person: Viewer) -> LineAnswer:
    """Return how all stations stand."""
    look = watch_of(request).look()
    return LineAnswer(
        store=look.store_down,
        stations=[_station(found, person) for found in look.stations.values()],
    )


@router.get("/line-rules")
def rules(request: Request, person: Viewer) -> RulesBody:
    """Return the rules of the computed alarms."""
    del person
    with site_of(request).store.read("the rules of alarms") as connection:
        found = alarms.rules(connection)
    return RulesBody(**asdict(found))


@router.post("/line-rules")
def change_rules(request: Request, person: Engineer, body: RulesBody) -> RulesBody:
    """Change the rules of the computed alarms."""
    with site_of(request).store.write("the rules of alarms") as connection:
        alarms.set_rules(connection, Rules(**body.model_dump()), person.name)
    watch_of(request).rules_changed()
    return body


@router.get("/line-recipes")
def recipes(request: Request, person: Viewer) -> list[RecipeAnswer]:
    """Return the readable recipe files; empty when their folder was not given."""
    del person
    found = recipes_in(site_of(request).recipes) or []
    return [RecipeAnswer(number=number, release=release) for number, release in found]


@router.get("/line/{station}")
def one_station(request: Request, station: Station, person: Viewer) -> StationAnswer:
    """Return how one station stands."""
    return _station(known(request, station), person)


@router.get(
    "/line/{station}/picture",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {}}, "description": "its comment holds boxes as JSON"},
        404: {"description": "no picture yet"},
    },
)
def picture(request: Request, station: Station, person: Viewer) -> Response:
    """Return the latest picture of a station, scaled down."""
    del person
    content = read_picture(site_of(request).live, station)
    if content is None:
        raise HTTPException(404, "no_picture")
    return Response(content, media_type="image/jpeg")


@router.post("/line/{station}/control")
def take_control(
    request: Request, station: Station, person: Engineer, body: TakeControl
) -> ControlAnswer:
    """Take the control of a station, or prolong it."""
    known(request, station)
    if body.force and not person.role.covers(Role.ADMINISTRATOR):
        raise HTTPException(403, "role")
    try:
        with site_of(request).store.write("taking control") as connection:
            commands.take_control(connection, station, person, force=body.force)
            held = commands.holder(connection, station)
    except ControlHeldError as error:
        raise HTTPException(409, "held") from error
    watch_of(request).refresh()
    if held is None:
        raise HTTPException(409, "held")
    return ControlAnswer(who=held.who, since=held.since, until=held.until, mine=True)


@router.post("/line/{station}/control/back")
def give_back(request: Request, station: Station, person: Engineer) -> dict[str, bool]:
    """Give the control back."""
    try:
        with site_of(request).store.write("giving control back") as connection:
            commands.give_back(connection, station, person)
    except NoControlError as error:
        raise HTTPException(409, "no_control") from error
    watch_of(request).refresh()
    return {"given_back": True}


@router.post("/line/{station}/recipe")
def ask_recipe(
    request: Request, station: Station, person: Engineer, body: AskRecipe
) -> CommandAnswer:
    """Ask the line for a recipe; needs the control. `command` of the station says what became of it."""
    known(request, station)
    try:
        with site_of(request).store.write("asking for a recipe") as connection:
            asked = commands.ask_recipe(connection, station, person, body.number)
            row = commands.find(connection, asked)
    except NoControlError as error:
        raise HTTPException(409, "no_control") from error
    watch_of(request).refresh()
    return _command(row or {})


@router.post("/line/{station}/alarms/{key}")
def acknowledge(
    request: Request,
    station: Station,
    key: Annotated[str, Path(max_length=40, description="of the alarm")],
    person: Operator,
    body: Acknowledge,
) -> dict[str, bool]:
    """Acknowledge an alarm, and put it aside for some time where asked."""
    alarm = next((found for found in known(request, station).alarms if found.key == key), None)
    if alarm is None:
        raise HTTPException(404, "no_alarm")
    seconds, row = body.minutes * 60.0, _ROW.fullmatch(key)
    with site_of(request).store.write("acknowledging an alarm") as connection:
        if row is not None:
            alarms.acknowledge(connection, int(row[1]), person.name, body.note, seconds)
        elif alarm.code in {REPEATED_NG, NG_RATE, OVERRULE_RATE}:
            newest = alarms.latest_parts(connection, station, 1)[0]["id"]
            alarms.acknowledge_computed(
                connection, station, alarm.code, newest, person.name, body.note, seconds
            )
    watch_of(request).refresh()
    return {"acknowledged": True}


def _station(look: StationLook, person: Person) -> StationAnswer:
    stands, held = standing(look), look.control
    return StationAnswer(
        name=look.name,
        code=stands.code,
        kind=stands.kind,
        stale=look.stale,
        age=look.age,
        frame_age=frame_age(look),
        live=look.state,
        alarms=[AlarmAnswer.model_validate(alarm, from_attributes=True) for alarm in look.alarms],
        control=None
        if held is None
        else ControlAnswer(
            who=held.who,
            since=held.since,
            until=held.until,
            mine=held.session == person.session,
        ),
        command=None if look.command is None else _command(look.command),
        upward=[DestinationAnswer.model_validate(one, from_attributes=True) for one in look.upward],
    )


def _command(row: dict[str, Any]) -> CommandAnswer:
    value = row["value"]
    number = value.get("number") if isinstance(value, dict) else None
    return CommandAnswer(
        id=row["id"],
        number=number if isinstance(number, int) else None,
        **{name: row[name] for name in ("who", "at", "state", "answered_at", "detail")},
    )
