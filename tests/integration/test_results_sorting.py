"""What must be sorted again begins at a good part that says something of the missed one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from store_samples import RECIPE, detections, inspected, trigger

from inspection.store.config import StoreConfig
from inspection.store.sql import SqlStore
from inspection.store.tables import parts
from inspection.store.web import story
from inspection.store.web.access import WebStore
from inspection.store.web.tables import reviews
from inspection.types import Recipe
from inspection_serve.web.results.sorting import AskedSorting, answer

OTHER = replace(RECIPE, number=2, part="lid", sha256="22" * 32)
OTHER_LIMITS = replace(RECIPE, sha256="33" * 32)
MORNING = datetime(2026, 3, 2, 8, tzinfo=UTC)

Pass = Callable[..., int]


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
    """Adds a passed part so many minutes after eight, and what people said of it."""
    line = SqlStore(config)

    def add(minute: int, verdict: str = "", recipe: Recipe = RECIPE, **judged: Any) -> int:
        at = (MORNING + timedelta(minutes=minute)).isoformat(timespec="microseconds")
        asked = replace(trigger(minute + 1), seen_at=at)
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
    passed(0, "false_call", recipe=OTHER)
    passed(1, "false_call", recipe=OTHER_LIMITS)
    passed(60, "missed")
    found = answer(web, AskedSorting(station="st1"))
    assert (found.chosen, found.good, found.since, found.number) == ("beginning", None, None, 3)


def test_what_was_judged_by_nobody_knows_what_has_no_good_part(web: WebStore, passed: Pass) -> None:
    """Without the hash of the recipe nobody can tell under which limits the part passed."""
    unknown = replace(RECIPE, sha256="")
    passed(0, "false_call", recipe=unknown)
    missed = passed(60, "missed", recipe=unknown)
    with web.read("the part") as connection:
        assert story.last_good(connection, story.part_at(connection, missed)) is None
