"""The house stays as it was drawn: packages, names, imports, and what the line may load."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import inspection

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "datasets": "inspection_datasets",
    "training": "inspection_training",
    "serve": "inspection_serve",
    "bench": "inspection_bench",
}


@pytest.mark.parametrize("folder", PACKAGES)
def test_top_folders_shadow_nobodys_module(folder):
    assert not (ROOT / folder / "__init__.py").exists()
    assert not list((ROOT / folder).glob("*.py"))
    packages = [p.parent.name for p in (ROOT / folder).glob("*/__init__.py")]
    assert packages == [PACKAGES[folder]]


@pytest.mark.parametrize("folder", PACKAGES)
def test_a_top_folder_is_not_importable_as_a_package(folder):
    code = f"import importlib.util as u; s = u.find_spec({folder!r}); print(s and s.origin)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True
    )
    assert str(ROOT) not in found.stdout


def test_no_forbidden_module_names():
    forbidden = {"utils", "helpers", "common", "managers", "services", "core", "misc"}
    tracked = [p for d in ("inspection", *PACKAGES) for p in (ROOT / d).rglob("*.py")]
    assert not [p for p in tracked if p.stem in forbidden or p.parent.name in forbidden]


@pytest.mark.parametrize(
    "group",
    [
        "inspection.verbs",
        "inspection.cameras",
        "inspection.runtimes",
        "inspection.plc",
        "inspection.upward",
    ],
)
def test_every_entry_point_loads(group):
    points = list(entry_points(group=group))
    assert points
    for point in points:
        assert point.load() is not None


def loaded_after(code: str) -> set[str]:
    """Names of the top-level modules that are loaded after some code ran in a new process."""
    return modules_of(subprocess.run(listing(code), capture_output=True, text=True, check=True))


def listing(code: str) -> list[str]:
    return [sys.executable, "-c", f"{code}\nimport sys; print(*sorted(sys.modules))"]


def modules_of(done: subprocess.CompletedProcess[str]) -> set[str]:
    return {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}


def test_the_hot_path_is_free_of_frameworks():
    loaded = loaded_after("import inspection.station, inspection.decide, inspection.channel")
    assert not loaded & {"fastapi", "torch", "pydantic", "yaml", "sqlite3", "cv2", "sqlalchemy"}


WEB_AND_TRAINING = {
    "fastapi", "starlette", "uvicorn", "jinja2", "torch", "torchvision", "ultralytics",
    "albumentations", "scipy", "requests", "httpx", "tritonclient",
}  # fmt: skip


def test_the_line_imports_neither_torch_nor_a_web_framework(tmp_path):
    """A whole station is opened, run and stopped in one process, then its modules are listed."""
    from station_rig import Rig, until

    rig = Rig(tmp_path)
    code = f"""
import sys, threading
from pathlib import Path
from inspection.config import load_station
from inspection.line import run_station, start_logging
start_logging(False)
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
run_station(load_station(Path({str(rig.folder / "station.yaml")!r})), stop)
"""
    with (
        rig.plc_running(parts=2),
        subprocess.Popen(
            listing(code), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        until(rig.decisions, 90, "a row with a decision")
        output, _ = process.communicate(timeout=60)  # closes its input: the line stops
    loaded = modules_of(subprocess.CompletedProcess([], process.returncode, output))
    assert process.returncode == 0
    assert not loaded & WEB_AND_TRAINING
    assert "sqlalchemy" in loaded


def test_one_place_opens_openvino():
    """A second `Core` can leave a thread with a freed signal stack: docs/decisions/0014."""
    folders = [ROOT / name for name in ("inspection", "datasets", "training", "serve")]
    calls = [
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in folder.rglob("*.py")
        if re.search(r"\bCore\(\)", path.read_text(encoding="utf-8"))
    ]
    assert calls == ["inspection/runtimes/libraries.py"]


def test_tests_run_coroutines_in_a_loop_of_their_own():
    """`asyncio.run` fails in a process in which a browser test went before; own_loop.py says why."""
    asking = {
        path.name
        for path in (ROOT / "tests").rglob("*.py")
        if "asyncio.run(" in path.read_text("utf-8")
    }
    assert asking - {"test_house.py"} == set()


def test_the_command_tells_its_version():
    done = subprocess.run(
        [sys.executable, "-m", "inspection", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, inspection.__version__)
