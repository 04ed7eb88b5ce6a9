"""A real Ray cluster of several nodes on loopback, for tests.

with RayNodes(cpus=(1, 1)) as nodes:    a head and one more node, each with its own processes
    nodes.address                       HOST:PORT of the head
    nodes.lose(1)                       the second node is killed, as when its power fails

This process never joins the cluster. Nothing is left: neither processes nor files.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import psutil

from inspection_serve.ray_serve.replica import remove_leftovers

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # loopback stays loopback

STORE = 100 << 20
"""Bytes of each node's object store."""
FAST = {"health_check_period_ms": 500, "health_check_failure_threshold": 10}


class RayNodes:
    def __init__(self, cpus: tuple[float, ...] = (1, 1)) -> None:
        self._cpus = cpus
        self._nodes: list[Any] = []

    def __enter__(self) -> RayNodes:
        from ray.cluster_utils import Cluster

        self.folder = Path(tempfile.mkdtemp(prefix="rn", dir="/tmp"))  # paths of sockets are short
        Path("/tmp/ray").mkdir(exist_ok=True)  # the cluster's class notes its address there
        self._cluster = Cluster()
        try:
            for cpus in self._cpus:
                self.add(cpus)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for index in reversed(range(len(self._nodes))):
            self.lose(index)
        shutil.rmtree(self.folder, ignore_errors=True)
        remove_leftovers(Path(tempfile.gettempdir()))

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add(self, cpus: float) -> int:
        """Start one more node; return its index. The first is the head."""
        told: dict[str, Any] = {
            "num_cpus": cpus,
            "object_store_memory": STORE,
            "node_ip_address": "127.0.0.1",
            "include_log_monitor": False,
        }
        if not self._nodes:
            told |= {
                "include_dashboard": False,
                "no_monitor": True,
                "temp_dir": str(self.folder),
                "_system_config": FAST,
            }
        self._nodes.append(self._start(told))
        return len(self._nodes) - 1

    def _start(self, told: dict[str, Any], tries: int = 3) -> Any:
        """Ray gives a node 30 s to start and no way to give it more; a loaded machine needs another try."""
        for left in reversed(range(tries)):
            try:
                return self._cluster.add_node(**told)
            except Exception as error:
                if not left or "timed out during startup" not in str(error):
                    raise
        raise AssertionError("not reached")

    def fill_up(self, count: int) -> None:
        """Start nodes in place of lost ones until so many live."""
        self._nodes = [node for node in self._nodes if node.any_processes_alive()]
        while len(self._nodes) < count:
            self.add(self._cpus[-1])

    def lose(self, index: int) -> None:
        """Kill every process of a node at once: raylet, agents and workers."""
        node = self._nodes[index]
        own = [
            psutil.Process(info.process.pid)
            for infos in node.all_processes.values()
            for info in infos
            if info.process.poll() is None
        ]
        for process in own:
            process.suspend()  # so that none of them starts another
        everyone = own + [child for process in own for child in process.children(recursive=True)]
        for process in everyone:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
        psutil.wait_procs(everyone, timeout=20)

    def open_ports(self) -> list[str]:
        """Return what listens on another address than loopback."""
        own = {process.pid for process in self.workers("")}
        return [
            f"{at.laddr} {psutil.Process(at.pid).name()}"
            for at in psutil.net_connections("tcp")
            if at.status == psutil.CONN_LISTEN and at.pid in own
            and at.laddr.ip.removeprefix("::ffff:") not in {"127.0.0.1", "::1"}
        ]  # fmt: skip

    def workers(self, title: str) -> list[psutil.Process]:
        """Return the living workers of all nodes whose process title starts so."""
        found = []
        for node in self._nodes:
            for info in node.all_processes.get("raylet", []):
                if info.process.poll() is None:
                    for child in psutil.Process(info.process.pid).children(recursive=True):
                        with contextlib.suppress(psutil.Error):
                            if " ".join(child.cmdline()).startswith(title):
                                found.append(child)
        return found
