"""The service as a process: socket, signals, and how it ends.

It ends with 0 when told to stop, and with 70 on a fault of the runtime: a device in an unknown
state must not answer for one more part, and the supervisor starts a fresh process.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from inspection.errors import ConfigError
from inspection.protocols import Runtime

if TYPE_CHECKING:
    from inspection_serve.inference.metrics import Metrics
    from inspection_serve.inference.models import Models

FAULT = 70
"""Exit code after a fault."""
NO_ADDRESS = 71
"""Exit code when the address cannot be listened on."""
GRACE = 5.0
"""Seconds for requests in flight when stopping."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """What `inspection serve` was told; see its help."""

    releases: Path
    host: str = "127.0.0.1"
    port: int = 8500
    device: str = "auto"
    runtime: str | None = None
    precision: str = "f32"
    threads: int = 0
    max_batch: int = 8
    max_delay: float = 0.002
    stall: float = 30.0


def run(
    settings: Settings,
    open_models: Callable[[Settings, Metrics, Callable[[str], None]], Models] | None = None,
) -> int:
    """Serve until SIGTERM, SIGINT or a fault; return the exit code.

    Args:
        settings: of the service.
        open_models: returns what is served, nothing loaded; raises ConfigError. It gets the settings,
            where to count, and what to call on a fault. None: releases run in this process.
    """
    import uvicorn

    from inspection_serve.inference.app import build_app
    from inspection_serve.inference.health import Health
    from inspection_serve.inference.metrics import Metrics

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    health, metrics = Health(), Metrics()
    stop: list[uvicorn.Server] = []

    def fault(why: str) -> None:
        if health.fault:
            return
        health.fault = why
        _log.critical("fault, the service ends: %s", why)
        for server in stop:
            server.should_exit = True
        last = threading.Timer(GRACE, os._exit, [FAULT])  # a hanging thread cannot hold it
        last.daemon = True
        last.start()

    try:
        listener = _listen(settings.host, settings.port)
        models = (open_models or _models_here)(settings, metrics, fault)
    except ConfigError as error:
        _log.error("%s", error)
        return NO_ADDRESS
    app = build_app(
        models,
        metrics,
        health,
        stall=settings.stall,
        on_fault=fault,
        on_loaded=lambda: _say(f"serving {', '.join(models.describe()) or 'nothing yet'}"),
        names=_names(settings.host, listener),
    )
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=600,
            timeout_graceful_shutdown=int(GRACE) - 2,
        )
    )
    stop.append(server)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _nothing)  # uvicorn sends the signal again when it is done
    host, port = listener.getsockname()[:2]
    _say(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}")
    server.run(sockets=[listener])
    code = FAULT if health.fault else 0
    logging.shutdown()
    if open_models is None and models.loading:
        os._exit(code)  # a library cannot be stopped within a load; nobody waits for it
    return code


def _models_here(settings: Settings, metrics: Metrics, on_fault: Callable[[str], None]) -> Models:
    from inspection.variants import find_for
    from inspection_serve.inference.models import Models

    config = choose_runtime(settings)
    return Models(
        settings.releases,
        config.open,
        metrics,
        on_fault,
        find=find_for(config),
        max_batch=settings.max_batch,
        max_delay=settings.max_delay,
    )


class RuntimeConfig(Protocol):
    """Configuration of a runtime in this process."""

    def open(self) -> Runtime:
        """Return a runtime, nothing loaded."""
        ...


def choose_runtime(settings: Settings) -> RuntimeConfig:
    """Return the configuration of the runtime that each release gets.

    Raises:
        ConfigError: device, runtime and precision do not fit together, or are not on this machine.
    """
    from inspection.runtimes.onnxruntime import OnnxRuntimeConfig, has_cuda_provider
    from inspection.runtimes.openvino import OpenVinoConfig

    if settings.runtime == "pytorch" and settings.precision == "f32":
        return _choose_pytorch(settings)
    has_cuda = settings.device != "cpu" and has_cuda_provider()
    if settings.device == "cuda" and not has_cuda:
        raise ConfigError(
            "device cuda: this ONNX Runtime has no CUDA; install onnxruntime-gpu, or where PyTorch is "
            "installed use --runtime pytorch"
        )
    if settings.device == "cuda" and settings.runtime == "openvino":
        raise ConfigError("device cuda runs with onnxruntime or pytorch, not with openvino")
    if settings.precision != "f32":
        if settings.device == "cuda" or settings.runtime in {"onnxruntime", "pytorch"}:
            raise ConfigError(
                f"precision {settings.precision} runs with openvino on the processor; leave --device "
                "and --runtime out, or use --precision f32"
            )
        return OpenVinoConfig.model_validate(
            {"threads": settings.threads, "precision": settings.precision}
        )
    cuda = has_cuda and settings.runtime != "openvino"
    if cuda or settings.runtime == "onnxruntime":
        return OnnxRuntimeConfig(threads=settings.threads, providers="cuda" if cuda else "cpu")
    return OpenVinoConfig(threads=settings.threads)


def _choose_pytorch(settings: Settings) -> RuntimeConfig:
    from inspection.runtimes.pytorch import PyTorchConfig, built_for_cuda, has_cuda

    there = settings.device != "cpu" and has_cuda()
    wanted = settings.device == "cuda" or (settings.device == "auto" and built_for_cuda())
    if wanted and not there:  # the service never lets the processor stand in
        raise ConfigError(
            f"device {settings.device}: PyTorch sees no GPU here, or is not installed; check the GPU driver, "
            "or use --device cpu"
        )
    return PyTorchConfig(device="cuda" if there else "cpu", threads=settings.threads)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error}); is another service running? Use --port"
        ) from error
    return listener


def _names(host: str, listener: socket.socket) -> frozenset[str]:
    """Return the names of this host when it is reached by loopback alone; empty: by any."""
    address = ipaddress.ip_address(listener.getsockname()[0])
    return frozenset({host, socket.gethostname()}) if address.is_loopback else frozenset()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _nothing(number: int, frame: object) -> None:
    """Take a signal without dying of it."""
