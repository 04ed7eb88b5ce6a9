"""Faster forms of a release: made by NNCF and OpenVINO, refused when they decide differently.

The network is tiny and written down by hand: the first convolution tells red, green and blue from grey,
the second averages a neighbourhood, the brightest place is the score of its class.
"""

from __future__ import annotations

import json
import math
import re
import resource
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from release_builder import paint
from release_builder import write_release as build_release
from typer.testing import CliRunner

from inspection.decide import check_detections
from inspection.detector import Detector
from inspection.errors import ConfigError, DatasetError, InferenceError, ReleaseError
from inspection.release import (
    LimitsCard,
    ReleaseCard,
    load_release,
    read_card,
    sha256_file,
    write_card,
)
from inspection.runtimes.libraries import openvino_core
from inspection.runtimes.onnxruntime import OnnxRuntimeConfig
from inspection.runtimes.openvino import OpenVinoConfig, has_bf16
from inspection.types import ClassLimits, Tiling
from inspection.variants import find_for, in_precision, list_variants, read_float_arithmetic
from inspection_datasets.manifest import DatasetVersion, Sample, load_version, write_version
from inspection_training import limits_cli
from inspection_training.cli import evaluate_app
from inspection_training.evaluation import inspect_split
from inspection_training.progress import Step
from inspection_training.variants import cli as variant_cli
from inspection_training.variants.float_layers import Search, groups_of
from inspection_training.variants.judge import Wanted
from inspection_training.variants.make import make_variant
from inspection_training.variants.parity import variant_table
from inspection_training.variants.quantize import Int8Graph

SIZE = 32
CLASSES = ("red", "green", "blue")
OUTSIDE = re.compile(r"sa_family=AF_INET6?, .*?(?:inet_addr\(\"|inet_pton\(AF_INET6, \")([^\"]+)")


