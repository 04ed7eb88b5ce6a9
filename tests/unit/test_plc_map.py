"""The address table and the files of `inspection plc map`: read back, every word once, in the right place."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from blark.parse import parse_source_code
from st_interpreter import read_program
from typer.testing import CliRunner

from inspection.commission.cli import app
from inspection.commission.map import labels
from inspection.commission.map.companion import COMPANION
from inspection.commission.map.dialects import structured_text
from inspection.commission.map.families import FAMILIES, Family, addresses, area_of, open_area
from inspection.commission.map.files import contents
from inspection.commission.map.program import BODY
from inspection.commission.map.program_comments import COMMENTS
from inspection.commission.map.variables import VARIABLES
from inspection.commission.map.words import WORDS
from inspection.errors import ConfigError
from inspection.plc.words import Ctrl, CtrlFlag, Stat, StatFlag

KOREAN = re.compile("[가-힣]")
NAMES = [word.name for word in WORDS]
BITS = [bit.name for word in WORDS for bit in word.bits]


def at(block: str, offset: int) -> str:
    return next(w.name for w in WORDS if (w.block, w.offset) == (block, offset))


def test_the_names_stand_where_the_exchange_has_them() -> None:
    assert len(set(NAMES)) == 32
    ctrl = Ctrl(CtrlFlag(1), 2, 3, 4, 6 << 16 | 5, 7, 8, "AB").pack()
    for name, value in {
        "FLAGS": 1, "HEARTBEAT": 2, "TRIG_SEQ": 3, "RECIPE": 4, "PART_ID_LOW": 5, "PART_ID_HIGH": 6,
        "DEADLINE": 7, "MAP_VERSION": 8, "SERIAL_1": int.from_bytes(b"AB", "big"),
    }.items():  # fmt: skip
        assert at("CTRL", ctrl.index(value)) == f"CTRL_{name}"
    stat = Stat(StatFlag(20), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13 << 16 | 12, 14, 15).pack()
    assert [at("STAT", stat.index(value)) for value in range(1, 16)] == [
        f"STAT_{name}"
        for name in (
            "HEARTBEAT", "ACK_SEQ", "RESULT_SEQ", "RESULT_CODE", "CODE_INVERSE", "CLASS", "SCORE",
            "CYCLE_MS", "OVER_T1", "REASON", "RECIPE", "RECORD_LOW", "RECORD_HIGH", "MAP_VERSION",
            "RESULT_SEQ_COPY",
        )
    ]  # fmt: skip
    told = {bit.name: 1 << bit.number for word in WORDS for bit in word.bits}
    assert told == {f"CTRL_{flag.name}": flag.value for flag in CtrlFlag} | {
        f"STAT_{flag.name}": flag.value for flag in StatFlag
    }


def test_every_text_is_there_in_korean_and_english() -> None:
    pairs: list[tuple[str, str]] = [word.meaning for word in WORDS]
    pairs += [bit.meaning for word in WORDS for bit in word.bits]
    pairs += [variable.meaning for variable in VARIABLES]
    pairs += [*COMMENTS.values(), *COMPANION.values()]
    for korean, english in pairs:
        assert korean
        assert english
        assert not KOREAN.search(
            english.replace("변수, 타입, 디바이스, 사용 유무, HMI, 설명문", "")
        )
    assert all(KOREAN.search(korean) for korean, _ in COMMENTS.values())
    used = set(re.findall(r"^ *@(\w+)$", BODY, re.MULTILINE))
    assert used | {"title", "untested", "every_scan"} == set(COMMENTS)


@pytest.mark.parametrize(
    ("area", "wanted"),
    [
        (open_area("melsec", 100, 200), {"CTRL_FLAGS": "D100", "CTRL_TRIGGER": "D100.1",
                                         "STAT_RESULT_CODE": "D204", "STAT_DEGRADED": "D200.9"}),
        (open_area("melsec", 0x1A0, 0x200, device="w"), {"CTRL_FLAGS": "W1A0", "STAT_FLAGS": "W200",
                                                         "CTRL_SERIAL_8": "W1AF"}),
        (open_area("melsec", 100, 200, device="ZR"), {"CTRL_HEARTBEAT": "ZR101"}),
        (open_area("xgt", 100, 200), {"CTRL_TRIGGER": "%MW100.1", "STAT_HEARTBEAT": "%MW201"}),
        (open_area("xgt", 100, 200, device="D"), {"CTRL_TRIGGER": "D00100.1",
                                                  "STAT_HEARTBEAT": "D00201"}),
        (open_area("xgt", 100, 200, device="M", iec=False), {"CTRL_TRIGGER": "M01001",
                                                             "STAT_HEARTBEAT": "M0201"}),
        (open_area("s7", 0, 100, db=7), {"CTRL_FLAGS": "DB7.DBW0", "CTRL_TRIGGER": "DB7.DBX1.1",
                                         "STAT_FLAGS": "DB7.DBW200", "STAT_EXPOSURE_DONE": "DB7.DBX200.0",
                                         "STAT_RECIPE_ACK": "DB7.DBX201.7"}),
        (open_area("modbus", 0, 100), {"CTRL_FLAGS": "40001", "STAT_FLAGS": "40101",
                                       "CTRL_TRIGGER": "40001.1"}),
        (open_area("opcua"), {"CTRL_FLAGS": "CTRL[0]", "STAT_TRIG_ACK": "STAT[0].1"}),
        (open_area("ethernet_ip"), {"CTRL_TRIGGER": "CTRL[0].1", "STAT_RESULT_SEQ_COPY": "STAT[15]"}),
        (open_area("modbus", 9998, 12000), {"CTRL_FLAGS": "49999", "CTRL_HEARTBEAT": "410000",
                                            "STAT_FLAGS": "412001"}),
    ],
)  # fmt: skip
def test_addresses_are_written_as_the_family_writes_them(area: Any, wanted: dict[str, str]) -> None:
    told = addresses(area)
    assert list(told) == [n for w in WORDS for n in (w.name, *(b.name for b in w.bits))]
    assert {name: told[name] for name in wanted} == wanted
    assert len(set(told.values())) == len(told)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"type": "slmp", "host": "x", "device": "R", "ctrl_address": 100, "stat_address": 200},
         {"CTRL_FLAGS": "R100", "STAT_TRIG_ACK": "R200.1"}),
        ({"type": "xgt", "host": "x", "cpu": "xgi", "area": "M"},
         {"CTRL_FLAGS": "%MW0", "STAT_DEGRADED": "%MW100.9"}),
        ({"type": "xgt", "host": "x", "cpu": "xgk", "area": "M"}, {"STAT_DEGRADED": "M01009"}),
        ({"type": "s7", "host": "x", "db": 12, "stat_address": 16}, {"STAT_FLAGS": "DB12.DBW32"}),
        ({"type": "modbus", "host": "x", "stat_address": 50}, {"STAT_FLAGS": "40051"}),
        ({"type": "opcua", "url": "opc.tcp://x:4840", "ctrl_node": "ns=4;s=C", "stat_node": "i=7"},
         {"STAT_HEARTBEAT": "STAT[1]"}),
        ({"type": "ethernet_ip", "host": "x", "ctrl_tag": "Program:Main.FromPlc",
          "stat_tag": "Program:Main.ToPlc"}, {"STAT_HEARTBEAT": "Program:Main.ToPlc[1]"}),
    ],
)  # fmt: skip
def test_the_area_is_that_of_the_station_s_driver(
    fields: dict[str, Any], told: dict[str, str]
) -> None:
    from inspection.plugin import plugin

    found = addresses(area_of(plugin("inspection.plc", fields)))
    assert {name: found[name] for name in told} == told


@pytest.mark.parametrize(
    ("family", "fields"),
    [
        ("modbus", {"ctrl": 0, "stat": 15}),
        ("modbus", {"ctrl": 65521, "stat": 0}),
        ("s7", {"ctrl": 32753, "stat": 0}),
        ("melsec", {"ctrl": -1, "stat": 100}),
        ("melsec", {"device": "M"}),
        ("s7", {"device": "D"}),
        ("s7", {"db": 0}),
        ("opcua", {"ctrl": 0}),
        ("ethernet_ip", {"stat": 100}),
        ("ethernet_ip", {"device": "D"}),
    ],
)
def test_areas_that_cannot_be_are_refused(family: Family, fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        open_area(family, **fields)


# ---------------------------------------------------------------------- the program


@pytest.mark.parametrize(
    ("family", "language"), [("modbus", "ko"), pytest.param("s7", "en", marks=pytest.mark.soak)]
)
def test_another_author_s_parser_reads_the_program(family: Family, language: str) -> None:
    """blark knows TwinCAT's dialect: what SCL writes otherwise is put aside. It takes seconds for each."""
    text = structured_text(open_area(family), language)
    if family == "s7":
        text = re.sub(r'"INSPECTION_DATA"\.|#(?=[a-zA-Z]+_)|"', "", text)
        text = re.sub(r"^VERSION.*$|^BEGIN$", "", text, flags=re.MULTILINE)
    result = parse_source_code(text)
    assert result.exception is None
    assert result.transform().items


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_dialects_differ_in_names_and_frame_alone(language: str) -> None:
    texts = {family: structured_text(open_area(family), language) for family in FAMILIES}
    bodies = {family: read_program(text)[0].strip() for family, text in texts.items()}
    assert bodies["melsec"] == bodies["xgt"] == texts["melsec"].strip()
    assert bodies["melsec"].endswith(bodies["modbus"])
    assert "#v_seq := 1;" in bodies["s7"]
    assert '"INSPECTION_DATA".CTRL_FLAGS := #v_ctrl_flags;' in bodies["s7"]
    assert re.sub(r'"INSPECTION_DATA"\.|#(?=[a-zA-Z]+_)', "", bodies["s7"]) == bodies["modbus"]
    arrays = re.compile(r"\b(CTRL|STAT)\[(\d+)\]")
    named = arrays.sub(lambda found: at(found[1], int(found[2])), bodies["opcua"])
    assert named == bodies["modbus"]
    for text in texts.values():
        assert "'" not in text.replace("'TRUE'", ""), "a quote in a comment confuses tools"
        assert bool(KOREAN.search(text)) == (language == "ko")


