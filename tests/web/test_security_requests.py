"""Attacks that need no browser: guessing, fixed sessions, hosts, paths, bodies, redirects, headers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urljoin, urlsplit

import pytest
import sqlalchemy as sa
from web_inside import HOST, Inside, Session, fill, places, token_in
from web_process import PASSWORD, add_people
from web_shift import write_shift

from inspection.store.web import audit, people
from inspection.store.web.tables import sessions
from inspection_serve.web.authorisation import rules
from inspection_serve.web.bodies import LIMIT
from inspection_serve.web.cookies import SESSION_COOKIE
from inspection_serve.web.guard import IDLE
from inspection_serve.web.people.signing import WRONG_OF_ADDRESS, WRONG_OF_NAME

JSON = {"accept": "application/json"}


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[Inside]:
    config = write_shift(tmp_path, 3)
    add_people(config)
    with Inside(config) as found:
        yield found


def me(inside: Inside, token: str) -> int:
    return inside.ask("GET", "/api/v1/me", Session(token, ""), JSON).status_code


def age_sessions(inside: Inside, **values: str) -> None:
    with inside.site.store.write("ageing sessions") as connection:
        connection.execute(sa.update(sessions).values(**values))


def test_a_name_is_limited(inside: Inside) -> None:
    got = [inside.sign_in("operator", f"wrong {n}").status_code for n in range(WRONG_OF_NAME + 2)]
    assert got == [401] * WRONG_OF_NAME + [429, 429]
    assert inside.sign_in("operator", PASSWORD).status_code == 429
    inside.address = "10.0.0.8"
    assert inside.sign_in("operator", PASSWORD).status_code == 429
    assert inside.sign_in("viewer", PASSWORD).status_code == 303
    with inside.site.store.read("the audit") as connection:
        rows = [row["action"] for row in audit.rows(connection)][::-1]
    assert rows == ["sign_in.wrong"] * WRONG_OF_NAME + ["sign_in.limited", "sign_in"]


def test_an_address_is_limited_and_an_own_account_does_not_help(inside: Inside) -> None:
    with inside.site.store.write("wrong ones of other names") as connection:
        for number in range(WRONG_OF_ADDRESS - 1):
            people.note_sign_in(connection, f"name{number}", inside.address, "wrong")
    assert inside.sign_in("viewer", PASSWORD).status_code == 303
    assert inside.sign_in("somebody", "wrong").status_code == 401
    assert inside.sign_in("viewer", PASSWORD).status_code == 429
    inside.address = "10.0.0.9"
    assert inside.sign_in("viewer", PASSWORD).status_code == 303


def test_many_at_once_are_limited_too(inside: Inside) -> None:
    many = [
        inside.sending("POST", "/sign-in", data={"name": "operator", "password": f"wrong {n}"})
        for n in range(WRONG_OF_NAME * 2)
    ]
    got = sorted(answer.status_code for answer in inside.run(*many))
    assert got == [401] * WRONG_OF_NAME + [429] * WRONG_OF_NAME


def test_an_unknown_name_takes_as_long(inside: Inside) -> None:
    """Both make one hash: without it an unknown name would be some fifty times quicker."""

    def seconds(name: str) -> float:
        begin = time.perf_counter()
        assert inside.sign_in(name, "wrong").status_code == 401
        return time.perf_counter() - begin

    seconds("warm")
    times = [(seconds("viewer"), seconds("nobody")) for _ in range(4)]
    known, unknown = (min(each) for each in zip(*times, strict=True))
    assert unknown > known / 4
    assert known > unknown / 4


def test_the_same_words_for_an_unknown_and_a_known_name(inside: Inside) -> None:
    known, unknown = inside.sign_in("viewer", "wrong"), inside.sign_in("nobody", "wrong")
    assert known.text.replace("viewer", "") == unknown.text.replace("nobody", "")


def test_a_session_cannot_be_fixed(inside: Inside) -> None:
    given = "a-token-that-the-attacker-knows"
    first = inside.sign_in("viewer", PASSWORD, cookie=f"{SESSION_COOKIE}={given}")
    one = token_in(first)
    assert one not in {"", given}
    assert me(inside, given) == 401
    second = inside.sign_in("viewer", PASSWORD, cookie=f"{SESSION_COOKIE}={one}")
    two = token_in(second)
    assert two != one
    assert (me(inside, one), me(inside, two)) == (401, 200)


def test_the_cookie_is_for_us_alone(inside: Inside) -> None:
    told = inside.sign_in("viewer", PASSWORD).headers["set-cookie"]
    flags = {part.strip() for part in told.split(";")[1:]}
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= flags
    assert not any(flag.startswith("Domain") for flag in flags)
    inside.app.state.secure = True
    assert "; Secure" in inside.sign_in("viewer", PASSWORD).headers["set-cookie"]


def test_the_store_does_not_know_the_token(inside: Inside) -> None:
    token = token_in(inside.sign_in("viewer", PASSWORD))
    assert token.encode() not in Path(inside.site.store.config.url).read_bytes()
    with inside.site.store.read("sessions") as connection:
        held = connection.execute(sa.select(sessions.c.token_sha256)).scalar_one()
    assert me(inside, held) == 401


def test_sessions_end(inside: Inside) -> None:
    token = token_in(inside.sign_in("viewer", PASSWORD))
    age_sessions(inside, seen_at=people.after(-IDLE + 60))
    assert me(inside, token) == 200
    inside.app.state.seen.close()  # else the note could come after the next line
    age_sessions(inside, seen_at=people.after(-IDLE - 1))
    assert me(inside, token) == 401
    age_sessions(inside, seen_at=people.after(0), ends_at=people.after(60))
    assert me(inside, token) == 200
    age_sessions(inside, ends_at=people.after(-1))
    assert me(inside, token) == 401
    signed = token_in(inside.sign_in("viewer", PASSWORD))
    left = inside.session("viewer")
    assert inside.ask("POST", "/sign-out", left).status_code == 303
    assert (me(inside, left.token), me(inside, signed)) == (401, 200)


@pytest.mark.parametrize(
    "aim",
    [
        "https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
        "/%0d%0aSet-Cookie:x=1\r\nx: y", "javascript:alert(1)", "//[", "evil", " //evil.example",
        "///evil.example",
    ],
)  # fmt: skip
def test_nothing_leads_elsewhere(inside: Inside, aim: str) -> None:
    form = {"name": "viewer", "password": PASSWORD, "next": aim, "language": "ko"}
    for path in ("/sign-in", "/language"):
        answer = inside.ask("POST", path, data=form)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/"
        assert "x" not in answer.headers
    shown = inside.ask("GET", "/sign-in", params={"next": aim}).text
    assert 'name="next" value="/"' in shown


@pytest.mark.parametrize(
    "aim",
    [
        "/%5cevil.example",
        "/%2fevil.example",
        "/%252f%252fevil.example",
        "/x//evil.example",
        "/?u=//evil",
    ],
)
def test_what_looks_like_elsewhere_stays_here(inside: Inside, aim: str) -> None:
    answer = inside.ask("POST", "/language", data={"language": "ko", "next": aim})
    to = urlsplit(urljoin(f"http://{HOST}/", answer.headers["location"]))
    assert (to.scheme, to.netloc) == ("http", HOST)


def place_shown(answer: Any) -> str:
    """Return where the form of the languages would lead."""
    form = answer.text.split('action="/language"')[1]
    return unescape(form.split('name="next" value="')[1].split('"')[0])


def test_the_language_keeps_path_and_query(inside: Inside) -> None:
    viewer = inside.session("viewer")
    for aim in (
        "/results?serial=A%26B%20%EA%B0%80&page=2",
        "/results",
        "/sign-in?next=%2Fresults%3Fa%3D1",
    ):
        place = place_shown(inside.ask("GET", aim, viewer))
        assert place == aim
        form = {"language": "en", "next": place, "csrf": viewer.csrf}
        assert inside.ask("POST", "/language", viewer, data=form).headers["location"] == aim
    lost = inside.ask("GET", "/results?serial=A%26B", headers={"accept": "text/html"})
    assert parse_qs(urlsplit(lost.headers["location"]).query)["next"] == ["/results?serial=A%26B"]


def test_the_answer_to_a_form_leads_back_to_the_form(inside: Inside) -> None:
    viewer = inside.session("viewer")
    form = {"old": "wrong", "password": "a long one 123", "csrf": viewer.csrf}
    for referer, place in (
        (f"http://{HOST}/people/me?a=1", "/people/me?a=1"),
        ("http://evil.example/people/me", "/"),
        (f"http://{HOST}//evil.example", "//evil.example"),
        ("", "/"),
    ):
        told = {"referer": referer}
        shown = inside.ask("POST", "/people/me/password", viewer, told, data=form)
        assert (shown.status_code, place_shown(shown)) == (400, place)
        answer = inside.ask("POST", "/language", data={"language": "ko", "next": place})
        assert answer.headers["location"] in {place, "/"}
        assert not answer.headers["location"].startswith("//")


def test_the_stream_of_somebody_signed_out_is_refused_in_words_for_programs(inside: Inside) -> None:
    """A browser's EventSource follows a redirect to the sign-in page and complains about HTML."""
    for who in (None, Session("ended", "")):
        answer = inside.ask("GET", "/line/events", who, {"accept": "text/event-stream"})
        assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in")


