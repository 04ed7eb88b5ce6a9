"""A running shift that is told upward: the broker goes, the process is killed, the line never notices."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from station_rig import Process, Rig, until
from test_up import children
from upward_peers import Broker, Listener


def shift(folder: Path, parts: int, takt: float, down: float, up_again: float) -> None:
    """Run a shift; the broker is away from one share of it to another, with a kill in between."""
    rig = Rig(
        folder,
        camera={"defect_rate": 0.3},
        recipe={"deadline": 3.0},
        timing={"camera_timeout": 2.0},
    )
    with Broker(folder) as broker:
        rig.station["upward"] = [
            {"type": "mqtt", "name": "plant", "host": "127.0.0.1", "port": broker.port}
        ]
        rig.write()
        listener = Listener(broker, "inspection/test/#")
        up = Process(["up", str(folder / "station.yaml")], folder / "up.log")
        try:
            with rig.plc_running(parts=parts, takt=takt, result_timeout=6.0) as plc:
                limit = 60 + 2 * parts * takt

                def answered(share: float) -> bool:
                    return len(rig.rows("decision is not null")) >= parts * share

                until(lambda: len(listener.of("part")) >= 2, 90, "the first messages")
                until(lambda: "ready" in listener.states(), 30, "the state of the line")
                until(lambda: answered(down), limit, "parts before the broker goes")
                broker.stop()
                [upward] = [n for n, name in children(up.popen.pid).items() if name == "upward"]
                os.kill(upward, signal.SIGKILL)
                until(lambda: answered(up_again), limit, "parts without a broker")
                broker.start()
                assert plc.wait(limit)
                until(lambda: len(listener.of("part")) >= parts, limit, "every part")
            told = [(said["epoch"], said["sequence"]) for said in listener.of("part")]
            rows = [(row["epoch"], row["sequence"]) for row in rig.rows()]
            assert told == rows
            assert len(told) == parts
            decisions = [said["evaluatedCriterionResult"] for said in listener.of("part")]
            assert decisions == [decision for decision, _ in rig.decisions()]
        except BaseException:
            print(up.text[-4000:])
            raise
        finally:
            assert up.stop() == 0
            listener.close()
        assert "STORE_FAILED" not in {reason for _, reason in rig.decisions()}
        assert "OUTBOX" in rig.verify()


def test_the_broker_is_away_for_a_part_of_a_shift(tmp_path: Path) -> None:
    shift(tmp_path, parts=40, takt=0.05, down=0.25, up_again=0.7)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_broker_is_away_for_ten_minutes_of_a_shift(tmp_path: Path) -> None:
    shift(tmp_path, parts=7000, takt=0.1, down=0.1, up_again=0.85)
