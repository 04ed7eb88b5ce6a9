"""People without a browser: accounts, passwords, PINs, terminals, sessions, and what the audit keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from web_inside import Inside, Session, token_in
from web_process import PASSWORD, add_people
from web_shift import write_shift

from inspection.store.web import audit, people
from inspection_serve.web.cookies import SESSION_COOKIE, TERMINAL_COOKIE

JSON = {"accept": "application/json"}
PIN = "4711"


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[Inside]:
    config = write_shift(tmp_path, 2)
    add_people(config)
    with Inside(config) as found:
        yield found


def post(inside: Inside, who: Session | None, path: str, body: Any = None, **headers: str) -> Any:
    return inside.ask("POST", path, who, {**JSON, **headers}, json=body or {})


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def actions(inside: Inside) -> list[str]:
    with inside.site.store.read("the audit") as connection:
        assert audit.breaches(connection) == []
        return [row["action"] for row in audit.rows(connection)][::-1]


def terminal(inside: Inside) -> dict[str, str]:
    """Trust the terminal that asks; return its cookie."""
    told = post(inside, inside.session("engineer"), "/api/v1/terminals", {"name": "L1"})
    assert told.status_code == 201
    value = told.headers["set-cookie"].split(";")[0]
    assert value.startswith(f"{TERMINAL_COOKIE}=")
    assert {"HttpOnly", "SameSite=strict"} <= {
        p.strip() for p in told.headers["set-cookie"].split(";")
    }
    return {"cookie": value}


def set_pin(inside: Inside, role: str = "operator") -> None:
    body = {"pin": PIN, "password": PASSWORD}
    assert post(inside, inside.session(role), "/api/v1/me/pin", body).status_code == 204


def test_add_use_and_reset(inside: Inside) -> None:
    admin = inside.session("administrator")
    body = {"name": "kim.y", "display": "김영희", "role": "operator", "language": "ko"}
    added = post(inside, admin, "/api/v1/people", body)
    assert added.status_code == 201
    told = added.json()
    assert told["account"]["must_change"] is True
    assert code(post(inside, admin, "/api/v1/people", body)) == (409, "taken")
    assert code(post(inside, admin, "/api/v1/people", {**body, "name": "KIM.Y"})) == (409, "taken")
    assert code(post(inside, admin, "/api/v1/people", {**body, "name": "System"})) == (409, "taken")
    for wrong in ({"name": "a b"}, {"name": "x"}, {"display": " "}, {"role": "god"}, {"more": 1}):
        assert post(inside, admin, "/api/v1/people", {**body, **wrong}).status_code == 422
    signed = inside.sign_in("kim.y", told["password"])
    new = Session(token_in(signed), "")
    assert code(inside.ask("GET", "/api/v1/me", new, JSON)) == (403, "must_change")
    reset = post(inside, admin, f"/api/v1/people/{told['account']['id']}/password").json()
    assert code(inside.ask("GET", "/api/v1/me", new, JSON)) == (401, "not_signed_in")
    assert inside.sign_in("kim.y", told["password"]).status_code == 401
    assert inside.sign_in("kim.y", reset["password"]).status_code == 303
    assert actions(inside)[:4] == ["person.added", "sign_in", "password.reset", "sign_in.wrong"]
    with inside.site.store.read("the audit") as connection:
        text = str(audit.rows(connection))
    assert told["password"] not in text
    assert reset["password"] not in text


def test_who_must_change_the_password_can_sign_out(inside: Inside) -> None:
    admin = inside.session("administrator")
    post(inside, admin, "/api/v1/people/1/password")
    viewer = inside.session("viewer")
    assert code(inside.ask("GET", "/api/v1/me", viewer, JSON)) == (403, "must_change")
    assert inside.ask("GET", "/people/me", viewer).status_code == 200
    assert inside.ask("POST", "/sign-out", viewer).status_code == 303


def test_deactivating_ends_sessions_and_is_no_deletion(inside: Inside) -> None:
    admin, viewer = inside.session("administrator"), inside.session("viewer")
    answer = post(inside, admin, "/api/v1/people/1", {"active": False})
    assert answer.json()["active"] is False
    assert inside.ask("GET", "/api/v1/me", viewer, JSON).status_code == 401
    assert inside.sign_in("viewer", PASSWORD).status_code == 401
    assert [p["name"] for p in inside.ask("GET", "/api/v1/people", admin).json()] == [
        "administrator", "engineer", "operator", "viewer",
    ]  # fmt: skip
    post(inside, admin, "/api/v1/people/1", {"active": True})
    assert inside.sign_in("viewer", PASSWORD).status_code == 303
    with inside.site.store.read("the audit") as connection:
        rows = audit.rows(connection, audit.Filter(action="person", subject="person:viewer"))
    assert rows[-1]["detail"] == '{"before": {"active": true}, "now": {"active": false}}'


def test_a_role_counts_at_once(inside: Inside) -> None:
    admin, viewer = inside.session("administrator"), inside.session("viewer")
    assert code(inside.ask("GET", "/api/v1/audit", viewer, JSON)) == (403, "role")
    post(inside, admin, "/api/v1/people/1", {"role": "engineer"})
    assert inside.ask("GET", "/api/v1/audit", viewer, JSON).status_code == 200
    post(inside, admin, "/api/v1/people/1", {"role": "viewer"})
    assert code(inside.ask("GET", "/api/v1/audit", viewer, JSON)) == (403, "role")


@pytest.mark.parametrize("change", [{"active": False}, {"role": "engineer"}])
def test_somebody_stays_administrator(inside: Inside, change: dict[str, Any]) -> None:
    admin = inside.session("administrator")
    assert code(post(inside, admin, "/api/v1/people/4", change)) == (409, "last")
    assert post(inside, admin, "/api/v1/people/1", {"role": "administrator"}).status_code == 200
    assert post(inside, admin, "/api/v1/people/4", change).status_code == 200
    other = inside.session("viewer")
    assert code(post(inside, other, "/api/v1/people/1", change)) == (409, "last")
    assert actions(inside) == ["person.changed", "person.changed"]
    assert code(post(inside, other, "/api/v1/people/99", {})) == (404, "no_person")


def test_changing_to_another_person_with_a_pin(inside: Inside) -> None:
    set_pin(inside)
    place = terminal(inside)
    shown = inside.ask("GET", "/api/v1/switch", None, place).json()
    assert shown["terminal"] == "L1"
    assert [p["name"] for p in shown["people"]] == ["operator"]
    old = inside.session("engineer", terminal="L1")
    both = {"cookie": f"{place['cookie']}; {SESSION_COOKIE}={old.token}"}
    answer = post(inside, None, "/api/v1/switch", {"name": "operator", "pin": PIN}, **both)
    assert answer.status_code == 200
    token = token_in(answer)
    assert token not in {"", old.token}
    assert inside.ask("GET", "/api/v1/me", old, JSON).status_code == 401
    me = inside.ask("GET", "/api/v1/me", Session(token, ""), JSON).json()
    assert (me["name"], me["terminal"]) == ("operator", "L1")
    assert actions(inside)[-1] == "sign_in.pin"


def test_a_pin_counts_at_a_trusted_terminal_only(inside: Inside) -> None:
    set_pin(inside)
    body = {"name": "operator", "pin": PIN}
    assert code(post(inside, None, "/api/v1/switch", body)) == (403, "terminal")
    fake = {"cookie": f"{TERMINAL_COOKIE}=fake"}
    assert code(post(inside, None, "/api/v1/switch", body, **fake)) == (403, "terminal")
    assert code(inside.ask("GET", "/api/v1/switch", None, JSON)) == (403, "terminal")
    place = terminal(inside)
    at_it = inside.session("viewer", terminal="L1")
    engineer = inside.session("engineer")
    assert post(inside, engineer, "/api/v1/terminals/forget", {"name": "L1"}).status_code == 204
    assert code(post(inside, None, "/api/v1/switch", body, **place)) == (403, "terminal")
    assert inside.ask("GET", "/api/v1/me", at_it, JSON).status_code == 401
    again = post(inside, engineer, "/api/v1/terminals/forget", {"name": "L1"})
    assert code(again) == (404, "no_terminal")


def test_five_wrong_pins_and_only_the_password_helps(inside: Inside) -> None:
    set_pin(inside)
    place = terminal(inside)
    body = {"name": "operator", "pin": "0000"}
    got = [code(post(inside, None, "/api/v1/switch", body, **place)) for _ in range(6)]
    assert got == [(401, "pin_wrong")] * 4 + [(429, "pin_locked")] * 2
    right = {"name": "operator", "pin": PIN}
    assert code(post(inside, None, "/api/v1/switch", right, **place)) == (429, "pin_locked")
    assert inside.sign_in("operator", PASSWORD).status_code == 303
    assert post(inside, None, "/api/v1/switch", right, **place).status_code == 200
    assert actions(inside).count("pin.locked") == 1
    nobody = {"name": "nobody", "pin": PIN}
    got = [code(post(inside, None, "/api/v1/switch", nobody, **place)) for _ in range(6)]
    assert got[0] == (401, "pin_wrong")
    assert got[5] == (429, "pin_locked")


def test_an_administrator_has_no_pin(inside: Inside) -> None:
    admin = inside.session("administrator")
    body = {"pin": PIN, "password": PASSWORD}
    assert code(post(inside, admin, "/api/v1/me/pin", body)) == (409, "administrator")
    set_pin(inside, "engineer")
    place = terminal(inside)
    post(inside, admin, "/api/v1/people/3", {"role": "administrator"})
    asked = {"name": "engineer", "pin": PIN}
    assert code(post(inside, None, "/api/v1/switch", asked, **place)) == (401, "pin_wrong")
    post(inside, admin, "/api/v1/people/3", {"role": "engineer"})  # the PIN does not come back
    assert code(post(inside, None, "/api/v1/switch", asked, **place)) == (401, "pin_wrong")


def test_a_pin_needs_the_password_and_is_not_simple(inside: Inside) -> None:
    who = inside.session("operator")
    wrong = {"pin": PIN, "password": "not the password"}
    assert code(post(inside, who, "/api/v1/me/pin", wrong)) == (400, "wrong")
    for simple in ("0000", "1234", "98765"):
        body = {"pin": simple, "password": PASSWORD}
        assert code(post(inside, who, "/api/v1/me/pin", body)) == (400, "simple")
    for pin in ("123", "123456789", "12a4", "１２３４"):
        body = {"pin": pin, "password": PASSWORD}
        assert post(inside, who, "/api/v1/me/pin", body).status_code == 422


def test_a_stolen_session_cannot_guess_the_password(inside: Inside) -> None:
    who = inside.session("operator")
    wrong = {"pin": PIN, "password": "not the password"}
    got = [code(post(inside, who, "/api/v1/me/pin", wrong))[0] for _ in range(9)]
    assert got == [400] * 8 + [429]
    form = {"old": PASSWORD, "password": "another one 123", "csrf": who.csrf}
    assert inside.ask("POST", "/people/me/password", who, data=form).status_code == 429


def test_ending_the_other_sessions(inside: Inside) -> None:
    mine, other = inside.session("viewer"), inside.session("viewer")
    listed = inside.ask("GET", "/api/v1/me", mine, JSON).json()["sessions"]
    assert [one["is_this"] for one in listed].count(True) == 1
    assert not any(one["key"] in (mine.token, other.token) for one in listed)
    assert post(inside, mine, "/api/v1/me/sessions/end-others").status_code == 204
    assert inside.ask("GET", "/api/v1/me", other, JSON).status_code == 401
    assert inside.ask("GET", "/api/v1/me", mine, JSON).status_code == 200


def test_the_own_password(inside: Inside) -> None:
    mine, other = inside.session("viewer"), inside.session("viewer")

    def change(old: str, new: str) -> Any:
        form = {"old": old, "password": new, "csrf": mine.csrf}
        return inside.ask("POST", "/people/me/password", mine, data=form)

    for old, new in ((PASSWORD, "short"), (PASSWORD, PASSWORD), ("wrong one", "long enough 1")):
        assert change(old, new).status_code == 400
    assert change(PASSWORD, "long enough 1").status_code == 303
    assert inside.ask("GET", "/api/v1/me", other, JSON).status_code == 401
    assert inside.sign_in("viewer", PASSWORD).status_code == 401
    assert inside.sign_in("viewer", "long enough 1").status_code == 303


def test_audit_is_found_by_who_what_and_when(inside: Inside) -> None:
    admin = inside.session("administrator")
    for number in range(3):
        post(inside, admin, "/api/v1/people/1", {"display": f"V{number}"})
    inside.sign_in("operator", "wrong")
    engineer = inside.session("engineer")

    def found(**asked: Any) -> list[int]:
        answer = inside.ask("GET", "/api/v1/audit", engineer, JSON, params=asked)
        return [row["id"] for row in answer.json()["rows"]]

    assert found() == [4, 3, 2, 1]
    assert found(limit=3) == [4, 3, 2]
    assert found(below="2") == [1]
    assert found(who="administrator") == [3, 2, 1]
    assert found(action="sign_in") == [4]
    assert found(subject="person:") == [4, 3, 2, 1]
    assert found(subject="person:viewer") == [3, 2, 1]
    assert found(subject="%") == []
    assert found(since="2100-01-01T00:00") == []
    assert found(until="2100-01-01T00:00") == [4, 3, 2, 1]
    for wrong in ({"since": "soon"}, {"below": "x"}, {"below": "９"}, {"who": "\x00"}):
        assert inside.ask("GET", "/api/v1/audit", engineer, JSON, params=wrong).status_code == 422
    chain = inside.ask("GET", "/api/v1/audit/chain", engineer, JSON).json()
    assert (chain["number"], chain["is_whole"], chain["is_protected"]) == (4, True, True)
    listed = inside.ask("GET", "/api/v1/audit", engineer, JSON).json()
    assert listed["head"] == chain["head"] == listed["rows"][0]["sha256"]


def test_what_a_person_types_wrongly_is_not_kept(inside: Inside) -> None:
    """Passwords land in the field of the name now and then."""
    assert inside.sign_in("my secret password!", "").status_code == 422
    assert inside.sign_in("my secret password!", "x").status_code == 401
    with inside.site.store.read("what is kept") as connection:
        assert "secret" not in str(audit.rows(connection))
        assert people.wrong_since(connection, 60, name="?") == 1
