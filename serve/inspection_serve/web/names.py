"""The names by which browsers may call this PC. Another one is refused (DNS rebinding), with what to do."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REFUSED = """\
Invalid host header.

이 PC의 화면은 이 이름이나 주소로 열 수 없습니다.
스테이션 파일의 `web.names`에 브라우저에서 쓰는 이름 또는 IP 주소를 추가하고,
화면 프로그램을 다시 시작하십시오.
예: names: [192.168.0.10]

The pages of this PC are not opened by this name or address. Add the name or IP address that browsers use to
`web.names` in the station file, and restart the pages. For example: names: [192.168.0.10]
"""
_MOST = 16
"""So many refused names are logged: a stranger must not fill the log."""
_log = logging.getLogger(__name__)


class Names:
    """Lets requests through that call this PC by a known name."""

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self._app = app
        self._names = sorted(set(names))
        self._told: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it in words."""
        known = False

        async def let_in(_scope: Scope, _receive: Receive, _send: Send) -> None:
            nonlocal known
            known = True

        async def unsaid(_message: Message) -> None:
            pass

        check = TrustedHostMiddleware(let_in, allowed_hosts=self._names, www_redirect=False)
        await check(scope, receive, unsaid)
        if known:
            await self._app(scope, receive, send)
            return
        self._tell(Headers(scope=scope).get("host", "")[:100])
        await PlainTextResponse(REFUSED, 400)(scope, receive, send)

    def _tell(self, host: str) -> None:
        if host not in self._told and len(self._told) < _MOST:
            self._told.add(host)
            _log.warning(
                "a browser calls this PC %r; where that is right, add the name to web.names", host
            )
