"""The process: a server whose state follows the line's live file, and whose results follow the store."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

from inspection.config import StationConfig
from inspection.errors import ConfigError, StoreError, how_to_install
from inspection.opcua_server_config import OpcUaServerConfig
from inspection.store.config import StoreConfig
from inspection.store.following import newest, settled_after, told_before
from inspection.store.rows import Values
from inspection.store.web.access import WebStore

log = logging.getLogger("inspection.opcua")
STATE_EVERY, PARTS_EVERY = 0.05, 0.1
"""Seconds between two looks at the live file, and between two at the store."""
_AGAIN = 1.0


def run(config: StationConfig, settings: OpcUaServerConfig, stop: threading.Event) -> None:
    """Serve until `stop` is set.

    Args:
        config: the station; its store is waited for.
        settings: its `opcua`.
        stop: ends it.

    Raises:
        ConfigError: asyncua is not installed, or certificate or address cannot be used.
    """
    try:
        import asyncua  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"the OPC UA server needs asyncua ({error}); {how_to_install('opcua')}"
        ) from error
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    opened = _open(config.store, stop)
    if opened is None:
        return
    try:
        asyncio.run(_serve(config, settings, opened, stop))
    finally:
        opened.close()


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


async def _serve(
    config: StationConfig, settings: OpcUaServerConfig, store: WebStore, stop: threading.Event
) -> None:
    from inspection_serve.opcua.certificates import TrustList, ensure_certificate
    from inspection_serve.opcua.channel import GuardedServer
    from inspection_serve.opcua.driving import Driving
    from inspection_serve.opcua.machines import Machines
    from inspection_serve.opcua.model import make_model
    from inspection_serve.opcua.people import People
    from inspection_serve.opcua.recipes import Recipes
    from inspection_serve.opcua.reporting import Reporting
    from inspection_serve.opcua.state import StateReader

    station = config.station
    certificate, key = ensure_certificate(settings.folder, station, settings.names)
    loop = asyncio.get_running_loop()
    who = People(store, lambda work: loop.run_in_executor(None, work))
    server = GuardedServer(who, TrustList(settings.folder), who.is_welcome)
    await _name(server, settings, station)
    await server.load_certificate(certificate)
    await server.load_private_key(key)
    model = await make_model(server, station)
    reader = StateReader(config.live_folder, station)
    machines, driving = Machines(model), None
    if settings.drives is not None:
        driving = Driving(
            model, machines, store, station, settings.drives, config.plc, settings.folder
        )
        await driving.prepare()
    recipes = Recipes(
        model, store, station, config.recipes, lambda: reader.last.recipe,
        driving.prepare_recipe if driving else None,
    )  # fmt: skip
    reporting = Reporting(model, store, station, driving.book if driving else None)
    await machines.prepare(driven=driving is not None)
    await reporting.prepare()
    await recipes.prepare()
    await (driving or machines).show(reader.read())
    await _listen(server, settings)
    parts = asyncio.create_task(_tell_parts(_Follower(store, station), reporting))
    try:
        if driving is not None:
            driving.start()
        log.info("station %s is an OPC UA server on port %d", station, settings.port)
        while not stop.is_set() and not parts.done():
            state = reader.read()
            await (driving or machines).show(state)
            await recipes.show(state.recipe)
            await (driving.pause(STATE_EVERY) if driving else asyncio.sleep(STATE_EVERY))
    finally:
        parts.cancel()
        outcome = (await asyncio.gather(parts, return_exceptions=True))[0]
        if driving is not None:
            await asyncio.to_thread(driving.stop)
        await server.stop()
    if isinstance(outcome, Exception):
        raise outcome


async def _listen(server: Any, settings: OpcUaServerConfig) -> None:
    try:
        await server.start()
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {settings.host}:{settings.port}: {error}; change opcua.host or opcua.port"
        ) from error


async def _name(server: Any, settings: OpcUaServerConfig, station: str) -> None:
    from inspection_serve.opcua.certificates import application_uri

    await server.init()
    await server.set_application_uri(application_uri(station))
    server.set_server_name(f"inspection {station}")
    server.product_uri, server.manufacturer_name = "urn:inspection", "inspection"
    server.set_endpoint(f"opc.tcp://{settings.host}:{settings.port}/")


async def _tell_parts(follower: _Follower, reporting: Any) -> None:
    while True:
        for row in await asyncio.to_thread(follower.read):
            await reporting.tell(row)
        await asyncio.sleep(PARTS_EVERY)


class _Follower:
    """Reads each settled part once. One thread at a time uses it."""

    def __init__(self, store: WebStore, station: str) -> None:
        self._store, self._station = store, station
        self._last: int | None = None
        self._told = ""

    def read(self) -> list[Values]:
        """Return the parts that are settled since the last time, in order; none while the store is away."""
        try:
            with self._store.read("following the parts") as connection:
                if self._last is None:
                    self._last = told_before(connection, self._station)
                elif newest(connection, self._station) < self._last:
                    self._last = told_before(connection, self._station)
                    log.warning("the store is another one; parts are told from now on")
                rows = settled_after(connection, self._station, self._last)
        except StoreError as error:
            if str(error) != self._told:
                self._told = str(error)
                log.warning("no results: %s", error)
            return []
        self._told = ""
        if rows:
            self._last = int(rows[-1]["id"])
        return rows
