"""Pictures of parts: only the file that was saved, small ones, heat maps; refused with words otherwise."""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from release_builder import write_release
from store_samples import inspected, store_config, trigger
from web_process import PASSWORD, WebProcess, add_people
from web_shift import write_shift

from inspection.store.config import StoreConfig
from inspection.store.database import make_engine
from inspection.store.images import write_picture
from inspection.store.sql import SqlStore
from inspection.store.tables import parts
from inspection.types import Detections, Frame, Recipe
from inspection_serve.web.pictures.files import Kept


@contextmanager
def client_of(web: WebProcess, role: str = "viewer") -> Iterator[httpx.Client]:
    with httpx.Client(base_url=web.address, timeout=60) as client:
        answer = client.post("/sign-in", data={"name": role, "password": PASSWORD})
        assert answer.status_code == 303
        yield client


@pytest.fixture(scope="module")
def viewer(web: WebProcess) -> Iterator[httpx.Client]:
    with client_of(web) as client:
        yield client


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StoreConfig, httpx.Client]]:
    """A small store of one's own, to be damaged: each test has other records."""
    folder = tmp_path_factory.mktemp("own")
    config = write_shift(folder, 4)
    add_people(config)
    with WebProcess(config.url, log=folder / "web.log") as web, client_of(web) as client:
        yield config, client


def change(config: StoreConfig, record: int, **values: Any) -> None:
    engine = make_engine(config)
    with engine.begin() as connection:
        connection.execute(sa.update(parts).where(parts.c.id == record).values(**values))
    engine.dispose()


def image_of(config: StoreConfig, record: int) -> dict[str, Any]:
    engine = make_engine(config)
    with engine.begin() as connection:
        found = connection.execute(sa.select(parts.c.images).where(parts.c.id == record)).scalar()
    engine.dispose()
    assert found
    return dict(found[0])


def test_the_stored_file_is_given_as_it_is(shop: StoreConfig, viewer: httpx.Client) -> None:
    answer = viewer.get("/pictures/3/0")
    stored = image_of(shop, 3)
    assert answer.status_code == 200
    assert hashlib.sha256(answer.content).hexdigest() == stored["sha256"]
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["etag"] == f'"{stored["sha256"]}"'
    assert "immutable" in answer.headers["cache-control"]
    assert "private" in answer.headers["cache-control"]
    again = viewer.get("/pictures/3/0", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_small_picture_is_kept_and_never_larger(shop: StoreConfig, viewer: httpx.Client) -> None:
    answer = viewer.get("/pictures/3/thumb")
    image = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert max(image.shape) == 256
    kept = list((shop.images.folder.parent / "web" / "thumbs").glob("*/*"))
    assert [path.read_bytes() for path in kept] == [answer.content]
    assert viewer.get("/pictures/3/thumb").content == answer.content


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/pictures/12/0", 404, "no_picture"),
        ("/pictures/3/1", 404, "no_picture"),
        ("/pictures/999999/0", 404, "no_part"),
        ("/pictures/3/heat", 404, "no_heat"),
        ("/pictures/0/0", 422, "malformed"),
        ("/pictures/4294967296/0", 422, "malformed"),
        ("/pictures/3/-1", 422, "malformed"),
        ("/pictures/3/x", 422, "malformed"),
        ("/pictures/..%2f..%2fetc/0", 404, "http_404"),
    ],
)
def test_what_is_not_there_is_refused_in_words(
    viewer: httpx.Client, path: str, status: int, code: str
) -> None:
    answer = viewer.get(path, headers={"Accept": "application/json"})
    assert answer.status_code == status
    assert answer.json()["code"] == code


def test_the_reason_is_in_the_language_of_who_asks(viewer: httpx.Client) -> None:
    texts = {}
    for language in ("ko", "en"):
        viewer.cookies.set("inspection_language", language)
        texts[language] = viewer.get("/pictures/12/0").json()["detail"]
    viewer.cookies.delete("inspection_language")
    assert texts["en"] == "No picture was taken of this part."
    assert texts["ko"] == "이 부품은 촬영된 이미지가 없습니다."


def test_nobody_sees_a_picture_unseen(web: WebProcess) -> None:
    for path in ("/pictures/3/0", "/pictures/3/thumb", "/pictures/3/heat"):
        answer = httpx.get(web.address + path, headers={"Accept": "application/json"})
        assert answer.status_code == 401


def test_an_altered_or_missing_file_is_not_shown(own: tuple[StoreConfig, httpx.Client]) -> None:
    config, client = own
    path = config.images.folder / image_of(config, 1)["path"]
    assert client.get("/pictures/1/0").status_code == 200
    assert client.get("/pictures/1/thumb").status_code == 200
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    for kind in ("0", "thumb"):
        answer = client.get(f"/pictures/1/{kind}")
        assert (answer.status_code, answer.json()["code"]) == (409, "altered")
    path.unlink()
    assert client.get("/pictures/1/0").json()["code"] == "file_missing"
    change(config, 1, image_state="expired")
    answer = client.get("/pictures/1/thumb")
    assert (answer.status_code, answer.json()["code"]) == (404, "picture_expired")


