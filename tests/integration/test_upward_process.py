"""`inspection upward` as a process: nothing is lost by kills, outages and refusals, and all of it is seen."""

from __future__ import annotations

import contextlib
import json
import random
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from postgres_server import PostgresServer
from station_rig import Process, Rig, free_port, until
from store_samples import inspected, trigger
from typer.testing import CliRunner
from upward_peers import Broker, Listener, Receiver

from inspection.config import load_station
from inspection.errors import ConfigError
from inspection.store.outbox_standing import Standing, read_standings
from inspection.store.queries import StoreReader
from inspection.store.sql import SqlStore
from inspection.store.web.access import WebStore
from inspection.store.web.tables import audit
from inspection.types import Reason, Verdict
from inspection.up import station_processes
from inspection_serve.upward.cli import app
from inspection_serve.upward.process import STOP_WITHIN, is_running, run


class Upward:
    """A station file with destinations, its store, written to as the line does, and the process."""

    def __init__(self, folder: Path, *links: dict[str, Any], **store: Any) -> None:
        self.rig = Rig(folder, store={"busy_timeout": 10.0, **store})
        self.rig.station["upward"] = list(links)
        self.rig.station["upward_metrics_port"] = self.metrics_port = free_port()
        self.rig.write()
        self.file = folder / "station.yaml"
        self.config = load_station(self.file)
        self.store = SqlStore(self.config.store)
        self.store.tell_upward("test", {link["name"]: 600 for link in links})
        self.epoch = self.store.begin_epoch("test", "start")
        self.sequence = 0

    def parts(self, number: int) -> None:
        for _ in range(number):
            self.sequence += 1
            asked = trigger(self.sequence, station="test", epoch=self.epoch)
            self.store.decided(inspected(asked))

    def start(self) -> Process:
        return Process(["upward", str(self.file)], self.rig.folder / "upward.log")

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """What the process runs, in this one: it starts faster."""
        stop = threading.Event()
        thread = threading.Thread(target=run, args=(self.config, stop))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(20)
            assert not thread.is_alive()

    def standing(self, name: str) -> Standing:
        found = {one.destination: one for one in read_standings(self.config.store, "test")}
        return found[name]

    def verb(self, *options: str) -> tuple[int, str]:
        """Exit code and output of `inspection upward STATION.yaml OPTIONS…`."""
        done = CliRunner().invoke(app, [str(self.file), *options])
        return done.exit_code, done.stdout

    def metrics(self) -> str:
        address = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(address, timeout=5) as answer:  # our own address
            return answer.read().decode()

    def status(self) -> tuple[int, dict[str, Any]]:
        code, said = self.verb("--status", "--json")
        return code, json.loads(said)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as running:
        yield running


@contextlib.contextmanager
def started(up: Upward) -> Iterator[Process]:
    process = up.start()
    try:
        yield process
    except BaseException:
        sys.stderr.write(process.text[-4000:])
        raise
    finally:
        assert process.stop() in (0, -9)


def to_mqtt(broker: Broker, **changes: Any) -> dict[str, Any]:
    return {"type": "mqtt", "name": "plant", "host": "127.0.0.1", "port": broker.port, **changes}


def to_webhook(receiver: Receiver, **changes: Any) -> dict[str, Any]:
    return {"type": "webhook", "name": "mes", "url": receiver.url, "timeout": 2.0, **changes}


def to_csv(folder: Path, **changes: Any) -> dict[str, Any]:
    folder.mkdir()
    return {
        "type": "csv",
        "name": "drop",
        "folder": str(folder),
        "rows": 10,
        "seconds": 3600,
        **changes,
    }


def sequences(messages: list[dict[str, Any]]) -> list[int]:
    return [said["sequence"] for said in messages]


def test_a_stop_does_not_wait_for_a_receiver_that_is_silent(tmp_path: Path) -> None:
    """It ends before a service manager would kill it; what had no answer is sent again, and nothing else."""
    silent, asked = threading.Event(), threading.Event()

    def answer(said: dict[str, Any]) -> int:
        if said["sequence"] == 3 and not silent.is_set():
            asked.set()
            silent.wait(60)
        return 204

    with Receiver(answer) as receiver:
        up = Upward(tmp_path, to_webhook(receiver, tell=["part"], timeout=60.0))
        up.parts(5)
        with started(up) as process:
            assert asked.wait(30)
            began = time.monotonic()
            assert process.stop() == 0
            took = time.monotonic() - began
        assert STOP_WITHIN - 1 < took < STOP_WITHIN + 5, took
        assert "is sent again at the next start" in process.text
        assert not is_running(up.config)
        assert up.standing("mes").waiting >= 3
        silent.set()
        with up.running():
            until(lambda: up.standing("mes").waiting == 0, 30, "the rest")
        assert sequences(receiver.taken()) == [1, 2, 3, 4, 5]
        up.store.close()


