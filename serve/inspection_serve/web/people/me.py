"""The own account: password, PIN, sessions, and the terminal one sits at."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from inspection.store.rows import Values
from inspection.store.web import audit, people
from inspection.store.web.people import Person, Role
from inspection_serve.web.guard import IDLE, Needs, site_of
from inspection_serve.web.pages import page
from inspection_serve.web.people.answers import Me, NewPin, SessionRow
from inspection_serve.web.people.passwords import hash_secret, verify_secret, weakness
from inspection_serve.web.people.signing import (
    WINDOW,
    WRONG_OF_NAME,
    Signed,
    address_of,
    one_at_a_time,
    terminal_of,
)
from inspection_serve.web.people.words import ROLES

router = APIRouter()
Anybody = Annotated[Person, Depends(Needs(Role.VIEWER))]


@router.get("/people/me", include_in_schema=False)
def me(request: Request, person: Anybody, saved: bool = False) -> Response:
    """Show the own account."""
    return _show(request, person, saved=saved)


@router.post("/people/me/password", include_in_schema=False)
async def change_password(
    request: Request,
    person: Anybody,
    old: Annotated[str, Form()],
    password: Annotated[str, Form()],
) -> Response:
    """Change the own password; every other session of the person ends."""
    return await one_at_a_time(partial(_change_password, request, person, old, password))


def _change_password(request: Request, person: Person, old: str, password: str) -> Response:
    weak = weakness(password, person.name) or ("same" if password == old else "")
    if weak:
        return _show(request, person, error=weak, status=400)
    proven = _prove(request, person, old)
    if proven.error:
        status = 429 if proven.error == "limited" else 400
        return _show(request, person, error=proven.error, status=status)
    hashed = hash_secret(password)
    with site_of(request).store.write("a new password") as connection:
        people.change(connection, person.id, password=hashed, must_change=False)
        people.end_sessions(connection, person.id, but=person.session)
        audit.append(connection, person.name, "password.changed", f"person:{person.name}")
    return RedirectResponse("/people/me?saved=true", 303)


@router.get("/api/v1/me", tags=["me"])
def who_am_i(request: Request, person: Anybody) -> Me:
    """Give who asks, and where else they are signed in."""
    row, sessions = _read(request, person)
    return Me(
        name=person.name,
        display=person.display,
        role=person.role,
        language=person.language,
        terminal=person.terminal,
        has_pin=row["pin"] is not None,
        sessions=sessions,
    )


@router.post("/api/v1/me/sessions/end-others", status_code=204, tags=["me"])
def end_others(request: Request, person: Anybody) -> None:
    """End every session of the person but the one that asks."""
    with site_of(request).store.write("ending sessions") as connection:
        people.end_sessions(connection, person.id, but=person.session)
        audit.append(connection, person.name, "sessions.ended", f"person:{person.name}")


@router.post("/api/v1/me/pin", status_code=204, tags=["me"])
async def set_pin(request: Request, person: Anybody, body: NewPin) -> None:
    """Set the own PIN.

    400 `wrong`: that is not your password. 400 `simple`: one digit over and over, or a run of digits.
    409 `administrator`: an administrator has no PIN. 429 `limited`: too many wrong passwords.
    """
    if person.role is Role.ADMINISTRATOR:
        raise HTTPException(409, "administrator")
    if len(set(body.pin)) == 1 or body.pin in "01234567890" or body.pin in "09876543210":
        raise HTTPException(400, "simple")
    await one_at_a_time(partial(_set_pin, request, person, body))


def _set_pin(request: Request, person: Person, body: NewPin) -> None:
    proven = _prove(request, person, body.password)
    if proven.error:
        raise HTTPException(429 if proven.error == "limited" else 400, proven.error)
    hashed = hash_secret(body.pin)
    with site_of(request).store.write("a new PIN") as connection:
        people.change(connection, person.id, pin=hashed)
        people.note_sign_in(connection, person.name, address_of(request), "ok")
        audit.append(connection, person.name, "pin.set", f"person:{person.name}")


@router.post("/api/v1/me/pin/remove", status_code=204, tags=["me"])
def remove_pin(request: Request, person: Anybody) -> None:
    """Remove the own PIN."""
    with site_of(request).store.write("removing a PIN") as connection:
        people.change(connection, person.id, pin=None)
        audit.append(connection, person.name, "pin.removed", f"person:{person.name}")


def _prove(request: Request, person: Person, password: str) -> Signed:
    """Tell whether it is their password; wrong ones count like those of signing in."""
    store, address = site_of(request).store, address_of(request)
    with store.read("looking up a person") as connection:
        if people.wrong_since(connection, WINDOW, name=person.name) >= WRONG_OF_NAME:
            return Signed("", "limited")
        row = people.by_id(connection, person.id)
    if row is not None and verify_secret(password, row["password"]):
        return Signed("", "")
    with store.write("a wrong password") as connection:
        people.note_sign_in(connection, person.name, address, "wrong")
        subject = f"person:{person.name}"
        audit.append(connection, person.name, "sign_in.wrong", subject, at=address)
    return Signed("", "wrong")


def _read(request: Request, person: Person) -> tuple[Values, list[SessionRow]]:
    with site_of(request).store.read("reading the own account") as connection:
        row = people.by_id(connection, person.id) or {}
        found = people.sessions_of(connection, person.id, IDLE)
    sessions = [
        SessionRow.model_validate(
            {
                **one,
                "key": one["token_sha256"][:12],
                "is_this": one["token_sha256"] == person.session,
            }
        )
        for one in found
    ]
    return row, sessions


def _show(
    request: Request, person: Person, *, error: str = "", saved: bool = False, status: int = 200
) -> Response:
    row, sessions = _read(request, person)
    return page(
        request,
        "people/me.html",
        status=status,
        error=error,
        saved=saved,
        me=person,
        has_pin=row.get("pin") is not None,
        sessions=sessions,
        here=terminal_of(request),
        roles=ROLES,
    )
