"""Names of the cookies of the pages. Stdlib only: others tell programs of them.

A browser sends the cookies of a host to every port of it. Two stations on one PC would sign each other out,
so the port that the browser knows stands in the name: `inspection_session_8080`.
"""

from __future__ import annotations

SESSION_COOKIE = "inspection_session"
TERMINAL_COOKIE = "inspection_terminal"
LANGUAGE_COOKIE = "inspection_language"
"""The same at each port: it is the reader's."""


def cookie_at(name: str, host: str) -> str:
    """Return a cookie's name for the pages at a host as a browser names it, with its port if it has one."""
    port = host.rpartition(":")[2]
    return f"{name}_{port}" if port.isascii() and port.isdigit() else name
