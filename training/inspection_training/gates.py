"""Gates: what a candidate must reach before it is a release. Pure: everything was measured before.

    dataset version ─▶ dataset gate          (before anything is trained)
    candidate       ─▶ parity, escape, overkill, must catch, latency ─▶ released, or refused by name

A gate that was asked and could not be measured is not passed. Results are codes and values; their
sentences are made by `inspection.sentences.gates`, at the edge of the card, the command and the page.
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
from inspection.sentences.gates import gate_name, gate_remedy
from inspection.sentences.language import Table, phrase
from inspection.types import Decision
from inspection_datasets.card_findings import gate_in_words, keep
from inspection_datasets.check import iou
from inspection_datasets.findings import Finding
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_datasets.parts import worst_of
from inspection_training.evaluate import rate
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
SUSPICIONS = 50
"""So many suspicions of the dataset check are kept in a card."""


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

    def told(self, language: str) -> str:
        """Return what was found, against what was asked, in `ko` or `en`."""
        return gate_in_words(self._plain(), language)

    def remedy(self, data: Path, language: str) -> str:
        """Return what to do when it is not passed, in `ko` or `en`."""
        return gate_remedy(self._plain(), str(data), language)

    def _plain(self) -> dict[str, Any]:
        return {
            "gate": self.name,
            "passed": self.passed,
            "asked": self.asked,
            "found": self.found,
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the plain form for the card; `sentence` is for readers of older versions."""
        return {**self._plain(), "sentence": self.told("en")}


