"""Sums by shift or day, which each database finds in its own way, against a slow look at every row."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from inspection.store.config import StoreConfig
from inspection.store.sql import SqlStore
from inspection.store.web.access import WebStore
from inspection.store.web.counts import Wanted, same_state, sums
from inspection.store.web.tables import days, slots

START = datetime(2026, 3, 28)
HALVES = 48 * 5
STATIONS, RECIPES, RELEASES = ("st1", "한 줄"), (-1, 1), ("", "plate/1", "plate/2")
DECISIONS = ("PASS", "FAIL")
Row = dict[str, Any]


def label(half: int) -> str:
    return (START + timedelta(minutes=30 * half)).strftime("%Y-%m-%dT%H:%M")


def some_rows(dice: random.Random) -> list[Row]:
    """Return counts of some half hours; some have none."""
    found: dict[tuple[Any, ...], Row] = {}
    for _ in range(900):
        values = (
            label(dice.randrange(HALVES)), dice.choice(STATIONS), dice.choice(RECIPES), "plate",
            dice.choice(RELEASES), dice.choice(DECISIONS), "", dice.choice(("", "scratch")),
        )  # fmt: skip
        names = (
            "slot", "station", "recipe_number", "part_name", "release", "decision", "reason", "defect_class",
        )  # fmt: skip
        found[values] = dict(zip(names, values, strict=True), number=dice.randrange(1, 9))
    return list(found.values())


def directly(
    rows: Sequence[Row],
    wanted: Wanted,
    keys: Sequence[str],
    but: Sequence[str],
    buckets: Sequence[tuple[str, str]],
) -> Counter[tuple[Any, ...]]:
    found: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        inside = [start for start, after in buckets if start <= row["slot"] < after]
        asked = {
            "station": wanted.station,
            "recipe_number": wanted.recipe_number,
            "release": wanted.release,
        }
        if not inside or row["slot"] in but:
            continue
        if any(value is not None and row[name] != value for name, value in asked.items()):
            continue
        if wanted.decisions is not None and row["decision"] not in wanted.decisions:
            continue
        named = row | {"slot": inside[0]}
        found[tuple(named[key] for key in keys)] += row["number"]
    return found


@pytest.mark.parametrize("seed", range(2))
def test_sums_by_bucket_are_what_a_slow_look_finds(config: StoreConfig, seed: int) -> None:
    dice = random.Random(seed)
    rows = some_rows(dice)
    SqlStore(config).close()
    store = WebStore(config)
    with store.write("counts for a test") as connection:
        connection.execute(sa.insert(slots), rows)
    for _ in range(25):
        edges = sorted(dice.sample(range(-10, HALVES + 10), dice.randrange(2, 40)))
        buckets = [(label(a), label(b)) for a, b in itertools.pairwise(edges)]
        wanted = Wanted(
            buckets[0][0],
            buckets[-1][1],
            dice.choice([None, *STATIONS, "none"]),
            dice.choice([None, *RECIPES]),
            dice.choice([None, *RELEASES]),
            dice.choice([None, ("PASS",), DECISIONS]),
        )
        but = sorted({row["slot"] for row in dice.sample(rows, dice.choice([0, 0, 5]))})
        keys = dice.choice(
            [("slot",), ("slot", "decision"), ("release", "slot", "defect_class", "station")]
        )
        with store.read("sums") as connection:
            same_state(connection)
            found = sums(connection, wanted, slots, days, keys, but=but, buckets=buckets)
        assert found == directly(rows, wanted, keys, but, buckets), (wanted, keys, but)
    store.close()