@pytest.mark.parametrize(
    "host", ["evil.example", "station.evil.example", "", "station@evil.example"]
)
def test_another_host_is_refused(inside: Inside, host: str) -> None:
    refused = inside.ask("GET", "/sign-in", headers={"host": host})
    assert refused.status_code == 400
    assert refused.text.count("`web.names`") == 2, "in Korean and in English"
    assert not host or host not in refused.text
    assert inside.ask("GET", "/sign-in", headers={"host": f"{HOST}:8080"}).status_code == 200


def test_headers_of_every_answer(inside: Inside) -> None:
    admin = inside.session("administrator")
    asked = [("/sign-in", None), ("/people", admin), ("/api/v1/me", None), ("/nowhere", None),
             ("/static/css/base.css", None), ("/people/me", None), ("/api", admin)]  # fmt: skip
    for path, who in asked:
        headers = inside.ask("GET", path, who).headers
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy, path
        assert "unsafe" not in policy, path
        assert "default-src 'none'" in policy, path
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "same-origin", path
        assert headers["cross-origin-opener-policy"] == "same-origin", path
        assert "access-control-allow-origin" not in headers, path
        assert "server" not in headers, path
        if path in {"/people", "/api/v1/me"}:
            assert headers["cache-control"] == "no-store"


def test_a_body_is_bounded(inside: Inside) -> None:
    def slowly(size: int) -> Any:
        async def parts() -> Any:
            for _ in range(size // 65536 + 1):
                yield b"x" * 65536

        return parts()

    form = {"content-type": "application/x-www-form-urlencoded"}
    told = inside.ask("POST", "/sign-in", headers=form, content=b"x" * (LIMIT + 1))
    assert (told.status_code, told.json()["code"]) == (413, "too_large")
    untold = inside.ask("POST", "/sign-in", headers=form, content=slowly(4 * LIMIT))
    assert untold.status_code == 413
    assert "content-security-policy" in untold.headers
    for length in ("-1", "x", "1e3"):
        lying = {**form, "content-length": length}
        assert inside.ask("POST", "/sign-in", headers=lying, content=b"").status_code == 413
    text = f"name=viewer&password={'x' * (LIMIT - 100)}"
    assert inside.ask("POST", "/sign-in", headers=form, content=text.encode()).status_code == 401


@pytest.mark.parametrize(
    "value",
    [
        "../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e%2fresults.db", "..\\..\\results.db",
        "/etc/passwd", "%00", "a%00.jpg", "....//....//etc/passwd", "~root", "results.db", "x" * 5000,
        "%ff%fe", "-1", "1e9", "99999999999999999999999999",
    ],
)  # fmt: skip
def test_no_path_leads_to_a_file(inside: Inside, value: str) -> None:
    admin = inside.session("administrator")
    secrets = (b"root:x:0", b"SQLite format", b"CREATE TABLE")
    for rule in rules(inside.app):
        if not places(rule.path):
            continue
        for typed in (value, quote(value, safe="%")):
            body = {} if rule.method == "GET" else {"json": {}}
            answer = inside.ask(rule.method, fill(rule.path, typed), admin, JSON, **body)
            assert answer.status_code in {303, 307, 400, 404, 405, 409, 422}, (rule, typed)
            assert not any(secret in answer.content for secret in secrets), (rule, typed)
    for typed in (value, quote(value, safe="%"), f"css/{value}"):
        answer = inside.ask("GET", f"/static/{typed}")
        assert answer.status_code in {303, 400, 404, 405}, typed


def test_garbage_is_refused_in_words(inside: Inside) -> None:
    admin = inside.session("administrator")
    kind = {**JSON, "content-type": "application/json"}
    for body in (b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"name": "\\ud800"}', b"[" * 100_000):
        answer = inside.ask("POST", "/api/v1/people", admin, kind, content=body)
        assert answer.status_code in {400, 422}, body[:10]
        assert "problem+json" in answer.headers["content-type"]
    plain = {**JSON, "content-type": "text/plain"}
    body = b'{"name": "abc", "display": "x", "role": "administrator"}'
    assert inside.ask("POST", "/api/v1/people", admin, plain, content=body).status_code == 422
    with inside.site.store.read("people") as connection:
        assert len(people.all_people(connection)) == 4


def test_two_stations_on_one_pc_sign_nobody_out(inside: Inside) -> None:
    """A browser sends the cookies of a host to each of its ports."""
    hosts = ("station:8081", "station:8082", "station")
    told = [inside.sign_in("viewer", PASSWORD, host=host).headers["set-cookie"] for host in hosts]
    cookies = [one.split(";")[0] for one in told]
    assert len({one.split("=")[0] for one in cookies}) == len(hosts)
    for host in hosts:
        whole = {**JSON, "host": host, "cookie": "; ".join(cookies)}
        assert inside.ask("GET", "/api/v1/me", None, whole).status_code == 200
    foreign = {**JSON, "host": hosts[0], "cookie": cookies[1]}
    assert inside.ask("GET", "/api/v1/me", None, foreign).status_code == 401


def test_a_terminal_is_trusted_at_its_own_port(inside: Inside) -> None:
    who = inside.session("engineer")
    port = {"host": "station:8081", "cookie": who.headers["cookie"].replace("=", "_8081=", 1)}
    told = inside.ask("POST", "/api/v1/terminals", who, {**JSON, **port}, json={"name": "L1"})
    assert told.headers["set-cookie"].startswith("inspection_terminal_8081=")


def test_a_terminal_trusted_before_the_port_stood_in_the_name_stays_trusted(inside: Inside) -> None:
    who = inside.session("engineer")
    told = inside.ask("POST", "/api/v1/terminals", who, {**JSON}, json={"name": "L2"})
    old = told.headers["set-cookie"].split(";")[0]
    assert old.startswith("inspection_terminal=")
    page = inside.ask("GET", "/sign-in", None, {"host": "station:8081", "cookie": old})
    assert "change-person" in page.text
