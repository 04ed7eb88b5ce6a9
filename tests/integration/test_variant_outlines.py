"""Faster forms of a release that gives outlines: masks count, not boxes and decisions alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from release_builder import write_release
from variant_parts import learned_from, painted

from inspection.errors import DatasetError, ReleaseError
from inspection.outlines import MOST_CORNERS
from inspection.protocols import Runtime
from inspection.release import load_release, sha256_file
from inspection.runtimes.openvino import OpenVinoConfig
from inspection.types import ClassLimits, Release
from inspection.variants import MIN_MASK_IOU, MaskParity, in_precision
from inspection_datasets.manifest import DatasetVersion
from inspection_training.variants import make
from inspection_training.variants.float_layers import difference
from inspection_training.variants.make import make_variant
from inspection_training.variants.parity import outline_iou, variant_table

SIZE = (64, 96)
CLASSES = ("scratch", "dent", "hole")
DEFECTS = 8
"""Parts of val and test with a mark of 20 x 20 pixels."""
SQUARE = ((10.0, 10.0), (30.0, 10.0), (30.0, 30.0), (10.0, 30.0))


def outlining(releases: Path, limits: ClassLimits | None = None) -> Path:
    own = {"scratch": limits} if limits else None
    return write_release(releases, classes=CLASSES, size=SIZE, variant="segment", limits=own)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    return painted(tmp_path_factory.mktemp("parts") / "demo", SIZE, CLASSES)


@pytest.fixture(scope="module")
def made(parts: DatasetVersion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = learned_from(outlining(tmp_path_factory.mktemp("made") / "releases"), parts)
    make_variant(folder, "bf16", parts)
    return folder


def with_fainter_masks(path: Path, factor: float, to: Path) -> Path:
    """Write a model whose boxes and scores are equal and whose masks are this much fainter."""
    model = onnx.load(str(path))
    last = next(node for node in model.graph.node if "masks" in node.output)
    last.output[0] = "full"
    model.graph.initializer.append(numpy_helper.from_array(np.float32(factor), "fainter"))
    model.graph.node.append(helper.make_node("Mul", ["full", "fainter"], ["masks"]))
    onnx.save(model, str(to))
    return to


@pytest.fixture
def bad_bf16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What computes in bf16 gives fainter masks: a real network in a real runtime, of another file."""
    real = make.open_in

    def open_in(release: Release, precision: str) -> Runtime:
        if precision == "f32":
            return real(release, precision)
        other = with_fainter_masks(release.model, 0.6, tmp_path / "fainter.onnx")
        runtime = OpenVinoConfig().open()
        runtime.load(replace(release, model=other, model_sha256=sha256_file(other)), 60.0)
        return runtime

    monkeypatch.setattr(make, "open_in", open_in)


def test_the_proof_counts_the_outlines(made: Path) -> None:
    row = variant_table(made)[1]
    masks = MaskParity.model_validate(row["outlines"])
    assert (masks.outlines, masks.equal, masks.asked_iou) == (DEFECTS, DEFECTS, MIN_MASK_IOU)
    assert masks.min_iou > 0.97
    assert masks.min_area_ratio > 0.97
    in_precision(load_release(made), "bf16")


@pytest.mark.usefixtures("bad_bf16")
def test_masks_that_shrink_are_refused_though_every_decision_is_equal(
    parts: DatasetVersion, tmp_path: Path
) -> None:
    folder = learned_from(outlining(tmp_path / "releases"), parts)
    with pytest.raises(ReleaseError) as refused:
        make_variant(folder, "bf16", parts)
    told = str(refused.value)
    assert "0 of 16 decisions differ" in told
    assert "8 of 8 outlines overlap or cover less than 90 % of the other (the worst " in told
    assert not (folder / "variants").exists()


@pytest.mark.usefixtures("bad_bf16")
def test_an_area_that_changes_a_decision_is_refused(parts: DatasetVersion, tmp_path: Path) -> None:
    """The release counts a mark of 400 square pixels, the variant sees under 350 of it."""
    limits = ClassLimits(0.3, 0.6, min_area=350.0)
    folder = learned_from(outlining(tmp_path / "releases", limits), parts)
    with pytest.raises(ReleaseError, match=r"8 of 16 decisions differ .* 8 defective parts that"):
        make_variant(folder, "bf16", parts)
    assert not (folder / "variants").exists()


def test_without_an_outline_nothing_is_proven(parts: DatasetVersion, tmp_path: Path) -> None:
    folder = learned_from(outlining(tmp_path / "releases", ClassLimits(0.999, 1.0)), parts)
    with pytest.raises(DatasetError, match="stops no defective image"):
        make_variant(folder, "bf16", parts)


def test_a_proof_without_outlines_is_none(made: Path, parts: DatasetVersion) -> None:
    path = made / "variants" / "bf16" / "variant.json"
    before = path.read_text()
    for masks, words in [
        (None, "never compared in its outlines"),
        ({"outlines": 8, "equal": 7}, "did not pass"),
        ({"outlines": 0, "equal": 0}, "did not pass"),
    ]:
        card = json.loads(before)
        proof = card["parity"]["openvino"]
        proof["masks"] = None if masks is None else proof["masks"] | masks
        path.write_text(json.dumps(card))
        try:
            with pytest.raises(ReleaseError, match=words):
                in_precision(load_release(made), "bf16")
        finally:
            path.write_text(before)


def moved(by: float) -> tuple[tuple[float, float], ...]:
    return tuple((x + by, y) for x, y in SQUARE)


@pytest.mark.parametrize(("by", "overlap"), [(0, 1.0), (1, 19 / 21), (10, 1 / 3), (25, 0.0)])
def test_outlines_are_laid_over_each_other(by: float, overlap: float) -> None:
    assert outline_iou(SQUARE, moved(by)) == pytest.approx(overlap, abs=0.02)
    assert outline_iou(moved(by), SQUARE) == pytest.approx(overlap, abs=0.02)


def test_outlines_of_any_shape_can_be_laid_over_each_other() -> None:
    point, line = ((5.0, 5.0),) * 3, ((5.0, 5.0), (9.0, 5.0), (5.0, 5.0))
    angles = np.linspace(0, 2 * np.pi, MOST_CORNERS)
    circle = tuple((4000 * np.cos(a) + 4000, 3000 * np.sin(a) + 3000) for a in angles)
    for outline in (point, line, circle):
        assert outline_iou(outline, outline) == 1.0
    assert outline_iou(point, circle) < 0.01


def test_the_search_sees_what_eight_bits_do_to_masks() -> None:
    rows = np.array([[[0, 0, 16, 16, 0.9, 0], [0, 0, 0, 0, 0, 0]]], np.float32)
    masks = np.zeros((1, 2, 8, 8), np.float32)
    masks[0, 0, :4, :4] = 0.9
    expected = {"detections": rows, "masks": masks}
    assert difference(expected, expected) == 0
    harm = difference(expected, {"detections": rows, "masks": masks * np.float32(2 / 3)})
    assert harm == pytest.approx(0.3, abs=1e-6)
    assert difference(expected, {"detections": rows, "masks": masks * np.nan}) == np.inf
