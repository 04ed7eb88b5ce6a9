"""The review from the screen to the store: what is no plain FAIL, taken back, handed on, or interrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect
from store_samples import not_inspected, trigger
from web_process import add_people
from web_shift import CLASSES, RECIPE, SIZE, write_shift
from web_visit import enter

from inspection.cameras.render import render_part
from inspection.store.config import StoreConfig
from inspection.store.images import write_picture
from inspection.store.queries import StoreReader
from inspection.store.sql import SqlStore
from inspection.store.web import review_queue, settings
from inspection.store.web.access import WebStore
from inspection.types import Frame, Reason
from inspection_datasets.harvest import harvest
from inspection_datasets.manifest import Sample, load_version, sha256_of, write_version

PASSED, REVIEWED, FAILED, SECOND = 4, 6, 3, 9
"""Records of the shift; the class of SECOND asks for a second person."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> StoreConfig:
    """A shift of which every passed part is looked at, and one part more: seen, but not inspected."""
    config = write_shift(tmp_path_factory.mktemp("flows"), 11)
    add_people(config)
    store = SqlStore(config)
    asked = trigger(1, epoch=store.begin_epoch("st2", "start"), station="st2")
    image = render_part(np.random.default_rng(5), SIZE, []).image
    frame = Frame(image, 1, asked.seen_mono, "top", "1.png")
    part = not_inspected(asked, Reason.INFERENCE_FAILED, recipe=RECIPE, frame=frame)
    store.triggered(asked, RECIPE.number)
    store.decided(part)
    store.images(asked.key, "saved", [write_picture(config.images, part)])
    store.close()
    pages = WebStore(config)
    with pages.write("rules of a test") as connection:
        settings.change(connection, "review.pass_share", 1.0, "engineer")
        settings.change(connection, "review.second_classes", [CLASSES[SECOND // 3 % 4]], "engineer")
    pages.close()
    return config


def free(page: Page, record: int | None = None) -> Locator:
    """Wait until a part is painted and may be judged."""
    place = "" if record is None else f'[data-painted="{record}"]'
    found = page.locator(f'#review[data-phase="shown"][data-free="true"]{place}')
    expect(found).to_be_attached(timeout=15_000)
    return found


def at_part(
    visit: Callable[..., Any], record: int, role: str = "operator", state: str = "open", **how: Any
) -> tuple[Any, Page]:
    """Open the review with a part of a queue on the screen."""
    visitor = visit(**how)
    visitor.expected = ["/line/events"]
    enter(visitor, role)
    page: Page = visitor.go(f"/review?state={state}")
    free(page)
    page.locator(f"#items button[data-record='{record}']").click()
    free(page, record)
    return visitor, page


def said(shop: StoreConfig, record: int) -> list[dict[str, Any]]:
    with StoreReader(shop) as reader:
        found = reader.part(record)
    assert found is not None
    return found[1]


def state(shop: StoreConfig, record: int) -> str:
    store = WebStore(shop)
    with store.read("a test") as connection:
        found = review_queue.state_of(connection, record)
    store.close()
    assert found is not None
    return str(found["state"])


def saved(page: Page, record: int) -> None:
    expect(page.locator("#outcome")).to_contain_text(f"part {record}", timeout=15_000)


def test_borderline_part_is_judged_and_taken_back_by_touch(
    visit: Callable[..., Any], shop: StoreConfig
) -> None:
    _, page = at_part(visit, REVIEWED, size="touch")
    page.locator("#ng").tap()
    saved(page, REVIEWED)
    assert state(shop, REVIEWED) == "done"
    undo = page.locator("#undo")
    expect(undo).to_be_enabled()
    undo.tap()
    free(page, REVIEWED)
    rows = said(shop, REVIEWED)
    assert [row["verdict"] for row in rows] == ["real_defect", "not_reviewed"]
    assert (rows[-1]["reason_code"], state(shop, REVIEWED)) == ("UNDO", "open")


def test_part_that_was_seen_but_not_inspected_is_judged(
    visit: Callable[..., Any], shop: StoreConfig
) -> None:
    with StoreReader(shop) as reader:
        (record,) = [row["id"] for row in reader.page(limit=50) if row["station"] == "st2"]
    _, page = at_part(visit, record)
    expect(page.locator("#machine")).to_contain_text("Not inspected")
    expect(page.locator("#borderline")).to_be_hidden()
    page.keyboard.press("o")
    saved(page, record)
    assert [row["verdict"] for row in said(shop, record)] == ["false_call"]


def test_missed_defect_reaches_the_dataset_with_its_box(
    visit: Callable[..., Any], shop: StoreConfig, tmp_path: Path
) -> None:
    """Sampled from the passed parts: a box is drawn, the class is named, harvest has both."""
    _, page = at_part(visit, PASSED)
    expect(page.locator("#sampled")).to_be_visible()
    page.keyboard.press("e")
    frame = page.locator(".editor").bounding_box()
    assert frame
    middle = (frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)
    page.locator(".editor-bar select").select_option("dent")
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1] + 40, steps=4)
    page.mouse.up()
    expect(page.locator(".editor-box")).to_have_count(1)
    page.keyboard.press("n")
    expect(page.locator("#choose")).to_be_visible()
    page.locator("#choices button", has_text="dent").click()
    saved(page, PASSED)
    (row,) = said(shop, PASSED)
    assert (row["verdict"], row["defect_class"]) == ("missed", "dent")
    (box,) = row["boxes"]
    assert box["class"] == "dent"
    x1, y1, x2, y2 = box["box"]
    assert 0 <= x1 < x2 <= SIZE[0]
    assert 0 <= y1 < y2 <= SIZE[1]
    if (
        state(shop, PASSED) == "second"
    ):  # dent is the class of two persons: the first word is no label yet
        _, other = at_part(visit, PASSED, "engineer", "second")
        other.keyboard.press("n")
        other.locator("#choices button", has_text="dent").click()
        saved(other, PASSED)
        row = said(shop, PASSED)[-1]
    dataset = tmp_path / "set"
    dataset.mkdir()
    (dataset / "a.bin").write_bytes(b"a")
    first = {
        "image": "a.bin", "sha256": sha256_of(dataset / "a.bin"), "width": 10, "height": 10,
        "split": "test", "group": "a", "boxes": [], "state": "good", "origin": "test",
    }  # fmt: skip
    write_version(dataset, "plate", list(CLASSES), [Sample.model_validate(first)])
    harvest(shop, dataset)
    samples = [s for s in load_version(dataset).samples if f"record {PASSED} " in s.origin]
    found = [(s.state, [tuple(b) for b in s.boxes]) for s in samples]
    assert found == [("labelled", [("dent", *map(float, row["boxes"][0]["box"]))])]


def test_skipped_part_goes_to_the_engineer_alone(
    visit: Callable[..., Any], shop: StoreConfig
) -> None:
    visitor, page = at_part(visit, FAILED)
    page.keyboard.press("s")
    saved(page, FAILED)
    assert state(shop, FAILED) == "engineer"
    visitor.go("/review")
    free(page)
    assert page.locator(f"#items button[data-record='{FAILED}']").count() == 0
    visitor.go("/review?state=engineer")
    expect(page.locator(f'#review[data-painted="{FAILED}"]')).to_be_attached()
    expect(page.locator("#ng")).to_be_disabled()
    _, engineer = at_part(visit, FAILED, "engineer", "engineer")
    engineer.keyboard.press("n")
    saved(engineer, FAILED)
    assert [(row["verdict"], row["who"]) for row in said(shop, FAILED)] == [
        ("unsure", "operator"),
        ("real_defect", "engineer"),
    ]
    assert state(shop, FAILED) == "done"


def test_two_persons_who_disagree_leave_it_to_the_engineer(
    visit: Callable[..., Any], shop: StoreConfig
) -> None:
    _, page = at_part(visit, SECOND)
    page.keyboard.press("n")
    saved(page, SECOND)
    expect(page.locator("#outcome")).to_contain_text("second person")
    assert state(shop, SECOND) == "second"
    _, other = at_part(visit, SECOND, "administrator", "second")
    expect(other.locator("#blind")).to_be_visible()
    assert "operator" not in other.locator(".panel").inner_text().lower()
    other.keyboard.press("o")
    expect(other.locator("#choose")).to_be_visible()
    other.keyboard.press("1")
    saved(other, SECOND)
    assert state(shop, SECOND) == "engineer"
    _, engineer = at_part(visit, SECOND, "engineer", "engineer")
    expect(engineer.locator("#said")).to_contain_text("operator")
    expect(engineer.locator("#said")).to_contain_text("administrator")


def test_reload_in_the_middle_of_saving(visit: Callable[..., Any], shop: StoreConfig) -> None:
    """The part stays on the screen until the server said saved; a reload loses and doubles nothing."""
    visitor, page = at_part(visit, REVIEWED)
    visitor.expected += ["Failed to load", "net::ERR"]
    before = len(said(shop, REVIEWED))
    held: list[Any] = []

    def saving(route: Any) -> None:
        route.fetch()
        held.append(route)  # saved, and the answer never comes

    page.route("**/verdict", saving)
    page.keyboard.press("n")
    expect(page.locator('#review[data-phase="saving"]')).to_be_attached()
    page.on("dialog", lambda dialog: dialog.accept())
    for _ in range(200):
        if held:
            break
        page.wait_for_timeout(25)
    assert held
    assert page.locator("#review").get_attribute("data-painted") == str(REVIEWED)
    expect(page.locator("#ng")).to_be_disabled()
    page.reload()
    free(page)
    assert page.locator(f"#items button[data-record='{REVIEWED}']").count() == 0
    expect(page.locator("#undo")).to_contain_text(f"part {REVIEWED}")
    assert [row["verdict"] for row in said(shop, REVIEWED)[before:]] == ["real_defect"]
