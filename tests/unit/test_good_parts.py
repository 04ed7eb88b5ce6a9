"""Families that learn from good parts only: what they remember, compare, promise and refuse."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torchvision import models
from typer.testing import CliRunner

from inspection.errors import ConfigError, ReleaseError
from inspection.runtimes.libraries import import_onnxruntime, openvino_core
from inspection.sentences.claims import release_claim
from inspection.types import ClassLimits, Decision, Detections
from inspection_training import parity
from inspection_training.anomaly_limits import (
    NO_ESCAPE_CLAIM,
    allowed_fails,
    anomaly_limits,
    auroc,
    part_scores,
)
from inspection_training.cli import train_app
from inspection_training.evaluate import decisions
from inspection_training.experiment import Experiment
from inspection_training.family import open_family
from inspection_training.good_parts.anomaly import export_anomaly
from inspection_training.good_parts.backbone import load_backbone
from inspection_training.good_parts.bank import PatchBank, PatchFeatures, k_center
from inspection_training.good_parts.template import learn_template

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("INSPECTION_SHARED", ROOT.parent / "shared"))
BOARDS = SHARED / "data" / "deeppcb_mini" / "PCBData"


def weight_file(folder: Path, name: str) -> Path:
    """Random weights in torchvision's format."""
    torch.manual_seed(1)
    path = folder / f"{name}.pth"
    torch.save(models.get_model(name, weights=None).state_dict(), path)
    return path


# ---------------------------------------------------------------------- backbone


@pytest.mark.parametrize(
    ("name", "channels"),
    [("mobilenet_v2", (32, 96)), ("resnet18", (128, 256)), ("resnet50", (512, 1024))],
)
def test_a_weight_file_says_which_network_it_is(tmp_path, name, channels):
    backbone = load_backbone(weight_file(tmp_path, name), "torchvision")
    assert backbone.name == name
    assert backbone.origin.startswith(f"{name}.pth sha256:")
    with torch.no_grad():
        first, second = backbone.layers(torch.rand(2, 3, 64, 96))
    assert first.shape == (2, channels[0], 8, 12)
    assert second.shape == (2, channels[1], 4, 6)


def test_the_classifier_may_be_missing_and_sizes_stay_with_the_padding_of_tensorflow(tmp_path):
    path = weight_file(tmp_path, "mobilenet_v2")
    state = torch.load(path, weights_only=True)
    torch.save({k: v for k, v in state.items() if not k.startswith("classifier.")}, path)
    layers = load_backbone(path, "tensorflow").layers
    first, second = layers(torch.rand(1, 3, 64, 64))
    assert (first.shape[2:], second.shape[2:]) == ((8, 8), (4, 4))
    assert float(layers.mean[0, 0, 0, 0]) == 0.5


def broken_files(folder: Path) -> dict[str, tuple[Path | None, str]]:
    resnet = torch.load(weight_file(folder, "resnet18"), weights_only=True)
    contents = {
        "other network": (
            models.get_model("squeezenet1_0", weights=None).state_dict(),
            "none of the known backbones",
        ),
        "deeper network": (
            models.get_model("resnet34", weights=None).state_dict(),
            "none of the known backbones",
        ),
        "half a file": (
            OrderedDict((k, v) for k, v in resnet.items() if "layer2" not in k),
            "lacks .*layer2",
        ),
        "wrong shape": ({**resnet, "conv1.weight": torch.zeros(64, 1, 7, 7)}, "other shapes"),
        "not numbers": (
            {**resnet, "bn1.weight": torch.full((64,), torch.nan)},
            "no numbers in bn1",
        ),
        "a list": ([1, 2], "no state dict"),
    }
    found: dict[str, tuple[Path | None, str]] = {
        "none": (None, "--weights FILE"),
        "missing": (folder / "missing.pth", "does not exist"),
    }
    for number, (name, (content, words)) in enumerate(contents.items()):
        path = folder / f"{number}.pth"
        torch.save(content, path)
        found[name] = (path, words)
    text = folder / "text.pth"
    text.write_text("weights")
    found["text"] = (text, "no weight file that can be read")
    return found


