"""What becomes of one inference request, whichever way it came.

body ─▶ parse ─▶ images (body or shared memory, copied) ─▶ Worker ─▶ encode ─▶ answer

`InferRoute` is the way over TCP, as plain ASGI: no framework between the socket and the queue. The other is
the local socket (`local_door`).
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from starlette.types import ASGIApp, Receive, Scope, Send

from inspection_serve.inference.batcher import Outputs
from inspection_serve.inference.callers import is_local
from inspection_serve.inference.health import Health
from inspection_serve.inference.metrics import Metrics
from inspection_serve.inference.models import Models, Served
from inspection_serve.inference.protocol import (
    HEADER_LENGTH,
    MAX_BODY,
    InferRequest,
    MemorySlice,
    RequestError,
    encode_infer,
    parse_infer,
)
from inspection_serve.inference.shared_memory import SharedMemory

ROUTE = re.compile(r"/v2/models/([A-Za-z0-9._-]{1,64})(?:/versions/([^/]{1,20}))?/infer")
"""Paths of inference requests: the part, and its version or nothing."""
_SLOW_JSON = 1 << 16
"""JSON tensors larger than this are parsed on another thread, so that others need not wait."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete answer.

    Attributes:
        status: of HTTP.
        body: all of it.
        json_length: bytes of JSON before the binary tensors; None: JSON alone.
    """

    status: int
    body: bytes
    json_length: int | None = None

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that go with it."""
        is_json = self.json_length is None
        kind = b"application/json" if is_json else b"application/octet-stream"
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(self.body))]
        if self.json_length is not None:
            headers.append((HEADER_LENGTH.encode(), b"%d" % self.json_length))
        return headers


class Inferences:
    """Takes requests apart and puts answers together; any thread."""

    def __init__(
        self, models: Models, memory: SharedMemory, metrics: Metrics, health: Health
    ) -> None:
        self._models = models
        self._memory = memory
        self._metrics = metrics
        self._health = health

    def find(self, part: str, version: str | None) -> Served:
        """Return who answers: nobody any more after a fault. Raises RequestError."""
        self.check_health()
        return self._models.find(part, version)

    def check_health(self) -> None:
        """Raise RequestError after a fault: also what was computed beside it is not to be believed."""
        if self._health.fault:
            raise RequestError(f"{self._health.fault}; the service restarts", 500, "failed")

    def images(self, request: InferRequest) -> NDArray[np.uint8]:
        """Return the images of a request, from its body or its memory. Raises RequestError."""
        if request.memory is not None:
            return self._memory.read(request.memory, request.shape)
        if request.images is None:
            raise RequestError("`images` carries no data")
        return request.images

    def reply(
        self,
        served: Served,
        request: InferRequest,
        images: NDArray[np.uint8],
        answered: Outputs,
    ) -> Reply:
        """Return the answer with the outputs that are wanted. Raises RequestError."""
        if request.memory is not None:
            self._memory.give_back(images)  # not after a failure: a runtime may still read it
        self.check_health()
        outputs = _wanted(request, answered)
        written: dict[str, MemorySlice] = {}
        for wish in request.outputs:
            if wish.memory is not None:
                self._memory.write(wish.memory, outputs[wish.name])
                written[wish.name] = wish.memory
        release = served.release
        head = {
            "model_name": release.part,
            "model_version": str(release.number),
            "parameters": {"sha256": release.model_sha256},
        }
        return Reply(200, *encode_infer(request, outputs, head, written))

    def refuse(self, served: Served | None, part: str, error: Exception) -> Reply:
        """Return the answer to a request that failed, and count it."""
        if not isinstance(error, RequestError):
            _log.error("infer %s failed", part, exc_info=error)
            error = RequestError(f"internal error: {error}", 500, "failed")
        self.count(served, error.code)
        return Reply(error.status, error.body())

    def count(self, served: Served | None, code: str = "ok") -> None:
        """Count one answered request."""
        name = (served.release.part, str(served.release.number)) if served else ("", "")
        self._metrics.requests.labels(*name, code).inc()


class _GoneError(Exception):
    """The client hung up before its request was complete."""


class InferRoute:
    """Answers infer requests; passes everything else on."""

    def __init__(self, app: ASGIApp, inferences: Inferences) -> None:
        self._app = app
        self._inferences = inferences

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        match = None
        if scope["type"] == "http" and scope["method"] == "POST":
            match = ROUTE.fullmatch(scope["path"])
        if match is None:
            await self._app(scope, receive, send)
            return
        served: Served | None = None
        try:
            body = await _read_body(scope, receive)
            served = self._inferences.find(match[1], match[2])
            reply = await self._answer(served, body, scope)
        except _GoneError:
            return
        except Exception as error:  # the request's boundary
            reply = self._inferences.refuse(served, match[1], error)
        else:
            self._inferences.count(served)
        await send(
            {
                "type": "http.response.start",
                "status": reply.status,
                "headers": reply.headers(),
            }
        )
        await send({"type": "http.response.body", "body": reply.body})

    async def _answer(self, served: Served, body: bytes, scope: Scope) -> Reply:
        headers = _headers(scope)
        if HEADER_LENGTH not in headers and len(body) > _SLOW_JSON:
            request = await asyncio.to_thread(parse_infer, body, headers)
        else:
            request = parse_infer(body, headers)
        if request.names_memory and not is_local(scope):
            raise RequestError("shared memory is for clients on this host", 403, "forbidden")
        images = self._inferences.images(request)
        future = served.batcher.submit(images, request.timeout)
        answered = await asyncio.wrap_future(future)
        return self._inferences.reply(served, request, images, answered)


def _wanted(request: InferRequest, outputs: Outputs) -> Outputs:
    if not request.outputs:
        return outputs
    unknown = [wish.name for wish in request.outputs if wish.name not in outputs]
    if unknown:
        raise RequestError(f"there is no output {unknown[0]!r}, only {sorted(outputs)}")
    return {wish.name: outputs[wish.name] for wish in request.outputs}


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


async def _read_body(scope: Scope, receive: Receive) -> bytes:
    """Return the whole body. Raises RequestError when it is larger than MAX_BODY."""
    told = dict(scope["headers"]).get(b"content-length", b"0")
    if told.isdigit() and int(told) > MAX_BODY:
        raise RequestError(f"the body is larger than {MAX_BODY} bytes", 413, "too_large")
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_BODY:
            raise RequestError(f"the body is larger than {MAX_BODY} bytes", 413, "too_large")
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
