"""The releases that are served: found on disk, loaded beside one another, switched, rolled back.

    load: check files ─▶ open a runtime ─▶ load and warm ─▶ publish ─▶ default ─▶ retire the oldest

A release that cannot be loaded changes nothing. Requests find their version in one dictionary look-up
and never wait for a load.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspection.errors import InferenceError, ReleaseError
from inspection.protocols import Runtime
from inspection.release import current_number, find_release, list_releases, read_card, set_current
from inspection.runtimes.contract import warm_images
from inspection.settled import settle
from inspection.types import MASK_STRIDE, OUTPUTS, Release
from inspection.variants import precision_of
from inspection_serve.inference.batcher import Batcher, Worker
from inspection_serve.inference.metrics import Metrics
from inspection_serve.inference.protocol import RequestError

KEEP = 3
"""Versions of one part that stay loaded; the longest unused beyond that is retired."""
LOAD_TIMEOUT = 600.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Served:
    """A release that is loaded and warm."""

    release: Release
    batcher: Worker
    used: float


class Models:
    """All loaded releases.

    Args:
        releases: the folder `releases/`.
        open_runtime: makes a runtime for one release.
        metrics: where it counts.
        on_fault: called when the process must not serve on.
        find: returns a checked release in the precision that the runtimes compute in; raises
            ReleaseError for one without that variant.
        max_batch: most images run together.
        max_delay: longest wait for company, seconds.
        start: makes the worker of a checked release, loaded and warm; raises InferenceError. None: a
            runtime and a thread in this process.
    """

    def __init__(
        self,
        releases: Path,
        open_runtime: Callable[[], Runtime],
        metrics: Metrics,
        on_fault: Callable[[str], None],
        *,
        find: Callable[[Path, str, int], Release] = find_release,
        max_batch: int = 8,
        max_delay: float = 0.002,
        start: Callable[[Release], Worker] | None = None,
    ) -> None:
        self.releases = releases
        self._start = start or self._start_here
        self.max_batch = max_batch
        self._max_delay = max_delay
        self._open_runtime = open_runtime
        self._find = find
        self._metrics = metrics
        self._on_fault = on_fault
        self._served: dict[tuple[str, int], Served] = {}
        self._default: dict[str, int] = {}
        self._before: dict[str, list[int]] = {}
        self._loading: set[tuple[str, int]] = set()
        self._refused: dict[tuple[str, int], str] = {}
        self._change = threading.RLock()
        """Held for a whole load: one at a time on this machine."""
        self._closed = False

    def load_current(self) -> None:
        """Load the release in force of every part. A refused one is logged and left out."""
        for part in list_releases(self.releases):
            try:
                self.load(part, make_default=True, remember=False)
            except RequestError as error:
                _log.error("%s is not served: %s", part, error)

    def find(self, part: str, version: str | None) -> Served:
        """Return a loaded release; `None` is the default. Raises RequestError 404 or 503."""
        number = self._default.get(part) if version is None else _number(version)
        served = self._served.get((part, number or 0))
        name = f"{part}/{version}" if version is not None else part
        if served is not None:
            if not served.batcher.ready:
                raise RequestError(
                    f"{name} has nothing warm that answers; ask again", 503, "loading"
                )
            served.used = time.monotonic()
            return served
        if any(p == part and number in (n, None) for p, n in list(self._loading)):
            raise RequestError(f"{name} is loading; ask again", 503, "loading")
        if self._on_disk(part, number):
            if number is None:
                number = self._in_force(part)
            why = self._refused.get((part, number or 0), "load it first")
            raise RequestError(f"{name} is not loaded: {why}", 503, "loading")
        raise RequestError(f"{name[:80]} is not a release here", 404, "not_found")

    def versions(self, part: str) -> list[str]:
        """Return the loaded versions of a part, ascending."""
        return [str(n) for n in sorted(n for p, n in list(self._served) if p == part)]

    def load(
        self,
        part: str,
        version: str | None = None,
        *,
        make_default: bool = True,
        remember: bool = True,
    ) -> int:
        """Load and warm a release beside the others; return its number.

        Args:
            part: name of the part.
            version: its number; None is the one in force on disk.
            make_default: clients that name no version get it from now on.
            remember: also after a restart, in `releases/PART/current`.

        Raises:
            RequestError: refused; what was served is served on.
        """
        self.wanted(part, version)  # who asks for what is not there need not wait to hear it
        with self._change:
            number = self.wanted(part, version)
            if (part, number) not in self._served:
                self._bring_up(part, number)
            elif not self._served[part, number].batcher.ready:
                raise RequestError(
                    f"{part}/{number} has nothing warm that answers; ask again", 503, "loading"
                )
            # a number that came from disk is not written there: another may stand there by now
            asked = remember and version is not None
            if make_default or part not in self._default:
                self._switch(part, number, remember=asked and make_default)
            self._retire(part, number)
            return number

    def rollback(self, part: str) -> int:
        """Serve the version that was the default before; return its number.

        Raises:
            RequestError: there is none, or it is refused; nothing changed.
        """
        with self._change:
            now = self._default.get(part)
            if now is None:
                raise RequestError(f"{part[:80]} is not served", 404, "not_found")
            history = list(self._before.get(part, []))
            older = [n for n in list_releases(self.releases).get(part, []) if n < now]
            if not history and not older:
                raise RequestError(f"{part} has no version before {now}", 409, "not_found")
            target = history[-1] if history else older[-1]
            self.load(part, str(target))
            self._before[part] = history[:-1]
            return target

    def unload(self, part: str, version: str | None = None) -> None:
        """Stop serving one version, or with None a part altogether. Files stay as they are.

        Raises:
            RequestError: it is not loaded, or it is the default while others are loaded.
        """
        with self._change:
            own = [n for p, n in self._served if p == part]
            numbers = own if version is None else [_number(version)]
            if not numbers or any((part, n) not in self._served for n in numbers):
                raise RequestError(f"{part[:80]}/{version or '*'} is not loaded", 404, "not_found")
            if (
                version is not None
                and numbers[0] == self._default.get(part)
                and len(self.versions(part)) > 1
            ):
                raise RequestError(f"{part}/{version} is the default; load another first", 409)
            for number in numbers:
                self._drop(part, number)
            if not self.versions(part):
                self._default.pop(part, None)

    def index(self) -> list[dict[str, Any]]:
        """Return one entry for every release on disk: name, version, state, reason."""
        entries: list[dict[str, Any]] = []
        for part, numbers in list_releases(self.releases).items():
            for number in numbers:
                key = (part, number)
                state, reason = "UNAVAILABLE", self._refused.get(key, "not loaded")
                served = self._served.get(key)
                if served is not None:
                    ready = served.batcher.ready
                    state, reason = (
                        ("READY", "") if ready else ("UNAVAILABLE", "nothing warm answers")
                    )
                elif key in self._loading:
                    state, reason = "LOADING", ""
                entry = {"name": part, "version": str(number), "state": state, "reason": reason}
                entries.append({**entry, "default": self._default.get(part) == number})
        return entries

    @property
    def loading(self) -> bool:
        """True while a release is loaded."""
        return bool(self._loading)

    def describe(self) -> list[str]:
        """Return the defaults as `PART/NUMBER`, and nothing else."""
        return [f"{part}/{number}" for part, number in sorted(self._default.items())]

    def stalled(self, limit: float) -> str | None:
        """Return the name of a release whose inference runs for longer than `limit` seconds."""
        for served in list(self._served.values()):
            if served.batcher.stalled(limit):
                return served.release.name
        return None

    def close(self) -> None:
        """Load nothing any more and stop all workers; wait 2 s at most for what they are running."""
        self._closed = True
        served = list(self._served.values())
        for entry in served:
            entry.batcher.close()
        until = time.monotonic() + 2.0
        for entry in served:
            entry.batcher.join(max(until - time.monotonic(), 0.0))

    def wanted(self, part: str, version: str | None) -> int:
        """Return the number that is asked for. Raises RequestError: it is not on disk."""
        number = _number(version) if version is not None else self._in_force(part)
        if number is None or not self._on_disk(part, number):
            raise RequestError(
                f"{part[:80]}/{version or 'current'} is not in {self.releases}", 404, "not_found"
            )
        return number

    def _in_force(self, part: str) -> int | None:
        """Return the number in force on disk. Raises RequestError 500: nobody can tell."""
        try:
            return current_number(self.releases, part)
        except ReleaseError as error:
            raise RequestError(str(error), 500, "failed") from error

    def _check_open(self) -> None:
        if self._closed:
            raise RequestError("the service stops", 503, "loading")

    def _bring_up(self, part: str, number: int) -> None:
        self._check_open()
        key = (part, number)
        self._loading.add(key)
        started = time.monotonic()
        try:
            release = self._find(self.releases, part, number)
            worker = self._start(release)
            try:
                self._check_open()
            except RequestError:
                worker.close()
                raise
        except (ReleaseError, InferenceError) as error:
            self._refused[key] = str(error)
            self._metrics.loads.labels(part, "refused").inc()
            raise RequestError(str(error), 400, "release_refused") from error
        finally:
            self._loading.discard(key)
        self._refused.pop(key, None)
        settle(search=not self._served)  # else other stations may wait for an answer
        self._served[key] = Served(release, worker, time.monotonic())
        self._metrics.loads.labels(part, "loaded").inc()
        self._metrics.loaded.labels(part).set(len(self.versions(part)))
        _log.info("%s loaded and warm in %.2f s", release.name, time.monotonic() - started)

    def _start_here(self, release: Release) -> Worker:
        runtime = self._open_runtime()
        try:
            runtime.load(release, LOAD_TIMEOUT)
            if self.max_batch > 1:
                runtime.infer(warm_images(release, self.max_batch), LOAD_TIMEOUT)
        except InferenceError:
            runtime.close()
            raise
        return Batcher(
            release,
            runtime,
            max_batch=self.max_batch,
            max_delay=self._max_delay,
            metrics=self._metrics,
            on_fault=self._on_fault,
        )

    def _switch(self, part: str, number: int, *, remember: bool) -> None:
        before = self._default.get(part)
        if remember:
            try:
                set_current(self.releases, part, number)
            except OSError as error:
                raise RequestError(
                    f"{part}/{number} is loaded, but releases/{part}/current cannot be written "
                    f"({error}); the default stays {before}",
                    500,
                    "failed",
                ) from error
        self._default[part] = number
        if before is not None and before != number:
            self._before.setdefault(part, []).append(before)
            _log.info("%s: default version %d, was %d", part, number, before)

    def _retire(self, part: str, keep: int) -> None:
        """Drop the longest unused versions beyond KEEP; never the default nor `keep`."""
        own = sorted((s.used, n) for (p, n), s in self._served.items() if p == part)
        spare = [n for _, n in own if n not in (keep, self._default.get(part))]
        for number in spare[: max(len(own) - KEEP, 0)]:
            self._drop(part, number)

    def _drop(self, part: str, number: int) -> None:
        served = self._served.pop((part, number))
        served.batcher.close()
        self._metrics.loaded.labels(part).set(len(self.versions(part)))
        _log.info("%s unloaded", served.release.name)

    def _on_disk(self, part: str, number: int | None) -> bool:
        numbers = list_releases(self.releases).get(part, [])
        return bool(numbers) if number is None else number in numbers


def describe_model(served: Served, versions: list[str]) -> dict[str, Any]:
    """Return the protocol's metadata of a loaded release."""
    return {
        "name": served.release.part,
        "versions": versions,
        "platform": "onnx",
        "inputs": [
            {"name": "images", "datatype": "UINT8", "shape": [-1, *served.release.input_size, 3]}
        ],
        "outputs": [
            {"name": name, "datatype": "FP32", "shape": [-1, *shape]}
            for name, shape in _output_shapes(served.release)
        ],
        "parameters": {
            "sha256": served.release.model_sha256,
            "precision": precision_of(served.release),
            "version": served.release.number,
        },
    }


