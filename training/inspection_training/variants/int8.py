"""The int8 form of a release: calibrated, searched for layers that must stay in float, and judged."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from inspection.errors import DatasetError, InspectionError
from inspection.protocols import Runtime
from inspection.release import sha256_file
from inspection.runtimes.libraries import openvino_core
from inspection.runtimes.openvino import has_bf16
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
from inspection_training.progress import Step
from inspection_training.variants.float_layers import Search, difference
from inspection_training.variants.judge import Judged, Work, open_in, spread
from inspection_training.variants.layer_times import layer_times
from inspection_training.variants.parity import compare
from inspection_training.variants.quantize import Int8Graph, Recorder, quantise

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
    train = spread(work.samples("train"), CALIBRATION_IMAGES)
    if not train:
        raise DatasetError(
            f"{work.version.folder} {work.version.version} has no image in train to calibrate with"
        )
    base = open_in(release, "f32")
    try:
        recorder = Recorder(base, CALIBRATION_IMAGES)
        learned = work.detect(recorder, train, "calibrate")
        samples = work.judged()
        expected = work.detect(base, samples, "f32")
        seen = _search_images(list(zip(train, learned, strict=True)), samples, expected)
        judged = Judged(work, samples, expected)
        tries: list[dict[str, Any]] = []
        made = [
            _best_form(work, recorder, seen, judged, tries, base, symmetric=symmetric)
            for symmetric in (True, False)
        ]
        passed = [found for found in made if found is not None]
        if not passed:
            raise judged.refusal("int8")
        card, trial = min(passed, key=lambda found: found[0].latency["int8"]["p50_ms"])
        form = trial.form(card.kept_float)  # the files there are those of the form made last
        told = {
            "files": {name: sha256_file(work.staging / name) for name in (IR_MODEL, IR_WEIGHTS)},
            "model_sha256": file_sha256(form),
            "tries": tries,
            "selected_on": _selected_on(seen[0], tries, judged),
        }
        return card.model_copy(update=told)
    finally:
        base.close()


def _best_form(
    work: Work,
    recorder: Recorder,
    seen: tuple[list[Sample], list[Detections]],
    judged: Judged,
    tries: list[dict[str, Any]],
    base: Runtime,
    *,
    symmetric: bool,
) -> tuple[VariantCard, _Trial] | None:
    """Return the card of the first form that passes, without its files, and how it is made; None: none does.

    Ranges around 0 cost a bit where an activation is hardly negative, and no time; others cost a processor
    with AMX more than eight bits save. What was tried is added to `tries`.
    """
    work.report(Step("quantise", int(not symmetric), 2))
    tensors = [images for images, _ in recorder.kept]
    graph = quantise(work.release.model, tensors, symmetric=symmetric)
    work.report(Step("quantise", 2 - int(symmetric), 2))
    trial = _trial(work, graph, *seen)
    search = Search(
        graph,
        enough=_enough(trial, *seen),
        harm=_harm(trial, recorder),
        saving=trial.saving(),
        until=time.monotonic() + 30 * work.wanted.minutes,
    )
    chosen = _first_that_passes(trial, search, judged)
    tries += [{**tried, "symmetric": symmetric} for tried in search.tries]
    return None if chosen is None else (_int8_card(trial, chosen, judged, base), trial)


def _search_images(
    train: list[tuple[Sample, Detections]], judged: list[Sample], found: list[Detections]
) -> tuple[list[Sample], list[Detections]]:
    """Return val images, filled up with training images; test images are never searched on."""
    val = [(s, d) for s, d in zip(judged, found, strict=True) if s.split == "val"]
    pairs = [*val, *train][: max(SEARCH_IMAGES, len(val))]
    return [s for s, _ in pairs], [d for _, d in pairs]


def _selected_on(searched: list[Sample], tries: list[dict[str, Any]], judged: Judged) -> list[str]:
    """Return the splits that the float layers were chosen on; what refused a set took part."""
    splits = {sample.split for sample in searched}
    if any(x["on"] == "judge" and not x["enough"] for x in tries):
        splits |= {sample.split for sample in judged.samples}
    return sorted(splits)


@dataclass(frozen=True, slots=True)
class _Trial:
    """Makes forms of one graph to be tried; `floats` is what the layers in float compute in."""

    work: Work
    graph: Int8Graph
    floats: str

    def form(self, kept: list[str], floats: str | None = None) -> Release:
        """Write one into the staging folder and return it as a release that runs in int8."""
        self.graph.write(kept, self.work.staging, floats or self.floats)
        path = self.work.staging / IR_MODEL
        return replace(self.work.release, model=path, model_sha256=f"int8:{ir_sha256(path)}")

    def accepted(self, kept: list[str], judged: Judged) -> bool:
        """Tell whether a form decides val and test alike."""
        runtime = open_in(self.form(kept), "int8")
        try:
            return judged.accepts(self.work.detect(runtime, judged.samples, "judge"))
        except InspectionError:  # NaN out of a bad range: it failed
            return False
        finally:
            runtime.close()

    def saving(self) -> dict[str, float]:
        """Return layer to milliseconds that eight bits save on it."""
        spent: list[dict[str, float]] = []
        for kept in (list(self.graph.layers), []):
            path = self.form(kept).model
            size = self.work.release.input_size
            spent.append(layer_times(path, self.graph.layers, size, self.floats))
        return {name: spent[0][name] - spent[1][name] for name in self.graph.layers}


def _trial(
    work: Work, graph: Int8Graph, samples: list[Sample], expected: list[Detections]
) -> _Trial:
    """Choose what layers in float compute in: bf16 where this processor has it and it decides alike."""
    trial = _Trial(work, graph, "bf16")
    enough = _enough(trial, samples, expected)
    if has_bf16(openvino_core()) and enough(list(graph.layers))[0]:
        return trial
    return replace(trial, floats="f32")


def _enough(
    trial: _Trial, samples: list[Sample], expected: list[Detections]
) -> Callable[[list[str]], tuple[bool, dict[str, Any]]]:
    work = trial.work

    def enough(kept: list[str]) -> tuple[bool, dict[str, Any]]:
        runtime = open_in(trial.form(kept), "int8")
        try:
            found = work.detect(runtime, samples, "search")
        except InspectionError as error:  # NaN out of a bad range: a try that failed
            return False, {"on": "search", "error": str(error)}
        finally:
            runtime.close()
        parity = compare(work.release, samples, expected, found, work.wanted.min_equal)
        return parity.alike, {"on": "search", **_note(parity)}

    return enough


def _note(parity: VariantParity | None) -> dict[str, Any]:
    if parity is None:
        return {}
    return {
        "images": parity.images,
        "equal": parity.equal,
        "lost": parity.lost,
        "mean_score_difference": parity.mean_score_difference,
        **({"mean_mask_iou": parity.masks.mean_iou} if parity.masks else {}),
    }


def _harm(trial: _Trial, recorder: Recorder) -> Callable[[list[str]], float]:
    chosen = recorder.kept[:: max(1, len(recorder.kept) // HARM_IMAGES)][:HARM_IMAGES]

    def harm(kept: list[str]) -> float:
        runtime = open_in(trial.form(kept, "f32"), "int8")  # so that only eight bits do harm
        try:
            return sum(difference(f32, runtime.infer(images, 60.0)) for images, f32 in chosen)
        except InspectionError:
            return float("inf")
        finally:
            runtime.close()

    return harm


def _first_that_passes(trial: _Trial, search: Search, judged: Judged) -> list[str] | None:
    """Return the first set of float layers that decides alike on val and test; None: there is none."""
    for kept in search.sets():
        if _judge_int8(trial, search, judged, kept):
            return kept
    if not any(x["on"] == "judge" for x in search.tries):  # the refusal names what would change
        _judge_int8(trial, search, judged, [])
    return None


def _judge_int8(trial: _Trial, search: Search, judged: Judged, kept: list[str]) -> bool:
    good = trial.accepted(kept, judged)
    note = _note(judged.parity)
    search.tries.append({"float_layers": len(kept), "enough": good, "on": "judge", **note})
    return good


def _int8_card(trial: _Trial, kept: list[str], judged: Judged, base: Runtime) -> VariantCard:
    work, graph = trial.work, trial.graph
    release = trial.form(kept)  # the files that were judged last: written once more
    other = open_in(release, "int8")
    try:
        judged.judge("int8", work.detect(other, judged.samples, "measure"))
        card = judged.card("int8", base, other)
    finally:
        other.close()
    return card.model_copy(
        update={
            "kept_float": kept,
            "float_arithmetic": trial.floats,
            "quantised": len(graph.layers) - len(kept),
            "calibration_images": len(spread(work.samples("train"), CALIBRATION_IMAGES)),
        }
    )
