"""GenICam pixel formats to RGB: what a camera sends, as the picture that the line judges."""

from __future__ import annotations

import cv2
import numpy as np

from inspection.errors import FrameError
from inspection.types import Image, Reason

# OpenCV names a Bayer pattern by its second row, GenICam by its first.
_BAYER = {
    "BayerRG8": cv2.COLOR_BayerBG2RGB,
    "BayerBG8": cv2.COLOR_BayerRG2RGB,
    "BayerGR8": cv2.COLOR_BayerGB2RGB,
    "BayerGB8": cv2.COLOR_BayerGR2RGB,
}
_CODES = {
    "Mono8": cv2.COLOR_GRAY2RGB,
    "RGB8": None,
    "BGR8": cv2.COLOR_BGR2RGB,
    "RGBa8": cv2.COLOR_RGBA2RGB,
    "BGRa8": cv2.COLOR_BGRA2RGB,
    **_BAYER,
}
_CHANNELS = {"RGB8": 3, "BGR8": 3, "RGBa8": 4, "BGRa8": 4}
NUMBERS = {
    0x01080001: "Mono8",
    0x02180014: "RGB8",
    0x02180015: "BGR8",
    0x02200016: "RGBa8",
    0x02200017: "BGRa8",
    0x01080008: "BayerGR8",
    0x01080009: "BayerRG8",
    0x0108000A: "BayerGB8",
    0x0108000B: "BayerBG8",
}
"""Number of the Pixel Format Naming Convention to name, of the formats that can be used."""


def to_rgb(
    data: bytes, width: int, height: int, pixel_format: str, camera: str, padding: int = 0
) -> Image:
    """Return a new uint8 [H, W, 3] RGB, C-contiguous, that may be written to.

    Args:
        data: the lines from the top; bytes after the last line are ignored.
        width: pixels.
        height: pixels.
        pixel_format: GenICam name.
        camera: in messages.
        padding: bytes at the end of each line that are no pixels.

    Raises:
        FrameError: FRAME_INVALID: the format cannot be used, there are fewer bytes than pixels, or so
            many more that the lines may be longer than said.
    """
    if pixel_format not in _CODES:
        raise FrameError(
            Reason.FRAME_INVALID,
            f"camera {camera} sends pixel format {pixel_format}; set one of {', '.join(_CODES)}",
        )
    channels = _CHANNELS.get(pixel_format, 1)
    line = width * channels + padding
    wanted = line * height
    if width <= 0 or height <= 0 or padding < 0 or not wanted <= len(data) < wanted + height:
        raise FrameError(
            Reason.FRAME_INVALID,
            f"camera {camera}: {len(data)} bytes are no picture of {width} x {height} pixels"
            f" {pixel_format} with {padding} bytes after each line; check the camera's settings",
        )
    pixels = np.frombuffer(data, np.uint8, wanted).reshape(height, line)[:, : width * channels]
    code = _CODES[pixel_format]
    if code is None:
        return pixels.reshape(height, width, channels).copy()
    shape = (height, width) if channels == 1 else (height, width, channels)
    lines = np.ascontiguousarray(pixels).reshape(shape)
    return np.ascontiguousarray(cv2.cvtColor(lines, code), np.uint8)
