"""Guard: who asks, whether they may, and whether the request is their own.

Every route names its guard: `Needs(role)` or `Public()`. A test reads them from the router, so a route
without one cannot be added unseen.

A request that changes something must come from our own page: the cookie is SameSite=Strict, the browser's
`Sec-Fetch-Site` and `Origin` must be ours, and the CSRF token of the session must be repeated, in the header
`X-CSRF-Token` or the form field `csrf`.

A program shows a key instead: see `machine.py`. A route answers keys only where its guard says `opens`.
"""

from __future__ import annotations

import hmac
import re
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from inspection.store.web import people
from inspection.store.web.people import Person, Role
from inspection_serve.web.cookies import SESSION_COOKIE, TERMINAL_COOKIE, cookie_at
from inspection_serve.web.machine import Machines, Opens, has_key
from inspection_serve.web.seen import Seen
from inspection_serve.web.site import Site

IDLE = 12 * 3600.0
"""Seconds after which an unused session ends: one long shift."""
SESSION = 7 * 86400.0
"""Seconds after which a session ends in any case."""
_SAFE = {"GET", "HEAD", "OPTIONS"}
_BEFORE_CHANGE = ("/people/me", "/sign-out")
"""What somebody may do who must choose a new password first."""
_POLLS = re.compile(r"/line/events|/api/v1/(reviews/news|line/[^/]+/picture|jobs/[^/]+(/log)?)")
"""What an open page asks by itself: that a page is open does not mean that somebody uses it."""


class SignInError(Exception):
    """Nobody is signed in: a page goes to the sign-in page, the API answers 401."""


class Public:
    """Guard of what everybody may see; requests that change something must come from our own page."""

    role: Role | None = None
    opens: Opens | None = None

    async def __call__(self, request: Request) -> Person | None:
        """Return who is signed in, if anybody. Raises HTTPException: a key was shown, see `machine`."""
        if has_key(request):
            return await run_in_threadpool(_machine, request, self.opens)
        if request.method not in _SAFE:
            check_origin(request)
        return await run_in_threadpool(signed_in, request)


class Needs:
    """Guard of what a role may do."""

    def __init__(self, role: Role, *, opens: Opens | None = None) -> None:
        """`opens` is what opens the route to keys of machines; None: nothing does."""
        self.role: Role | None = role
        self.opens = opens

    async def __call__(self, request: Request) -> Person:
        """Return who is signed in.

        Raises:
            SignInError: nobody.
            HTTPException: 403: they may not, or the request is not their own. Of a key: see `machine`.
        """
        if has_key(request):
            return await run_in_threadpool(_machine, request, self.opens)
        if request.method not in _SAFE:
            check_origin(request)
        person = await run_in_threadpool(signed_in, request)
        if person is None:
            raise SignInError
        if self.role is not None and not person.role.covers(self.role):
            raise HTTPException(403, "role")
        if request.method not in _SAFE:
            await _check_token(request, person)
        if person.must_change and not request.url.path.startswith(_BEFORE_CHANGE):
            raise HTTPException(403, "must_change")
        return person


def session_token(request: Request) -> str:
    """Return the token of the session that a browser shows; empty without one."""
    return request.cookies.get(own_cookie(request, SESSION_COOKIE), "")


def terminal_token(request: Request) -> str:
    """Return the token of the trusted terminal that a browser shows; empty without one.

    Terminals that were trusted before the port stood in the name show the bare name.
    """
    own = request.cookies.get(own_cookie(request, TERMINAL_COOKIE), "")
    return own or request.cookies.get(TERMINAL_COOKIE, "")


def own_cookie(request: Request, name: str) -> str:
    """Return a cookie's name at the address by which the browser asks."""
    return cookie_at(name, request.headers.get("host", ""))


def site_of(request: Request) -> Site:
    """Return the site of a request."""
    site: Site = request.app.state.site
    return site


def signed_in(request: Request) -> Person | None:
    """Return who is signed in; None when nobody is. Looked up once for each request.

    The first call reads the store: a guard makes it in a thread. That the session is in use is noted later.
    """
    if hasattr(request.state, "person"):
        found: Person | None = request.state.person
        return found
    token = "" if has_key(request) else session_token(request)
    person: Person | None = None
    if token:
        store = site_of(request).store
        with store.read("who is signed in") as connection:
            person = people.who_is(connection, token, IDLE)
    request.state.person = person
    is_poll = request.method in _SAFE and _POLLS.fullmatch(request.url.path) is not None
    if person is not None and not is_poll:
        seen: Seen = request.app.state.seen
        seen.note(person.session)
    return person


def is_still_signed_in(request: Request) -> bool:
    """Tell whether the session of a long answer still holds; looked up anew, and not noted as use."""
    token = session_token(request)
    with site_of(request).store.read("who is still signed in") as connection:
        return people.who_is(connection, token, IDLE) is not None


def _machine(request: Request, opens: Opens | None) -> Person:
    machines: Machines = request.app.state.machines
    request.state.person = None
    request.state.person = machines.admit(request, opens)
    return request.state.person


def check_origin(request: Request) -> None:
    """Refuse a request that another site's page made. Raises HTTPException 403."""
    fetched = request.headers.get("sec-fetch-site")
    if fetched is not None and fetched not in {"same-origin", "none"}:
        raise HTTPException(403, "origin")
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, "origin")


async def _check_token(request: Request, person: Person) -> None:
    given = request.headers.get("x-csrf-token")
    if given is None and "form" in request.headers.get("content-type", ""):
        value = (await request.form()).get("csrf")
        given = value if isinstance(value, str) else None
    if given is None or not hmac.compare_digest(given.encode(), person.csrf.encode()):
        raise HTTPException(403, "csrf")
