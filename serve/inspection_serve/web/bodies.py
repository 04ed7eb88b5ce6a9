"""Bodies of requests: at most 1 MiB, so that nobody fills the memory of the line's PC.

A body is read whole before a route sees it. Longer ones are answered 413, whether or not the length was told.
"""

from __future__ import annotations

import json

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LIMIT = 1 << 20
"""Bytes of a body, at most."""
_ANSWER = {"type": "about:blank", "status": 413, "code": "too_large", "detail": f"{LIMIT} bytes"}


class Bodies:
    """Refuses bodies that are too long."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole body."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        told = {name.lower(): value for name, value in scope["headers"]}
        length = told.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > LIMIT:
            await _refuse(send)
            return
        if length.strip(b"0") == b"" and b"transfer-encoding" not in told:
            await self.app(scope, receive, send)  # no body
            return
        parts: list[bytes] = []
        size, is_more = 0, True
        while is_more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            is_more = message.get("more_body", False)
            if size > LIMIT:
                await _refuse(send)
                return
        whole: list[Message] = [
            {"type": "http.request", "body": b"".join(parts), "more_body": False}
        ]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, replay, send)


async def _refuse(send: Send) -> None:
    body = json.dumps(_ANSWER).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
