"""Who may sign in: the people of the store, with the password that they have on the pages."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any

from asyncua.crypto.permission_rules import UserRole

from inspection.errors import StoreError
from inspection.store.rows import Values
from inspection.store.web import audit, people
from inspection.store.web.access import WebStore
from inspection.store.web.people import SYSTEM
from inspection_serve.opcua.channel import SignedIn
from inspection_serve.web.people.passwords import verify_secret

log = logging.getLogger("inspection.opcua")
ADDRESS = "opcua"
"""What stands in the place of an address in rows about signing in."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,31}")
_UNKNOWN = "?"
_WRONG_OF_NAME, _WRONG_OF_ALL, _WINDOW = 8, 30, 900.0
"""So many wrong passwords within so many seconds, and the next is refused unseen, as on the pages."""
_LOOK_EVERY = 2.0
"""Seconds after which it is looked again whether somebody may still go on."""


class People:
    """asyncua's user manager. It runs in the server's one thread; what it writes, it hands over."""

    def __init__(self, store: WebStore, later: Callable[[Callable[[], None]], object]) -> None:
        """`later` runs something in another thread: nobody waits for what is noted."""
        self._store = store
        self._later = later
        self._wrong: list[tuple[float, str]] = []
        self._looked: dict[tuple[str, str, str], tuple[float, bool]] = {}

    def get_user(
        self,
        iserver: Any,
        username: str | None = None,
        password: str | None = None,
        certificate: Any = None,
    ) -> SignedIn | None:
        """Return who signs in; None when name or password is wrong, or too many were."""
        del iserver, certificate
        name = username if username and _NAME.fullmatch(username) else _UNKNOWN
        now = time.monotonic()
        self._wrong = [(at, who) for at, who in self._wrong if now - at < _WINDOW]
        of_name = sum(who == name for _, who in self._wrong)
        if of_name >= _WRONG_OF_NAME or len(self._wrong) >= _WRONG_OF_ALL:
            log.warning("%s is refused: too many wrong passwords", name)
            return None
        try:
            with self._store.read("looking up a person") as connection:
                row = people.find(connection, name)
        except StoreError as error:
            log.warning("nobody can sign in: %s", error)
            return None
        if not verify_secret(password or "", row["password"] if row and row["active"] else None):
            self._wrong.append((now, name))
            self._later(lambda: self._note(name, "wrong", "sign_in.wrong", SYSTEM))
            return None
        if row is None or row["must_change"]:
            log.warning("%s must choose a password on the pages first", name)
            return None
        self._wrong = [(at, who) for at, who in self._wrong if who != name]
        self._looked.clear()
        self._later(lambda: self._note(name, "ok", "sign_in", name))
        return SignedIn(
            role=UserRole.User,
            name=name,
            login=name,
            role_name=row["role"],
            password=row["password"],
        )

    def is_welcome(self, user: SignedIn) -> bool:
        """Tell whether somebody who signed in may go on: still active, with the same password and role."""
        now, key = time.monotonic(), (user.login, user.role_name, user.password)
        looked, was_welcome = self._looked.get(key, (now - _LOOK_EVERY, False))
        if now - looked < _LOOK_EVERY:
            return was_welcome
        try:
            with self._store.read("looking up a person") as connection:
                welcome = _is_same(people.find(connection, user.login), user)
        except StoreError as error:
            log.warning("whether %s may go on is not known: %s", user.login, error)
            welcome = False
        self._looked[key] = now, welcome
        return welcome

    def _note(self, name: str, outcome: str, action: str, who: str) -> None:
        try:
            with self._store.write("signing in over OPC UA") as connection:
                people.note_sign_in(connection, name, ADDRESS, outcome)
                audit.append(connection, who, action, f"person:{name}", at=ADDRESS)
        except StoreError as error:
            log.warning("signing in was not noted: %s", error)


def _is_same(row: Values | None, user: SignedIn) -> bool:
    return (
        row is not None
        and bool(row["active"])
        and row["password"] == user.password
        and row["role"] == user.role_name
    )
