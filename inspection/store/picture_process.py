"""Pictures are encoded, hashed and written in a process of low priority; the line's interpreter is free.

    images thread ─▶ pixels into shared memory ─▶ one line of JSON ─▶ process: encode, hash, write, fsync
                  ◀──────────────────────────── one line of JSON ◀──┘

The process ends with the line: it reads to the end of its standard input. Where it cannot be started,
dies, has no memory, or does not answer, the thread writes the picture itself, and a new one is tried later.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import mmap
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from inspection.types import Image

_NICE = 10
_PATIENCE = 30.0
"""Seconds after which a process that does not answer is ended: others may have all processors."""
_AGAIN_AFTER = 30.0
_JPEG_SIDE = 65_500
_logger = logging.getLogger(__name__)


class PictureProcess:
    """Writes pictures in its process. One thread at a time; nothing runs before the first picture."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._memory = -1
        self._pixels: np.ndarray | None = None
        self._not_before = 0.0
        self._count = 0

    def write(self, image: Image, path: Path, ending: str, quality: int) -> str:
        """Write a new file durably; see `write_picture_file`."""
        if time.monotonic() >= self._not_before:
            try:
                told = self._ask(image, path, ending, quality)
            except Exception as error:  # a late answer must never be the next picture's
                _logger.warning("pictures are written by the line itself for a while: %r", error)
                self.close()
                self._not_before = time.monotonic() + _AGAIN_AFTER
            else:
                if "errno" in told:
                    raise OSError(told["errno"], told["error"])
                if "sha256" in told:
                    return str(told["sha256"])
        return write_picture_file(image, path, ending, quality)

    def close(self) -> None:
        """End the process. May be called twice."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()  # it is asked nothing now
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        memory, self._memory, self._pixels = self._memory, -1, None
        if memory >= 0:
            os.close(memory)

    def _ask(self, image: Image, path: Path, ending: str, quality: int) -> dict[str, Any]:
        """Return the process' answer to this very question. Raises: there is none, or no process."""
        process = self._process or self._start()
        if process.stdin is None or process.stdout is None:
            raise ValueError("the process has no pipes")
        self._place(image)
        self._count += 1
        asked = {
            "number": self._count,
            "shape": image.shape,
            "dtype": str(image.dtype),
            "path": str(path.absolute()),
            "ending": ending,
            "quality": quality,
        }
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        process.stdin.flush()
        answer, end = b"", time.monotonic() + _PATIENCE
        ready = select.poll()
        ready.register(process.stdout, select.POLLIN)
        while not answer.endswith(b"\n"):
            left = max(0.0, end - time.monotonic())
            if not ready.poll(1000 * left):
                raise OSError(f"their process did not answer in {_PATIENCE:g} s")
            more = os.read(process.stdout.fileno(), 65536)
            if not more:
                raise OSError("their process has ended")
            answer += more
        told = json.loads(answer)
        if told["number"] != self._count:
            raise ValueError(f"their process answered {told!r}, asked was {self._count}")
        return told

    def _start(self) -> subprocess.Popen[bytes]:
        self._memory = os.memfd_create("inspection-picture")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "inspection.store.picture_process", str(self._memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[self._memory],
            bufsize=0,
        )
        return self._process

    def _place(self, image: Image) -> None:
        if self._pixels is None or self._pixels.size < image.nbytes:
            self._pixels = None
            os.posix_fallocate(self._memory, 0, image.nbytes)  # full memory fails here
            self._pixels = np.frombuffer(mmap.mmap(self._memory, image.nbytes), np.uint8)
        np.copyto(self._pixels[: image.nbytes].view(image.dtype).reshape(image.shape), image)


def write_picture_file(image: Image, path: Path, ending: str, quality: int) -> str:
    """Encode an image and write it durably into a new file.

    Args:
        image: uint8 [H, W, 3] RGB.
        path: of the file; what lies there is replaced.
        ending: jpg, png or bmp.
        quality: of JPEG, 1 to 100.

    Returns:
        SHA-256 of the file's bytes, in hexadecimal digits.

    Raises:
        OSError: the disk refused.
        ValueError: the image cannot be encoded.
    """
    data = encode(image, ending, quality)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(data).hexdigest()


def encode(image: Image, ending: str, quality: int) -> bytes:
    """Return the file's bytes of an RGB image. Raises ValueError when it is not uint8 [H, W, 3]."""
    import cv2

    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"not an RGB image: {image.dtype} {image.shape}")
    if ending == "jpg" and max(image.shape) > _JPEG_SIDE:
        raise ValueError(
            f"{image.shape} is too long for JPEG, which holds {_JPEG_SIDE} pixels each way; set "
            "store.images.format to png"
        )
    settings = {
        "jpg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        "png": [cv2.IMWRITE_PNG_COMPRESSION, 1],
    }
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    ok, data = cv2.imencode(f".{ending}", bgr, settings.get(ending, []))
    if not ok:
        raise ValueError(f"{image.shape} cannot be written as {ending}")
    return data.tobytes()


def _serve(memory: int) -> None:
    """Write pictures until standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the line, which still has pictures
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICE)
    import cv2

    cv2.setNumThreads(1)
    pixels = np.zeros(0, np.uint8)
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        dtype, shape = np.dtype(asked["dtype"]), tuple(asked["shape"])
        size = int(np.prod(shape)) * dtype.itemsize
        if pixels.size < size:  # without memory it ends here, and the line writes the picture
            pixels = np.frombuffer(mmap.mmap(memory, size, prot=mmap.PROT_READ), np.uint8)
        image = pixels[:size].view(dtype).reshape(shape)
        told: dict[str, Any] = {"number": asked["number"]}
        try:
            told["sha256"] = write_picture_file(
                image, Path(asked["path"]), asked["ending"], asked["quality"]
            )
        except OSError as error:
            if error.errno != errno.ENOMEM:
                told |= {"errno": error.errno, "error": str(error.strerror)}
        except Exception as error:  # the line tries it itself, and says what is wrong
            told["error"] = repr(error)
        os.write(1, json.dumps(told).encode() + b"\n")


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
