"""Ports for servers that are started by tests."""

from __future__ import annotations

import contextlib
import os
import random
import socket

_FIRST, _EACH = 20_000, 3_000
"""The first port, and how many a worker of pytest has."""
_given: set[int] = set()


def free_port() -> int:
    """Return a TCP port that was free a moment ago, below those that the kernel gives to clients.

    One of theirs may be taken before the test listens. Each worker of pytest has ports of its own, none
    of them given twice while there are others.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = _FIRST + worker % 4 * _EACH
    if len(_given) > _EACH // 2:
        _given.clear()
    while True:
        port = first + random.SystemRandom().randrange(_EACH)
        if port in _given:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port
