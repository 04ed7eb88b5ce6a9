"""`inspection plc map` for PLCs whose words are two arrays with names: OPC UA and EtherNet/IP (Logix)."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest

from inspection.commission.map.families import area_of, open_area
from inspection.commission.map.files import contents
from inspection.commission.map.variables import VARIABLES
from inspection.commission.map.words import WORDS
from inspection.errors import ConfigError
from inspection.plc.ethernetip import EtherNetIpConfig
from inspection.plc.opcua import OpcUaConfig
from inspection.plugin import plugin

NAMES = [word.name for word in WORDS]
BITS = [bit.name for word in WORDS for bit in word.bits]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"type": "ethernet_ip", "host": "x", "element": "UINT"}, "--for opcua"),
        ({"type": "ethernet_ip", "host": "x", "ctrl_tag": "A.C", "stat_tag": "A.S"}, "structure"),
        ({"type": "ethernet_ip", "host": "x", "ctrl_tag": "Program:A.C"}, "of one program"),
        ({"type": "opcua", "url": "opc.tcp://x", "ctrl_node": "i=1", "stat_node": "i=2",
          "element": "Int16"}, "UInt16"),
    ],
)  # fmt: skip
def test_arrays_that_the_program_does_not_fit_are_refused(
    fields: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        area_of(plugin("inspection.plc", fields))


def test_nodes_are_listed_with_the_ids_of_the_station() -> None:
    plc = OpcUaConfig(url="opc.tcp://x:4840", ctrl_node="ns=4;s=|var|A,C", stat_node="ns=4;i=9")
    content = contents(area_of(plc), "ko")["nodes.csv"]
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert [row["name"] for row in rows if not row["bit"]] == NAMES
    assert [row["name"] for row in rows if row["bit"]] == BITS
    assert {(row["block"], row["node_id"], row["station"]) for row in rows} == {
        ("CTRL", plc.ctrl_node, "read"),
        ("STAT", plc.stat_node, "write"),
    }
    assert [int(row["index"]) for row in rows if not row["bit"]] == [*range(16)] * 2
    unknown = contents(open_area("opcua"), "en")["nodes.csv"].decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(unknown, newline="")))
    assert {row["node_id"] for row in rows} == {""}


@pytest.mark.parametrize("scope", ["", "Main"])
def test_studio_5000_tags_are_all_that_the_program_names(scope: str) -> None:
    before = f"Program:{scope}." if scope else ""
    plc = EtherNetIpConfig(host="x", ctrl_tag=f"{before}FromPlc", stat_tag=f"{before}ToPlc")
    files = contents(area_of(plc), "ko")
    text = files["studio5000_tags.csv"].decode("ascii")
    assert text.startswith('remark,"CSV-Import-Export"\r\n0.3\r\nTYPE,SCOPE,NAME,')
    rows = list(csv.reader(io.StringIO(text, newline="")))[3:]
    assert all(len(row) == 7 and row[1] == scope for row in rows)
    tags = {row[2]: row[4] for row in rows if row[0] == "TAG"}
    assert tags == {
        "FromPlc": "INT[16]", "ToPlc": "INT[16]", "v_word": "DINT", **dict.fromkeys(NAMES, "DINT"),
        **{v.name: {"BOOL": "BOOL", "TON": "FBD_TIMER"}.get(v.type, "DINT") for v in VARIABLES},
    }  # fmt: skip
    comments = {row[5]: row[3] for row in rows if row[0] == "COMMENT"}
    assert list(comments)[:3] == ["FromPlc[0]", "FromPlc[0].0", "FromPlc[0].1"]
    assert len(comments) == len(NAMES) + len(BITS)
    decoded = re.sub(r"\$([0-9A-F]{4})", lambda m: chr(int(m[1], 16)), comments["FromPlc[0].1"])
    assert decoded == "부품 도착, TRIG_ACK까지 ON 유지"
    program = re.sub(r"\(\*.*?\*\)", "", files["inspection.st"].decode("utf-8-sig"))
    words = {
        "IF",
        "THEN",
        "ELSIF",
        "ELSE",
        "END_IF",
        "CASE",
        "OF",
        "END_CASE",
        "AND",
        "OR",
        "NOT",
        "MOD",
    }
    parts = {"S", "FS", "TONR", "PRE", "TimerEnable", "DN", "Reset"}
    assert set(re.findall(r"[A-Za-z_]\w*", program)) - words - parts == set(tags)
