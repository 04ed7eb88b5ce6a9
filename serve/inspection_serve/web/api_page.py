"""The API in words: `/api/v1/openapi.json`, and `/api`, a page of our own that works without a network."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response

from inspection.store.web.people import Person, Role
from inspection_serve.web.authorisation import guard_of, routes_of
from inspection_serve.web.cookies import SESSION_COOKIE, cookie_at
from inspection_serve.web.guard import Needs, Public
from inspection_serve.web.machine import Opens
from inspection_serve.web.pages import page
from inspection_serve.web.people.words import ROLES
from inspection_serve.web.site import Site

router = APIRouter()
Viewing = Annotated[Person, Depends(Needs(Role.VIEWER))]
Reading = Annotated[Person, Depends(Needs(Role.VIEWER, opens=Opens.READING))]
_METHODS = ("get", "post", "put", "patch", "delete")
_PROBLEM = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "required": ["type", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "status": {"type": "integer", "description": "of HTTP"},
        "code": {"type": "string", "description": "for programs, as `conflict`"},
        "detail": {"type": "string", "description": "for people; may be empty"},
    },
}
_REFERENCE = {
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
}


@router.get("/api/v1/openapi.json", include_in_schema=False)
def openapi(request: Request, _: Reading) -> Response:
    """Give the description of the API (OpenAPI 3.1)."""
    return JSONResponse(describe(request.app))


@router.get("/api", include_in_schema=False)
def api_page(request: Request, _: Viewing) -> Response:
    """Show the API."""
    found = describe(request.app)
    schemas = found["components"]["schemas"]
    return page(
        request,
        "api.html",
        groups=_groups(found, str(request.base_url).rstrip("/")),
        schemas={name: json.dumps(value, indent=2) for name, value in sorted(schemas.items())},
        version=found["openapi"],
        roles=ROLES,
    )


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description: with the role of each operation (`x-role`) and its problems."""
    kept: dict[str, Any] | None = getattr(app.state, "openapi", None)
    if kept is not None:
        return kept
    found = app.openapi()
    site: Site = app.state.site
    cookie = cookie_at(SESSION_COOKIE, urlsplit(site.address).netloc)
    parts = found.setdefault("components", {})
    for name in ("HTTPValidationError", "ValidationError"):
        parts.setdefault("schemas", {}).pop(name, None)
    parts["schemas"]["Problem"] = _PROBLEM
    parts["securitySchemes"] = {
        "session": {"type": "apiKey", "in": "cookie", "name": cookie},
        "key": {"type": "http", "scheme": "bearer", "description": "a key of a machine"},
    }
    for route in routes_of(app):
        if not route.include_in_schema:
            continue
        guard = guard_of(route)
        for method in route.methods:
            operation = found["paths"][route.path_format].get(method.lower())
            if operation is not None:
                _add_guard(operation, guard, method)
    app.state.openapi = found
    return found


def _add_guard(operation: dict[str, Any], guard: Needs | Public, method: str) -> None:
    """Say who may ask for an operation, and how the others are refused."""
    role = guard.role
    operation["x-role"] = None if role is None else role.value
    keys = [] if guard.opens is None else [{"key": []}]
    operation["security"] = [] if role is None else [{"session": []}, *keys]
    answers = operation["responses"]
    answers.pop("422", None)
    if role is not None:
        codes = "; `key_unknown`, `key_revoked`, `key_ended`" if keys else ""
        answers["401"] = {"description": f"`not_signed_in`{codes}", **_REFERENCE}
        answers["403"] = {"description": _refusals(role, method), **_REFERENCE}
    answers["4XX"] = {"description": "refused; nothing was changed", **_REFERENCE}
    answers["503"] = {"description": "NOT SAVED: the store failed", **_REFERENCE}


def _refusals(role: Role, method: str) -> str:
    """Return whom an operation refuses, and with which codes."""
    below = [one.value for one in Role if not one.covers(role)]
    codes = [f"`role`: refused to {', '.join(below)}"] if below else []
    codes += ["`csrf` and `origin`: not a request of our own page"] if method != "GET" else []
    return "; ".join([*codes, "`must_change`: the person must choose a password first"])


def _groups(found: dict[str, Any], address: str) -> dict[str, list[dict[str, Any]]]:
    """Return the operations by tag, as the template shows them."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, operations in found["paths"].items():
        for method in _METHODS:
            if method in operations:
                told = _operation(address, path, method, operations[method])
                groups.setdefault(told["tag"], []).append(told)
    return dict(sorted(groups.items()))


def _operation(address: str, path: str, method: str, told: dict[str, Any]) -> dict[str, Any]:
    body = told.get("requestBody", {}).get("content", {})
    good = next((a for code, a in told["responses"].items() if code.startswith("2")), {})
    schema = next(iter(good.get("content", {}).values()), {}).get("schema")
    return {
        "tag": (told.get("tags") or ["other"])[0],
        "method": method.upper(),
        "path": path,
        "role": told["x-role"],
        "has_keys": {"key": []} in told["security"],
        "text": told.get("description", told.get("summary", "")),
        "parameters": [
            {
                "name": one["name"],
                "where": one["in"],
                "required": one.get("required", False),
                "type": _type(one["schema"]),
                "text": one.get("description", one["schema"].get("description", "")),
            }
            for one in told.get("parameters", [])
        ],
        "body": [_type(one["schema"]) for one in body.values()],
        "answer": "" if schema is None else _type(schema),
        "example": _example(address, path, method, bool(body)),
    }


def _type(schema: dict[str, Any]) -> str:
    """Return a schema in a word, as `Account`, `integer 1..200`, `list of Account`."""
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[-1])
    for many in ("anyOf", "oneOf"):
        if many in schema:
            return " | ".join(_type(one) for one in schema[many])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    low, high = schema.get("minimum"), schema.get("maximum")
    bounds = "" if low is None and high is None else f" {low}..{high}"
    return f"{schema.get('type', 'anything')}{bounds}"


def _example(address: str, path: str, method: str, has_body: bool) -> str:
    cookie = cookie_at(SESSION_COOKIE, urlsplit(address).netloc)
    words = [f"curl -b {cookie}=TOKEN"]
    if method != "get":
        words.append(f"-X {method.upper()} -H 'X-CSRF-Token: CSRF'")
    if has_body:
        words.append("-H 'Content-Type: application/json' -d @body.json")
    return " ".join([*words, f"'{address}{path}'"])
