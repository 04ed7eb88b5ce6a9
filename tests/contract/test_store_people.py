"""People, terminals, PINs and the audit, on SQLite and PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres_server import NoServerError, PostgresServer
from store_samples import store_config

from inspection.errors import StoreError
from inspection.store.config import StoreConfig
from inspection.store.sql import SqlStore
from inspection.store.web import audit, people, terminals
from inspection.store.web.access import WebStore
from inspection.store.web.people import Role


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    try:
        running = PostgresServer()
    except NoServerError as error:
        pytest.skip(str(error))
    yield running
    running.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> StoreConfig:
    if request.param == "sqlite":
        return store_config(tmp_path)
    running: PostgresServer = request.getfixturevalue("server")
    return store_config(tmp_path, url=running.url(f"c{time.monotonic_ns()}"), busy_timeout=1)


@pytest.fixture
def store(config: StoreConfig) -> Iterator[WebStore]:
    SqlStore(config).close()
    opened = WebStore(config)
    yield opened
    opened.close()


def test_people_terminals_and_pins(store: WebStore) -> None:
    with store.write("people") as connection:
        people.lock(connection)
        kim = people.add(connection, "kim", "김", Role.OPERATOR, "ko", "hash", must_change=False)
        assert people.is_taken(connection, "KIM")
        assert people.is_taken(connection, "system")
        assert not people.is_taken(connection, "lee")
        people.change(connection, kim, pin="pin hash")
        token = terminals.trust(connection, "L1", "kim")
        people.start_session(connection, kim, "L1", 60)
        for _ in range(2):
            people.note_sign_in(connection, "kim", "10.0.0.1", "pin_wrong")
    with store.read("people") as connection:
        assert [row["name"] for row in terminals.quick_people(connection)] == ["kim"]
        assert terminals.name_of(connection, token) == "L1"
        assert terminals.wrong_pins(connection, "kim") == 2
        found = people.sessions_of(connection, kim, 60)
        assert [row["terminal"] for row in found] == ["L1"]
        assert "csrf" not in found[0]
    with store.write("people") as connection:
        assert terminals.forget(connection, "L1")
        assert not terminals.forget(connection, "L1")
        people.note_sign_in(connection, "kim", "10.0.0.1", "ok")
        assert people.sessions_of(connection, kim, 60) == []
        assert terminals.wrong_pins(connection, "kim") == 0


def test_the_audit_is_found_whole_and_protected(store: WebStore) -> None:
    for number in range(3):
        with store.write("audit") as connection:
            audit.append(connection, "kim", "setting.changed", f"setting:a_{number}", value=number)
    with store.read("audit") as connection:
        walk = audit.Walk()
        while audit.walk_on(connection, walk):
            pass
        assert (walk.number, walk.breaches) == (3, [])
        assert (walk.last, walk.previous) == audit.head(connection)
        assert audit.is_protected(connection)
        wanted = audit.Filter(action="setting", subject="setting:", below=3)
        assert [row["id"] for row in audit.rows(connection, wanted)] == [2, 1]
        assert audit.rows(connection, audit.Filter(subject="setting:a%")) == []
    for change in ("UPDATE audit SET who = 'lee'", "DELETE FROM audit"):
        with pytest.raises(StoreError), store.write("breaking the audit") as connection:
            connection.execute(sa.text(change))


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock of this process so many seconds ahead."""

    def by(seconds: float) -> None:
        class Wrong(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:
                return datetime.now(tz) + timedelta(seconds=seconds)

        monkeypatch.setattr(people, "datetime", Wrong)
        monkeypatch.setattr(people, "utc_now", lambda: people.after(0))

    return by


def test_wrong_passwords_of_a_clock_that_was_ahead_lock_nobody_out(
    store: WebStore, ahead: Callable[[float], None]
) -> None:
    def wrong() -> tuple[int, int]:
        with store.read("attempts") as connection:
            return (
                people.wrong_since(connection, 900, name="kim"),
                people.wrong_since(connection, 900, address="10.0.0.1"),
            )

    def note(outcome: str, number: int) -> None:
        with store.write("attempts") as connection:
            for _ in range(number):
                people.note_sign_in(connection, "kim", "10.0.0.1", outcome)

    ahead(365 * 86400.0)
    note("wrong", 8)
    assert wrong() == (8, 8)
    ahead(0)
    assert wrong() == (0, 0)
    note("wrong", 3)
    assert wrong() == (3, 3)


def test_a_right_password_of_a_clock_that_was_ahead_forgives_none_of_today(
    store: WebStore, ahead: Callable[[float], None]
) -> None:
    ahead(365 * 86400.0)
    with store.write("attempts") as connection:
        people.note_sign_in(connection, "kim", "10.0.0.1", "ok")
    ahead(0)
    with store.write("attempts") as connection:
        people.note_sign_in(connection, "kim", "10.0.0.1", "wrong")
        assert people.wrong_since(connection, 900, name="kim") == 1


def test_a_session_of_a_clock_that_was_ahead_does_not_last_for_months(
    store: WebStore, ahead: Callable[[float], None]
) -> None:
    with store.write("a session") as connection:
        kim = people.add(connection, "kim", "김", Role.OPERATOR, "ko", "hash", must_change=False)
        ahead(90 * 86400.0)
        token, _ = people.start_session(connection, kim, "", 3600)
        assert people.who_is(connection, token, 900) is not None
        ahead(0)
        assert people.who_is(connection, token, 900) is None
        assert people.sessions_of(connection, kim, 900) == []
        ahead(2)  # a clock that is set a little ends nothing
        token, _ = people.start_session(connection, kim, "", 3600)
        ahead(0)
        assert people.who_is(connection, token, 900) is not None
