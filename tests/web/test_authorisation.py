"""Every route × everybody, read from the router: nobody gets what their role does not give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from web_inside import Inside, fill
from web_process import add_people
from web_shift import write_shift

from inspection.store.web import machine_keys
from inspection.store.web.people import Role
from inspection_serve.web import machine
from inspection_serve.web.authorisation import NoGuardError, Rule, rules, table
from inspection_serve.web.guard import Needs, Public
from inspection_serve.web.machine import Opens

NOWHERE = "4000000000"
"""Fills every path parameter: there is no such part, person, job …"""
GUARD_CODES = {"role", "csrf", "origin", "must_change", "not_signed_in"}


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    config = write_shift(tmp_path_factory.mktemp("matrix"), 6)
    add_people(config)
    with Inside(config) as found:
        yield found


def asked(inside: Inside, rule: Rule, role: str | None, **headers: str) -> Any:
    """Send a request of a rule, with an empty body where one is expected."""
    who = None if role is None else inside.session(role)
    body = {} if rule.method in {"GET", "HEAD"} else {"json": {}}
    told = {"accept": "application/json", **headers}
    return inside.ask(rule.method, fill(rule.path, NOWHERE), who, told, **body)


def code_of(answer: Any) -> str:
    is_problem = "problem+json" in answer.headers.get("content-type", "")
    return answer.json()["code"] if is_problem else ""


def test_every_route_has_exactly_one_guard(inside: Inside) -> None:
    assert len(list(rules(inside.app))) > 40


@pytest.mark.parametrize("role", [None, *(role.value for role in Role)])
def test_matrix(inside: Inside, role: str | None) -> None:
    wrong = []
    for rule in rules(inside.app):
        answer = asked(inside, rule, role)
        may = rule.role is None or (role is not None and Role(role).covers(rule.role))
        expected = set() if may else {(401, "not_signed_in") if role is None else (403, "role")}
        got = (answer.status_code, code_of(answer))
        is_right = got in expected if expected else got[1] not in GUARD_CODES
        if not is_right or answer.status_code >= 500:
            wrong.append(
                f"{rule.method} {rule.path}: {got}, expected {expected or 'to get through'}"
            )
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("pictures", [False, True])
def test_matrix_of_keys(inside: Inside, pictures: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever cookies come with it: a key opens what says so, and nothing else."""
    monkeypatch.setattr(machine, "BURST", 1e9)
    with inside.site.store.write("a key for a test") as connection:
        name = f"matrix-{pictures}"
        _, key = machine_keys.make(connection, name, "kim", pictures=pictures, ends_at=None)
    admin = inside.session("administrator")
    wrong, opened = [], 0
    for rule in rules(inside.app):
        for bearer, is_known in ((f"Bearer {key}", True), ("bearer ik_unknown", False)):
            told = {"accept": "text/html", **admin.headers, "authorization": bearer}
            body = {} if rule.method in {"GET", "HEAD"} else {"json": {}}
            answer = inside.ask(rule.method, fill(rule.path, NOWHERE), headers=told, **body)
            got = (answer.status_code, code_of(answer))
            expected = {(403, "key")} if is_known else {(401, "key_unknown"), (429, "limited")}
            if is_known and rule.opens is Opens.PICTURES and not pictures:
                expected = {(403, "key_pictures")}
            elif is_known and rule.opens is not None:
                opened += 1
                expected = {got} if got[0] < 500 and not got[1].startswith("key") else set()
            if got not in expected:
                wrong.append(f"{rule.method} {rule.path}: {got}, expected {expected}")
    assert not wrong, "\n".join(wrong)
    assert opened == 9 + 2 * pictures


def test_what_a_key_opens_changes_nothing_and_shows_no_people(inside: Inside) -> None:
    opened = [rule for rule in rules(inside.app) if rule.opens is not None]
    assert {rule.method for rule in opened} == {"GET"}
    assert {rule.role for rule in opened} == {Role.VIEWER}
    words = ("people", "keys", "audit", "terminals", "switch", "sign", "review", "export", "jobs")
    for word in (*words, "/api/v1/me/"):
        assert not [rule for rule in opened if word in f"{rule.path}/"], word


