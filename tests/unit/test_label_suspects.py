"""Label suspects: planted label errors are found at the top, and what cannot be known is said."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from release_builder import paint, write_release
from typer.testing import CliRunner

from inspection.errors import DatasetError, ReleaseError
from inspection.release import CARD, read_card, write_card
from inspection.types import ClassLimits
from inspection_datasets.manifest import DatasetVersion, Sample, sha256_of, write_version
from inspection_training.label_suspects.cli import app
from inspection_training.label_suspects.find import Suspicions, find_suspects
from inspection_training.label_suspects.report import draw, write_suspects
from inspection_training.label_suspects.text import head, reason

CLASSES = ("scratch", "dent", "hole")
Boxes = list[tuple[str, float, float, float, float]]
REMOVED, SWAPPED, SHIFTED, INVENTED = 3, 8, 13, 18


def _dataset(folder: Path) -> DatasetVersion:
    """Write 32 painted parts with right labels, but for one error of each kind."""
    (folder / "images").mkdir(parents=True)
    chance = np.random.default_rng(0)
    samples: list[Sample] = []
    for number in range(32):
        boxes: Boxes = []
        marks: list[Any] = []
        for kind in range(number % 4 and 2):
            x, y = (int(v) for v in chance.integers(10 + 110 * kind, 80 + 110 * kind, 2))
            wide, high = (int(v) for v in chance.integers(16, 40, 2))
            marks.append(((number + kind) % 3, (x, y, x + wide, y + high)))
            name = CLASSES[(number + kind) % 3]
            boxes.append((name, float(x), float(y), float(x + wide), float(y + high)))
        path = folder / "images" / f"p{number:02}.png"
        picture = paint((256, 256), *marks, grey=90 + number)
        cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        samples.append(_sample(path, folder, number, _spoil(number, boxes)))
    return write_version(folder, "demo", CLASSES, samples)


def _spoil(number: int, boxes: Boxes) -> Boxes:
    if number == INVENTED:
        return [*boxes, ("hole", 5.0, 200.0, 30.0, 225.0)]
    if number not in {REMOVED, SWAPPED + 1, SHIFTED}:
        return boxes
    name, x1, y1, x2, y2 = boxes[0]
    if number == REMOVED:
        return boxes[1:]
    if number == SWAPPED + 1:
        other = next(c for c in CLASSES if c not in {box[0] for box in boxes})
        return [(other, x1, y1, x2, y2), *boxes[1:]]
    side = 0.6 * (x2 - x1)
    return [(name, x1 + side, y1, x2 + side, y2), *boxes[1:]]


def _sample(path: Path, folder: Path, number: int, boxes: Boxes, **more: Any) -> Sample:
    return Sample(
        image=path.relative_to(folder).as_posix(),
        sha256=sha256_of(path),
        width=256,
        height=256,
        split="train" if number < 16 else "test",
        group=f"g{number}",
        boxes=boxes,
        **{"state": "labelled" if boxes else "good", "origin": "test", **more},
    )


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    return _dataset(tmp_path_factory.mktemp("parts") / "demo")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("r") / "releases", classes=CLASSES)


@pytest.fixture(scope="module")
def found(version: DatasetVersion, release: Path) -> Suspicions:
    return find_suspects(release, version, "all", runtime="onnxruntime")


def test_planted_errors_are_the_suspects(found: Suspicions) -> None:
    kinds = {int(s.sample.image[-6:-4]): s.kind for s in found.suspects}
    assert kinds == {
        REMOVED: "overlooked",
        SWAPPED + 1: "swapped",
        SHIFTED: "badly_located",
        INVENTED: "not_found",
    }
    assert found.suspects[-1].kind == "not_found"  # behind every contradiction
    assert found.sure > 0.9
    by_kind = {s.kind: s for s in found.suspects}
    missing = by_kind["overlooked"]
    assert missing.names == {"seen": CLASSES[REMOVED % 3]}
    assert missing.box not in [box[1:] for box in missing.sample.boxes]
    swapped = by_kind["swapped"]
    assert swapped.names["seen"] == CLASSES[(SWAPPED + 1) % 3]
    assert swapped.box in [box[1:] for box in swapped.sample.boxes]


def test_a_split_and_a_limit_are_kept(version: DatasetVersion, release: Path) -> None:
    test = find_suspects(release, version, "test", runtime="onnxruntime")
    assert [s.kind for s in test.suspects] == ["not_found"]
    assert test.pictures == 16
    first = find_suspects(release, version, "all", runtime="onnxruntime", limit=1)
    assert len(first.suspects) == 1
    assert first.suspects[0].kind != "not_found"
    assert first.total == 4
    assert first.as_dict()["total"] == 4
    assert head(first, "en")[0].startswith("4 suspects among 32 pictures")
    assert head(first, "en")[1] == "Showing 1 of 4. For the others raise --limit."
    assert head(first, "ko")[1].startswith("4장 중 1장을 보입니다.")
    assert "Showing" not in " ".join(head(test, "en"))


def test_unknown_and_known_pictures_are_told(
    version: DatasetVersion, found: Suspicions, tmp_path: Path
) -> None:
    assert found.trained_on is None
    assert "nobody can tell" in head(found, "en")[1]
    folder = write_release(tmp_path / "releases", classes=CLASSES)
    card = read_card(folder)
    (folder / CARD).unlink()
    learned = card.dataset.model_copy(update={"sha256": version.sha256})
    write_card(folder, card.model_copy(update={"dataset": learned}))
    known = find_suspects(folder, version, "all", runtime="onnxruntime")
    assert known.trained_on == 16
    assert {s.kind: s.trained_on for s in known.suspects}["not_found"] is False
    assert {s.kind: s.trained_on for s in known.suspects}["overlooked"] is True
    assert "16" in head(known, "ko")[1]
    test = find_suspects(folder, version, "test", runtime="onnxruntime")
    assert len(head(test, "en")) == 1  # nothing to warn of


def test_the_report_shows_them(found: Suspicions, tmp_path: Path) -> None:
    for language in ("ko", "en"):
        path = tmp_path / f"{language}.html"
        write_suspects(found, path, language)
        text = path.read_text(encoding="utf-8")
        assert text.count("data:image/jpeg") == len(found.suspects) == 4
        for suspect in found.suspects:
            assert reason(suspect, language) in text
            assert suspect.sample.image in text
        assert "http" not in text
    picture = draw(found.version, found.suspects[0])
    assert (picture == (0, 150, 60)).all(axis=2).any(), "labels are green"
    assert (picture == (210, 30, 30)).all(axis=2).any(), "what the model found is red"
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="cannot be written"):
        write_suspects(found, tmp_path / "file" / "x.html")


def test_the_command(version: DatasetVersion, release: Path, tmp_path: Path) -> None:
    where = [str(release), "--data", str(version.folder), "--runtime", "onnxruntime"]
    html = tmp_path / "suspects.html"
    done = CliRunner().invoke(app, [*where, "--html", str(html), "--language", "en"])
    assert done.exit_code == 1
    assert "4 suspects among 32 pictures" in done.stdout
    assert "a label is missing: scratch" in done.stdout
    assert html.is_file()
    told = json.loads(CliRunner().invoke(app, [*where, "--json"]).stdout)
    assert len(told["suspects"]) == 4
    assert told["trained_on"] is None
    done = CliRunner().invoke(app, [*where, "--split", "dev"])
    assert isinstance(done.exception, DatasetError)


def test_a_release_of_another_part_is_refused(version: DatasetVersion, tmp_path: Path) -> None:
    other = write_release(tmp_path / "releases", classes=("crack", "burr"))
    with pytest.raises(ReleaseError, match="name a release of this part"):
        find_suspects(other, version, runtime="onnxruntime")


def test_a_model_that_finds_nothing_contradicts_nothing(
    version: DatasetVersion, release: Path, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    path = tmp_path / "images" / "grey.png"
    cv2.imwrite(str(path), paint((256, 256)))
    good = write_version(tmp_path, "demo", CLASSES, [_sample(path, tmp_path, 0, [])])
    nothing = find_suspects(release, good, runtime="onnxruntime")
    assert (nothing.suspects, nothing.pictures) == ((), 1)
    done = CliRunner().invoke(
        app, [str(release), "--data", str(tmp_path), "--runtime", "onnxruntime"]
    )
    assert done.exit_code == 0


def test_a_model_of_good_parts_judges_whole_pictures(tmp_path: Path) -> None:
    (tmp_path / "demo" / "images").mkdir(parents=True)
    folder = tmp_path / "demo"
    samples: list[Sample] = []
    for number in range(12):
        defective = number % 2 == 1
        marked = defective != (number in {4, 7})  # two pictures are called what they are not
        marks = [(0, (20, 20, 60, 60))] if marked else []
        path = folder / "images" / f"p{number:02}.png"
        cv2.imwrite(str(path), cv2.cvtColor(paint((256, 256), *marks), cv2.COLOR_RGB2BGR))
        whole = {"state": "unlabelled", "label": "scratch"} if defective else {"state": "good"}
        samples.append(_sample(path, folder, number, [], **whole))
    version = write_version(folder, "demo", CLASSES, samples)
    limits = {"anomaly": ClassLimits(0.6, 0.7)}
    release = write_release(
        tmp_path / "releases", classes=("anomaly",), variant="anomaly", limits=limits
    )
    found = find_suspects(release, version, runtime="onnxruntime")
    kinds = {int(s.sample.image[-6:-4]): s.kind for s in found.suspects}
    assert kinds == {4: "looks_defective", 7: "looks_good"}
    write_suspects(found, tmp_path / "x.html", "en")
    assert "called good, looks defective" in (tmp_path / "x.html").read_text(encoding="utf-8")


def test_the_library_calls_nobody() -> None:
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit('somebody was called')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "import cleanlab.object_detection.rank, cleanlab.rank\n"
        "print('quiet')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout == "quiet\n", done.stderr[-2000:]
