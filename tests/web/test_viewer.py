"""The viewer of pictures: painting, layers, zoom, and the correcting of boxes by mouse, touch and keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from web_visit import enter

SIZES = ["desk", "touch"]
MAKE = """async () => {
  const sheet = document.createElement("link");
  sheet.rel = "stylesheet"; sheet.href = "/static/css/viewer.css";
  const styled = new Promise((resolve) => { sheet.onload = resolve; });
  document.head.append(sheet);
  await styled;
  const { Viewer } = await import("/static/js/viewer.js");
  const box = document.createElement("div");
  box.id = "stage"; box.style.height = "560px";
  document.getElementById("main").replaceChildren(box);
  window.painted = []; window.picked = [];
  window.viewer = new Viewer(box, {
    onPainted: (part) => window.painted.push(part.picture),
    onPick: (index) => window.picked.push(index),
    names: { scratch: "Kratzer <b>" },
  });
}"""
BOXES = [
    {"class": "scratch", "score": 0.91, "box": [40, 40, 90, 80], "counted": True},
    {"class": "dent", "score": 0.2, "box": [200, 100, 240, 160], "counted": False},
]


def part(record: int, **changes: Any) -> dict[str, Any]:
    picture = f"/pictures/{record}/0"
    return {
        "picture": picture,
        "width": 320,
        "height": 256,
        "boxes": BOXES,
        "heat": None,
        "golden": None,
    } | changes


@pytest.fixture
def stage(visit: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that opens a page with a viewer: `stage(size, language)` → Visitor."""

    def opening(size: str = "desk", language: str = "en") -> Any:
        visitor = visit(size, language)
        enter(visitor, "operator")
        visitor.go("/people/me").evaluate(MAKE)
        return visitor

    return opening


STILL = """async () => {
  const panes = [window.viewer.main, window.viewer.golden].filter((pane) => pane);
  const moving = ({ viewport }) => Math.abs(viewport.getZoom(true) - viewport.getZoom()) > 1e-6
    || viewport.getCenter(true).minus(viewport.getCenter()).apply(Math.abs).x > 1e-6;
  do await new Promise((done) => setTimeout(done, 20)); while (panes.some(moving));
}"""


def still(page: Page) -> None:
    """Wait until no zoom or move is going on any more."""
    page.evaluate(STILL)


def show(page: Page, what: dict[str, Any]) -> Any:
    return page.evaluate("(part) => window.viewer.show(part)", what)


def pixel(page: Page, x: float, y: float) -> list[int]:
    """Colour at a place of the picture (shares of its size), as painted."""
    return page.evaluate(
        """([x, y]) => {
          const canvas = document.querySelector(".viewer-canvas canvas");
          const { x: left, y: top, scale } = window.viewer.main.place();
          const part = window.viewer.part, dense = window.devicePixelRatio;
          const place = [left + x * part.width * scale, top + y * part.height * scale];
          const at = place.map((v) => Math.round(v * dense));
          return [...canvas.getContext("2d").getImageData(...at, 1, 1).data];
        }""",
        [x, y],
    )


@pytest.mark.parametrize("size", SIZES)
def test_a_picture_is_painted_when_show_resolves(stage: Callable[..., Any], size: str) -> None:
    visitor = stage(size)
    page: Page = visitor.page
    assert show(page, part(3)) is True
    assert pixel(page, 0.5, 0.5)[3] == 255
    assert page.evaluate("window.painted") == ["/pictures/3/0"]
    labels = page.locator(".viewer-label")
    expect(labels).to_have_text(["▲ Kratzer <b> 0.91", "· dent 0.20"])
    rect = page.locator("rect.viewer-line").first.bounding_box()
    scale = page.evaluate("window.viewer.main.place().scale")
    assert rect is not None
    assert rect["width"] == pytest.approx(50 * scale, abs=3)
    visitor.check_access()


def test_the_newest_show_wins(stage: Callable[..., Any]) -> None:
    page: Page = stage().page
    found = page.evaluate(
        """async (parts) => {
          const all = parts.map((part) => window.viewer.show(part));
          const shown = await Promise.all(all);
          return [shown, window.viewer.part.picture, window.viewer.main.osd.world.getItemCount()];
        }""",
        [part(1), part(2), part(3)],
    )
    assert found == [[False, False, True], "/pictures/3/0", 1]


