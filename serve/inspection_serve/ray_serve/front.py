"""`inspection serve --ray`: the same service, whose releases run as replicas on the nodes of a Ray cluster.

    join the cluster ─▶ be the only front of this name ─▶ take away what an earlier front of it left
    load: checked here ─▶ deployed beside the others ─▶ every replica warm ─▶ one answers ─▶ published

The front owns which release is in force; switching is one assignment, after all replicas are there. A release
that one replica cannot load is taken away again, and what was served is served on.
"""

from __future__ import annotations

import itertools
import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import inspection
from inspection.errors import ConfigError, InferenceError
from inspection.ray_cluster import NAMESPACE, join
from inspection.types import Release
from inspection.variants import find_for
from inspection_serve.inference.batcher import MAX_WAITING
from inspection_serve.inference.metrics import Metrics
from inspection_serve.inference.models import Models
from inspection_serve.inference.process import RuntimeConfig, Settings, choose_runtime, run
from inspection_serve.inference.protocol import RequestError
from inspection_serve.ray_serve.replica import Files, Replica, Wanted
from inspection_serve.ray_serve.replicas import PROBE, Calls, Replicas

POLL = 0.2
GIVE_UP = 5.0
"""Longest wait, seconds, for a load to be given up at the end."""
LOAD_ERROR = re.compile(r"inspection\.errors\.\w+: (.+)")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RaySettings:
    """What `inspection serve --ray` was told; see its help.

    Attributes:
        address: HOST:PORT of the cluster's head; empty: start a cluster on this machine.
        name: of this service in the cluster.
        replicas: of each release; with `most`, the fewest.
        most: replicas of each release under load; None: always `replicas`.
        shrink_after: seconds of less load after which one of them ends, but the fewest.
        cpus: processors that one replica reserves.
        load_timeout: longest wait, seconds, until all replicas of a release are warm.
    """

    address: str = ""
    name: str = "inspection"
    replicas: int = 1
    most: int | None = None
    shrink_after: float = 600.0
    cpus: float = 1.0
    load_timeout: float = 300.0


def run_front(settings: Settings, cluster: RaySettings) -> int:
    """Serve until SIGTERM, SIGINT or a fault; return the exit code, 71 where there is no such cluster."""
    fronts: list[Front] = []

    def open_models(told: Settings, metrics: Metrics, on_fault: Callable[[str], None]) -> Models:
        fronts.append(Front(told, cluster))
        return fronts[0].models(metrics, on_fault)

    try:
        return run(settings, open_models)
    finally:
        for front in fronts:
            front.close()


