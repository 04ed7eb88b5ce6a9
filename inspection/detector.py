"""One frame in, checked detections out.

    image ─▶ views ─▶ fill (letterbox) ─▶ Runtime.infer ─▶ check ─▶ drop padding rows ─▶ outlines
        ─▶ back to image pixels ─▶ merge what several tiles saw

Views are cut and filled by `letterbox`. The runtime says what it computed; this module decides whether
that is an answer. Anything that is not finite, not of the promised shape, or names a class the release
does not have is a `ModelOutputError`: it must never look like "nothing found".
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from inspection.errors import InferenceTimeoutError, ModelOutputError
from inspection.letterbox import Letterbox, View, check_image, fill, plan_views
from inspection.outlines import trace
from inspection.tiles import merge, tiles_together
from inspection.types import MASK_STRIDE, Detections, Image, Outline, Release

SCORE_SLACK = 1e-3
"""A score may exceed 1 by this much (reduced precision); it is then cut to 1."""
BOX_SLACK = 1.0
"""Edges of a box may cross by this many network pixels; they are then put in order."""


class Infers(Protocol):
    """What a detector needs of a runtime: see `protocols.Runtime.infer`."""

    def infer(self, images: Image, timeout: float) -> dict[str, NDArray[np.float32]]:
        """Run the release on images uint8 [B, H, W, 3]."""
        ...


@runtime_checkable
class OffersRoom(Protocol):
    """A runtime that has memory of its own for images: what is made there need not be copied."""

    def room(self, shape: tuple[int, ...]) -> Image:
        """Return memory uint8 of this shape, C-contiguous. It stays usable; only copying may come back."""
        ...


class Detector:
    """Runs one release on whole frames. One thread at a time.

    The runtime must have loaded the same release.
    """

    def __init__(self, release: Release, runtime: Infers) -> None:
        self.release = release
        self._runtime = runtime
        shape = (tiles_together(release), *release.input_size, 3)
        offered = isinstance(runtime, OffersRoom)
        self._room = runtime.room(shape) if offered else np.empty(shape, np.uint8)
        """The network's input, written anew for each image."""
        self._views: tuple[tuple[int, int], list[View]] | None = None

    def detect(self, image: Image, timeout: float) -> Detections:
        """Find what the release knows in one image.

        Tiles are shown to the network a few at a time, so that memory stays bounded.

        Args:
            image: uint8 [H, W, 3] RGB, any size.
            timeout: seconds for the runtime's answers, all tiles together.

        Returns:
            Boxes in image pixels, clipped to the image; scores descending.

        Raises:
            InferenceTimeoutError: no answer in time.
            ModelOutputError: an answer that cannot be trusted.
            InferenceError: the runtime failed.
            ValueError: not a uint8 image of three channels, or empty.
        """
        check_image(image)
        release = self.release
        image_size = (image.shape[0], image.shape[1])
        if self._views is None or self._views[0] != image_size:
            self._views = image_size, plan_views(image_size, release.input_size, release.tiling)
        views = self._views[1]
        together = tiles_together(release)
        found: list[Detections] = []
        left, deadline = timeout, time.monotonic() + timeout
        for start in range(0, len(views), together):
            if left <= 0:
                raise InferenceTimeoutError(
                    f"{release.name} saw {start} of {len(views)} tiles in {timeout:.2f} s; allow the "
                    "recipe a longer deadline, or release with larger tiles"
                )
            some = views[start : start + together]
            outputs = self._runtime.infer(fill(image, some, release.input_size, self._room), left)
            found += read_views(release, outputs, some)
            left = deadline - time.monotonic()
        return merge_views(release, found, views, image_size)


def read_views(
    release: Release, outputs: dict[str, NDArray[np.float32]], views: Sequence[View]
) -> list[Detections]:
    """Turn the outputs of a batch into the detections of each view, in pixels of the whole image.

    Raises:
        ModelOutputError: they are not an answer of this release to so many views.
    """
    for name, value in outputs.items():
        if len(value) != len(views):
            raise ModelOutputError(
                f"{release.name} gave {name} {list(value.shape)} for {len(views)} images; "
                "release the model again"
            )
    found: list[Detections] = []
    for index, view in enumerate(views):
        own = {name: value[index : index + 1] for name, value in outputs.items()}
        found.append(_moved(read_outputs(release, own, view.placed), view.tile[:2]))
    return found


def merge_views(
    release: Release,
    found: Sequence[Detections],
    views: Sequence[View],
    image_size: tuple[int, int],
) -> Detections:
    """Make one answer of the detections of all views of an image of (height, width) pixels."""
    if release.tiling is None or len(found) == 1:
        return found[0]
    merged = merge(found, [view.tile for view in views], image_size, release.tiling.iou)
    full = [one.full_from for one in found if one.full_from is not None]
    return replace(merged, full_from=max(full)) if full else merged


def _moved(found: Detections, by: tuple[int, int]) -> Detections:
    """Return detections of a tile whose top left corner lies at `by` (x, y) of the image."""
    if by == (0, 0):
        return found
    x, y = by
    outlines = found.outlines
    if outlines is not None:
        outlines = tuple(tuple((a + x, b + y) for a, b in outline) for outline in outlines)
    return replace(found, boxes=found.boxes + np.array([x, y, x, y], np.float32), outlines=outlines)


