"""The quick start: what is chosen from which data, and that every reason can be told."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from inspection.demo.labelled_set import write_labelled_set
from inspection.errors import ConfigError, DatasetError
from inspection_datasets.importing import ImportPlan, import_dataset
from inspection_datasets.manifest import DatasetVersion, Sample, load_version
from inspection_training.experiment import load_experiment
from inspection_training.quick.facts import (
    Looks,
    Machine,
    Weights,
    alignment,
    is_binary,
    look,
    read_weights,
)
from inspection_training.quick.proposal import Proposal
from inspection_training.quick.rules import propose
from inspection_training.quick.text import NOTES, WHY

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("INSPECTION_SHARED", ROOT.parent / "shared"))
CPU = Machine(ultralytics=True, cores=2, gpus=0, bf16=True)
GPU = replace(CPU, gpus=2)
GREY = Looks(pictures=24, binary=0, alignment=None)
BLACK_AND_WHITE = replace(GREY, binary=24)
YOLO = Weights("yolov8n.pt", "ultralytics", "yolov8n")
MOBILENET = Weights("mobilenet_v2.pth", "mobilenet_v2")


def _samples(
    split: str,
    count: int,
    size: tuple[int, int],
    boxes: Sequence[tuple[str, float, float]] = (),
    **more: Any,
) -> list[Sample]:
    """Return samples of (width, height), each with boxes (class, width, height) at the corner."""
    width, height = size
    state = "labelled" if boxes else more.pop("state", "good")
    kind = f"{split}-{state}-{len(boxes)}"
    return [
        Sample(
            image=f"images/{kind}-{number}.png",
            sha256=f"{number:064x}",
            width=width,
            height=height,
            split=split,  # type: ignore[arg-type]
            group=f"{kind}-{number}",
            boxes=[(name, 0.0, 0.0, wide, high) for name, wide, high in boxes],
            state=state,
            origin="test",
            **more,
        )
        for number in range(count)
    ]


def _version(*samples: list[Sample], classes: Sequence[str] = ()) -> DatasetVersion:
    rows = tuple(sample for group in samples for sample in group)
    names = classes or sorted({box[0] for sample in rows for box in sample.boxes}) or ["defect"]
    return DatasetVersion(Path("parts"), "part", "v0001", "0" * 64, tuple(names), rows)


def _boards() -> DatasetVersion:
    """Return a set with the counts and sizes of DeepPCB's small one."""
    names = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
    boxes = [(name, 31.0, 38.0) for name in names] + [("open", 26.0, 31.0)]
    size = (640, 640)
    return _version(
        *(_samples("train", 160, size, boxes), _samples("train", 160, size)),
        *(_samples("val", 40, size, boxes), _samples("val", 40, size)),
        *(_samples("test", 100, size, boxes), _samples("test", 100, size)),
    )


def _screws() -> DatasetVersion:
    boxes = [("screw", 257.0, 256.0), ("screw", 257.0, 256.0), ("hole", 257.0, 256.0)]
    parts = (("train", 40), ("val", 10), ("test", 50))
    return _version(*(_samples(split, count, (600, 789), boxes) for split, count in parts))


def _settings(proposal: Proposal) -> dict[str, Any]:
    return {choice.setting: choice.value for choice in proposal.choices}


def _codes(proposal: Proposal) -> set[str]:
    return {note.code for note in proposal.notes}


def test_boards_get_what_the_example_was_tuned_to() -> None:
    proposal = propose(_boards(), BLACK_AND_WHITE, CPU, YOLO)
    tuned = load_experiment(ROOT / "examples" / "deeppcb" / "experiment.yaml", {})
    chosen = proposal.experiment
    for name in yaml.safe_load((ROOT / "examples" / "deeppcb" / "experiment.yaml").read_text()):
        if name != "epochs":
            assert getattr(chosen, name) == getattr(tuned, name), name
    assert abs(chosen.epochs - tuned.epochs) <= 4
    assert chosen.tile is None
    assert chosen.crop is None
    claim = next(note for note in proposal.notes if note.code == "claim")
    assert (claim.facts["bound"], claim.facts["missing"]) == ("3", 199)
    assert "19 more" in next(n for n in proposal.notes if n.code == "few_good_val").text("en")


def test_screws_get_the_size_of_the_example_without_its_margins() -> None:
    proposal = propose(_screws(), GREY, CPU, YOLO)
    chosen = proposal.experiment
    assert (chosen.imgsz, chosen.input_size) == (320, (320, 256))
    assert (chosen.augment, chosen.flip, chosen.mosaic, chosen.good_share) == ("metal", 0, 0, 0)
    assert {"no_good", "claim"} <= _codes(proposal)


