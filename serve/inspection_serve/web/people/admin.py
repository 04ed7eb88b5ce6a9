"""People: the administrator's page and `/api/v1/people`. Nobody is ever deleted: the records name them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from fastapi.responses import Response

from inspection.store.rows import Values
from inspection.store.tables import MAX_RECORD
from inspection.store.web import audit, machine_keys, people, terminals
from inspection.store.web.people import Person, Role
from inspection_serve.web.guard import Needs, site_of
from inspection_serve.web.pages import page
from inspection_serve.web.people.answers import Account, AccountChange, Key, NewAccount, Temporary
from inspection_serve.web.people.passwords import hash_secret, temporary
from inspection_serve.web.people.words import KEY_STATES, ROLES

router = APIRouter()
Administrator = Annotated[Person, Depends(Needs(Role.ADMINISTRATOR))]
PersonId = Annotated[int, Path(ge=1, le=MAX_RECORD, description="id of the person")]
TAG = "people"


@router.get("/people", include_in_schema=False)
def people_page(request: Request, person: Administrator) -> Response:
    """Show everybody, the trusted terminals, and the keys of machines."""
    with site_of(request).store.read("reading the people") as connection:
        rows = people.all_people(connection)
        places = terminals.listing(connection)
        keys = machine_keys.listing(connection)
    return page(
        request,
        "people/people.html",
        accounts=[Account.of(row) for row in rows],
        terminals=places,
        keys=[Key.of(row) for row in keys],
        key_states=KEY_STATES,
        today=datetime.now().astimezone().date().isoformat(),
        roles=ROLES,
        me=person,
    )


@router.get("/api/v1/people", tags=[TAG])
def list_people(request: Request, _: Administrator) -> list[Account]:
    """Give everybody, by login name."""
    with site_of(request).store.read("reading the people") as connection:
        return [Account.of(row) for row in people.all_people(connection)]


@router.post("/api/v1/people", status_code=201, tags=[TAG])
def add_person(request: Request, by: Administrator, body: NewAccount) -> Temporary:
    """Add a person with a password that is shown once; they must choose their own.

    409 `taken`: the login name is in use, also by somebody who may no longer sign in.
    """
    password = temporary()
    hashed = hash_secret(password)
    with site_of(request).store.write("adding a person") as connection:
        people.lock(connection)
        if people.is_taken(connection, body.name):
            raise HTTPException(409, "taken")
        new = people.add(
            connection, body.name, body.display, body.role, body.language, hashed, must_change=True
        )
        subject, role = f"person:{body.name}", body.role.value
        audit.append(connection, by.name, "person.added", subject, role=role, display=body.display)
        row = people.by_id(connection, new)
    return Temporary(account=Account.of(row or {}), password=password)


@router.post("/api/v1/people/{person}", tags=[TAG])
def change_person(
    request: Request, by: Administrator, person: PersonId, body: AccountChange
) -> Account:
    """Change name on the pages, role, language, or whether they may sign in.

    409 `last`: somebody must stay administrator.
    """
    with site_of(request).store.write("changing a person") as connection:
        people.lock(connection)
        row = _existing(people.by_id(connection, person))
        asked = body.model_dump(exclude_none=True, mode="json")
        now = {name: value for name, value in asked.items() if row[name] != value}
        if not now:
            return Account.of(row)
        was_one = row["active"] and row["role"] == Role.ADMINISTRATOR
        is_one = {**row, **now}["active"] and {**row, **now}["role"] == Role.ADMINISTRATOR
        if was_one and not is_one and people.administrators(connection) <= 1:
            raise HTTPException(409, "last")
        drops_pin = now.get("active") is False or now.get("role") == Role.ADMINISTRATOR
        people.change(connection, person, **now, **({"pin": None} if drops_pin else {}))
        if now.get("active") is False:
            people.end_sessions(connection, person)
        before = {name: row[name] for name in now}
        subject = f"person:{row['name']}"
        audit.append(connection, by.name, "person.changed", subject, before=before, now=now)
        row = _existing(people.by_id(connection, person))
    return Account.of(row)


@router.post("/api/v1/people/{person}/password", tags=[TAG])
def reset_password(request: Request, by: Administrator, person: PersonId) -> Temporary:
    """Give a new password that is shown once. Sessions and PIN of the person end."""
    password = temporary()
    hashed = hash_secret(password)
    with site_of(request).store.write("resetting a password") as connection:
        row = _existing(people.by_id(connection, person))
        people.reset(connection, row, hashed, by.name)
        row = _existing(people.by_id(connection, person))
    return Temporary(account=Account.of(row), password=password)


def _existing(row: Values | None) -> Values:
    if row is None:
        raise HTTPException(404, "no_person")
    return row
