"""From a false call to a release that passes that part.

    line ─▶ review ─▶ harvest ─▶ training ─▶ approval ─▶ switch ─▶ line

Everything is real but the camera and the PLC, which are the package's own simulators: the line judges
pictures of a folder, an operator overrules in Chromium, an engineer starts the job, two others approve.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
import torch
from playwright.sync_api import expect
from station_rig import Rig
from torchvision import models
from web_process import PASSWORD, WebProcess, add_people

from inspection.release import read_card
from inspection.store.config import StoreConfig
from inspection.store.web import people
from inspection.store.web.access import WebStore
from inspection.store.web.people import Role
from inspection_datasets.manifest import Sample, load_version, sha256_of, write_version
from inspection_serve.web.people.passwords import hash_secret
from inspection_training.experiment import Experiment
from inspection_training.run import train_release

SETTINGS = {
    "family": "good_parts", "imgsz": 96, "bank": 1000, "threads": 1,
    "max_overkill": 0.2, "max_review": 0.0,
}  # fmt: skip


def plate(seed: int, *, stain: bool = False) -> np.ndarray:
    """A brushed plate with two holes, 120x120; a stain is harmless, but no picture of the training has it."""
    rng = np.random.default_rng(seed)
    image = np.full((120, 120), 130.0) + rng.normal(0, 6, (120, 1)) + rng.normal(0, 2, (120, 120))
    for x in (30, 90):
        cv2.circle(image, (x, 60), 12, 40, -1)
    if stain:
        cv2.circle(image, (60, 25), 9, 235, -1)
    return np.clip(image, 0, 255).astype(np.uint8)


def write_dataset(folder: Path) -> None:
    (folder / "images").mkdir(parents=True)
    samples = []
    for number, split in enumerate(["train"] * 12 + ["val"] * 20 + ["test"] * 8):
        name = f"images/{number:03d}.png"
        cv2.imwrite(str(folder / name), plate(number))
        values = {
            "image": name, "sha256": sha256_of(folder / name), "width": 120, "height": 120,
            "split": split, "group": str(number), "boxes": [], "state": "good", "origin": "test",
        }  # fmt: skip
        samples.append(Sample.model_validate(values))
    write_version(folder, "plate", ["anomaly"], samples)


def train_first(folder: Path) -> None:
    """Train plate/1 from the good pictures on a backbone, as the user would have given it."""
    weights = folder / "datasets" / "weights" / "resnet18.pth"
    weights.parent.mkdir()
    torch.manual_seed(0)
    torch.save(models.resnet18(weights=None).state_dict(), weights)
    train_release(
        Experiment(**SETTINGS), load_version(folder / "datasets" / "plate"), part="plate",
        weights=weights, releases=folder / "releases", runs=folder / "runs",
    )  # fmt: skip


def shift(rig: Rig, parts: int) -> list[tuple[str, str]]:
    """Run the line for so many parts; return what it decided."""
    before = len(rig.decisions())
    plc = rig.plc(parts=parts, takt=0.1)
    try:
        with rig.line():
            assert plc.wait(60)
    finally:
        plc.stop()
    return rig.decisions()[before:]


class Engineer:
    """A signed-in person at the API of the pages."""

    def __init__(self, address: str, name: str) -> None:
        self.http = httpx.Client(base_url=address, timeout=60, follow_redirects=True)
        self.http.post("/sign-in", data={"name": name, "password": PASSWORD, "next": "/people/me"})
        found = self.http.get("/people/me").text
        self.token = found.split('name="csrf" content="')[1].split('"')[0]

    def __enter__(self) -> Engineer:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def get(self, path: str) -> Any:
        answer = self.http.get(f"/api/v1{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, **body: Any) -> Any:
        answer = self.http.post(f"/api/v1{path}", json=body, headers={"X-CSRF-Token": self.token})
        assert answer.status_code < 300, answer.text
        return answer.json()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_from_a_false_call_to_a_release_that_passes_the_part(
    tmp_path: Path, visit: Callable[..., Any]
) -> None:
    write_dataset(tmp_path / "datasets" / "plate")
    train_first(tmp_path)
    (tmp_path / "datasets" / "own.yaml").write_text(
        "".join(f"{name}: {value}\n" for name, value in SETTINGS.items())
    )
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "stained.png"), plate(500, stain=True))
    limits = {
        name: {"t1": found.t1, "t2": found.t2}
        for name, found in read_card(tmp_path / "releases" / "plate" / "1").limits.items()
    }
    rig = Rig(
        tmp_path,
        camera={"type": "folder", "path": str(pictures), "order": "name"},
        recipe={"limits": limits, "deadline": 5.0},
        store={"url": "results.db", "images": {"format": "png"}},
    )
    rig.station["web"] = {"datasets": "datasets", "port": 0}
    rig.write()

    assert shift(rig, 1) == [("FAIL", "ANOMALY")], "the false call"

    store = StoreConfig(url=str(rig.database))
    add_people(store)
    opened = WebStore(store)
    with opened.write("a second engineer") as connection:
        hashed = hash_secret(PASSWORD)
        people.add(connection, "second", "Second", Role.ENGINEER, "en", hashed, must_change=False)
    opened.close()
    log = tmp_path / "web.log"
    with WebProcess(tmp_path / "station.yaml", log=log) as web, ExitStack() as stack:
        overrule(visit(address=web.address))
        asking, other, third = (
            stack.enter_context(Engineer(web.address, name))
            for name in ("engineer", "second", "administrator")
        )
        job = asking.post(
            "/jobs", kind="train", dataset="plate", experiment="own.yaml",
            start="weights/resnet18.pth", part="plate", minutes=5,
        )  # fmt: skip
        ended = follow(asking, job["id"])
        assert ended["state"] == "done", asking.get(f"/jobs/{job['id']}/log")
        released = asking.get("/models/plate/2")
        card = released["card_sha256"]
        other.post("/models/plate/2/approval", step="asked", card_sha256=card)
        third.post("/models/plate/2/approval", step="approved", card_sha256=card, comment="seen")
        recipe = next(r for r in asking.get("/models")["recipes"] if r["number"] == 1)
        third.post(
            "/models/plate/2/switch", recipe=1, recipe_sha256=recipe["sha256"],
            card_sha256=card, limits="release",
        )  # fmt: skip

    # a PLC that counts from 1 again may ask for the answer of before once more: that is no new part
    again = shift(rig, 3)
    assert again, rig.folder.joinpath("line.log").read_text()
    assert set(again) == {("PASS", "NONE")}, "the same part, by the release that learned it"
    assert rig.rows()[-1]["release"] == "plate/2"
    version = load_version(tmp_path / "datasets" / "plate")
    learned = [s for s in version.samples if "store:" in s.origin]
    assert [(s.state, s.split) for s in learned] == [("good", "train")]
    shutil.rmtree(tmp_path / "pictures")


def overrule(visitor: Any) -> None:
    """An operator says that the part is good, and why."""
    page = visitor.sign_in("operator")
    visitor.go("/review")
    expect(page.locator('#review[data-free="true"]')).to_be_attached(timeout=30_000)
    page.keyboard.press("o")
    expect(page.locator("#choose")).to_be_visible()
    page.locator("#choices button").first.click()
    expect(page.locator("#outcome")).to_contain_text("Saved")
    visitor.page.goto("about:blank")


def follow(person: Engineer, job: int) -> Any:
    """Return the job when it has ended."""
    pause, deadline = threading.Event(), time.monotonic() + 240
    while time.monotonic() < deadline:
        found = person.get(f"/jobs/{job}")
        if found["ended_at"]:
            return found
        pause.wait(0.3)
    raise AssertionError(person.get(f"/jobs/{job}/log"))
