"""Trusted terminals, and changing the person there with a PIN, without leaving the page."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import Response

from inspection.store.web import audit, people, terminals
from inspection.store.web.people import Person, Role
from inspection_serve.web.cookies import TERMINAL_COOKIE
from inspection_serve.web.guard import Needs, Public, own_cookie, site_of, terminal_token
from inspection_serve.web.people.answers import (
    NewTerminal,
    Quick,
    QuickChange,
    QuickPerson,
    Terminal,
)
from inspection_serve.web.people.signing import (
    keep_session,
    one_at_a_time,
    terminal_of,
    with_pin,
)

router = APIRouter(prefix="/api/v1", tags=["terminals"])
_YEARS = 5 * 365 * 86400
_STATUS = {"terminal": 403, "pin_wrong": 401, "pin_locked": 429, "wrong": 401}


@router.get("/terminals")
def list_terminals(
    request: Request, _: Annotated[Person, Depends(Needs(Role.ENGINEER))]
) -> list[Terminal]:
    """Give the trusted terminals, by name."""
    with site_of(request).store.read("reading the terminals") as connection:
        return [Terminal.model_validate(row) for row in terminals.listing(connection)]


@router.post("/terminals", status_code=201)
def trust_terminal(
    request: Request,
    response: Response,
    person: Annotated[Person, Depends(Needs(Role.ENGINEER))],
    body: NewTerminal,
) -> Terminal:
    """Trust the browser that asks: a PIN is enough there. One of the same name is trusted no longer."""
    with site_of(request).store.write("trusting a terminal") as connection:
        terminals.move_session(connection, person.session, "")
        old = terminals.name_of(connection, terminal_token(request))
        if old and old != body.name:
            terminals.forget(connection, old)
        token = terminals.trust(connection, body.name, person.name)
        terminals.move_session(connection, person.session, body.name)
        audit.append(connection, person.name, "terminal.trusted", f"terminal:{body.name}")
        row = next(r for r in terminals.listing(connection) if r["name"] == body.name)
    response.set_cookie(
        own_cookie(request, TERMINAL_COOKIE),
        token,
        max_age=_YEARS,
        httponly=True,
        samesite="strict",
        secure=request.app.state.secure,
    )
    return Terminal.model_validate(row)


@router.post("/terminals/forget", status_code=204)
def forget_terminal(
    request: Request,
    person: Annotated[Person, Depends(Needs(Role.ENGINEER))],
    body: NewTerminal,
) -> None:
    """Trust a terminal no longer; the other sessions there end."""
    name = body.name
    with site_of(request).store.write("forgetting a terminal") as connection:
        if person.terminal == name:
            terminals.move_session(connection, person.session, "")
        if not terminals.forget(connection, name):
            raise HTTPException(404, "no_terminal")
        audit.append(connection, person.name, "terminal.forgotten", f"terminal:{name}")


@router.get("/switch")
def who_can_switch(request: Request, _: Annotated[Person | None, Depends(Public())]) -> Quick:
    """Give who can be changed to. 403 `terminal`: this is no trusted terminal."""
    terminal = terminal_of(request)
    if not terminal:
        raise HTTPException(403, "terminal")
    with site_of(request).store.read("reading the people") as connection:
        found = terminals.quick_people(connection)
    return Quick(terminal=terminal, people=[QuickPerson.model_validate(row) for row in found])


@router.post("/switch")
async def switch(
    request: Request,
    response: Response,
    _: Annotated[Person | None, Depends(Public())],
    body: QuickChange,
) -> QuickPerson:
    """Change the person with a PIN: the old session ends, a new one begins.

    401 `pin_wrong`. 403 `terminal`: this is no trusted terminal. 429 `pin_locked`: five wrong ones; sign in
    with the password.
    """
    return await one_at_a_time(partial(_switch, request, response, body))


def _switch(request: Request, response: Response, body: QuickChange) -> QuickPerson:
    signed = with_pin(request, body.name, body.pin)
    if signed.error:
        raise HTTPException(_STATUS[signed.error], signed.error)
    keep_session(request, response, signed.token)
    with site_of(request).store.read("reading the people") as connection:
        return QuickPerson.model_validate(people.find(connection, body.name))
