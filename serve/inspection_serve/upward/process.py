"""The process: one sender for each destination, a lock against a second process, alarms and numbers."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from inspection.config import StationConfig
from inspection.errors import ConfigError, StoreError
from inspection.store.config import StoreConfig
from inspection.store.outbox import Outbox, add, missing
from inspection.store.outbox_standing import standings
from inspection.store.plant.source import Source
from inspection.store.web.access import WebStore
from inspection_serve.upward.lateness import Lateness
from inspection_serve.upward.link import LinkConfig
from inspection_serve.upward.metrics import UpwardMetrics
from inspection_serve.upward.sender import Backoff, Sender
from inspection_serve.upward.state import StateReader

STOP_WITHIN = 4.0
"""Seconds that a stop waits for the destinations' answers: a service manager kills soon after."""
_AGAIN = 1.0
_LOOKED_EVERY = 2.0
log = logging.getLogger("inspection.upward")


def run(config: StationConfig, stop: threading.Event, backoff: Backoff | None = None) -> None:
    """Tell upward until `stop` is set.

    Raises:
        ConfigError: the station file names no destination, or another process of this station runs.
    """
    links: list[LinkConfig] = list(config.upward)
    if not links:
        raise ConfigError(
            f"station {config.station} has no `upward` in its file; add a destination"
        )
    with _alone(config):
        store = _open(config.store, stop)
        if store is None:
            return
        try:
            _send(config, store, links, stop, backoff)
        finally:
            store.close()


def _open(config: StoreConfig, stop: threading.Event) -> WebStore | None:
    """Return the store as soon as the line has made it; None when told to stop before."""
    told = ""
    while not stop.is_set():
        try:
            return WebStore(config)
        except StoreError as error:
            if str(error) != told:
                told = str(error)
                log.warning("waiting for the store: %s", error)
            stop.wait(_AGAIN)
    return None


def _send(
    config: StationConfig,
    store: WebStore,
    links: Sequence[LinkConfig],
    stop: threading.Event,
    backoff: Backoff | None,
) -> None:
    state = StateReader(config.live_folder, config.station)
    source = Source(store, config.station, config.store.images.folder)
    entering = threading.Lock()

    def enter() -> None:
        with entering:
            enter_destinations(store, config.station, {link.name: link.patience for link in links})

    senders = [
        Sender(
            link,
            config.station,
            Outbox(store, config.station, link.name),
            enter,
            state.read,
            backoff,
            source,
        )
        for link in links
    ]
    threads = [
        threading.Thread(target=sender.run, args=(stop,), name=link.name, daemon=True)
        for sender, link in zip(senders, links, strict=True)
    ]
    log.info("station %s is told to %s", config.station, ", ".join(link.name for link in links))
    for thread in threads:
        thread.start()
    _watch(config, store, links, stop)
    end = time.monotonic() + STOP_WITHIN
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
        if thread.is_alive():
            log.warning(
                "%s does not answer; what it was sent last is sent again at the next start",
                thread.name,
            )


def _watch(
    config: StationConfig, store: WebStore, links: Sequence[LinkConfig], stop: threading.Event
) -> None:
    """Look how the destinations stand, for Prometheus and for the alarms, until `stop` is set."""
    metrics, lateness = _metrics(config), Lateness(config.station, links)
    told = ""
    while not stop.wait(_LOOKED_EVERY):
        try:
            with store.read("reading the outbox") as connection:
                found = standings(connection, config.station)
            if metrics is not None:
                metrics.show(found)
            lateness.look(store, found)
            told = ""
        except StoreError as error:
            if str(error) != told:
                told = str(error)
                log.warning("how the destinations stand is not known: %s", error)
        except Exception as error:  # the boundary: the senders go on, and people are told later
            if str(error) != told:
                told = str(error)
                log.exception("looking at the destinations failed")


def _metrics(config: StationConfig) -> UpwardMetrics | None:
    """Return the page for Prometheus; None where it is not wanted, or cannot be."""
    if config.upward_metrics_port == 0:
        return None
    metrics = UpwardMetrics()
    try:
        metrics.serve(config.upward_metrics_port)
    except OSError as error:
        log.error("no metrics page: port %d: %s", config.upward_metrics_port, error)
        return None
    return metrics


def enter_destinations(store: WebStore, station: str, names: Mapping[str, float]) -> None:
    """Add a station's new destinations, once the line has entered the station. Raises StoreError."""
    with store.read("reading destinations") as connection:
        if not missing(connection, station, names):
            return
    with store.write("entering destinations") as connection:
        add(connection, station, names)


@contextmanager
def _alone(config: StationConfig) -> Generator[None]:
    """Hold the lock of this station's upward process; the kernel frees it when the process dies."""
    path = lock_path(config)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise ConfigError(
            f"lock file {path} cannot be made: {error}; check folder and disk"
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"station {config.station} is told upward by another process already; stop that one"
            ) from error
        yield
    finally:
        os.close(lock)


def lock_path(config: StationConfig) -> Path:
    """Return the lock file of this station's upward process."""
    return config.store.images.folder.parent / f"upward-{config.station}.lock"


def is_running(config: StationConfig) -> bool:
    """Tell whether a process tells this station upward now, on this PC."""
    try:
        lock = os.open(lock_path(config), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False
