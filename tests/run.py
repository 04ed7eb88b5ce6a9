"""The whole suite in parts, each in a process of its own; the exit code is the first that is not 0.

    contract ─▶ line ─▶ e2e ─▶ unit ─▶ integration, first half ─▶ integration, second half

One process for everything ended with a segmentation fault after some hundred tests, since the native
libraries of training, quantising and inference pile up in it. Arguments go to pytest; when they name files
or folders of tests, these are run in one process.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parent


def parts() -> dict[str, list[Path]]:
    """Return the name of each part and what it runs; every test file is in exactly one."""
    files = sorted((TESTS / "integration").glob("test_*.py"))
    early = [path for path in files if path.name < "test_t"]
    return {
        **{name: [TESTS / name] for name in ("contract", "line", "e2e", "unit")},
        "integration, first half": early,
        "integration, second half": [path for path in files if path not in early],
    }


def main() -> int:
    """Run the parts and say how each ended."""
    given = sys.argv[1:]
    pytest = [sys.executable, "-m", "pytest"]
    if any(not word.startswith("-") and Path(word.partition("::")[0]).exists() for word in given):
        return subprocess.run([*pytest, *given], check=False).returncode
    ended: dict[str, tuple[int, float]] = {}
    for name, paths in parts().items():
        start = time.monotonic()
        done = subprocess.run([*pytest, *given, *map(str, paths)], check=False)
        ended[name] = (done.returncode, time.monotonic() - start)
    for name, (code, seconds) in ended.items():
        print(f"{name}: {'passed' if code == 0 else f'exit code {code}'} after {seconds:.0f} s")
    return next((code for code, _ in ended.values() if code), 0)


if __name__ == "__main__":
    sys.exit(main())