def test_nobody_who_opens_a_page_goes_to_the_sign_in_page(inside: Inside) -> None:
    for rule in rules(inside.app):
        if rule.role is None or rule.method != "GET" or rule.path.startswith("/api/v1"):
            continue
        answer = inside.ask("GET", fill(rule.path, NOWHERE), headers={"accept": "text/html"})
        assert answer.status_code == 303, rule
        assert answer.headers["location"].startswith("http://station/sign-in?next="), rule


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-csrf-token": ""}, "csrf"),
        ({"x-csrf-token": "A" * 32}, "csrf"),
        ({"x-csrf-token": "é"}, "csrf"),
        ({"origin": "http://evil.example"}, "origin"),
        ({"origin": "http://station.evil.example"}, "origin"),
        ({"origin": "null"}, "origin"),
        ({"sec-fetch-site": "cross-site"}, "origin"),
        ({"sec-fetch-site": "same-site"}, "origin"),
    ],
)
def test_what_changes_something_must_be_the_person_s_own(
    inside: Inside, headers: dict[str, str], code: str
) -> None:
    encoded = {name: value.encode() for name, value in headers.items()}
    for rule in rules(inside.app):
        if rule.method in {"GET", "HEAD"} or (rule.role is None and code == "csrf"):
            continue
        answer = asked(inside, rule, "administrator", **encoded)
        assert (answer.status_code, code_of(answer)) == (403, code), rule


def test_the_token_of_another_session_is_refused(inside: Inside) -> None:
    mine, other = inside.session("administrator"), inside.session("administrator")
    stolen = {"x-csrf-token": other.csrf, "accept": "application/json"}
    answer = inside.ask("POST", "/api/v1/me/sessions/end-others", mine, stolen)
    assert (answer.status_code, code_of(answer)) == (403, "csrf")
    assert inside.ask("GET", "/api/v1/me", other).status_code == 200


def test_a_form_s_token_is_looked_at_too(inside: Inside) -> None:
    mine = inside.session("viewer")
    cookie = {"cookie": mine.headers["cookie"]}
    wrong = inside.ask("POST", "/sign-out", headers=cookie, data={"csrf": "x"})
    assert wrong.status_code == 403
    assert inside.ask("GET", "/api/v1/me", mine).status_code == 200
    right = inside.ask("POST", "/sign-out", headers=cookie, data={"csrf": mine.csrf})
    assert right.status_code == 303
    assert inside.ask("GET", "/api/v1/me", mine).status_code == 401


def test_a_changing_get_is_not_there(inside: Inside) -> None:
    """A link or picture on another page sends GET with no token: no GET may need one."""
    for rule in rules(inside.app):
        assert rule.method in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"}


def test_a_route_without_a_guard_is_found() -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/open")
    def unguarded() -> None: ...

    with pytest.raises(NoGuardError, match="/open has 0 guards"):
        list(rules(app))
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/both", dependencies=[Depends(Public()), Depends(Needs(Role.VIEWER))])
    def guarded_twice() -> None: ...

    with pytest.raises(NoGuardError, match="/both has 2 guards"):
        list(rules(app))
    with pytest.raises(NoGuardError):
        list(rules(FastAPI()))  # the pages of the library's own documentation


def test_the_table_has_every_route(inside: Inside) -> None:
    text = table(inside.app)
    assert "| `POST` | `/api/v1/people` | – | – | – | – | yes | – |" in text
    assert "| `GET` | `/api/v1/results` | – | yes | yes | yes | yes | yes |" in text
    assert (
        "| `GET` | `/pictures/{record}/thumb` | – | yes | yes | yes | yes | with pictures |" in text
    )
    assert text.count("\n") == len(list(rules(inside.app))) + 2
