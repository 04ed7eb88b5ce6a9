"""An inference service that misbehaves on demand, for tests of everything that depends on one.

with BadService("ok", release) as service:
    runtime = ServiceConfig(url=service.url).open()
    runtime.load(release, 5)
    service.mode = "hang"                   # from the next infer on

A right answer is one box: class 0, score 0.5, x1 = y1 = 0, x2 = y2 = the mean of the image. So each
answer tells which image it was made from.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, get_args

import numpy as np

from inspection.types import Release

Mode = Literal[
    "ok",
    "hang",  # never answers
    "late",  # answers rightly, `delay` seconds late
    "drip",  # sends one byte of a right answer every 50 ms
    "garbage",  # answers bytes that are not HTTP
    "not_json",  # HTTP, but the body is noise
    "short_body",  # announces more bytes than it sends, then hangs up
    "short_tensor",  # the tensor has fewer bytes than its shape
    "odd_length",  # a length that int() does not take, though it is a digit
    "extra_bytes",  # more bytes than announced tensors
    "wrong_id",  # the id of another request
    "wrong_model",  # another model's name
    "wrong_version",  # another version
    "wrong_hash",  # another model file
    "wrong_shape",  # detections with five columns
    "no_output",  # leaves the output out
    "nan",  # a score of NaN
    "error",  # status 500
    "hang_up",  # closes the connection instead of answering
]
_ROUTE = re.compile(r"/v2/models/([^/]+)/versions/([^/]+)(?:/(ready|config|infer))?")
_TENSOR_LENGTH = "Inference-Header-Content-Length"


class BadService:
    """A service on a free port of this host.

    Args:
        mode: how it answers `infer`; may be changed at any time.
        release: whose hash it tells; None: it tells none, like a foreign server.
        delay: seconds for mode `late`.

    `config_status` is what it answers when asked for the model's configuration, and `local_socket` the name
    that it gives there for one; may be changed.
    """

    def __init__(
        self, mode: Mode = "ok", release: Release | None = None, delay: float = 0.5
    ) -> None:
        if mode not in get_args(Mode):
            raise ValueError(f"mode {mode!r} is not one of {get_args(Mode)}")
        self.mode: Mode = mode
        self.delay = delay
        self.sha256 = release.model_sha256 if release else None
        self.infers = 0
        self.config_status = 200
        self.local_socket = ""
        self.released = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> BadService:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen."""
        service = self

        class Handler(_Handler):
            owner = service

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and hang up on everybody."""
        self.released.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.hang_up()
            self._thread.join(10)
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *args: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        for request in list(self._open):
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients of a bad service hang up; that is no news."""


class _Handler(BaseHTTPRequestHandler):
    owner: BadService
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        match = _ROUTE.fullmatch(self.path)
        if match is None or match[3] == "infer":
            self._json(404, {"error": "not here"})
        elif match[3] == "config" and self.owner.config_status != 200:
            self._json(self.owner.config_status, {"error": "no configuration today"})
        elif match[3] == "config":
            parameters = {}
            if self.owner.sha256:
                parameters = {"sha256": {"string_value": self.owner.sha256}}
            if self.owner.local_socket:
                parameters["local_socket"] = {"string_value": self.owner.local_socket}
            self._json(200, {"name": match[1], "parameters": parameters})
        else:
            self._json(200, {"name": match[1]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        match = _ROUTE.fullmatch(self.path)
        if match is None or match[3] != "infer":
            self._json(404, {"error": "not here"})
            return
        self.owner.infers += 1
        self._infer(self.owner.mode, match[1], match[2], body)

    def _infer(self, mode: str, model: str, version: str, body: bytes) -> None:
        if mode in {"hang", "hang_up"}:
            if mode == "hang":
                self.owner.released.wait(60)
            self.close_connection = True
            return
        if mode == "late":
            self.owner.released.wait(self.owner.delay)
        if mode == "garbage":
            self.wfile.write(b"\x00\xff\x16 this is not HTTP at all\r\n" * 3)
            self.close_connection = True
            return
        if mode == "error":
            self._json(500, {"error": "the accelerator is on fire"})
            return
        head, tensor = self._answer(mode, model, version, body)
        text = b"\x93 noise" if mode == "not_json" else json.dumps(head).encode()
        self._send(mode, text, tensor)

    def _answer(
        self, mode: str, model: str, version: str, body: bytes
    ) -> tuple[dict[str, Any], bytes]:
        length = int(self.headers.get(_TENSOR_LENGTH, len(body)))
        request = json.loads(body[:length])
        mean = float(np.frombuffer(body[length:], np.uint8).mean()) if body[length:] else 0.0
        batch = request["inputs"][0]["shape"][0]
        rows = np.zeros((batch, 8, 5 if mode == "wrong_shape" else 6), "<f4")
        rows[:, 0, 2:5] = mean, mean, np.nan if mode == "nan" else 0.5
        tensor = rows.tobytes()
        shape = list(rows.shape)
        size = len(tensor)
        if mode == "short_tensor":
            tensor = tensor[:-24]
            size -= 24
        if mode == "extra_bytes":
            tensor += b"\x00" * 24
        output = {"name": "detections", "datatype": "FP32", "shape": shape}
        output["parameters"] = {"binary_data_size": size}
        sha256 = "0" * 64 if mode == "wrong_hash" else self.owner.sha256
        head = {
            "id": "somebody-else" if mode == "wrong_id" else request.get("id"),
            "model_name": "another" if mode == "wrong_model" else model,
            "model_version": "999" if mode == "wrong_version" else version,
            "parameters": {"sha256": sha256} if sha256 else {},
            "outputs": [] if mode == "no_output" else [output],
        }
        return head, b"" if mode == "no_output" else tensor

    def _send(self, mode: str, text: bytes, tensor: bytes) -> None:
        body = text + tensor
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header(_TENSOR_LENGTH, "\xb2" if mode == "odd_length" else str(len(text)))
        self.send_header("Content-Length", str(len(body) + (100 if mode == "short_body" else 0)))
        self.end_headers()
        if mode == "drip":
            for byte in body:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                if self.owner.released.wait(0.05):
                    return
            return
        self.wfile.write(body)
        if mode == "short_body":
            self.close_connection = True

    def _json(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
