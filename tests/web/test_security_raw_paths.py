"""Paths as no browser and no client sends them: every byte as it is, over a socket, to the real process."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from web_inside import Inside, Session, fill, places
from web_process import WebProcess, add_people
from web_shift import write_shift

from inspection_serve.web.authorisation import rules
from inspection_serve.web.cookies import SESSION_COOKIE, cookie_at

TRAPS = (
    "../../../../../../etc/passwd",
    "..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "..%5c..%5cresults.db",
    "..%252f..%252fresults.db",
    "..%c0%af..%c0%afetc/passwd",
    "%2fetc%2fpasswd",
    "./../results.db",
    "..;/results.db",
    "results.db%00.jpg",
)
SECRETS = (b"root:x:0", b"SQLite format", b"CREATE TABLE")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    config = write_shift(tmp_path_factory.mktemp("raw"), 2)
    add_people(config)
    with Inside(config) as found:
        yield found


def raw(address: str, method: str, target: str, who: Session) -> bytes:
    """Send a request line as it is; return the whole answer, of a stream the beginning."""
    host, port = address.removeprefix("http://").split(":")
    body = b"" if method == "GET" else b"{}"
    cookie = f"{cookie_at(SESSION_COOKIE, f'{host}:{port}')}={who.token}"
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: {host}:{port}",
        "Connection: close",
        "Accept: application/json",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in {**who.headers, "cookie": cookie}.items()),
    ]
    with socket.create_connection((host, int(port)), timeout=10) as link:
        link.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        found = b""
        while len(found) < 1 << 16:
            more = link.recv(1 << 16)
            if not more:
                break
            found += more
    return found


def test_no_raw_path_leads_to_a_file(shop: Inside, tmp_path: Path) -> None:
    admin = shop.session("administrator")
    wide = [(rule.method, rule.path) for rule in rules(shop.app) if places(rule.path)]
    assert len(wide) > 20
    with WebProcess(shop.site.store.config.url, log=tmp_path / "web.log") as web:
        asked = [(method, fill(path, trap)) for method, path in wide for trap in TRAPS]
        asked += [("GET", f"/static/{trap}") for trap in TRAPS]
        asked += [("GET", f"/static/css/{trap}") for trap in TRAPS]
        asked += [
            ("GET", trap) for trap in ("../../etc/passwd", "//etc/passwd", "/..//../results.db")
        ]
        for method, target in asked:
            answer = raw(web.address, method, target, admin)
            status = int(answer.split(b" ", 2)[1])
            assert 300 <= status < 500, (method, target, answer[:200])
            assert not any(secret in answer for secret in SECRETS), (method, target)
        assert raw(web.address, "GET", "/api/v1/me", admin).startswith(b"HTTP/1.1 200")
