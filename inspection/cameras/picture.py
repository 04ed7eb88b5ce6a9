"""Picture files to RGB, strictly: a file that is not whole is refused, never filled up with grey.

    bytes ─▶ header: kind, width, height, colours ─▶ whole? ─▶ decode ─▶ uint8 RGB, size as promised

The decoder alone would not do: it completes a truncated JPEG with grey and says nothing, and it
allocates whatever size a header claims. What cannot be seen here: damage inside a JPEG whose end
marker is in place. Where that matters, compare hashes.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import NamedTuple

import cv2
import numpy as np

from inspection.errors import FrameError
from inspection.types import Image, Reason

MAX_PIXELS = 200_000_000
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start-of-frame markers
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")  # after a scan: no stuffing, no restart
_TIFF_SHORT, _TIFF_LONG = 3, 4


class _DamagedError(Exception):
    """What is wrong with the file, as the middle of a sentence."""


class _Header(NamedTuple):
    width: int
    height: int


def decode_picture(data: bytes, source: str, max_pixels: int = MAX_PIXELS) -> Image:
    """Return uint8 [H, W, 3] RGB, newly allocated.

    JPEG, PNG, BMP and TIFF. Grey becomes three equal channels; transparency is dropped; 16 bit keeps
    its upper 8 bit; the orientation noted by a camera (EXIF) is applied.

    Args:
        data: the whole file.
        source: what to call it in messages.
        max_pixels: larger pictures are refused before they are decoded.

    Raises:
        FrameError: FRAME_INVALID: not a picture, not whole, too large, CMYK, or undecodable.
    """
    try:
        header = _read_header(data)
        if header.width * header.height > max_pixels:
            raise _DamagedError(f"has {header.width} x {header.height} pixels, over {max_pixels}")
        image = _decode(data)
        if sorted(image.shape[:2]) != sorted(header):
            raise _DamagedError(
                f"promises {header.width} x {header.height} pixels and decodes to others"
            )
    except _DamagedError as error:
        message = f"{source} {error}; replace the file"
        raise FrameError(Reason.FRAME_INVALID, message) from error
    return image


def _decode(data: bytes) -> Image:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise _DamagedError(f"cannot be decoded ({error.err})") from error
    # typed as never None, but it is when decoding fails
    if image is None or image.dtype != np.uint8 or image.ndim != 3:  # pyright: ignore[reportUnnecessaryComparison]
        raise _DamagedError("cannot be decoded")
    return np.ascontiguousarray(image, np.uint8)


def _read_header(data: bytes) -> _Header:
    try:
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
        if data.startswith(_PNG):
            return _png(data)
        if data.startswith(b"BM"):
            return _bmp(data)
        if data[:4] in {b"II*\x00", b"MM\x00*"}:
            return _tiff(data)
    except (struct.error, IndexError) as error:
        raise _DamagedError("is truncated") from error
    raise _DamagedError("is no JPEG, PNG, BMP or TIFF" if data else "is empty")


def _jpeg(data: bytes) -> _Header:
    """Walk all segments and scans to the end marker."""
    header: _Header | None = None
    at = 2
    while True:
        if data[at] != 0xFF:
            raise _DamagedError("is a damaged JPEG")
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0xD9:
            break
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in _JPEG_SIZES:
            height, width, colours = struct.unpack_from(">HHB", data, at + 5)
            if colours == 4:
                raise _DamagedError(
                    "is a CMYK JPEG, whose colours cannot be trusted: save it as RGB"
                )
            header = _Header(width, height)
        at += 2 + length
        if marker == 0xDA:
            found = _JPEG_MARKER.search(data, at)
            if found is None:
                raise _DamagedError("is a truncated JPEG: its end marker is missing")
            at = found.start(1) - 1
    if header is None:
        raise _DamagedError("is a JPEG without a picture")
    return header


def _png(data: bytes) -> _Header:
    """Check every chunk's checksum up to the end chunk."""
    at = len(_PNG)
    kind = b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        (expected,) = struct.unpack_from(">I", data, at + 8 + length)
        if zlib.crc32(data[at + 4 : at + 8 + length]) != expected:
            raise _DamagedError("is a damaged PNG: a checksum is wrong")
        at += 12 + length
    width, height = struct.unpack_from(">II", data, len(_PNG) + 8)
    return _Header(width, height)


def _bmp(data: bytes) -> _Header:
    start, _, width, height, _, bits, packed = struct.unpack_from("<IIiiHHI", data, 10)
    if packed not in {0, 3} or width <= 0:
        raise _DamagedError("is a BMP of an unusual kind: save it as PNG")
    row = (width * bits + 31) // 32 * 4
    if len(data) < start + row * abs(height):
        raise _DamagedError("is a truncated BMP")
    return _Header(width, abs(height))


def _tiff(data: bytes) -> _Header:
    """Read the size from the first directory; check that its strips or tiles are inside the file."""
    order = "<" if data.startswith(b"II") else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    tags: dict[int, list[int]] = {}
    for index in range(count):
        tag, kind, number = struct.unpack_from(order + "HHI", data, at + 2 + 12 * index)
        if kind not in {_TIFF_SHORT, _TIFF_LONG}:
            continue
        form = f"{order}{number}{'H' if kind == _TIFF_SHORT else 'I'}"
        where = at + 2 + 12 * index + 8
        if struct.calcsize(form) > 4:
            (where,) = struct.unpack_from(order + "I", data, where)
        if where + struct.calcsize(form) > len(data):
            raise _DamagedError("is a truncated TIFF")
        tags[tag] = list(struct.unpack_from(form, data, where))
    if 256 not in tags or 257 not in tags:
        raise _DamagedError("is a TIFF without a size")
    if tags.get(262) == [5]:
        raise _DamagedError("is a CMYK TIFF, whose colours cannot be trusted: save it as RGB")
    places = tags.get(273) or tags.get(324) or []
    lengths = tags.get(279) or tags.get(325) or []
    if not places or len(places) != len(lengths):
        raise _DamagedError("is a TIFF without pixels")
    if any(place + length > len(data) for place, length in zip(places, lengths, strict=True)):
        raise _DamagedError("is a truncated TIFF")
    return _Header(tags[256][0], tags[257][0])
