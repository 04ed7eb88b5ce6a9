"""Loads that take minutes: asked again and again, beside others, and when the service is told to stop."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from own_loop import in_own_loop
from release_builder import write_release

from inspection.types import Release
from inspection_serve.inference import apart as module
from inspection_serve.inference.apart import Apart
from inspection_serve.inference.app import build_app
from inspection_serve.inference.health import Health
from inspection_serve.inference.metrics import Metrics
from inspection_serve.inference.models import Models
from inspection_serve.inference.protocol import RequestError

SIZE = (32, 32)


class Worker:
    """Answers nothing and ends at once."""

    ready = True

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def join(self, timeout: float) -> bool:
        return True


@pytest.fixture
def served(tmp_path: Path) -> Any:
    """Models whose every load is noted in `started`."""
    for number in (1, 2, 3):
        write_release(tmp_path, number=number, size=SIZE)
    (tmp_path / "demo" / "current").write_text("1\n")

    def start(release: Release) -> Worker:
        started.append(release.number)
        workers.append(Worker())
        meanwhile()
        return workers[-1]

    started: list[int] = []
    workers: list[Worker] = []
    models = Models(tmp_path, pytest.fail, Metrics(), pytest.fail, start=start)

    def meanwhile() -> None:
        for work in models.test_meanwhile:
            work()

    models.test_meanwhile, models.test_started, models.test_workers = [], started, workers
    models.load_current()
    return models


def test_who_asks_the_same_again_gets_the_same_answer() -> None:
    """Lines ask once a minute, and one that is gone leaves nothing behind."""

    async def asked() -> None:
        go, runs = threading.Event(), []

        def work() -> int:
            runs.append(1)
            assert go.wait(30)
            return 7

        apart = Apart()
        gone = [asyncio.create_task(apart.run("a", work)) for _ in range(3)]
        stays = [asyncio.create_task(apart.run("a", work)) for _ in range(3)]
        await asyncio.sleep(0.05)
        for task in gone:
            task.cancel()
        assert await asyncio.wait_for(apart.run("b", lambda: 8), 30) == 8, "beside it"
        go.set()
        assert await asyncio.gather(*stays) == [7, 7, 7]
        assert runs == [1]
        assert await apart.run("a", lambda: 9) == 9, "what is over is done anew"

    in_own_loop(asked())


def test_what_fails_fails_for_all_who_asked() -> None:
    async def asked() -> None:
        go = threading.Event()

        def work() -> None:
            assert go.wait(30)
            raise RequestError("no room", 503, "loading")

        apart = Apart()
        tasks = [asyncio.create_task(apart.run("a", work)) for _ in range(3)]
        await asyncio.sleep(0.05)
        go.set()
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            assert str(error) == "no room"

    in_own_loop(asked())


def test_only_so_many_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RUNNING", 2)

    async def asked() -> None:
        go, apart = threading.Event(), Apart()
        tasks = [asyncio.create_task(apart.run(key, lambda: go.wait(30))) for key in "ab"]
        await asyncio.sleep(0.05)
        with pytest.raises(RequestError, match="wait already"):
            await apart.run("c", lambda: 1)
        go.set()
        await asyncio.gather(*tasks)
        assert await apart.run("c", lambda: 1) == 1

    in_own_loop(asked())


def test_who_waits_at_the_end_is_told_and_holds_nothing() -> None:
    go = threading.Event()

    async def asked() -> None:
        apart = Apart()
        task = asyncio.create_task(apart.run("a", lambda: go.wait(30)))
        await asyncio.sleep(0.05)
        apart.close()
        with pytest.raises(RequestError, match="stops"):
            await task

    began = time.monotonic()
    in_own_loop(asked())  # waits for threads of the loop's own pool, such as loads once were on
    assert time.monotonic() - began < 10
    left = [thread for thread in threading.enumerate() if thread.name == "apart"]
    assert all(thread.daemon for thread in left)
    go.set()
    for thread in left:
        thread.join(30)


def test_lines_that_ask_once_a_minute_hold_up_nobody(served: Models) -> None:
    """Forty requests for a load that goes on and on: it runs once, and everything else is answered."""
    go = threading.Event()
    served.test_meanwhile.append(lambda: go.wait(60))
    app = build_app(
        served,
        Metrics(),
        Health(loaded=True),
        stall=30,
        on_fault=pytest.fail,
        on_loaded=lambda: None,
    )

    async def asked() -> None:
        url, body = "http://127.0.0.1", {"parameters": {"version": "2", "default": False}}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url=url, timeout=60
        ) as client:
            path = "/v2/repository/models/demo/load"
            lines = [asyncio.create_task(client.post(path, json=body)) for _ in range(40)]
            await asyncio.sleep(0.2)
            index = await asyncio.wait_for(client.post("/v2/repository/index"), 20)
            assert [e["state"] for e in index.json()] == ["READY", "LOADING", "UNAVAILABLE"]
            go.set()
            assert {(await line).status_code for line in lines} == {200}

    try:
        in_own_loop(asked())
    finally:
        go.set()
    assert served.test_started == [1, 2]


def test_a_release_that_comes_into_force_during_a_load_is_loaded_too(
    served: Models, tmp_path: Path
) -> None:
    """Who asks for the release in force gets that one, and what is in force on disk stays as it is."""
    go, current = threading.Event(), tmp_path / "demo" / "current"
    served.test_meanwhile.append(lambda: go.wait(60))
    app = build_app(
        served,
        Metrics(),
        Health(loaded=True),
        stall=30,
        on_fault=pytest.fail,
        on_loaded=lambda: None,
    )

    async def asked() -> list[str]:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", timeout=60
        ) as client:
            path = "/v2/repository/models/demo/load"
            current.write_text("2\n")
            first = asyncio.create_task(client.post(path))
            await asyncio.sleep(0.2)
            current.write_text("3\n")
            second = asyncio.create_task(client.post(path))
            await asyncio.sleep(0.2)
            go.set()
            return [(await one).json()["version"] for one in (first, second)]

    try:
        assert in_own_loop(asked()) == ["2", "3"]
    finally:
        go.set()
    assert current.read_text() == "3\n"
    assert served.describe() == ["demo/3"]


def test_each_roll_back_goes_one_version_further(served: Models) -> None:
    for number in ("2", "3"):
        served.load("demo", number)
    assert [served.rollback("demo") for _ in range(2)] == [2, 1]
    assert (served.releases / "demo" / "current").read_text() == "1\n"
    with pytest.raises(RequestError, match="no version before 1"):
        served.rollback("demo")


def test_a_version_without_a_number_unloads_nothing(served: Models) -> None:
    """A variable that was empty, in somebody's script."""
    served.load("demo", "2")
    with pytest.raises(RequestError) as caught:
        served.unload("demo", "")
    assert caught.value.status == 404
    assert served.versions("demo") == ["1", "2"]
    served.unload("demo")
    assert served.versions("demo") == []


def test_after_the_end_nothing_is_loaded(served: Models) -> None:
    """Its replicas would be left in the cluster."""
    served.test_meanwhile.append(served.close)
    with pytest.raises(RequestError, match="stops"):
        served.load("demo", "2")
    assert served.test_workers[-1].closed
    with pytest.raises(RequestError, match="stops"):
        served.load("demo", "3")
    assert served.test_started == [1, 2]


def test_what_is_not_there_is_told_beside_a_load(served: Models) -> None:
    def ask() -> None:
        with pytest.raises(RequestError, match="is not in"):
            served.load("demo", "77")
        told.append(1)

    def beside() -> None:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(30)
        assert told

    told: list[int] = []
    served.test_meanwhile.append(beside)
    served.load("demo", "2")
