"""First start, signing in and out, language."""

from __future__ import annotations

import hmac
from functools import partial
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from inspection.store.web import audit, people
from inspection.store.web.people import Person, Role
from inspection_serve.web.cookies import LANGUAGE_COOKIE, SESSION_COOKIE
from inspection_serve.web.guard import Needs, Public, own_cookie, signed_in, site_of
from inspection_serve.web.pages import AREAS, page
from inspection_serve.web.people.passwords import hash_secret, weakness
from inspection_serve.web.people.signing import (
    NAME,
    first_session,
    keep_session,
    one_at_a_time,
    terminal_of,
    with_password,
)
from inspection_serve.web.texts import LANGUAGES

router = APIRouter()
_YEAR = 365 * 86400


@router.get("/", include_in_schema=False)
def start(request: Request, _: Annotated[Person | None, Depends(Public())]) -> Response:
    """Go to the first area of the person."""
    person = signed_in(request)
    if person is None:
        is_first = bool(site_of(request).look_for_people())
        return RedirectResponse("/setup" if is_first else "/sign-in", 303)
    for path, _name, role in AREAS:
        if person.role.covers(role):
            return RedirectResponse(path, 303)
    return RedirectResponse("/people/me", 303)


@router.get("/setup", include_in_schema=False)
def setup_page(
    request: Request, _: Annotated[Person | None, Depends(Public())], code: str = ""
) -> Response:
    """Show the form of the first administrator, once."""
    if not site_of(request).look_for_people():
        return RedirectResponse("/sign-in", 303)
    return page(request, "people/setup.html", code=code, error="", name="", display="")


@router.post("/setup", include_in_schema=False)
def setup(
    request: Request,
    _: Annotated[Person | None, Depends(Public())],
    code: Annotated[str, Form()],
    name: Annotated[str, Form()],
    password: Annotated[str, Form()],
    display: Annotated[str, Form()] = "",
) -> Response:
    """Make the first administrator and sign them in."""
    site = site_of(request)
    error = ""
    if not site.setup_code:
        return RedirectResponse("/sign-in", 303)
    if not hmac.compare_digest(code.encode(), site.setup_code.encode()):
        error = "code"
    elif not NAME.fullmatch(name) or name.lower() == people.SYSTEM:
        error = "name"
    else:
        error = weakness(password, name) or ""
    if error:
        return page(
            request,
            "people/setup.html",
            status=400,
            code=code,
            error=error,
            name=name,
            display=display,
        )
    language = site.texts.choose(
        request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language")
    )
    hashed = hash_secret(password)
    with site.store.write("adding the first administrator") as connection:
        people.lock(connection)
        if people.any_person(connection):
            site.setup_code = ""
            return RedirectResponse("/sign-in", 303)
        person = people.add(
            connection,
            name,
            shown_name(display) or name,
            Role.ADMINISTRATOR,
            language.code,
            hashed,
            must_change=False,
        )
        audit.append(connection, name, "person.first", f"person:{name}")
        token = first_session(request, connection, person)
    site.setup_code = ""
    return keep_session(request, RedirectResponse("/", 303), token)


@router.get("/sign-in", include_in_schema=False, name="sign_in_page")
def sign_in_page(
    request: Request,
    _: Annotated[Person | None, Depends(Public())],
    next: str = "/",
) -> Response:
    """Show the sign-in form."""
    if site_of(request).look_for_people():
        return RedirectResponse("/setup", 303)
    return page(
        request,
        "people/sign_in.html",
        error="",
        name="",
        next=_inside(next),
        terminal=terminal_of(request),
    )


@router.post("/sign-in", include_in_schema=False)
async def sign_in(
    request: Request,
    _: Annotated[Person | None, Depends(Public())],
    name: Annotated[str, Form()],
    password: Annotated[str, Form()],
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Sign in with a password; always with a new session."""
    return await one_at_a_time(partial(_sign_in, request, name, password, next))


def _sign_in(request: Request, name: str, password: str, next: str) -> Response:
    signed = with_password(request, name, password)
    if not signed.error:
        return keep_session(request, RedirectResponse(_inside(next), 303), signed.token)
    return page(
        request,
        "people/sign_in.html",
        status=429 if signed.error == "limited" else 401,
        error=signed.error,
        name=name,
        next=_inside(next),
        terminal=terminal_of(request),
    )


@router.post("/sign-out", include_in_schema=False)
def sign_out(request: Request, person: Annotated[Person, Depends(Needs(Role.VIEWER))]) -> Response:
    """End the session."""
    with site_of(request).store.write("signing out") as connection:
        people.end_session(connection, person.session)
        audit.append(connection, person.name, "sign_out", f"person:{person.name}")
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(own_cookie(request, SESSION_COOKIE))
    return response


@router.post("/language", include_in_schema=False)
def choose_language(
    request: Request,
    _: Annotated[Person | None, Depends(Public())],
    language: Annotated[str, Form()],
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Keep the language in a cookie, and for the person who is signed in."""
    response = RedirectResponse(_inside(next), 303)
    if language in LANGUAGES:
        response.set_cookie(
            LANGUAGE_COOKIE,
            language,
            max_age=_YEAR,
            samesite="lax",
            httponly=True,
            secure=request.app.state.secure,
        )
        person = signed_in(request)
        if person is not None:
            with site_of(request).store.write("a language") as connection:
                people.change(connection, person.id, language=language)
    return response


def shown_name(text: str) -> str:
    """Return a name for the pages: one line without control characters, at most 64 long."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:64]


def _inside(path: str) -> str:
    """Return a path of this site; `/` for anything that could lead elsewhere."""
    plain = path.startswith("/") and not path.startswith("//") and path.isprintable()
    try:
        parts = urlsplit(path)
    except ValueError:
        return "/"
    return path if plain and not parts.scheme and not parts.netloc and "\\" not in path else "/"
