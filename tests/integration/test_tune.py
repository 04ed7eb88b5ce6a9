"""`inspection tune`: real runtimes, a real service, real files; nothing here depends on speed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from release_builder import write_release as write_markers
from station_rig import Rig
from typer.testing import CliRunner
from variant_parts import learned_from, write_parts, write_release

from inspection.doctor import Check, check_station
from inspection.errors import ConfigError, ReleaseError
from inspection.release import load_release, read_card, sha256_file, write_card
from inspection.runtimes.onnxruntime import OnnxRuntimeConfig
from inspection.runtimes.openvino import OpenVinoConfig
from inspection.tuned import TuneCard, read_tune, tune_path
from inspection_datasets.manifest import DatasetVersion
from inspection_training.progress import silent
from inspection_training.tune.candidates import (
    Candidate,
    Precision,
    list_candidates,
    settle_precisions,
    thread_counts,
)
from inspection_training.tune.cli import app
from inspection_training.tune.rounds import Runner, measure
from inspection_training.tune.smaller import estimates, shape_of
from inspection_training.tune.tune import Asked, judge, read_frame, tune
from inspection_training.variants.judge import Wanted
from inspection_training.variants.make import make_variant

LONG = 30.0
"""Seconds; a deadline that a loaded PC keeps too."""
SHORT = 1e-6
"""A deadline that nothing keeps."""
FRAME = (96, 64)
CLASSES = ("scratch", "dent", "hole")
SPEEDS = (("quick", 1.0), ("slow", 9.0))


def run(release: Path, *options: str, deadline: float = LONG) -> Any:
    common = ["--deadline", str(deadline), "--minutes", "0.02", "--frame", "96x64"]
    return CliRunner().invoke(app, [str(release), *common, *options])


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """A station with a release that has a bf16 variant, in f32, with a comment in its file."""
    folder = tmp_path_factory.mktemp("station")
    parts = write_parts(folder / "colours")
    make_variant(learned_from(write_release(folder / "releases"), parts), "bf16", parts)
    return Rig(folder, runtime={"type": "openvino"}, recipe={"part": "colours"})


@pytest.fixture(scope="module")
def tuned(rig: Rig) -> TuneCard:
    """All candidates measured, the service too."""
    release = rig.releases / "colours" / "1"
    config = OpenVinoConfig.model_validate({"type": "openvino", "threads": 1})
    return tune(release, Asked(LONG, 0.02, FRAME, station=config))


def station_text(rig: Rig, runtime: str) -> str:
    others = {name: value for name, value in rig.station.items() if name != "runtime"}
    text = yaml.safe_dump(others) + f"# the model\nruntime:\n{runtime}# the end\n"
    (rig.folder / "station.yaml").write_text(text, encoding="utf-8")
    return text


def doctor(rig: Rig) -> Check:
    checks = check_station(rig.folder / "station.yaml")
    return next(check for check in checks if check.name == "tuned")


def store(rig: Rig, card: TuneCard, **changes: Any) -> None:
    path = tune_path(rig.releases / "colours" / "1")
    path.parent.mkdir(exist_ok=True)
    path.write_text(card.model_copy(update=changes).model_dump_json(), encoding="utf-8")


def test_a_variant_compared_elsewhere_may_not_run_without_data(rig: Rig, tmp_path: Path) -> None:
    release = rig.releases / "colours" / "1"
    assert [
        one.refused for one in settle_precisions(load_release(release), None, Wanted(), silent)
    ][1] == ""
    folder = tmp_path / "colours" / "1"
    shutil.copytree(release, folder)
    card = folder / "variants" / "bf16" / "variant.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"machine": "Abacus 9, 2 cores"}))
    found = settle_precisions(load_release(folder), None, Wanted(), silent)
    [bf16] = [one for one in found if one.name == "bf16"]
    assert "was compared on Abacus 9, 2 cores" in bf16.refused
    candidates, _ = list_candidates(found, None)
    assert all(one.barred for one in candidates if one.precision == "bf16")


def test_a_variant_is_not_compared_on_what_the_release_learned(tmp_path: Path) -> None:
    parts = write_parts(tmp_path / "colours")
    release = learned_from(write_release(tmp_path / "releases"), parts)
    make_variant(release, "int8", parts)
    card = release / "variants" / "int8" / "variant.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"machine": "Abacus 9, 2 cores"}))

    def refused(version: DatasetVersion) -> str:
        wanted = Wanted(trained_on=parts.folder)
        return settle_precisions(load_release(release), version, wanted, silent)[2].refused

    assert refused(parts) == ""
    learned = [x.model_copy(update={"split": "test"}) for x in parts.samples if x.split == "train"]
    held_out = [x for x in parts.samples if x.split in {"val", "test"}]
    known = replace(parts, samples=(*held_out, *learned), sha256="0" * 64)
    assert "were trained on" in refused(known)


def test_every_runtime_is_measured_and_one_is_chosen(tuned: TuneCard) -> None:
    measured = {(x.runtime["type"], x.runtime.get("precision")): x for x in tuned.tried if x.times}
    assert {("openvino", None), ("openvino", "bf16"), ("onnxruntime", None)} <= set(measured)
    assert {("service", None), ("service", "bf16")} <= set(measured)
    assert tuned.chosen is not None
    assert tuned.chosen.why == ""
    assert tuned.tried[0].state == "chosen"
    assert all(x.why for x in tuned.tried if x.state != "chosen"), "each says why it is out"
    assert all(x.times.p50_ms <= x.times.p99_ms for x in tuned.tried if x.times)
    assert all(x.times.idle_runs for x in tuned.tried if x.state in {"chosen", "kept"})


def test_what_was_never_compared_is_out(tuned: TuneCard) -> None:
    out = [x for x in tuned.tried if x.runtime.get("precision") == "int8"]
    assert [x.state for x in out] == ["out"]
    assert "never compared" in out[0].why
    assert "--precision int8" in out[0].why


def test_what_the_station_runs_is_measured_to_the_end(tuned: TuneCard) -> None:
    now = next(x for x in tuned.tried if "station runs now" in x.note)
    assert now.runtime == {"type": "openvino", "threads": 1}
    assert now.times.idle_runs


def test_no_deadline_is_kept(rig: Rig, tmp_path: Path) -> None:
    """Exit code 1, smaller models are measured and estimated, and the station is left alone."""
    releases = tmp_path / "releases"
    write_markers(releases, size=(256, 256))
    write_markers(releases, number=2, size=(128, 128))
    before = station_text(rig, "  type: openvino\n")
    station = rig.folder / "station.yaml"
    done = run(
        releases / "demo" / "1",
        "--station",
        str(station),
        "--write",
        "--type",
        "onnxruntime",
        deadline=SHORT,
    )
    assert done.exit_code == 1, done.output
    assert "nothing keeps the deadline" in done.output
    assert "useful input would either" in done.output
    card = read_tune(releases / "demo" / "1")
    assert card is not None
    assert card.chosen is None
    assert {x.model for x in card.smaller if x.source == "measured"} == {"demo/2"}
    assert not any(x.keeps for x in card.smaller)
    assert station.read_text() == before


def test_torch_is_not_needed_and_the_release_is_left_alone(rig: Rig) -> None:
    release = rig.releases / "colours" / "1"
    station_text(rig, "  type: openvino\n")
    before = {path: sha256_file(path) for path in release.iterdir() if path.is_file()}
    code = "import sys; from inspection_training.tune.cli import app; sys.modules['torch'] = None; app()"
    options = [
        "--deadline",
        str(LONG),
        "--minutes",
        "0.01",
        "--frame",
        "96x64",
        "--json",
        "--type",
        "openvino",
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, str(release), *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    card = TuneCard.model_validate(json.loads(done.stdout))
    assert card == read_tune(release)
    assert {path: sha256_file(path) for path in release.iterdir() if path.is_file()} == before
    assert load_release(release).name == "colours/1"


def test_the_doctor_compares(rig: Rig, tuned: TuneCard) -> None:
    tune_path(rig.releases / "colours" / "1").unlink(missing_ok=True)
    station_text(rig, "  type: openvino\n")
    assert doctor(rig) == Check("tuned", "ok", "colours/1 was not tuned on this kind of PC")
    chosen = tuned.chosen.model_copy(update={"runtime": {"type": "openvino", "threads": 2}})
    store(rig, tuned, tried=[chosen])
    assert doctor(rig).state == "warn"
    assert "threads: 2" in doctor(rig).found
    station_text(rig, "  {type: openvino, threads: 2}\n")
    assert doctor(rig).state == "ok"
    late = chosen.model_copy(update={"times": chosen.times.model_copy(update={"p99_ms": 9e4})})
    store(rig, tuned, tried=[late])
    assert "deadline is" in doctor(rig).found
    store(rig, tuned, tried=[chosen], base_sha256="0" * 64)
    assert "another model" in doctor(rig).found
    store(rig, tuned, tried=[chosen.model_copy(update={"state": "late"})])
    assert "nothing kept" in doctor(rig).found
    tune_path(rig.releases / "colours" / "1").write_text("{")
    assert doctor(rig).state == "fail"


def test_what_the_station_runs_is_barred_where_it_was_refused(tmp_path: Path) -> None:
    """The fastest of all, but its decisions differ on this processor, or its type is not wanted."""
    faster = OpenVinoConfig.model_validate({"type": "openvino", "precision": "bf16", "threads": 1})
    precisions = [Precision("f32"), Precision("bf16", "3 of 20 decisions differ")]
    found, out = list_candidates(precisions, faster)
    assert found[-1].barred == "3 of 20 decisions differ"
    assert [why for _, why in out] == ["3 of 20 decisions differ"]
    found, _ = list_candidates([Precision("f32"), Precision("bf16")], faster, ["service"])
    assert found[-1].barred == "its type is not among --type"
    release = load_release(write_markers(tmp_path / "releases", size=(64, 64)))
    runtime = OpenVinoConfig.model_validate({"type": "openvino", "threads": 1}).open()
    quick, slow = (Runner(name, release, runtime, spent=[t], idle=[t]) for name, t in SPEEDS)
    tried = judge([(found[-1], quick, ""), (Candidate({"type": "openvino"}), slow, "")], LONG)
    assert [(x.state, x.times.p50_ms) for x in tried] == [("chosen", 9.0), ("barred", 1.0)]


def test_of_those_as_fast_the_plainest_is_taken(tmp_path: Path) -> None:
    release = load_release(write_markers(tmp_path / "releases", size=(64, 64)))
    runtime = OpenVinoConfig.model_validate({"type": "openvino", "threads": 1}).open()
    ways = [
        ({"type": "openvino", "precision": "int8"}, 10.0),
        ({"type": "openvino", "precision": "bf16", "threads": 2}, 10.1),
        ({"type": "service", "precision": "bf16"}, 10.0),
        ({"type": "openvino", "precision": "bf16"}, 10.2),
        ({"type": "openvino"}, 11.0),
    ]
    runs = [
        (Candidate(way), Runner(str(t), release, runtime, spent=[t], idle=[t]), "")
        for way, t in ways
    ]
    tried = judge(runs, LONG)
    assert tried[0].runtime == {"type": "openvino", "precision": "bf16"}
    assert sum(x.why.startswith("as fast as") for x in tried) == 3
    assert {x.state for x in judge(runs, 0.001)} == {"late"}


@pytest.mark.parametrize(
    ("text", "why"), [("640", "is no size"), ("640x-3", "is no size"), ("8x640", "sides are")]
)
def test_a_frame_that_is_none(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read_frame(text)


@pytest.mark.parametrize(
    "options", [["--minutes", "0"], ["--deadline", "0"], ["--write"], ["--type", "gpu"]]
)
def test_wrong_options(rig: Rig, options: list[str]) -> None:
    done = run(rig.releases / "colours" / "1", *options)
    assert isinstance(done.exception, ConfigError)


def test_a_release_that_is_refused_is_not_tuned(tmp_path: Path) -> None:
    folder = write_markers(tmp_path / "releases", variant="flipped")
    with pytest.raises(ReleaseError, match="altered"):
        tune(folder, Asked(LONG))


def test_a_model_that_fails_is_never_chosen(tmp_path: Path) -> None:
    """Every answer of it is NaN: nothing can run it, and nothing is stored."""
    folder = write_markers(tmp_path / "releases", variant="nan", size=(64, 64))
    with pytest.raises(ReleaseError, match="nothing could run demo/1 here"):
        tune(folder, Asked(LONG, 0.01, FRAME, types=("onnxruntime",)))


class Breaks:
    """A runtime that fails at its third call."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.calls = inner, 0

    def infer(self, images: Any, timeout: float) -> Any:
        self.calls += 1
        if self.calls == 3:
            raise ReleaseError("the cable was pulled")
        return self.inner.infer(images, timeout)

    def close(self) -> None:
        self.inner.close()