def test_anything_else_is_refused_and_told_what_to_give(tmp_path):
    for path, words in broken_files(tmp_path).values():
        with pytest.raises(ConfigError, match=words):
            load_backbone(path, "torchvision")
    with pytest.raises(ConfigError, match="for mobilenet_v2 only"):
        load_backbone(weight_file(tmp_path, "resnet18"), "tensorflow")


def test_a_file_that_runs_code_when_it_is_read_is_refused(tmp_path):
    path, mark = tmp_path / "evil.pth", tmp_path / "mark"

    class Evil:
        def __reduce__(self):
            return (Path.touch, (mark,))

    torch.save({"layer1.0.conv1.weight": Evil()}, path)
    with pytest.raises(ConfigError, match="no weight file that can be read"):
        load_backbone(path, "torchvision")
    assert not mark.exists()


# ---------------------------------------------------------------------- bank


def test_k_center_takes_one_of_each_group_first_and_repeats_with_its_seed():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(12, 100, generator=generator) * 100
    sizes = torch.tensor([500, *[3] * 11])  # rare patches count as much as common ones
    group = torch.repeat_interleave(torch.arange(12), sizes)
    vectors = centres[group] + torch.randn(len(group), 100, generator=generator)
    chosen = k_center(vectors, 12, seed=5)
    assert sorted(group[chosen].tolist()) == list(range(12))
    assert torch.equal(chosen, k_center(vectors, 12, seed=5))
    assert len(set(k_center(vectors, 60, seed=6).tolist())) == 60
    assert k_center(vectors[:7], 12, seed=5).tolist() == list(range(7))


def test_distances_are_those_to_the_nearest_vector(tmp_path):
    backbone = load_backbone(weight_file(tmp_path, "resnet18"), "torchvision")
    features = PatchFeatures(backbone.layers, (64, 96)).eval()
    images = torch.randint(0, 256, (3, 64, 96, 3), dtype=torch.uint8)
    with torch.no_grad():
        features.balance(images)
        patches = features(images)
        bank = PatchBank(features, patches[0]).eval()
        bank.set_scale(2.0)
        anomaly_map, score = bank(images)
        direct = torch.cdist(patches.double(), patches[0].double()).amin(2).reshape(3, 8, 12)
    np.testing.assert_allclose(anomaly_map, direct / (direct + 2), atol=2e-3)
    assert float(anomaly_map[0].max()) < 2e-3  # it remembers what it saw
    assert torch.equal(score, anomaly_map.amax((1, 2)))
    assert float(anomaly_map.max()) < 1
    lengths = patches.square()
    assert float(lengths[..., :128].sum(2).mean()) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_network_that_computes_nonsense_finds_no_good_part(tmp_path, value):
    """The lower bound of a distance is 0, which is a good part's: what is no number must stay none."""
    backbone = load_backbone(weight_file(tmp_path, "resnet18"), "torchvision")
    features = PatchFeatures(backbone.layers, (64, 96)).eval()
    images = torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8)
    with torch.no_grad():
        bank = PatchBank(features, features(images)[0]).eval()
        features.weights.fill_(value)
    path = tmp_path / "model.onnx"
    export_anomaly(bank, path, (64, 96), "none")
    session = import_onnxruntime().InferenceSession(str(path))
    compiled = openvino_core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert np.isnan(session.run(["anomaly_map"], {"images": images.numpy()})[0]).all()
    assert np.isnan(compiled([images.numpy()])["anomaly_map"]).all()


# ---------------------------------------------------------------------- template


def part(seed: int = 0, noise: float = 2.0) -> np.ndarray:
    """A grey plate with bars and a hole, always in one place."""
    image = np.full((96, 96), 120.0)
    image[20:28, 10:86] = 40
    image[50:58, 10:86] = 200
    image[70:84, 40:54] = 10
    image += np.random.default_rng(seed).normal(0, noise, image.shape)
    return np.clip(image, 0, 255)[..., None].repeat(3, 2)


