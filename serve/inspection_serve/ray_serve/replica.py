"""One replica: a release that is loaded and warm in a process of some node.

    files of the release, from the front ─▶ checked as on a station ─▶ loaded ─▶ run once
    infer ─▶ Batcher (joins what waits here) ─▶ outputs

A replica that is there has run its release: its constructor returns only then. On a fault of the runtime its
process ends, and Ray starts another.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import inspection
from inspection.errors import InferenceError
from inspection.release import find_release
from inspection.runtimes.contract import warm_images
from inspection.variants import find_for
from inspection_serve.inference.batcher import Batcher, Outputs
from inspection_serve.inference.metrics import Metrics
from inspection_serve.inference.process import FAULT, RuntimeConfig
from inspection_serve.inference.protocol import RequestError

LOAD_TIMEOUT = 600.0
FETCH_TIMEOUT = 120.0
FOLDER = "inspection-release-"
"""Start of the name of a replica's folder; the number of its process follows."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a replica is to serve.

    Attributes:
        part: name of the part.
        number: of the release.
        sha256: of the model, with the precision before a colon; the front's own check gave it.
        version: of this package; a node with another one is refused.
        files: name of the actor that hands out the release's files.
        namespace: of that actor.
        runtime: configuration of the runtime.
        max_batch: most images run together.
        max_delay: longest wait for company, seconds.
        stall: an inference that runs for longer, in seconds, is a fault.
    """

    part: str
    number: int
    sha256: str
    version: str
    files: str
    namespace: str
    runtime: RuntimeConfig
    max_batch: int
    max_delay: float
    stall: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request was not answered; becomes a RequestError at the front."""

    message: str
    status: int
    code: str


class Files:
    """Hands out the files of releases: nodes need not see the front's folder.

    Lives on the front's machine and ends with it. Its name says that a front is there.
    """

    def __init__(self, releases: Path) -> None:
        self._releases = releases

    def read(self, part: str, number: int) -> dict[str, bytes]:
        """Return path to content of every file of a release. Raises ReleaseError: it is refused."""
        folder = find_release(self._releases, part, number).folder
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }


class Replica:
    """One release, loaded and warm. Ray calls it from one event loop.

    Raises:
        InferenceError, ReleaseError: it cannot be loaded here; it then serves nothing.
        RuntimeError: its files did not come; another try may do.
    """

    def __init__(self, wanted: Wanted) -> None:
        if inspection.__version__ != wanted.version:
            raise InferenceError(
                f"this node has inspection {inspection.__version__}, the front {wanted.version}; "
                "install the same everywhere"
            )
        self._wanted = wanted
        _listen_here_only()
        remove_leftovers(Path(tempfile.gettempdir()))
        self._folder = tempfile.TemporaryDirectory(prefix=f"{FOLDER}{os.getpid()}-")
        root = Path(self._folder.name)
        _write(root / wanted.part / str(wanted.number), _fetch(wanted))
        release = find_for(wanted.runtime)(root, wanted.part, wanted.number)
        if release.model_sha256 != wanted.sha256:
            raise InferenceError(
                f"{release.name} changed while it was sent: {release.model_sha256[:16]}… instead of "
                f"{wanted.sha256[:16]}…; load it again"
            )
        runtime = wanted.runtime.open()
        try:
            runtime.load(release, LOAD_TIMEOUT)
            if wanted.max_batch > 1:
                runtime.infer(warm_images(release, wanted.max_batch), LOAD_TIMEOUT)
        except InferenceError:
            runtime.close()
            raise
        self._batcher = Batcher(
            release,
            runtime,
            max_batch=wanted.max_batch,
            max_delay=wanted.max_delay,
            metrics=Metrics(),
            on_fault=_end,
        )

    async def infer(
        self, images: NDArray[np.uint8], timeout: float
    ) -> tuple[str, Outputs] | Refusal:
        """Run the release on uint8 [B, H, W, 3]; return the hash of what ran and its outputs."""
        try:
            future = self._batcher.submit(np.ascontiguousarray(images), timeout)
            return self._wanted.sha256, await asyncio.wrap_future(future)
        except RequestError as error:
            return Refusal(str(error), error.status, error.code)

    async def probe(self) -> str:
        """Return the hash of what is loaded: this replica answers."""
        self.check_health()
        return self._wanted.sha256

    def check_health(self) -> None:
        """Raise RuntimeError when this replica must not serve on; Ray then replaces it."""
        if self._batcher.stalled(self._wanted.stall):
            raise RuntimeError(f"an inference has been running for over {self._wanted.stall:g} s")
        if not self._batcher.ready:
            raise RuntimeError("the runtime failed")


def _fetch(wanted: Wanted) -> dict[str, bytes]:
    import ray

    try:
        actor = ray.get_actor(wanted.files, wanted.namespace)
        found: Any = ray.get(actor.read.remote(wanted.part, wanted.number), timeout=FETCH_TIMEOUT)
    except (ValueError, ray.exceptions.RayError) as error:
        raise RuntimeError(
            f"the files of {wanted.part}/{wanted.number} did not come from the front ({error})"
        ) from error
    return found


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def remove_leftovers(folder: Path) -> None:
    """Remove the files of replicas whose process was killed."""
    for left in folder.glob(f"{FOLDER}*"):
        number = left.name.removeprefix(FOLDER).split("-")[0]
        if number.isdigit() and not Path("/proc", number).exists():
            shutil.rmtree(left, ignore_errors=True)


def _listen_here_only() -> None:
    """Bind the port of this replica's second server, which nothing here uses, to 127.0.0.1.

    Ray Serve 2.60 opens it after this constructor, on every address and without asking who calls; there is no
    setting for it. Version and test hold this: `tests/integration/test_ray.py` looks at the open ports.
    """
    from ray.serve._private import replica

    bind = replica.add_port_to_grpc_server

    def here(server: Any, address: str) -> Any:
        return bind(server, address.replace("[::]", "127.0.0.1"))

    replica.add_port_to_grpc_server = here


def _end(why: str) -> None:
    """End the process: a device in an unknown state must not answer for one more part."""
    _log.critical("fault, the replica ends: %s", why)
    os._exit(FAULT)
