"""What the OPC UA server says of a station follows from what the line wrote, and a doubt is an error."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from inspection.types import Reason
from inspection_serve.opcua.certificates import TrustList, ensure_certificate
from inspection_serve.opcua.nodeset import nodeset_text
from inspection_serve.opcua.results import part_named
from inspection_serve.opcua.state import Automatic, StateReader, Vision, state_of
from inspection_serve.web.line.state import LiveState


def written(**changes: Any) -> dict[str, Any]:
    return {
        "station": "test", "running": True, "at": datetime.now(UTC).isoformat(), "mono": 1.0,
        "uptime": 1.0, "loop_age": 0.0, "ready": True, "cause": None, "camera": None, "plc": None,
        "model": None, "store": None, "degraded": False, "recipe": 1, "release": "plate/1",
        "counts": {}, "takt": None, "last": None, "picture_at": None, **changes,
    }  # fmt: skip


def said(age: float = 0.0, **changes: Any) -> tuple[Vision, Automatic | None]:
    found = state_of(LiveState.model_validate(written(**changes)), age)
    return found.vision, found.automatic


def test_states() -> None:
    running = (Vision.OPERATIONAL, Automatic.CONTINUOUS_EXECUTION)
    waiting = (Vision.OPERATIONAL, Automatic.INITIALIZED)
    assert said() == running
    assert said(age=0.8) == running
    assert said(age=1.0) == (Vision.ERROR, None)
    assert said(loop_age=1.0) == (Vision.ERROR, None)
    assert said(running=False) == (Vision.HALTED, None)
    assert state_of(None, 0.0).vision is Vision.ERROR
    not_ready = {"ready": False}
    assert said(**not_ready, cause="PLC_DISABLED") == waiting
    assert said(**not_ready, cause="RECIPE_NONE") == waiting
    assert said(**not_ready, cause="MODEL_LOADING") == (Vision.PREOPERATIONAL, None)
    assert said(**not_ready, cause="STOPPED") == (Vision.HALTED, None)
    assert said(**not_ready, cause=None) == (Vision.ERROR, None)
    assert said(**not_ready, cause="A_NEW_ONE") == (Vision.ERROR, None)


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.name)
def test_no_reason_reads_as_execution(reason: Reason) -> None:
    vision, automatic = said(ready=False, cause=reason.name)
    assert automatic in {None, Automatic.INITIALIZED}
    assert vision is not Vision.OPERATIONAL or automatic is Automatic.INITIALIZED


def test_an_old_file_proves_nothing(tmp_path: Path) -> None:
    clock = [100.0]
    path = tmp_path / "test.json"
    reader = StateReader(tmp_path, "test", lambda: clock[0])
    assert reader.read().vision is Vision.ERROR
    path.write_text(json.dumps(written()))
    assert reader.read().vision is Vision.ERROR
    path.write_text(json.dumps(written(mono=2.0)))
    assert reader.read().vision is Vision.OPERATIONAL
    clock[0] += 1.0
    assert reader.read().vision is Vision.ERROR
    path.write_text("{")
    assert reader.read().vision is Vision.ERROR


def test_names_of_parts() -> None:
    assert part_named("press", "press/3/17") == (3, 17)
    for wrong in (
        "",
        "press",
        "press/3",
        "other/3/17",
        "press/3/x",
        "press/-3/1",
        "press/3/٣",
        "a/press/3/1",
    ):
        assert part_named("press", wrong) is None, wrong


def test_every_structure_has_its_fields() -> None:
    text = nodeset_text()
    assert "<Definition" in text
    for name in ("ConfigurationIdDataType", "RecipeIdExternalDataType", "RecipeIdInternalDataType"):
        start = text.index(f'BrowseName="1:{name}"')
        definition = text[start : text.index("</UADataType>", start)]
        assert definition.count("<Field ") == 5, name


def test_the_certificate_is_made_once_and_only_listed_ones_are_trusted(tmp_path: Path) -> None:
    certificate, key = ensure_certificate(tmp_path, "press", ["10.0.0.5", "press7.example"])
    assert key.stat().st_mode & 0o777 == 0o600
    first = certificate.read_bytes()
    assert ensure_certificate(tmp_path, "press", [])[0].read_bytes() == first
    trust = TrustList(tmp_path)
    assert "gave no" in trust.refusal(None)
    assert "cannot be read" in trust.refusal(b"nonsense")
    assert "not trusted" in trust.refusal(first)
    [kept] = (tmp_path / "rejected").iterdir()
    (tmp_path / "trusted" / "noise.der").write_bytes(b"noise")
    kept.rename(tmp_path / "trusted" / "client.der")
    assert trust.refusal(first) == ""
