"""The int8 form of a release: calibrated, searched for layers that must stay in float, and judged."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from inspection.errors import DatasetError, InspectionError
from inspection.protocols import Runtime
from inspection.release import sha256_file
from inspection.types import Detections, Release
from inspection.variants import (
    IR_MODEL,
    IR_WEIGHTS,
    VariantCard,
    VariantParity,
    file_sha256,
    ir_sha256,
)
from inspection_datasets.manifest import Sample
from inspection_training.float_layers import Search, difference
from inspection_training.progress import Step
from inspection_training.quantize import Int8Graph, Recorder, quantise
from inspection_training.variant_judge import Judged, Work, open_in, spread
from inspection_training.variant_parity import compare

CALIBRATION_IMAGES = 100
SEARCH_IMAGES = 60
HARM_IMAGES = 8


def make_int8(work: Work) -> VariantCard:
    """Return the card of an int8 variant whose files lie in the staging folder.

    Raises:
        ReleaseError: it cannot be quantised, or no set of float layers decided alike in time.
        DatasetError: there is no image to calibrate with.
    """
    release = work.release
    train = spread(work.version.select("train"), CALIBRATION_IMAGES)
    if not train:
        raise DatasetError(
            f"{work.version.folder} {work.version.version} has no image in train to calibrate with"
        )
    base = open_in(release, "f32")
    try:
        recorder = Recorder(base, CALIBRATION_IMAGES)
        learned = work.detect(recorder, train, "calibrate")
        work.report(Step("quantise", 0, 1))
        graph = quantise(release.model, [images for images, _ in recorder.kept])
        work.report(Step("quantise", 1, 1))
        samples = work.judged()
        expected = work.detect(base, samples, "f32")
        seen = _search_images(list(zip(train, learned, strict=True)), samples, expected)
        search = Search(
            graph,
            enough=_enough(work, graph, *seen),
            harm=_harm(work, graph, recorder),
            until=time.monotonic() + 60 * work.wanted.minutes,
        )
        judged = Judged(work, samples, expected)
        chosen = _first_that_passes(work, search, judged)
        if chosen is None:
            raise judged.refusal("int8")
        return _int8_card(work, graph, chosen, judged, search, base)
    finally:
        base.close()


def _search_images(
    train: list[tuple[Sample, Detections]], judged: list[Sample], found: list[Detections]
) -> tuple[list[Sample], list[Detections]]:
    """Return val images, filled up with training images; test images are never searched on."""
    val = [(s, d) for s, d in zip(judged, found, strict=True) if s.split == "val"]
    pairs = [*val, *train][: max(SEARCH_IMAGES, len(val))]
    return [s for s, _ in pairs], [d for _, d in pairs]


def _as_int8(work: Work, graph: Int8Graph, kept: list[str]) -> Release:
    """Write a trial into the staging folder and return it as a release that runs in int8."""
    graph.write(kept, work.staging)
    path = work.staging / IR_MODEL
    return replace(work.release, model=path, model_sha256=f"int8:{ir_sha256(path)}")


def _enough(
    work: Work, graph: Int8Graph, samples: list[Sample], expected: list[Detections]
) -> Callable[[list[str]], tuple[bool, dict[str, Any]]]:
    def enough(kept: list[str]) -> tuple[bool, dict[str, Any]]:
        runtime = open_in(_as_int8(work, graph, kept), "int8")
        try:
            found = work.detect(runtime, samples, "search")
        except InspectionError as error:  # NaN out of a bad range: a try that failed
            return False, {"on": "search", "error": str(error)}
        finally:
            runtime.close()
        parity = compare(work.release, samples, expected, found, work.wanted.min_equal)
        return parity.passed, {"on": "search", **_note(parity)}

    return enough


def _note(parity: VariantParity | None) -> dict[str, Any]:
    if parity is None:
        return {}
    return {
        "images": parity.images,
        "equal": parity.equal,
        "lost": parity.lost,
        "mean_score_difference": parity.mean_score_difference,
    }


def _harm(work: Work, graph: Int8Graph, recorder: Recorder) -> Callable[[list[str]], float]:
    chosen = recorder.kept[:: max(1, len(recorder.kept) // HARM_IMAGES)][:HARM_IMAGES]

    def harm(kept: list[str]) -> float:
        runtime = open_in(_as_int8(work, graph, kept), "int8")
        try:
            return sum(difference(f32, runtime.infer(images, 60.0)) for images, f32 in chosen)
        except InspectionError:
            return float("inf")
        finally:
            runtime.close()

    return harm


def _first_that_passes(work: Work, search: Search, judged: Judged) -> list[str] | None:
    """Return the first set of float layers that decides alike on val and test; None: there is none."""
    for kept in search.sets():
        if _judge_int8(work, search, judged, kept):
            return kept
    if judged.parity is None:  # so that the refusal can name what would change
        _judge_int8(work, search, judged, [])
    return None


def _judge_int8(work: Work, search: Search, judged: Judged, kept: list[str]) -> bool:
    runtime = open_in(_as_int8(work, search.graph, kept), "int8")
    try:
        good = judged.accepts(work.detect(runtime, judged.samples, "judge"))
    finally:
        runtime.close()
    note = _note(judged.parity)
    search.tries.append({"float_layers": len(kept), "enough": good, "on": "judge", **note})
    return good


def _int8_card(
    work: Work, graph: Int8Graph, kept: list[str], judged: Judged, search: Search, base: Runtime
) -> VariantCard:
    release = _as_int8(work, graph, kept)  # the files that were judged last: written once more
    other = open_in(release, "int8")
    try:
        judged.judge("int8", work.detect(other, judged.samples, "measure"))
        card = judged.card("int8", base, other)
    finally:
        other.close()
    return card.model_copy(
        update={
            "files": {name: sha256_file(work.staging / name) for name in (IR_MODEL, IR_WEIGHTS)},
            "model_sha256": file_sha256(release),
            "kept_float": kept,
            "quantised": len(graph.layers) - len(kept),
            "tries": search.tries,
            "calibration_images": len(spread(work.version.select("train"), CALIBRATION_IMAGES)),
        }
    )
