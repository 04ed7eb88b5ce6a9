"""The own account: password, language, keys."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from inspection.store.web import audit, people
from inspection.store.web.people import Person, Role
from inspection_serve.web.guard import Needs, site_of
from inspection_serve.web.pages import page
from inspection_serve.web.people.passwords import hash_secret, verify_secret, weakness

router = APIRouter(prefix="/people/me", include_in_schema=False)


@router.get("")
def me(
    request: Request, person: Annotated[Person, Depends(Needs(Role.VIEWER))], saved: bool = False
) -> Response:
    """Show the own account."""
    return page(request, "people/me.html", error="", saved=saved, me=person)


@router.post("/password")
def change_password(
    request: Request,
    person: Annotated[Person, Depends(Needs(Role.VIEWER))],
    old: Annotated[str, Form()],
    password: Annotated[str, Form()],
) -> Response:
    """Change the own password; every other session of the person ends."""
    site = site_of(request)
    with site.store.read("looking up a person") as connection:
        row = people.find(connection, person.name)
    error = weakness(password, person.name) or ""
    if row is None or not verify_secret(old, row["password"]):
        error = "wrong"
    if error:
        return page(request, "people/me.html", status=400, error=error, saved=False, me=person)
    hashed = hash_secret(password)
    with site.store.write("a new password") as connection:
        people.change(connection, person.id, password=hashed, must_change=False)
        people.end_sessions(connection, person.id, but=person.session)
        audit.append(connection, person.name, "password.changed", f"person:{person.name}")
    return RedirectResponse("/people/me?saved=true", 303)