def test_three_destinations_one_after_the_other(broker: Broker, tmp_path: Path) -> None:
    """Everything that happens is told to each, in order; a folder gathers; the last will says offline."""
    drop = tmp_path / "drop"
    with Receiver() as receiver:
        up = Upward(tmp_path, to_mqtt(broker), to_webhook(receiver, tell=["part"]), to_csv(drop))
        listener = Listener(broker)
        up.parts(3)
        with started(up) as process:
            until(lambda: len(listener.of("part")) == 3, 30, "the first parts")
            up.parts(22)
            up.store.alarm("test", Reason.CAMERA_LOST, "gone", True)
            with StoreReader(up.config.store) as reader:
                reader.add_verdict(2, Verdict.FALSE_CALL, "kim", version_seen=0, comment="먼지")
            until(lambda: len(receiver.taken()) == 25 and listener.of("verdict"), 20, "the rest")
            assert sequences(listener.of("part")) == sequences(receiver.taken()) == [*range(1, 26)]
            assert {said["kind"] for said in receiver.taken()} == {"part"}
            assert listener.of("alarm")[0]["active"] is True
            [verdict] = listener.of("verdict")
            assert (verdict["id"], verdict["comment"]) == ("test/1/2/verdict/1", "먼지")
            until(lambda: len(list(drop.glob("*.csv"))) == 2, 10, "two full files")
            assert listener.states() == ["silent"]  # no line runs here
            code, status = up.status()
            assert (code, status["running"]) == (0, True)
            waiting = {one["destination"]: one["waiting"] for one in status["destinations"]}
            assert waiting == {"drop": 7, "mes": 0, "plant": 0}
            process.kill()
            until(lambda: listener.states()[-1] == "offline", 10, "the last will")
            assert not is_running(up.config)
        assert len(list(drop.iterdir())) == 2
        listener.close()
        up.store.close()


def test_a_broker_that_is_away_holds_up_nobody_else(broker: Broker, tmp_path: Path) -> None:
    with Receiver() as receiver:
        up = Upward(tmp_path, to_mqtt(broker), to_webhook(receiver))
        listener = Listener(broker)
        with up.running():
            up.parts(5)
            until(lambda: len(listener.of("part")) == 5, 30, "parts")
            broker.stop()
            up.parts(5)
            until(lambda: len(receiver.taken()) == 10, 20, "the other one has them")
            until(lambda: up.standing("plant").attempts >= 2, 20, "two attempts")
            away = up.standing("plant")
            assert away.waiting == 5
            assert away.next_at is not None
            assert "broker 127.0.0.1" in away.detail
            broker.start()
            until(lambda: len(listener.of("part")) == 10, 30, "all of them")
            assert sequences(listener.of("part")) == list(range(1, 11))
            until(lambda: up.standing("plant").waiting == 0, 10, "noted")
            assert up.standing("plant").attempts == 0
        listener.close()
        up.store.close()


def kills(folder: Path, number: int) -> None:
    """Kill the process at random moments while parts come; each arrives, in order."""
    random.seed(5)
    pause = threading.Event()
    with Broker(folder) as broker, Receiver() as receiver:
        up = Upward(folder, to_mqtt(broker), to_webhook(receiver), to_csv(folder / "drop", rows=20))
        listener = Listener(broker)
        for _ in range(number):
            process = up.start()
            before = len(listener.of("part"))
            up.parts(20)
            until(lambda before=before: len(listener.of("part")) > before, 30, "it sends")
            up.parts(20)
            pause.wait(random.uniform(0, 0.3))
            process.kill()
        expected = list(range(1, 40 * number + 1))
        with up.running():
            until(lambda: len(listener.of("part")) == len(expected), 60, "every part at the broker")
            until(lambda: len(receiver.taken()) == len(expected), 60, "every part at the server")
            files = folder / "drop"
            until(lambda: len(list(files.glob("*.csv"))) >= 2 * number, 60, "every part in a file")
        assert sequences(listener.of("part")) == expected
        assert sequences(receiver.taken()) == expected
        seen: dict[str, int] = {}
        for path in sorted(files.glob("*.csv")):
            for line in path.read_text("utf-8-sig").splitlines()[1:]:
                seen.setdefault(line.split(",")[1], len(seen))
        assert list(seen) == [f"test/1/{n}/part/1" for n in expected]
        listener.close()
        up.store.close()


