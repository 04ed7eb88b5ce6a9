"""What the network sees while it learns: samples become pictures of one size, with their boxes.

    sample ─▶ its pieces, drawn as the line does it (`pieces`; kept in memory where they fit)
        ─▶ four put together (mosaic) or a crop around a defect ─▶ pose, flips, light, blur, noise

What a cut or a pose leaves of a defect that loses its label is painted over: nothing bad is learned as good.
A picture depends on seed, epoch and its place in the epoch only, so that a run that was cut off goes on with
the same pictures, however many processes prepare them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspection.errors import DatasetError
from inspection.letterbox import PAD, letterbox
from inspection.types import Image
from inspection_datasets.incoming import read_image
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.augment import geometry, pipeline
from inspection_training.experiment import Experiment
from inspection_training.pieces import MIN_VISIBLE, Piece, draw, paint_over

MEMORY_SHARE = 0.3
"""Share of the free memory that pictures may take; where they need more, files are read again."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with what is labelled in it.

    Attributes:
        image: uint8 RGB [H, W, 3].
        boxes: float32 [N, 4], x1 y1 x2 y2 in its pixels.
        labels: int64 [N], index of the class.
    """

    image: Image
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]

    def cut(self, left: int, top: int, width: int, height: int) -> Picture:
        """Return a window of it; boxes that are mostly outside are left out and painted over."""
        offset = np.array([left, top, left, top], np.float32)
        edge = np.array([width, height, width, height], np.float32)
        boxes = np.clip(self.boxes - offset, 0, edge)
        kept = _areas(boxes) >= np.maximum(MIN_VISIBLE * _areas(self.boxes), 1.0)
        image = np.ascontiguousarray(self.image[top : top + height, left : left + width])
        hidden = boxes[~kept & (_areas(boxes) > 0)]
        return Picture(paint_over(image, hidden, boxes[kept]), boxes[kept], self.labels[kept])

    def fit(self, size: tuple[int, int]) -> Picture:
        """Return it letterboxed to (height, width), as the line does it."""
        image, placed = letterbox(self.image, size)
        return Picture(image, placed.to_network(self.boxes), self.labels)


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)


class Shelf:
    """Pieces as pictures of the network's size, kept in memory where they fit.

    Args:
        version: the dataset version.
        pieces: what to show.
        size: (height, width) of the network's input.
    """

    def __init__(
        self, version: DatasetVersion, pieces: Sequence[Piece], size: tuple[int, int]
    ) -> None:
        self._version = version
        self._pieces = list(pieces)
        self._size = size
        self._index = {name: i for i, name in enumerate(version.classes)}
        room = MEMORY_SHARE * os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self._keep = len(self._pieces) * size[0] * size[1] * 3 < room
        self._kept: dict[int, Picture] = {}
        self._of: dict[str, list[int]] = {}
        for index, piece in enumerate(self._pieces):
            self._of.setdefault(piece.sample.image, []).append(index)

    def __len__(self) -> int:
        return len(self._pieces)

    def picture(self, index: int) -> Picture:
        """Return a piece as the line would show it to the network.

        Raises:
            DatasetError: its file is missing, is no image, or has another size than its labels.
        """
        if index in self._kept:
            return self._kept[index]
        piece = self._pieces[index]
        image = self._read(piece.sample)
        if not self._keep:
            return self._drawn(image, piece)
        for other in self._of[piece.sample.image]:  # a file is read once, however many tiles it has
            self._kept[other] = self._drawn(image, self._pieces[other])
        return self._kept[index]

    def _read(self, sample: Sample) -> Image:
        path = self._version.path(sample)
        image = read_image(path)
        if image.shape[:2] != (sample.height, sample.width):
            raise DatasetError(
                f"{path} is {image.shape[1]} x {image.shape[0]} pixels, its labels are for "
                f"{sample.width} x {sample.height}; import it again"
            )
        return image

    def _drawn(self, image: Image, piece: Piece) -> Picture:
        labels = np.array([self._index[name] for name in piece.names], np.int64)
        return Picture(draw(image, piece, self._size), piece.boxes, labels)

    def as_sample(self, index: int) -> Sample:
        """Return the labels of a piece in network pixels, for measuring what was found there."""
        piece = self._pieces[index]
        boxes = [
            (name, *map(float, box)) for name, box in zip(piece.names, piece.boxes, strict=True)
        ]
        height, width = self._size
        return piece.sample.model_copy(
            update={"boxes": boxes, "shapes": [], "width": width, "height": height}
        )


class TrainingPictures:
    """The varied pictures of every epoch; an item is asked for by (epoch, place in the shelf).

    Args:
        shelf: the pictures as they are.
        experiment: crop, mosaic, augmentation and seed.
    """

    def __init__(self, shelf: Shelf, experiment: Experiment) -> None:
        self._shelf = shelf
        self._experiment = experiment
        self._size = experiment.crop or experiment.network_size
        self._change = variation(experiment)

    def __getitem__(self, key: tuple[int, int, bool]) -> Picture:
        """Return a picture.

        Args:
            key: epoch, index in the shelf, and whether four may be put together.
        """
        epoch, index, together = key
        chance = np.random.default_rng([self._experiment.seed, epoch, index])
        if together and chance.random() < self._experiment.mosaic:
            picture = self._mosaic(index, chance)
        else:
            picture = self._shelf.picture(index)
        if self._experiment.crop:
            picture = around_a_defect(picture, self._experiment.crop, chance)
        picture = self._varied(picture, int(chance.integers(2**31)))
        return picture if picture.image.shape[:2] == self._size else picture.fit(self._size)

    def _varied(self, picture: Picture, seed: int) -> Picture:
        self._change.set_random_seed(seed)
        corners = picture.boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)
        # A point is the middle of a pixel there, and its edge here.
        found = self._change(image=picture.image, keypoints=corners - 0.5)
        corners = np.asarray(found["keypoints"], np.float32).reshape(-1, 4, 2) + np.float32(0.5)
        whole = np.hstack([corners.min(axis=1), corners.max(axis=1)])
        image, picture = found["image"], replace(picture, image=found["image"], boxes=whole)
        cut = picture.cut(0, 0, image.shape[1], image.shape[0])
        thin = ((cut.boxes[:, 2:] - cut.boxes[:, :2]) < 1.0).any(axis=1)
        painted = paint_over(cut.image, cut.boxes[thin], cut.boxes[~thin])
        return Picture(painted, cut.boxes[~thin], cut.labels[~thin])

    def _mosaic(self, index: int, chance: np.random.Generator) -> Picture:
        """Return four pictures at full scale around a cross, the first of them at `index`."""
        height, width = self._experiment.network_size
        x, y = (int(side * chance.uniform(0.3, 0.7)) for side in (width, height))
        canvas = np.full((height, width, 3), PAD, np.uint8)
        corners = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
        chosen = [index, *chance.integers(len(self._shelf), size=3).tolist()]
        parts: list[Picture] = []
        for number, (x1, y1, x2, y2) in zip(chosen, corners, strict=True):
            size = (y2 - y1, x2 - x1)
            part = around_a_defect(self._shelf.picture(number), size, chance)
            canvas[y1:y2, x1:x2] = part.image
            parts.append(replace(part, boxes=part.boxes + np.array([x1, y1, x1, y1], np.float32)))
        return Picture(
            canvas,
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.labels for part in parts]),
        )


def around_a_defect(
    picture: Picture, size: tuple[int, int], chance: np.random.Generator
) -> Picture:
    """Return a window (height, width) that holds a random box; any window where there is none."""
    rows, columns = picture.image.shape[:2]
    height, width = min(size[0], rows), min(size[1], columns)
    box = picture.boxes[chance.integers(len(picture.boxes))] if len(picture.boxes) else None
    left = _window_start(columns, width, None if box is None else (box[0], box[2]), chance)
    top = _window_start(rows, height, None if box is None else (box[1], box[3]), chance)
    return picture.cut(left, top, width, height)


def _window_start(length: int, window: int, span: Any, chance: np.random.Generator) -> int:
    last = length - window
    low, high = (0, last) if span is None else sorted((int(span[1]) - window, int(span[0])))
    low, high = min(max(low, 0), last), min(max(high, 0), last)
    return int(chance.integers(low, high + 1))


def variation(experiment: Experiment) -> Any:
    """Return the albumentations pipeline of an experiment: pose and flips, then its preset.

    It moves points, those outside the picture too: it cannot say what is left of a box that it drops.
    """
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it asks for its newest version when imported
    import albumentations as A  # noqa: N812

    pose = geometry(experiment.augment)
    flips = (pose["fliplr"], pose["flipud"])
    if experiment.flip:
        flips = (experiment.flip, experiment.flip)
    steps: list[Any] = []
    if any(pose[key] for key in ("scale", "translate", "degrees")):
        scale, shift, turn = pose["scale"], pose["translate"], pose["degrees"]
        steps.append(
            A.Affine(
                scale=(1 - scale, 1 + scale),
                translate_percent=(-shift, shift),
                rotate=(-turn, turn),
                keep_ratio=True,
                fill=PAD,
                p=1.0,
            )
        )
    steps += [A.HorizontalFlip(p=flips[0])] * bool(flips[0])
    steps += [A.VerticalFlip(p=flips[1])] * bool(flips[1])
    corners = A.KeypointParams(format="xy", remove_invisible=False)
    return A.Compose([*steps, *pipeline(experiment.augment)], keypoint_params=corners)
