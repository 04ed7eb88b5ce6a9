"""Signing in: one attempt at a time, counted before anybody can try again; always a new session."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import anyio
from fastapi import Request
from fastapi.responses import Response

from inspection.store.rows import Values
from inspection.store.web import audit, people, terminals
from inspection.store.web.people import SYSTEM
from inspection_serve.web.cookies import SESSION_COOKIE
from inspection_serve.web.guard import SESSION, own_cookie, signed_in, site_of, terminal_token
from inspection_serve.web.people.passwords import verify_secret
from inspection_serve.web.site import Site

if TYPE_CHECKING:
    from sqlalchemy import Connection

_Answer = TypeVar("_Answer")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,31}")
"""A login name: goes into rows and logs, so plain characters only."""
UNKNOWN = "?"
"""Noted for what cannot be a login name: people type passwords into the wrong field."""
WRONG_OF_NAME, WRONG_OF_ADDRESS, WINDOW = 8, 30, 900.0
"""So many wrong passwords within so many seconds, and the next is refused unseen."""
_ONE = anyio.CapacityLimiter(1)
"""Each attempt costs 64 MiB and some 50 ms: many at once would take the memory from the line."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What came of an attempt.

    Attributes:
        token: of the new session; empty when refused.
        error: `wrong`, `limited`, `terminal`, `pin_wrong` or `pin_locked`; empty when signed in.
    """

    token: str
    error: str


async def one_at_a_time(attempt: Callable[[], _Answer]) -> _Answer:
    """Run an attempt, and all that it reads and writes, in a thread when the one before has ended."""
    return await anyio.to_thread.run_sync(attempt, limiter=_ONE)


def with_password(request: Request, name: str, password: str) -> Signed:
    """Try a password."""
    site, address = site_of(request), address_of(request)
    name = name if NAME.fullmatch(name) else UNKNOWN
    if _is_limited(site, name, address):
        return Signed("", "limited")
    with site.store.read("looking up a person") as connection:
        row = people.find(connection, name)
    right = verify_secret(password, row["password"] if row and row["active"] else None)
    if row is None or not right:
        with site.store.write("a wrong password") as connection:
            people.note_sign_in(connection, name, address, "wrong")
            audit.append(connection, SYSTEM, "sign_in.wrong", f"person:{name}", at=address)
        if _is_limited(site, name, address):
            with site.store.write("too many wrong passwords") as connection:
                audit.append(connection, SYSTEM, "sign_in.limited", f"person:{name}", at=address)
        return Signed("", "wrong")
    return _new_session(request, row, "ok", "sign_in")


def with_pin(request: Request, name: str, pin: str) -> Signed:
    """Try a PIN; it counts at a trusted terminal only."""
    site, address = site_of(request), address_of(request)
    name = name if NAME.fullmatch(name) else UNKNOWN
    if not terminal_of(request):
        return Signed("", "terminal")
    with site.store.read("looking up a person") as connection:
        row = terminals.pin_of(connection, name)
        wrong = terminals.wrong_pins(connection, name)
    if wrong >= terminals.WRONG_PINS:
        return Signed("", "pin_locked")
    right = verify_secret(pin, row["pin"] if row else None)
    if row is None or not right:
        locked = wrong + 1 >= terminals.WRONG_PINS
        action = "pin.locked" if locked else "pin.wrong"
        with site.store.write("a wrong PIN") as connection:
            people.note_sign_in(connection, name, address, "pin_wrong")
            audit.append(connection, SYSTEM, action, f"person:{name}", at=address)
        return Signed("", "pin_locked" if locked else "pin_wrong")
    return _new_session(request, row, "pin_ok", "sign_in.pin")


def first_session(request: Request, connection: Connection, person: int) -> str:
    """Start a session for a person, end the one that this browser had, and return the token."""
    old = signed_in(request)
    if old is not None:
        people.end_session(connection, old.session)
    people.end_old_sessions(connection)
    terminal = terminals.name_of(connection, terminal_token(request))
    return people.start_session(connection, person, terminal, SESSION)[0]


def keep_session(request: Request, response: Response, token: str) -> Response:
    """Put the token into the browser's cookie."""
    response.set_cookie(
        own_cookie(request, SESSION_COOKIE),
        token,
        max_age=int(SESSION),
        httponly=True,
        samesite="strict",
        secure=request.app.state.secure,
    )
    return response


def address_of(request: Request) -> str:
    """Return the address that asks."""
    return request.client.host if request.client else ""


def terminal_of(request: Request) -> str:
    """Return the name of the trusted terminal that asks; empty for any other place."""
    token = terminal_token(request)
    if not token:
        return ""
    with site_of(request).store.read("looking for the terminal") as connection:
        return terminals.name_of(connection, token)


def _new_session(request: Request, row: Values, outcome: str, action: str) -> Signed:
    address, name = address_of(request), row["name"]
    with site_of(request).store.write("signing in") as connection:
        now = people.by_id(connection, row["id"])
        if now is None or not now["active"] or now["password"] != row["password"]:
            return Signed("", "wrong")  # changed while the hash was made
        people.note_sign_in(connection, name, address, outcome)
        token = first_session(request, connection, row["id"])
        audit.append(connection, name, action, f"person:{name}", at=address)
    return Signed(token, "")


def _is_limited(site: Site, name: str, address: str) -> bool:
    with site.store.read("counting attempts") as connection:
        return (
            people.wrong_since(connection, WINDOW, name=name) >= WRONG_OF_NAME
            or people.wrong_since(connection, WINDOW, address=address) >= WRONG_OF_ADDRESS
        )
