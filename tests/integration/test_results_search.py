"""Searching the results: every search finds what a look at every row finds, in the same order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from postgres_server import NoServerError, PostgresServer
from store_samples import store_config
from web_shift import bulk

from inspection.store.database import make_engine
from inspection.store.tables import parts
from inspection.store.web import doubt, kinds, plan, search, story
from inspection.store.web.access import WebStore
from inspection.store.web.search import Search, SearchError
from inspection.store.web.tables import reviews

NUMBER = 3000


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebStore]:
    folder = tmp_path_factory.mktemp("large")
    server = None
    settings: dict[str, Any] = {}
    if request.param == "postgresql":
        try:
            server = PostgresServer()
        except NoServerError as error:
            pytest.skip(str(error))
        settings["url"] = server.url("results")
    config = store_config(folder, **settings)
    bulk(config, NUMBER, days=3)
    bulk(config, 400, days=1, station="st|2")  # a name that looks like two values
    engine = make_engine(config)
    with engine.connect() as connection, connection.begin():
        _colour(connection)
    engine.dispose()
    opened = WebStore(config)
    yield opened
    opened.close()
    if server is not None:
        server.close()


def _colour(connection: sa.Connection) -> None:
    """Give some rows other recipes, serials and one time together; and ask people about some."""
    change = sa.update(parts)
    connection.execute(change.where(parts.c.id % 7 == 0).values(recipe_number=2))
    connection.execute(change.where(parts.c.id % 50 == 0).values(part_id=0, serial="100%_A"))
    connection.execute(change.where(parts.c.id == 11).values(serial="한글 로트", code="01\x1d21A"))
    connection.execute(change.where(parts.c.id % 90 == 0).values(code="P-1"))
    same = connection.execute(sa.select(parts.c.triggered_at).where(parts.c.id == 100)).scalar()
    connection.execute(change.where(parts.c.id.between(95, 110)).values(triggered_at=same))
    names = (
        "station",
        "part_name",
        "recipe_number",
        "release",
        "decision",
        "reason",
        "defect_class",
    )
    query = sa.select(parts.c.id, parts.c.triggered_at, *(parts.c[name] for name in names))
    asked = sa.or_(parts.c.decision != "PASS", parts.c.id % 19 == 0)
    for row in connection.execute(query.where(asked)).mappings().all():
        number = row["id"]
        state = ("open", "second", "engineer", "done")[number % 4]
        verdict = {"done": "false_call" if number % 3 else "missed", "second": "real_defect"}.get(
            state
        )
        values = {name: row[name] for name in names} | {
            "record": number, "state": state, "why": "x", "probability": 1.0, "version": 1,
            "verdict": verdict, "who": "kim", "first_who": "kim" if state == "second" else None,
            "first_verdict": verdict if state == "second" else None, "score": 0.5,
            "triggered_at": row["triggered_at"], "changed_at": row["triggered_at"],
        }  # fmt: skip
        connection.execute(sa.insert(reviews), values)


def looked(connection: sa.Connection, wanted: Search) -> list[int]:
    """Return what a look at every row finds."""
    joined = sa.select(parts, reviews.c.state.label("at"), reviews.c.verdict).select_from(
        parts.outerjoin(reviews, reviews.c.record == parts.c.id)
    )
    found: list[tuple[str, int]] = []
    for row in connection.execute(joined).mappings():
        plain = (
            "code",
            "part_id",
            "station",
            "recipe_number",
            "release",
            "decision",
            "reason",
            "defect_class",
        )
        if any(getattr(wanted, n) not in (None, row[n]) for n in plain):
            continue
        if not row["serial"].startswith(wanted.serial or ""):
            continue
        if not (wanted.first or 0) <= row["id"] <= (wanted.last or row["id"]):
            continue
        if wanted.since is not None and row["triggered_at"] < wanted.since:
            continue
        if wanted.until is not None and row["triggered_at"] >= wanted.until:
            continue
        stands = {None: "none", "done": "done"}.get(row["at"], "waiting")
        if wanted.review not in (None, stands):
            continue
        if wanted.verdict is not None and (
            row["at"] == "second" or row["verdict"] != wanted.verdict
        ):
            continue
        found.append((row["triggered_at"], row["id"]))
    return [number for _, number in sorted(found, reverse=True)]


def _times(store: WebStore) -> tuple[str, str]:
    with store.read("times") as connection:
        query = sa.select(parts.c.triggered_at).where(parts.c.id.in_([900, 2100]))
        first, last = sorted(connection.execute(query).scalars())
    return str(first), str(last)


VALUES: dict[str, list[Any]] = {
    "code": ["P-1", "P", "01\x1d21A"],
    "serial": ["LOT0000", "LOT", "100%", "한글", "zz", "lot"],
    "part_id": [0, 100_500, 7],
    "station": ["st1", "st|2", "st"],
    "recipe_number": [2, 9],
    "release": ["plate/1", "plate/2"],
    "decision": ["PASS", "REVIEW"],
    "reason": ["NONE", "BORDERLINE", "OVERRUN"],
    "defect_class": ["scratch", "none"],
    "review": ["waiting", "done", "none"],
    "verdict": ["missed", "false_call", "real_defect"],
}


@pytest.mark.parametrize(("serials", "rows"), [(100, 0), (50_000, 0), (0, 300)])
def test_every_pair_of_filters_finds_what_a_look_finds(
    store: WebStore, monkeypatch: pytest.MonkeyPatch, serials: int, rows: int
) -> None:
    monkeypatch.setattr(plan, "SERIALS", serials)  # so that each way of searching is taken
    monkeypatch.setattr(plan, "ROWS", rows)
    monkeypatch.setattr(search, "CHUNKS", (50, 200, 800))
    since, until = _times(store)
    spans = [{}, {"since": since, "until": until}]
    one = [{name: value} for name, values in VALUES.items() for value in values]
    pairs = [a | b for a, b in itertools.combinations(one, 2) if a.keys() != b.keys()]
    tried = [*({} for _ in range(1)), *one, *pairs[serials % 17 :: 17]]
    with store.read("searches") as connection:
        every = dict.fromkeys(looked(connection, Search()))
        assert len(every) == NUMBER + 400
        for place, fields in enumerate(tried):
            wanted = Search(**fields, **spans[place % 2])
            expected = looked(connection, wanted) if place % 5 == 0 or len(fields) < 2 else None
            found = search.find(connection, wanted, limit=5000)
            if expected is not None:
                assert found == expected, wanted


@pytest.mark.parametrize("first", [16, 2])
def test_pages_join_without_gap_or_double(
    store: WebStore, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    monkeypatch.setattr(kinds, "_FIRST", first)
    for wanted in (
        Search(),
        Search(decision="FAIL"),
        Search(serial="LOT"),
        Search(review="waiting"),
    ):
        with store.read("pages") as connection:
            expected, found, below = looked(connection, wanted), [], None
            while page := search.find(connection, wanted, below=below, limit=7):
                found += page
                below = page[-1]
                if len(found) > 120:
                    break
            assert found == expected[: len(found)]


def test_a_count_is_exact_up_to_a_thousand(store: WebStore) -> None:
    with store.read("counts") as connection:
        assert search.page(connection, Search()).number is None
        page = search.page(connection, Search(decision="REVIEW"), limit=10)
        assert page.number == len(looked(connection, Search(decision="REVIEW")))
        assert len(page.rows) == 10
        assert search.page(connection, Search(defect_class="none")) == search.Page(
            [], 0, 0, None, None
        )


def test_a_page_that_did_not_look_at_everything_says_so(
    store: WebStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "SERIALS", 0)
    monkeypatch.setattr(plan, "SPANNED", 0)
    monkeypatch.setattr(plan, "ROWS", 0)
    monkeypatch.setattr(search, "CHUNKS", (100, 300))
    wanted = Search(serial="LOT00000", station="st1")  # the oldest
    with store.read("bounded") as connection:
        first = search.page(connection, wanted, limit=10)
        assert (first.rows, first.number) == ([], None)
        assert first.reached is not None
        found, page = 0, first
        while page.below is not None:
            page = search.page(connection, wanted, below=page.below, limit=400)
            found += len(page.rows)
        assert found == len(looked(connection, wanted)) > 0
        assert page.reached is None


def test_a_first_verdict_is_told_to_nobody_else(store: WebStore) -> None:
    with store.read("blind") as connection:
        second = connection.execute(
            sa.select(reviews.c.record).where(reviews.c.state == "second").limit(1)
        ).scalar_one()
        assert search.rows(connection, [second])[0]["verdict"] is None
        assert second not in search.find(connection, Search(verdict="real_defect"), limit=5000)
        hidden = story.read(connection, second, "lee")
        assert hidden is not None
        assert hidden.review is not None
        assert hidden.review["first_verdict"] is None
        assert hidden.review["verdict"] is None
        own = story.read(connection, second, "kim")
        assert own is not None
        assert own.review is not None
        assert own.review["first_verdict"] == "real_defect"


@pytest.mark.parametrize("record", [0, -1, 4_000_000, 2**40])
def test_a_record_that_is_not(store: WebStore, record: int) -> None:
    with store.read("nothing") as connection:
        assert story.read(connection, record, "kim") is None
        with pytest.raises(SearchError, match="no record"):
            search.find(connection, Search(), below=record)
        with pytest.raises(SearchError, match="no record"):
            story.part_at(connection, record)


def test_lots_to_sort_again_count_every_passed_part(store: WebStore) -> None:
    wanted = Search(station="st1", decision="PASS", first=700, last=2400)
    with store.read("lots") as connection:
        expected = looked(connection, wanted)
        assert search.find(connection, wanted, limit=5000) == expected
        found = doubt.in_doubt(connection, "st1", 700, 2400)
    assert found.number == len(expected) == sum(lot["number"] for lot in found.lots)
    assert (found.first, found.last) == (min(expected), max(expected))


@pytest.mark.parametrize("chunks", [search.CHUNKS, (2, 5, 1000)], ids=["usual", "small"])
def test_the_last_good_part_is_that_of_a_look_at_every_row(
    store: WebStore, monkeypatch: pytest.MonkeyPatch, chunks: tuple[int, ...]
) -> None:
    monkeypatch.setattr(doubt, "CHUNKS", chunks)
    query = sa.select(parts.c.id, parts.c.triggered_at, *(parts.c[name] for name in story.ALIKE))
    good = (reviews.c.state == "done", reviews.c.verdict == "false_call")
    joined = query.join(reviews, reviews.c.record == parts.c.id).where(*good)
    with store.read("the last good one") as connection:
        confirmed = [
            dict(row)
            for row in connection.execute(joined.where(parts.c.decision == "PASS")).mappings()
        ]
        for record in (3, 700, 1900, 2996, 2999, 3200):
            part = story.part_at(connection, record)
            before = [
                row["id"]
                for row in confirmed
                if row["id"] < record and all(row[name] == part[name] for name in story.ALIKE)
            ]
            found = doubt.last_good(connection, part)
            expected = max(before) if before and part["model_sha256"] else None
            assert (found and found["id"]) == expected


def test_the_form_offers_what_there_is(store: WebStore) -> None:
    with store.read("choices") as connection:
        found = search.choices(connection)
    assert found["station"] == ["st1", "st|2"]
    assert found["recipe_number"] == ["1", "2"]
    assert "" not in found["defect_class"]
