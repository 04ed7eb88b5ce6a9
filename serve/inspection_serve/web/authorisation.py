"""Authorisation: which guard each route has, read from the router; the table in docs/authorisation.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import Mount

from inspection.store.web.people import Role
from inspection_serve.web.guard import Needs, Public
from inspection_serve.web.machine import Opens

OPEN_MOUNTS = {"/static"}
"""Folders that everybody may read."""


_KEYS = {None: "–", Opens.READING: "yes", Opens.PICTURES: "with pictures"}


class NoGuardError(Exception):
    """A route has no guard, or more than one."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may do what.

    Attributes:
        method: of HTTP.
        path: with its parameters, as `/api/v1/people/{person}`.
        role: least role; None: everybody.
        does: first line of the route's docstring.
        opens: what opens it to keys of machines; None: nothing does.
    """

    method: str
    path: str
    role: Role | None
    does: str
    opens: Opens | None


def rules(app: FastAPI) -> Iterator[Rule]:
    """Yield the rule of every method of every route, in the order of the router.

    Raises:
        NoGuardError: a route without exactly one guard, or a kind of route that cannot be looked into.
    """
    for route in routes_of(app):
        guard = guard_of(route)
        does = (route.endpoint.__doc__ or "").strip().split("\n")[0]
        for method in sorted(route.methods):
            yield Rule(method, route.path, guard.role, does, guard.opens)


def routes_of(app: FastAPI) -> Iterator[APIRoute]:
    """Yield every route but the open folders. Raises NoGuardError: it cannot be looked into."""
    for found in iter_route_contexts(app.routes):
        route = found.original_route
        if isinstance(route, Mount) and route.path in OPEN_MOUNTS:
            continue
        if not isinstance(route, APIRoute) or found.path != route.path:
            raise NoGuardError(f"{found.path} ({type(route).__name__}) is no route with a guard")
        yield route


def guard_of(route: APIRoute) -> Needs | Public:
    """Return the guard of a route. Raises NoGuardError: it has none, or guards that differ."""
    found = {
        (type(guard), guard.role, guard.opens): guard
        for guard in _calls(route.dependant)
        if isinstance(guard, Needs | Public)
    }
    if len(found) != 1:
        raise NoGuardError(f"{route.path} has {len(found)} guards, it needs one: see guard.py")
    return found.popitem()[1]


def table(app: FastAPI) -> str:
    """Return the matrix as Markdown, by path: a cell says what the role gets."""
    roles = list(Role)
    head = ["method", "path", "nobody", *(role.value for role in roles), "key", "what"]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for rule in sorted(rules(app), key=lambda rule: (rule.path, rule.method)):
        cells = [f"`{rule.method}`", f"`{rule.path}`", "yes" if rule.role is None else "–"]
        cells += ["yes" if rule.role is None or r.covers(rule.role) else "–" for r in roles]
        cells.append(_KEYS[rule.opens])
        lines.append(f"| {' | '.join([*cells, rule.does])} |")
    return "\n".join(lines) + "\n"


def _calls(dependant: Dependant) -> Iterator[object]:
    for inner in dependant.dependencies:
        yield inner.call
        yield from _calls(inner)
