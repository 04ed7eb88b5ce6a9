"""Runs a real `inspection serve` for tests.

with ServiceProcess(releases) as service:
    ServiceConfig(url=service.url).open()
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

PATIENCE = 60.0
"""Seconds that a loaded machine gets for anything."""


class ServiceProcess:
    """One process, started on a free port; `restart` keeps the port."""

    patience = PATIENCE

    def __init__(self, releases: Path, *options: str) -> None:
        self._releases = releases
        self._options = options
        self.port = 0
        self.lines: list[str] = []

    def __enter__(self) -> ServiceProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until the first load is done."""
        command = [sys.executable, "-m", "inspection", "serve", "--releases", str(self._releases)]
        command += ["--port", str(self.port), "--threads", "1", *self._options]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.lines = []
        serving = threading.Event()
        self._reader = threading.Thread(
            target=self._read, args=(self.process, serving), daemon=True
        )
        self._reader.start()
        if not serving.wait(self.patience) or not self.port:
            self.kill()
            raise RuntimeError("the service did not start:\n" + "\n".join(self.lines))

    def stop(self) -> int:
        """Ask it to stop; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self.process.stdout.close()

    def call(
        self, method: str, path: str, body: bytes | Any = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Send one request; return status and the body, parsed when it is JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.patience)
        try:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, data, headers or {})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.headers.get_content_type() == "application/json" and text:
            return answer.status, json.loads(text)
        return answer.status, text

    def _read(self, process: subprocess.Popen[str], serving: threading.Event) -> None:
        for line in process.stdout:
            self.lines.append(line.rstrip())
            if line.startswith("listening on "):
                self.port = int(line.rsplit(":", 1)[1])
            if line.startswith("serving "):
                serving.set()
        serving.set()


def wait_until(condition: Any, patience: float = PATIENCE) -> None:
    """Poll until `condition()` is true; fail loudly when it never is."""
    end = time.monotonic() + patience
    pause = threading.Event()
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{condition} never became true")
        pause.wait(0.02)
