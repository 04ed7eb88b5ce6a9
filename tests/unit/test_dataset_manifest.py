"""Dataset versions: written once, loaded whole or refused with the line named."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.errors import DatasetError
from inspection_datasets.check import check_version
from inspection_datasets.manifest import (
    Sample,
    contained_path,
    load_version,
    sha256_of,
    write_version,
)


def sample(folder: Path, name: str = "a.png", split: str = "train", **changes: object) -> Sample:
    path = folder / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(abs(hash(name)) % 1000).integers(0, 255, (20, 30, 3), np.uint8)
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    values: dict[str, object] = {
        "image": f"images/{name}",
        "sha256": sha256_of(path),
        "width": 30,
        "height": 20,
        "split": split,
        "group": name,
        "boxes": [("dent", 1, 2, 10, 12)],
        "state": "labelled",
        "origin": "test",
    }
    return Sample.model_validate(values | changes)


def test_a_version_comes_back_as_it_was_written(tmp_path: Path) -> None:
    samples = [sample(tmp_path), sample(tmp_path, "부품 2.png", "val", boxes=[], state="good")]
    written = write_version(tmp_path, "plate", ["dent", "burr"], samples)
    loaded = load_version(tmp_path)
    assert loaded == written
    assert loaded.version == "v0001"
    assert loaded.sha256 == sha256_of(tmp_path / "v0001.jsonl")
    assert list(loaded.samples) == samples
    assert loaded.counts() == {"train": {"labelled": 1}, "val": {"good": 1}}
    assert loaded.class_counts("train") == {"dent": 1, "burr": 0}
    check_version(loaded)


def test_a_second_version_leaves_the_first_alone(tmp_path: Path) -> None:
    first = write_version(tmp_path, "plate", ["dent"], [sample(tmp_path)])
    before = (tmp_path / "v0001.jsonl").read_bytes()
    second = write_version(tmp_path, "plate", ["dent", "burr"], [sample(tmp_path, "b.png")])
    assert (second.version, load_version(tmp_path).version) == ("v0002", "v0002")
    assert (tmp_path / "v0001.jsonl").read_bytes() == before
    assert load_version(tmp_path, "v0001").sha256 == first.sha256


def test_classes_may_only_be_appended(tmp_path: Path) -> None:
    write_version(tmp_path, "plate", ["dent", "burr"], [sample(tmp_path)])
    with pytest.raises(DatasetError, match="only be appended"):
        write_version(tmp_path, "plate", ["burr", "dent"], [sample(tmp_path, "b.png")])
    assert load_version(tmp_path).version == "v0001"


def test_the_version_file_cannot_be_written_by_accident(tmp_path: Path) -> None:
    write_version(tmp_path, "plate", ["dent"], [sample(tmp_path)])
    assert (tmp_path / "v0001.jsonl").stat().st_mode & 0o222 == 0


def test_a_group_in_two_splits_is_refused(tmp_path: Path) -> None:
    pair = [sample(tmp_path, group="g"), sample(tmp_path, "b.png", "test", group="g")]
    with pytest.raises(DatasetError, match="group 'g' is in train and in test"):
        write_version(tmp_path, "plate", ["dent"], pair)
    assert not list(tmp_path.glob("v*.jsonl"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"boxes": [("dent", 1, 2, 31, 12)]}, "leaves the image"),
        ({"boxes": [("dent", 5, 2, 5, 12)]}, "empty"),
        ({"boxes": [("scar", 1, 2, 3, 4)]}, "class 'scar'"),
        ({"boxes": [("dent", float("nan"), 2, 3, 4)]}, "empty or leaves"),
        ({"state": "good"}, "is good with 1 boxes"),
        ({"state": "unlabelled"}, "is unlabelled with 1 boxes"),
        ({"image": "../outside.png"}, "stay inside"),
        ({"image": "/etc/passwd"}, "stay inside"),
    ],
)
def test_wrong_samples_are_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        write_version(tmp_path, "plate", ["dent"], [sample(tmp_path, **changes)])


def rewrite(folder: Path, line: str) -> None:
    path = folder / "v0001.jsonl"
    path.chmod(0o644)
    path.write_text(line)


@pytest.mark.parametrize(
    "damage",
    ["", "{", "null", "[]", '{"image": "a"}', "\xff", '{"image":1}' * 3],
)
def test_a_damaged_version_is_refused_and_named(tmp_path: Path, damage: str) -> None:
    write_version(tmp_path, "plate", ["dent"], [sample(tmp_path)])
    rewrite(tmp_path, damage)
    with pytest.raises(DatasetError, match=r"v0001\.jsonl"):
        load_version(tmp_path)


def test_unknown_fields_and_doubled_images_are_refused(tmp_path: Path) -> None:
    write_version(tmp_path, "plate", ["dent"], [sample(tmp_path)])
    line = (tmp_path / "v0001.jsonl").read_text().strip()
    rewrite(tmp_path, json.dumps(json.loads(line) | {"colour": "red"}))
    with pytest.raises(DatasetError, match=r"v0001\.jsonl:1: colour"):
        load_version(tmp_path)
    rewrite(tmp_path, f"{line}\n{line}\n")
    with pytest.raises(DatasetError, match="listed twice"):
        load_version(tmp_path)


def test_altered_missing_and_resized_pictures_are_found(tmp_path: Path) -> None:
    good = sample(tmp_path)
    version = write_version(tmp_path, "plate", ["dent"], [good])
    path = version.path(good)
    data = path.read_bytes()
    path.write_bytes(data + b" ")
    with pytest.raises(DatasetError, match="was altered"):
        check_version(version)
    path.unlink()
    with pytest.raises(DatasetError, match="is missing"):
        check_version(version)
    wrong = write_version(tmp_path, "plate", ["dent"], [sample(tmp_path, width=31)])
    with pytest.raises(DatasetError, match="30x20, the version says 31x20"):
        check_version(wrong)


def test_no_dataset_no_version_and_a_broken_card(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is no dataset"):
        load_version(tmp_path)
    write_version(tmp_path, "plate", ["dent"], [sample(tmp_path)])
    with pytest.raises(DatasetError, match="versions here: \\['v0001'\\]"):
        load_version(tmp_path, "v0009")
    with pytest.raises(DatasetError, match="does not exist"):
        load_version(tmp_path, "../v0001")
    (tmp_path / "card.yaml").write_text("name: x\nclases: [a]\n")
    with pytest.raises(DatasetError, match=r"card\.yaml"):
        load_version(tmp_path)


@given(st.text(max_size=40))
def test_a_contained_path_never_leaves_its_folder(name: str) -> None:
    root = Path("/data/set")
    try:
        path = contained_path(name, "test")
    except DatasetError:
        return
    assert (root / path).is_relative_to(root)
    assert ".." not in path.parts
