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
def test_a_runtime_calls_nobody(tmp_path: Path) -> None:
    write_release(tmp_path / "releases")
    started = {
        runtime: subprocess.Popen(
            ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto",
             "-o", str(tmp_path / runtime),
             sys.executable, "-c", INFER, str(tmp_path / "releases"), runtime],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for runtime in ("openvino", "onnxruntime")
    }  # fmt: skip
    told = {runtime: process.communicate()[0] for runtime, process in started.items()}
    for runtime, process in started.items():
        assert process.returncode == 0, told[runtime]
        assert not OUTSIDE.findall((tmp_path / runtime).read_text())