class Front:
    """What makes releases into replicas.

    Args:
        settings: of the service.
        cluster: of the cluster and the replicas.

    Raises:
        ConfigError: no such cluster, another front of that name is there, or options do not fit.
    """

    def __init__(self, settings: Settings, cluster: RaySettings) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", cluster.name):
            raise ConfigError(f"--ray-name {cluster.name[:40]!r}: letters, digits, - and _ only")
        if cluster.most is not None and cluster.most < cluster.replicas:
            raise ConfigError(
                f"--max-replicas {cluster.most} is less than --replicas {cluster.replicas}"
            )
        self._settings, self._cluster = settings, cluster
        self.runtime = _runtime(settings)
        self._ray = join(cluster.address)
        self._files = self._be_the_only_one()
        self._calls = Calls()
        self._stopping = threading.Event()
        self._loads = threading.Lock()
        self._count = itertools.count(1)
        from ray import serve

        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        self._serve = serve
        serve.start(proxy_location="Disabled", logging_config={"log_level": "WARNING"})
        for name in list(serve.status().applications):
            if name.startswith(f"{cluster.name}."):
                _log.warning("%s was left by an earlier front, it is taken away", name)
                serve.delete(name, _blocking=False)
        self._session = f"{cluster.name}.{time.time_ns():x}"

    def models(self, metrics: Metrics, on_fault: Callable[[str], None]) -> Models:
        """Return what the service serves."""
        return Models(
            self._settings.releases,
            self.runtime.open,
            metrics,
            on_fault,
            find=find_for(self.runtime),
            max_batch=self._settings.max_batch,
            max_delay=self._settings.max_delay,
            start=self.start,
        )

    def start(self, release: Release) -> Replicas:
        """Return the replicas of a checked release: all are loaded and warm, and one answered.

        Raises:
            InferenceError: a replica cannot load it; nothing stays.
            RequestError: no room in time, or the cluster fails: 503, ask again; nothing stays.
        """
        with self._loads:
            return self._start(release)

    def _start(self, release: Release) -> Replicas:
        name = f"{self._session}.{release.part}.{release.number}.{next(self._count)}"
        end = time.monotonic() + self._cluster.load_timeout
        try:
            handle = self._deploy(name, release)
            self._await_running(name, release, end)
            replicas = Replicas(
                release,
                handle,
                self._calls,
                longest=self._settings.stall,
                on_close=lambda: self._delete(name),
            )
            if not replicas.await_answer(max(end - time.monotonic(), PROBE)):
                replicas.close()
                text = f"{release.name}: no replica answers; look at the nodes"
                raise RequestError(text, 503, "loading")
        except (InferenceError, RequestError):
            self._delete(name)
            raise
        except Exception as error:  # of Ray, by many names
            self._delete(name)
            text = f"{release.name}: the cluster failed while it was loaded: {error}"
            raise RequestError(text, 503, "loading") from error
        return replicas

    def close(self) -> None:
        """Leave the cluster; one that was started here ends. A load that runs is given up before."""
        self._stopping.set()
        if self._loads.acquire(timeout=GIVE_UP):
            self._loads.release()
        self._calls.close()
        self._ray.shutdown()

    def _deploy(self, name: str, release: Release) -> Any:
        wanted = Wanted(
            release.part,
            release.number,
            release.model_sha256,
            inspection.__version__,
            self._files,
            NAMESPACE,
            self.runtime,
            self._settings.max_batch,
            self._settings.max_delay,
            self._settings.stall,
        )
        told, cluster = self._settings, self._cluster
        options: dict[str, Any] = {
            "ray_actor_options": {
                "num_cpus": cluster.cpus,
                "num_gpus": 1 if told.device == "cuda" else 0,
            },
            "max_ongoing_requests": MAX_WAITING,
            "max_queued_requests": MAX_WAITING,
            "max_constructor_retry_count": 1,
            "health_check_period_s": 1.0,
            "health_check_timeout_s": 10.0,
            "graceful_shutdown_timeout_s": 10.0,
        }
        if cluster.most is None:
            options["num_replicas"] = cluster.replicas
        else:
            options["autoscaling_config"] = {
                "min_replicas": cluster.replicas,
                "initial_replicas": cluster.replicas,
                "max_replicas": cluster.most,
                "target_ongoing_requests": told.max_batch,
                "downscale_delay_s": cluster.shrink_after,
            }
        target = self._serve.deployment(Replica).options(**options).bind(wanted)
        return self._serve.run_many(
            [self._serve.RunTarget(target, name=name, route_prefix=None)],
            wait_for_applications_running=False,
        )[0]

    def _await_running(self, name: str, release: Release, end: float) -> None:
        while True:
            found = self._serve.status().applications.get(name)
            state = found.status.value if found is not None else "NOT_STARTED"
            if state == "RUNNING":
                return
            if state in {"DEPLOY_FAILED", "UNHEALTHY"}:
                raise _refusal(release, found)
            if time.monotonic() > end:
                raise RequestError(
                    f"{release.name}: its {self._cluster.replicas} replicas were not warm within "
                    f"{self._cluster.load_timeout:g} s: {_why(found)}. Each reserves "
                    f"{self._cluster.cpus:g} processors: is there room beside the releases that are "
                    "loaded? Add a node, unload one, or use --cpus",
                    503,
                    "loading",
                )
            if self._stopping.wait(POLL):
                raise RequestError("the service stops", 503, "loading")

    def _delete(self, name: str) -> None:
        try:
            self._serve.delete(name, _blocking=False)
        except Exception:  # the cluster is gone, and its replicas with it
            _log.exception("%s could not be taken away", name)

    def _be_the_only_one(self) -> str:
        """Start the actor that hands out files; its name is taken while a front lives."""
        ray = self._ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        name = f"front-{self._cluster.name}"
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        try:
            self._actor = (
                ray.remote(Files)
                .options(name=name, num_cpus=0, max_restarts=-1, scheduling_strategy=here)
                .remote(Path(self._settings.releases).resolve())
            )
        except ValueError as error:
            ray.shutdown()
            raise ConfigError(
                f"a service named {self._cluster.name!r} runs in this cluster already; name this one "
                "with --ray-name"
            ) from error
        return name


def _runtime(settings: Settings) -> RuntimeConfig:
    """Return the runtime of every replica: told, never found out on each node."""
    if settings.device != "cuda":
        return choose_runtime(replace(settings, device="cpu"))
    if settings.runtime == "openvino" or settings.precision != "f32":
        raise ConfigError(
            "device cuda runs with onnxruntime or pytorch in f32; leave --precision out, and --runtime "
            "openvino"
        )
    if settings.runtime == "pytorch":
        from inspection.runtimes.pytorch import PyTorchConfig

        return PyTorchConfig(device="cuda", threads=settings.threads)
    from inspection.runtimes.onnxruntime import OnnxRuntimeConfig

    return OnnxRuntimeConfig(threads=settings.threads, providers="cuda")


def _refusal(release: Release, found: Any) -> InferenceError | RequestError:
    """Return the replicas' own refusal; what is the cluster's fault is no word on the release: ask again."""
    words = [found.message, *(d.message for d in found.deployments.values())]
    for text in words:
        errors = LOAD_ERROR.findall(text)
        if errors:
            return InferenceError(f"{release.name}: a replica cannot load it: {errors[-1]}")
    text = f"{release.name}: its replicas did not start: {_why(found)}"
    return RequestError(text, 503, "loading")


def _why(found: Any) -> str:
    """Return the end of what Ray says of an application."""
    if found is None:
        return "nothing is known of it"
    words = [found.message, *(d.message for d in found.deployments.values())]
    return " ".join(" ".join(words).split())[-400:] or str(found.status.value)