def difference(template, image: np.ndarray) -> float:
    tensor = torch.from_numpy(np.clip(image, 0, 255).astype(np.uint8))[None]
    with torch.no_grad():
        return float(template.distances(tensor).max())


@pytest.fixture(scope="module")
def golden():
    images = [torch.from_numpy(part(seed).astype(np.uint8))[None] for seed in range(6)]
    return learn_template(images, shift=2, edge=1)


def test_small_moves_and_another_light_are_no_defects(golden):
    worst = max(difference(golden, part(seed)) for seed in range(20, 26))
    for dy, dx in [(2, 0), (0, -2), (1, -2), (-2, 2)]:
        moved = np.roll(part(30), (dy, dx), (0, 1))
        inner = part(31)
        inner[3:-3, 3:-3] = moved[3:-3, 3:-3]
        assert difference(golden, inner) < 2 * worst + 0.2
    assert difference(golden, part(32) * 0.8 + 15) < 2 * worst + 0.2
    assert difference(golden, np.roll(part(33), 8, 0)) > 10 * worst


def test_defects_stand_out(golden):
    worst = max(difference(golden, part(seed)) for seed in range(20, 26))
    for y, x, value in [(60, 20, 40), (22, 50, 120), (52, 30, 120), (76, 46, 120), (5, 5, 200)]:
        image = part(40)
        image[y : y + 6, x : x + 6] = value
        assert difference(golden, image) > 3 * worst, (y, x)


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.skipif(not BOARDS.is_dir(), reason="DeepPCB is not there; set INSPECTION_SHARED")
def test_real_boards_are_told_from_their_own_templates() -> None:
    """docs/results.md has 0.957 for all 100; the good part is the board with its defects painted over."""
    good, bad = [], []
    for line in (BOARDS / "test.txt").read_text().splitlines()[::8]:
        name, labels = (BOARDS / word for word in line.split())
        board, plain = (
            cv2.imread(str(name.with_name(f"{name.stem}_{kind}.jpg"))) for kind in ("test", "temp")
        )
        template = learn_template([torch.from_numpy(plain)[None]], shift=2, edge=1)
        bad.append(difference(template, board))
        for box in labels.read_text().splitlines():
            x1, y1, x2, y2, _kind = map(int, box.split())
            board[y1:y2, x1:x2] = plain[y1:y2, x1:x2]
        good.append(difference(template, board))
    found = auroc(np.array(good), np.array(bad))
    assert len(bad) == 13
    assert found is not None
    assert found >= 0.8, (sorted(good), sorted(bad))  # 0.864 of these


@pytest.mark.parametrize("value", [0, 114, 255])
def test_no_picture_at_all_is_strange(golden, value):
    worst = max(difference(golden, part(seed)) for seed in range(20, 26))
    assert difference(golden, np.full((96, 96, 3), value)) > 5 * worst


def test_a_part_in_the_dark_is_strange(golden):
    worst = max(difference(golden, part(seed)) for seed in range(20, 26))
    assert difference(golden, part(41) * 0.2) > 3 * worst


def test_a_batch_gives_what_single_images_give(golden):
    images = torch.from_numpy(np.stack([part(50), part(51) * 0.9, np.roll(part(52), 1, 0)]))
    images = images.to(torch.uint8)
    with torch.no_grad():
        together = golden.distances(images)
        alone = torch.cat([golden.distances(image[None]) for image in images])
    np.testing.assert_allclose(together, alone, atol=1e-5)


# ---------------------------------------------------------------------- limits and claim


@pytest.mark.parametrize(
    ("n", "share", "k"),
    [(58, 0.05, -1), (59, 0.05, 0), (93, 0.05, 1), (200, 0.05, 4), (300, 0.01, 0), (500, 0.01, 1)],
)
def test_allowed_fails_are_those_of_the_order_statistic_rule(n, share, k):
    assert allowed_fails(n, share) == k
    assert (allowed_fails(n, 0.0), allowed_fails(n, 1.0)) == (-1, n)


