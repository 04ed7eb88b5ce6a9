"""Faster forms of a release: what proves them, what is published, and what a failure leaves behind."""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from release_builder import write_release as build_release
from typer.testing import CliRunner
from variant_parts import CLASSES, learned_from, painted, write_made, write_parts, write_release

from inspection.errors import ConfigError, DatasetError, ReleaseError
from inspection.release import LimitsCard, load_release, read_card, sha256_file, write_card
from inspection.types import ClassLimits, Tiling
from inspection.variants import in_precision, list_variants
from inspection_datasets.manifest import DatasetVersion, Sample, load_version, write_version
from inspection_training.evaluation import samples_for
from inspection_training.progress import Step
from inspection_training.variants import cli as variant_cli
from inspection_training.variants.judge import Wanted
from inspection_training.variants.make import make_variant
from inspection_training.variants.parity import variant_table

OUTSIDE = re.compile(r"sa_family=AF_INET6?, .*?(?:inet_addr\(\"|inet_pton\(AF_INET6, \")([^\"]+)")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    return write_parts(tmp_path_factory.mktemp("parts") / "colours")


@pytest.fixture(scope="module")
def made(parts: DatasetVersion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release with both variants."""
    return write_made(tmp_path_factory.mktemp("made") / "releases", parts)


@pytest.fixture
def release(tmp_path: Path, parts: DatasetVersion) -> Path:
    return learned_from(write_release(tmp_path / "releases"), parts)


def test_both_variants_say_what_they_are(made: Path, parts: DatasetVersion) -> None:
    release = load_release(made)
    bf16, int8 = list_variants(made)
    assert (bf16.name, int8.name) == ("bf16", "int8")
    assert bf16.files == {}
    assert set(int8.files) == {"model.xml", "model.bin"}
    for card in (bf16, int8):
        parity = card.parity["openvino"]
        assert card.base_sha256 == release.model_sha256
        assert (parity.images, parity.defective, parity.equal, parity.lost) == (24, 12, 24, 0)
        assert (parity.stopped, parity.unproven) == (12, [])
        assert card.dataset["sha256"] == parts.sha256
        assert card.metrics["f32"]["escape"]["of"] == 6
        assert card.latency["f32"]["p50_ms"] > 0
        assert card.latency[card.name]["p99_ms"] > 0
        assert {k: (x.images, x.equal) for k, x in parity.splits.items()} == {
            "val": (12, 12), "test": (12, 12),
        }  # fmt: skip
        assert card.device == "CPU"
    assert (bf16.selected_on, int8.selected_on) == ([], ["train", "val"])
    assert int8.calibration_images == 12
    assert int8.quantised >= 2
    assert int8.libraries["nncf"] == "3.4.0"
    assert not list(made.glob("variants/.*"))


def test_the_release_is_as_it_was(made: Path) -> None:
    assert {p.name for p in made.iterdir()} == {"model.onnx", "release.json", "variants"}
    assert load_release(made).model_sha256 == sha256_file(made / "model.onnx")


def of(version: DatasetVersion, folder: Path, *samples: Sample) -> DatasetVersion:
    """Write another version of the parts beside the first, in a copy of its folder."""
    shutil.copytree(version.folder, folder)
    return write_version(folder, version.name, list(version.classes), list(samples))


def test_too_little_proof_is_none(release: Path, parts: DatasetVersion, tmp_path: Path) -> None:
    train = parts.select("train")
    good = [s for s in parts.samples if s.state == "good" and s.split != "train"]
    few = of(parts, tmp_path / "few", *train, *parts.select("test")[:9])
    with pytest.raises(DatasetError, match="9 different labelled and good images in val and"):
        make_variant(release, "bf16", few)
    copied = [s.model_copy(update={"sha256": good[0].sha256}) for s in parts.select("test")]
    with pytest.raises(DatasetError, match="1 different labelled and good images"):
        make_variant(release, "bf16", of(parts, tmp_path / "copied", *train, *copied))
    sound = of(parts, tmp_path / "sound", *train, *good)
    with pytest.raises(DatasetError, match="no defective image in test"):
        make_variant(release, "bf16", sound)
    assert not (release / "variants").exists()


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_defects_that_the_release_passes_prove_nothing(
    release: Path, parts: DatasetVersion, precision: str
) -> None:
    with_limits(release, dict.fromkeys(CLASSES, LimitsCard(t1=1, t2=1)))
    with pytest.raises(DatasetError, match=r"colours/1 stops no defective image .* lower its T1"):
        make_variant(release, precision, parts)
    assert not (release / "variants").exists()


def test_classes_that_no_picture_proves_are_told(release: Path, parts: DatasetVersion) -> None:
    limits = dict.fromkeys(CLASSES, LimitsCard(t1=0.3, t2=0.5))
    with_limits(release, {**limits, "blue": LimitsCard(t1=1, t2=1)})
    arguments = ["make", str(release), "--precision", "int8", "--data", str(parts.folder)]
    made = CliRunner().invoke(variant_cli.app, arguments, catch_exceptions=False)
    (card,) = list_variants(release)
    parity = card.parity["openvino"]
    assert (parity.stopped, parity.unproven) == (8, ["blue"])
    assert parity.classes["red"].stopped == parity.classes["red"].kept == 4
    said = "int8 is not proven for blue: the release stops no val or test image of it"
    assert said in made.stdout
    shown = CliRunner().invoke(variant_cli.app, ["list", str(release)], catch_exceptions=False)
    assert said in shown.stdout


def with_limits(folder: Path, limits: dict[str, LimitsCard]) -> None:
    write_card(folder, read_card(folder).model_copy(update={"limits": limits}))


def test_pictures_it_learned_from_prove_nothing(
    release: Path, parts: DatasetVersion, tmp_path: Path
) -> None:
    leak = [s.model_copy(update={"split": "test"}) for s in parts.select("train")]
    leaked = of(parts, tmp_path / "leaked", *leak)
    with pytest.raises(DatasetError, match=r"12 pictures .* test were trained on"):
        make_variant(release, "bf16", leaked)
    shutil.copytree(parts.folder / "images", tmp_path / "other" / "images")
    other = write_version(tmp_path / "other", "another part", CLASSES, leak[1:])
    with pytest.raises(DatasetError, match=r"11 pictures .* test were trained on"):
        make_variant(release, "bf16", other, Wanted(trained_on=parts.folder))
    lonely = parts.select("test")
    shutil.copytree(parts.folder / "images", tmp_path / "lonely" / "images")
    lone = write_version(tmp_path / "lonely", "colours", CLASSES, lonely)
    with pytest.raises(DatasetError, match=r"nobody can tell whether it saw .* --trained-on"):
        make_variant(release, "bf16", lone)
    assert not (release / "variants").exists()
    make_variant(release, "bf16", lone, Wanted(trained_on=parts.folder))


def test_who_is_second_is_told_so(made: Path, release: Path, parts: DatasetVersion) -> None:
    def first(step: Step) -> None:
        """Another make publishes while this one still compares."""
        if not (release / "variants" / "bf16").exists():
            shutil.copytree(made / "variants" / "bf16", release / "variants" / "bf16")

    with pytest.raises(ReleaseError, match="another make of colours/1 in bf16 was first"):
        make_variant(release, "bf16", parts, report=first)
    assert {path.name for path in (release / "variants").iterdir()} == {"bf16"}
    assert in_precision(load_release(release), "bf16")


def whole(sample: Sample) -> Sample:
    """The same part, of which only its class is known."""
    if not sample.boxes:
        return sample
    told = {"boxes": [], "label": sample.boxes[0][0], "state": "unlabelled"}
    return sample.model_copy(update=told)


def test_a_part_of_which_only_its_class_is_known_proves_like_one_with_a_box(
    tmp_path: Path, parts: DatasetVersion
) -> None:
    labelled = of(parts, tmp_path / "parts", *map(whole, parts.samples))
    folder = learned_from(write_release(tmp_path / "releases"), labelled)
    for precision in ("bf16", "int8"):
        card = make_variant(folder, precision, labelled)
        parity, rates = card.parity["openvino"], card.metrics[precision]
        assert (parity.images, parity.defective, parity.equal) == (24, 12, 24)
        assert rates["escape"]["of"] == 6
        assert card.splits == ["val", "test"]
    assert card.calibration_images == 12


def test_what_must_be_there_and_was_not_counted_judges_no_variant(
    tmp_path: Path, parts: DatasetVersion
) -> None:
    labelled = of(parts, tmp_path / "parts", *map(whole, parts.samples))
    loaded = load_release(learned_from(write_release(tmp_path / "releases"), labelled))
    limits = {**loaded.limits, CLASSES[0]: replace(loaded.limits[CLASSES[0]], expected=1)}
    left = samples_for(replace(loaded, limits=limits), labelled, "test")
    assert {s.label for s in left} == {None, *CLASSES[1:]}


def test_a_variant_is_never_replaced(made: Path, parts: DatasetVersion) -> None:
    with pytest.raises(ReleaseError, match="never replaced"):
        make_variant(made, "bf16", parts)


def test_wrong_wishes(release: Path, parts: DatasetVersion) -> None:
    with pytest.raises(ConfigError, match="fp4"):
        make_variant(release, "fp4", parts)
    with pytest.raises(ConfigError, match="train"):
        make_variant(release, "bf16", parts, Wanted(split="train"))
    assert not (release / "variants").exists()


def test_the_table_stands_side_by_side(made: Path, release: Path) -> None:
    rows = variant_table(made)
    assert [row["precision"] for row in rows] == ["f32", "bf16", "int8"]
    assert {row["map50"] for row in rows} != {None}
    assert [row.get("equal") for row in rows] == [None, 24, 24]
    assert variant_table(release)[0]["precision"] == "f32"
    told = CliRunner().invoke(variant_cli.app, ["list", str(made)], catch_exceptions=False)
    assert "24 of 24" in told.stdout
    rows = json.loads(CliRunner().invoke(variant_cli.app, ["list", str(made), "--json"]).stdout)
    assert len(rows) == 3


def test_an_anomaly_release(tmp_path: Path) -> None:
    limits = {"anomaly": ClassLimits(0.5, 0.7)}
    folder = build_release(
        tmp_path / "releases", classes=("anomaly",), size=(64, 96), variant="anomaly", limits=limits
    )
    version = painted(tmp_path / "demo", (64, 96), ("scratch",))
    learned_from(folder, version)
    for precision in ("bf16", "int8"):
        card = make_variant(folder, precision, version)
        parity, measured = card.parity["openvino"], card.metrics[precision]
        assert (parity.images, parity.equal, measured["auroc"]) == (16, 16, 1.0)
        assert parity.defective == 8
    labelled = of(version, tmp_path / "labelled", *map(whole, version.samples))
    learned_from(folder, labelled)
    shutil.rmtree(folder / "variants")
    card = make_variant(folder, "bf16", labelled)
    assert (card.parity["openvino"].images, card.parity["openvino"].defective) == (16, 8)


def test_a_tiled_release(tmp_path: Path) -> None:
    folder = build_release(tmp_path / "releases", size=(64, 64), tiling=Tiling((64, 64), 0.25))
    version = painted(tmp_path / "demo", (128, 160), ("scratch", "dent", "hole"))
    card = make_variant(learned_from(folder, version), "bf16", version)
    assert (card.parity["openvino"].equal, card.metrics["bf16"]["map50"]) == (16, 1.0)


@pytest.mark.parametrize(("limit", "precision"), [(1500, "bf16"), (6000, "int8")])
def test_a_full_disk_leaves_nothing(
    release: Path, parts: DatasetVersion, limit: int, precision: str
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(ReleaseError, match=r"cannot be written to .*; free space"):
            make_variant(release, precision, parts)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (release / "variants").exists()


def test_a_killed_make_is_no_variant_and_the_next_make_clears_up(
    release: Path, parts: DatasetVersion
) -> None:
    killed = subprocess.Popen(
        [sys.executable, "-c", "import sys; from inspection_training.variants.cli import app; app()",
         "make", str(release), "--precision", "int8", "--data", str(parts.folder)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    left = release / "variants" / f".staging.{killed.pid}"
    end = time.monotonic() + 120
    while not (left / "model.xml").exists() and killed.poll() is None:
        assert time.monotonic() < end
        threading.Event().wait(0.01)
    killed.kill()
    assert killed.wait() == -9
    assert left.is_dir()
    assert list_variants(release) == []
    alive = release / "variants" / ".staging.1"
    alive.mkdir()  # somebody else's make is running
    make_variant(release, "bf16", parts)
    assert {path.name for path in alive.parent.iterdir()} == {"bf16", ".staging.1"}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_command_calls_nobody(release: Path, parts: DatasetVersion, tmp_path: Path) -> None:
    """NNCF reports its use at import, unless it is silenced; under pytest it would be silent anyway."""
    trace = tmp_path / "trace.txt"
    done = subprocess.run(
        ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto", "-o", str(trace),
         sys.executable, "-c", "from inspection_training.variants.cli import app; app()",
         "make", str(release),
         "--precision", "int8", "--data", str(load_version(parts.folder).folder), "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "int8"
    assert not OUTSIDE.findall(trace.read_text())