def test_the_generic_program_declares_every_word_at_its_address() -> None:
    text = structured_text(open_area("modbus", 10, 200), "en")
    places = dict(re.findall(r"^    (\w+) AT %MW(\d+) : UINT;", text, re.MULTILINE))
    assert places == {
        w.name: str((10 if w.block == "CTRL" else 200) + w.offset) for w in WORDS
    }  # fmt: skip
    _, types = read_program(text)
    assert types == dict.fromkeys(NAMES, "UINT") | {v.name: v.type for v in VARIABLES}


def test_only_ctrl_is_written_and_every_word_of_it() -> None:
    body, _ = read_program(structured_text(open_area("modbus"), "en"))
    written = set(re.findall(r"^ *(\w+) :=", body, re.MULTILINE))
    assert {name for name in written if name.startswith(("STAT", "IN_"))} == set()
    assert {name for name in NAMES if name.startswith("CTRL")} <= written
    assert {v.name for v in VARIABLES if v.kind == "output"} <= written
    for variable in VARIABLES:
        assert re.search(rf"\b{variable.name}\b", body), f"{variable.name} is not used"


# ---------------------------------------------------------------------- what the tools import


def table(content: bytes) -> list[list[str]]:
    assert content.startswith(b"\xff\xfe"), "UTF-16, low byte first, with its mark"
    text = content.decode("utf-16")
    assert text.endswith("\r\n")
    assert all(line.startswith('"') for line in text.splitlines())
    return list(csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True))


