"""The way to a Ray cluster: one that is there, or one that is started for this process alone.

Nothing is told to anybody: Ray's usage statistics are off, no dashboard is opened. A cluster that is
started here listens on 127.0.0.1 alone and ends with this process, also when it is killed.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from inspection.errors import ConfigError

NAMESPACE = "inspection"
OBJECT_STORE = 256 << 20
"""Shared memory, bytes, of the object store of a cluster that is started here."""
ANSWER = 5.0
"""Longest wait, seconds, for the cluster's head to take a connection."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@contextmanager
def cluster(address: str = "", *, cpus: int | None = None) -> Generator[Any]:
    """Be in a cluster; yield the module `ray`.

    Args:
        address: HOST:PORT of its head; this machine must be one of its nodes. Empty: start one here.
        cpus: tasks at a time of a cluster that is started here; None: as many as there are processors.

    Raises:
        ConfigError: Ray is not installed, nobody answers there, or this machine is not in that cluster.
    """
    ray = join(address, cpus=cpus)
    try:
        yield ray
    finally:
        ray.shutdown()


def join(address: str = "", *, cpus: int | None = None) -> Any:
    """Join a cluster as `cluster` does, and stay in it until `ray.shutdown()`. Returns the module `ray`."""
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("Ray is not installed; pip install inspection[ray], on every node alike")
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
        socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
    except OSError as error:
        raise ConfigError(
            f"no Ray cluster answers at {address} ({error}); start one: "
            f"ray start --head --port {port} --disable-usage-stats"
        ) from error
