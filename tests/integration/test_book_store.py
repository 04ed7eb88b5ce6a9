"""The book's rows, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres_server import NoServerError, PostgresServer
from store_samples import store_config
from web_shift import add_part

from inspection.store.queries import StoreReader
from inspection.store.rows import Values
from inspection.store.sql import SqlStore
from inspection.store.web import audit, book, pictures
from inspection.store.web.access import WebStore
from inspection.store.web.tables import book as table
from inspection.types import Verdict


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    try:
        started = PostgresServer()
    except NoServerError as error:
        pytest.skip(str(error))
    yield started
    started.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[WebStore, StoreReader]]:
    """A store with parts 1 to 6: 3 is FAIL, 6 REVIEW, the others passed."""
    changes = {}
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("server")
        changes = {"url": server.url("book_" + request.node.name.split("[")[0][-40:])}
    config = store_config(tmp_path, **changes)
    store = SqlStore(config)
    store.begin_epoch("st1", "start")
    for sequence in range(1, 7):
        add_part(store, config, sequence)
    store.close()
    web, reader = WebStore(config), StoreReader(config)
    yield web, reader
    reader.close()
    web.close()


def part(store: WebStore, record: int) -> Values:
    with store.read("a test") as connection:
        found = pictures.find(connection, record)
    assert found
    return found


def add(store: WebStore, record: int, kind: str, defect_class: str = "", note: str = "") -> int:
    row = part(store, record)
    with store.write("a test") as connection:
        return book.add(
            connection,
            row,
            kind,
            defect_class=defect_class,
            path="a.jpg",
            sha256=f"{record:064x}",
            note=note,
            who="kim",
        )


def test_entries_are_added_found_and_taken_out(opened: tuple[WebStore, StoreReader]) -> None:
    store, _ = opened
    golden = add(store, 1, book.GOLDEN)
    limit = add(store, 3, book.LIMIT_NG, "긁힘 \"'<b>", "note\nof two lines")
    assert add(store, 1, book.GOLDEN) == golden
    with store.read("a test") as connection:
        assert book.part_names(connection) == ["plate"]
        assert [row["id"] for row in book.entries(connection, "plate")] == [limit, golden]
        assert [row["id"] for row in book.entries(connection, "plate", recipe_number=7)] == [limit]
        assert (book.golden(connection, "plate", 1) or {})["id"] == golden
        assert book.golden(connection, "plate", 7) is None
        row = book.find(connection, limit) or {}
    assert (row["defect_class"], row["note"]) == ("긁힘 \"'<b>", "note\nof two lines")
    with store.write("a test") as connection:
        assert book.take_out(connection, golden, "lee") is True
        assert book.take_out(connection, golden, "lee") is False
        assert book.take_out(connection, 999, "lee") is False
    with store.read("a test") as connection:
        assert book.golden(connection, "plate", 1) is None
        assert len(book.entries(connection, "plate", inactive=True)) == 2
        assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 2
        told = [(row["who"], row["action"]) for row in audit.rows(connection)]
        assert list(audit.breaches(connection)) == []
    assert told == [("lee", "book.taken_out"), ("kim", "book.added"), ("kim", "book.added")]
    assert add(store, 1, book.GOLDEN) != golden


def test_a_golden_part_was_proven_good(opened: tuple[WebStore, StoreReader]) -> None:
    store, reader = opened

    def refused(record: int, kind: str = book.GOLDEN, defect_class: str = "") -> str:
        with pytest.raises(book.BookError) as error:
            add(store, record, kind, defect_class)
        return error.value.code

    assert refused(3) == "not_good"
    assert refused(6) == "not_good"
    reader.add_verdict(3, Verdict.FALSE_CALL, who="kim", version_seen=0)
    assert add(store, 3, book.GOLDEN)
    reader.add_verdict(1, Verdict.MISSED, who="kim", version_seen=0)
    assert refused(1) == "not_good"
    reader.add_verdict(1, Verdict.NOT_REVIEWED, who="kim", version_seen=1)
    assert add(store, 1, book.GOLDEN)
    assert refused(2, defect_class="scratch") == "no_class"
    assert refused(2, book.LIMIT_OK) == "no_class"
    with store.read("a test") as connection:
        assert len(book.entries(connection, "plate")) == 2
        assert pictures.find(connection, 0) is None
        assert pictures.find(connection, 2**40) is None


def test_classes_have_names(opened: tuple[WebStore, StoreReader]) -> None:
    store, _ = opened
    with store.write("a test") as connection:
        assert book.class_names(connection) == {}
        book.name_class(connection, "scratch", "긁힘", "Scratch", "kim")
        book.name_class(connection, "dent", "", "Dent", "kim")
        book.name_class(connection, "scratch", "스크래치", "Scratch", "kim")
        assert book.class_names(connection) == {
            "scratch": {"ko": "스크래치", "en": "Scratch"},
            "dent": {"ko": "", "en": "Dent"},
        }
        book.name_class(connection, "dent", "", "", "kim")
        assert set(book.class_names(connection)) == {"scratch"}