def read_outputs(
    release: Release, outputs: dict[str, NDArray[np.float32]], placed: Letterbox
) -> Detections:
    """Turn the outputs of one image into detections.

    Raises:
        ModelOutputError: they are not an answer of this release.
    """
    rows, kept, given = np.zeros((0, 6), np.float32), np.zeros(0, np.intp), 0
    masks, anomaly_score = None, None
    if release.task == "anomaly":
        anomaly_score = _anomaly_score(release, outputs)
    else:
        rows, kept, given = _rows(release, outputs)
        masks = _masks(release, outputs, given) if release.task == "segment" else None
    found = Detections(
        boxes=placed.to_image(rows[:, :4]),
        scores=np.minimum(rows[:, 4], np.float32(1.0)),
        classes=rows[:, 5].astype(np.int64),
        class_names=release.classes,
        release=release.name,
        model_sha256=release.model_sha256,
        anomaly_score=anomaly_score,
        full_from=float(rows[-1, 4]) if len(rows) and len(rows) == given else None,
    )
    return found if masks is None else _outlined(found, [masks[i] for i in kept], placed)


def _outlined(
    found: Detections, masks: Sequence[NDArray[np.float32]], placed: Letterbox
) -> Detections:
    """Return the detections with outlines and areas; one mask [h, w] for each, in the same order."""
    outlines: list[Outline] = []
    areas = np.zeros(len(found), np.float32)
    for index, (mask, box) in enumerate(zip(masks, found.boxes, strict=True)):
        outline, areas[index] = trace(mask, box, placed.scale, placed.pad)
        outlines.append(outline)
    return replace(found, outlines=tuple(outlines), areas=areas)


def _rows(
    release: Release, outputs: dict[str, NDArray[np.float32]]
) -> tuple[NDArray[np.float32], NDArray[np.intp], int]:
    """Return the rows [M, 6] with a score, checked, highest first, edges in order.

    Returns:
        Those rows, the place of each in the output, and how many rows the output has; rows of score 0 are
        padding, and only their scores are checked.
    """
    table = _output(release, outputs, "detections", 3)
    if table.shape[2] != 6:
        raise ModelOutputError(
            f"{release.name} gave detections {list(table.shape)}, the contract is [1, N, 6]; "
            "release the model again"
        )
    table = table[0]
    scores = table[:, 4]
    _check_scores(release, scores)
    kept = np.flatnonzero(scores > 0)
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    rows = table[kept]
    if not len(rows):
        return rows, kept, len(table)
    kinds = rows[:, 5]
    wrong = (kinds != np.rint(kinds)) | (kinds < 0) | (kinds >= len(release.classes))
    if wrong.any():
        raise ModelOutputError(
            f"{release.name} gave class {kinds[wrong][0]:g}, it has {len(release.classes)} "
            f"({', '.join(release.classes)}); is it the model of this release?"
        )
    height, width = release.input_size
    reach = np.array([width, height, width, height], np.float32)
    crossed = (rows[:, 2:4] - rows[:, :2] < -BOX_SLACK).any(axis=1)
    outside = ((rows[:, :4] < -reach) | (rows[:, :4] > 2 * reach)).any(axis=1)
    if (crossed | outside).any():
        box = rows[crossed | outside][0, :4].tolist()
        raise ModelOutputError(
            f"{release.name} gave the box {[round(v, 1) for v in box]} in an input of "
            f"{width} x {height} pixels; is it x1 y1 x2 y2 in network pixels?"
        )
    rows[:, :4] = np.sort(rows[:, :4].reshape(-1, 2, 2), axis=1).reshape(-1, 4)
    return rows, kept, len(table)


def _masks(
    release: Release, outputs: dict[str, NDArray[np.float32]], rows: int
) -> NDArray[np.float32]:
    """Return the masks [N, h, w] of all rows, checked."""
    masks = _output(release, outputs, "masks", 4)[0]
    wanted = (rows, *(side // MASK_STRIDE for side in release.input_size))
    if masks.shape != wanted:
        raise ModelOutputError(
            f"{release.name} gave masks {list(masks.shape)}, the contract is {list(wanted)}; "
            "release the model again"
        )
    if masks.size and (masks.min() < -SCORE_SLACK or masks.max() > 1 + SCORE_SLACK):
        raise ModelOutputError(
            f"{release.name} gave masks from {masks.min():g} to {masks.max():g}, the contract is "
            "0..1; release the model again"
        )
    return masks


def _anomaly_score(release: Release, outputs: dict[str, NDArray[np.float32]]) -> float:
    _output(release, outputs, "anomaly_map", 3)
    score = _output(release, outputs, "anomaly_score", 1)
    _check_scores(release, score)
    return min(float(score[0]), 1.0)


def _output(
    release: Release, outputs: dict[str, NDArray[np.float32]], name: str, dimensions: int
) -> NDArray[np.float32]:
    """Return one output of a single image: there, float32, of so many dimensions, all finite."""
    if name not in outputs:
        raise ModelOutputError(
            f"{release.name} gave no output {name!r} but {sorted(outputs)}; release the model again"
        )
    value = outputs[name]
    if value.dtype != np.float32 or value.ndim != dimensions or value.shape[0] != 1:
        raise ModelOutputError(
            f"{release.name} gave {name} {value.dtype} {list(value.shape)} for one image; "
            f"the contract is float32 of {dimensions} dimensions, the first 1"
        )
    if not np.isfinite(value).all():
        raise ModelOutputError(
            f"{release.name} gave NaN or infinity in {name}; the part was not inspected. "
            "Check the release's parity and the accelerator's health"
        )
    return value


def _check_scores(release: Release, scores: NDArray[np.float32]) -> None:
    wrong = (scores < 0) | (scores > 1 + SCORE_SLACK)
    if wrong.any():
        raise ModelOutputError(
            f"{release.name} gave the score {scores[wrong][0]:g}, the contract is 0..1; "
            "release the model again"
        )
