"""A prepared statement writes what SQLAlchemy itself would, and fails as it does, on both databases."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from inspection.store import database
from inspection.store.config import StoreConfig
from inspection.store.prepared import Prepared
from inspection.store.tables import json_type

table = sa.Table(
    "prepared_here",
    sa.MetaData(),
    sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("share", sa.Double),
    sa.Column("state", sa.Text),
    sa.Column("is_on", sa.Boolean),
    sa.Column("found", json_type()),
)
ROWS: list[dict[str, Any]] = [
    {"name": "100 % :name %(name)s ?", "share": 0.1, "is_on": True, "found": {"오염": [1, 2.5]}},
    {"name": "'; --", "share": None, "is_on": False, "found": None},
    {"name": "빈", "found": []},
    {"name": "one more of the first kind", "share": -1e300, "is_on": None, "found": "text"},
]


@pytest.fixture
def connection(config: StoreConfig) -> Iterator[sa.Connection]:
    engine = database.make_engine(config)
    with engine.connect() as opened:
        with opened.begin():
            table.create(opened)
        yield opened
    engine.dispose()


def stored(connection: sa.Connection) -> list[dict[str, Any]]:
    with connection.begin():
        return [dict(row) for row in connection.execute(sa.select(table).order_by("id")).mappings()]


def test_rows_are_those_of_sqlalchemy(connection: sa.Connection) -> None:
    statement = sa.insert(table).returning(table.c.id)
    insert = Prepared(statement, table)
    with connection.begin():
        ids = [insert.returned(connection, row) for row in ROWS]
    ours = stored(connection)
    assert ids == [row["id"] for row in ours]
    with connection.begin():
        connection.execute(sa.delete(table))
        for row in ROWS:
            connection.execute(statement, row)
    theirs = stored(connection)
    assert [{**row, "id": 0} for row in ours] == [{**row, "id": 0} for row in theirs]
    assert [row["name"] for row in ours] == [row["name"] for row in ROWS]
    assert ours[0]["found"] == {"오염": [1, 2.5]}


def test_an_update_has_its_own_values_and_tells_what_it_changed(connection: sa.Connection) -> None:
    with connection.begin():
        connection.execute(
            sa.insert(table), [{"name": "a", "state": "new"}, {"name": "b", "state": None}]
        )
    close = Prepared(
        sa.update(table)
        .where(table.c.name == sa.bindparam("key"), table.c.state == "new")
        .values(
            state=sa.case((table.c.state == "new", "closed"), else_=table.c.state),
            share=sa.func.coalesce(table.c.share, sa.bindparam("first")),
        ),
        table,
    )
    with connection.begin():
        assert close.changed(connection, {"key": "a", "first": 0.5}) == 1
        assert close.changed(connection, {"key": "a", "first": 0.7}) == 0
        assert close.changed(connection, {"key": "b", "first": 0.7}) == 0
    assert [(row["state"], row["share"]) for row in stored(connection)] == [
        ("closed", 0.5),
        (None, None),
    ]
    change = Prepared(
        sa.update(table).where(table.c.name == sa.bindparam("key")).returning(table.c.id), table
    )
    with connection.begin():
        assert change.returned(connection, {"key": "b", "share": 0.25}) == 2
        assert change.returned(connection, {"key": "b", "state": "x", "found": [1]}) == 2
        assert change.returned(connection, {"key": "nobody", "share": 1.0}) is None
    assert stored(connection)[1] == {
        "id": 2, "name": "b", "share": 0.25, "state": "x", "is_on": None, "found": [1],
    }  # fmt: skip


def test_it_fails_as_sqlalchemy_does(connection: sa.Connection) -> None:
    insert = Prepared(sa.insert(table).returning(table.c.id), table)
    with connection.begin():
        insert.returned(connection, {"name": "a"})
    for wrong in ({"name": "a"}, {"name": None}):
        with pytest.raises(IntegrityError) as met, connection.begin():
            insert.returned(connection, wrong)
        assert database.is_refused(met.value)
    for number in (math.nan, math.inf):
        with pytest.raises(ValueError, match="JSON") as broken, connection.begin():
            insert.returned(connection, {"name": "b", "found": [number]})
        assert database.is_refused(broken.value)
    with connection.begin():
        connection.execute(sa.text("DROP TABLE prepared_here"))
    with pytest.raises(DBAPIError) as gone, connection.begin():
        insert.returned(connection, {"name": "c"})
    assert not database.is_refused(gone.value)
    with connection.begin():  # the connection is of use still
        table.create(connection)
        assert insert.returned(connection, {"name": "a"}) == 1


def test_what_is_not_committed_is_not_there(connection: sa.Connection) -> None:
    insert = Prepared(sa.insert(table), table)
    with connection.begin() as transaction:
        assert insert.changed(connection, {"name": "a"}) == 1
        transaction.rollback()
    assert stored(connection) == []