def test_no_defect_in_ten_gets_fewer_network_pixels_than_it_needs() -> None:
    small = _version(_samples("train", 50, (640, 480), [("dent", 8.0, 20.0)]))
    chosen = propose(small, GREY, CPU, YOLO).experiment
    assert chosen.imgsz == 800
    assert chosen.input_size == (608, 800)
    assert chosen.imgsz * 8 / 640 >= 10


def test_small_defects_in_a_large_picture_get_tiles() -> None:
    large = _version(_samples("train", 50, (2448, 2048), [("dent", 10.0, 150.0)]))
    proposal = propose(large, GREY, CPU, YOLO)
    chosen = proposal.experiment
    assert chosen.tile == (512, 512)
    assert chosen.imgsz == 640
    assert chosen.tile_overlap == pytest.approx(150 / 512, abs=0.01)
    assert 10 * 640 / 512 >= 12
    assert chosen.input_size is None


@pytest.mark.parametrize(
    ("good", "parts"), [(20, 1), (30, 1), (31, 1), (60, 1), (99, 1), (150, 1), (200, 2), (333, 3)]
)
def test_so_many_good_parts_may_fail_as_it_says(good: int, parts: int) -> None:
    """Of 30 it said one, and a share of 0.0333 allows none."""
    version = _version(
        _samples("train", 20, (640, 480), [("dent", 40.0, 40.0)]),
        _samples("val", good, (640, 480), []),
    )
    proposal = propose(version, GREY, CPU, YOLO)
    choice = next(x for x in proposal.choices if x.setting == "max_overkill")
    assert math.floor(choice.value * good + 1e-9) == parts
    assert choice.why("en") == f"At most {parts} of the {good} good val parts."
    assert f"{good}장 중 {parts}장" in choice.why("ko")


def test_pictures_of_many_shapes_get_a_square() -> None:
    mixed = _version(
        _samples("train", 20, (640, 320), [("dent", 60.0, 60.0)]),
        _samples("train", 20, (320, 640), [("dent", 60.0, 60.0), ("dent", 60.0, 60.0)]),
    )
    assert propose(mixed, GREY, CPU, YOLO).experiment.input_size is None


def test_random_weights_say_what_they_need() -> None:
    proposal = propose(_boards(), BLACK_AND_WHITE, CPU)
    told = next(note for note in proposal.notes if note.code == "random")
    assert told.facts["missing"] == 840
    assert "840" in told.text("en")
    assert "840" in told.text("ko")
    assert proposal.experiment.model == "yolo26n"
    assert proposal.experiment.crop is not None
    assert (
        proposal.experiment.epochs
        > propose(_boards(), BLACK_AND_WHITE, CPU, YOLO).experiment.epochs
    )
    assert propose(_boards(), BLACK_AND_WHITE, GPU).experiment.crop is None


def test_the_family_follows_weights_and_packages() -> None:
    assert propose(_boards(), GREY, CPU, MOBILENET).experiment.family == "torchvision"
    bare = replace(CPU, ultralytics=False)
    assert propose(_boards(), GREY, bare).experiment.family == "torchvision"
    without = propose(_boards(), GREY, bare, YOLO)
    assert without.experiment.family == "torchvision"
    assert "weights_unused" in _codes(without)
    seg = Weights("x.pt", "ultralytics", "yolo11s-seg")
    assert propose(_boards(), GREY, CPU, seg).experiment.model == "yolo11s-seg"


def test_good_parts_alone() -> None:
    good = _version(_samples("train", 30, (128, 128)), _samples("val", 30, (128, 128)))
    with_backbone = propose(good, GREY, CPU, MOBILENET)
    assert (with_backbone.experiment.family, with_backbone.experiment.imgsz) == ("good_parts", 224)
    assert "no_escape_claim" in _codes(with_backbone)
    without = propose(good, GREY, CPU)
    assert without.experiment.family == "good_parts"
    assert "backbone_missing" in _codes(without)
    aligned = propose(good, replace(GREY, alignment=0.97), CPU)
    assert aligned.experiment.family == "template"
    assert "aligned" in _codes(propose(good, replace(GREY, alignment=0.97), CPU, MOBILENET))


