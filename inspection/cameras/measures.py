"""Numbers that tell whether a lens and an exposure are well set."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from inspection.types import Image

BINS = 32


@dataclass(frozen=True, slots=True)
class Measures:
    """Of one picture, in one region.

    Attributes:
        focus: variance of the Laplacian of the grey picture: higher is sharper; compare it only
            with itself, on the same scene under the same light.
        mean: grey level, 0..255.
        bright: share of pixels with a channel at 255: their brightness is lost.
        dark: share of pixels that are 0 in every channel.
        histogram: share of the grey levels in 32 equal steps.
    """

    focus: float
    mean: float
    bright: float
    dark: float
    histogram: tuple[float, ...]


def measure(image: Image, region: tuple[int, int, int, int] | None = None) -> Measures:
    """Measure x, y, width, height of a picture, or all of it; what lies outside is cut off.

    Raises:
        ValueError: the region lies outside the picture.
    """
    if region is not None:
        x, y, width, height = region
        image = image[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)]
    if image.size == 0:
        raise ValueError(f"region {region} lies outside the picture; give x,y,width,height")
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    counts = np.bincount(grey.reshape(-1) // (256 // BINS), minlength=BINS)
    return Measures(
        focus=float(cv2.Laplacian(grey, cv2.CV_64F).var()),
        mean=float(grey.mean()),
        bright=float((image == 255).any(axis=2).mean()),
        dark=float((image == 0).all(axis=2).mean()),
        histogram=tuple((counts / grey.size).round(5).tolist()),
    )
