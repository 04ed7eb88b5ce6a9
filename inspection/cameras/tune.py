"""The live picture of a camera with its focus and exposure, for the person who turns the lens.

    camera ─▶ grab, measure ─▶ latest ─▶ page on this host (MJPEG, numbers)
                                    └──▶ terminal, once a second

The page is served on the loopback address alone and loads nothing from elsewhere; a request with
another host name is refused. Only the latest picture is kept, and nothing is written.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np

from inspection.cameras.measures import Measures, measure
from inspection.cameras.tune_page import LANGUAGES, SCRIPT, STYLE, default_language, page
from inspection.errors import CameraError, FrameError
from inspection.protocols import Camera
from inspection.types import Frame

log = logging.getLogger(__name__)

Region = tuple[int, int, int, int]
"""x, y, width, height in pixels."""
_TELL_EVERY = 1.0
_REOPEN = 0.5
_WAIT = 2.0  # seconds a browser waits for the next picture
_QUALITY = 85
_HOSTS = {"127.0.0.1", "localhost", "[::1]"}
_POLICY = (
    "default-src 'none'; img-src 'self'; script-src 'self'; style-src 'self'; connect-src 'self'"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """The latest picture.

    Attributes:
        number: counts pictures, from 1.
        jpeg: the picture with the region drawn into it.
        about: the numbers, as the page takes them.
    """

    number: int
    jpeg: bytes
    about: dict[str, Any]


class Tuning:
    """Grabs and measures until told to stop; many browsers may look."""

    def __init__(
        self, opened: Callable[[], Camera], take: Callable[[Camera], Frame], region: Region | None
    ) -> None:
        """Open nothing yet.

        Args:
            opened: opens the camera; called again after it went away.
            take: grabs one frame.
            region: where focus and exposure are measured; None: the middle half of the picture.
        """
        self._open, self._take, self._region = opened, take, region
        self._changed = threading.Condition()
        self._seen: Seen | None = None
        self._best = 0.0
        self._refused = 0
        self._trouble = ""

    def run(self, stop: threading.Event, tell: Callable[[str], None]) -> None:
        """Look until `stop` is set. The first opening raises CameraError; later ones are retried."""
        camera: Camera | None = self._open()
        due = 0.0
        try:
            while not stop.is_set():
                try:
                    camera = camera or self._open()
                    self._look(self._take(camera))
                except FrameError as error:
                    self._refused, self._trouble = self._refused + 1, str(error)
                except CameraError as error:
                    self._trouble = str(error)
                    if camera is not None:
                        camera.close()
                    camera = None
                    stop.wait(_REOPEN)
                if time.monotonic() >= due:
                    due = time.monotonic() + _TELL_EVERY
                    tell(self.line())
        finally:
            if camera is not None:
                camera.close()

    def line(self) -> str:
        """The numbers in one line for the terminal."""
        seen, trouble = self._seen, self._trouble
        if seen is None:
            return trouble or "no picture yet"
        about = seen.about
        text = (
            f"focus {about['focus']:9.1f} (best {about['best']:9.1f})  mean {about['mean']:5.1f}"
            f"  bright {about['bright']:7.2%}  dark {about['dark']:7.2%}  picture {seen.number}"
        )
        return f"{text}  {trouble}" if trouble else text

    def about(self) -> dict[str, Any]:
        """The numbers for the page."""
        seen = self._seen
        told = {} if seen is None else seen.about
        return {**told, "refused": self._refused, "trouble": self._trouble}

    def after(self, number: int, timeout: float) -> Seen | None:
        """Return a later picture than this one; None when none came in time."""
        end = time.monotonic() + timeout
        with self._changed:
            while self._seen is None or self._seen.number <= number:
                left = end - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)
            return self._seen

    def _look(self, frame: Frame) -> None:
        height, width = frame.image.shape[:2]
        region = self._region or (width // 4, height // 4, width // 2, height // 2)
        try:
            found = measure(frame.image, region)
        except ValueError:  # it lies outside this picture
            region, found = (0, 0, width, height), measure(frame.image)
        self._best = max(self._best, found.focus)
        number = 1 if self._seen is None else self._seen.number + 1
        about = _about(found, self._best, frame, region)
        seen = Seen(number, _drawn(frame, region), about)
        with self._changed:
            self._seen, self._trouble = seen, ""
            self._changed.notify_all()


def _about(found: Measures, best: float, frame: Frame, region: Region) -> dict[str, Any]:
    height, width = frame.image.shape[:2]
    return {
        **asdict(found),
        "best": best,
        "frame": frame.frame_id,
        "width": width,
        "height": height,
        "region": region,
    }


def _drawn(frame: Frame, region: Region) -> bytes:
    image = np.ascontiguousarray(frame.image[:, :, ::-1])
    x, y, width, height = region
    thick = max(1, image.shape[1] // 400)
    cv2.rectangle(image, (x, y), (x + width - 1, y + height - 1), (0, 220, 0), thick)
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes() if done else b""


def serve(tuning: Tuning, port: int, name: str) -> ThreadingHTTPServer:
    """Start the page on 127.0.0.1 and return its server; shut it down at the end. 0: a free port."""
    pages = {one: ("text/html; charset=utf-8", page(one, name).encode()) for one in LANGUAGES}
    files = {
        "/": pages[default_language()],
        **{f"/?language={one}": each for one, each in pages.items()},
        "/tune.js": ("text/javascript; charset=utf-8", SCRIPT.encode()),
        "/tune.css": ("text/css; charset=utf-8", STYLE.encode()),
    }

    class Handler(BaseHTTPRequestHandler):
        """Answers one browser."""

        def do_GET(self) -> None:
            """Give a file, the numbers, or the stream of pictures."""
            host = self.headers.get("Host", "").rsplit(":", 1)[0]
            if host not in _HOSTS:
                self.send_error(HTTPStatus.FORBIDDEN)
            elif self.path in files:
                self._give(*files[self.path])
            elif self.path == "/favicon.ico":
                self.send_response(HTTPStatus.NO_CONTENT)
                self.end_headers()
            elif self.path == "/numbers":
                self._give("application/json", json.dumps(tuning.about()).encode())
            elif self.path.partition("?")[0] == "/stream":
                self._stream()
            else:
                self.send_error(HTTPStatus.NOT_FOUND)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the terminal for the numbers."""
            log.debug(format, *args)

        def _give(self, kind: str, content: bytes) -> None:
            self._head(kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _head(self, kind: str) -> None:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", kind)
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Security-Policy", _POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")

        def _stream(self) -> None:
            self._head("multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            number = 0
            try:
                while (seen := tuning.after(number, _WAIT)) is not None:
                    number = seen.number
                    head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(seen.jpeg)}"
                    self.wfile.write(head.encode() + b"\r\n\r\n" + seen.jpeg + b"\r\n")
            except OSError:
                return  # the browser left

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="tune page", daemon=True).start()
    return server
