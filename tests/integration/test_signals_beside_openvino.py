"""A process that opens and closes OpenVINO runtimes still hears its signals."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from release_builder import write_release

OPEN = """
import gc, os, signal, sys
from pathlib import Path
from inspection.release import load_release
from inspection.runtimes.openvino import OpenVinoConfig

heard = []
signal.signal(signal.SIGTERM, lambda number, _frame: heard.append(number))
release = load_release(Path(sys.argv[1]))
runtimes = [OpenVinoConfig().open() for _ in range(3)]
for runtime in runtimes:
    runtime.load(release, 60)
while runtimes:
    runtimes.pop(0).close()
    gc.collect()
os.kill(os.getpid(), signal.SIGTERM)
print("heard", *heard)
"""

TWO_CORES = """
import gc, os, signal
from inspection.runtimes.libraries import import_openvino

cores = [import_openvino().Core() for _ in range(2)]
for core in cores:
    core.get_property("CPU", "FULL_DEVICE_NAME")
del core
while cores:
    cores.pop(0)
    gc.collect()
signal.signal(signal.SIGTERM, lambda *_: None)
os.kill(os.getpid(), signal.SIGTERM)
"""


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_a_change_of_runtime_leaves_the_signals(tmp_path: Path) -> None:
    write_release(tmp_path)
    folder = next(path.parent for path in tmp_path.rglob("release.json"))
    done = run(OPEN, str(folder))
    assert done.stdout == f"heard {int(signal.SIGTERM)}\n", (done.returncode, done.stderr)


def test_the_library_alone_still_needs_the_care() -> None:
    """When this fails, OpenVINO is mended, and `openvino_core` may go."""
    if run(TWO_CORES).returncode != -signal.SIGSEGV:
        pytest.skip("this OpenVINO leaves the signal stack as it was")
