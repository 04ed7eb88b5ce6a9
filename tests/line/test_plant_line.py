"""Shifts of real lines that are forwarded to a plant, over cut links, a server that falls, and a kill."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_proxy import FaultProxy
from plant_rig import PlantStore, Station
from postgres_server import NoServerError, PostgresServer
from station_rig import Process, Rig, until
from test_up import children

from inspection.store.verify import verify


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    try:
        found = PostgresServer()
    except NoServerError as error:
        pytest.skip(str(error))
    yield found
    found.close()


def shift(folder: Path, server: PostgresServer, names: list[str], parts: int, takt: float) -> None:
    """Run a shift on each station at once; the link is cut twice, and who sends is killed in between."""
    limit = 120 + 3 * parts * takt
    with contextlib.ExitStack() as stack, FaultProxy(("127.0.0.1", server.port)) as proxy:
        plant = stack.enter_context(PlantStore(server, folder))
        stations: list[tuple[Station, Process]] = []
        for name in names:
            (folder / name).mkdir()
            rig = Rig(
                folder / name,
                camera={"defect_rate": 0.3},
                recipe={"deadline": 3.0},
                timing={"camera_timeout": 2.0},
            )
            station = Station(folder / name, name, plant.at(proxy.port), rig=rig)
            up = Process(["up", str(station.file)], folder / f"{name}.log")
            stack.callback(up.stop)
            stations.append((station, up))

        def answered(share: float) -> bool:
            return all(
                len(s.rig.rows("decision is not null")) >= parts * share for s, _ in stations
            )

        plcs = [
            stack.enter_context(s.rig.plc_running(parts=parts, takt=takt, result_timeout=6.0))
            for s, _ in stations
        ]
        until(lambda: all(plant.parts(name) for name in names), limit, "the first parts")
        proxy.refuse()
        until(lambda: answered(0.3), limit, "parts while the link is cut")
        for _, up in stations:
            [upward] = [n for n, name in children(up.popen.pid).items() if name == "upward"]
            os.kill(upward, signal.SIGKILL)
        proxy.heal()
        until(lambda: answered(0.5), limit, "parts after the first cut")
        server.stop(kill=True)
        until(lambda: answered(0.8), limit, "parts without a server")
        server.start()
        assert all(plc.wait(limit) for plc in plcs)
        for station, up in stations:
            assert len(station.told()) >= parts * 0.99  # a busy machine: the PLC may leave some out
            until(lambda: plant.parts(station.name) == station.told(), 180, "equal rows")  # noqa: B023
            failed = [one for one in station.rig.decisions() if one[1] == "STORE_FAILED"]
            assert len(failed) <= parts // 1000
            assert up.stop() == 0
            station.rig.verify()
        assert verify(plant.config).is_clean


def test_a_shift_is_forwarded_over_two_cuts(tmp_path: Path, server: PostgresServer) -> None:
    shift(tmp_path, server, ["press"], parts=40, takt=0.05)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_shifts_of_5000_parts(tmp_path: Path, server: PostgresServer) -> None:
    shift(tmp_path, server, ["press", "oven"], parts=5000, takt=0.15)
