"""Export and import again: the version comes back, as far as the layout can say it."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from inspection.errors import DatasetError
from inspection_datasets.export_cli import export_command
from inspection_datasets.exporting import export_dataset
from inspection_datasets.importing import ImportPlan, import_dataset
from inspection_datasets.layouts import EXPORTS
from inspection_datasets.manifest import DatasetVersion, Sample, sha256_of, write_version
from inspection_datasets.shapes import mask_of, rings_of, settle_shape

SIZE = (41, 29)
CLASSES = ("dent", "긁힘", "a & <b>")
NUMBERS_X = st.integers(0, SIZE[0] * 1000).map(lambda v: v / 1000)
NUMBERS_Y = st.integers(0, SIZE[1] * 1000).map(lambda v: v / 1000)


@st.composite
def labels(draw: st.DrawFn) -> tuple[object, object]:
    name = draw(st.sampled_from(CLASSES))
    kind = draw(st.sampled_from(["box", "polygon", "mask"]))
    if kind == "mask":
        mask = np.zeros((SIZE[1], SIZE[0]), bool)
        cells = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1))
        for y, x in cells:
            mask[y, x + 3] = True
        return settle_shape(name, rings_of(mask), SIZE, "drawn")
    count = 2 if kind == "box" else draw(st.integers(3, 6))
    xs = draw(st.lists(NUMBERS_X, min_size=count, max_size=count))
    ys = draw(st.lists(NUMBERS_Y, min_size=count, max_size=count))
    xs[0], xs[1] = min(xs[0], SIZE[0] - 1.0), max(xs[1], min(xs[0], SIZE[0] - 1.0) + 0.5)
    ys[0], ys[1] = min(ys[0], SIZE[1] - 1.0), max(ys[1], min(ys[0], SIZE[1] - 1.0) + 0.5)
    if kind == "box":
        return (name, xs[0], ys[0], xs[1], ys[1]), None
    return settle_shape(name, [[v for p in zip(xs, ys, strict=True) for v in p]], SIZE, "drawn")


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for index in range(draw(st.integers(1, 4))):
        state = draw(st.sampled_from(["labelled", "good", "unlabelled"]))
        pairs = draw(st.lists(labels(), min_size=1, max_size=3)) if state == "labelled" else []
        shapes = [shape for _, shape in pairs]
        found.append(
            {
                "name": draw(st.sampled_from(["a", "부품 1", "x.y"]))
                + str(index // 2)
                + f"/p{index}",
                "split": draw(st.sampled_from(["train", "val", "test"])),
                "group": f"lot {index} {draw(st.integers(0, 9))}",
                "boxes": [box for box, _ in pairs],
                "shapes": shapes if any(shapes) else [],
                "state": state,
                "label": draw(st.sampled_from([None, *CLASSES])) if state == "unlabelled" else None,
            }
        )
    return found


def build(folder: Path, drawn: list[dict[str, object]]) -> DatasetVersion:
    samples: list[Sample] = []
    for index, row in enumerate(drawn):
        path = folder / "images" / f"{row['name']}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = np.full((SIZE[1], SIZE[0], 3), index, np.uint8)
        path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
        samples.append(
            Sample.model_validate(
                {
                    **{key: value for key, value in row.items() if key != "name"},
                    "image": path.relative_to(folder).as_posix(),
                    "sha256": sha256_of(path),
                    "width": SIZE[0],
                    "height": SIZE[1],
                    "origin": "drawn",
                }
            )
        )
    return write_version(folder, "plate", CLASSES, samples)


def same_shape(old: object, new: object) -> None:
    if old is None or new is None:
        assert old is new
    elif len(old) == len(new) == 1:  # type: ignore[arg-type]
        assert new[0] == pytest.approx(old[0], abs=0.01)  # type: ignore[index]
    else:
        assert (mask_of(old, SIZE) == mask_of(new, SIZE)).all()  # type: ignore[arg-type]


@settings(max_examples=25, deadline=None)
@given(drawn=rows(), layout=st.sampled_from(sorted(EXPORTS)))
def test_a_version_comes_back_from_its_export(drawn: list[dict[str, object]], layout: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        version = build(folder / "set", drawn)
        done = export_dataset(version, layout, folder / "out")
        assert done.images == len(version.samples)
        back, incoming = import_dataset(folder / "out", folder / "back", ImportPlan(val=0))
        assert incoming.layout == layout
        if layout != "voc":
            assert back.classes == version.classes
        found = {s.sha256: s for s in back.samples}
        assert len(found) == len(version.samples)
        for old in version.samples:
            new = found[old.sha256]
            assert (new.state, new.split) == (old.state, old.split)
            assert [b[0] for b in new.boxes] == [b[0] for b in old.boxes]
            for a, b in zip(new.boxes, old.boxes, strict=True):
                assert a[1:] == pytest.approx(b[1:], abs=0.01)
            if layout == "voc":
                continue
            none = [None] * len(old.boxes)
            for a, b in zip(old.shapes or none, new.shapes or none, strict=True):
                same_shape(a, b)
            if layout == "coco":
                assert (new.group, new.label) == (old.group, old.label)


def test_a_version_that_nobody_looked_at_comes_back(tmp_path: Path) -> None:
    row = {"name": "a", "group": "a", "split": "train", "boxes": [], "state": "unlabelled"}
    version = build(tmp_path / "set", [row])
    for layout in EXPORTS:
        export_dataset(version, layout, tmp_path / layout)
        back, incoming = import_dataset(
            tmp_path / layout, tmp_path / f"{layout}2", ImportPlan(val=0)
        )
        assert (incoming.layout, back.counts()) == (layout, {"train": {"unlabelled": 1}})


def test_what_a_layout_cannot_carry_is_said(tmp_path: Path) -> None:
    row = {
        "name": "a",
        "split": "train",
        "group": "lot 1",
        "boxes": [("dent", 1, 2, 10, 12)],
        "shapes": [[[1, 2, 10, 2, 5, 12], [2, 3, 8, 3, 5, 8]]],
        "state": "labelled",
        "label": None,
    }
    other = row | {"name": "b", "boxes": [], "shapes": [], "state": "unlabelled", "label": "dent"}
    version = build(tmp_path / "set", [row, other])
    losses = {x: export_dataset(version, x, tmp_path / x).losses for x in EXPORTS}
    assert any("groups are not written (1 groups)" in text for text in losses["yolo"])
    assert any("1 outlines of several rings are joined" in text for text in losses["yolo"])
    assert any("classes of whole images are not written" in text for text in losses["voc"])
    assert any("1 outlines are written as their boxes only" in text for text in losses["voc"])
    assert losses["coco"] == ()


def test_pictures_that_differ_in_the_suffix_get_names_of_their_own(tmp_path: Path) -> None:
    row = {"split": "train", "boxes": [], "shapes": [], "state": "good", "label": None}
    version = build(tmp_path / "set", [row | {"name": n, "group": n} for n in ("a", "a.b", "A")])
    for layout in EXPORTS:
        export_dataset(version, layout, tmp_path / layout)
        back, _ = import_dataset(tmp_path / layout, tmp_path / f"{layout}2", ImportPlan(val=0))
        assert {s.sha256 for s in back.samples} == {s.sha256 for s in version.samples}


def test_an_export_is_whole_or_not_there(tmp_path: Path) -> None:
    row = {"name": "a", "group": "a", "split": "train", "boxes": [], "state": "good"}
    version = build(tmp_path / "set", [row])
    with pytest.raises(DatasetError, match="no export to 'kitti'"):
        export_dataset(version, "kitti", tmp_path / "out")
    (tmp_path / "there").mkdir()
    with pytest.raises(DatasetError, match="exists already"):
        export_dataset(version, "yolo", tmp_path / "there")
    version.path(version.samples[0]).write_bytes(b"altered")
    with pytest.raises(DatasetError, match="was altered"):
        export_dataset(version, "yolo", tmp_path / "out")
    version.path(version.samples[0]).unlink()
    with pytest.raises(DatasetError, match="is missing"):
        export_dataset(version, "yolo", tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set", "there"]


def test_the_command_writes_and_says_what_is_lost(tmp_path: Path) -> None:
    import typer

    app = typer.Typer()
    app.command("export")(export_command)
    row = {"name": "a", "group": "lot", "split": "train", "boxes": [], "state": "good"}
    build(tmp_path / "set", [row, row | {"name": "b"}])
    words = [str(tmp_path / "set"), "--to", str(tmp_path / "out"), "--layout", "voc"]
    words += ["--language", "en"]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0
    assert "not carried: groups are not written" in result.stdout
    words = [str(tmp_path / "set"), "--to", str(tmp_path / "o2"), "--layout", "coco", "--json"]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert json.loads(result.stdout)["losses"] == []


def test_the_ultralytics_command_finds_the_images_of_an_export(tmp_path: Path) -> None:
    """A `path: .` was taken for the folder in which the command was started."""
    label = {"state": "labelled", "boxes": [("dent", 1, 2, 10, 12)], "shapes": [], "label": None}
    rows = [{"name": x, "split": x, "group": x, **label} for x in ("train", "val")]
    export_dataset(build(tmp_path / "set", rows), "yolo", tmp_path / "yolo")
    program = (
        "import sys; from ultralytics.data.utils import check_det_dataset as check;"
        "found = check(sys.argv[1], autodownload=False); print(found['train'], found['val'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "yolo" / "data.yaml")],
        cwd=tmp_path,  # not the folder of the export
        env=os.environ | {"YOLO_CONFIG_DIR": str(tmp_path), "YOLO_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    images = tmp_path / "yolo" / "images"
    assert done.stdout.split()[-2:] == [str(images / "train"), str(images / "val")]
