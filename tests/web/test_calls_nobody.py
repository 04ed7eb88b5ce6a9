"""No request leaves the host: the pages' process is watched while every page and answer is asked for.

What browsers ask for is watched in every other test of this folder (`Visitor`).
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import httpx
import pytest
from web_inside import Inside, fill
from web_process import PASSWORD, WebProcess, add_people
from web_shift import write_shift

from inspection_serve.web.authorisation import rules

TALKS = re.compile(r"(?:connect|sendto|sendmsg)\(.*?sa_family=AF_INET6?.*?\"([0-9a-fA-F.:]+)\"")
LOCAL = ("127.", "::1")


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_pages_call_nobody(tmp_path: Path) -> None:
    config = write_shift(tmp_path, 6)
    add_people(config)
    with Inside(config) as inside:
        paths = sorted({fill(r.path, "3") for r in rules(inside.app) if r.method == "GET"})
    trace = tmp_path / "trace.txt"
    watch = [
        "strace",
        "-D",  # the pages are our child, and strace theirs
        "-f",
        "-qq",
        "-s",
        "200",
        "-e",
        "trace=connect,sendto,sendmsg",
        "-o",
        str(trace),
    ]
    with (
        WebProcess(
            config.url, "--work", tmp_path / "web", log=tmp_path / "web.log", prefix=watch
        ) as web,
        httpx.Client(base_url=web.address, timeout=30, trust_env=False) as client,
    ):
        form = {"name": "administrator", "password": PASSWORD}
        assert client.post("/sign-in", data=form).status_code == 303
        answers = 0
        for path in paths:
            with client.stream("GET", path) as answer:
                answers += answer.status_code == 200
        assert answers > 20, "most pages were shown"
    talked = set(TALKS.findall(trace.read_text()))
    assert not {address for address in talked if not address.startswith(LOCAL)}
