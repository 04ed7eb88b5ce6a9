"""The infer route as plain ASGI: no framework between the socket and the queue.

body ─▶ parse ─▶ images (body or shared memory, copied) ─▶ Batcher ─▶ encode ─▶ answer
"""

from __future__ import annotations

import asyncio
import logging
import re

from starlette.types import ASGIApp, Receive, Scope, Send

from inspection_serve.inference.batcher import Outputs
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

_ROUTE = re.compile(r"/v2/models/([A-Za-z0-9._-]{1,64})(?:/versions/([^/]{1,20}))?/infer")
_SLOW_JSON = 1 << 16
"""JSON tensors larger than this are parsed on another thread, so that others need not wait."""
_log = logging.getLogger(__name__)


class _GoneError(Exception):
    """The client hung up before its request was complete."""


class InferRoute:
    """Answers infer requests; passes everything else on."""

    def __init__(
        self, app: ASGIApp, models: Models, memory: SharedMemory, metrics: Metrics
    ) -> None:
        self._app = app
        self._models = models
        self._memory = memory
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        match = None
        if scope["type"] == "http" and scope["method"] == "POST":
            match = _ROUTE.fullmatch(scope["path"])
        if match is None:
            await self._app(scope, receive, send)
            return
        model, version, code = match[1], match[2], "ok"
        served: Served | None = None
        status, length = 200, None
        try:
            body = await _read_body(scope, receive)
            served = self._models.find(model, version)
            answer, length = await self._answer(served, body, _headers(scope))
        except _GoneError:
            return
        except RequestError as error:
            status, code, answer = error.status, error.code, error.body()
        except Exception as error:  # the request's boundary
            _log.exception("infer %s failed", model)
            failure = RequestError(f"internal error: {error}", 500, "failed")
            status, code, answer = 500, failure.code, failure.body()
        name = (served.release.part, str(served.release.number)) if served else ("", "")
        self._metrics.requests.labels(*name, code).inc()
        await _send(send, status, answer, length)

    async def _answer(
        self, served: Served, body: bytes, headers: dict[str, str]
    ) -> tuple[bytes, int | None]:
        if HEADER_LENGTH not in headers and len(body) > _SLOW_JSON:
            request = await asyncio.to_thread(parse_infer, body, headers)
        else:
            request = parse_infer(body, headers)
        images = request.images
        if request.memory is not None:
            images = self._memory.read(request.memory, request.shape)
        if images is None:
            raise RequestError("`images` carries no data")
        future = served.batcher.submit(images, request.timeout)
        answered = await asyncio.wrap_future(future)
        if request.memory is not None:
            self._memory.give_back(images)  # not after a failure: a runtime may still read it
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
        return encode_infer(request, outputs, head, written)


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


async def _send(send: Send, status: int, body: bytes, length: int | None) -> None:
    kind = b"application/json" if length is None else b"application/octet-stream"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if length is not None:
        headers.append((HEADER_LENGTH.encode(), str(length).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