def test_nothing_to_learn_from_is_said() -> None:
    whole = _version(
        _samples("train", 10, (128, 128), state="unlabelled", label="rust"), classes=["rust"]
    )
    with pytest.raises(
        DatasetError, match="10 of its 10 training pictures are labelled as a whole"
    ):
        propose(whole, GREY, CPU)
    with pytest.raises(DatasetError, match="no labelled and no good training picture among 5"):
        propose(_version(_samples("train", 5, (128, 128), state="unlabelled")), GREY, CPU)
    good = _version(_samples("train", 30, (128, 128)))
    with pytest.raises(DatasetError, match="finds labelled defects"):
        propose(good, GREY, CPU, None, {"family": "ultralytics"})
    with pytest.raises(DatasetError, match="learns good parts"):
        propose(_screws(), GREY, CPU, MOBILENET, {"family": "good_parts"})


def test_parts_that_are_labelled_as_a_whole_count_for_the_claim() -> None:
    boxes = [("scratch", 31.0, 38.0)]
    told = {"state": "unlabelled", "label": "scratch"}
    parts = _version(
        *(_samples("train", 40, (640, 640), boxes), _samples("train", 40, (640, 640))),
        *(_samples(split, 30, (640, 640), **told) for split in ("val", "test")),
    )
    proposal = propose(parts, GREY, CPU, YOLO)
    assert not _codes(proposal) & {"no_val", "no_test"}
    assert next(n for n in proposal.notes if n.code == "claim").facts["parts"] == 30


def test_what_was_asked_for_goes_over_the_rules() -> None:
    given = {"imgsz": 416, "minutes": 5.0, "seed": 7, "augment": "light,noise", "epochs": None}
    proposal = propose(_screws(), GREY, CPU, YOLO, given)
    chosen = proposal.experiment
    assert (chosen.imgsz, chosen.input_size) == (416, (416, 320))
    assert (chosen.minutes, chosen.seed, chosen.augment) == (5.0, 7, ("light", "noise"))
    reasons = {choice.setting: choice.reason for choice in proposal.choices}
    assert {reasons[name] for name in ("imgsz", "minutes", "seed", "augment")} == {"given"}
    assert reasons["epochs"] == "epochs"
    model = {"model": "fcos_mobilenet_v2_fpn"}
    assert propose(_screws(), GREY, CPU, None, model).experiment.family == "torchvision"
    for wrong in ({"batch": 0}, {"imgsz": 100}, {"model": "yolov9n"}, {"augment": "shiny"}):
        with pytest.raises(ConfigError, match="options"):
            propose(_screws(), GREY, CPU, YOLO, wrong)


def test_a_gpu_has_no_time_limit_of_its_own() -> None:
    chosen = _settings(propose(_boards(), GREY, GPU, YOLO))
    assert "minutes" not in chosen
    assert chosen["device"] == "auto"
    assert _settings(propose(_boards(), GREY, CPU, YOLO))["minutes"] == 90.0


_CASES: list[tuple[DatasetVersion, Looks, Machine, Weights | None]] = [
    (_boards(), BLACK_AND_WHITE, CPU, YOLO),
    (_boards(), BLACK_AND_WHITE, replace(CPU, bf16=False), None),
    (_boards(), GREY, replace(GPU, ultralytics=False), YOLO),
    (_screws(), GREY, CPU, MOBILENET),
    (_version(_samples("train", 50, (2448, 2048), [("긁힘", 10.0, 150.0)])), GREY, CPU, YOLO),
    (_version(_samples("train", 2000, (320, 256), [("찍힘", 30.0, 30.0)])), GREY, CPU, None),
    (_version(_samples("train", 30, (128, 128))), replace(GREY, alignment=0.95), CPU, None),
    (_version(_samples("train", 30, (128, 128))), replace(GREY, alignment=0.95), CPU, MOBILENET),
]


@pytest.mark.parametrize("case", _CASES)
def test_every_reason_can_be_told_and_the_file_gives_the_same(case: Any, tmp_path: Path) -> None:
    proposal = propose(*case)
    assert propose(*case) == proposal
    for language in ("ko", "en"):
        words = proposal.in_words(language)
        assert "{" not in words.replace("{긁힘", "").replace("{screw", "").replace("{찍힘", "")
        path = tmp_path / f"{language}.yaml"
        path.write_text(proposal.as_yaml(case[0], language), encoding="utf-8")
        assert load_experiment(path, {}) == proposal.experiment
        for choice in proposal.choices:
            assert choice.why(language) in path.read_text(encoding="utf-8")
    assert json.loads(json.dumps(proposal.as_dict()))["choices"]