def test_kills_lose_nothing(tmp_path: Path) -> None:
    kills(tmp_path, 2)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_twenty_kills_lose_nothing(tmp_path: Path) -> None:
    kills(tmp_path, 20)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_refused_message_goes_to_quarantine_and_comes_again(
    tmp_path: Path, database: str, server: PostgresServer | None
) -> None:
    if database == "postgresql" and server is None:
        pytest.skip("no PostgreSQL server installed (Debian package postgresql)")
    url = {} if database == "sqlite" or server is None else {"url": server.url("upward")}
    with Receiver(lambda said: 422 if said["sequence"] == 3 else 204) as receiver:
        up = Upward(tmp_path, to_webhook(receiver, tell=["part"]), **url)
        up.parts(6)
        with up.running():
            until(lambda: len(receiver.taken()) == 5, 30, "all but one")
            until(lambda: up.standing("mes").waiting == 0, 10, "noted")
            assert sequences(receiver.taken()) == [1, 2, 4, 5, 6]
            assert up.standing("mes").quarantined == 1
            code, status = up.status()
            assert code == 1
            assert status["destinations"][0]["quarantined"] == 1
            receiver.answers = lambda _: 204
            assert "refuses" not in up.verb("--status")[1]
            assert up.verb("--retry", "nobody")[0] == 2
            name = 'inspection_upward_quarantined{destination="mes",station="test"} 1.0'
            until(lambda: name in up.metrics(), 10, "the number for Prometheus")
            assert up.verb("--retry", "mes") == (0, "1 messages of mes are sent again\n")
            until(lambda: up.standing("mes").quarantined == 0, 10, "it is out")
            assert sequences(receiver.taken()) == [1, 2, 4, 5, 6, 3]
            with pytest.raises(ConfigError, match="another process"):
                run(up.config, threading.Event())
        up.store.close()


def test_a_quarantine_is_given_up_with_a_reason(tmp_path: Path) -> None:
    with Receiver(lambda said: 422 if said["sequence"] == 2 else 204) as receiver:
        up = Upward(tmp_path, to_webhook(receiver, tell=["part"]))
        assert up.verb("--quarantine", "mes") == (0, "nothing lies in quarantine\n")
        up.parts(3)
        with up.running():
            until(lambda: up.standing("mes").quarantined == 1, 30, "the quarantine")
            code, said = up.verb("--quarantine", "mes")
            assert code == 0
            assert "part 2" in said
            assert "422" in said
            for wrong in (
                ("--discard", "mes"),
                ("--discard", "mes", "--why", " "),
                ("--discard", "no", "--why", "x"),
            ):
                assert up.verb(*wrong)[0] == 2
            assert up.standing("mes").quarantined == 1
            given = up.verb("--discard", "mes", "--why", "the MES knows no such order")
            assert given == (0, "1 messages of mes are given up; the audit names them\n")
            assert up.standing("mes").quarantined == 0
        assert up.verb("--discard", "mes", "--why", "again")[1].startswith("0 messages")
        with (
            contextlib.closing(WebStore(up.config.store)) as store,
            store.read("test") as connection,
        ):
            rows = connection.execute(sa.select(audit.c.who, audit.c.action, audit.c.detail)).all()
        [(who, action, detail)] = rows
        assert who.startswith("os:")
        assert action == "upward.discarded"
        assert json.loads(detail)["why"] == "the MES knows no such order"
        assert sequences(receiver.taken()) == [1, 3]
        up.store.close()


def test_what_a_person_writes_wrong(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    without = load_station(tmp_path / "station.yaml")
    with pytest.raises(ConfigError, match="no `upward`"):
        run(without, threading.Event())
    csv = {"type": "csv", "name": "drop", "folder": "drop"}
    for links, said in (
        ([{**csv, "rowz": 3}], "rowz"),
        ([{"type": "carrier-pigeon", "name": "x"}], "csv, mqtt, plant.*webhook"),
        ([csv, dict(csv)], "same name"),
        ([{**csv, "name": "a/b"}], "name"),
        ([{**csv, "tell": []}], "tell"),
    ):
        rig.station["upward"] = links
        rig.write()
        with pytest.raises(ConfigError, match=said):
            load_station(tmp_path / "station.yaml")
    rig.station["upward"] = [csv]
    rig.write()
    assert "upward" in station_processes(tmp_path / "station.yaml")
    assert load_station(tmp_path / "station.yaml").upward[0].folder == tmp_path / "drop"
