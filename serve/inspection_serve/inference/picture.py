"""Pictures that people send: checked before they are decoded."""

from __future__ import annotations

import struct

import numpy as np

from inspection.types import Image
from inspection_serve.inference.protocol import RequestError

MAX_PIXELS = 50_000_000
"""Largest picture that is decoded, pixels."""
MAX_BYTES = 32 << 20
_PNG = b"\x89PNG\r\n\x1a\n"
_NOT_SIZES = {0xC4, 0xC8, 0xCC}


def decode_picture(data: bytes) -> Image:
    """Return a JPEG or PNG as uint8 [H, W, 3] RGB.

    A JPEG's EXIF orientation is applied: pixels are those of the upright picture. The line never
    does this; its cameras write none.

    Raises:
        RequestError: another format, cut off, too large, or not decodable.
    """
    import cv2

    if len(data) > MAX_BYTES:
        raise RequestError(f"the picture is larger than {MAX_BYTES} bytes", 413, "too_large")
    width, height = picture_size(data)
    if width * height > MAX_PIXELS:
        raise RequestError(
            f"the picture has {width} x {height} pixels, at most {MAX_PIXELS} are taken; shrink it",
            413,
            "too_large",
        )
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise RequestError(f"the picture cannot be decoded: {str(error)[:100]}") from error
    if image is None:
        raise RequestError("the picture cannot be decoded; save it again as JPEG or PNG")
    return image.astype(np.uint8, copy=False)


def picture_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) from the header of a whole JPEG or PNG.

    Raises:
        RequestError: neither, or its end is missing.
    """
    if data.startswith(_PNG):
        if len(data) < 45 or data[12:16] != b"IHDR" or b"IEND" not in data[-12:]:
            raise RequestError("the PNG is cut off; send the whole file")
        width, height = struct.unpack(">II", data[16:24])
    elif data.startswith(b"\xff\xd8\xff"):
        if b"\xff\xd9" not in data[-64:]:
            raise RequestError("the JPEG is cut off; send the whole file")
        width, height = _jpeg_size(data)
    else:
        raise RequestError("only JPEG and PNG pictures are taken", 415)
    if not width or not height:
        raise RequestError("the picture has no pixels")
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Walk the segments to the first frame header."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
            continue
        length = struct.unpack(">H", data[at + 2 : at + 4])[0]
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_SIZES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + max(length, 2)
    raise RequestError("the JPEG has no frame header; save it again")
