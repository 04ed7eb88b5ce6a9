"""Heat maps of releases that learned from good parts: computed again from the stored picture.

    stored picture ─▶ tiles ─▶ network ─▶ anomaly_map of each ─▶ one map of the part ─▶ PNG with alpha

One thread of low priority does it, one picture after the other, so that neither the line nor the pages wait.
The float32 model computes, also where the line ran a faster form of it: the map explains, it does
not judge.
"""

from __future__ import annotations

import contextlib
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspection.detector import read_views
from inspection.errors import InferenceError, ReleaseError
from inspection.letterbox import View, fill, plan_views
from inspection.release import find_release
from inspection.runtimes.onnxruntime import OnnxRuntime, OnnxRuntimeConfig
from inspection.tiles import tiles_together
from inspection.types import Image, Release
from inspection_serve.web.pictures.files import PictureError

LONGEST = 1024
"""Longer side of a heat map, pixels; never more than the picture's."""
WAITING = 8
"""Heat maps that may wait to be computed."""
NICE = 15
LOAD_SECONDS, INFER_SECONDS = 60.0, 60.0
_FAINT = 0.5
"""Below this share of the limit T1 a place is not coloured."""


class HeatMaps:
    """Computes heat maps in one thread. Safe in several threads."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "heat", initializer=_low_priority)
        self._waiting = threading.Semaphore(WAITING)
        self._loaded: tuple[Release, OnnxRuntime] | None = None

    def close(self) -> None:
        """Compute nothing more; waits only for what is being computed."""
        self._pool.shutdown(cancel_futures=True)

    def ask(
        self, releases: Path, part: str, number: int, model: str, image: Image
    ) -> Future[bytes]:
        """Return the future of a PNG.

        Args:
            releases: folder of released models.
            part: name of the release's part.
            number: of the release.
            model: sha256 of its model file as the row says.
            image: uint8 [H, W, 3] RGB.

        Raises:
            PictureError: too many are waiting. The future may raise it as well.
        """
        if not self._waiting.acquire(blocking=False):
            raise PictureError(503, "heat_busy")
        try:
            future = self._pool.submit(self._compute, releases, part, number, model, image)
        except RuntimeError as error:  # closed
            self._waiting.release()
            raise PictureError(503, "heat_busy") from error
        future.add_done_callback(lambda _: self._waiting.release())
        return future

    def _compute(self, releases: Path, part: str, number: int, model: str, image: Image) -> bytes:
        try:
            release, runtime = self._runtime(releases, part, number, model)
            return draw(release, anomaly_map(release, runtime, image))
        except ReleaseError as error:
            raise PictureError(404, "no_heat") from error
        except InferenceError as error:
            raise PictureError(503, "heat_failed") from error

    def _runtime(
        self, releases: Path, part: str, number: int, model: str
    ) -> tuple[Release, OnnxRuntime]:
        loaded = self._loaded
        if (
            loaded is None
            or loaded[0].name != f"{part}/{number}"
            or loaded[0].model_sha256 != model
        ):
            release = find_release(releases, part, number)
            if release.task != "anomaly" or release.model_sha256 != model:
                raise PictureError(404, "no_heat")
            self._loaded = None
            runtime = OnnxRuntime(
                OnnxRuntimeConfig.model_validate({"threads": 1, "providers": "cpu"})
            )
            runtime.load(release, LOAD_SECONDS)
            loaded = self._loaded = (release, runtime)
        return loaded


def _low_priority() -> None:
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def anomaly_map(release: Release, runtime: OnnxRuntime, image: Image) -> NDArray[np.float32]:
    """Return the map of a whole picture, float32 [h, w] 0..1; `LONGEST` on its longer side at most.

    Where tiles overlap the higher value counts, as for the part's score.

    Raises:
        InferenceError: the runtime failed, or gave what cannot be trusted.
    """
    height, width = image.shape[:2]
    share = min(1.0, LONGEST / max(height, width))
    found = np.zeros((max(round(height * share), 1), max(round(width * share), 1)), np.float32)
    views = plan_views((height, width), release.input_size, release.tiling)
    together = tiles_together(release)
    for start in range(0, len(views), together):
        some = views[start : start + together]
        outputs = runtime.infer(fill(image, some, release.input_size), INFER_SECONDS)
        read_views(release, outputs, some)  # finite, as promised; else ModelOutputError
        for view, own in zip(some, outputs["anomaly_map"], strict=True):
            _lay(found, own, view, release.input_size, share)
    return found


def _lay(
    found: NDArray[np.float32],
    own: NDArray[np.float32],
    view: View,
    input_size: tuple[int, int],
    share: float,
) -> None:
    """Put the map of one view where it belongs; the letterbox's border is left out."""
    import cv2

    rows, columns = own.shape[0] / input_size[0], own.shape[1] / input_size[1]
    left, top = view.placed.pad
    height, width = view.placed.resized
    a, b = round(top * rows), round((top + height) * rows)
    c, d = round(left * columns), round((left + width) * columns)
    inner = own[a : max(b, a + 1), c : max(d, c + 1)]
    x1, y1, x2, y2 = (round(value * share) for value in view.tile)
    place = found[y1:y2, x1:x2]
    if place.size and inner.size:
        large = cv2.resize(
            np.ascontiguousarray(inner), place.shape[1::-1], interpolation=cv2.INTER_LINEAR
        )
        np.maximum(place, large.astype(np.float32, copy=False), out=place)


def draw(release: Release, found: NDArray[np.float32]) -> bytes:
    """Return a PNG with alpha: clear below half of T1, from dark to bright up to T2 and above."""
    import cv2

    limits = release.limits[release.classes[0]]
    low = _FAINT * limits.t1
    high = max(limits.t2, low + 1e-3)
    strength = np.clip((found - low) / (high - low), 0, 1)
    grey = np.rint(strength * 255).astype(np.uint8)
    colours = cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO)
    alpha = np.rint(np.minimum(strength * 1.5, 1) * 255).astype(np.uint8)
    ok, made = cv2.imencode(".png", np.dstack([colours, alpha]), [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not ok:
        raise PictureError(503, "heat_failed")
    return made.tobytes()
