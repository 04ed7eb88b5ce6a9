"""What must be sorted again begins at a good part that says something of the missed one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest
import sqlalchemy as sa
from store_samples import RECIPE, detections, inspected, trigger

from inspection.store.config import StoreConfig
from inspection.store.sql import SqlStore
from inspection.store.tables import parts
from inspection.store.web import doubt, search, story
from inspection.store.web.access import WebStore
from inspection.store.web.tables import reviews
from inspection.types import Recipe
from inspection_serve.web.results.asked import Asked
from inspection_serve.web.results.sorting import AskedSorting, Sorting, answer

OTHER = replace(RECIPE, number=2, part="lid", sha256="22" * 32)
OTHER_LIMITS = replace(RECIPE, sha256="33" * 32)
MORNING = datetime(2026, 3, 2, 8, tzinfo=UTC)

Pass = Callable[..., int]
DEAD = -60 * 24 * 900
"""Minutes: a clock without its battery starts years ago."""


def label(minute: int) -> str:
    return (MORNING + timedelta(minutes=minute)).isoformat(timespec="microseconds")


@pytest.fixture
def web(config: StoreConfig) -> Iterator[WebStore]:
    line = SqlStore(config)
    line.begin_epoch("st1", "start")
    line.close()
    store = WebStore(config)
    yield store
    store.close()


@pytest.fixture
def passed(web: WebStore, config: StoreConfig) -> Iterator[Pass]:
    """Adds a passed part that the clock says was so many minutes after eight, and what people said of it."""
    line, made = SqlStore(config), itertools.count(1)

    def add(minute: int, verdict: str = "", recipe: Recipe = RECIPE, **judged: Any) -> int:
        asked = replace(trigger(next(made)), seen_at=label(minute))
        found = replace(detections(), **judged)
        record = line.decided(inspected(asked, recipe=recipe, detections=found))
        if verdict:
            _say(web, record, verdict)
        return record

    yield add
    line.close()


def _say(web: WebStore, record: int, verdict: str) -> None:
    copied = (
        "station",
        "part_name",
        "recipe_number",
        "release",
        "decision",
        "reason",
        "triggered_at",
    )
    with web.write("a verdict") as connection:
        query = sa.select(*(parts.c[name] for name in copied)).where(parts.c.id == record)
        row = dict(connection.execute(query).mappings().one())
        said = {
            "record": record, "state": "done", "why": "sample", "probability": 0.02, "version": 1,
            "verdict": verdict, "who": "kim", "changed_at": row["triggered_at"],
        }  # fmt: skip
        connection.execute(sa.insert(reviews), row | said)


def test_a_good_part_of_another_recipe_does_not_shorten_the_doubt(
    web: WebStore, passed: Pass
) -> None:
    """Recipe 1 runs unconfirmed for three hours, recipe 2 has a confirmed part, recipe 1 misses one."""
    first = passed(0, "false_call")
    unconfirmed = [passed(minute) for minute in (30, 90, 170)]
    between = [passed(200, recipe=OTHER), passed(230, "false_call", recipe=OTHER)]
    missed = passed(240, "missed")
    found = answer(web, AskedSorting(station="st1"))
    assert (found.chosen, found.good, found.missed) == ("confirmed", first, missed)
    assert (found.recipe, found.release) == (1, "bottle/3")
    assert found.number == len([*unconfirmed, *between, missed])


@pytest.mark.parametrize(
    "good",
    [
        {"recipe": OTHER_LIMITS},
        {"release": "bottle/4"},
        {"model_sha256": "bf16:" + "cd" * 32},
        {"recipe": replace(RECIPE, part="flask")},
        {"recipe": replace(RECIPE, card_sha256="ef" * 32)},
    ],
    ids=["limits", "release", "variant", "part", "card"],
)
def test_what_was_judged_otherwise_confirms_nothing(
    web: WebStore, passed: Pass, good: dict[str, Any]
) -> None:
    alike = passed(1, "false_call")
    passed(60, "false_call", **good)
    passed(120, "missed")
    assert answer(web, AskedSorting(station="st1")).good == alike


def test_without_a_part_judged_alike_all_is_in_doubt(web: WebStore, passed: Pass) -> None:
    first = passed(0, "false_call", recipe=OTHER)
    passed(1, "false_call", recipe=OTHER_LIMITS)
    passed(60, "missed")
    found = answer(web, AskedSorting(station="st1"))
    assert (found.chosen, found.good, found.first, found.number) == ("beginning", None, first, 3)


def test_what_was_judged_by_nobody_knows_what_has_no_good_part(web: WebStore, passed: Pass) -> None:
    """Without the hash of the recipe nobody can tell under which limits the part passed."""
    unknown = replace(RECIPE, sha256="")
    passed(0, "false_call", recipe=unknown)
    missed = passed(60, "missed", recipe=unknown)
    with web.read("the part") as connection:
        assert doubt.last_good(connection, story.part_at(connection, missed)) is None


def listed(web: WebStore, found: Sorting) -> list[int]:
    """What the link on the page finds, and the export with it; it is as many as the table counts."""
    asked = Asked.model_validate(dict(parse_qsl(found.export)))
    with web.read("the list") as connection:
        records = sorted(search.find(connection, asked.search(), limit=1000))
    assert len(records) == found.number == sum(lot.number for lot in found.lots)
    assert (min(records), max(records)) == (found.first, found.last)
    return records


def test_a_clock_that_was_set_back_hides_no_part(web: WebStore, passed: Pass) -> None:
    """The power went, the clock started years ago, and was set right before the part that was missed."""
    good = passed(0, "false_call")
    later = [passed(DEAD), passed(DEAD + 1), passed(DEAD + 2), passed(240, "missed")]
    for asked in ({}, {"missed": later[-1]}, {"good": good}):
        found = answer(web, AskedSorting(station="st1", **asked))
        assert (found.good, listed(web, found), found.odd) == (good, later, 3)


def test_a_good_part_that_was_made_later_ends_no_doubt(web: WebStore, passed: Pass) -> None:
    """The clock was nine hours ahead and was set back: the good part looks older than the missed one."""
    made = [passed(600), passed(660), passed(720), passed(780, "missed"), passed(300, "false_call")]
    found = answer(web, AskedSorting(station="st1", missed=made[3]))
    assert (found.chosen, listed(web, found)) == ("beginning", made)


def test_the_newest_missed_part_is_the_last_that_was_made(web: WebStore, passed: Pass) -> None:
    made = [passed(600, "missed"), passed(0, "false_call"), passed(10, "missed")]
    found = answer(web, AskedSorting(station="st1"))
    assert (found.missed, found.good, listed(web, found)) == (made[2], made[1], [made[2]])


@pytest.mark.parametrize(
    ("minutes", "since", "until", "expected"),
    [
        ([0, 60, 120, 180], 60, 180, [2, 3]),
        ([0, DEAD, DEAD + 1, 240], 120, None, [2, 3, 4]),
        ([0, 100, 20, 30, 110], 90, None, [2, 3, 4, 5]),
        ([0, 60, 110, 20, 130, 200], 50, 120, [2, 3, 4]),
        ([0, 60, 700, 120, 180], 50, 110, [2, 3]),
        ([0, 60, 70, 50, 80, 110, 130], 100, None, [4, 5, 6, 7]),
        ([0, 60, 20], 100, None, [3]),
        ([0, 60], 100, None, []),
    ],
    ids=[
        "right",
        "dead",
        "back",
        "back before the end",
        "ahead before the end",
        "slow since it was set back",
        "end",
        "none",
    ],
)
def test_by_a_time_all_are_listed_that_may_be_of_it(
    web: WebStore,
    passed: Pass,
    minutes: list[int],
    since: int,
    until: int | None,
    expected: list[int],
) -> None:
    made = [passed(minute) for minute in minutes]
    end = None if until is None else label(until)
    found = answer(
        web, AskedSorting.model_validate({"station": "st1", "since": label(since), "until": end})
    )
    if not expected:
        assert (found.number, found.export) == (0, "")
        return
    assert listed(web, found) == [made[place - 1] for place in expected]
    assert bool(found.odd) == (expected != [2, 3] or 700 in minutes)


def test_the_end_of_a_doubt_goes_by_records_too(web: WebStore, passed: Pass) -> None:
    made = [passed(0, "false_call"), passed(10), passed(DEAD), passed(30), passed(40)]
    asked = {"station": "st1", "good": made[0], "until": label(20)}
    assert listed(web, answer(web, AskedSorting.model_validate(asked))) == made[1:3]


def test_an_end_before_the_good_part_is_refused(web: WebStore, passed: Pass) -> None:
    asked = {"station": "st1", "good": passed(0, "false_call"), "until": label(-5)}
    passed(10)
    with pytest.raises(search.SearchError, match="end is before the start"):
        answer(web, AskedSorting.model_validate(asked))