def test_one_that_fails_half_way_is_out_and_the_others_go_on(tmp_path: Path) -> None:
    import numpy as np

    release = load_release(write_markers(tmp_path / "releases", size=(64, 64)))
    opened = []
    for _ in range(2):
        runtime = OpenVinoConfig.model_validate({"type": "openvino", "threads": 1}).open()
        runtime.load(release, 60.0)
        opened.append(runtime)
    bad, good = Runner("bad", release, Breaks(opened[0])), Runner("good", release, opened[1])
    measure([bad, good], [np.zeros((64, 64, 3), np.uint8)], 0.2, lambda _step: None)
    assert (bad.why, bad.failed) == ("the cable was pulled", True)
    assert good.why == ""
    assert good.times().idle_runs == 5


def test_shapes_and_estimates(tmp_path: Path) -> None:
    folder = write_markers(tmp_path / "releases", size=(640, 640))
    release = load_release(folder)
    shape = shape_of(release, (2448, 2048), 40.0)
    assert shape.better == (544, 640)
    assert shape.padding == pytest.approx(1 - 535 / 640, abs=0.002)
    assert shape.estimate_ms == pytest.approx(34.0)
    assert shape_of(release, (1000, 1000), 40.0).better is None
    write_card(folder, read_card(folder).model_copy(update={"family": "ultralytics/yolo11m-seg"}))
    found = estimates(release, {"type": "openvino"}, 100.0, 0.04)
    assert [(x.model, x.keeps) for x in found] == [
        ("yolo11s-seg at 640 x 640", True),
        ("yolo11n-seg at 640 x 640", True),
        ("yolo11m-seg at 384 x 384", True),
    ]
    assert found[0].p99_ms == pytest.approx(100 * 21.7 / 68.5, abs=0.1)
    assert {x.source for x in found} == {"estimated"}


