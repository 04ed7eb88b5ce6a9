"""The preview sheet: what the model will see, before an hour is spent on training.

training samples ─▶ a few of each class ─▶ the family's own loader: letterbox, tile, crop, mosaic,
augmentation ─▶ pictures of the network's size with boxes and outlines ─▶ sheet (PNG or HTML), each
beside its original

The pictures come out of the code that training itself runs; nothing is imitated here.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inspection.errors import ConfigError, DatasetError
from inspection.letterbox import letterbox
from inspection.release import write_atomic
from inspection.types import Image
from inspection_datasets.findings import Mark, labels
from inspection_datasets.incoming import inside, read_image
from inspection_datasets.manifest import Box, DatasetVersion, Sample
from inspection_datasets.sheet import jpeg, thumbnail
from inspection_training.experiment import Experiment

SUFFIXES = (".png", ".html")
SIDE = 260
"""Longer side of a picture on the sheet, pixels; a smaller one is shown at most four times as large."""
BESIDE = 48
"""So many other samples are loaded, for a mosaic to take."""
_PAPER, _INK = (250, 250, 248), (30, 30, 30)
_OUTLINE = (255, 210, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LINE, _GAP = 20, 10
_TEXTS = {
    "en": {
        "title": "What the model will see",
        "original": "as it is",
        "seen": "as learned",
        "size": "network input",
        "augment": "augmentation",
        "legend": "Each row: one training picture as it is, then drawn again and again as training sees it.",
    },
    "ko": {
        "title": "모델이 보게 될 이미지",
        "original": "원본",
        "seen": "학습 입력",
        "size": "네트워크 입력",
        "augment": "증강",
        "legend": "한 줄마다 학습 이미지 하나의 원본과, 학습이 매번 보게 될 모습입니다.",
    },
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One picture as the network gets it.

    Attributes:
        image: uint8 RGB [H, W, 3].
        boxes: class, x1, y1, x2, y2 in its pixels.
        outlines: for a network that learns outlines, the borders of each box's mask: float32 [N, 2], corners
            x y in its pixels, holes too. Empty: it learns none.
    """

    image: Image
    boxes: tuple[Box, ...]
    outlines: tuple[tuple[NDArray[np.float32], ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A training sample and what becomes of it.

    Attributes:
        sample: the sample.
        seen: what the network gets of it, drawn several times.
    """

    sample: Sample
    seen: tuple[Seen, ...]


def check_target(path: Path) -> None:
    """Make sure that a sheet can be written there. Raises ConfigError for another suffix."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"preview {path} must end in {' or '.join(SUFFIXES)}")


def samples_as_seen(
    experiment: Experiment, version: DatasetVersion, count: int = 8, views: int = 3
) -> list[Row]:
    """Return training samples as the experiment's family would show them to its network.

    Args:
        experiment: every setting; its seed chooses samples and augmentation.
        version: the dataset version.
        count: samples; each class is among them where there is room.
        views: draws of the augmentation for each.

    Raises:
        DatasetError: nothing to learn from, or a picture cannot be read.
    """
    if experiment.family in {"good_parts", "template"}:
        from inspection_training.good_parts.anomaly import good_samples

        train, _ = good_samples(version, experiment)
        chosen = choose(version.classes, train, count)
        return [Row(sample, (_letterboxed(experiment, version, sample),)) for sample in chosen]
    from inspection_training.training_images import choose_samples

    train = choose_samples(version, experiment)
    chosen = choose(version.classes, train, count)
    names = {sample.image for sample in chosen}
    others = [sample for sample in train if sample.image not in names]
    beside = others[:: max(1, len(others) // BESIDE)][:BESIDE]
    if experiment.family == "torchvision":
        found = _seen_by_torchvision(experiment, version, chosen, beside, views)
    else:
        from inspection_training.ultralytics_detectors.preview import seen_by_ultralytics

        found = seen_by_ultralytics(experiment, version, chosen, beside, views)
    return [Row(sample, tuple(seen)) for sample, seen in found]


def choose(classes: Sequence[str], samples: Sequence[Sample], count: int) -> list[Sample]:
    """Return at most `count` samples: one of each class, rare ones first, then spread over the rest."""
    of_class = {
        name: [s for s in samples if any(b[0] == name for b in s.boxes)] for name in classes
    }
    chosen: list[Sample] = []
    for name in sorted(classes, key=lambda name: len(of_class[name])):
        fresh = [sample for sample in of_class[name] if sample not in chosen]
        if fresh and len(chosen) < count:
            chosen.append(fresh[len(fresh) // 2])
    rest = [sample for sample in samples if sample not in chosen]
    good = [sample for sample in rest if not sample.boxes]
    if good and len(chosen) < count:
        chosen.append(good[len(good) // 2])
        rest.remove(chosen[-1])
    room = count - len(chosen)
    step = max(1.0, len(rest) / max(room, 1))
    return chosen + [rest[int(i * step)] for i in range(min(room, len(rest)))]


def _letterboxed(experiment: Experiment, version: DatasetVersion, sample: Sample) -> Seen:
    image, _ = letterbox(_open(version, sample), experiment.network_size)
    return Seen(image, ())


def _open(version: DatasetVersion, sample: Sample) -> NDArray[np.uint8]:
    return read_image(inside(version.folder, sample.image, version.version))


def _seen_by_torchvision(
    experiment: Experiment,
    version: DatasetVersion,
    chosen: Sequence[Sample],
    beside: Sequence[Sample],
    views: int,
) -> Iterator[tuple[Sample, list[Seen]]]:
    from inspection_training.pieces import pieces_of
    from inspection_training.torchvision_detectors.pictures import Shelf, TrainingPictures

    pieces = pieces_of([*chosen, *beside], experiment, learn=True)
    pictures = TrainingPictures(Shelf(version, pieces, experiment.network_size), experiment)
    for sample in chosen:
        own = [index for index, piece in enumerate(pieces) if piece.sample is sample]
        seen: list[Seen] = []
        for view in range(views if own else 0):
            picture = pictures[view, own[view % len(own)], True]
            rows = zip(picture.labels.tolist(), picture.boxes.tolist(), strict=True)
            boxes = tuple((version.classes[k], x1, y1, x2, y2) for k, (x1, y1, x2, y2) in rows)
            seen.append(Seen(picture.image, boxes))
        yield sample, seen


def write_preview(
    path: Path,
    experiment: Experiment,
    version: DatasetVersion,
    rows: Sequence[Row],
    language: str = "ko",
) -> None:
    """Write the sheet as PNG or HTML, by the suffix of `path`.

    Raises:
        ConfigError: another suffix.
        DatasetError: a picture cannot be read, or the file cannot be written.
    """
    check_target(path)
    if path.suffix.lower() == ".html":
        data = _html(experiment, version, rows, language).encode()
    else:
        done, encoded = cv2.imencode(
            ".png", cv2.cvtColor(_sheet(experiment, version, rows, language), cv2.COLOR_RGB2BGR)
        )
        if not done:
            raise DatasetError(f"{path}: the sheet could not be made as PNG; write .html instead")
        data = encoded.tobytes()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    except OSError as error:
        raise DatasetError(f"{path} cannot be written: {error}; choose another place") from error


def _pictures(version: DatasetVersion, row: Row) -> list[NDArray[np.uint8]]:
    """Return the row's pictures with their boxes and outlines, the original first."""
    image = _open(version, row.sample)
    small = thumbnail(image, labels(row.sample), version.classes, SIDE)
    if any(seen.outlines for seen in row.seen):
        _outline(small, image, _labelled_borders(row.sample))
    drawn = [small]
    for seen in row.seen:
        marks = [Mark(name, (x1, y1, x2, y2)) for name, x1, y1, x2, y2 in seen.boxes]
        small = thumbnail(seen.image, marks, version.classes, SIDE)
        _outline(small, seen.image, [border for borders in seen.outlines for border in borders])
        drawn.append(small)
    return drawn


def _labelled_borders(sample: Sample) -> list[NDArray[np.float32]]:
    rings = [ring for shape in sample.shapes for ring in shape or []]
    return [np.asarray(ring, np.float32).reshape(-1, 2) for ring in rings]


def _outline(
    small: NDArray[np.uint8], image: NDArray[np.uint8], borders: Iterable[NDArray[np.float32]]
) -> None:
    """Draw borders, in pixels of the image, on its thumbnail."""
    scale = np.array([small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]])
    corners = [np.rint(border * scale).astype(np.int32) for border in borders]
    cv2.polylines(small, corners, isClosed=True, color=_OUTLINE, thickness=1, lineType=cv2.LINE_AA)


def _head(experiment: Experiment, language: str) -> str:
    words = _TEXTS[language]
    height, width = experiment.network_size
    learned = experiment.family in {"ultralytics", "torchvision"}
    augment = experiment.augment if learned else "none"
    shown = augment if isinstance(augment, str) else ", ".join(augment) or "none"
    return f"{experiment.family}, {words['size']} {width} x {height}, {words['augment']} {shown}"


def _sheet(
    experiment: Experiment, version: DatasetVersion, rows: Sequence[Row], language: str
) -> NDArray[np.uint8]:
    words = _TEXTS[language]
    columns = 1 + max((len(row.seen) for row in rows), default=1)
    cell = SIDE + _GAP
    high = SIDE + _LINE + _GAP
    sheet = np.full(
        (2 * _LINE + _GAP + len(rows) * high, columns * cell + _GAP, 3), _PAPER, np.uint8
    )
    _write(sheet, words["title"] + ": " + _head(experiment, language), _GAP, _LINE)
    for column in range(columns):
        text = words["seen"] if column else words["original"]
        _write(sheet, text, _GAP + column * cell, 2 * _LINE)
    for index, row in enumerate(rows):
        top = 2 * _LINE + _GAP + index * high
        for column, picture in enumerate(_pictures(version, row)):
            left = _GAP + column * cell
            sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        name = f"{row.sample.image.rsplit('/', 1)[-1]} ({row.sample.width} x {row.sample.height})"
        _write(sheet, name, _GAP, top + SIDE + _LINE - 5)
    return sheet


def _write(sheet: NDArray[np.uint8], text: str, left: int, base: int) -> None:
    cv2.putText(sheet, text, (left, base), _FONT, 0.45, _INK, 1, cv2.LINE_AA)


def _html(
    experiment: Experiment, version: DatasetVersion, rows: Iterable[Row], language: str
) -> str:
    words = _TEXTS[language]
    title = escape(f"{words['title']}: {version.name} {version.version}")
    body: list[str] = []
    for row in rows:
        figures = [
            f'<figure><img src="data:image/jpeg;base64,{base64.b64encode(jpeg(picture)).decode()}" '
            f'alt=""><figcaption>{words["seen"] if column else words["original"]}</figcaption></figure>'
            for column, picture in enumerate(_pictures(version, row))
        ]
        size = f"{row.sample.width} x {row.sample.height}"
        body.append(f"<h2>{escape(row.sample.image)} ({size})</h2>" + "".join(figures))
    return (
        f'<!DOCTYPE html>\n<html lang="{language}"><head><meta charset="utf-8"><title>{title}</title>'
        '<style>body{font:15px/1.5 "Noto Sans KR","Malgun Gothic",system-ui,sans-serif;margin:2rem}'
        "h1{font-size:1.4rem}h2{font-size:.9rem;font-weight:normal;margin:1rem 0 .2rem}"
        "figure{display:inline-block;margin:0 .6rem 0 0;vertical-align:top}"
        "figcaption{font-size:.8rem;color:#555}</style></head>"
        f"<body><h1>{title}</h1><p>{escape(_head(experiment, language))}</p>"
        f"<p>{escape(words['legend'])}</p>{''.join(body)}</body></html>\n"
    )
