"""An image, or tiles of it, placed in the network's input.

    image ─▶ views (the whole, or tiles) ─▶ letterbox: aspect kept, centred, border of grey 114 ─▶ batch

A view is what the network sees at once: the whole image, or one tile of it when the release says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspection.tiles import Tile, cut
from inspection.types import Image, Tiling

PAD = 114
"""Grey value of the border; the one that models are trained with."""


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
    def of(
        cls,
        image_size: tuple[int, int],
        input_size: tuple[int, int],
        full: tuple[int, int] | None = None,
    ) -> Letterbox:
        """Return the placement: aspect kept, scaled up or down to fit, centred.

        Args:
            image_size: (height, width) of the image, pixels.
            input_size: (height, width) of the network input, pixels.
            full: (height, width) that fills the input, for images that may be smaller: their scale
                is the same. Default: the image itself.
        """
        (height, width), (net_height, net_width) = image_size, input_size
        full_height, full_width = full or image_size
        ratio = min(net_height / full_height, net_width / full_width)
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
    check_image(image)
    placed = Letterbox.of((image.shape[0], image.shape[1]), size)
    canvas = np.empty((*size, 3), np.uint8)
    _draw(image, placed, canvas)
    return canvas, placed


def check_image(image: Image) -> None:
    """Raise ValueError unless this is a uint8 image of three channels that is not empty."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"an image is uint8 [H, W, 3], got {image.dtype} {list(image.shape)}")


def _draw(image: Image, placed: Letterbox, canvas: Image) -> None:
    """Write an image and its border over every pixel of a C-contiguous canvas."""
    import cv2

    height, width = placed.resized
    left, top = placed.pad
    inner = canvas[top : top + height, left : left + width]
    canvas[:top] = canvas[top + height :] = PAD
    canvas[top : top + height, :left] = canvas[top : top + height, left + width :] = PAD
    if inner.shape == image.shape:
        inner[:] = image
    else:  # straight into its place
        cv2.resize(image, (width, height), dst=inner, interpolation=cv2.INTER_LINEAR)


@dataclass(frozen=True, slots=True)
class View:
    """What the network sees at once of an image.

    Attributes:
        tile: x1 y1 x2 y2 in image pixels, far edges exclusive; the whole image without tiling.
        placed: how this piece lies in the network input.
    """

    tile: Tile
    placed: Letterbox


def plan_views(
    image_size: tuple[int, int], input_size: tuple[int, int], tiling: Tiling | None
) -> list[View]:
    """Return the views that together show an image, row by row.

    Args:
        image_size: (height, width) of the image, pixels.
        input_size: (height, width) of the network input, pixels.
        tiling: how the image is cut; None: one view of all.
    """
    full = tiling.size if tiling else None
    return [
        View(tile, Letterbox.of((tile[3] - tile[1], tile[2] - tile[0]), input_size, full))
        for tile in cut(image_size, tiling)
    ]


def fill(
    image: Image,
    views: Sequence[View],
    input_size: tuple[int, int],
    room: Image | None = None,
) -> Image:
    """Return the network's input for some views of an image: uint8 [B, H, W, 3], C-contiguous.

    A tile of the input's own size is copied once; others are scaled straight from the image.

    Args:
        image: uint8 [H, W, 3].
        views: of `plan_views`.
        input_size: (height, width) of the network input, pixels.
        room: uint8 [at least B, H, W, 3], C-contiguous; the answer is its first B pictures. New memory costs
            more than all else here, since the system clears each page of it when it is first written.

    Raises:
        ValueError: not a uint8 image of three channels, or empty; or no room for these views.
    """
    check_image(image)
    if room is None:
        room = np.empty((len(views), *input_size, 3), np.uint8)
    if len(room) < len(views) or room.shape[1:] != (*input_size, 3):
        raise ValueError(f"room {list(room.shape)} is not for {len(views)} inputs of {input_size}")
    batch = room[: len(views)]
    for view, canvas in zip(views, batch, strict=True):
        x1, y1, x2, y2 = view.tile
        _draw(image[y1:y2, x1:x2], view.placed, canvas)
    return batch