def write_network(path: Path) -> None:
    """Write a network of two convolutions; a row for each class: the whole image, score, class."""
    colour = np.full((3, 3, 1, 1), -0.5, np.float32)
    colour[range(3), range(3)] = 1.0
    mean = np.zeros((3, 3, 3, 3), np.float32)
    mean[range(3), range(3)] = 1 / 9
    box = np.tile(np.array([0, 0, SIZE, SIZE], np.float32), (1, 3, 1))
    constants = {
        "scale": np.float32(1 / 255), "colour": colour, "mean": mean, "box": box,
        "kind": np.arange(3, dtype=np.float32).reshape(1, 3, 1), "zero": np.float32(0),
        "one": np.float32(1), "axis": np.array([2], np.int64),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        node("Mul", ["pixels", "scale"], ["scaled"]),
        node("Transpose", ["scaled"], ["x"], perm=[0, 3, 1, 2]),
        node("Conv", ["x", "colour"], ["contrast"], name="first"),
        node("Relu", ["contrast"], ["found"]),
        node("Conv", ["found", "mean"], ["smooth"], name="second", pads=[1, 1, 1, 1]),
        node("ReduceMax", ["smooth"], ["score"], axes=[2, 3], keepdims=0),
        node("Clip", ["score", "zero", "one"], ["clipped"]),
        node("Unsqueeze", ["clipped", "axis"], ["column"]),
        node("Mul", ["column", "zero"], ["nothing"]),
        node("Add", ["nothing", "kind"], ["kinds"]),
        node("Add", ["nothing", "box"], ["boxes"]),
        node("Concat", ["boxes", "column", "kinds"], ["detections"], axis=2),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "colours", [value("images", TensorProto.UINT8, ["B", SIZE, SIZE, 3])],
        [value("detections", TensorProto.FLOAT, ["B", 3, 6])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def learned_from(folder: Path, version: DatasetVersion) -> Path:
    """Write into a release's card that it learned from this version."""
    card = read_card(folder)
    learned = {"name": version.name, "version": version.version, "sha256": version.sha256}
    write_card(folder, card.model_copy(update={"dataset": card.dataset.model_copy(update=learned)}))
    return folder


def write_release(releases: Path) -> Path:
    folder = releases / "colours" / "1"
    folder.mkdir(parents=True)
    write_network(folder / "model.onnx")
    card = {
        "part": "colours", "number": 1, "created_at": "2026-01-01T00:00:00+00:00", "task": "detect",
        "family": "test/colours", "classes": list(CLASSES), "input_size": (SIZE, SIZE),
        "files": {"model.onnx": sha256_file(folder / "model.onnx")},
        "limits": dict.fromkeys(CLASSES, LimitsCard(t1=0.3, t2=0.5)), "claim": "",
        "dataset": {"name": "colours", "version": "v0001", "sha256": "0" * 64,
                    "train_images": 8, "val_images": 8},
        "base_weights": "random", "experiment": {}, "seeds": {}, "libraries": {},
        "licence": "Apache-2.0", "metrics": {}, "parity": {}, "latency": {},
    }  # fmt: skip
    write_card(folder, ReleaseCard.model_validate(card))
    return folder


def write_parts(folder: Path, train_strength: float = 1.0) -> DatasetVersion:
    """Write parts, every second with a coloured defect; those to learn from may be fainter."""
    rng = np.random.default_rng(0)
    samples: list[Sample] = []
    (folder / "images").mkdir(parents=True)
    for split, count in (("train", 12), ("val", 12), ("test", 12)):
        for i in range(count):
            image = rng.integers(100, 140, (SIZE, SIZE, 1)).repeat(3, axis=2).astype(np.float32)
            image[0, 0], image[0, 1] = 255, 0  # the pixels reach both ends in every split
            strength = train_strength if split == "train" else 1.0
            boxes = []
            if i % 2:
                k, x, y = i // 2 % 3, *rng.integers(4, 20, 2)
                mark = np.full(3, 20.0)
                mark[k] = 250
                patch = image[y : y + 8, x : x + 8]
                patch += (mark - patch) * strength
                boxes = [(CLASSES[k], float(x), float(y), float(x + 8), float(y + 8))]
            name = f"images/{split}{i}.png"
            cv2.imwrite(str(folder / name), image.astype(np.uint8)[:, :, ::-1])
            samples.append(
                Sample(
                    image=name, sha256=sha256_file(folder / name), width=SIZE, height=SIZE,
                    split=split, group=name, boxes=boxes, origin="test",
                    state="labelled" if boxes else "good",
                )
            )  # fmt: skip
    return write_version(folder, "colours", CLASSES, samples)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    return write_parts(tmp_path_factory.mktemp("parts") / "colours")


@pytest.fixture(scope="module")
def faint(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    return write_parts(tmp_path_factory.mktemp("faint") / "colours", train_strength=0.15)


@pytest.fixture(scope="module")
def made(parts: DatasetVersion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release with both variants."""
    folder = learned_from(write_release(tmp_path_factory.mktemp("made") / "releases"), parts)
    for precision in ("bf16", "int8"):
        make_variant(folder, precision, parts)
    return folder


@pytest.fixture
def release(tmp_path: Path, parts: DatasetVersion) -> Path:
    return learned_from(write_release(tmp_path / "releases"), parts)


def image_of(version: DatasetVersion, name: str) -> np.ndarray:
    return cv2.imread(str(version.folder / name))[:, :, ::-1].copy()


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


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_the_line_runs_it_and_the_row_tells(
    made: Path, parts: DatasetVersion, precision: str
) -> None:
    config = OpenVinoConfig.model_validate({"type": "openvino", "precision": precision})
    release = find_for(config)(made.parent.parent, "colours", 1)
    assert release.model_sha256.startswith(f"{precision}:")
    runtime = config.open()
    runtime.load(release, 30.0)
    found = Detector(release, runtime).detect(image_of(parts, "images/test1.png"), 5.0)
    images = np.stack([image_of(parts, f"images/test{i}.png") for i in (1, 3, 5)])
    outputs = runtime.infer(images, 5.0)
    alone = [runtime.infer(images[i : i + 1], 5.0)["detections"] for i in range(3)]
    runtime.close()
    assert np.array_equal(outputs["detections"], np.concatenate(alone))
    assert outputs["detections"].shape == (3, 3, 6)  # in batches too
    assert found.scores[0] > 0.5
    assert found.model_sha256 == release.model_sha256
    assert found.release == "colours/1"
    assert check_detections(found, release) is None
    plain = replace(found, model_sha256=load_release(made).model_sha256)
    assert check_detections(plain, release) is not None  # float cannot answer for it


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_without_a_variant_it_is_refused(release: Path, precision: str) -> None:
    config = OpenVinoConfig.model_validate({"type": "openvino", "precision": precision})
    with pytest.raises(ReleaseError, match=f"variant make .* --precision {precision} --data"):
        find_for(config)(release.parent.parent, "colours", 1)
    with pytest.raises(InferenceError, match=f"as f32, the runtime computes in {precision}"):
        config.open().load(load_release(release), 30.0)


def test_a_runtime_never_runs_another_precision_than_its_own(made: Path) -> None:
    release = load_release(made)
    int8 = in_precision(release, "int8")
    for config in (OpenVinoConfig(), OpenVinoConfig(precision="bf16"), OnnxRuntimeConfig()):
        with pytest.raises(InferenceError, match="as int8"):
            config.open().load(int8, 30.0)
    with pytest.raises(ReleaseError, match="passed under openvino, not under onnxruntime"):
        in_precision(release, "int8", "onnxruntime")


def of(version: DatasetVersion, folder: Path, *samples: Sample) -> DatasetVersion:
    """Write another version of the parts beside the first, in a copy of its folder."""
    shutil.copytree(version.folder, folder)
    return write_version(folder, version.name, list(version.classes), list(samples))


def test_too_little_proof_is_none(release: Path, parts: DatasetVersion, tmp_path: Path) -> None:
    train = parts.select("train")
    good = [s for s in parts.samples if s.state == "good" and s.split != "train"]
    few = of(parts, tmp_path / "few", *train, *parts.select("test")[:9])
    with pytest.raises(DatasetError, match="9 labelled and good images in val and test; fewer"):
        make_variant(release, "bf16", few)
    sound = of(parts, tmp_path / "sound", *train, *good)
    with pytest.raises(DatasetError, match="no defective image in test"):
        make_variant(release, "bf16", sound)
    assert not (release / "variants").exists()


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


def test_another_device_is_refused(made: Path) -> None:
    for precision in ("bf16", "int8"):
        config = OpenVinoConfig.model_validate({"device": "GPU", "precision": precision})
        with pytest.raises(ReleaseError, match=r"compared on CPU, not on GPU.*set device to CPU"):
            find_for(config)(made.parent.parent, "colours", 1)
    find_for(OpenVinoConfig(device="GPU"))(made.parent.parent, "colours", 1)  # f32 is the release


def test_another_processor_is_told(
    made: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_precision(load_release(made), "bf16")
    assert not caplog.records
    folder = tmp_path / "releases" / "colours" / "1"
    shutil.copytree(made, folder)
    path = folder / "variants" / "bf16" / "variant.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"machine": "Abacus 9, 2 cores"}))
    in_precision(load_release(folder), "bf16")
    assert "was compared on Abacus 9, 2 cores, this is" in caplog.text


def test_who_is_second_is_told_so(made: Path, release: Path, parts: DatasetVersion) -> None:
    def first(step: Step) -> None:
        """Another make publishes while this one still compares."""
        if not (release / "variants" / "bf16").exists():
            shutil.copytree(made / "variants" / "bf16", release / "variants" / "bf16")

    with pytest.raises(ReleaseError, match="another make of colours/1 in bf16 was first"):
        make_variant(release, "bf16", parts, report=first)
    assert {path.name for path in (release / "variants").iterdir()} == {"bf16"}
    assert in_precision(load_release(release), "bf16")


@pytest.mark.parametrize(
    "damage", ["bin", "xml", "gone", "link", "base", "card", "unequal", "few", "sound", "held"]
)
def test_an_altered_variant_is_refused(made: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "releases" / "colours" / "1"
    shutil.copytree(made, folder)
    int8 = folder / "variants" / "int8"
    card = json.loads((int8 / "variant.json").read_text())
    if damage in {"bin", "xml"}:
        data = bytearray((int8 / f"model.{damage}").read_bytes())
        data[len(data) // 2] ^= 1
        (int8 / f"model.{damage}").write_bytes(bytes(data))
    elif damage == "gone":
        (int8 / "model.bin").unlink()
    elif damage == "link":
        (int8 / "model.bin").rename(tmp_path / "model.bin")
        (int8 / "model.bin").symlink_to(tmp_path / "model.bin")
    elif damage == "base":
        card["base_sha256"] = "1" * 64
    elif damage == "card":
        card["files"]["../../../x"] = "0" * 64
    elif damage == "held":
        card["parity"]["openvino"]["splits"]["test"]["equal"] = 11
    elif damage in {"few", "sound"}:
        card["parity"]["openvino"] |= {"few": {"images": 9, "equal": 9}, "sound": {"defective": 0}}[
            damage
        ]
    else:
        card["parity"]["openvino"]["equal"] = 3
    if damage in {"base", "card", "unequal", "few", "sound", "held"}:
        (int8 / "variant.json").write_text(json.dumps(card))
    with pytest.raises(ReleaseError, match=r"altered|missing|another model|files|did not pass"):
        in_precision(load_release(folder), "int8")


def test_a_file_swapped_after_the_check_is_not_run(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "releases" / "colours" / "1"
    shutil.copytree(made, folder)
    release = in_precision(load_release(folder), "int8")
    weights = folder / "variants" / "int8" / "model.bin"
    weights.write_bytes(weights.read_bytes()[::-1])
    with pytest.raises(InferenceError, match="changed since"):
        OpenVinoConfig(precision="int8").open().load(release, 30.0)


def test_an_operator_of_a_stranger_is_refused(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "releases" / "colours" / "1"
    shutil.copytree(made, folder)
    int8 = folder / "variants" / "int8"
    text = (int8 / "model.xml").read_text().replace('version="opset1"', 'version="extension"', 1)
    (int8 / "model.xml").write_text(text)
    card = json.loads((int8 / "variant.json").read_text())
    card["files"]["model.xml"] = sha256_file(int8 / "model.xml")
    (int8 / "variant.json").write_text(json.dumps(card))
    with pytest.raises(ReleaseError, match="outside OpenVINO's opsets"):
        in_precision(load_release(folder), "int8")


def test_wrong_ranges_change_decisions_and_are_refused(
    release: Path, faint: DatasetVersion
) -> None:
    """Ranges set on faint defects cut strong ones off: every defective part would pass."""
    learned_from(release, faint)
    with pytest.raises(ReleaseError) as refused:
        make_variant(release, "int8", faint, Wanted(minutes=0))
    told = str(refused.value)
    assert "12 of 24 decisions differ" in told
    assert "12 defective parts that the release stops would pass" in told
    assert "the first is images/val1.png (defective): FAIL became PASS" in told
    assert not (release / "variants").exists()
    load_release(release)


def test_the_search_keeps_the_harmful_layer_in_float(release: Path, faint: DatasetVersion) -> None:
    card = make_variant(learned_from(release, faint), "int8", faint, Wanted(minutes=1))
    assert card.parity["openvino"].passed
    assert any("second" in name for name in card.kept_float)
    assert card.quantised >= 1
    assert card.tries[0]["enough"] is False
    assert card.tries[0]["equal"] < card.tries[0]["images"]
    judged = [x for x in card.tries if x["on"] == "judge"]
    assert card.tries[-1] == judged[-1]
    assert ("test" in card.selected_on) is (len(judged) > 1)
    assert {"train", "val"} <= set(card.selected_on)


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


def test_an_int8_graph_says_what_its_float_layers_compute_in(made: Path, tmp_path: Path) -> None:
    int8 = list_variants(made)[1]
    xml = made / "variants" / "int8" / "model.xml"
    bf16 = has_bf16(openvino_core())
    assert int8.float_arithmetic == read_float_arithmetic(xml) == ("bf16" if bf16 else "f32")
    folder = tmp_path / "releases" / "colours" / "1"
    shutil.copytree(made, folder)
    path = folder / "variants" / "int8" / "variant.json"
    other = "f32" if int8.float_arithmetic == "bf16" else "bf16"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"float_arithmetic": other}))
    with pytest.raises(ReleaseError, match=f"compute in {other}, model.xml says"):
        in_precision(load_release(folder), "int8")


def test_a_processor_without_bf16_refuses(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No processor of that kind is here, so only its answer is changed."""
    if list_variants(made)[1].float_arithmetic != "bf16":
        pytest.skip("this processor has no bf16")
    monkeypatch.setattr("inspection.runtimes.openvino.has_bf16", lambda *_: False)
    release = load_release(made)
    for precision in ("bf16", "int8"):
        runtime = OpenVinoConfig.model_validate({"precision": precision}).open()
        with pytest.raises(InferenceError, match="computes in bf16, which CPU of this machine has"):
            runtime.load(in_precision(release, precision), 30.0)


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


def painted(folder: Path, size: tuple[int, int], classes: tuple[str, ...]) -> DatasetVersion:
    """Write grey parts for the releases of `release_builder`; every second has a mark."""
    (folder / "images").mkdir(parents=True)
    samples: list[Sample] = []
    for i in range(20):
        split, box = ("train", "val", "test")[min(i // 4, 2)], (20 + i, 30, 40 + i, 50)
        name = f"images/{i}.png"
        image = paint(size, *([(0, box)] if i % 2 else []), grey=90 + i)
        cv2.imwrite(str(folder / name), image[:, :, ::-1])
        samples.append(
            Sample(
                image=name, sha256=sha256_file(folder / name), width=size[1], height=size[0],
                split=split, group=name, origin="test", state="labelled" if i % 2 else "good",
                boxes=[(classes[0], *map(float, box))] if i % 2 else [],
            )
        )  # fmt: skip
    return write_version(folder, "demo", classes, samples)


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


def test_a_tiled_release(tmp_path: Path) -> None:
    folder = build_release(tmp_path / "releases", size=(64, 64), tiling=Tiling((64, 64), 0.25))
    version = painted(tmp_path / "demo", (128, 160), ("scratch", "dent", "hole"))
    card = make_variant(learned_from(folder, version), "bf16", version)
    assert (card.parity["openvino"].equal, card.metrics["bf16"]["map50"]) == (16, 1.0)


def test_evaluate_and_limits_compute_as_the_station_does(
    made: Path, parts: DatasetVersion, tmp_path: Path
) -> None:
    ran = CliRunner().invoke(
        evaluate_app,
        [str(made), "--data", str(parts.folder), "--precision", "int8", "--json"],
        catch_exceptions=False,
    )
    measured = json.loads(ran.stdout)
    assert measured["precision"] == "int8"
    assert measured["model_sha256"] == in_precision(load_release(made), "int8").model_sha256
    recipe, folder = tmp_path / "1.yaml", tmp_path / "releases" / "colours" / "1"
    shutil.copytree(made, folder)
    card = read_card(folder)
    learned = card.dataset.model_copy(update={"sha256": parts.sha256})
    write_card(folder, card.model_copy(update={"dataset": learned}))
    CliRunner().invoke(
        limits_cli.app,
        [str(folder), "--data", str(parts.folder), "--precision", "bf16", "--write", str(recipe)],
        catch_exceptions=False,
    )  # fmt: skip
    claim = json.loads(recipe.with_suffix(".claim.json").read_text())
    assert claim["precision"] == "bf16"
    assert claim["model_sha256"] == f"bf16:{sha256_file(made / 'model.onnx')}"


def test_evaluate_without_the_variant_names_the_command(
    release: Path, made: Path, parts: DatasetVersion
) -> None:
    with pytest.raises(ReleaseError, match=r"variant make .* --precision bf16 --data"):
        inspect_split(release, parts, "test", precision="bf16")
    with pytest.raises(ReleaseError, match="passed under openvino, not under onnxruntime"):
        inspect_split(made, parts, "test", "onnxruntime", precision="bf16")
    with pytest.raises(ConfigError, match="precision 'fp4' is not one of f32, bf16, int8"):
        inspect_split(made, parts, "test", precision="fp4")


def test_groups_cover_every_layer_once() -> None:
    for count in (1, 5, 24, 100):
        layers = [f"layer{i}" for i in range(count)]
        groups = groups_of(layers)
        assert [name for group in groups for name in group] == layers
        assert len(groups) <= 24


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_command_calls_nobody(release: Path, parts: DatasetVersion, tmp_path: Path) -> None:
    """NNCF reports its use at import, unless it is silenced; under pytest it would be silent anyway."""
    trace = tmp_path / "trace.txt"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(trace),
         sys.executable, "-c", "from inspection_training.variants.cli import app; app()",
         "make", str(release),
         "--precision", "int8", "--data", str(load_version(parts.folder).folder), "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "int8"
    assert not OUTSIDE.findall(trace.read_text())
