"""The pages without a browser: the real application and a real store, asked in this process."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from inspection.store.config import StoreConfig
from inspection.store.web import people
from inspection.store.web.people import Role
from inspection_serve.web.app import build_app
from inspection_serve.web.cookies import SESSION_COOKIE
from inspection_serve.web.guard import SESSION
from inspection_serve.web.site import open_site

HOST = "station"
_PLACE = re.compile(r"\{(\w+)(?::\w+)?\}")


@dataclass(frozen=True, slots=True)
class Session:
    """A session that was started behind the pages' back: cookie value and CSRF token."""

    token: str
    csrf: str

    @property
    def headers(self) -> dict[str, str]:
        """Headers of a request that is this person's own."""
        return {"cookie": f"{SESSION_COOKIE}={self.token}", "x-csrf-token": self.csrf}


class Inside:
    """An application over a store; streams of events end at once, so that every answer ends."""

    def __init__(self, config: StoreConfig, folder: Path | None = None) -> None:
        folder = folder or Path(config.url).parent
        self.site = open_site(config.url, images=folder / "images", work=folder / "web")
        self.app = build_app(self.site, names={HOST})
        self.app.state.is_ending = lambda: True
        self.address = "10.0.0.7"
        self._loop = asyncio.new_event_loop()  # in a thread: a browser's loop may run in this one
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def session(self, role: str, *, terminal: str = "") -> Session:
        """Start a session for the person of a role."""
        with self.site.store.write("a session for a test") as connection:
            row = people.find(connection, Role(role).value)
            assert row is not None
            return Session(*people.start_session(connection, row["id"], terminal, SESSION))

    def ask(
        self,
        method: str,
        path: str,
        who: Session | None = None,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> Any:
        """Send one request; only the cookies of `who` and `headers` are sent."""
        own = {} if who is None else who.headers
        told = {**own, **(headers or {})}
        return self._wait(self.sending(method, path, told, **more))

    def run(self, *requests: Any) -> list[Any]:
        """Await many `sending`s at once."""

        async def together() -> list[Any]:
            return await asyncio.gather(*requests)

        return self._wait(together())

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def sending(
        self, method: str, path: str, headers: dict[str, str] | None = None, **more: Any
    ) -> Any:
        """Send one request in the loop that runs."""
        transport = httpx.ASGITransport(
            self.app, raise_app_exceptions=False, client=(self.address, 4711)
        )
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
            return await client.request(method, path, headers=headers, **more)

    def sign_in(self, name: str, password: str, **headers: str) -> Any:
        """Send the sign-in form."""
        form = {"name": name, "password": password}
        return self.ask("POST", "/sign-in", data=form, headers=headers)

    def __enter__(self) -> Inside:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self.site.close()


def fill(path: str, value: str) -> str:
    """Return a route's path with every parameter set to a value."""
    return _PLACE.sub(lambda _: value, path)


def places(path: str) -> list[str]:
    """Return the names of a route's path parameters."""
    return _PLACE.findall(path)


def token_in(answer: Any) -> str:
    """Return the session token that an answer sets; empty without one."""
    found = re.search(rf"{SESSION_COOKIE}=([^;]*)", answer.headers.get("set-cookie", ""))
    return found[1].strip('"') if found else ""
