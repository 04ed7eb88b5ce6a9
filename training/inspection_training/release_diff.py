"""What differs between two releases: data, settings, limits, numbers, speed, libraries, licence. Pure.

two release folders ─▶ cards and decisions ─▶ one dictionary, ready for JSON and for a table
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inspection.errors import DatasetError, ReleaseError
from inspection.release import ReleaseCard, load_release, read_card
from inspection.sentences.card import DIFFERENCE
from inspection.sentences.language import phrase
from inspection.types import Decision
from inspection_datasets.difference import Difference, compare_versions
from inspection_datasets.manifest import load_version
from inspection_training.measure import DECISIONS
from inspection_training.report.compare import side

Rows = dict[str, dict[str, Sequence[Any]]]
"""As `measure.DECISIONS`; releases of earlier versions do not tell the part."""
_RATES = (
    ("escape", "defective", "escape"),
    ("overkill", "good", "overkill"),
    ("review of good parts", "good", "review"),
)
_POINTS = ("map50", "map50_95", "auroc")


def compare_releases(first: Path, second: Path, data: Path | None = None) -> dict[str, Any]:
    """Return what differs; every value is (first, second).

    Args:
        first: release folder; its files are checked against their hashes.
        second: another one.
        data: dataset folder that holds both dataset versions; None: images are not compared.

    Raises:
        ReleaseError: a release is refused.
        DatasetError: `data` is given and does not hold both versions.
    """
    names = tuple(load_release(folder).name for folder in (first, second))
    a, b = read_card(first), read_card(second)
    found: dict[str, Any] = {
        "releases": names,
        "dataset": _changed(_dataset(a), _dataset(b)),
        "settings": _changed(_flat(a.experiment), _flat(b.experiment)),
        "limits": _changed(_flat(_limits(a)), _flat(_limits(b))),
        "metrics": _metrics(a, b),
        "comparison": _compare_decisions(_decisions(first, a), _decisions(second, b)),
        "latency": _latency(a, b),
        "libraries": _changed(a.libraries, b.libraries),
        "other": _changed(_other(a), _other(b)),
    }
    if data is not None:
        found["images"] = _images(a, b, data)
    return found


def _changed(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [*a, *(name for name in b if name not in a)]
    return {n: (a.get(n), b.get(n)) for n in names if a.get(n) != b.get(n)}


def _flat(values: dict[str, Any], where: str = "") -> dict[str, Any]:
    """Return inner dictionaries as `name.inner`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        path = f"{where}{name}"
        found |= _flat(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return found


def _dataset(card: ReleaseCard) -> dict[str, Any]:
    return card.dataset.model_dump()


def _limits(card: ReleaseCard) -> dict[str, Any]:
    return {name: limits.model_dump() for name, limits in card.limits.items()}


def _other(card: ReleaseCard) -> dict[str, Any]:
    names = ("part", "task", "family", "classes", "input_size", "base_weights", "licence", "claim")
    values = {name: getattr(card, name) for name in names}
    return {**values, "model": card.files["model.onnx"]}


def _metrics(a: ReleaseCard, b: ReleaseCard) -> dict[str, dict[str, Any]]:
    first, second = (
        {x["split"]: x for x in card.metrics.get("evaluations", [])} for card in (a, b)
    )
    return {
        split: {
            **{name: (first[split][x][y], second[split][x][y]) for name, x, y in _RATES},
            **{name: (first[split].get(name), second[split].get(name)) for name in _POINTS},
        }
        for split in first
        if split in second
    }


def _latency(a: ReleaseCard, b: ReleaseCard) -> dict[str, Any]:
    shared = [name for name in a.latency if isinstance(a.latency[name], dict) and name in b.latency]
    return {
        "machine": (a.latency.get("machine"), b.latency.get("machine")),
        **{name: (a.latency[name], b.latency[name]) for name in shared},
    }


def _decisions(folder: Path, card: ReleaseCard) -> Rows | None:
    """Return the decisions that a release keeps; None when it was made before they were kept."""
    if DECISIONS not in card.files:
        return None
    try:
        return json.loads((folder / DECISIONS).read_bytes())
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{folder / DECISIONS} cannot be read: {error}; restore it") from error


def _compare_decisions(a: Rows | None, b: Rows | None) -> dict[str, Any]:
    """Return exact McNemar for each split, over the parts whose pictures both were measured on."""
    if a is None or b is None:
        return _not_compared("no_decisions")
    found: dict[str, Any] = {}
    for split in a:
        first, second = _by_hash(a[split]), _by_hash(b.get(split, {}))
        shared = [
            (first[sha], second[sha])
            for sha in first
            if sha in second and first[sha].defective == second[sha].defective
        ]
        if not shared:
            continue
        made = [
            (x.defective, (x.decision, y.decision, x.part or y.part or x.picture))
            for x, y in shared
        ]
        found[split] = {
            "images": len(shared),
            "only_one_has": len(first.keys() ^ second.keys()),
            "labelled_differently": len(first.keys() & second.keys()) - len(shared),
            "changed": sum(x.decision is not y.decision for x, y in shared),
            "escape": asdict(side([x for bad, x in made if bad], Decision.PASS)),
            "overkill": asdict(side([x for bad, x in made if not bad], Decision.FAIL)),
        }
    return found or _not_compared("other_images")


def _not_compared(code: str) -> dict[str, Any]:
    """Return why there is no comparison: a code of `inspection.sentences.card.DIFFERENCE`, its English."""
    return {"why_not": phrase(DIFFERENCE, code, "en"), "code": code}


@dataclass(frozen=True, slots=True)
class _Row:
    """What a release keeps of a picture.

    Attributes:
        defective: as labelled.
        decision: under the release's limits.
        picture: its hash.
        part: that it counts for; empty where the release does not tell. Then the other one's counts, or
            each picture for itself.
    """

    defective: bool
    decision: Decision
    picture: str
    part: str


def _by_hash(rows: dict[str, Sequence[Any]]) -> dict[str, _Row]:
    return {
        sha: _Row(bool(defective), Decision(decision), sha, str(more[0] if more else ""))
        for sha, defective, decision, *more in rows.values()
    }


def _images(a: ReleaseCard, b: ReleaseCard, data: Path) -> dict[str, Any]:
    versions = []
    for card in (a, b):
        version = load_version(data, card.dataset.version)
        if version.sha256 != card.dataset.sha256:
            raise DatasetError(
                f"{data} {version.version} is not the version that {card.part}/{card.number} learned "
                f"from ({card.dataset.sha256[:12]}); name its dataset folder, or leave --data out"
            )
        versions.append(version)
    found: Difference = compare_versions(*versions)
    return {
        "added": found.added,
        "removed": found.removed,
        "replaced": found.replaced,
        "relabelled": [item.image for item in found.relabelled],
        "other_split": list(found.split),
        "classes_added": found.classes_added,
    }