@pytest.mark.parametrize("language", ["ko", "en"])
def test_gx_works_files_hold_every_word_once(language: str) -> None:
    area = open_area("melsec", 100, 200)
    files = contents(area, language)
    told = addresses(area)
    title, head, *rows = table(files["gxworks3_global_labels.csv"])
    assert len(title) == 1
    assert all(len(row) == len(head) == 28 for row in rows)
    found = [dict(zip(head, row, strict=True)) for row in rows]
    places = {r["Label Name"]: r["Assign (Device/Label)"] for r in found}
    assert len(places) == len(found)
    wired = {v.name for v in VARIABLES if v.kind in ("input", "output")}
    assert {n: p for n, p in places.items() if p} == told
    assert {n for n, p in places.items() if not p} == wired
    assert {r["Data Type"] for r in found if r["Label Name"] in BITS} == {"Bit"}
    assert {r["Class"] for r in found} == {"VAR_GLOBAL"}
    if language == "ko":
        assert KOREAN.search(found[0]["Comment"])
    _, head, *rows = table(files["gxworks3_local_labels.csv"])
    assert len(head) == 27
    assert {row[1] for row in rows} == {v.name for v in VARIABLES} - wired
    _, head, *rows = table(files["gxworks2_global_labels.csv"])
    assert {row[1]: row[4] for row in rows} == told
    assert all(len(row) == len(head) == 11 for row in rows)
    for name in ("gxworks3_device_comments.csv", "gxworks2_device_comments.csv"):
        _, head, *rows = table(files[name])
        assert len(head) == 2
        assert [row[0] for row in rows] == list(told.values())
        assert all(row[1] for row in rows)