_REFUSED: Table = {
    "refused": (
        "{part}: 릴리스하지 않았습니다. 통과하지 못한 합격 기준: {names}",
        "{part} was not released; not passed: {names}",
    ),
    "gate": ("  합격 기준 {name}: {words}", "  gate {name}: {words}"),
    "remedy": ("    조치: {remedy}", "    to do: {remedy}"),
    "untrained": ("학습은 시작하지 않았습니다", "nothing was trained"),
    "kept": (
        "후보와 카드는 {candidate}에 보관되어 있습니다. `inspection release make`로 다른 합격 기준을 적용할 "
        "수 있습니다",
        "the candidate and its card are kept in {candidate}; `inspection release make` asks again with other "
        "gates",
    ),
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
        self.part, self.results, self.data = part, tuple(results), data
        self.candidate = candidate
        super().__init__(self.told("en"))

    def told(self, language: str) -> str:
        """Return every gate that was not passed, what was found and what to do, in `ko` or `en`."""
        failed = [result for result in self.results if not result.passed]
        names = ", ".join(gate_name(x.name, language) for x in failed)
        lines = [phrase(_REFUSED, "refused", language, part=self.part, names=names)]
        for result in failed:
            name, words = gate_name(result.name, language), result.told(language)
            lines.append(phrase(_REFUSED, "gate", language, name=name, words=words))
            remedy = result.remedy(self.data, language)
            lines.append(phrase(_REFUSED, "remedy", language, remedy=remedy))
        kept = "untrained" if self.candidate is None else "kept"
        lines.append(phrase(_REFUSED, kept, language, candidate=self.candidate))
        return "\n".join(lines)


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
    only suspected, unless their labels lie in the same places too. The result names each suspicion with
    its images, the first `SUSPICIONS` of them.

    Args:
        version: the version.
        findings: of `inspection_datasets.check`.
        good_only: the model learns from good parts alone; defects need no training image then.
    """
    skipped = _NOT_FOR_GOOD_PARTS if good_only else set[str]()
    found = [finding for finding in findings if finding.code not in skipped]
    bad = [finding for finding in found if finding.severity.value == "error"]
    errors = [finding for finding in bad if _is_proven(finding)]
    suspected = [finding for finding in bad if not _is_proven(finding)]
    return GateResult(
        "dataset",
        not errors,
        {"errors": 0},
        {
            "version": version.version,
            "sha256": version.sha256,
            "errors": len(errors),
            "warnings": sum(finding.severity.value == "warning" for finding in found),
            "suspected": len(suspected),
            "suspicions": [keep(finding) for finding in suspected[:SUSPICIONS]],
            "codes": dict(Counter(finding.code for finding in errors)),
            "first": errors[0].text() if errors else "",
            "first_finding": keep(errors[0]) if errors else None,
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
        measured: rows of each held-out split, latency, decisions.
    """
    results = [_parity(parity)]
    bad, good = _parts(measured.rows.get(gates.split, {}), measured.parts)
    if gates.max_escape is not None:
        results.append(_escape(gates, gates.max_escape, bad))
    if gates.max_overkill is not None:
        results.append(_overkill(gates, gates.max_overkill, good))
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
    found |= {"why": parity["why"]} if refused and parity.get("why") else {}
    return GateResult("parity", passed, {"runtimes": list(RUNTIMES)}, found)


@dataclass(frozen=True, slots=True)
class _Parts:
    """Parts of one kind: an entry a part, the set of its pictures' decisions; pictures and copies beside."""

    made: tuple[frozenset[str], ...]
    pictures: int
    copies: int

    def count(self, decision: Decision) -> int:
        return sum(decision.value in decisions for decisions in self.made)


def _parts(
    rows: Mapping[str, tuple[str, bool, str]], parts: Mapping[str, str]
) -> tuple[_Parts, _Parts]:
    """Return the defective and the good parts of a split.

    A picture counts once, however many byte copies of it the split holds. It is defective when any copy is
    labelled so. A part counts once, however many pictures there are of it: as missed, or as failed, when any
    of its defective, or good, pictures is.

    Args:
        rows: image to (sha256, defective, decision).
        parts: image to the part that it counts for.
    """
    own: dict[str, list[tuple[str, bool, str]]] = {}
    for image, (sha256, defective, decision) in rows.items():
        own.setdefault(sha256, []).append((parts[image], defective, decision))
    kinds: list[_Parts] = []
    for wanted in (True, False):
        seen = [x for x in own.values() if any(defective for _, defective, _ in x) is wanted]
        pictures = [frozenset(decision for _, _, decision in x) for x in seen]
        made = worst_of(pictures, [x[0][0] for x in seen], lambda own: frozenset[str]().union(*own))
        kinds.append(_Parts(tuple(made), len(seen), sum(len(x) - 1 for x in seen)))
    return kinds[0], kinds[1]


def _escape(gates: Gates, share: float, bad: _Parts) -> GateResult:
    missed, parts = bad.count(Decision.PASS), len(bad.made)
    bound = upper_bound(missed, parts, gates.confidence) if parts else None
    needed = max(0, parts_needed(share, 1 - gates.confidence, missed) - parts)
    found = {"missed": missed, "parts": parts, "pictures": bad.pictures}
    found |= {"copies": bad.copies, "bound": bound}
    return GateResult(
        "escape",
        bound is not None and bound <= share,
        {"share": share, "confidence": gates.confidence, "split": gates.split},
        {**found, "more_parts_needed": needed},
    )


def _overkill(gates: Gates, share: float, good: _Parts) -> GateResult:
    failed, parts = good.count(Decision.FAIL), len(good.made)
    found: dict[str, Any] = {"failed": failed, "parts": parts, "pictures": good.pictures}
    found |= {"copies": good.copies}
    counted = rate(failed, parts)
    found |= {name: counted[name] if parts else None for name in ("low", "high")}
    passed = parts > 0 and failed / parts <= share
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
    own = latency.get(MEASURED_WITH, {})
    p99 = own.get("p99_ms")
    passed = p99 is not None and math.isfinite(p99) and p99 <= limit
    found = {"p99_ms": p99, "runtime": MEASURED_WITH, "machine": latency.get("machine", "")}
    found |= {"pictures": own["pictures"]} if "pictures" in own else {}
    return GateResult("latency", passed, {"p99_ms": limit}, found)
