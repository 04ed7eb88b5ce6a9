"""`inspection doctor` looks at the PLC only while no line runs: its own connection can drop the outputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from plc_links.libmodbus_module import INPUTS, OUTPUTS, Module
from station_rig import Rig

from inspection.config import StationConfig, load_station
from inspection.doctor import Check, _guarded, _plc
from inspection.store.sql import SqlStore


@pytest.fixture
def module() -> Iterator[Module]:
    with Module() as module:
        yield module


def station(folder: Path, module: Module) -> StationConfig:
    rig = Rig(folder)
    lines = {**INPUTS, **OUTPUTS, "watchdog": 1.0, "timeout": 0.9}
    rig.station["plc"] = {"type": "remote_io", "host": "127.0.0.1", "port": module.port, **lines}
    rig.write()
    return load_station(folder / "station.yaml")


def look(config: StationConfig) -> Check:
    return _guarded("PLC", lambda: _plc(config))


def test_beside_a_line_that_runs_nothing_is_asked(tmp_path: Path, module: Module) -> None:
    config = station(tmp_path, module)
    store = SqlStore(config.store)
    store.begin_epoch("test", "start")  # as the line process does
    try:
        check = look(config)
    finally:
        store.close()
    assert check.state == "warn"
    assert "not asked: a line of this station runs" in check.found
    assert "stop the line" in check.todo
    assert module.functions == [], "no request, and no output was touched"


def test_without_a_line_it_is_asked_and_a_line_may_start_afterwards(
    tmp_path: Path, module: Module
) -> None:
    config = station(tmp_path, module)
    assert "answers in" in look(config).found
    assert module.functions
    store = SqlStore(config.store)
    store.begin_epoch("test", "start")
    store.close()


def test_where_nobody_can_tell_whether_a_line_runs_nothing_is_asked(
    tmp_path: Path, module: Module
) -> None:
    config = station(tmp_path, module)
    away = config.store.model_copy(update={"url": str(tmp_path / "gone" / "results.db")})
    check = look(config.model_copy(update={"store": away}))
    assert check.state == "warn"
    assert "lock file" in check.found
    assert module.functions == []
