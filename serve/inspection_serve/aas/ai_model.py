"""AI Model Nameplate, IDTA 02060-1-0-1: one for each release, out of its card.

The template has no place for the hash, the licence, the claim and the limits: they are elements of our own,
without a semantic id. Of the training settings, those that could name a host, a file or a person stay here.
Figures, limits and settings of private classes are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from basyx.aas import model

from inspection.release import MODEL, ReleaseCard
from inspection_serve.aas.elements import (
    Element,
    group,
    id_short,
    inside,
    outside,
    pointer,
    submodel,
    text,
    value,
)
from inspection_serve.aas.gathered import Gathered, ReleaseFacts
from inspection_serve.aas.identifiers import Identifiers, submodel_of
from inspection_serve.aas.nameplate import contact
from inspection_serve.aas.private_classes import shown, tells, without

SEMANTIC = "https://admin-shell.io/idta/SubmodelTemplate/AIModelNameplate/1/0"
NAME = "AIModelNameplate"
_BASE = "https://admin-shell.io/idta/AIModelNameplate"
_LEARNING = {"anomaly": "unsupervised, with good parts only"}
_PRIVATE = re.compile(r"[/\\@:]")
_OUTPUTS: dict[str, tuple[tuple[str, str], ...]] = {
    "detect": (("[B, N, 6]", "detections: x1 y1 x2 y2 (network-input pixels), score, class"),),
    "segment": (
        ("[B, N, 6]", "detections: x1 y1 x2 y2 (network-input pixels), score, class"),
        ("[B, N, H/4, W/4]", "masks: probability that a place belongs to the defect of the row"),
    ),
    "anomaly": (
        ("[B, h, w]", "anomaly_map: score of each place"),
        ("[B]", "anomaly_score: score of the part"),
    ),
}


def ai_model(gathered: Gathered, release: ReleaseFacts) -> model.Submodel:
    """Return the submodel of a release."""
    ids, card = Identifiers(gathered.nameplate.uri_of_the_product), release.card
    private = gathered.private
    uri = ids.release(release.name)
    found: list[Element] = [
        value("URIOfTheProduct", uri, "0112/2///61987#ABN590#002"),
        value("Version", card.number, "0173-1#02-AAS354#002"),
        pointer("ContactInformation", contact(gathered), f"{_BASE}/Contactinformation/1/0"),
        value("Storage", f"releases/{release.name}/{MODEL}", f"{_BASE}/Storage/1/0"),
        text(
            "KindOfLearning", _LEARNING.get(card.task, "supervised"), f"{_BASE}/KindOfLearning/1/0"
        ),
        _inputs(card),
        _outputs(card, private),
        group("TrainingResults", f"{_BASE}/TrainingResults/1/0", _results(card, private)),
        _details(card, private),
        _learned_from(ids, release),
        _specific(card, private),
    ]
    return submodel(submodel_of(uri, NAME), NAME, SEMANTIC, found)


def _inputs(card: ReleaseCard) -> Element:
    height, width = card.input_size
    base = f"{_BASE}/Inputs"
    sizes = ((height, "height, pixels"), (width, "width, pixels"), (3, "RGB, uint8 0..255"))
    dimensions = [
        group(
            f"Dimension{n}",
            f"{base}/DimensionN/1/0",
            [
                value("Size", size, f"{base}/DimensionN/Size/1/0"),
                value("Information", about, f"{base}/DimensionN/Information/1/0"),
            ],
        )
        for n, (size, about) in enumerate(sizes, start=1)
    ]
    kind = value("KindOfInput", "Images", f"{base}/KindOfInput/1/0")
    return group("Inputs", f"{base}/1/0", [kind, *dimensions])


def _outputs(card: ReleaseCard, private: frozenset[str]) -> Element:
    base = f"{_BASE}/Outputs"
    named = ", ".join(shown(card.classes, private))
    classes = f"; classes: {named}" if card.task != "anomaly" else ""
    dimensions = [
        group(
            f"Dimension{n}",
            f"{base}/DimensionN/1/0",
            [
                value("Size", size, f"{base}/DimensionN/Size/1/0"),
                text("Result", f"float32 {about}{classes}", f"{base}/DimensionN/Result/1/0"),
            ],
        )
        for n, (size, about) in enumerate(_OUTPUTS[card.task], start=1)
    ]
    return group("Outputs", f"{base}/1/0", dimensions)


def _results(card: ReleaseCard, private: frozenset[str]) -> Iterator[Element]:
    """Every rate with its count and interval, by split; the average precisions; the claim of the limits."""
    taken: set[str] = set()
    public = set(card.classes) - private
    evaluations = card.metrics.get("evaluations")
    for evaluation in evaluations if isinstance(evaluations, list) else []:
        if not isinstance(evaluation, Mapping):
            continue
        split = str(evaluation.get("split", "images"))
        for path, told in figures(evaluation):
            if any(tells(one, private, public) for one in path):
                continue
            name = id_short(" ".join((split, *path)), taken)
            shown = f"{split}: {' '.join(path)}"
            yield value(name, told, f"{_BASE}/TrainingResults/Result/1/0", shown=shown)
    if card.claim:
        yield value(id_short("Claim", taken), without(card.claim, card.classes, private))


def figures(
    told: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Return the figures in a tree of metrics: where they are, and what they say.

    A rate says its count and its interval. Numbers stay numbers; texts are left out.
    """
    for name, item in told.items():
        here = (*path, str(name))
        if isinstance(item, Mapping) and {"count", "of", "rate"} <= set(item):
            says = f"{item['rate']} ({item['count']} of {item['of']}"
            if "low" in item and "high" in item:
                says += f", interval {item['low']}..{item['high']}"
            yield here, f"{says})"
        elif isinstance(item, Mapping):
            yield from figures(item, here)
        elif isinstance(item, int | float) and not isinstance(item, bool):
            yield here, str(item)


