"""What the sample of passed parts says of all of them, where not every picture is kept."""

from __future__ import annotations

import sys

import pytest
import sqlalchemy as sa
from store_samples import PASSED, inspected, trigger

from inspection.store.config import StoreConfig
from inspection.store.images import is_sampled
from inspection.store.sql import SqlStore
from inspection.store.tables import epochs
from inspection.store.web import settings
from inspection.store.web.access import WebStore
from inspection.store.web.counts import Wanted
from inspection.store.web.intake import PASS_SHARE, Intake
from inspection.store.web.tables import reviews
from inspection.store.web.tallies import judged, none_kept
from inspection_serve.web.quality.estimates import Group, group

NUMBER = 400
"""Passed parts of each of the two times."""


def make_parts(config: StoreConfig, ok_every: int) -> None:
    """One start of the line with this setting, and its passed parts."""
    images = config.images.model_copy(update={"ok_every": ok_every})
    line = SqlStore(config.model_copy(update={"images": images}))
    epoch = line.begin_epoch("st1", "start")
    for sequence in range(1, NUMBER + 1):
        part = inspected(trigger(sequence, epoch=epoch), PASSED)
        line.decided(part)
        kept = is_sampled(part.trigger.key, ok_every)
        line.images(part.trigger.key, "saved" if kept else "sampled_out", [])
        line.sent(part.trigger.key, part.decided_mono, part.decided_at)
    line.close()


def estimate(config: StoreConfig, share: float) -> tuple[Group, list[tuple[int, float]]]:
    """Draw, find every drawn part of epoch 1 defective and every other one good, and count."""
    store = WebStore(config)
    with store.write("a test") as connection:
        settings.change(connection, PASS_SHARE, share, "choi")
    Intake(store).take_all()
    with store.write("verdicts") as connection:
        bad = sa.case((reviews.c.record <= NUMBER, "missed"), else_="false_call")
        connection.execute(sa.update(reviews).values(state="done", verdict=bad))
    with store.read("what they said") as connection:
        query = sa.select(reviews.c.record, reviews.c.probability).order_by(reviews.c.record)
        drawn = [(int(row[0]), float(row[1])) for row in connection.execute(query)]
        said = judged(
            connection, Wanted(since="2000-01-01T00:00", until="3000-01-01T00:00"), "release"
        )
    store.close()
    found = group(((), row) for row in said)[()]
    found.passed = 2 * NUMBER
    return found, drawn


def test_times_with_another_share_of_pictures_weigh_what_they_made(config: StoreConfig) -> None:
    """All parts of the first time escaped, none of the second: the half of all, whatever was kept."""
    make_parts(config, 1)
    make_parts(config, 10)
    found, drawn = estimate(config, 1.0)
    second = [p for record, p in drawn if record > NUMBER]
    assert 15 <= len(second) <= 70
    assert {p for record, p in drawn if record <= NUMBER} == {1.0}
    assert set(second) == {0.1}
    expected = NUMBER / (NUMBER + 10 * len(second))
    made = found.made()
    assert made.passed.defective is not None
    assert abs(made.passed.defective - expected) < 1e-9
    assert abs(made.passed.defective - 0.5) < 0.15
    assert made.passed.most.low < 0.5 < made.passed.most.high


def test_the_share_of_the_draw_counts_beside_that_of_the_pictures(config: StoreConfig) -> None:
    make_parts(config, 2)
    _, drawn = estimate(config, 0.5)
    assert {p for _, p in drawn} == {0.25}
    assert 60 <= len(drawn) <= 145


def test_an_epoch_of_an_older_program_counts_as_before(config: StoreConfig) -> None:
    make_parts(config, 2)
    store = WebStore(config)
    with store.write("as an older program left it") as connection:
        connection.execute(sa.update(epochs).values(ok_every=None))
    store.close()
    _, drawn = estimate(config, 1.0)
    assert {p for _, p in drawn} == {1.0}


def test_a_time_in_which_no_picture_was_kept_is_told(
    config: StoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "NUMBER", 3)
    for hour, ok_every in enumerate((1, 0, 10)):
        make_parts(config, ok_every)
        store = WebStore(config)
        with store.write("a time of its own") as connection:
            here = epochs.c.epoch == sa.select(sa.func.max(epochs.c.epoch)).scalar_subquery()
            at = f"2026-11-21T{hour:02}:00:00.000000+00:00"
            connection.execute(sa.update(epochs).where(here).values(started_at=at))
        store.close()
    told = {
        (since, until, station): _none_kept(
            config, f"2026-11-21T{since}", f"2026-11-21T{until}", station
        )
        for since, until, station in (
            ("00:00", "01:00", None),
            ("00:30", "01:30", None),
            ("01:30", "04:00", "st1"),
            ("02:30", "04:00", None),
            ("00:30", "01:30", "st2"),
        )
    }
    assert list(told.values()) == [False, True, True, False, False]


def _none_kept(config: StoreConfig, since: str, until: str, station: str | None) -> bool:
    store = WebStore(config)
    try:
        with store.read("a test") as connection:
            return none_kept(connection, Wanted(since=since, until=until, station=station))
    finally:
        store.close()
