"""Importers of DeepPCB, YOLO and COCO: what is right comes in, what is broken is named."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from inspection.errors import DatasetError
from inspection_datasets.check import check_version
from inspection_datasets.cli import app
from inspection_datasets.importing import ImportPlan, import_dataset, recognise
from inspection_datasets.manifest import load_version


def picture(path: Path, size: tuple[int, int] = (40, 30), seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


@pytest.fixture
def deeppcb(tmp_path: Path) -> Path:
    root = tmp_path / "source" / "PCBData"
    lists: dict[str, list[str]] = {"trainval.txt": [], "test.txt": []}
    for index in range(6):
        name = f"0004{index}"
        for kind in ("test", "temp"):
            picture(root / "g" / name[:3] / f"{name}_{kind}.jpg", seed=index * 2 + (kind == "temp"))
        text(root / "g" / f"{name[:3]}_not" / f"{name}.txt", f"1 2 11 12 {index + 1}\n3,4,9,9,1\n")
        lists["test.txt" if index == 5 else "trainval.txt"].append(
            f"g/{name[:3]}/{name}.jpg g/{name[:3]}_not/{name}.txt"
        )
    for name, lines in lists.items():
        text(root / name, "\n".join(lines) + "\n")
    return root


def test_deeppcb_pairs_stay_together(deeppcb: Path, tmp_path: Path) -> None:
    assert recognise(deeppcb.parent) == "deeppcb"
    version, incoming = import_dataset(deeppcb.parent, tmp_path / "set", ImportPlan(val=0.2))
    assert incoming.layout == "deeppcb"
    assert version.classes == ("open", "short", "mousebite", "spur", "copper", "pin-hole")
    assert version.counts() == {
        "train": {"labelled": 4, "good": 4},
        "val": {"labelled": 1, "good": 1},
        "test": {"labelled": 1, "good": 1},
    }
    tested = next(s for s in version.samples if s.image.endswith("00042_test.jpg"))
    template = next(s for s in version.samples if s.image.endswith("00042_temp.jpg"))
    assert tested.boxes == [("mousebite", 1, 2, 11, 12), ("open", 3, 4, 9, 9)]
    assert (template.group, template.split) == (tested.group, tested.split)
    check_version(version)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1 2 11 12 7", "class 7 is not 1..6"),
        ("1 2 11 12 0", "class 0 is not 1..6"),
        ("1 2 11 12", "expected `x1 y1 x2 y2 class`"),
        ("a b c d 1", "expected `x1 y1 x2 y2 class`"),
        ("1 2 1 12 1", "is empty"),
        ("1 2 50 12 1", "leaves the 40x30 image"),
    ],
)
def test_broken_deeppcb_labels_are_named(
    deeppcb: Path, tmp_path: Path, line: str, words: str
) -> None:
    text(deeppcb / "g" / "000_not" / "00041.txt", line)
    with pytest.raises(DatasetError, match=words) as caught:
        import_dataset(deeppcb, tmp_path / "set")
    assert "00041.txt:1" in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_deeppcb_lists_cannot_leave_the_folder(deeppcb: Path, tmp_path: Path) -> None:
    for line in ("../../x.jpg a.txt", "/etc/hosts.jpg a.txt", "g/only_one.jpg"):
        text(deeppcb / "test.txt", line)
        with pytest.raises(DatasetError, match=r"test\.txt:1"):
            import_dataset(deeppcb, tmp_path / "set")


def test_a_missing_template_is_named(deeppcb: Path, tmp_path: Path) -> None:
    (deeppcb / "g" / "000" / "00043_temp.jpg").unlink()
    with pytest.raises(DatasetError, match=r"00043_temp[.]jpg cannot be read"):
        import_dataset(deeppcb, tmp_path / "set")


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    root = tmp_path / "yolo"
    for index, split in enumerate(["train", "train", "train", "val"]):
        picture(root / "images" / split / f"부품 {index}.png", seed=index)
    text(root / "labels" / "train" / "부품 0.txt", "1 0.5 0.5 0.25 0.2\n0 0.125 0.5 0.25 1.0\n")
    text(root / "labels" / "train" / "부품 1.txt", "")
    text(root / "labels" / "val" / "부품 3.txt", "0 0.5 0.5 0.1 0.1\n")
    text(root / "data.yaml", "train: images/train\nval: images/val\nnames: {0: dent, 1: burr}\n")
    return root


def test_yolo_keeps_good_and_unlabelled_apart(yolo: Path, tmp_path: Path) -> None:
    version, incoming = import_dataset(yolo, tmp_path / "set")
    assert (incoming.layout, version.classes) == ("yolo", ("dent", "burr"))
    states = {s.group: s.state for s in version.samples}
    assert states == {
        "부품 0": "labelled",
        "부품 1": "good",
        "부품 2": "unlabelled",
        "부품 3": "labelled",
    }
    assert "1 images have no label file" in incoming.notes[1]
    assert version.samples[0].boxes == [("burr", 15, 12, 25, 18), ("dent", 0, 0, 10, 30)]
    assert [s.group for s in version.select("train")] == ["부품 0", "부품 1"]
    check_version(version)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("2 0.5 0.5 0.1 0.1", "class 2 is not 0..1"),
        ("-1 0.5 0.5 0.1 0.1", "class -1"),
        ("0 0.5 0.5 0.1", "expected `class cx cy w h`"),
        ("0 20 15 5 5", "in pixels"),
        ("0 0.9 0.5 0.4 0.1", "leaves the 40x30 image"),
        ("0 0.5 0.5 0 0.1", "is empty"),
        ("0 nan 0.5 0.1 0.1", "leaves the 40x30 image"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.1", "expected `class cx cy w h` or"),
        ("0 0.1 0.1 0.2 0.1 1.4 0.2", "leaves the 40x30 image"),
        ("0 0.1 0.1 0.2 0.1 0.3 0.1", "is empty"),
        ("0 0.1 0.1 nan 0.1 0.2 0.2", "outline"),
    ],
)
def test_broken_yolo_labels_are_named(yolo: Path, tmp_path: Path, line: str, words: str) -> None:
    text(yolo / "labels" / "val" / "부품 3.txt", line)
    with pytest.raises(DatasetError, match=words) as caught:
        import_dataset(yolo, tmp_path / "set")
    assert "부품 3.txt:1" in str(caught.value)


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("train: /etc\nnames: [a, b]\n", "stay inside"),
        ("train: ../yolo/images\nnames: [a, b]\n", "stay inside"),
        ("path: /data/other\ntrain: images\nnames: [a, b]\n", "stay inside"),
        ("train: images/nothing\nnames: [a, b]\n", "no folder and no list"),
        ("names: [a, b]\n", "names no image"),
        ("train: images\nnames: [a, a]\n", "each class once"),
        ("train: images\nnames: {1: a, 2: b}\n", "numbered from 0"),
        ("train: images\n", "`names` must list"),
        ("- a\n", "must hold `names:`"),
        ("train: [\n", "cannot be read"),
    ],
)
def test_broken_data_yaml_is_named(yolo: Path, tmp_path: Path, card: str, words: str) -> None:
    text(yolo / "data.yaml", card)
    with pytest.raises(DatasetError, match=words):
        import_dataset(yolo, tmp_path / "set")


def test_yolo_lists_of_images_are_read_and_contained(yolo: Path, tmp_path: Path) -> None:
    text(yolo / "train.txt", "./images/train/부품 0.png\nimages/train/부품 1.png\n")
    text(yolo / "data.yaml", "train: train.txt\nnames: [dent, burr]\n")
    version, _ = import_dataset(yolo, tmp_path / "set", ImportPlan(val=0))
    assert len(version.samples) == 2
    text(yolo / "train.txt", "../secret.png\n")
    with pytest.raises(DatasetError, match="stay inside"):
        import_dataset(yolo, tmp_path / "set2")


def test_links_out_of_the_folder_are_refused(yolo: Path, tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere.png")
    (yolo / "images" / "train" / "link.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(DatasetError, match="link out of"):
        import_dataset(yolo, tmp_path / "set")


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff\xe0 broken"])
def test_unreadable_pictures_are_named(yolo: Path, tmp_path: Path, content: bytes) -> None:
    (yolo / "images" / "val" / "부품 3.png").write_bytes(content)
    with pytest.raises(DatasetError, match=r"부품 3[.]png is not an image"):
        import_dataset(yolo, tmp_path / "set")


def coco_document() -> dict[str, object]:
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 40, "height": 30},
            {"id": 8, "file_name": "b.png", "width": 40, "height": 30},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 2, "bbox": [1, 2, 10, 5], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0.0, 0.0, 40.4, 30], "iscrowd": 0},
        ],
        "categories": [
            {"id": 0, "name": "defects", "supercategory": "none"},
            {"id": 1, "name": "dent", "supercategory": "defects"},
            {"id": 2, "name": "burr", "supercategory": "defects"},
        ],
    }


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    root = tmp_path / "coco"
    for split in ("train", "valid"):
        for index, name in enumerate(("a.png", "b.png")):
            picture(root / split / name, seed=index + 10 * (split == "valid"))
        text(root / split / "_annotations.coco.json", json.dumps(coco_document()))
    return root


def test_coco_leaves_the_dummy_supercategory_out(coco: Path, tmp_path: Path) -> None:
    plan = ImportPlan(group=r"(train|valid)/")
    version, incoming = import_dataset(coco, tmp_path / "set", plan)
    assert (incoming.layout, version.classes) == ("coco", ("dent", "burr"))
    assert any("defects is only a supercategory" in note for note in incoming.notes)
    assert version.counts() == {
        "train": {"labelled": 1, "good": 1},
        "val": {"labelled": 1, "good": 1},
    }
    boxes = version.samples[0].boxes
    assert boxes == [
        ("burr", 1, 2, 11, 7),
        ("dent", 0, 0, 40, 30),
    ]  # 0.4 pixel over the edge is cut


def test_one_group_in_two_splits_of_the_source_is_refused(coco: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="group 'a' is in train and in val"):
        import_dataset(coco, tmp_path / "set")


@pytest.mark.parametrize(
    ("where", "value", "words"),
    [
        (("images", 0, "width"), 80, "stated as 80x30 but is 40x30"),
        (("images", 0, "file_name"), "../a.png", "stay inside"),
        (("images", 0, "file_name"), "/etc/a.png", "stay inside"),
        (("images", 0, "file_name"), "none.png", "is not beside"),
        (("annotations", 0, "image_id"), 99, "belongs to image 99"),
        (("annotations", 0, "category_id"), 99, "has category 99"),
        (("annotations", 0, "bbox"), [1, 2, 3], "has no bbox"),
        (("annotations", 0, "bbox"), [1, 2, -3, 4], "is empty"),
        (("annotations", 0, "bbox"), [39, 2, 13, 4], "leaves the 40x30 image"),
        (("categories", 1, "name"), "burr", "two categories have one name"),
    ],
)
def test_broken_coco_is_named(
    coco: Path, tmp_path: Path, where: tuple[str, int, str], value: object, words: str
) -> None:
    document = coco_document()
    document[where[0]][where[1]][where[2]] = value  # type: ignore[index]
    text(coco / "train" / "_annotations.coco.json", json.dumps(document))
    with pytest.raises(DatasetError, match=words):
        import_dataset(coco, tmp_path / "set", ImportPlan(group=r"(train|valid)/"))


def test_import_again_keeps_pictures_and_never_overwrites(yolo: Path, tmp_path: Path) -> None:
    first, _ = import_dataset(yolo, tmp_path / "set")
    old = first.path(first.samples[0]).read_bytes()
    picture(yolo / "images" / "train" / "부품 0.png", seed=99)
    second, _ = import_dataset(yolo, tmp_path / "set")
    assert (first.version, second.version) == ("v0001", "v0002")
    assert first.path(first.samples[0]).read_bytes() == old
    assert second.samples[0].image != first.samples[0].image
    assert second.samples[1].image == first.samples[1].image
    check_version(first)
    check_version(second)


def test_in_place_refers_to_the_pictures(yolo: Path, tmp_path: Path) -> None:
    plan = ImportPlan(in_place=True, name="plate")
    with pytest.raises(DatasetError, match="is not inside"):
        import_dataset(yolo, tmp_path / "set", plan)
    version, _ = import_dataset(yolo, yolo, plan)
    assert version.samples[0].image == "images/train/부품 0.png"
    assert version.name == "plate"
    check_version(version)


def test_a_copy_that_fails_leaves_no_version(yolo: Path, tmp_path: Path) -> None:
    target = tmp_path / "set" / "images" / "train"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"a file where a folder must be")
    with pytest.raises(DatasetError, match="cannot be copied"):
        import_dataset(yolo, tmp_path / "set")
    assert not list((tmp_path / "set").glob("v*.jsonl"))


def test_val_is_taken_by_group_and_the_same_for_a_seed(tmp_path: Path) -> None:
    root = tmp_path / "src"
    for index in range(20):
        picture(root / "images" / f"lot{index // 4}_{index}.png", seed=index)
        text(root / "labels" / f"lot{index // 4}_{index}.txt", "0 0.5 0.5 0.1 0.1" * (index % 2))
    text(root / "data.yaml", "train: images\nnames: [dent]\n")
    plan = ImportPlan(group=r"lot\d+", val=0.2, test=0.2, seed=3)
    first, _ = import_dataset(root, tmp_path / "a", plan)
    second, _ = import_dataset(root, tmp_path / "b", plan)
    assert [s.split for s in first.samples] == [s.split for s in second.samples]
    assert {s.split for s in first.samples} == {"train", "val", "test"}
    for group in {s.group for s in first.samples}:
        assert len({s.split for s in first.samples if s.group == group}) == 1
    with pytest.raises(DatasetError, match="does not match"):
        import_dataset(root, tmp_path / "c", ImportPlan(group=r"batch\d+"))
    with pytest.raises(DatasetError, match="is not valid"):
        import_dataset(root, tmp_path / "c", ImportPlan(group="("))


def test_unknown_layouts_say_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"yolo: data\.yaml"):
        recognise(tmp_path)
    with pytest.raises(DatasetError, match="does not exist"):
        recognise(tmp_path / "nothing")


def test_the_command_imports_and_shows(yolo: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    result = runner.invoke(
        app, ["import", str(yolo), "--to", str(tmp_path / "set"), "--json"], catch_exceptions=False
    )
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["samples"]["train"] == {"labelled": 1, "good": 1, "unlabelled": 1}
    for language, words in (("ko", "상자, burr"), ("en", "every image is there")):
        asked = ["show", str(tmp_path / "set"), "--check", "--language", language]
        shown = runner.invoke(app, asked, catch_exceptions=False)
        assert shown.exit_code == 0
        assert words in shown.stdout
    assert load_version(tmp_path / "set").sha256 == report["sha256"]


@pytest.mark.shared
def test_the_real_deeppcb_comes_in_whole(tmp_path: Path) -> None:
    shared = Path(
        os.environ.get("INSPECTION_SHARED", Path(__file__).parents[2].resolve().parent / "shared")
    )
    source = shared / "data" / "deeppcb_mini"
    if not source.is_dir():
        pytest.skip(f"no labelled parts at {source}")
    version, _ = import_dataset(source, tmp_path / "set")
    assert version.counts() == {
        "train": {"labelled": 160, "good": 160},
        "val": {"labelled": 40, "good": 40},
        "test": {"labelled": 100, "good": 100},
    }
    assert sum(version.class_counts("test").values()) == 636
    check_version(version)
