"""Picture files: found by the store's row alone, compared with its sha256, decoded only when small enough."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from inspection.store.rows import Values, stored_images
from inspection.types import Image, StoredImage
from inspection_serve.inference.picture import picture_size
from inspection_serve.inference.protocol import RequestError

MAX_PIXELS = 200_000_000
"""Largest picture that is decoded here, pixels: line-scan cameras make large ones."""
MAX_BYTES = 1 << 30
"""Largest file that is read."""
THUMB = 256
"""Longer side of a small picture, pixels."""
THUMBS_KEPT = 20_000
"""Small pictures kept; about 200 MB."""
TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".bmp": "image/bmp"}
_CHECKED = 50_000
_KEY = re.compile(r"[0-9a-f]{64}(-[0-9a-f]{64})?")


class PictureError(Exception):
    """A picture cannot be given.

    Attributes:
        status: of HTTP.
        code: for programs; `routes.TEXTS` has the words.
    """

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


def find_file(row: Values | None, index: int) -> StoredImage:
    """Return what a part's row says of one of its pictures.

    Raises:
        PictureError: there is no such part or picture; the code says why.
    """
    if row is None:
        raise PictureError(404, "no_part")
    try:
        images = stored_images(row["images"])
    except (KeyError, TypeError, ValueError) as error:
        raise PictureError(409, "altered") from error
    if row["image_state"] != "saved":
        known = {
            "sampled_out",
            "shed",
            "failed",
            "disk_full",
            "lost",
            "pending",
            "expiring",
            "expired",
        }
        state = row["image_state"]
        raise PictureError(404, f"picture_{state}" if state in known else "no_picture")
    if not 0 <= index < len(images):
        raise PictureError(404, "no_picture")
    return images[index]


def read_bytes(folder: Path, name: str) -> tuple[bytes, os.stat_result]:
    """Read a file that must lie inside a folder.

    Raises:
        PictureError: it is gone, or leads elsewhere.
    """
    top = folder.resolve()
    if not name or "\0" in name:
        raise PictureError(409, "outside")
    try:
        path = (top / name).resolve()
        if top not in path.parents:
            raise PictureError(409, "outside")
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            if about.st_size > MAX_BYTES:
                raise PictureError(409, "too_large")
            return file.read(), about
    except (OSError, ValueError) as error:
        raise PictureError(404, "file_missing") from error


class Checked:
    """Reads files and compares each with its sha256 once, until its time or size change."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str, str], tuple[int, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, folder: Path, name: str, sha256: str) -> bytes:
        """Return the file's bytes.

        Raises:
            PictureError: missing, outside the folder, or not the file that was written.
        """
        data, about = read_bytes(folder, name)
        key = (str(folder), name, sha256)
        seen = (about.st_mtime_ns, about.st_ctime_ns, about.st_size, about.st_ino)
        with self._lock:
            known = self._known.get(key) == seen
        if not known:
            if hashlib.sha256(data).hexdigest() != sha256:
                raise PictureError(409, "altered")
            with self._lock:
                self._known[key] = seen
                while len(self._known) > _CHECKED:
                    self._known.popitem(last=False)
        return data


def media_type(name: str) -> str:
    """Return the type of a picture file. Raises PictureError for what is no picture."""
    found = TYPES.get(Path(name).suffix.lower())
    if found is None:
        raise PictureError(409, "not_a_picture")
    return found


def decode(data: bytes, reduced: bool = False) -> Image:
    """Return a picture as uint8 [H, W, 3] RGB; its header is read before a pixel is decoded.

    Args:
        data: a whole JPEG, PNG or BMP file.
        reduced: a JPEG may come at half, a quarter or an eighth, still at least `THUMB` long.

    Raises:
        PictureError: more pixels than `MAX_PIXELS`, or not decodable.
    """
    import cv2

    width, height = _size(data)
    if width * height > MAX_PIXELS:
        raise PictureError(409, "too_large")
    flag = cv2.IMREAD_COLOR
    if reduced:
        for share, wanted in {8: "8", 4: "4", 2: "2"}.items():
            if max(width, height) // share >= THUMB:
                flag = getattr(cv2, f"IMREAD_REDUCED_COLOR_{wanted}")
                break
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise PictureError(409, "not_a_picture") from error
    if image is None:
        raise PictureError(409, "not_a_picture")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _size(data: bytes) -> tuple[int, int]:
    if data.startswith(b"BM") and len(data) >= 54:
        width, height = struct.unpack("<ii", data[18:26])
        return abs(width), abs(height)
    try:
        return picture_size(data)
    except RequestError as error:
        raise PictureError(409, "not_a_picture") from error


def small_picture(data: bytes) -> bytes:
    """Return a JPEG of at most `THUMB` pixels on the longer side; never larger than the picture.

    Raises:
        PictureError: see `decode`.
    """
    import cv2

    image = decode(data, reduced=True)
    height, width = image.shape[:2]
    share = THUMB / max(height, width)
    if share < 1:
        size = (max(round(width * share), 1), max(round(height * share), 1))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    ok, made = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 82])
    if not ok:
        raise PictureError(409, "not_a_picture")
    return made.tobytes()


class Kept:
    """Files made from pictures, by name in a folder; the oldest go when there are too many.

    Losing one costs only the time to make it again, so nothing here is synchronised to the disk, and a
    folder that cannot be written is no error.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self._most = folder, most
        self._making = threading.Semaphore(2)
        self._lock = threading.Lock()
        self._number: int | None = None

    def get(self, key: str, make: Callable[[], bytes]) -> bytes:
        """Return what was kept under a key of hexadecimal hashes and dashes, else make it.

        Whatever `make` raises is raised.
        """
        found = self.find(key)
        if found is not None:
            return found
        with self._making:
            data = make()
        self._keep(self._path(key), data)
        return data

    def find(self, key: str) -> bytes | None:
        """Return what was kept under a key; None when nothing was."""
        try:
            return self._path(key).read_bytes()
        except OSError:
            return None

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise PictureError(409, "altered")
        return self._folder / key[:2] / key

    def _keep(self, path: Path, data: bytes) -> None:
        made: Path | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                made = Path(file.name)
                file.write(data)
            made.replace(path)
        except OSError:
            if made is not None:
                with suppress(OSError):
                    made.unlink()
            return
        with self._lock:
            if self._number is None:
                self._number = sum(1 for _ in self._folder.glob("*/*"))
            else:
                self._number += 1
            if self._number > self._most:
                self._thin()

    def _thin(self) -> None:
        """Delete the oldest tenth."""
        found: list[tuple[float, Path]] = []
        for path in self._folder.glob("*/*"):
            try:
                found.append((path.stat().st_mtime, path))
            except OSError:
                continue
        found.sort()
        for _, path in found[: max(len(found) - self._most * 9 // 10, 0)]:
            path.unlink(missing_ok=True)
        self._number = min(len(found), self._most * 9 // 10)
