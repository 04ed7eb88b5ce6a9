"""`inspection dataset diff`: every kind of change is told, and only that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from inspection.errors import DatasetError
from inspection_datasets.cli import app
from inspection_datasets.difference import compare_versions
from inspection_datasets.manifest import DatasetVersion, Sample, write_version

A, B = ("dent", 1.0, 1.0, 9.0, 9.0), ("dent", 20.0, 20.0, 30.0, 30.0)


def sample(name: str, *boxes: object, sha: int = 0, **changes: object) -> Sample:
    values = {
        "image": f"images/{name}.png", "sha256": f"{sha or sum(name.encode()):064x}", "width": 40,
        "height": 40, "split": "train", "group": name, "boxes": list(boxes),
        "state": "labelled" if boxes else "good", "origin": "test", **changes,
    }  # fmt: skip
    return Sample.model_validate(values)


def version(*samples: Sample, name: str = "v0001") -> DatasetVersion:
    return DatasetVersion(Path(), "plate", name, "0" * 64, ("dent", "burr"), samples)


def test_every_change_is_told():
    older = version(
        sample("a", A, B), sample("b"), sample("c", A), sample("d", sha=7), sample("e"), sample("g")
    )
    moved = ("dent", 2.0, 1.0, 9.0, 9.0)
    newer = version(
        sample("a", ("burr", *A[1:])),
        sample("b", state="unlabelled"),
        sample("c", moved, split="test", group="lot"),
        sample("f", sha=7),
        sample("g", sha=9),
        sample("h"),
        name="v0002",
    )
    found = compare_versions(older, newer)
    assert (found.added, found.removed) == (["images/h.png"], ["images/e.png"])
    assert found.renamed == [("images/d.png", "images/f.png")]
    assert found.replaced == ["images/g.png"]
    assert found.split == {"images/c.png": ("train", "test")}
    assert found.group["images/c.png"] == ("c", "lot")
    a, b, c = found.relabelled
    assert (a.renamed, a.removed, a.added) == ([(A, ("burr", *A[1:]))], [B], [])
    assert b.state == ("good", "unlabelled")
    assert c.moved == [(A, moved)]
    assert json.loads(json.dumps(found.as_dict()))["relabelled"][1]["state"]


boxes = st.lists(
    st.builds(
        lambda name, x, y: (name, float(x), float(y), x + 8.0, y + 8.0),
        st.sampled_from(["dent", "burr"]),
        st.integers(0, 30),
        st.integers(0, 30),
    ),
    max_size=6,
)


@given(before=boxes, after=boxes)
def test_the_boxes_add_up(before, after):
    """Removed, moved or renamed is all of the old; added, moved or renamed is all of the new."""
    found = compare_versions(version(sample("a", *before)), version(sample("a", *after)))
    if sorted(before) == sorted(after):
        assert found.is_empty
        return
    (item,) = found.relabelled
    pairs = [*item.moved, *item.renamed]
    assert len(before) - len(item.removed) - len(pairs) == len(after) - len(item.added) - len(pairs)
    assert all(box in before for box in item.removed)
    assert all(box in after for box in item.added)


def test_the_command(tmp_path):
    write_version(tmp_path, "plate", ["dent"], [sample("a", A), sample("b")])
    changed = [sample("a", A, B), sample("b", split="val"), sample("c")]
    write_version(tmp_path, "plate", ["dent", "burr"], changed)
    runner = CliRunner()
    english = ["--language", "en"]
    found = runner.invoke(app, ["diff", str(tmp_path), "v0001", "v0002", "--json"])
    told = json.loads(found.stdout)
    assert (told["added"], told["split"]) == (["images/c.png"], {"images/b.png": ["train", "val"]})
    text = runner.invoke(app, ["diff", str(tmp_path), "v0001", "v0002", *english]).stdout
    assert "images/a.png: +dent" in text
    same = runner.invoke(app, ["diff", str(tmp_path), "v0001", "v0001", *english])
    assert "hold the same" in same.stdout
    wrong = runner.invoke(app, ["diff", str(tmp_path), "v0001", "v0009"])
    with pytest.raises(DatasetError, match="does not exist"):
        raise wrong.exception