def configure_model(served: Served, max_batch: int, door: str = "") -> dict[str, Any]:
    """Return the configuration as Triton writes it; ultralytics' client reads `metadata`.

    Args:
        served: the release.
        max_batch: most images of one request.
        door: name of the local socket that inferences may come by; empty: there is none.
    """
    release = served.release
    card = read_card(release.folder)
    metadata = {
        "description": f"{release.name}, {card.family}",
        "author": "inspection",
        "date": card.created_at,
        "version": str(release.number),
        "license": card.licence,
        "docs": "",
        "stride": 32,
        "task": release.task,
        "batch": 1,
        "imgsz": list(release.input_size),
        "names": dict(enumerate(release.classes)),
        "channels": 3,
    }
    return {
        "name": release.part,
        "platform": "onnxruntime_onnx",
        "max_batch_size": max_batch,
        "input": [{"name": "images", "data_type": "TYPE_UINT8", "dims": [*release.input_size, 3]}],
        "output": [
            {"name": name, "data_type": "TYPE_FP32", "dims": shape}
            for name, shape in _output_shapes(release)
        ],
        "parameters": {
            "metadata": {"string_value": repr(metadata)},
            "sha256": {"string_value": release.model_sha256},
            "precision": {"string_value": precision_of(release)},
            "release": {"string_value": release.name},
            **({"local_socket": {"string_value": door}} if door else {}),
        },
    }


def _output_shapes(release: Release) -> list[tuple[str, list[int]]]:
    height, width = release.input_size
    shapes = {
        "detections": [-1, 6],
        "masks": [-1, height // MASK_STRIDE, width // MASK_STRIDE],
        "anomaly_map": [-1, -1],
        "anomaly_score": [],
    }
    return [(name, shapes[name]) for name in OUTPUTS[release.task]]


def _number(version: str) -> int:
    if not version.isascii() or not version.isdigit() or len(version) > 5:
        raise RequestError(f"version {version[:20]!r} is no release number", 404, "not_found")
    return int(version)