def test_thread_counts() -> None:
    assert thread_counts(2) == [0, 1, 2]
    assert thread_counts(12) == [0, 1, 2, 4, 8, 12]


def test_a_full_disk_is_told(rig: Rig, tuned: TuneCard, tmp_path: Path) -> None:
    from inspection.tuned import write_tune

    place = tmp_path / "full"
    place.mkdir()
    (place / "tune").write_text("a file where the folder should be")
    with pytest.raises(ReleaseError, match="cannot be written"):
        write_tune(place, tuned)
    assert os.listdir(place) == ["tune"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A release of an ultralytics network, and the network: weights as they began."""
    import torch
    from ultralytics.nn.tasks import DetectionModel

    from inspection_training.export_settings import ExportSettings
    from inspection_training.ultralytics_detectors.export import export_detector

    torch.manual_seed(0)
    network = DetectionModel("yolov8n.yaml", nc=3, verbose=False).eval()
    folder = write_markers(tmp_path_factory.mktemp("trained") / "releases", size=(64, 96))
    export_detector(network, folder / "model.onnx", ExportSettings((64, 96)), CLASSES)
    card = read_card(folder)
    files = {**card.files, "model.onnx": sha256_file(folder / "model.onnx")}
    update = {"files": files, "family": "ultralytics/yolov8n"}
    write_card(folder, card.model_copy(update=update))
    return folder, network


def test_what_hardswish_would_take_is_measured_when_nothing_keeps_the_deadline(
    trained: tuple[Path, Any],
) -> None:
    folder, _ = trained
    before = sha256_file(folder / "model.onnx")
    for kind in ("onnxruntime", "openvino", "service"):
        card = tune(folder, Asked(SHORT, 0.02, FRAME, types=(kind,)))
        first, *others = card.smaller
        assert first.model == "demo/1 trained with activation: hardswish"
        assert (first.source, first.keeps) == ("measured", False)
        assert first.runtime["type"] == {"service": "openvino"}.get(kind, kind)
        assert not others, "no smaller network of the family, no input of use"
    assert sha256_file(folder / "model.onnx") == before
    done = run(folder, "--type", "openvino", deadline=SHORT)
    assert "demo/1 trained with activation: hardswish in {type: openvino" in done.stdout


def test_the_network_that_is_measured_is_the_one_with_hardswish(
    trained: tuple[Path, Any], tmp_path: Path
) -> None:
    import numpy as np
    import torch

    from inspection_training.export_settings import ExportSettings
    from inspection_training.tune.other_activation import hardswish_runner
    from inspection_training.ultralytics_detectors.export import export_detector
    from inspection_training.ultralytics_detectors.network import activation_of

    folder, network = trained
    release = load_release(folder)
    found = hardswish_runner(release, {"type": "onnxruntime", "threads": 1}, tmp_path)
    assert found is not None
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, torch.nn.SiLU):
                setattr(module, name, torch.nn.Hardswish())
    assert activation_of(network) == "hardswish"
    export_detector(network, folder / "model.onnx", ExportSettings((64, 96)), CLASSES)
    card = read_card(folder)
    files = {**card.files, "model.onnx": sha256_file(folder / "model.onnx")}
    write_card(folder, card.model_copy(update={"files": files}))
    learned = OnnxRuntimeConfig.model_validate({"type": "onnxruntime", "threads": 1}).open()
    learned.load(load_release(folder), 60.0)
    images = np.random.default_rng(1).integers(0, 256, (1, 64, 96, 3), np.uint8)
    answers = [one.infer(images, 60.0)["detections"] for one in (found[0].runtime, learned)]
    np.testing.assert_allclose(*answers, rtol=1e-4, atol=1e-4)
    assert hardswish_runner(load_release(folder), {"type": "onnxruntime"}, tmp_path) is None
    assert hardswish_runner(release, {"type": "openvino", "precision": "int8"}, tmp_path) is None
    write_card(folder, card.model_copy(update={"family": "torchvision/fcos", "files": files}))
    assert hardswish_runner(release, {"type": "openvino"}, tmp_path) is None