def test_the_claim_says_what_n_supports_and_never_anything_of_escapes():
    scores = np.linspace(0.1, 0.5, 93)
    limits, claims = anomaly_limits(
        scores, range(93), Experiment(max_overkill=0.05, max_review=0.05)
    )
    claim = release_claim(claims, "", "en")
    assert claim.startswith("Overkill is at most 5 % with 95 % confidence, from 93")
    assert claim.endswith(NO_ESCAPE_CLAIM)
    card = limits["anomaly"]
    assert (scores >= card.t2).sum() == 1
    assert (scores >= card.t1).sum() == 9
    _, claims = anomaly_limits(scores[:37], range(37), Experiment(max_overkill=0.05))
    claim = release_claim(claims, "", "en")
    assert "22개가 더 필요합니다" in release_claim(claims, "", "ko")
    assert "37 held-out good images support at best 7.8 % at 95 %; 22 more are needed" in claim
    _, claims = anomaly_limits(scores, range(93), Experiment(max_overkill=0.0))
    claim = release_claim(claims, "", "en")
    assert claim.startswith("No overkill claim")


def test_good_parts_with_a_score_of_1_are_told():
    """No limit lets them through: the claim is the bound of their number, not the share asked."""
    scores = np.array([1.0] * 10 + [0.3] * 90)
    limits, claims = anomaly_limits(scores, range(100), Experiment(max_overkill=0.05))
    assert limits["anomaly"].t2 == 1
    assert claims[0]["values"]["best"] == pytest.approx(0.164, abs=5e-4)
    assert release_claim(claims, "", "en").startswith(
        "No overkill claim: of 100 held-out good images, 10 score 1 and FAIL at any limit; they support at "
        "best 17 % at 95 %"
    )
    assert "100장 중 10개의 점수가 1이어서" in release_claim(claims, "", "ko")
    one = np.array([1.0] + [0.3] * 92)
    few = anomaly_limits(one, range(93), Experiment(max_overkill=0.05))[1][0]
    assert few["code"] == "overkill_supported", "one of 93 may fail"
    for n in (1, 30):
        found = anomaly_limits(scores[:n], range(n), Experiment(max_overkill=0.05))[1][0]
        assert found["code"] == "overkill_top"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 0.999), min_size=1, max_size=150),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
)
def test_limits_pass_the_good_parts_they_were_chosen_on(scores, overkill, review):
    values = np.array(scores)
    experiment = Experiment(max_overkill=overkill, max_review=review)
    card = anomaly_limits(values, range(len(values)), experiment)[0]["anomaly"]
    assert 0 <= card.t1 <= card.t2 <= 1
    allowed = max(allowed_fails(len(values), overkill), 0)
    assert (values >= card.t2).sum() <= allowed
    assert (values >= card.t1).sum() <= max(allowed, (overkill + review) * len(values) + 1e-6)
    found = [detections(score) for score in scores]
    made = decisions(found, {"anomaly": card.limits()})
    assert made.count(Decision.FAIL) <= allowed


def test_the_overkill_promised_is_kept():
    """2,000 draws of 93 good parts: the true overkill is over 5 % in at most 5 % of them, and noise."""
    rng = np.random.default_rng(0)
    experiment = Experiment(max_overkill=0.05)
    over = 0
    for _ in range(2000):
        t2 = anomaly_limits(rng.random(93) * 0.9, range(93), experiment)[0]["anomaly"].t2
        over += 1 - t2 / 0.9 > 0.05
    assert over / 2000 <= 0.05 + 3 * (0.05 * 0.95 / 2000) ** 0.5


def detections(score: float | None) -> Detections:
    return Detections(
        boxes=np.zeros((0, 4), np.float32),
        scores=np.zeros(0, np.float32),
        classes=np.zeros(0, np.int64),
        class_names=("anomaly",),
        release="part/1",
        model_sha256="0" * 64,
        anomaly_score=score,
    )