@pytest.mark.parametrize("device", ["M", "D"])
def test_xg5000_variables_are_in_the_korean_code_page(device: str) -> None:
    area = open_area("xgt", 100, 200, device=device)
    text = contents(area, "ko")["xg5000_variables.csv"].decode("cp949")
    head, *rows = list(csv.reader(io.StringIO(text, newline="")))
    assert head == ["변수", "타입", "디바이스", "사용 유무", "HMI", "설명문"]
    places = {row[0]: row[2] for row in rows if row[2]}
    wanted = [v.name for v in VARIABLES if device == "M" or v.type != "TON"]
    assert [row[0] for row in rows][-len(wanted) :] == wanted
    assert len(rows) == len(NAMES) + len(BITS) + len(wanted)
    kinds = {"M": {"BOOL", "UINT", "UDINT", "TON"}, "D": {"BIT", "WORD", "DWORD"}}
    assert {row[1] for row in rows} == kinds[device]
    told = addresses(area)
    assert {n: p for n, p in places.items() if n in NAMES} == {n: told[n] for n in NAMES}
    trigger = {"M": "%MX1601", "D": "D00100.1"}[device]
    assert places["CTRL_TRIGGER"] == trigger
    assert all(len(row) == 6 for row in rows)


@pytest.mark.parametrize(("ctrl", "stat"), [(0, 100), (0, 16), (50, 10)])
def test_the_data_block_puts_every_word_at_its_byte(ctrl: int, stat: int) -> None:
    text = "\n".join(labels.s7_data_block(open_area("s7", ctrl, stat, db=5), "ko"))
    assert "{ S7_Optimized_Access := 'FALSE' }" in text
    place, found = 0, {}
    for line in text.splitlines():
        gap = re.match(r" +GAP_\d+ : Array\[1\.\.(\d+)\] of UInt;", line)
        word = re.match(r" +(\w+) : UInt;   // DB5\.DBW(\d+):", line)
        if gap:
            place += int(gap[1])
        elif word:
            assert int(word[2]) == 2 * place
            found[word[1]] = place
            place += 1
    assert found == {w.name: (ctrl if w.block == "CTRL" else stat) + w.offset for w in WORDS}


def test_registers_are_for_a_spreadsheet() -> None:
    content = contents(open_area("modbus", 0, 100), "ko")["registers.csv"]
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert [row["name"] for row in rows] == NAMES
    assert [int(row["register"]) - 40001 for row in rows] == [int(row["address"]) for row in rows]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_not_verified_is_said_beside_the_files(family: Family) -> None:
    files = contents(open_area(family, db=9), "en")
    told = files["READ_ME.txt"].decode("utf-8-sig")
    assert "Nothing here was tried in a real PLC" in told
    assert {name.rpartition(".")[2] for name in files} <= {"csv", "st", "scl", "db", "txt"}
    programs = {"inspection.st", "inspection.scl"} & set(files)
    assert len(programs) == 1
    assert "\r\n" in told
    if family == "s7":
        assert "to 9 by hand" in " ".join(told.split())


# ---------------------------------------------------------------------- the verb


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["map", *arguments], env={"COLUMNS": "160"})
    return done.exit_code, done.output + (str(done.exception) if done.exception else "")


def test_the_table_is_printed_and_the_files_are_written(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    code, text = run("--for", "melsec", "--ctrl", "500", "--stat", "600", "--language", "ko",
                     "--out", str(out))  # fmt: skip
    assert code == 0, text
    for part in ("D500.1", "CTRL_TRIGGER", "D615", "부품 도착"):
        assert part in text
    assert {p.name for p in out.iterdir()} == set(contents(open_area("melsec", 500, 600), "ko"))


def test_the_station_file_says_which_plc(tmp_path: Path) -> None:
    for name in ("releases", "recipes"):
        (tmp_path / name).mkdir()
    station = {
        "station": "a", "plc": {"type": "modbus", "host": "10.0.0.5", "stat_address": 20},
        "camera": {"type": "simulated"}, "runtime": {"type": "onnxruntime"}, "store": {"url": "r.db"},
    }  # fmt: skip
    file = tmp_path / "station.yaml"
    file.write_text(yaml.safe_dump(station))
    code, text = run("--station", str(file), "--language", "en")
    assert code == 0, text
    assert "40021" in text
    for more in (["--for", "s7"], ["--ctrl", "3"], ["--db", "2"]):
        code, text = run("--station", str(file), *more)
        assert code == 1
        assert "leave the other options out" in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "is not one of melsec, xgt, s7, modbus"),
        (["--for", "omron"], "is not one of"),
        (["--for", "s7", "--language", "de"], "is not one of ko, en"),
        (["--for", "s7", "--ctrl", "0", "--stat", "3"], "overlap"),
        (["--for", "s7", "--out", "/proc/nothing"], "cannot be written"),
    ],
)
def test_wrong_options_are_told(arguments: list[str], told: str) -> None:
    code, text = run(*arguments)
    assert code != 0
    assert told in text
