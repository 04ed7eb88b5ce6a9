"""`inspection train --quick`: settings chosen from the data, each with the reason in one sentence.

dataset version ─▶ counts, sizes of pictures and defects ─┐
a few pictures ─▶ black and white? aligned?  (facts)       ├─▶ propose ─▶ Experiment, choices, notes
this machine, the weight file                (facts)       ┘

The rules are those of thumb that the tuned examples were found with; what they rest on is in each reason.
Nothing here reads a picture or a clock: the same facts give the same proposal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from inspection.errors import DatasetError
from inspection_datasets.claims import best_bound, classes_of, is_used, parts_needed
from inspection_datasets.manifest import DatasetVersion
from inspection_datasets.parts import count_parts
from inspection_training.experiment import check_settings
from inspection_training.quick.facts import Looks, Machine, Weights
from inspection_training.quick.proposal import Choice, Note, Proposal
from inspection_training.quick.sizes import Objects, choose_size, measure_objects

CPU_MINUTES = 90.0
ALIGNED = 0.9
"""Correlation from which good parts are said to lie in one place."""
FEW_BOXES = 20
FEW_PICTURES = 1000
RANDOM_NEEDS = 1000
_SEEN_PER_CLASS, _SEEN_LEAST = 2000, 3000
_CORE_SECONDS = 0.38
"""One picture of 640 x 640 through yolov8n, forward and back, in bf16, core seconds: DeepPCB, 12,800
pictures in 43 minutes on two cores (docs/results.md)."""
_F32_COSTS = 1.5
_LARGER = {"n": 1.0, "s": 3.3, "m": 9.0, "l": 19.0, "x": 30.0}


class _Draft:
    """Collects choices; what the user gave goes over every rule."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = {name: value for name, value in given.items() if value is not None}
        if "model" in self.given and "family" not in self.given:
            yolo = str(self.given["model"]).startswith("yolo")
            self.given["family"] = "ultralytics" if yolo else "torchvision"
        check_settings(self.given, "options")
        self.choices: list[Choice] = []
        self.notes: list[Note] = []

    def choose(self, setting: str, value: Any, reason: str, **facts: Any) -> Any:
        """Settle one setting and return its value."""
        if setting in self.given:
            value, reason, facts = self.given[setting], "given", {}
        self.choices.append(Choice(setting, value, reason, facts))
        return value

    def note(self, code: str, **facts: Any) -> None:
        """Tell something."""
        self.notes.append(Note(code, facts))

    def proposal(self) -> Proposal:
        """Return the checked experiment."""
        settled = {choice.setting for choice in self.choices}
        rest = {name: value for name, value in self.given.items() if name not in settled}
        for name, value in rest.items():
            self.choices.append(Choice(name, value, "given"))
        experiment = check_settings({c.setting: c.value for c in self.choices}, "the quick start")
        return Proposal(experiment, tuple(self.choices), tuple(self.notes))


def propose(
    version: DatasetVersion,
    looks: Looks,
    machine: Machine,
    weights: Weights | None = None,
    given: Mapping[str, Any] | None = None,
) -> Proposal:
    """Choose an experiment for a dataset version.

    Args:
        version: its train split is counted and measured.
        looks: how its pictures look.
        machine: what trains.
        weights: what the weight file holds; None: none is there.
        given: settings of `Experiment` that are not to be chosen.

    Raises:
        DatasetError: nothing can be learned from this version; the message says what is missing.
        ConfigError: a given setting is not possible.
    """
    draft = _Draft(given or {})
    family = _family(draft, version, looks, machine, weights)
    if family in {"good_parts", "template"}:
        _good_parts(draft, version, looks, weights, family)
    else:
        _detector(draft, version, looks, machine, weights, family)
    _claims(draft, version, family)
    return draft.proposal()


def _family(
    draft: _Draft,
    version: DatasetVersion,
    looks: Looks,
    machine: Machine,
    weights: Weights | None,
) -> str:
    labelled = len(version.select("train", ["labelled"]))
    good = len(version.select("train", ["good"]))
    if not labelled and not good:
        raise DatasetError(_nothing(version))
    if not labelled:
        alone = weights is None and looks.alignment is not None and looks.alignment >= ALIGNED
        chosen, reason = ("template" if alone else "good_parts"), "family_good_parts"
        if alone:
            reason = "family_template"
        shown = None if looks.alignment is None else round(looks.alignment, 2)
        family = draft.choose("family", chosen, reason, good=good, alignment=shown)
        if family in {"ultralytics", "torchvision"}:
            raise DatasetError(
                f"family {family} finds labelled defects, and {version.folder} {version.version} has none "
                f"in its training split ({good} good pictures); label some, or leave the family out"
            )
        return family
    if not good and draft.given.get("family") in {"good_parts", "template"}:
        raise DatasetError(
            f"family {draft.given['family']} learns good parts, and {version.folder} {version.version} has "
            f"none in its training split ({labelled} labelled pictures); import some, or leave the family out"
        )
    if weights is not None and (weights.kind != "ultralytics" or machine.ultralytics):
        chosen = "ultralytics" if weights.kind == "ultralytics" else "torchvision"
        return draft.choose(
            "family", chosen, "family_of_weights", file=weights.name, labelled=labelled
        )
    chosen = "ultralytics" if machine.ultralytics else "torchvision"
    return draft.choose("family", chosen, f"family_{chosen}", labelled=labelled)