def test_a_prepared_picture_is_swapped_in_and_only_one_is_held(stage: Callable[..., Any]) -> None:
    page: Page = stage().page
    show(page, part(3))
    count = "window.viewer.main.osd.world.getItemCount()"
    asked = page.evaluate(
        """async ([other, next]) => {
          await window.viewer.prepare(other);
          await window.viewer.prepare(next);
          await window.viewer.prepare(next);
          const { main } = window.viewer, before = main.item;
          let loads = 0;
          const load = main.load.bind(main);
          main.load = (...values) => (loads++, load(...values));
          const unseen = main.item === before && window.viewer.part.picture.includes("/3/");
          return [unseen, await window.viewer.show(next), loads];
        }""",
        [part(9), part(6)],
    )
    assert asked == [True, True, 0]
    assert page.evaluate(count) == 1
    assert pixel(page, 0.5, 0.5)[3] == 255
    assert page.evaluate("window.viewer.part.picture") == "/pictures/6/0"


def test_a_missing_picture_says_why_and_never_shows_the_old_one(stage: Callable[..., Any]) -> None:
    visitor = stage()
    visitor.expected = ["404"]
    page: Page = visitor.page
    show(page, part(3))
    problem = page.evaluate(
        "(part) => window.viewer.show(part).then(() => null, (e) => [e.status, e.code])", part(12)
    )
    assert problem == [404, "no_picture"]
    expect(page.locator(".viewer-notice")).to_contain_text("■")
    assert page.evaluate("window.viewer.main.osd.world.getItemCount()") == 0
    assert page.locator(".viewer-label").count() == 0
    assert show(page, part(12, picture=None, boxes=[])) is True
    expect(page.locator(".viewer-notice")).to_have_text("There is no picture of this part.")


def test_zoom_fit_one_to_one_and_to_the_defect(stage: Callable[..., Any]) -> None:
    page: Page = stage().page
    show(page, part(3))
    scale = "window.viewer.main.place().scale"
    fit = page.evaluate(scale)
    page.evaluate("window.viewer.oneToOne()")
    still(page)
    assert page.evaluate(scale) == pytest.approx(1, abs=0.01)
    assert page.evaluate("window.viewer.toDefect()") is True
    still(page)
    assert page.evaluate(scale) > fit
    assert page.evaluate("window.viewer.main.smooth") is False
    page.evaluate("window.viewer.keepZoom = true")
    kept = page.evaluate(scale)
    show(page, part(6))
    assert page.evaluate(scale) == pytest.approx(kept)
    page.evaluate("window.viewer.keepZoom = false")
    show(page, part(9))
    assert page.evaluate(scale) == pytest.approx(fit)


def test_layers_strike_highlight_and_pick(stage: Callable[..., Any]) -> None:
    page: Page = stage().page
    show(page, part(3, golden="/pictures/1/0"))
    assert page.evaluate("window.viewer.toggle('boxes')") is False
    expect(page.locator(".viewer-layer")).to_be_hidden()
    page.evaluate("window.viewer.toggle('boxes')")
    page.evaluate("window.viewer.highlight(1)")
    expect(page.locator(".viewer-label.viewer-marked")).to_have_text("· dent 0.20")
    page.evaluate("window.viewer.strike(true)")
    decoration = "getComputedStyle(document.querySelector('.viewer-label')).textDecorationLine"
    assert page.evaluate(decoration) == "line-through"
    show(page, part(3))
    assert page.evaluate(decoration) == "none"  # the next part has nothing struck
    box = page.locator("rect.viewer-line").first.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.evaluate("""async () => {
      while (!window.picked.length) await new Promise((done) => setTimeout(done, 20));
    }""")
    assert page.evaluate("window.picked") == [0]


def test_the_golden_part_moves_with_the_part_and_blinks(stage: Callable[..., Any]) -> None:
    page: Page = stage().page
    show(page, part(3, golden="/pictures/1/0"))
    before = pixel(page, 0.5, 0.5)
    assert page.evaluate("window.viewer.toggle('golden')") is True
    expect(page.locator(".viewer-caption")).to_have_text("Golden part")
    still(page)
    page.evaluate("window.viewer.zoom(3)")
    still(page)
    both = page.evaluate(
        """[window.viewer.main, window.viewer.golden].map(
          (pane) => [pane.viewport.getZoom(true), pane.viewport.getCenter(true).x])"""
    )
    assert both[0] == pytest.approx(both[1], rel=1e-3)
    page.evaluate("window.viewer.toggle('golden')")
    expect(page.locator(".viewer-golden")).to_be_hidden()
    assert page.evaluate("window.viewer.blink()") is True
    expect(page.locator(".viewer-layer")).to_be_hidden()
    assert page.evaluate("window.viewer.blink()") is False
    expect(page.locator(".viewer-layer")).to_be_visible()
    assert before