def test_a_part_without_a_score_counts_as_the_strangest():
    assert part_scores([detections(None), detections(0.2)]).tolist() == [1.0, 0.2]
    assert decisions([detections(0.7)], {"anomaly": ClassLimits(0.5, 0.6)}) == [Decision.FAIL]
    assert decisions(
        [detections(0.7)], {"other": ClassLimits(0.5, 0.6), "anomaly": ClassLimits(1, 1)}
    ) == [Decision.PASS]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=20),
    st.lists(st.integers(0, 9), min_size=1, max_size=20),
)
def test_auroc_is_the_share_of_pairs_in_order(good, bad):
    pairs = [(b > g) + 0.5 * (b == g) for g in good for b in bad]
    assert auroc(np.array(good, float), np.array(bad, float)) == pytest.approx(
        np.mean(pairs), abs=1e-4
    )
    assert auroc(np.array([]), np.array([1.0])) is None


# ---------------------------------------------------------------------- settings, parity


def test_settings_that_cannot_be_kept_are_refused():
    with pytest.raises(ValidationError, match="counts nothing"):
        Experiment(family="template", expected={"screw": 4})
    with pytest.raises(ConfigError, match="use ultralytics, torchvision, good_parts or template"):
        open_family("patchcore")
    assert [open_family(x).task for x in ("ultralytics", "good_parts", "template")] == [
        "detect", "anomaly", "anomaly",
    ]  # fmt: skip
    assert Experiment().family == "ultralytics"  # files from before the setting stay valid


class Fixed:
    """A runtime that answers the same whatever it sees."""

    def __init__(self, anomaly_map: np.ndarray, score: float) -> None:
        self._answer = {"anomaly_map": anomaly_map, "anomaly_score": np.array([score], np.float32)}

    def infer(self, images, timeout):
        return self._answer


@pytest.mark.parametrize(
    ("runtime", "words"),
    [
        (Fixed(np.full((1, 4, 4), 0.2, np.float32), 0.3), "scores by up to 0.1"),
        (Fixed(np.full((1, 4, 4), 0.3, np.float32), 0.2), "maps by up to 0.1"),
        (Fixed(np.full((1, 4, 4), np.nan, np.float32), 0.2), "maps by up to inf"),
        (Fixed(np.full((1, 4, 5), 0.2, np.float32), 0.2), r"\[1, 4, 5\]"),
    ],
)
def test_an_export_that_differs_is_not_released(runtime, words):
    def reference(_image):
        return Fixed(np.full((1, 4, 4), 0.2, np.float32), 0.2).infer(None, 0)

    image = np.zeros((32, 32, 3), np.uint8)
    same = parity.check_maps(reference, Fixed(*_same()), "test", [image], (32, 32))
    assert (same.max_score_difference, same.max_map_difference) == (0.0, 0.0)
    with pytest.raises(ReleaseError, match=words):
        parity.check_maps(reference, runtime, "test", [image], (32, 32))


def _same() -> tuple[np.ndarray, float]:
    return np.full((1, 4, 4), 0.2, np.float32), 0.2


def test_the_command_asks_for_weights_where_they_matter(tmp_path):
    from inspection_datasets.manifest import Sample, sha256_of, write_version

    rows = []
    for seed, split in enumerate(("train", "test")):
        path = tmp_path / "data" / f"{split}.png"
        path.parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 255, (32, 32, 3), np.uint8)
        cv2.imwrite(str(path), noise)
        rows.append(
            Sample(
                image=path.name, sha256=sha256_of(path), width=32, height=32, split=split,
                group=split, state="good", origin="test",
            )
        )  # fmt: skip
    write_version(tmp_path / "data", "part", ["any"], rows)
    arguments = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "runs")]
    arguments += ["--releases", str(tmp_path / "releases")]
    for options, words in [
        ([], "say what to start from"),
        (["--family", "good_parts"], "give --weights FILE"),
        (["--family", "good_parts", "--weights", "random"], "give --weights FILE"),
        (["--family", "template", "--weights", "x.pth"], "leave x.pth out"),
        (["--family", "template"], "no good image in val"),
    ]:
        done = CliRunner().invoke(train_app, [*arguments, *options])
        assert isinstance(done.exception, ConfigError | Exception)
        assert words in str(done.exception), options
    assert not (tmp_path / "releases").exists()
