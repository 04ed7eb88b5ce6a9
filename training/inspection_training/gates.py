"""Gates: what a candidate must reach before it is a release. Pure: everything was measured before.

    dataset version ─▶ dataset gate          (before anything is trained)
    candidate       ─▶ parity, escape, overkill, must catch, latency ─▶ released, or refused by name

A gate that was asked and could not be measured is not passed. Results are values; their English
sentences are made here, at the edge of the card and the command.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inspection.errors import ConfigError, ReleaseError
from inspection.types import Decision
from inspection_datasets.check import iou
from inspection_datasets.findings import Finding
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.experiment import Gates
from inspection_training.measure import MEASURED_WITH, RUNTIMES, Measured
from inspection_training.statistics import parts_needed, upper_bound

_NOT_FOR_GOOD_PARTS = {"class_untrained"}
"""Errors of a dataset that do not concern a family which learns from good parts alone."""
TRAINING_SAYS = frozenset(
    {"train_empty", "class_untrained", "image_missing", "image_unreadable", "size_differs"}
)
"""Errors of a dataset that a training runs into, and names, by itself."""
SAME_DEFECT_IOU = 0.8
"""Boxes of two nearly equal pictures that overlap so much are taken for one defect of one part."""
_FIRST = 5
_REMEDIES = {
    "dataset": "look at it with `inspection dataset check {data} --html FILE` and mend it; where the "
    "findings are known to be harmless, write `gates: {{clean_dataset: false}}`",
    "parity": "where they differ, the exported model is not the trained one: train again, and report it "
    "with the run folder; where nothing was found, train longer, from weights, or label more defects",
    "escape": "collect more defective parts for {split}, choose limits that stop more (lower T1), train "
    "longer, or ask for less",
    "overkill": "label the false calls as good and train again, or ask for less",
    "must_catch": "train with more defects of that kind, or lower T1",
    "latency": "use a smaller model or input, a faster machine, or a variant",
}


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate: what was asked, what was found.

    Attributes:
        name: dataset, parity, escape, overkill, must_catch or latency.
        passed: it was measured and is as asked.
        asked: what was asked, plain values.
        found: what was found, plain values; rates are shares 0..1.
    """

    name: str
    passed: bool
    asked: dict[str, Any] = field(default_factory=dict[str, Any])
    found: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def sentence(self) -> str:
        """What was found, against what was asked, in English."""
        return _SENTENCES[self.name](self)

    def remedy(self, data: Path) -> str:
        """Return what to do when it is not passed."""
        split = self.asked.get("split", "test")
        return _REMEDIES[self.name].format(data=data, split=split)

    def as_dict(self) -> dict[str, Any]:
        """Return the plain form for the card."""
        return {
            "gate": self.name,
            "passed": self.passed,
            "asked": self.asked,
            "found": self.found,
            "sentence": self.sentence,
        }


class RefusedError(ReleaseError):
    """A candidate did not pass its gates; nothing was published.

    Attributes:
        results: every gate that was asked.
        candidate: folder of the candidate; None when nothing was trained yet.
    """

    def __init__(
        self, part: str, results: Sequence[GateResult], data: Path, candidate: Path | None
    ) -> None:
        self.results = tuple(results)
        self.candidate = candidate
        failed = [result for result in results if not result.passed]
        lines = [f"{part} was not released; not passed: {', '.join(x.name for x in failed)}"]
        for result in failed:
            lines.append(f"  gate {result.name}: {result.sentence}")
            lines.append(f"    to do: {result.remedy(data)}")
        lines.append(
            "nothing was trained"
            if candidate is None
            else f"the candidate and its card are kept in {candidate}; `inspection release make` asks "
            "again with other gates"
        )
        super().__init__("\n".join(lines))


