"""Nothing leaves the site: whatever a station imports and runs, only this machine is spoken to.

`tests/e2e/test_demo.py` shows the same for training, releasing and a whole shift.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from release_builder import write_release

OUTSIDE = re.compile(r"sa_family=AF_INET6?, .*?(?:inet_addr\(\"|inet_pton\(AF_INET6, \")([^\"]+)")
INFER = """
import sys, threading
from pathlib import Path
import numpy as np
from inspection.runtimes.onnxruntime import OnnxRuntimeConfig
from inspection.runtimes.openvino import OpenVinoConfig
from inspection.release import find_release
release = find_release(Path(sys.argv[1]), "demo", 1)
runtime = {"openvino": OpenVinoConfig, "onnxruntime": OnnxRuntimeConfig}[sys.argv[2]]().open()
runtime.load(release, 30.0)
runtime.infer(np.zeros((1, *release.input_size, 3), np.uint8), 5.0)
threading.Event().wait(15)  # ONNX Runtime sends its first events after some ten seconds
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_runtime_calls_nobody(tmp_path: Path, runtime: str) -> None:
    write_release(tmp_path / "releases")
    trace = tmp_path / "trace.txt"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(trace),
         sys.executable, "-c", INFER, str(tmp_path / "releases"), runtime],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not OUTSIDE.findall(trace.read_text())
