"""`inspection dataset split`: whole groups, every class everywhere, the same every time, test stays test."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from inspection.errors import DatasetError
from inspection_datasets.cli import app
from inspection_datasets.manifest import (
    DatasetVersion,
    Sample,
    load_version,
    sha256_of,
    write_version,
)
from inspection_datasets.splitting import SplitPlan, split_dataset, split_samples

CLASSES = ("dent", "burr", "hole")


def sample(name: str, classes: str = "", group: str = "", split: str = "train") -> Sample:
    """A sample whose picture is never opened; `classes` holds first letters."""
    boxes = [(c, 1.0, 1.0, 9.0, 9.0) for c in CLASSES if c[0] in classes]
    values = {
        "image": f"images/{name}.png", "sha256": "0" * 64, "width": 10, "height": 10, "split": split,
        "group": group or name, "boxes": boxes, "state": "labelled" if boxes else "good",
        "origin": "test",
    }  # fmt: skip
    return Sample.model_validate(values)


def version(samples: list[Sample], folder: Path = Path()) -> DatasetVersion:
    return DatasetVersion(folder, "plate", "v0001", "0" * 64, CLASSES, tuple(samples))


def splits_of(samples: list[Sample]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for s in samples:
        found.setdefault(s.group, set()).add(s.split)
    return found


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(
        st.lists(st.sampled_from(["", "d", "b", "db"]), min_size=1, max_size=4),
        min_size=1,
        max_size=30,
    ),
    seed=st.integers(0, 5),
    old=st.lists(st.sampled_from(["train", "val", "test"]), min_size=30, max_size=30),
)
def test_groups_stay_whole_and_classes_go_everywhere(groups, seed, old):
    samples = [
        sample(f"{g}-{i}", classes, f"g{g}", old[g])
        for g, members in enumerate(groups)
        for i, classes in enumerate(members)
    ]
    plan = SplitPlan("group", 0.2, 0.2, seed, anew=True)
    found = split_samples(version(samples), plan)
    assert all(len(splits) == 1 for splits in splits_of(found).values())
    assert [s.image for s in found] == [s.image for s in samples]
    assert found == split_samples(version(found), plan), "the same again, whatever it was before"
    for name, letter in (("dent", "d"), ("burr", "b")):
        holders = [g for g, members in enumerate(groups) if any(letter in m for m in members)]
        alone = [g for g in holders if {"".join(groups[g])} <= {letter * k for k in range(1, 5)}]
        if len(alone) == len(groups) and len(holders) >= 3:
            present = {s.split for s in found if any(box[0] == name for box in s.boxes)}
            assert present == {"train", "val", "test"}
    kept = split_samples(version(samples), SplitPlan("group", 0.2, 0.2, seed))
    for before, after in zip(samples, kept, strict=True):
        assert before.split != "test" or after.split == "test"


def test_a_rare_class_is_in_every_split_and_the_shares_are_kept():
    samples = [sample(f"d{i}", "d") for i in range(60)] + [sample(f"n{i}") for i in range(40)]
    samples += [sample(f"h{i}", "h") for i in range(3)]
    found = split_samples(version(samples), SplitPlan())
    by_split = {s: [x for x in found if x.split == s] for s in ("train", "val", "test")}
    for members in by_split.values():
        assert sum("hole" in {b[0] for b in s.boxes} for s in members) == 1
    assert [len(members) for members in by_split.values()] == pytest.approx([62, 20, 20], abs=3)
    for split, count in (("val", 12), ("test", 12), ("train", 36)):
        held = sum("dent" in {b[0] for b in s.boxes} for s in by_split[split])
        assert held == pytest.approx(count, abs=2)
    assert split_samples(version(samples), SplitPlan(seed=1)) != found


def test_former_test_groups_stay_unless_anew():
    samples = [sample(f"d{i}", "d", split="test" if i < 15 else "train") for i in range(20)]
    found = split_samples(version(samples), SplitPlan(test=0.1))
    assert [s.split for s in found[:15]] == ["test"] * 15
    assert {s.split for s in found[15:]} == {"train", "val"}
    assert sum(s.split == "test" for s in split_samples(version(samples), SplitPlan(anew=True))) < 8


def test_a_leaking_group_goes_to_test_whole():
    samples = [sample(f"p{i // 2}_{i % 2}", split="test" if i == 3 else "train") for i in range(20)]
    found = split_samples(version(samples), SplitPlan(r"regex:images/(p\d+)_"))
    assert all(len(splits) == 1 for splits in splits_of(found).values())
    assert [s.split for s in found if s.group == "p1"] == ["test", "test"]


def test_groups_from_a_csv_column(tmp_path):
    samples = [sample(f"부품{i}") for i in range(6)]
    table = tmp_path / "parts.csv"
    rows = [f"부품{i}.png,L{i // 2}" for i in range(5)] + ["images/부품5.png,L2"]
    table.write_text("\n".join(["image,lot", *rows]), "utf-8-sig")
    found = split_samples(version(samples), SplitPlan(f"csv:{table}:lot", 0, 0.34))
    assert [s.group for s in found] == ["L0", "L0", "L1", "L1", "L2", "L2"]
    for column, text in (("serial", "needed"), ("lot", "needs")):
        table.write_text("\n".join(["image,lot", *rows[:3]]), "utf-8")
        with pytest.raises(DatasetError, match=text):
            split_samples(version(samples), SplitPlan(f"csv:{table}:{column}"))
    with pytest.raises(DatasetError, match="cannot be read"):
        split_samples(version(samples), SplitPlan(f"csv:{tmp_path / 'none.csv'}:lot"))


@pytest.mark.parametrize("by", ["", "lot", "regex:", "regex:(", "regex:zzz", "csv:", "csv:x"])
def test_a_wrong_grouping_is_refused(by):
    with pytest.raises(DatasetError):
        split_samples(version([sample("a")]), SplitPlan(by))


def test_nothing_left_for_train_is_refused():
    with pytest.raises(DatasetError, match="nothing for train"):
        split_samples(version([sample("a")]), SplitPlan(val=0.5, test=0.5))


def real(folder: Path, name: str, seed: int, split: str) -> Sample:
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), np.uint8)
    path = folder / "images" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    image = cv2.resize(coarse, (60, 60), interpolation=cv2.INTER_CUBIC)
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    update = {"sha256": sha256_of(path), "width": 60, "height": 60}
    return sample(name, split=split).model_copy(update=update)


def test_the_command_joins_duplicates_and_checks_clean(tmp_path):
    samples = [real(tmp_path, f"x{i}y", i, "train") for i in range(8)]
    samples += [real(tmp_path, "again", 0, "val"), real(tmp_path, "more", 1, "test")]
    write_version(tmp_path, "plate", ["dent"], samples)
    runner = CliRunner()
    before = runner.invoke(app, ["check", str(tmp_path), "--language", "en"])
    assert before.exit_code == 2
    done = runner.invoke(app, ["split", str(tmp_path), "--by", "duplicates", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["version"] == "v0002"
    new = {Path(s.image).stem: s for s in load_version(tmp_path).samples}
    assert new["x0y"].group == new["again"].group
    assert new["x1y"].split == new["more"].split == "test"
    after = runner.invoke(app, ["check", str(tmp_path), "--json"])
    assert json.loads(after.stdout)["error"] == 0
    asked = ["split", str(tmp_path), "--by", "duplicates"]
    assert "이미 이렇게 나뉘어 있습니다" in runner.invoke(app, asked).stdout
    again = runner.invoke(app, [*asked, "--language", "en"])
    assert "nothing changed" in again.stdout
    assert split_dataset(load_version(tmp_path), SplitPlan("group")) is None
    assert not (tmp_path / "v0003.jsonl").exists()