def check_asked(gates: Gates, version: DatasetVersion) -> None:
    """Make sure that the gates can be asked of this dataset version.

    Raises:
        ConfigError: an image that must be caught is not in the version.
    """
    names = [sample.image for sample in version.samples]
    for image in gates.must_catch:
        if image not in names:
            near = difflib.get_close_matches(image, names, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; write it as the manifest does"
            raise ConfigError(
                f"gates: must_catch: {image} is not an image of {version.name} {version.version}{hint}"
            )


def dataset_gate(
    version: DatasetVersion, findings: Sequence[Finding], *, good_only: bool
) -> GateResult:
    """Return whether a dataset version is free of errors.

    Good parts under a fixed camera look nearly the same, so nearly equal pictures in several splits are
    only suspected, and named, unless their labels lie in the same places too.

    Args:
        version: the version.
        findings: of `inspection_datasets.check`.
        good_only: the model learns from good parts alone; defects need no training image then.
    """
    skipped = _NOT_FOR_GOOD_PARTS if good_only else set[str]()
    found = [finding for finding in findings if finding.code not in skipped]
    bad = [finding for finding in found if finding.severity.value == "error"]
    errors = [finding for finding in bad if _is_proven(finding)]
    return GateResult(
        "dataset",
        not errors,
        {"errors": 0},
        {
            "version": version.version,
            "sha256": version.sha256,
            "errors": len(errors),
            "warnings": sum(finding.severity.value == "warning" for finding in found),
            "suspected": len(bad) - len(errors),
            "codes": dict(Counter(finding.code for finding in errors)),
            "first": errors[0].text() if errors else "",
        },
    )


def _is_proven(finding: Finding) -> bool:
    if finding.code != "near_duplicate_leak":
        return True
    samples = [shown.sample for shown in finding.pictures if shown.sample.boxes]
    return any(
        a.split != b.split and _same_defects(a, b)
        for index, a in enumerate(samples)
        for b in samples[index + 1 :]
    )


def _same_defects(a: Sample, b: Sample) -> bool:
    return len(a.boxes) == len(b.boxes) and all(
        any(x[0] == y[0] and iou(x[1:], y[1:]) >= SAME_DEFECT_IOU for y in b.boxes) for x in a.boxes
    )


def candidate_gates(
    gates: Gates, parity: Mapping[str, Any], measured: Measured
) -> list[GateResult]:
    """Return every gate that is asked of a measured candidate; parity always is.

    Args:
        gates: what is asked.
        parity: `parity` of the card.
        measured: rates of each held-out split, latency, decisions.
    """
    results = [_parity(parity)]
    evaluation = next(
        (x for x in measured.metrics["evaluations"] if x["split"] == gates.split), None
    )
    if gates.max_escape is not None:
        results.append(_escape(gates, gates.max_escape, evaluation))
    if gates.max_overkill is not None:
        results.append(_overkill(gates, gates.max_overkill, evaluation))
    if gates.must_catch:
        results.append(_must_catch(gates.must_catch, measured.decisions))
    if gates.max_latency_ms is not None:
        results.append(_latency(gates.max_latency_ms, measured.latency))
    return results


def for_card(gates: Gates, results: Sequence[GateResult], **more: Any) -> dict[str, Any]:
    """Return `metrics["gates"]` of a card: every result, and what nobody asked."""
    names = ("dataset", "parity", "escape", "overkill", "must_catch", "latency")
    asked = {result.name for result in results}
    return {
        "split": gates.split,
        "results": [result.as_dict() for result in results],
        "not_asked": [name for name in names if name not in asked],
        **more,
    }


def _parity(parity: Mapping[str, Any]) -> GateResult:
    compared = [result["runtime"] for result in parity.get("results", [])]
    refused = parity.get("refused", "")
    images = len(parity.get("images", []))
    # Maps are compared at every place; of detections there may have been none to compare.
    seen = [x["detections"] for x in parity.get("results", []) if "detections" in x]
    passed = not refused and images > 0 and set(RUNTIMES) <= set(compared) and all(seen)
    found = {"images": images, "runtimes": compared, "refused": refused}
    found |= {"detections": min(seen)} if seen else {}
    return GateResult("parity", passed, {"runtimes": list(RUNTIMES)}, found)


def _escape(gates: Gates, share: float, evaluation: Mapping[str, Any] | None) -> GateResult:
    rate = evaluation["defective"]["escape"] if evaluation else {"count": 0, "of": 0}
    missed, parts = rate["count"], rate["of"]
    bound = upper_bound(missed, parts, gates.confidence) if parts else None
    needed = max(0, parts_needed(share, 1 - gates.confidence, missed) - parts)
    return GateResult(
        "escape",
        bound is not None and bound <= share,
        {"share": share, "confidence": gates.confidence, "split": gates.split},
        {"missed": missed, "parts": parts, "bound": bound, "more_parts_needed": needed},
    )


def _overkill(gates: Gates, share: float, evaluation: Mapping[str, Any] | None) -> GateResult:
    rate = evaluation["good"]["overkill"] if evaluation else {"count": 0, "of": 0}
    parts = rate["of"]
    found = {"failed": rate["count"], "parts": parts}
    found |= {name: rate[name] if parts else None for name in ("low", "high")}
    passed = parts > 0 and rate["count"] / parts <= share
    return GateResult("overkill", passed, {"share": share, "split": gates.split}, found)


def _must_catch(images: Sequence[str], decisions: Mapping[str, Decision]) -> GateResult:
    made = {image: decisions.get(image) for image in images}
    passing = [image for image, decision in made.items() if decision is Decision.PASS]
    unknown = [image for image, decision in made.items() if decision is None]
    return GateResult(
        "must_catch",
        not passing and not unknown,
        {"images": list(images)},
        {
            "passed": passing,
            "not_measured": unknown,
            "decisions": {image: decision.value for image, decision in made.items() if decision},
        },
    )


def _latency(limit: float, latency: Mapping[str, Any]) -> GateResult:
    p99 = latency.get(MEASURED_WITH, {}).get("p99_ms")
    passed = p99 is not None and math.isfinite(p99) and p99 <= limit
    found = {"p99_ms": p99, "runtime": MEASURED_WITH, "machine": latency.get("machine", "")}
    return GateResult("latency", passed, {"p99_ms": limit}, found)


def _dataset_words(gate: GateResult) -> str:
    found = gate.found
    if gate.passed:
        words = f"the check of {found['version']} found no error and {found['warnings']} warnings"
        more = f"; {found['suspected']} sets of nearly equal pictures lie in several splits: look at them"
        return words + (more if found["suspected"] else "")
    more = f", the first: {found['first']}"
    return f"the check of {found['version']} found {found['errors']} errors{more}"


def _parity_words(gate: GateResult) -> str:
    found = gate.found
    if found["refused"]:
        return str(found["refused"])
    if found.get("detections") == 0:
        return (
            f"the model finds nothing in any of the {found['images']} images, so exported and trained "
            "model were not compared; it would pass every part"
        )
    if gate.passed:
        names = ", ".join(found["runtimes"])
        return f"exported and trained model agree on {found['images']} images ({names})"
    missing = sorted(set(gate.asked["runtimes"]) - set(found["runtimes"]))
    return f"exported and trained model were not compared ({', '.join(missing) or 'no images'})"


def _escape_words(gate: GateResult) -> str:
    asked, found = gate.asked, gate.found
    sure, share = f"{100 * asked['confidence']:g} %", f"{100 * asked['share']:g} %"
    where = f"defective {asked['split']} parts"
    if not found["parts"]:
        return f"there are no {where}, so nothing is known; {found['more_parts_needed']} are needed"
    words = f"{found['missed']} of {found['parts']} {where} passed: "
    bound = f"{math.ceil(found['bound'] * 1e5 - 1e-9) / 1e3:g} %"
    if gate.passed:
        return f"{words}at most {bound} escape at {sure} confidence, asked at most {share}"
    return (
        f"{words}the bound at {sure} confidence is {bound}, asked at most {share}; "
        f"{found['more_parts_needed']} more defective parts, none of them missed, would show it"
    )


def _overkill_words(gate: GateResult) -> str:
    asked, found = gate.asked, gate.found
    where = f"good {asked['split']} parts"
    if not found["parts"]:
        return f"there are no {where}, so nothing is known"
    rate = f"{100 * found['failed'] / found['parts']:.2f} %"
    interval = f"95 % interval {100 * found['low']:.2f}..{100 * found['high']:.2f} %"
    return (
        f"{found['failed']} of {found['parts']} {where} failed = {rate} ({interval}), "
        f"asked at most {100 * asked['share']:g} %"
    )


def _must_catch_words(gate: GateResult) -> str:
    number, found = len(gate.asked["images"]), gate.found
    if gate.passed:
        return f"none of the {number} parts that must be caught passes"
    lost = [*found["passed"], *found["not_measured"]]
    more = f" and {len(lost) - _FIRST} more" if len(lost) > _FIRST else ""
    what = "pass" if found["passed"] else "were not measured"
    return f"{len(lost)} of {number} parts that must be caught {what}: {', '.join(lost[:_FIRST])}{more}"


def _latency_words(gate: GateResult) -> str:
    found, limit = gate.found, f"{gate.asked['p99_ms']:g} ms"
    if found["p99_ms"] is None:
        return f"the time with {found['runtime']} was not measured, asked at most {limit}"
    return (
        f"99 of 100 images take at most {found['p99_ms']:g} ms with {found['runtime']} on "
        f"{found['machine']}, asked at most {limit}"
    )


_SENTENCES = {
    "dataset": _dataset_words,
    "parity": _parity_words,
    "escape": _escape_words,
    "overkill": _overkill_words,
    "must_catch": _must_catch_words,
    "latency": _latency_words,
}
