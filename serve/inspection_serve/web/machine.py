"""Machines: what a request with `Authorization: Bearer KEY` may do, and how its refusals are kept few.

    a route opens itself ─▶ Needs(role, opens=Opens.…)     no other one answers a key, whatever it does
    the key ─▶ its SHA-256 in the store ─▶ works? ─▶ reads pictures? ─▶ not too often? ─▶ a viewer

The cookies of such a request count for nothing. Each refusal is a row of the audit, but at most one of each
kind and `NOTED` together in a quarter of an hour: a program that was forgotten asks on for years. A key that
works is never refused for what others do at its address: nobody can guess 256 bits, so a limit that shut out
the right key would help only who wants it shut out.
"""

from __future__ import annotations

import enum
import threading
import time
from collections import OrderedDict

from fastapi import HTTPException, Request

from inspection.store.rows import Values
from inspection.store.web import audit, machine_keys
from inspection.store.web.access import WebStore
from inspection.store.web.machine_keys import KeyState
from inspection.store.web.people import SYSTEM, Person, Role
from inspection_serve.web.seen import Seen

WINDOW = 900.0
"""Seconds within which refusals are counted."""
WRONG_OF_ADDRESS = 30
"""So many refused keys of an address within `WINDOW`, and it is told to wait that long."""
NOTED = 30
"""Rows of the audit about refusals within `WINDOW`, at most."""
RATE, BURST = 10.0, 20.0
"""Requests a second that one key is answered, and so many at once after a rest."""
MOST = 1000
"""Addresses, kinds of refusals and keys that are remembered; the oldest is forgotten first."""
LONGEST = 200
"""Characters of a key, at most; ours have 46."""
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


class Opens(enum.Enum):
    """What opens a route to a key."""

    READING = "any key"
    PICTURES = "a key that may read pictures"


def has_key(request: Request) -> bool:
    """Tell whether a request shows a key, good or bad: its cookies count for nothing then."""
    return any(
        value.split(" ", 1)[0].lower() == "bearer"
        for value in request.headers.getlist("authorization")
    )


class Machines:
    """The keys in use. Safe in several threads; a process remembers its own refusals only."""

    def __init__(self, store: WebStore) -> None:
        self._store = store
        self.seen = Seen(store, machine_keys.note_used)
        self._lock = threading.Lock()
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()
        self._noted: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._unnoted = 0
        self._buckets: OrderedDict[int, tuple[float, float]] = OrderedDict()

    def admit(self, request: Request, opens: Opens | None) -> Person:
        """Return who asks, as a viewer who is nobody's account.

        Args:
            request: with a key; see `has_key`.
            opens: what opens the route to keys; None: nothing does.

        Raises:
            HTTPException: 401 `key_unknown`, `key_revoked`, `key_ended`: it does not work. 403 `key`: keys do
                not open this. 403 `key_pictures`: this one does not. 429 `limited`: see `Retry-After`.
            StoreError: the key cannot be looked up, or the refusal cannot be kept.
        """
        row = self._find(request)
        if row is None:
            raise self._refused(request, "?", 401, "key_unknown")
        state = machine_keys.state_of(row)
        if state is not KeyState.ACTIVE:
            raise self._refused(request, row["name"], 401, f"key_{state.value}")
        if opens is None or request.method != "GET":
            raise self._refused(request, row["name"], 403, "key")
        if opens is Opens.PICTURES and not row["pictures"]:
            raise self._refused(request, row["name"], 403, "key_pictures")
        self._take_turn(int(row["id"]))
        self.seen.note(row["token_sha256"])
        return Person(
            id=0,
            name=f"key:{row['name']}",
            display=row["name"],
            role=Role.VIEWER,
            language="",
            must_change=False,
            options={},
            session=row["token_sha256"],
            csrf="",
            terminal="",
        )

    def _find(self, request: Request) -> Values | None:
        """Return the row of the one key that a request shows; None: it shows none that we know."""
        told = request.headers.getlist("authorization")
        key = told[0][len("bearer") :].strip(" ")
        if len(told) != 1 or not key.startswith(machine_keys.PREFIX) or len(key) > LONGEST:
            return None
        with self._store.read("looking up a key") as connection:
            return machine_keys.find(connection, key)

    def _refused(self, request: Request, name: str, status: int, code: str) -> HTTPException:
        """Keep a refusal in the audit where it is due; return what is answered."""
        address = request.client.host if request.client else ""
        route = getattr(request.scope.get("route"), "path", "")
        wait = self._count(address) if status == 401 else 0.0
        if self._is_due(name, address, code):
            self._note(name, address, code, route)
        if wait > 0:
            return _limited(wait)
        return HTTPException(status, code, _CHALLENGE if status == 401 else None)

    def _count(self, address: str) -> float:
        """Count a wrong key of an address; return the seconds that it must wait, 0: none."""
        now = time.monotonic()
        with self._lock:
            times = [at for at in self._wrong.pop(address, []) if now - at < WINDOW]
            self._wrong[address] = times
            _forget_oldest(self._wrong)
            if len(times) >= WRONG_OF_ADDRESS:
                return WINDOW - (now - times[0])
            times.append(now)
            return 0.0

    def _is_due(self, name: str, address: str, code: str) -> bool:
        """Tell whether a refusal is to be noted now; it counts as noted then."""
        now, kind = time.monotonic(), (name, address, code)
        with self._lock:
            for old in [key for key, at in self._noted.items() if now - at >= WINDOW]:
                del self._noted[old]
            if kind in self._noted or len(self._noted) >= NOTED:
                self._unnoted += 1
                return False
            self._noted[kind] = now
            return True

    def _note(self, name: str, address: str, code: str, route: str) -> None:
        """Write a refusal, and how many were not written since the row before it."""
        with self._lock:
            left, self._unnoted = self._unnoted, 0
            last = len(self._noted) >= NOTED
        more = {"unnoted": left} if left else {}
        try:
            with self._store.write("a refused key") as connection:
                subject = f"key:{name}"
                told = {"at": address, "why": code, "route": route, **more}
                audit.append(connection, SYSTEM, "key.refused", subject, **told)
                if last:
                    audit.append(connection, SYSTEM, "key.limited", subject, at=address)
        except BaseException:
            with self._lock:
                self._unnoted += left
                self._noted.pop((name, address, code), None)
            raise

    def _take_turn(self, key: int) -> None:
        """Count a request of a key. Raises HTTPException 429."""
        now = time.monotonic()
        with self._lock:
            left, at = self._buckets.pop(key, (BURST, now))
            left = min(BURST, left + (now - at) * RATE)
            may = left >= 1
            self._buckets[key] = (left - 1 if may else left), now
            _forget_oldest(self._buckets)
        if not may:
            raise _limited(1.0)


def _limited(seconds: float) -> HTTPException:
    return HTTPException(429, "limited", {"Retry-After": str(max(1, round(seconds)))})


def _forget_oldest(
    kept: OrderedDict[str, list[float]] | OrderedDict[int, tuple[float, float]],
) -> None:
    while len(kept) > MOST:
        kept.popitem(last=False)
