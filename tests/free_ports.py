"""Ports for servers that are started by tests."""

from __future__ import annotations

import contextlib
import os
import random
import socket

_FIRST, _EACH = 20_000, 3_000
"""The first port, and how many a worker of pytest has."""


def free_port() -> int:
    """Return a TCP port that was free a moment ago, below those that the kernel gives to clients.

    One of theirs may be taken before the test listens. Each worker of pytest has ports of its own.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = _FIRST + worker % 4 * _EACH
    while True:
        port = first + random.SystemRandom().randrange(_EACH)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
