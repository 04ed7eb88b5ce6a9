"""Jobs: a real training and replay beside the pages; kill of the pages, cancel, one at a time."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from playwright.sync_api import Page, expect
from release_builder import write_release
from web_process import PASSWORD, WebProcess, add_people
from web_shift import write_shift
from web_visit import enter

from inspection.cameras.render import CLASSES, render_part
from inspection.store.config import StoreConfig
from inspection.store.queries import StoreReader
from inspection.store.web import jobs
from inspection.store.web.access import WebStore
from inspection.store.web.jobs import JobState
from inspection.types import Verdict
from inspection_datasets.manifest import Sample, sha256_of, write_version
from inspection_serve.web.models.steps import identity

SHOTS = os.environ.get("INSPECTION_SCREENSHOTS")
LIMIT = 120.0
"""Seconds for anything that ends by itself."""


def write_dataset(folder: Path) -> None:
    """Write a small dataset of good pictures: enough for a job to begin, too little to be released."""
    samples: list[Sample] = []
    for number, split in enumerate(["train"] * 8 + ["val"] * 4 + ["test"] * 4):
        name = f"images/{split}/{number}.png"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rendered = render_part(np.random.default_rng([11, number]), (320, 256), [])
        cv2.imwrite(str(path), rendered.image[..., ::-1])
        values = {
            "image": name, "sha256": sha256_of(path), "width": 320, "height": 256, "state": "good",
            "split": split, "group": f"g{number}", "boxes": [], "origin": "test",
        }  # fmt: skip
        samples.append(Sample.model_validate(values))
    write_version(folder, "plate", list(CLASSES), samples)


EXPERIMENT = """family: template
imgsz: 96
threads: 1
gates: {clean_dataset: false}
"""
STRICT = EXPERIMENT.replace("false}", "false, max_latency_ms: 0.001}")


class Shop:
    """Folders of a station: store, releases, recipes, a dataset, an experiment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store: StoreConfig = write_shift(folder)
        add_people(self.store)
        reader = StoreReader(self.store)
        reader.add_verdict(3, Verdict.FALSE_CALL, who="operator", version_seen=0)
        reader.close()
        self.releases, self.datasets = folder / "releases", folder / "datasets"
        write_release(self.releases, "plate", 1, tuple(CLASSES))
        write_dataset(self.datasets / "plate")
        (self.datasets / "own.yaml").write_text(EXPERIMENT)
        (self.datasets / "strict.yaml").write_text(STRICT)
        (self.datasets / "-option.yaml").write_text(EXPERIMENT)
        (self.datasets / "weights").mkdir()
        (self.datasets / "weights" / "net.pt").write_bytes(b"no network")
        (self.datasets / "link").symlink_to("/etc")
        self.work = folder / "work"

    def options(self) -> list[str | Path]:
        return [
            "--releases", self.releases, "--datasets", self.datasets, "--work", self.work,
        ]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("jobs"))


@pytest.fixture(scope="module")
def web(place: Shop) -> Iterator[WebProcess]:
    with WebProcess(place.store.url, *place.options(), log=place.folder / "web.log") as process:
        yield process


class Caller(httpx.Client):
    """A signed-in program: repeats the CSRF token of its session."""

    def enter(self, role: str) -> Caller:
        assert self.post("/sign-in", data={"name": role, "password": PASSWORD}).status_code == 303
        text = self.get("/people/me").text
        self.headers["X-CSRF-Token"] = text.split('name="csrf" content="')[1].split('"')[0]
        return self

    def wait(self, job: int, *states: str) -> dict[str, Any]:
        """Wait until a job is in one of these states."""
        end = time.monotonic() + LIMIT
        pause = threading.Event()
        while time.monotonic() < end:
            found = self.get(f"/api/v1/jobs/{job}").json()
            if found["state"] in states:
                return found
            assert found["ended_at"] is None, (found, self.log(job))
            pause.wait(0.2)
        raise AssertionError((found, self.log(job)))

    def log(self, job: int) -> str:
        return str(self.get(f"/api/v1/jobs/{job}/log").json()["text"])


@pytest.fixture(scope="module")
def engineer(web: WebProcess) -> Iterator[Caller]:
    with Caller(base_url=web.address, timeout=60) as client:
        yield client.enter("engineer")


def process_of(place: Shop, job: int) -> dict[str, Any]:
    """Wait until the process of a job has said who it is and stepped aside."""
    path = place.work / "jobs" / str(job)
    end = time.monotonic() + LIMIT
    while not (path / "step.json").exists() and time.monotonic() < end:
        threading.Event().wait(0.05)
    found: dict[str, Any] = json.loads((path / "process.json").read_text())
    return found


