"""A whole station on loopback for tests: line, PLC and, where wanted, the inference service.

rig = Rig(tmp_path)                     files: station.yaml, recipes/1.yaml, releases/plate/1
plc = rig.plc(parts=5)                  simulated PLC in this process, its log in rig.plc_log
with rig.line():                        `inspection line` as a process
    assert plc.wait(30)
rig.verify()                            `inspection verify` must be clean
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from free_ports import free_port
from release_builder import write_release
from typer.testing import CliRunner

from inspection.plc.simulated import SimulatedPlc
from inspection.plc.simulated_config import SimulatedPlcConfig
from inspection.store.verify_cli import app as verify_app

CLASSES = ("scratch", "dent", "missing_hole", "burr")


def until(condition: Callable[[], Any], timeout: float = 20.0, what: str = "condition") -> Any:
    """Wait until `condition()` is true and return it; `timeout` is for a quiet PC, a busy one gets three."""
    timeout *= 3
    end = time.monotonic() + timeout
    pause = threading.Event()
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        pause.wait(0.01)
    raise AssertionError(f"{what} did not come true within {timeout} s")


def _die_with_pytest() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Process:
    """A child process whose output is kept."""

    def __init__(self, arguments: list[str], output: Path, prefix: list[str] | None = None) -> None:
        self.output = output
        self._file = output.open("ab")
        self.popen = subprocess.Popen(
            [*(prefix or []), sys.executable, "-m", "inspection", *arguments],
            stdout=self._file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            preexec_fn=_die_with_pytest,  # noqa: PLW1509
        )

    @property
    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def kill(self) -> None:
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()
        self._file.close()

    def stop(self, timeout: float = 10.0) -> int:
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(
                    f"did not stop within {timeout} s:\n{self.text[-3000:]}"
                ) from None
        self._file.close()
        return self.popen.returncode


class Rig:
    """Files and processes of one station in one folder."""

    def __init__(
        self,
        folder: Path,
        *,
        runtime: dict[str, Any] | None = None,
        camera: dict[str, Any] | None = None,
        recipe: dict[str, Any] | None = None,
        store: dict[str, Any] | None = None,
        timing: dict[str, Any] | None = None,
        variant: str = "ok",
    ) -> None:
        self.folder = folder
        self.plc_port, self.service_port = free_port(), free_port()
        self.plc_log = folder / "plc.log"
        self.releases = folder / "releases"
        if not (self.releases / "plate").exists():
            write_release(self.releases, "plate", 1, CLASSES, (128, 160), variant)
        (folder / "recipes").mkdir(exist_ok=True)
        self.recipe(**(recipe or {}))
        runtime = runtime or {"type": "onnxruntime", "threads": 1}
        if runtime.get("type") == "service":
            runtime.setdefault("url", f"http://127.0.0.1:{self.service_port}")
        self.station: dict[str, Any] = {
            "station": "test",
            "plc": {"type": "modbus", "host": "127.0.0.1", "port": self.plc_port},
            "camera": {"type": "simulated", "size": [320, 256], "marks": True, **(camera or {})},
            "runtime": runtime,
            "recipe": 1,
            "store": {"url": "results.db", **(store or {})},
            "timing": {"poll": 0.003, **(timing or {})},
        }
        if "type" in (camera or {}) and camera["type"] != "simulated":
            self.station["camera"] = camera
        self.write()

    @property
    def database(self) -> Path:
        return self.folder / self.station["store"]["url"]

    def write(self) -> None:
        (self.folder / "station.yaml").write_text(yaml.safe_dump(self.station), encoding="utf-8")

    def recipe(self, number: int = 1, **changes: Any) -> None:
        content = {"number": number, "part": "plate", "release": 1, "deadline": 1.0, **changes}
        (self.folder / "recipes" / f"{number}.yaml").write_text(yaml.safe_dump(content))

    def plc(self, **changes: Any) -> SimulatedPlc:
        """Start the simulated PLC in this process."""
        fields = {"takt": 0.05, "ack_timeout": 2.0, "log": self.plc_log, "port": self.plc_port}
        plc = SimulatedPlc(SimulatedPlcConfig(**{**fields, **changes}))
        plc.start()
        return plc

    @contextlib.contextmanager
    def plc_running(self, **changes: Any) -> Iterator[SimulatedPlc]:
        plc = self.plc(**changes)
        try:
            yield plc
        finally:
            plc.stop()

    def start_line(self, prefix: list[str] | None = None) -> Process:
        return Process(
            ["line", str(self.folder / "station.yaml")], self.folder / "line.log", prefix
        )

    @contextlib.contextmanager
    def line(self, prefix: list[str] | None = None) -> Iterator[Process]:
        process = self.start_line(prefix)
        try:
            yield process
        except BaseException:
            sys.stderr.write(process.text[-4000:])
            raise
        finally:
            process.stop()

    def start_service(self) -> Process:
        arguments = ["serve", "--releases", str(self.releases), "--port", str(self.service_port)]
        return Process([*arguments, "--threads", "1"], self.folder / "serve.log")

    @contextlib.contextmanager
    def service(self) -> Iterator[Process]:
        process = self.start_service()
        try:
            yield process
        finally:
            process.stop()

    def rows(self, where: str = "1") -> list[dict[str, Any]]:
        """Rows of the parts table, oldest first; none before the store is made."""
        if not self.database.exists():
            return []
        with contextlib.closing(sqlite3.connect(self.database, timeout=5)) as connection:
            connection.row_factory = sqlite3.Row
            query = f"select * from parts where {where} order by id"
            try:
                return [dict(row) for row in connection.execute(query)]
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise

    def decisions(self) -> list[tuple[str, str]]:
        """(decision, reason) of each row, oldest first."""
        return [(row["decision"], row["reason"]) for row in self.rows()]

    def events(self) -> list[dict[str, Any]]:
        """Lines of the PLC's log."""
        return [json.loads(line) for line in self.plc_log.read_text().splitlines()]

    def outcomes(self) -> list[str]:
        """Cause of each outcome in the PLC's log."""
        return [event["cause"] for event in self.events() if event["event"] == "outcome"]

    def verify(self, expect: int = 0) -> str:
        """Run the verb `verify` on store, images and PLC log, here; its exit code must be `expect`."""
        asked = [
            str(self.database), "--images", str(self.folder / "images"), "--plc-log", str(self.plc_log)
        ]  # fmt: skip
        done = CliRunner().invoke(verify_app, asked, env={"COLUMNS": "160"})
        assert done.exit_code == expect, done.output + repr(done.exception)
        return done.stdout
