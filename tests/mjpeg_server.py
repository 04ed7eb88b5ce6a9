"""A network camera on loopback: MJPEG over HTTP, red pictures that carry their number.

    with MjpegServer(fps=30) as server:
        cv2.VideoCapture(server.url)

Each picture is pure red; along its lower edge the number of the picture is written in 16 cells,
white for 1 and black for 0. `made_at(number)` is when the server made it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

WIDTH, HEIGHT, CELL = 320, 240, 20


def draw_number(number: int) -> np.ndarray:
    """Return uint8 [H, W, 3] BGR."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 2] = 255
    for bit in range(16):
        value = 255 if number >> bit & 1 else 0
        image[-CELL:, bit * CELL : (bit + 1) * CELL] = value
    return image


def read_number(image: np.ndarray) -> int:
    """Read the number back from an image of either colour order."""
    cells = image[HEIGHT - CELL // 2, CELL // 2 :: CELL, 1]
    return sum(1 << bit for bit, value in enumerate(cells[:16]) if value > 127)


class MjpegServer:
    """Serves until `stop`; `start` again takes the same port. See `pause` and `stall`."""

    def __init__(self, fps: float = 30.0) -> None:
        self.fps = fps
        self._port = 0
        self._made: dict[int, float] = {}
        self._number = 0
        self._running = threading.Event()
        self._stopping = threading.Event()
        self._stalled = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._clients: list[socket.socket] = []
        self._running.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/camera.mjpg"

    def made_at(self, number: int) -> float:
        return self._made[number]

    def start(self) -> MjpegServer:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._serve(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # clients hang up as they please

        self._stopping.clear()
        self._running.set()
        self._server = Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Close the port and every connection, as a killed camera does."""
        self._stopping.set()
        self._running.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        self._clients.clear()

    def pause(self) -> None:
        """Keep connections open and send nothing."""
        self._running.clear()

    def resume(self) -> None:
        self._running.set()

    def stall(self) -> None:
        """Go on making pictures but hold them back, as a full buffer on the way does."""
        self._stalled.set()

    def unstall(self) -> None:
        """Send all that was held back at once."""
        self._stalled.clear()

    def __enter__(self) -> MjpegServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        self._clients.append(handler.connection)
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=part")
        handler.end_headers()
        held = b""
        while not self._stopping.is_set():
            self._running.wait()
            self._number += 1
            self._made[self._number] = time.monotonic()
            _, data = cv2.imencode(".jpg", draw_number(self._number))
            head = f"--part\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            held += head.encode() + data.tobytes() + b"\r\n"
            if not self._stalled.is_set():
                handler.wfile.write(held)
                held = b""
            self._stopping.wait(1 / self.fps)
