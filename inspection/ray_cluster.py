"""The way to a Ray cluster: one that is there, or one that is started for this process alone.

Nothing is told to anybody: Ray's usage statistics are off, no dashboard is opened. A cluster that is
started here listens on 127.0.0.1 alone and ends with this process, also when it is killed.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from inspection.errors import ConfigError, how_to_install

NAMESPACE = "inspection"
OBJECT_STORE = 256 << 20
"""Shared memory, bytes, of the object store of a cluster that is started here."""
ANSWER = 5.0
"""Longest wait, seconds, for the cluster's head to take a connection."""
LOOK = 2.0
"""Seconds between two looks whether the head is there."""
LOST = 20.0
"""Seconds without the head after which the work is given up; Ray gives up after 60."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@contextmanager
def cluster(address: str = "", *, cpus: int | None = None) -> Generator[Any]:
    """Be in a cluster; yield the module `ray`.

    Ray prints what befalls its nodes. Until the end that goes to standard error: the output is a script's.
    Where the head is lost, the process ends with code 2 and says so: Ray would end it with 1, which some
    verbs use for an answer.

    Args:
        address: HOST:PORT of its head; this machine must be one of its nodes. Empty: start one here.
        cpus: tasks at a time of a cluster that is started here; None: as many as there are processors.

    Raises:
        ConfigError: Ray is not installed, nobody answers there, or this machine is not in that cluster.
    """
    with redirect_stdout(sys.stderr):
        ray = join(address, cpus=cpus)
        left = threading.Event()
        head = str(ray.get_runtime_context().gcs_address)
        threading.Thread(target=_watch, args=(head, left), name="ray-head", daemon=True).start()
        try:
            yield ray
        finally:
            left.set()
            ray.shutdown()


def join(address: str = "", *, cpus: int | None = None) -> Any:
    """Join a cluster as `cluster` does, and stay in it until `ray.shutdown()`. Returns the module `ray`."""
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(f"Ray is not installed; {how_to_install('ray')}, on every node alike")
    told: dict[str, Any] = {
        "namespace": NAMESPACE,
        "logging_level": logging.WARNING,
        "log_to_driver": False,
    }
    if address:
        _check_address(address)
        told["address"] = address
    else:
        told |= {
            "address": "local",
            "num_cpus": cpus,
            "object_store_memory": OBJECT_STORE,
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
        }
    _quiet(loopback=not address or address.rpartition(":")[0] in _LOOPBACK)
    import ray

    try:
        ray.init(**told)
    except Exception as error:  # of Ray, by many names, some of them none
        ray.shutdown()
        where = address or "this machine"
        advice = "start one by hand to see why: ray start --head --disable-usage-stats"
        if address:
            advice = (
                "this machine must be a node of it: "
                f"ray start --address {address} --disable-usage-stats"
            )
        raise ConfigError(f"no Ray cluster on {where} ({error}); {advice}") from error
    return ray


def _watch(head: str, left: threading.Event) -> None:
    """End the process when the head has not answered for `LOST` seconds; return once `left` is set."""
    answered = time.monotonic()
    while not left.wait(LOOK):
        try:
            _knock(head)
            answered = time.monotonic()
        except OSError as error:
            if time.monotonic() - answered > LOST and not left.is_set():
                sys.stderr.write(
                    f"inspection: the head of the Ray cluster at {head} is lost ({error}), nothing is told; "
                    "start the cluster again, then ask again\n"
                )
                sys.stderr.flush()
                os._exit(2)


def _knock(address: str) -> None:
    """Raise OSError unless somebody takes a connection at HOST:PORT."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()


def _quiet(*, loopback: bool) -> None:
    """Set what Ray reads from the environment when it is imported."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if loopback:  # else Ray takes 127.0.0.1 for this machine's address in the network
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"


def _check_address(address: str) -> None:
    """Raise ConfigError unless somebody listens there: Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"{address!r} is not the HOST:PORT of a Ray cluster's head")
    try:
        _knock(address)
    except OSError as error:
        raise ConfigError(
            f"no Ray cluster answers at {address} ({error}); start one: "
            f"ray start --head --port {port} --disable-usage-stats"
        ) from error
