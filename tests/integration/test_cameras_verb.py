"""`inspection cameras`: what it finds, shows, refuses, and the live page, as a process."""

from __future__ import annotations

import json
import re
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fake_gige_camera import FakeGigeCamera, installed, number_in
from station_rig import Process, Rig, until
from typer.testing import CliRunner

from inspection.cameras.aravis import AravisCameraConfig
from inspection.cameras.cli import app
from inspection.cameras.measures import measure
from inspection.cameras.tune_page import TEXTS, page
from inspection.errors import InspectionError

needs_aravis = pytest.mark.skipif(not installed(), reason="libaravis-0.8-0 is not installed")


def cameras(*arguments: str, expect: int = 0) -> str:
    """Run the verb in this process and return what it printed, or the error that ended it."""
    result = CliRunner(env={"COLUMNS": "160"}).invoke(app, arguments)
    if isinstance(result.exception, InspectionError):
        assert expect == 2
        return str(result.exception)
    assert result.exit_code == expect, result.output + repr(result.exception)
    return result.stdout


@needs_aravis
def test_list_tells_what_is_there_and_whether_it_is_free() -> None:
    with FakeGigeCamera():
        found = json.loads(cameras("list", "--json"))
        mine = next(each for each in found if each["type"] == "aravis")
        assert mine == {
            "type": "aravis", "device": "Aravis-Fake-GV01", "maker": "Aravis", "model": "Fake",
            "serial": "GV01", "address": "127.0.0.1", "state": "free",
        }  # fmt: skip
        camera = AravisCameraConfig(device="127.0.0.1", trigger="software").open()
        try:
            table = cameras("list")
            held = cameras("show", "GV01", expect=2)
        finally:
            camera.close()
    assert "taken" in table
    assert "another program controls 127.0.0.1" in held


@needs_aravis
def test_show_prints_facts_and_saves_one_picture(tmp_path: Path) -> None:
    picture = tmp_path / "one.png"
    with FakeGigeCamera():
        facts = json.loads(cameras("show", "GV01", "--out", str(picture), "--json"))
    assert facts["maker"] == "Aravis"
    assert facts["serial"] == "GV01"
    assert facts["packet_size"] == "1400 bytes"
    image = cv2.imread(str(picture))
    assert image.shape == (512, 512, 3)
    assert number_in(image) > 0


def test_show_and_tune_leave_the_lines_camera_alone(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    station = str(rig.folder / "station.yaml")
    shown = cameras("show", station)
    assert "320 x 256 pixels" in shown
    with rig.plc_running(parts=0), rig.line() as line:
        until(lambda: "delivers" in line.text, 60, "the camera")
        until(lambda: list((tmp_path / "live").glob("*.json")), 20, "the state of the line")
        for verb in ("show", "tune"):
            told = cameras(verb, station, expect=2)
            assert "the line of station test runs and holds its camera; stop it first" in told
    assert "320 x 256 pixels" in cameras("show", station), "after the line was stopped"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("show", "NO-SUCH"), "no camera 'NO-SUCH' was found"),
        (("show", "no.yaml"), "no.yaml"),
        (("tune", "STATION", "--region", "1,2,3"), "write x,y,width,height"),
        (("show", "STATION", "--out", "x.what"), "no such kind of picture"),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, arguments: tuple[str, ...], text: str) -> None:
    rig = Rig(tmp_path)
    given = [str(rig.folder / "station.yaml") if a == "STATION" else a for a in arguments]
    assert text in cameras(*given, expect=2)


def get(address: str, **headers: str) -> Any:
    return urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10)


def test_tune_shows_the_live_picture_and_its_numbers(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    arguments = ["cameras", "tune", str(rig.folder / "station.yaml"), "--port", "0"]
    process = Process([*arguments, "--region", "10,20,100,80"], tmp_path / "tune.log")
    try:
        until(lambda: "focus" in process.text, 60, "numbers in the terminal")
        address = re.findall(r"http://127\.0\.0\.1:\d+/", process.text)[0]
        with get(address) as page:
            text = page.read().decode()
            assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert "http" not in text, "nothing from elsewhere"
        for language, word in (("ko", "노출"), ("en", "exposure")):
            with get(f"{address}?language={language}") as other:
                said = other.read().decode()
            assert f'<html lang="{language}">' in said
            assert word in said
            assert f'hreflang="{language}" aria-current' in said
        numbers = json.load(get(address + "numbers"))
        assert numbers["focus"] > 0
        assert numbers["region"] == [10, 20, 100, 80]
        assert sum(numbers["histogram"]) == pytest.approx(1, abs=0.01)
        with get(address + "stream") as stream:
            assert stream.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=next"
            shown = [read_picture(stream) for _ in range(3)]
        assert {image.shape for image in shown} == {(256, 320, 3)}
        assert not np.array_equal(shown[0], shown[2])
        for wrong in ("elsewhere.example", "127.0.0.1.elsewhere.example"):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                get(address, Host=wrong)
        process.popen.send_signal(signal.SIGINT)
        assert process.popen.wait(10) == 0
    finally:
        process.stop()


def test_the_page_is_said_in_both_languages() -> None:
    korean, english = (page(language, "<line 7> & more") for language in ("ko", "en"))
    assert all(re.search("[가-힣]", pair[0]) for code, pair in TEXTS.items() if code != "of_255")
    assert not re.search("[가-힣]", english.replace("한국어", ""))
    assert korean.count("&lt;line 7&gt; &amp; more") == 2
    assert "{" not in korean + english


def read_picture(stream: Any) -> np.ndarray:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += stream.read(1)
    size = int(re.findall(rb"Content-Length: (\d+)", head)[0])
    image = cv2.imdecode(np.frombuffer(stream.read(size), np.uint8), cv2.IMREAD_COLOR)
    stream.read(2)
    return image


def test_focus_and_exposure_measures() -> None:
    rng = np.random.default_rng(1)
    sharp = rng.integers(40, 200, (120, 160, 3), np.uint8)
    soft = np.asarray(cv2.GaussianBlur(sharp, (0, 0), 2.0), np.uint8)
    assert measure(sharp).focus > 10 * measure(soft).focus > 0
    lit = np.zeros((100, 100, 3), np.uint8)
    lit[:, :25] = 255
    lit[:, 25:50] = 100
    found = measure(lit)
    assert found.bright == pytest.approx(0.25)
    assert found.dark == pytest.approx(0.5)
    assert found.mean == pytest.approx(0.25 * 255 + 25)
    assert sum(found.histogram) == pytest.approx(1, abs=1e-3)
    assert measure(lit, (60, 0, 30, 30)).dark == 1
    assert measure(lit, (90, 90, 50, 50)).dark == 1, "cut at the edge"
    with pytest.raises(ValueError, match="outside"):
        measure(lit, (100, 0, 5, 5))