def _nothing(version: DatasetVersion) -> str:
    train = [s for s in version.samples if s.split == "train"]
    whole = sum(s.label is not None for s in train)
    held = f"{version.folder} {version.version} has no labelled and no good training picture"
    if whole:
        return (
            f"{held}; {whole} of its {len(train)} training pictures are labelled as a whole "
            f"({len(version.classes)} classes), which tells no detector where a defect is. Draw boxes, or "
            "import the pictures of good parts as good (a folder called good) and learn good parts only"
        )
    return f"{held} among {len(train)}. Label some defects, or mark good parts as good"


def _good_parts(
    draft: _Draft,
    version: DatasetVersion,
    looks: Looks,
    weights: Weights | None,
    family: str,
) -> None:
    if family == "good_parts":
        if weights is None:
            draft.note("backbone_missing")
        elif weights.kind in {"ultralytics", "detector"}:
            draft.note("weights_unused", file=weights.name, family=family)
        elif weights.kind == "mobilenet_v2":
            draft.note("backbone_input", file=weights.name)
        if looks.alignment is not None and looks.alignment >= ALIGNED:
            draft.note("aligned", alignment=round(looks.alignment, 2))
    elif weights is not None:
        draft.note("weights_unused", file=weights.name, family=family)
    choose_size(draft.choose, version, None)
    draft.choose("augment", "none", "augment_none")
    _overkill(draft, version)


