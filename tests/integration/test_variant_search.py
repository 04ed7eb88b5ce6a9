"""Eight bits that decide differently: refused, or the layers that do it are found and stay in float."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from variant_parts import learned_from, write_parts, write_release

from inspection.errors import ReleaseError
from inspection.release import load_release
from inspection_datasets.manifest import DatasetVersion
from inspection_training.variants.float_layers import Search, groups_of
from inspection_training.variants.judge import Wanted
from inspection_training.variants.make import make_variant
from inspection_training.variants.quantize import Int8Graph


@pytest.fixture(scope="module")
def faint(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    return write_parts(tmp_path_factory.mktemp("faint") / "colours", train_strength=0.15)


@pytest.fixture
def release(tmp_path: Path, faint: DatasetVersion) -> Path:
    return learned_from(write_release(tmp_path / "releases"), faint)


def test_wrong_ranges_change_decisions_and_are_refused(
    release: Path, faint: DatasetVersion
) -> None:
    """Ranges set on faint defects cut strong ones off: every defective part would pass."""
    with pytest.raises(ReleaseError) as refused:
        make_variant(release, "int8", faint, Wanted(minutes=0))
    told = str(refused.value)
    assert "12 of 24 decisions differ" in told
    assert "12 defective parts that the release stops would pass" in told
    assert "the first is images/val1.png (defective): FAIL became PASS" in told
    assert not (release / "variants").exists()
    load_release(release)


def test_the_search_keeps_the_harmful_layer_in_float(release: Path, faint: DatasetVersion) -> None:
    card = make_variant(release, "int8", faint, Wanted(minutes=1))
    assert card.parity["openvino"].passed
    assert any("second" in name for name in card.kept_float)
    assert card.quantised >= 1
    assert card.tries[0]["enough"] is False
    assert card.tries[0]["equal"] < card.tries[0]["images"]
    judged = [x for x in card.tries if x["on"] == "judge"]
    assert card.tries[-1] == judged[-1]
    assert ("test" in card.selected_on) is any(not x["enough"] for x in judged)
    assert {"train", "val"} <= set(card.selected_on)


def test_layers_that_harm_for_little_time_stay_in_float_first() -> None:
    harm = {"a": 0.5, "b": 0.4, "c": 0.0, "d": 0.1}
    saving = {"a": 10.0, "b": 0.1, "c": -0.2, "d": 0.5}  # a is dear: b and d go first
    search = Search(
        Int8Graph(None, None, tuple(harm)),
        enough=lambda kept: ({"b", "d"} <= set(kept), {"on": "search"}),
        harm=lambda kept: sum(harm[x] for x in harm if x not in kept),
        saving=saving,
        until=math.inf,
    )
    assert set(next(search.sets())) == {"b", "d"}
    assert [x["float_layers"] for x in search.tries] == [0, 2, 1]


def test_groups_cover_every_layer_once() -> None:
    for count in (1, 5, 24, 100):
        layers = [f"layer{i}" for i in range(count)]
        groups = groups_of(layers)
        assert [name for group in groups for name in group] == layers
        assert len(groups) <= 24