def test_every_text_is_in_both_languages() -> None:
    for ko, en in [*WHY.values(), *NOTES.values()]:
        assert ko != en
        assert {part.split("}")[0] for part in ko.split("{")[1:]} - {"{name", "개수"} == {
            part.split("}")[0] for part in en.split("{")[1:]
        } - {"{name", "COUNT"} or "{{" in en


def test_pictures_are_told_apart() -> None:
    chance = np.random.default_rng(0)
    drawn = np.where(chance.random((64, 64, 1)) > 0.7, 255, 0).repeat(3, axis=2).astype(np.uint8)
    assert is_binary(drawn)
    assert not is_binary(chance.integers(0, 255, (64, 64, 3), np.uint8))
    assert not is_binary(np.full((64, 64, 3), 255, np.uint8))
    noise = [np.clip(drawn * 0.6 + chance.integers(0, 30, drawn.shape), 0, 255) for _ in range(6)]
    assert alignment([picture.astype(np.uint8) for picture in noise]) > 0.9
    other = [chance.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(6)]
    assert alignment(other) < 0.5


def test_a_weight_file_is_told_by_its_names(tmp_path: Path) -> None:
    import torch

    def saved(names: list[str]) -> Path:
        path = tmp_path / "weights.pth"
        torch.save({name: torch.zeros(1) for name in names}, path)
        return path

    assert read_weights(saved(["features.18.0.weight"])).kind == "mobilenet_v2"
    assert read_weights(saved(["backbone.body.0.weight"])).kind == "detector"
    assert read_weights(saved(["layer4.0.conv1.weight"])).kind == "resnet"
    with pytest.raises(ConfigError, match="holds no network that is known"):
        read_weights(saved(["nothing"]))
    with pytest.raises(ConfigError, match="does not exist"):
        read_weights(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("weights")
    with pytest.raises(ConfigError, match="is no torch file"):
        read_weights(tmp_path / "text.pt")


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plates")
    write_labelled_set(root / "rendered", 24, seed=0, size=(96, 80), defect_rate=0.5)
    import_dataset(root / "rendered", root / "plate", ImportPlan())
    return root / "plate"


def _train(*options: str) -> Any:
    from inspection_training.cli import train_app

    return CliRunner().invoke(train_app, list(options))


def test_a_dry_run_prints_an_experiment_and_writes_nothing(
    plates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(plates.rglob("*"))
    done = _train("--quick", str(plates), "--dry-run", "--language", "en", "--minutes", "3")
    assert done.exit_code == 0, done.output
    (tmp_path / "experiment.yaml").write_text(done.stdout, encoding="utf-8")
    assert load_experiment(tmp_path / "experiment.yaml", {}).minutes == 3.0
    assert "# You asked for it." in done.stdout
    told = json.loads(_train("--quick", str(plates), "--dry-run", "--json").stdout)
    assert told["experiment"]["family"] in {"ultralytics", "torchvision"}
    assert all(choice["why"] for choice in told["choices"])
    assert [path.name for path in tmp_path.iterdir()] == ["experiment.yaml"]
    assert sorted(plates.rglob("*")) == before


def test_options_that_do_not_go_together(plates: Path) -> None:
    for options in (["--data", str(plates)], [str(plates / "card.yaml")]):
        done = _train("--quick", str(plates), *options, "--dry-run")
        assert isinstance(done.exception, ConfigError)
        assert "--quick chooses the settings" in str(done.exception)
    done = _train("--quick", str(plates), "--resume", "runs/x")
    assert "leave out quick" in str(done.exception)
    assert "say what to learn from" in str(_train("--dry-run").exception)
    assert "is not one of" in str(_train("--quick", str(plates), "--language", "de").exception)


@pytest.mark.shared
@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the real labelled parts are not here")
def test_real_boards_get_what_the_example_was_tuned_to(tmp_path: Path) -> None:
    import_dataset(SHARED / "data" / "deeppcb_mini", tmp_path / "pcb", ImportPlan(layout="deeppcb"))
    version = load_version(tmp_path / "pcb")
    weights = read_weights(SHARED / "weights" / "yolov8n_from_int8.pt")
    chosen = propose(version, look(version), CPU, weights).experiment
    assert (chosen.model, chosen.imgsz, chosen.augment) == ("yolov8n", 640, "binary")
    assert (chosen.batch, chosen.mosaic, chosen.max_overkill) == (8, 1.0, 0.025)
    assert 36 <= chosen.epochs <= 44
