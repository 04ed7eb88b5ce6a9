"""Who may ask: programs, by a name of this host; never a page in a browser.

    request ─▶ not from a page? ─▶ by a name of this host? ─▶ the application

A browser sends requests for whatever page it shows, also to a service that listens on 127.0.0.1 alone. It
says so in the header `Origin`. A page whose maker let its own name point to this host could read answers too:
it betrays itself by that name.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from inspection_serve.inference.protocol import RequestError

READS = frozenset({"GET", "HEAD"})
"""Methods that change nothing and infer nothing."""
_LOCAL = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})
_LOOPBACK = r"localhost|127(?:\.[0-9]{1,3}){3}|\[::1\]"


def is_local(scope: Scope) -> bool:
    """Tell whether a request came from this host."""
    client = scope.get("client")
    return client is not None and client[0] in _LOCAL


class Programs:
    """Lets requests of programs through to the application.

    Args:
        app: the application.
        names: of this host, beside those of loopback, that a request may call it by; empty: any.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app = app
        known = "|".join([_LOOPBACK, *(re.escape(name.lower()) for name in names)])
        self._known = re.compile(rf"(?:{known})\.?(?::[0-9]*)?".encode()) if names else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
            return
        answer = Response(refusal.body(), refusal.status, media_type="application/json")
        await answer(scope, receive, send)

    def _refusal(self, scope: Scope) -> RequestError | None:
        for name, value in scope["headers"]:
            if name == b"origin" and scope["method"] not in READS:
                text = "requests of web pages (with the header Origin) are not taken; ask from a program"
                return RequestError(text, 403, "forbidden")
            if name == b"host" and self._known and not self._known.fullmatch(value.lower()):
                text = (
                    f"{value.decode('latin-1')[:80]!r} is no name of this host; ask 127.0.0.1, or start the "
                    "service with --host and the address that others know it by"
                )
                return RequestError(text, 403, "forbidden")
        return None
