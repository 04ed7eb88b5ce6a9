"""When the store is busy, full, away or put aside: pages stay readable, and nobody is shut out."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from store_samples import store_config
from web_inside import Inside, Session
from web_process import PASSWORD, add_people
from web_shift import write_shift

from inspection.errors import StoreError
from inspection.store.sql import SqlStore
from inspection.store.web import people
from inspection.store.web.people import Role
from inspection.store.web.tables import sessions
from inspection.types import Reason
from inspection_serve.web.authorisation import rules
from inspection_serve.web.people import admin, me
from inspection_serve.web.people.passwords import hash_secret
from inspection_serve.web.seen import Seen

JSON = {"accept": "application/json"}
PAGE = {"accept": "text/html"}


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[Inside]:
    config = write_shift(tmp_path, 2)
    add_people(config)
    with Inside(config) as found:
        yield found


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def seen(inside: Inside, who: Session) -> str:
    with inside.site.store.read("a session") as connection:
        query = sa.select(sessions.c.seen_at).where(
            sessions.c.token_sha256 == people.hash_token(who.token)
        )
        return str(connection.execute(query).scalar_one())


def age(inside: Inside, seconds: float) -> None:
    with inside.site.store.write("ageing sessions") as connection:
        connection.execute(sa.update(sessions).values(seen_at=people.after(-seconds)))


def test_a_locked_store_holds_up_no_page(inside: Inside) -> None:
    who = inside.session("viewer")
    inside.ask("GET", "/line", who)
    age(inside, 600)
    inside.app.state.seen = Seen(inside.site.store)
    path = inside.site.store.config.sqlite_path
    other = sqlite3.connect(str(path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    begin = time.monotonic()
    assert inside.ask("GET", "/line", who).status_code == 200
    assert time.monotonic() - begin < 2.5  # a note waits three seconds for the lock
    other.execute("ROLLBACK")
    other.close()
    until(lambda: seen(inside, who) > people.after(-60))


def test_looking_up_who_asks_does_not_hold_up_the_loop(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two who wait for a slow store wait together; on the loop one would wait for the other."""
    real = people.who_is
    inside_now: list[int] = []
    most: list[int] = []

    def slow(*rest: Any) -> Any:
        inside_now.append(1)
        end = time.monotonic() + 5
        while len(inside_now) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        most.append(len(inside_now))
        return real(*rest)

    who = inside.session("viewer")
    monkeypatch.setattr(people, "who_is", slow)
    both = [inside.sending("GET", "/api/v1/me", {**JSON, **who.headers}) for _ in range(2)]
    assert [answer.status_code for answer in inside.run(*both)] == [200, 200]
    assert most == [2, 2]


def test_nothing_of_people_is_done_on_the_loop(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, names = inside.site.store, []
    loop = inside._thread

    def noting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*rest: Any, **more: Any) -> Any:
            if threading.current_thread() is loop:
                names.append(f"{name} {rest[:1]}")
            return real(*rest, **more)

        return call

    who = inside.session("operator")
    engineer = inside.session("engineer")
    trusted = inside.ask("POST", "/api/v1/terminals", engineer, JSON, json={"name": "L1"})
    place = {**JSON, "cookie": trusted.headers["set-cookie"].split(";")[0]}
    for where in (me, admin):
        monkeypatch.setattr(where, "hash_secret", noting("hash", hash_secret))
    monkeypatch.setattr(store, "read", noting("read", store.read))
    monkeypatch.setattr(store, "write", noting("write", store.write))
    pin = {"pin": "4711", "password": PASSWORD}
    assert inside.ask("POST", "/api/v1/me/pin", who, JSON, json=pin).status_code == 204
    switch = {"name": "operator", "pin": "4711"}
    assert inside.ask("POST", "/api/v1/switch", None, place, json=switch).status_code == 200
    assert inside.sign_in("operator", "wrong one").status_code == 401
    for old, new, status in (("wrong", "short", 400), ("wrong", "long enough 1", 400),
                             (PASSWORD, "long enough 1", 303)):  # fmt: skip
        form = {"old": old, "password": new, "csrf": who.csrf}
        answer = inside.ask("POST", "/people/me/password", who, data=form)
        assert answer.status_code == status
    assert inside.ask("GET", "/line", who).status_code == 200
    assert inside.ask("GET", "/line/events", who).status_code == 200
    assert names == []


