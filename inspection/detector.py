"""One frame in, checked detections out.

    image ─▶ letterbox ─▶ Runtime.infer ─▶ check ─▶ drop padding rows ─▶ back to image pixels

The runtime says what it computed; this module decides whether that is an answer. Anything that is
not finite, not of the promised shape, or names a class the release does not have is a
`ModelOutputError`: it must never look like "nothing found".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspection.errors import ModelOutputError
from inspection.protocols import Runtime
from inspection.types import Detections, Image, Release

PAD = 114
"""Grey value of the border; the one that models are trained with."""
SCORE_SLACK = 1e-3
"""A score may exceed 1 by this much (reduced precision); it is then cut to 1."""
BOX_SLACK = 1.0
"""Edges of a box may cross by this many network pixels; they are then put in order."""


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How an image was placed in the network's input.

    Attributes:
        image_size: (height, width) of the image, pixels.
        input_size: (height, width) of the network input, pixels.
        scale: network pixels per image pixel, (x, y); they differ only by rounding to whole pixels.
        pad: (left, top) border in network pixels.
    """

    image_size: tuple[int, int]
    input_size: tuple[int, int]
    scale: tuple[float, float]
    pad: tuple[int, int]

    @classmethod
    def of(cls, image_size: tuple[int, int], input_size: tuple[int, int]) -> Letterbox:
        """Return the placement: aspect kept, scaled up or down to fit, centred."""
        (height, width), (net_height, net_width) = image_size, input_size
        ratio = min(net_height / height, net_width / width)
        new_width = min(max(round(width * ratio), 1), net_width)
        new_height = min(max(round(height * ratio), 1), net_height)
        left = round((net_width - new_width) / 2 - 0.1)
        top = round((net_height - new_height) / 2 - 0.1)
        return cls(image_size, input_size, (new_width / width, new_height / height), (left, top))

    @property
    def resized(self) -> tuple[int, int]:
        """(height, width) that the image itself takes in the network input."""
        return (
            round(self.image_size[0] * self.scale[1]),
            round(self.image_size[1] * self.scale[0]),
        )

    def to_network(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return boxes [N, 4] in image pixels as network pixels."""
        moved = boxes.astype(np.float64) * np.array([*self.scale, *self.scale])
        return (moved + np.array([*self.pad, *self.pad])).astype(np.float32)

    def to_image(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return boxes [N, 4] in network pixels as image pixels, clipped to the image."""
        moved = boxes.astype(np.float64) - np.array([*self.pad, *self.pad])
        moved /= np.array([*self.scale, *self.scale])
        height, width = self.image_size
        return np.clip(moved, 0.0, np.array([width, height, width, height])).astype(np.float32)


def letterbox(image: Image, size: tuple[int, int]) -> tuple[Image, Letterbox]:
    """Place an image in a network input of `size` (height, width).

    Linear interpolation, border of grey 114, centred: the same pixels that ultralytics' LetterBox
    makes, so that a trained model sees what it learned.

    Returns:
        uint8 [H, W, 3] C-contiguous, in a buffer of its own, and the placement.

    Raises:
        ValueError: not a uint8 image of three channels, or empty.
    """
    import cv2

    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"an image is uint8 [H, W, 3], got {image.dtype} {list(image.shape)}")
    placed = Letterbox.of((image.shape[0], image.shape[1]), size)
    height, width = placed.resized
    left, top = placed.pad
    canvas = np.full((*size, 3), PAD, np.uint8)
    inner = canvas[top : top + height, left : left + width]
    if inner.shape == image.shape:
        inner[:] = image
    elif inner.shape[:2] == size:  # no border: written straight into the canvas
        cv2.resize(image, (width, height), dst=canvas, interpolation=cv2.INTER_LINEAR)
    else:
        inner[:] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return canvas, placed


class Detector:
    """Runs one release on whole frames. One thread at a time.

    The runtime must have loaded the same release.
    """

    def __init__(self, release: Release, runtime: Runtime) -> None:
        self.release = release
        self._runtime = runtime

    def detect(self, image: Image, timeout: float) -> Detections:
        """Find what the release knows in one image.

        Args:
            image: uint8 [H, W, 3] RGB, any size.
            timeout: seconds for the runtime's answer.

        Returns:
            Boxes in image pixels, clipped to the image; scores descending.

        Raises:
            InferenceTimeoutError: no answer in time.
            ModelOutputError: an answer that cannot be trusted.
            InferenceError: the runtime failed.
        """
        tensor, placed = letterbox(image, self.release.input_size)
        outputs = self._runtime.infer(tensor[np.newaxis], timeout)
        return read_outputs(self.release, outputs, placed)


def read_outputs(
    release: Release, outputs: dict[str, NDArray[np.float32]], placed: Letterbox
) -> Detections:
    """Turn the outputs of one image into detections.

    Raises:
        ModelOutputError: they are not an answer of this release.
    """
    if release.task == "anomaly":
        rows = np.zeros((0, 6), np.float32)
        anomaly_score = _anomaly_score(release, outputs)
    else:
        rows = _rows(release, outputs)
        anomaly_score = None
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    return Detections(
        boxes=placed.to_image(rows[:, :4]),
        scores=np.minimum(rows[:, 4], np.float32(1.0)),
        classes=rows[:, 5].astype(np.int64),
        class_names=release.classes,
        release=release.name,
        model_sha256=release.model_sha256,
        anomaly_score=anomaly_score,
    )


def _rows(release: Release, outputs: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the found rows [N, 6], checked, edges in order."""
    table = _output(release, outputs, "detections", 3)
    if table.shape[2] != 6:
        raise ModelOutputError(
            f"{release.name} gave detections {list(table.shape)}, the contract is [1, N, 6]; "
            "release the model again"
        )
    rows = table[0]
    _check_scores(release, rows[:, 4])
    rows = rows[rows[:, 4] > 0].copy()
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
    ordered = np.sort(rows[:, :4].reshape(-1, 2, 2), axis=1)
    rows[:, :4] = ordered.reshape(-1, 4)
    return rows


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
