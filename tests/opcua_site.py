"""A station with its OPC UA server as processes, and node-opcua as a client that it trusts."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opcua_client import Client, client, write_identity
from station_rig import Process, Rig, free_port, until

from inspection.config import load_station
from inspection.store.web import people
from inspection.store.web.access import WebStore
from inspection.store.web.people import Role
from inspection_serve.web.people.passwords import hash_secret

NODE = Path(__file__).parents[1] / ".venv" / "node" / "node_modules" / "node-opcua-client"
SYSTEM = ["VisionSystem"]
MACHINE = [*SYSTEM, "VisionStateMachine"]
AUTOMATIC = [*MACHINE, "AutomaticModeStateMachine"]
RESULTS, RECIPES = [*SYSTEM, "ResultManagement"], [*SYSTEM, "RecipeManagement"]
RESULT_ID, RECIPE_EXTERNAL, RECIPE_INTERNAL, PRODUCT_ID = 3021, 3002, 3013, 3003
PASSWORD = "let me look in"


def add_people(rig: Rig) -> None:
    store = WebStore(load_station(rig.folder / "station.yaml").store)
    try:
        for name, role in (("viewer1", Role.VIEWER), ("engineer1", Role.ENGINEER)):
            with store.write("adding a person") as connection:
                hashed = hash_secret(PASSWORD)
                people.add(connection, name, name, role, "en", hashed, must_change=False)
    finally:
        store.close()


class Site:
    """A station with its OPC UA server, and a client that is trusted."""

    def __init__(self, folder: Path, **opcua: Any) -> None:
        self.port = free_port()
        self.rig = Rig(
            folder,
            camera={"defect_rate": 0.3},
            recipe={"deadline": 3.0},
            timing={"camera_timeout": 2.0},
        )
        self.rig.recipe(2, deadline=3.0)
        self.rig.recipe(1, deadline=3.0)
        self.rig.station["opcua"] = {"port": self.port, **opcua}
        self.rig.write()
        self.identity = folder / "client"
        write_identity(self.identity)
        self.trusted = folder / "opcua" / "trusted"
        self.rejected = folder / "opcua" / "rejected"

    def trust(self) -> None:
        self.trusted.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.identity / "client.pem", self.trusted / "client.pem")

    def start_server(self) -> Process:
        folder = self.rig.folder
        log = folder / f"opcua-{len(list(folder.glob('opcua-*.log')))}.log"
        process = Process(["opcua", str(folder / "station.yaml")], log)

        def listens() -> bool:
            assert process.popen.poll() is None, process.text[-4000:]
            return "is an OPC UA server" in process.text

        try:
            until(listens, 90, "the server")
        except BaseException:
            process.kill()
            raise
        return process

    @contextlib.contextmanager
    def server(self) -> Iterator[Process]:
        process = self.start_server()
        try:
            yield process
        except BaseException:
            print(process.text[-4000:])
            raise
        finally:
            assert process.stop() == 0

    @contextlib.contextmanager
    def client(self, user: str = "viewer1", **rest: Any) -> Iterator[Client]:
        with client(self.port, self.identity, user, **{"password": PASSWORD, **rest}) as found:
            yield found


def state(peer: Client, machine: list[str] = MACHINE) -> str:
    read = peer.ask("read", names=[*machine, "CurrentState"])
    return read["value"]["text"] if read["status"] == "Good" else read["status"]


def names(event: dict[str, Any]) -> str:
    return (event["ResultId"] or {}).get("id", "")


def ready_events(peer: Client) -> list[dict[str, Any]]:
    return [event for event in peer.events if names(event)]