def _detector(
    draft: _Draft,
    version: DatasetVersion,
    looks: Looks,
    machine: Machine,
    weights: Weights | None,
    family: str,
) -> None:
    objects = measure_objects(version)
    labelled, good = objects.pictures, len(version.select("train", ["good"]))
    share = draft.choose(
        *("good_share", 0.5 if good else 0.0, "good_share" if good else "good_share_none"),
        labelled=labelled,
        good=good,
        used=min(good, labelled),
    )
    images = labelled + min(good, round(labelled * share / (1 - share)))
    model = _model(draft, weights, family, images)
    random = weights is None or (family == "ultralytics") != (weights.kind == "ultralytics")
    side, shape = choose_size(draft.choose, version, objects)
    tiled = any(choice.setting == "tile" for choice in draft.choices)
    on_cpu = not machine.gpus
    if random and on_cpu and not tiled and family == "ultralytics":
        shape = _crop(draft, objects, side) or shape
    black_and_white = looks.pictures and looks.binary / looks.pictures > 0.9
    draft.choose(
        *("augment", "binary" if black_and_white else "metal"),
        "augment_binary" if black_and_white else "augment_metal",
        pictures=looks.pictures,
        binary=looks.binary,
    )
    if not black_and_white:
        draft.choose("flip", 0.0, "flip")
    if (
        family == "ultralytics"
        and not tiled
        and not any(c.setting == "crop" for c in draft.choices)
    ):
        _mosaic(draft, objects, images)
    batch = 8 if images < FEW_PICTURES else 16
    batch = draft.choose("batch", batch, "batch", images=images, steps=-(-images // batch))
    _budget(draft, machine, (model, shape), (images, batch), objects, random=random)
    _overkill(draft, version)
    if random and weights is None:
        missing = RANDOM_NEEDS - labelled
        facts = {"wanted": RANDOM_NEEDS, "labelled": labelled, "missing": missing}
        draft.note("random", **facts) if missing > 0 else draft.note("random_enough")
    elif random and weights is not None and weights.kind == "ultralytics":
        draft.note("weights_unused", file=weights.name, family=family)
    if weights is not None and weights.kind == "mobilenet_v2":
        draft.note("backbone_input", file=weights.name)
    _look_at(draft, version, model)


def _model(draft: _Draft, weights: Weights | None, family: str, images: int) -> str:
    if family == "torchvision":
        return draft.choose("model", "fcos_mobilenet_v2_fpn", "model_torchvision")
    if weights is not None and weights.model:
        return draft.choose("model", weights.model, "model_of_weights", file=weights.name)
    return draft.choose("model", "yolo26n", "model_small", images=images)


def _crop(draft: _Draft, objects: Objects, side: int) -> tuple[int, int] | None:
    large = objects.large_share * side
    crop = max(128, -(-int(2 * large) // 32) * 32)
    if crop > side // 2:
        return None
    window = draft.choose("crop", [crop, crop], "crop", large=round(large))
    return window[0], window[1]


def _mosaic(draft: _Draft, objects: Objects, images: int) -> None:
    large = round(100 * objects.usual_share)
    if images >= FEW_PICTURES:
        draft.choose("mosaic", 0.0, "mosaic_many", images=images)
    elif objects.usual_share > 0.2:
        draft.choose("mosaic", 0.0, "mosaic_large", large=large)
    else:
        draft.choose("mosaic", 1.0, "mosaic_on", images=images, large=large)


def _budget(
    draft: _Draft,
    machine: Machine,
    network: tuple[str, tuple[int, int]],
    load: tuple[int, int],
    objects: Objects,
    *,
    random: bool,
) -> None:
    (model, shape), (images, batch) = network, load
    times = 3 if random else 1
    wanted = times * max(_SEEN_LEAST, _SEEN_PER_CLASS * objects.classes)
    epochs = min(max(round(wanted / images), 10), 300 * times)
    facts = {"seen": epochs * images, "images": images, "classes": objects.classes, "times": times}
    epochs = draft.choose("epochs", epochs, "epochs", **facts)
    if not machine.gpus:
        each = _core_seconds(model, shape, machine)
        cores = machine.cores
        if each is None:
            draft.choose("minutes", CPU_MINUTES, "minutes_unknown", cores=cores)
        else:
            estimate = max(1, round(epochs * images * each / cores / 60))
            draft.choose("minutes", CPU_MINUTES, "minutes", cores=cores, estimate=estimate)
    if model.startswith("yolo"):
        steps = -(-images // batch) * epochs
        if steps < 10_000:
            draft.choose("optimizer", "AdamW", "optimizer", steps=steps)
            draft.choose("lr", 0.001, "lr")
    kind = "precision_bf16" if machine.gpus or machine.bf16 else "precision_f32"
    draft.choose("precision", "auto", kind)
    draft.choose(
        "device", "auto", "device_gpu" if machine.gpus else "device_cpu", gpus=machine.gpus
    )


def _core_seconds(model: str, shape: tuple[int, int], machine: Machine) -> float | None:
    """Return core seconds of one picture; None for a network that was not timed."""
    letter = model.removesuffix("-seg").removesuffix("-p2")[-1]
    if not model.startswith("yolo"):
        return None
    area = shape[0] * shape[1] / 640**2
    return _CORE_SECONDS * area * _LARGER[letter] * (1.0 if machine.bf16 else _F32_COSTS)


def _overkill(draft: _Draft, version: DatasetVersion) -> None:
    good = len(version.select("val", ["good"]))
    value, reason = 0.05, "max_overkill_few"
    if good >= 20:
        # Rounded up: of 30 parts, 0.0333 would allow none, since a share of parts is rounded down.
        value, reason = max(math.ceil(1e4 / good) / 1e4, 0.01), "max_overkill"
    for setting in ("max_overkill", "max_review"):
        draft.choose(setting, value, reason, good=good, parts=math.floor(value * good + 1e-9))


def _look_at(draft: _Draft, version: DatasetVersion, model: str) -> None:
    """Tell what is thin in the data of a detector."""
    counts = version.class_counts("train")
    few = [f"{name} {count}" for name, count in counts.items() if count < FEW_BOXES]
    if few:
        draft.note("few_boxes", classes=", ".join(few))
    if not any(sample.state == "good" for sample in version.samples):
        draft.note("no_good", name=max(counts, key=lambda name: counts[name]))
    outlines = sum(shape is not None for sample in version.samples for shape in sample.shapes)
    if outlines and not model.endswith("-seg"):
        draft.note("outlines", outlines=outlines)
    left = len(version.select("train", ["unlabelled"]))
    if left:
        draft.note("unlabelled", count=left)


def _claims(draft: _Draft, version: DatasetVersion, family: str) -> None:
    """Tell what val and test can support, before anything is trained."""
    good = count_parts(version.select("val", ["good"]))
    if not any(s.split == "val" and is_used(s) for s in version.samples):
        draft.note("no_val")
    elif good < parts_needed(0.05) and any(s.state == "good" for s in version.samples):
        draft.note("few_good_val", good=good, missing=parts_needed(0.05) - good)
    if family in {"good_parts", "template"}:
        draft.note("no_escape_claim")
        return
    parts = count_parts(s for s in version.samples if s.split == "test" and classes_of(s))
    if not parts:
        draft.note("no_test")
    else:
        bound = f"{100 * best_bound(parts):.2g}"
        draft.note("claim", parts=parts, bound=bound, missing=max(0, parts_needed(0.01) - parts))
