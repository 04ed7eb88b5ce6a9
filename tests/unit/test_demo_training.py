"""The demo learns by epochs: a slow or busy PC takes longer and learns the same."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import pytest
from release_builder import write_release

from inspection.demo.cli import cut_short
from inspection.release import read_card, write_card
from inspection_training.experiment import load_experiment

IDLE_EPOCH = 10.0
"""Seconds of an epoch on two idle cores of 2026 (docs/results.md)."""


def test_the_clock_of_the_demos_training_is_a_net_only() -> None:
    with as_file(files("inspection.demo") / "experiment.yaml") as path:
        experiment = load_experiment(path, {})
    assert 24 <= experiment.epochs <= 26, "fewer learn too little, more make the demo longer"
    assert experiment.minutes is not None, "the demo must end some day"
    assert experiment.minutes * 60 >= 8 * experiment.epochs * IDLE_EPOCH, "a busy PC is cut short"


@pytest.mark.parametrize(("done", "told"), [(25, ""), (31, ""), (12, "for 12 of 25 epochs")])
def test_a_training_that_the_clock_ended_says_so(tmp_path: Path, done: int, told: str) -> None:
    folder = write_release(tmp_path / "releases", part="plate")
    learned = {"epochs": 25, "epochs_done": done, "minutes": 1.5}
    write_card(folder, read_card(folder).model_copy(update={"experiment": learned}))
    words = cut_short(tmp_path / "releases", "plate/1")
    assert told in words
    assert bool(words) == bool(told)
    assert not told or "1.5 minutes" in words
    assert not told or "--minutes" in words