def _details(card: ReleaseCard, private: frozenset[str]) -> Element:
    base = f"{_BASE}/Details"
    framework = next((n for n in ("ultralytics", "torchvision", "torch") if n in card.family), "")
    used = [n for n in (framework, "torch", "onnx", "onnxruntime") if n in card.libraries]
    frameworks = ", ".join(f"{n} {card.libraries[n]}" for n in dict.fromkeys(used)) or "ONNX"
    python = card.libraries.get("python", "version not recorded")
    taken: set[str] = {"FileExtension", "AIFramework", "ProgramLanguage"}
    limits = [
        value(
            id_short(f"Limits_{name}", taken),
            f"T1 {one.t1}, T2 {one.t2}, minimum size {one.min_size}, allowed {one.allowed}",
            shown=f"limits of {name}",
        )
        for name, one in card.limits.items()
        if name not in private
    ]
    return group(
        "Details",
        f"{base}/1/0",
        [
            value("FileExtension", ".onnx", f"{base}/DataEnding/1/0"),
            value("AIFramework", frameworks, f"{base}/AIFramework/1/0"),
            value("ProgramLanguage", f"Python, {python}", f"{base}/ProgramLanguage/1/0"),
            value("Sha256", card.files[MODEL]),
            value("Licence", card.licence),
            *limits,
        ],
    )


def _learned_from(ids: Identifiers, release: ReleaseFacts) -> Element:
    """Refer to the dataset's submodel where it is written too; else name the dataset by its id alone."""
    told = release.card.dataset
    known = ids.dataset(told.name, told.version)
    to = inside(submodel_of(known, "AIDataset")) if release.dataset else outside(known)
    base = f"{_BASE}/AIDataset"
    return group(
        "AIDataset",
        f"{base}/1/0",
        [
            pointer("AIDatasetReference", to, f"{base}/DatasetReference/1/0"),
            value("Sha256", told.sha256),
            value("TrainImages", told.train_images),
            value("ValImages", told.val_images),
        ],
    )


def _specific(card: ReleaseCard, private: frozenset[str]) -> Element:
    base = f"{_BASE}/AITypeSpecificInformation"
    taken: set[str] = set()
    settings = [
        value(
            id_short(name, taken),
            setting,
            f"{base}/Hyperparameter/LearningRate/1/0" if name == "lr" else "",
            shown=name,
        )
        for name, setting in _settings(card.experiment)
        if not tells(name, private) and not tells(setting, private)
    ]
    settings += [value(id_short(f"seed_{n}", taken), seed) for n, seed in card.seeds.items()]
    found: list[Element] = [text("Type", f"{card.family}, {card.task}", f"{base}/Type/1/0")]
    if settings:
        found.append(group("Hyperparameter", f"{base}/Hyperparameter/1/0", settings))
    if card.base_weights != "random":
        origin = value(
            "Name",
            re.split(r"[/\\]", card.base_weights)[-1],
            f"{base}/NeuralNetwork/TransferLearning/Name/1/0",
        )
        found.append(group("TransferLearning", f"{base}/TransferLearning/1/0", [origin]))
    return group("AITypeSpecificInformation", f"{base}/1/0", found)


def _settings(experiment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Return plain settings of the training; what looks like a path, an address or a mail stays here."""
    for name, setting in experiment.items():
        plain = setting if isinstance(setting, list | tuple) else [setting]
        if not all(isinstance(one, str | int | float) for one in plain):
            continue
        told = ", ".join(str(one) for one in plain)
        if told and not _PRIVATE.search(told):
            yield name, told