def test_pages_are_readable_where_nothing_can_be_written(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = inside.session("viewer")
    age(inside, 600)
    tries: list[str] = []

    def full(what: str, **_more: Any) -> Any:
        tries.append(what)
        raise StoreError(f"{what}: store: the disk is full")

    monkeypatch.setattr(inside.site.store, "write", full)
    for _ in range(5):
        assert inside.ask("GET", "/line", who).status_code == 200
    inside.app.state.seen.close()
    assert len(tries) == 1  # tried again a minute later


def test_an_open_page_alone_is_not_use(inside: Inside) -> None:
    who = inside.session("operator")
    age(inside, 600)
    before = seen(inside, who)
    polls = ["/line/events", "/api/v1/reviews/news?newest=0", "/api/v1/line/nowhere/picture",
             "/api/v1/jobs/1", "/api/v1/jobs/1/log"]  # fmt: skip
    paths = {rule.path for rule in rules(inside.app)}
    assert {"/line/events", "/api/v1/reviews/news", "/api/v1/line/{station}/picture",
            "/api/v1/jobs/{job}", "/api/v1/jobs/{job}/log"} <= paths  # fmt: skip
    for poll in polls:
        assert inside.ask("GET", poll, who, JSON).status_code in {200, 404}, poll
    inside.app.state.seen.close()
    assert seen(inside, who) == before
    assert inside.ask("GET", "/results", who).status_code == 200
    until(lambda: seen(inside, who) > people.after(-60))


def test_a_read_that_fails_is_not_called_not_saved(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(what: str, **_more: Any) -> Any:
        raise StoreError(f"{what}: store sqlite:////secret/place: it cannot be opened")

    who = inside.session("viewer")
    english = {**PAGE, "accept-language": "en"}
    real = inside.site.store.read
    asked: list[str] = []

    def down_later(what: str) -> Any:
        asked.append(what)
        return real(what) if len(asked) == 1 else down(what)

    monkeypatch.setattr(inside.site.store, "read", down_later)
    found = inside.ask("GET", "/people/me", who, english)
    assert found.status_code == 503
    assert "NOT SAVED" not in found.text
    assert "The store cannot be read" in found.text
    assert "/secret/place" in found.text  # who is signed in may pass it on to the engineer
    monkeypatch.setattr(inside.site.store, "read", down)
    for headers in (english, JSON):
        found = inside.ask("GET", "/sign-in", None, headers)
        assert found.status_code == 503
        assert "secret" not in found.text
        posted = {"name": "viewer", "password": PASSWORD}
        found = inside.ask("POST", "/sign-in", None, headers, data=posted)
        assert found.status_code == 503
        assert "secret" not in found.text
    assert inside.ask("GET", "/line", who, JSON).json()["detail"] == ""


def test_a_second_station_signs_in_after_the_first_made_the_administrator(tmp_path: Path) -> None:
    config = write_shift(tmp_path, 1)
    with Inside(config) as first, Inside(config) as second:
        codes = [one.site.setup_code for one in (first, second)]
        assert all(codes)
        form = {"code": codes[0], "name": "kim", "password": PASSWORD}
        assert first.ask("POST", "/setup", data=form).status_code == 303
        late = {"code": codes[1], "name": "lee", "password": PASSWORD}
        assert second.ask("GET", "/sign-in", None, PAGE).status_code == 200
        assert second.ask("GET", "/setup", None, PAGE).headers["location"] == "/sign-in"
        second.site.setup_code = codes[1]  # nobody has looked yet
        assert second.ask("POST", "/setup", data=late).headers["location"] == "/sign-in"
        assert second.site.setup_code == ""
        assert second.sign_in("kim", PASSWORD).status_code == 303


def test_a_store_that_is_put_aside_begins_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_shift(tmp_path, 2)
    add_people(config)
    path = config.sqlite_path
    assert path is not None
    with Inside(config) as inside:
        inside.site.address = "http://station:8080/"
        who = inside.session("viewer")
        line = SqlStore(config)
        for number in range(4):
            line.alarm("st1", Reason.STORE_FAILED, "old", number % 2 == 0)
        line.close()
        watch = inside.app.state.line
        watch.look()
        watch._once()
        for suffix in ("", "-wal", "-shm"):
            log = path.with_name(path.name + suffix)
            if log.exists():
                log.rename(log.with_name(f"results.db.corrupt.1{suffix}"))
        line = SqlStore(store_config(tmp_path))
        line.begin_epoch("st1", "new")
        line.alarm("st1", Reason.STORE_FAILED, "new", True)
        assert inside.ask("GET", "/line", who, JSON).status_code == 401
        shown = inside.ask("GET", "/sign-in", None, PAGE)
        assert (shown.status_code, shown.headers["location"]) == (303, "/setup")
        code = inside.site.setup_code
        assert f"http://station:8080/setup?code={code}" in capsys.readouterr().out
        inside.ask("GET", "/sign-in", None, PAGE)
        assert inside.site.setup_code == code  # one, however often somebody looks
        form = {"code": code, "name": "kim", "password": PASSWORD}
        assert inside.ask("POST", "/setup", data=form).status_code == 303

        def alarms() -> list[str]:
            watch.refresh()
            return [alarm.detail for alarm in watch.look().stations["st1"].alarms]

        until(lambda: alarms() == ["new"])
        line.close()


def test_a_restored_store_with_people_takes_the_code_back(tmp_path: Path) -> None:
    config = write_shift(tmp_path, 1)
    with Inside(config) as inside:
        assert inside.ask("GET", "/", None, PAGE).headers["location"] == "/setup"
        with inside.site.store.write("somebody, by another process") as connection:
            people.add(
                connection, "kim", "Kim", Role.ADMINISTRATOR, "en", hash_secret(PASSWORD),
                must_change=False,
            )  # fmt: skip
        assert inside.ask("GET", "/", None, PAGE).headers["location"] == "/sign-in"
        assert inside.site.setup_code == ""
