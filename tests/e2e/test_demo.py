"""The quick start, whole: offline, in a network namespace without any way out, watched by strace."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import cv2
import pytest

OUTSIDE = re.compile(r"sa_family=AF_INET6?, .*?(?:inet_addr\(\"|inet_pton\(AF_INET6, \")([^\"]+)")

UNLEARNED = re.compile(
    r"Does not agree: (only \d+ of \d+ defective|\d+ of \d+ good) parts were \w+$"
)
"""What `make demo` would not say, which trains for as long as it takes."""


def is_local(address: str) -> bool:
    return address.startswith("127.") or address in {"::1", "0.0.0.0", "::"}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_demo_needs_no_network_and_ends_with_everything_in_agreement(tmp_path):
    trace = tmp_path / "connect.txt"
    command = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-e",
        "trace=connect,sendto",
        "-o",
        str(trace),
    ]
    demo = [sys.executable, "-m", "inspection", "demo", "--folder", str(tmp_path / "demo")]
    demo += ["--takt", "0.25", "--minutes", "2"]  # on a small PC it learns next to nothing
    alone = ["unshare", "-n", "sh", "-c", 'ip link set lo up 2>/dev/null; exec "$@"', "sh"]
    if os.geteuid() == 0 and subprocess.run([*alone, "true"], check=False).returncode == 0:
        demo = [*alone, *demo]
    done = subprocess.run(
        [*command, *demo],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "120"},
    )
    (tmp_path / "output.txt").write_text(done.stdout + done.stderr)
    print(done.stdout[-6000:])
    told = [line for line in done.stdout.splitlines() if "agree" in line]
    whole = done.stdout[-6000:] + done.stderr[-3000:]
    assert told, whole
    assert told == ["Everything agrees."] or all(UNLEARNED.match(line) for line in told), whole
    assert done.returncode == int(told != ["Everything agrees."]), whole
    assert re.search(r"verify +│ +clean", done.stdout), whole
    assert cv2.imread(str(tmp_path / "demo" / "flagged.png")) is not None
    outside = {a for a in OUTSIDE.findall(trace.read_text()) if not is_local(a)}
    assert not outside, f"the demo tried to reach {outside}"