def test_a_row_that_names_a_file_elsewhere_gives_nothing(
    own: tuple[StoreConfig, httpx.Client],
) -> None:
    config, client = own
    secret = config.images.folder.parent / "secret.jpg"
    shutil.copy(config.images.folder / image_of(config, 2)["path"], secret)
    (config.images.folder / "link.jpg").symlink_to(secret)
    digest = hashlib.sha256(secret.read_bytes()).hexdigest()
    for form in ("../secret.jpg", str(secret), "link.jpg", "st1/../../secret.jpg", "a\0b.jpg", ""):
        change(config, 2, images=[{**image_of(config, 2), "path": form, "sha256": digest}])
        for kind in ("0", "thumb"):
            answer = client.get(f"/pictures/2/{kind}")
            assert answer.status_code == 409, form
            assert answer.json()["code"] in {"outside", "not_a_picture"}


def test_a_small_file_of_many_pixels_is_not_decoded(own: tuple[StoreConfig, httpx.Client]) -> None:
    config, client = own
    ok, made = cv2.imencode(".png", np.zeros((16, 16, 3), np.uint8))
    assert ok
    bomb = bytearray(made.tobytes())
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    (config.images.folder / "bomb.png").write_bytes(bytes(bomb))
    digest = hashlib.sha256(bytes(bomb)).hexdigest()
    change(config, 4, images=[{"path": "bomb.png", "sha256": digest, "width": 16, "height": 16}])
    answer = client.get("/pictures/4/thumb")
    assert (answer.status_code, answer.json()["code"]) == (409, "too_large")
    (config.images.folder / "text.png").write_bytes(b"no picture")
    digest = hashlib.sha256(b"no picture").hexdigest()
    change(config, 4, images=[{"path": "text.png", "sha256": digest, "width": 16, "height": 16}])
    assert client.get("/pictures/4/thumb").json()["code"] == "not_a_picture"
    change(config, 4, images={"path": 7})
    assert client.get("/pictures/4/0").json()["code"] == "altered"


@pytest.fixture(scope="module")
def heated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StoreConfig, WebProcess]]:
    """One part of a release that learned from good parts: grey, with a bright square at the right."""
    folder = tmp_path_factory.mktemp("heat")
    release = write_release(
        folder / "releases", size=(64, 64), variant="anomaly", classes=("anomaly",)
    )
    model = hashlib.sha256((release / "model.onnx").read_bytes()).hexdigest()
    config = store_config(folder)
    store = SqlStore(config)
    store.begin_epoch("st1", "start")
    image = np.full((100, 200, 3), 40, np.uint8)
    image[30:70, 140:180] = 250
    for sequence, sha in enumerate((model, "bf16:" + model, "ee" * 32), 1):
        asked = trigger(sequence)
        found = Detections(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64),
            ("anomaly",), "demo/1", sha, 0.97,
        )  # fmt: skip
        taken = Frame(image, sequence, asked.seen_mono, "top", "x.png")
        part = inspected(asked, recipe=Recipe(1, "demo", 1, {}), frame=taken, detections=found)
        store.triggered(asked, 1)
        store.decided(part)
        store.images(asked.key, "saved", [write_picture(config.images, part)])
    store.close()
    add_people(config)
    with WebProcess(config.url, "--releases", folder / "releases", log=folder / "web.log") as web:
        yield config, web


def test_a_heat_map_is_computed_again_from_the_stored_picture(
    heated: tuple[StoreConfig, WebProcess],
) -> None:
    config, web = heated
    with client_of(web) as client:
        answer = client.get("/pictures/1/heat")
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-heat-map"] == "computed again from the stored picture"
        image = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
        assert image is not None
        assert image.shape == (100, 200, 4)
        assert image[50, 160, 3] == 255
        assert image[50, 30, 3] < 60
        assert image[5, 160, 3] < 60
        kept = list((config.images.folder.parent / "web" / "heat").glob("*/*"))
        assert [path.read_bytes() for path in kept] == [answer.content]
        assert client.get("/pictures/1/heat").content == answer.content
        assert client.get("/pictures/2/heat").status_code == 200
        other = client.get("/pictures/3/heat")
        assert (other.status_code, other.json()["code"]) == (404, "no_heat")


def test_the_heat_map_is_a_layer_of_the_viewer(
    heated: tuple[StoreConfig, WebProcess], visit: Callable[..., Any]
) -> None:
    from web_visit import enter

    visitor = visit(address=heated[1].address)
    enter(visitor, "operator")
    page = visitor.go("/people/me")
    page.evaluate(
        """async () => {
          const { Viewer } = await import("/static/js/viewer.js");
          const stage = document.createElement("div");
          stage.style.height = "400px";
          document.getElementById("main").replaceChildren(stage);
          window.viewer = new Viewer(stage);
          window.viewer.toggle("heat", true);
          await window.viewer.show(
            { picture: "/pictures/1/0", width: 200, height: 100, boxes: [], heat: "/pictures/1/heat" });
        }"""
    )
    said = page.locator(".viewer-notice")
    said.get_by_text("computed again from the stored picture").wait_for()
    world = "window.viewer.main.osd.world"
    assert page.evaluate(f"{world}.getItemAt({world}.getItemCount() - 1).getOpacity()") == 0.6
    page.evaluate("window.viewer.setHeatOpacity(0.25)")
    assert page.evaluate(f"{world}.getItemAt({world}.getItemCount() - 1).getOpacity()") == 0.25


def test_a_small_picture_that_cannot_be_kept_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    for number in range(3):
        assert Kept(tmp_path, 10).get(f"{number:064x}", lambda: b"small") == b"small"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
