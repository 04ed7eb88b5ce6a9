"""Signing in without looking at a page: quick, and the same session for all tests of a process."""

from __future__ import annotations

from typing import Any

from web_process import PASSWORD

_cookies: dict[tuple[str, str], list[Any]] = {}


def enter(visitor: Any, role: str) -> None:
    """Give the visitor's browser a session of the person of a role."""
    key = (visitor.address, role)
    if key not in _cookies:
        answer = visitor.context.request.post(
            f"{visitor.address}/sign-in", form={"name": role, "password": PASSWORD}, max_redirects=0
        )
        assert answer.status == 303, answer.text()
        named = [c for c in visitor.context.cookies() if c["name"].startswith("inspection_session")]
        _cookies[key] = named
    visitor.context.add_cookies(_cookies[key])
