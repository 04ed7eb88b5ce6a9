"""Run a release on labelled pictures on the nodes of a Ray cluster: Ray Data hands them out.

    samples, numbered ─▶ blocks of BLOCK ─▶ one task each ─▶ put in order by their numbers ─▶ all there?
                                              └▶ its process or node lost: done again elsewhere

Each task reads the release and the pictures itself, at the same paths as here, and checks their hashes. What
comes back is what one process would have found, bit for bit, or an error; never fewer pictures.
"""

from __future__ import annotations

import importlib.util
import logging
import pickle
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from inspection.detector import Detector
from inspection.errors import (
    ConfigError,
    DatasetError,
    InspectionError,
    ReleaseError,
    how_to_install,
)
from inspection.ray_cluster import cluster
from inspection.release import load_release
from inspection.types import Detections, Release
from inspection.variants import in_precision, precision_of
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.evaluate import detect_samples
from inspection_training.evaluation import Detect, open_release
from inspection_training.surroundings import (
    Surroundings,
    check_alike,
    check_shared,
    surroundings,
    this_node,
)

BLOCK = 64
"""Pictures of one task."""
RETRIES = 5
"""So often a block is begun again after its process or node was lost."""
STALL = 900.0
"""Seconds without any block done after which the cluster is given up."""


@dataclass(frozen=True, slots=True)
class Told:
    """What every task is told.

    Attributes:
        release: as it was checked on the machine that asks.
        version: the dataset version, without its samples.
        runtime: openvino or onnxruntime.
        threads: of one inference.
        here: what the machine that asks is like.
    """

    release: Release
    version: DatasetVersion
    runtime: str
    threads: int
    here: Surroundings


@contextmanager
def cluster_detection(
    address: str, runtime: str, threads: int, *, block: int = BLOCK
) -> Generator[Detect]:
    """Be in a cluster; yield what runs a release on samples there, as `evaluation.detect_here` does here.

    Args:
        address: HOST:PORT of the cluster's head; empty: start one on this machine.
        runtime: openvino or onnxruntime.
        threads: of one inference; 0 means 1 here: there is a task for each processor.
        block: pictures of one task.

    Raises:
        ConfigError: no such cluster, a runtime that would differ between nodes, or Ray Data is not
            installed. What is yielded raises it where a node computes something else, or blocks are lost
            again and again, and DatasetError where a node does not see a picture. There is no partial
            result.
    """
    check_shared(runtime)
    if importlib.util.find_spec("ray") and not importlib.util.find_spec("pyarrow"):
        raise ConfigError(f"Ray Data is not installed; {how_to_install('ray')}, on every node")
    with cluster(address) as ray:
        yield partial(_detect, ray, runtime, threads or 1, block)


def _detect(
    ray: Any,
    runtime: str,
    threads: int,
    block: int,
    release: Release,
    version: DatasetVersion,
    samples: Sequence[Sample],
    tick: Callable[[], None],
) -> list[Detections]:
    """Run a checked release on every sample, in order; see `evaluate.detect_samples`."""
    told = Told(
        replace(release, folder=release.folder.resolve(), model=release.model.resolve()),
        replace(version, folder=version.folder.resolve(), samples=()),
        runtime,
        threads,
        surroundings(release.model_sha256),
    )
    found: dict[int, Detections] = {}
    for number, detections in _run(ray, told, samples, block):
        if number in found:
            raise ConfigError(f"picture {number} came back twice: the cluster cannot be trusted")
        found[number] = detections
        tick()
    if sorted(found) != list(range(len(samples))):
        raise ConfigError(
            f"{len(found)} of {len(samples)} pictures came back, so nothing is told of any; ask again"
        )
    return [found[number] for number in range(len(samples))]


def _run(
    ray: Any, told: Told, samples: Sequence[Sample], block: int
) -> Iterator[tuple[int, Detections]]:
    """Yield number and detections of each sample, in any order."""
    rows = [{"number": n, "sample": x.model_dump_json()} for n, x in enumerate(samples)]
    data = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // block))
    # after the import of ray.data, which sets it; what fails is raised
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = data.context
    context.enable_progress_bars = context.print_on_execution_start = False
    context.raise_original_map_exception = True
    context.max_errored_blocks = 0
    context.execution_no_progress_timeout_s = STALL
    with warnings.catch_warnings():
        # Ray 2.64 drops max_retries: without it a block that ends its process is begun again for ever
        warnings.simplefilter("ignore", DeprecationWarning)
        work = data.map_batches(
            detect_block,
            batch_size=None,
            fn_kwargs={"told": pickle.dumps(told)},
            num_cpus=1,
            max_retries=RETRIES,
        )
    try:
        for row in work.iter_rows():
            yield int(row["number"]), pickle.loads(row["found"])  # noqa: S301  of our own tasks
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, InspectionError):
            cause.args = (str(cause).partition("\nFailed to ")[0],)  # Ray Data adds its own advice
            raise cause from error
        raise ConfigError(f"a block of pictures could not be looked at: {cause!r}") from error
    except Exception as error:  # of Ray, by many names: lost blocks, a stall, a lost head
        raise ConfigError(
            f"the cluster failed, nothing is told of any picture ({type(error).__name__}: {error}); "
            "has it a free processor? Look at: ray status"
        ) from error


class _Worker:
    """What a process of a node keeps between blocks: what it was told, and the release it has loaded."""

    kept: tuple[bytes, Told, Detector] | None = None


def detect_block(batch: dict[str, Any], told: bytes) -> dict[str, Any]:
    """Look at one block; runs in a process of some node.

    Args:
        batch: `number` int64 [B] and `sample` JSON text [B].
        told: a pickled `Told`.

    Returns:
        `number` as it came, and `found`: the pickled `Detections` of each.

    Raises:
        InspectionError: the node is not as the machine that asked, or does not see a picture.
    """
    kept = _Worker.kept
    if kept is None or kept[0] != told:
        read: Told = pickle.loads(told)  # noqa: S301  of the machine that asked
        kept = _Worker.kept = told, read, _load(read)
    _, known, detector = kept
    samples = [Sample.model_validate_json(text) for text in batch["sample"]]
    try:
        found = detect_samples(detector, known.version, samples)
    except DatasetError as error:
        raise DatasetError(f"{this_node()}: {error}") from error
    content = np.empty(len(found), object)
    content[:] = [pickle.dumps(detections) for detections in found]
    return {"number": batch["number"], "found": content}


def _load(told: Told) -> Detector:
    asked = told.release
    try:
        release = in_precision(load_release(asked.folder), precision_of(asked), told.runtime)
    except ReleaseError as error:
        raise ReleaseError(f"{this_node()}: {error}") from error
    check_alike(told.here, surroundings(release.model_sha256))
    if release != asked:
        raise ConfigError(
            f"{this_node()} sees another release in {asked.folder} than the machine that asked; share the "
            "folder, at the same path on every node"
        )
    return Detector(release, open_release(told.runtime, release, told.threads))
