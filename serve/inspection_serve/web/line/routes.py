"""The pages of the line, and the one stream of events that every page listens to."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from inspection.errors import StoreError
from inspection.store.web import commands
from inspection.store.web.people import Person, Role
from inspection_serve.web.guard import Needs, is_still_signed_in, site_of
from inspection_serve.web.line.recipes import recipes_in
from inspection_serve.web.line.state import STATION, read_picture
from inspection_serve.web.line.watch import Look, StationLook, Watch
from inspection_serve.web.line.words import facts, fragment
from inspection_serve.web.pages import language_of, page
from inspection_serve.web.texts import Language

router = APIRouter(include_in_schema=False)
Viewer = Annotated[Person, Depends(Needs(Role.VIEWER))]
Station = Annotated[str, Path(pattern=STATION, description="name of the station")]
DETAIL = ("state", "counts", "parts", "alarms", "recipe")
STREAM = 60.0
"""Seconds of one stream; the browser then opens the next, and is asked again who it is."""
_LOOK_EVERY, _RETRY = 0.2, 250
_ASK_EVERY = 2.0
"""Seconds between two looks whether the person of a stream is still signed in."""


def watch_of(request: Request) -> Watch:
    """Return the watch of the site."""
    watch: Watch = request.app.state.line
    return watch


def known(request: Request, station: str) -> StationLook:
    """Return what is known of a station. Raises HTTPException 404."""
    found = watch_of(request).look().stations.get(station)
    if found is None:
        raise HTTPException(404, "no_station")
    return found


@router.get("/line")
def all_stations(request: Request, person: Viewer) -> HTMLResponse:
    """Show all stations."""
    del person
    look, language = watch_of(request).look(), language_of(request)
    pieces = {
        name: {"card": fragment("card", language, found)} for name, found in look.stations.items()
    }
    return page(request, "line/all.html", look=look, pieces=pieces)


@router.get("/line/events", response_class=EventSourceResponse)
async def events(
    request: Request,
    person: Viewer,
    station: Annotated[str | None, Query(pattern=STATION)] = None,
    cards: bool = False,
) -> AsyncIterator[ServerSentEvent]:
    """Tell how the stations stand, at every change and at least every second.

    Args:
        request: of the stream.
        person: who is signed in.
        station: of which the pieces of its page come along.
        cards: the cards of all stations come along.
    """
    watch, language = watch_of(request), language_of(request)
    look = await asyncio.to_thread(watch.look)
    ending: Callable[[], bool] = request.app.state.is_ending
    until, told, due = time.monotonic() + STREAM, -1, 0.0
    ask = time.monotonic() + _ASK_EVERY
    while time.monotonic() < until and not ending():
        look = watch.look()
        now = time.monotonic()
        if now >= ask:
            ask = now + _ASK_EVERY
            if not await asyncio.to_thread(_is_signed_in, request):
                return
        if look.number != told and now >= due:
            told, due = look.number, now + _LOOK_EVERY
            content = event_of(look, language, person, station=station, cards=cards)
            yield ServerSentEvent(raw_data=content, event="line", retry=_RETRY)
        await asyncio.sleep(_LOOK_EVERY)


def _is_signed_in(request: Request) -> bool:
    try:
        return is_still_signed_in(request)
    except StoreError:  # nobody can tell now; the stream says that the store is down
        return True


def event_of(
    look: Look, language: Language, person: Person, *, station: str | None, cards: bool
) -> str:
    """Return one event as JSON: facts of all stations, and the pieces of HTML that this page shows.

    It is made once for all browsers that show the same page in the same language; called from one thread.
    """
    mine = {
        name
        for name, found in look.stations.items()
        if found.control is not None and found.control.session == person.session
    }
    key = (language.code, station, cards, frozenset(mine))
    if key not in look.told:
        stations = []
        for name, found in look.stations.items():
            wanted = ("strip", *(("card",) if cards else ()), *(DETAIL if name == station else ()))
            pieces = {piece: fragment(piece, language, found) for piece in wanted}
            stations.append({**facts(name, found), "mine": name in mine, "html": pieces})
        content = {"store": look.store_down, "stations": stations}
        look.told[key] = json.dumps(content, ensure_ascii=False)
    return look.told[key]


@router.get("/line/{station}")
def one_station(request: Request, station: Station, person: Viewer) -> HTMLResponse:
    """Show one station."""
    found, language, site = known(request, station), language_of(request), site_of(request)
    watch = watch_of(request)
    return page(
        request,
        "line/station.html",
        name=station,
        look=watch.look(),
        pieces={piece: fragment(piece, language, found) for piece in DETAIL},
        has_picture=read_picture(site.live, station) is not None,
        engineer=person.role.covers(Role.ENGINEER),
        administrator=person.role.covers(Role.ADMINISTRATOR),
        recipes=recipes_in(site.recipes),
        rules=watch.rules,
        hold=commands.HOLD,
    )
