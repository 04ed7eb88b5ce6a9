"""The part's own code on a running line: it names the row, and a part without the right one never passes."""

from __future__ import annotations

import io
import socket
from pathlib import Path

import cv2
import numpy as np
import segno
from station_rig import Rig, until

PICTURES = {
    "1 right": ["LOT7-1"],
    "2 none": [],
    "3 wrong": ["LOT8-3"],
    "4 two": ["LOT7-4", "LOT7-5"],
    "5 right beside another": ["LOT7-6", "ORDER"],
}


def draw(path: Path, texts: list[str]) -> None:
    image = np.full((400, 640, 3), 150, np.uint8)
    image[::8, ::8] = 120  # not flat
    for place, text in enumerate(texts):
        out = io.BytesIO()
        segno.make(text, micro=False).save(out, kind="png", scale=5, border=4)
        code = cv2.imdecode(np.frombuffer(out.getvalue(), np.uint8), cv2.IMREAD_COLOR)
        x = 40 + 300 * place
        image[120 : 120 + code.shape[0], x : x + code.shape[1]] = code
    assert cv2.imwrite(str(path), image)


def test_codes_in_the_picture_name_the_rows_and_hold_parts_back(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, texts in PICTURES.items():
        draw(folder / f"{name}.png", texts)
    rig = Rig(
        tmp_path,
        camera={"type": "folder", "path": str(folder)},
        recipe={"code": {"formats": ["qr_code"], "pattern": r"LOT7-\d+"}},
    )
    with rig.plc_running(parts=len(PICTURES), lot="LOT7") as plc, rig.line():
        assert plc.wait(60)
        assert plc.counters.passes == 2
    assert [(row["decision"], row["reason"], row["code"]) for row in rig.rows()] == [
        ("PASS", "NONE", "LOT7-1"),
        ("FAIL", "CODE_MISSING", None),
        ("FAIL", "CODE_WRONG", None),
        ("FAIL", "CODE_WRONG", None),
        ("PASS", "NONE", "LOT7-6"),
    ]
    assert {row["serial"] for row in rig.rows()} == {"LOT7"}, "what the PLC said is never rewritten"
    rig.verify()


def test_a_scanner_names_the_part_and_ready_needs_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        rig = Rig(
            tmp_path,
            recipe={"code": {"source": "scanner", "same_as_plc": True, "missing": "REVIEW"}},
        )
        rig.station["scanner"] = {
            "type": "tcp", "host": "127.0.0.1", "port": listener.getsockname()[1],
            "wait": 0.3, "window": 0.5, "no_read": "NOREAD",
        }  # fmt: skip
        rig.station["camera"]["defect_rate"] = 0.0
        rig.write()
        scans = [b"P-8812\r", b"NOREAD\r", b"P-9999\r"]
        with rig.plc_running(parts=4, lot="P-8812", ready_timeout=120) as plc, rig.line():
            link, _ = listener.accept()
            for number, scan in enumerate(scans, start=1):
                until(lambda n=number: plc.counters.triggers >= n, what=f"trigger {number}")
                link.sendall(scan)
            until(lambda: len(rig.rows("decision is not null")) == 4, what="four rows")
            link.close()
            listener.close()
            rig_alarm = "select 1 from alarms where reason = 'SCANNER_LOST' and \"on\""
            until(lambda: bool(_query(rig, rig_alarm)), what="the alarm")
            assert plc.wait(60)
            assert plc.counters.passes == 1
    rows = [(row["decision"], row["reason"], row["code"]) for row in rig.rows()]
    assert rows == [
        ("PASS", "NONE", "P-8812"),
        ("REVIEW", "CODE_MISSING", None),
        ("FAIL", "CODE_WRONG", None),
        ("REVIEW", "CODE_MISSING", None),
    ]


def test_a_plc_without_a_serial_is_no_reason_to_pass(tmp_path: Path) -> None:
    rig = Rig(tmp_path, recipe={"code": {"formats": ["qr_code"], "same_as_plc": True}})
    rig.station["camera"]["defect_rate"] = 0.0
    rig.write()
    with rig.plc_running(parts=1) as plc, rig.line():
        assert plc.wait(60)
        assert plc.counters.passes == 0
    assert rig.decisions() == [("NOT_INSPECTED", "SERIAL_NONE")]


def test_a_recipe_that_wants_a_scanner_needs_one(tmp_path: Path) -> None:
    rig = Rig(tmp_path, recipe={"code": {"source": "scanner"}})
    with rig.plc_running(parts=1, ready_timeout=60) as plc, rig.line() as line:
        until(lambda: "add `scanner:`" in line.text, what="the remedy in the log")
        assert not plc.wait(0.3)
        assert plc.counters.triggers == 0


def _query(rig: Rig, query: str) -> list[tuple[object, ...]]:
    import contextlib
    import sqlite3

    with contextlib.closing(sqlite3.connect(rig.database, timeout=5)) as connection:
        return connection.execute(query).fetchall()
