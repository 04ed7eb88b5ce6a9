"""Faster forms of a release on a station: only what was compared is run, and every row tells it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner
from variant_parts import image_of, learned_from, write_made, write_parts, write_release

from inspection.decide import check_detections
from inspection.detector import Detector
from inspection.errors import ConfigError, InferenceError, ReleaseError
from inspection.release import load_release, read_card, sha256_file, write_card
from inspection.runtimes.libraries import openvino_core
from inspection.runtimes.onnxruntime import OnnxRuntimeConfig
from inspection.runtimes.openvino import OpenVinoConfig, has_bf16
from inspection.variants import find_for, in_precision, list_variants, read_float_arithmetic
from inspection_datasets.manifest import DatasetVersion
from inspection_training import limits_cli
from inspection_training.cli import evaluate_app
from inspection_training.evaluation import inspect_split
from inspection_training.variants import cli as variant_cli
from inspection_training.variants.make import make_variant


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


def test_a_card_from_before_the_count_of_stopped_defects_runs_and_is_told(
    release: Path, parts: DatasetVersion, caplog: pytest.LogCaptureFixture
) -> None:
    make_variant(release, "int8", parts)
    in_precision(load_release(release), "int8")
    assert "older than" not in caplog.text
    path = release / "variants" / "int8" / "variant.json"
    card = json.loads(path.read_text())
    del card["parity"]["openvino"]["stopped"], card["parity"]["openvino"]["classes"]
    path.write_text(json.dumps(card))
    assert in_precision(load_release(release), "int8").model_sha256.startswith("int8:")
    assert "is older than the count of defects that the release itself stops" in caplog.text
    shown = CliRunner().invoke(variant_cli.app, ["list", str(release)], catch_exceptions=False)
    assert "int8 was made before it was counted" in shown.stdout


BROKEN = {
    "few": {"images": 9, "equal": 9},
    "sound": {"defective": 0},
    "passing": {"stopped": 0},
    "unseen": {"classes": {"red": {"stopped": 4, "kept": 0}}},
}


@pytest.mark.parametrize(
    "damage",
    ["bin", "xml", "gone", "link", "base", "card", "unequal", "held", *BROKEN],
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
    elif damage in BROKEN:
        card["parity"]["openvino"] |= BROKEN[damage]
    else:
        card["parity"]["openvino"]["equal"] = 3
    if damage in {"base", "card", "unequal", "held", *BROKEN}:
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
