"""Keys of machines: `/api/v1/keys` for administrators; the People page shows them. See `machine.py`."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Path, Request

from inspection.store.rows import Values
from inspection.store.tables import MAX_RECORD
from inspection.store.web import audit, machine_keys
from inspection.store.web.people import Person, Role
from inspection_serve.web.guard import Needs, site_of
from inspection_serve.web.people.answers import Key, MadeKey, NewKey

router = APIRouter(prefix="/api/v1/keys", tags=["keys"])
Administrator = Annotated[Person, Depends(Needs(Role.ADMINISTRATOR))]
KeyId = Annotated[int, Path(ge=1, le=MAX_RECORD, description="id of the key")]
LAST_YEAR = 2999


@router.get("")
def list_keys(request: Request, _: Administrator) -> list[Key]:
    """Give every key, by name, also those that work no longer; none of them says the key itself."""
    with site_of(request).store.read("reading the keys") as connection:
        return [Key.of(row) for row in machine_keys.listing(connection)]


@router.post("", status_code=201)
def make_key(request: Request, by: Administrator, body: NewKey) -> MadeKey:
    """Make a key that is shown once; it may read what a viewer reads.

    400 `past`: the last day was before today, or is after 2999. 409 `taken`: the name was given before.
    """
    ends_at = None if body.last_day is None else _end_of(body.last_day)
    with site_of(request).store.write("making a key") as connection:
        machine_keys.lock(connection)
        if machine_keys.is_taken(connection, body.name):
            raise HTTPException(409, "taken")
        number, key = machine_keys.make(
            connection, body.name, by.name, pictures=body.pictures, ends_at=ends_at
        )
        told = {"pictures": body.pictures, "ends_at": ends_at}
        audit.append(connection, by.name, "key.made", f"key:{body.name}", **told)
        row = machine_keys.by_id(connection, number) or {}
    return MadeKey(key=Key.of(row), secret=key)


@router.post("/{key}/revoke")
def revoke_key(request: Request, by: Administrator, key: KeyId) -> Key:
    """Let a key work no longer, at once and for good. Again changes nothing."""
    with site_of(request).store.write("revoking a key") as connection:
        row = _existing(machine_keys.by_id(connection, key))
        if machine_keys.revoke(connection, key, by.name):
            audit.append(connection, by.name, "key.revoked", f"key:{row['name']}")
        row = _existing(machine_keys.by_id(connection, key))
    return Key.of(row)


def _end_of(day: date) -> str:
    """Return the end of a day here, as the store writes it. Raises HTTPException: it is over."""
    if day < datetime.now().astimezone().date() or day.year > LAST_YEAR:
        raise HTTPException(400, "past")
    return audit.label(datetime.combine(day + timedelta(days=1), time()))


def _existing(row: Values | None) -> Values:
    if row is None:
        raise HTTPException(404, "no_key")
    return row