def wait_until_gone(group: int) -> None:
    """Wait until a process group has nobody left."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        threading.Event().wait(0.1)
    raise AssertionError(f"somebody of the group {group} still runs")


REPLAY = {"kind": "replay", "part": "plate", "number": 1, "limit": 5}
TRAIN = {"kind": "train", "dataset": "plate", "experiment": "own.yaml", "minutes": 1}


def test_the_choices_are_what_is_there(engineer: Caller) -> None:
    found = engineer.get("/api/v1/jobs/choices").json()
    assert found == {
        "datasets": ["plate"],
        "experiments": ["own.yaml", "strict.yaml"],
        "weights": ["weights/net.pt"],
        "parts": ["plate"],
    }


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({**TRAIN, "dataset": "other"}, 409, "no_dataset"),
        ({**TRAIN, "dataset": ""}, 409, "no_dataset"),
        ({**TRAIN, "dataset": "link"}, 409, "no_dataset"),
        ({**TRAIN, "dataset": "--help"}, 422, "malformed"),
        ({**TRAIN, "dataset": "../datasets/plate"}, 422, "malformed"),
        ({**TRAIN, "dataset": "plate/../plate"}, 409, "no_dataset"),
        ({**TRAIN, "experiment": "-option.yaml"}, 422, "malformed"),
        ({**TRAIN, "experiment": "/etc/passwd"}, 422, "malformed"),
        ({**TRAIN, "experiment": "plate/card.yaml"}, 409, "no_experiment"),
        ({**TRAIN, "start": "--version"}, 422, "malformed"),
        ({**TRAIN, "start": "other.pt"}, 409, "no_weights"),
        ({**TRAIN, "part": "a b;c"}, 409, "no_part"),
        ({**TRAIN, "minutes": 0}, 422, "malformed"),
        ({**TRAIN, "minutes": 1e9}, 422, "malformed"),
        ({**TRAIN, "shell": "rm"}, 422, "malformed"),
        ({**REPLAY, "part": "../x"}, 422, "malformed"),
        ({**REPLAY, "number": 7}, 409, "no_release"),
        ({**REPLAY, "recipe": 3}, 409, "no_recipe"),
    ],
)
def test_what_is_not_there_starts_nothing(
    engineer: Caller, body: dict[str, Any], status: int, code: str
) -> None:
    before = len(engineer.get("/api/v1/jobs").json())
    answer = engineer.post("/api/v1/jobs", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert len(engineer.get("/api/v1/jobs").json()) == before


def test_a_job_of_another_machine_is_shown_with_its_name(place: Shop, engineer: Caller) -> None:
    store = WebStore(place.store)
    with store.write("a test") as connection:
        job = jobs.add(connection, "train", {}, "engineer", host="station-b", work="/there")
        jobs.started(connection, job, {"pid": 1, "start": 1, "boot": "theirs"})
    try:
        path = f"/api/v1/jobs/{job}"
        found = engineer.get(path).json()
        assert (found["state"], found["host"], found["here"]) == ("running", "station-b", False)
        assert engineer.get(f"{path}/log").json() == {
            "text": "", "offset": 0, "size": 0, "ended": False,
        }  # fmt: skip
        cancel = engineer.post(f"{path}/cancel")
        assert (cancel.status_code, cancel.json()["code"]) == (409, "elsewhere")
        page = engineer.get(f"/models/jobs/{job}").text
        assert "station-b" in page
        assert 'id="cancel"' not in page
        assert "station-b" in engineer.get("/models/jobs").text
        busy = engineer.post("/api/v1/jobs", json=REPLAY)
        assert (busy.status_code, busy.json()["code"]) == (409, "busy")
        assert "station-b" in busy.json()["detail"]
        assert 'id="give-up"' in page
        given_up = engineer.post(f"{path}/give-up")
        assert (given_up.status_code, given_up.json()["state"]) == (200, "lost")
        assert 'id="give-up"' not in engineer.get(f"/models/jobs/{job}").text
    finally:
        with store.write("a test") as connection:
            jobs.ended(connection, job, JobState.DONE, 0, {})
        store.close()


def test_a_replay_says_what_would_change(engineer: Caller) -> None:
    job = engineer.post("/api/v1/jobs", json=REPLAY).json()["id"]
    busy = engineer.post("/api/v1/jobs", json=REPLAY)
    assert (busy.status_code, busy.json()["code"]) == (409, "busy")
    found = engineer.wait(job, "done")
    assert found["outcome"]["decided_again"] == 4  # one of the newest five has no picture
    assert found["exit_code"] in (0, 1)
    report = engineer.get(f"/models/jobs/{job}/report/replay.html")
    assert report.headers["content-security-policy"].startswith("sandbox;")
    assert engineer.get(f"/models/jobs/{job}/report/steps.json").status_code == 404


def test_a_training_survives_the_pages_and_tells_its_gates(
    place: Shop, engineer: Caller, web: WebProcess
) -> None:
    body = {**TRAIN, "harvest": False, "experiment": "strict.yaml"}
    job = engineer.post("/api/v1/jobs", json=body).json()["id"]
    running = engineer.wait(job, "running")
    process = process_of(place, job)
    killed = web.process
    web.kill()
    assert identity(process["pid"]) is not None
    web.start()
    if killed.stdout:
        killed.stdout.close()
    found = engineer.wait(job, "refused")
    assert running["id"] == found["id"]
    assert found["outcome"]["refused"] == ["latency"]
    assert found["exit_code"] == 1
    assert "== train: inspection train" in engineer.log(job)
    assert not (place.releases / "plate" / "2").exists()


def test_judged_parts_become_a_release_that_its_trainer_cannot_approve(engineer: Caller) -> None:
    job = engineer.post("/api/v1/jobs", json=TRAIN).json()["id"]
    found = engineer.wait(job, "done")
    assert found["outcome"]["release"] == "plate/2"
    assert found["outcome"]["harvest"]["written"] == "v0002"
    assert sum(found["outcome"]["harvest"]["added"].values()) == 1
    begun = re.findall(r"^== \w+: inspection .*$", engineer.log(job), re.MULTILINE)
    assert len(begun) == 3
    assert all("--language en" in line for line in begun), (
        "each speaks as the page of who started it"
    )
    release = engineer.get("/api/v1/models/plate/2").json()
    assert (release["trained_by"], release["problem"]) == (["engineer"], "")


def test_a_cancelled_job_leaves_nobody_running(place: Shop, engineer: Caller) -> None:
    job = engineer.post("/api/v1/jobs", json=TRAIN).json()["id"]
    engineer.wait(job, "running")
    process = process_of(place, job)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, process["pid"]) == max(15, own)
    assert engineer.post(f"/api/v1/jobs/{job}/cancel").status_code == 200
    engineer.wait(job, "cancelled")
    wait_until_gone(process["pid"])
    again = engineer.post(f"/api/v1/jobs/{job}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "not_running")


def test_a_job_that_vanished_is_lost(place: Shop, engineer: Caller) -> None:
    job = engineer.post("/api/v1/jobs", json=REPLAY).json()["id"]
    process = process_of(place, job)
    os.killpg(process["pid"], signal.SIGKILL)
    found = engineer.wait(job, "lost")
    assert found["exit_code"] is None


def test_a_failed_step_says_why(place: Shop, engineer: Caller) -> None:
    (place.datasets / "broken").mkdir()
    (place.datasets / "broken" / "card.yaml").write_text("name: broken\nclasses: [a]\n")
    body = {**TRAIN, "dataset": "broken", "harvest": False}
    job = engineer.post("/api/v1/jobs", json=body).json()["id"]
    found = engineer.wait(job, "failed")
    assert found["outcome"]["step"] == "check"
    assert "no version file" in found["outcome"]["said"]
    assert found["outcome"]["disk_full"] is False


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("size", ["desk", "touch"])
def test_pages(
    place: Shop, visit: Callable[..., Any], engineer: Caller, size: str, language: str
) -> None:
    store = WebStore(place.store)
    with store.read("a test") as connection:
        rows = {row["state"]: row["id"] for row in jobs.listing(connection)}
    store.close()
    if (size, language) not in {("desk", "ko"), ("touch", "en")}:
        rows = dict(list(rows.items())[:1])  # the others are the same template at both sizes
    visitor = visit(size, language)
    enter(visitor, "engineer")
    for name, path in {"jobs-list": "/models/jobs"}.items() | {
        (f"job-{state}", f"/models/jobs/{job}") for state, job in rows.items()
    }:
        page: Page = visitor.go(path)
        expect(page.locator("h1")).to_be_visible()
        visitor.check_access()
        shot(page, f"{name}-{size}-{language}")


def test_a_job_is_started_followed_and_ends_in_the_browser(visit: Callable[..., Any]) -> None:
    visitor = visit("touch")
    enter(visitor, "engineer")
    page: Page = visitor.go("/models/part/plate/1")
    page.get_by_label("Newest parts").fill("3")
    page.get_by_role("button", name="Decide stored parts again").click()
    expect(page.locator("#job .notice")).to_contain_text("decisions would change", timeout=60_000)
    expect(page.locator("#log")).to_contain_text("== replay: exit code")
    page = visitor.go("/models/part/plate/1")
    expect(page.locator("main")).to_contain_text("decisions would change")
