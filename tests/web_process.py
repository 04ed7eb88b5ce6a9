"""The pages as a process of their own, and people to sign in with."""

from __future__ import annotations

import queue
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType

from inspection.store.config import StoreConfig
from inspection.store.web import people
from inspection.store.web.access import WebStore
from inspection.store.web.people import Role
from inspection_serve.web.people.passwords import hash_secret

PASSWORD = "한글 and 7 letters"


def add_people(config: StoreConfig) -> None:
    """Add one person of each role; the login name is the role, the password is `PASSWORD`."""
    store = WebStore(config)
    hashed = hash_secret(PASSWORD)
    with store.write("people for a test") as connection:
        for role in Role:
            people.add(
                connection, role.value, role.value.title(), role, "en", hashed, must_change=False
            )
    store.close()


class WebProcess:
    """`inspection web` on a free port. `address` has no slash at its end.

    `prefix` is a command that runs it, for example strace.
    """

    def __init__(self, *arguments: str | Path, log: Path, prefix: list[str] | None = None) -> None:
        self.log = log
        self._prefix = prefix or []
        self._arguments = [str(value) for value in arguments]
        self.address = ""
        self._port = "0"
        self.start()

    def start(self) -> None:
        """Start, again on the same port, and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self._prefix,
                    sys.executable, "-m", "inspection", "web", *self._arguments, "--port", self._port,
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )  # fmt: skip
        self._lines = lines = queue.Queue[str]()
        threading.Thread(target=self._follow, args=(lines,), daemon=True).start()
        line = lines.get(timeout=60)
        found = re.search(r"pages at (http://[^/]+:(\d+))/", line)
        assert found, self.log.read_text()
        self.address, self._port = found[1], found[2]

    def read_setup_code(self) -> str:
        """Return the code that the first start prints; once."""
        code = re.search(r"code=(\S+)", self._lines.get(timeout=20))
        assert code, "no first start"
        return code[1]

    def _follow(self, lines: queue.Queue[str]) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            lines.put(line)
        lines.put("")

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(10)
        if self.process.stdout:
            self.process.stdout.close()

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        self.process.terminate()
        return self.process.wait(15)

    def __enter__(self) -> WebProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.stop()
        if self.process.stdout:
            self.process.stdout.close()
