"""The web process: opens the store, listens, prints where, and ends on SIGTERM.

It has the priority of the line: a process that is put back while it holds the lock of the store would keep
the line waiting. Its writes are short instead; what takes long (jobs) runs in processes of its own.
"""

from __future__ import annotations

import logging
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from inspection.errors import ConfigError, InspectionError
from inspection.settled import settle
from inspection.store.web.counting import Counting
from inspection.store.web.intake import Intake
from inspection.tls import read_tls
from inspection_serve.web.site import Site, open_site

NO_ADDRESS = 71
"""Exit code when the address cannot be listened on."""
NO_STORE = 72
"""Exit code when the store or the station file cannot be used."""
SWITCH = 0.001
"""Seconds after which a thread lets the next one run: one of them may hold the lock of the store."""
GRACE = 3
"""Seconds for requests in flight when stopping."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """What `inspection web` was told; see its help. None: as the station file says, else the default."""

    store: str
    host: str | None = None
    port: int | None = None
    names: tuple[str, ...] = ()
    images: Path | None = None
    releases: Path | None = None
    recipes: Path | None = None
    datasets: Path | None = None
    work: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    import uvicorn

    from inspection_serve.web.app import build_app
    from inspection_serve.web.warm import Warm

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    sys.setswitchinterval(SWITCH)
    try:
        site = open_site(
            settings.store,
            images=settings.images,
            releases=settings.releases,
            recipes=settings.recipes,
            datasets=settings.datasets,
            work=settings.work,
        )
    except (InspectionError, ValueError) as error:
        _log.error("the pages cannot start: %s", error)
        return NO_STORE
    told = site.pages
    try:
        tls = read_tls(settings.certificate or told.certificate, settings.key or told.key)
    except ConfigError as error:
        _log.error("the pages cannot start: %s", error)
        return NO_STORE
    if tls is not None and tls.warning:
        _log.warning("%s", tls.warning)
    secure = tls is not None
    host = settings.host or told.host
    try:
        listener = _listen(host, told.port if settings.port is None else settings.port)
    except ConfigError as error:
        _log.error("%s", error)
        return NO_ADDRESS
    if not site.store.is_plant:  # reviews of a plant come from the stations
        intake = Intake(site.store)
        intake.start()
        site.on_close.append(intake.close)
    counting = Counting(site.store)
    counting.start()
    site.on_close.append(counting.close)
    ours = {host, "127.0.0.1", "localhost", socket.gethostname()}
    names = ours.union(settings.names, told.names)
    app = build_app(site, names=names, secure=secure)
    warm = Warm(site)
    warm.start()
    site.on_close.append(warm.close)
    settle()
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
        ssl_certfile=None if tls is None else tls.certificate,
        ssl_keyfile=None if tls is None else tls.key,
    )
    server = uvicorn.Server(config)
    app.state.is_ending = lambda: server.should_exit  # streams of events end with it
    _announce(site, listener, secure=secure)
    try:
        server.run(sockets=[listener])
    finally:
        site.close()
        listener.close()
    return 0


def _announce(site: Site, listener: socket.socket, *, secure: bool) -> None:
    host, port = listener.getsockname()[:2]
    site.address = f"http{'s' if secure else ''}://{host}:{port}/"
    print(f"pages at {site.address}", flush=True)  # noqa: T201  a person or a script reads it
    site.tell_setup()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)  # who reads where we are may come at once
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --port or --host"
        ) from error
    return listener
