"""Commands in the store: what every store promises of them, over SQLite and PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres_server import NoServerError, PostgresServer
from store_samples import store_config

from inspection.store.config import StoreConfig
from inspection.store.sql import SqlStore
from inspection.store.web import alarms, audit, commands, people
from inspection.store.web.access import WebStore
from inspection.store.web.commands import ControlHeldError, NoControlError
from inspection.store.web.people import Person, Role
from inspection.store.web.tables import commands as table
from inspection.store.web.tables import controls
from inspection.types import Command, CommandState, Reason


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
def line(config: StoreConfig) -> Iterator[SqlStore]:
    store = SqlStore(config)
    store.begin_epoch("st1", "start")
    yield store
    store.close()


@pytest.fixture
def pages(line: SqlStore, config: StoreConfig) -> Iterator[WebStore]:
    del line
    store = WebStore(config)
    yield store
    store.close()


def person(name: str = "kim", session: str = "a") -> Person:
    return Person(1, name, name, Role.ENGINEER, "ko", False, {}, session, "csrf", "")


def ask(pages: WebStore, number: int = 2) -> int:
    with pages.write("a command") as connection:
        commands.take_control(connection, "st1", person())
        return commands.ask_recipe(connection, "st1", person(), number)


def state(pages: WebStore, command: int) -> tuple[str, str | None]:
    with pages.read("a command") as connection:
        row = commands.find(connection, command)
    assert row
    return row["state"], row["detail"]


def change(pages: WebStore, command: int, **values: object) -> None:
    with pages.write("a command") as connection:
        connection.execute(sa.update(table).where(table.c.id == command).values(**values))


def test_a_command_is_taken_once_and_answered(line: SqlStore, pages: WebStore) -> None:
    assert line.take_command("st1") is None
    asked = ask(pages)
    assert line.take_command("other") is None
    assert line.take_command("st1") == Command(asked, 2, "kim")
    assert line.take_command("st1") is None
    assert state(pages, asked) == ("taken", "")
    line.command_done(asked, CommandState.DONE, "plate/1")
    line.command_done(asked, CommandState.REFUSED, "too late")
    assert state(pages, asked) == ("done", "plate/1")
    with pages.read("the audit") as connection:
        assert [row["action"] for row in audit.rows(connection)] == [
            "recipe.asked",
            "control.taken",
        ]
        assert not list(audit.breaches(connection))


def test_old_malformed_and_replaced_commands_never_reach_the_line(
    line: SqlStore, pages: WebStore
) -> None:
    older, newer = ask(pages, 2), ask(pages, 3)
    assert line.take_command("st1") == Command(newer, 3, "kim")
    assert state(pages, older) == ("refused", "replaced")
    for seconds in (-31, 36):  # what is in the future comes nearer while it is written
        late = ask(pages)
        at = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
        change(pages, late, at=at)
        assert line.take_command("st1") is None
        assert state(pages, late) == ("expired", "too_old")
    wrong = [{}, {"number": 0}, {"number": "2"}, {"number": True}, {"number": 65536}, [2], "2"]
    for value in wrong:
        bad = ask(pages)
        change(pages, bad, value=value)
        assert line.take_command("st1") is None
        assert state(pages, bad) == ("refused", "malformed")


def test_what_was_taken_before_a_restart_is_refused(line: SqlStore, pages: WebStore) -> None:
    asked = ask(pages)
    line.take_command("st1")
    line.close_open_parts("st1", Reason.RESTART)
    assert state(pages, asked) == ("refused", "restart")


def test_control_has_one_holder_until_it_is_given_back_forced_or_over(pages: WebStore) -> None:
    kim, lee = person(), person("lee", "b")
    with pages.write("control") as connection:
        commands.take_control(connection, "st1", kim)
    with pytest.raises(ControlHeldError), pages.write("control") as connection:
        commands.take_control(connection, "st1", lee)
    with pytest.raises(NoControlError), pages.write("control") as connection:
        commands.ask_recipe(connection, "st1", lee, 2)
    other_session = person("kim", "another")
    with pytest.raises(NoControlError), pages.write("control") as connection:
        commands.give_back(connection, "st1", other_session)
    with pages.write("control") as connection:
        commands.take_control(connection, "st1", lee, force=True)
        assert commands.holder(connection, "st1").who == "lee"  # type: ignore[union-attr]
        connection.execute(sa.update(controls).values(until_at=people.after(-1)))
        assert commands.holder(connection, "st1") is None
    with pytest.raises(NoControlError), pages.write("control") as connection:
        commands.ask_recipe(connection, "st1", lee, 2)
    with pages.write("control") as connection:
        commands.take_control(connection, "st1", kim)
        commands.give_back(connection, "st1", kim)
        assert commands.holders(connection) == {}
        assert [row["action"] for row in audit.rows(connection)] == [
            "control.given_back", "control.taken", "control.forced", "control.taken",
        ]  # fmt: skip


def test_an_alarm_is_acknowledged_and_shelved(line: SqlStore, pages: WebStore) -> None:
    line.alarm("st1", Reason.CAMERA_LOST, "cable", True)
    with pages.write("an alarm") as connection:
        (row,) = alarms.since(connection, 0)
        alarms.acknowledge(connection, row["id"], "kim", "cable in again", 600)
        alarms.acknowledge(connection, row["id"], "lee", "", 0)
        done = alarms.acknowledgements(connection, [row["id"]])[row["id"]]
        assert (done["who"], done["shelved_until"]) == ("lee", None)
        assert [r["who"] for r in audit.rows(connection)] == ["lee", "kim"]
        assert alarms.stations(connection) == ["st1"]
        alarms.set_rules(connection, alarms.Rules(5, 1.5, 20), "kim")
        assert alarms.rules(connection) == alarms.Rules(5, 1.5, 20)


def test_a_control_that_was_taken_with_the_clock_ahead_is_held_by_nobody(pages: WebStore) -> None:
    with pages.write("control") as connection:
        commands.take_control(connection, "st1", person())
        late = {"since_at": people.after(86400), "until_at": people.after(86400 + commands.HOLD)}
        connection.execute(sa.update(controls).values(**late))
        assert commands.holder(connection, "st1") is None
        commands.take_control(connection, "st1", person("lee", "b"))
        held = commands.holder(connection, "st1")
        assert held is not None
        assert held.who == "lee"


def test_an_alarm_that_was_put_aside_with_the_clock_ahead_is_not_aside() -> None:
    longest = alarms.LONGEST_SHELF
    shelved = {
        seconds: alarms.is_shelved(people.after(seconds))
        for seconds in (-1, 60, longest, longest * 9)
    }
    assert shelved == {-1: False, 60: True, longest: True, longest * 9: False}
    assert not alarms.is_shelved(None)