def test_brightness_is_of_the_view_only(stage: Callable[..., Any]) -> None:
    page: Page = stage().page
    show(page, part(3))
    page.evaluate("window.viewer.adjust({brightness: 1.5, contrast: 0.8})")
    canvas = page.locator(".viewer-canvas canvas").first
    assert "brightness(1.5)" in canvas.evaluate("(e) => e.style.filter")
    page.evaluate("window.viewer.adjust({brightness: 1, contrast: 1})")
    assert canvas.evaluate("(e) => e.style.filter") == ""


def edit(page: Page) -> None:
    show(page, part(3))
    page.evaluate("window.viewer.edit({classes: ['scratch', 'dent', 'hole']})")
    expect(page.locator(".editor-box")).to_have_count(2)


def test_boxes_are_corrected_with_the_keyboard_alone(stage: Callable[..., Any]) -> None:
    visitor = stage()
    page: Page = visitor.page
    edit(page)
    visitor.check_access()
    assert page.evaluate("window.viewer.boxes()") is None
    page.evaluate("document.addEventListener('keydown', (e) => { window.heard = e.code; })")
    page.locator(".editor-box").first.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Shift+ArrowRight", "Control+ArrowLeft"):
        page.keyboard.press(key)
    boxes = page.evaluate("window.viewer.boxes()")
    assert boxes[0] == {"class": "scratch", "box": [32, 41, 83, 81]}
    for _ in range(10):
        page.keyboard.press("Control+ArrowLeft")
    assert page.evaluate("window.viewer.boxes()")[0]["box"] == [0, 41, 51, 81]
    page.locator(".editor-bar select").select_option("hole")
    assert page.evaluate("window.viewer.boxes()")[0]["class"] == "hole"
    page.locator(".editor-box").nth(1).focus()
    page.keyboard.press("Delete")
    assert page.evaluate("window.heard") in {None, "ControlLeft", "ShiftLeft"}
    before = page.evaluate("window.viewer.main.viewport.getCenter().x")
    page.get_by_role("button", name="Look further right").press("Enter")
    assert page.evaluate("window.viewer.main.viewport.getCenter().x") > before
    page.get_by_role("button", name="Add a box").press("Enter")
    expect(page.locator(".editor-box")).to_have_count(2)
    page.keyboard.press("ArrowUp")
    assert len(page.evaluate("window.viewer.boxes()")) == 2
    corrected = page.evaluate("window.viewer.boxes()")
    page.evaluate("window.viewer.endEdit()")
    expect(page.locator(".editor")).to_have_count(0)
    assert page.evaluate("window.viewer.boxes()") == corrected
    expect(page.locator(".viewer-label.viewer-human")).to_have_count(2)
    page.evaluate("window.viewer.edit()")
    expect(page.locator(".editor-box")).to_have_count(2)
    assert page.evaluate("window.viewer.boxes()") == corrected
    show(page, part(6))
    expect(page.locator(".editor")).to_have_count(0)
    assert page.evaluate("window.viewer.boxes()") is None


@pytest.mark.parametrize("size", SIZES)
def test_boxes_are_drawn_moved_and_pulled_by_pointer(stage: Callable[..., Any], size: str) -> None:
    page: Page = stage(size).page
    edit(page)
    frame = page.locator(".editor").bounding_box()
    place = page.evaluate("window.viewer.main.place()")
    assert frame

    def drag(start: tuple[float, float], end: tuple[float, float]) -> None:
        points = [
            (
                frame["x"] + place["x"] + x * place["scale"],
                frame["y"] + place["y"] + y * place["scale"],
            )
            for x, y in (start, end)
        ]
        if size == "desk":
            page.mouse.move(*points[0])
            page.mouse.down()
            page.mouse.move(*points[1], steps=4)
            page.mouse.up()
            return
        touch = page.context.new_cdp_session(page)
        at = [{"x": x, "y": y} for x, y in points]
        touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [at[0]]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [at[1]]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        touch.detach()

    drag((60, 60), (70, 100))  # moves the first
    box = page.evaluate("window.viewer.boxes()")[0]["box"]
    assert box == pytest.approx([50, 80, 100, 120], abs=1.5)
    drag((box[2], box[3]), (box[2] + 20, box[3] + 10))  # pulls its corner
    box = page.evaluate("window.viewer.boxes()")[0]["box"]
    assert box == pytest.approx([50, 80, 120, 130], abs=2)
    drag((250, 200), (400, 400))  # draws one, past the picture's edge
    boxes = page.evaluate("window.viewer.boxes()")
    assert len(boxes) == 3
    assert boxes[2]["box"] == pytest.approx([250, 200, 320, 256], abs=1.5)
    drag((20, 20), (20, 20))  # a tap draws nothing
    assert len(page.evaluate("window.viewer.boxes()")) == 3
