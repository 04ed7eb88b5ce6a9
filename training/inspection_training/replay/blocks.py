"""A replay on the nodes of a Ray cluster: the same parts, the same result, bit for bit.

    stored rows, newest first ─▶ blocks of BLOCK ─▶ one task each ─▶ joined in the order of the rows
                                                     └▶ its process or node lost: done again elsewhere

Each task reads the pictures and releases itself, at the same paths as here. A node that does not see what
this machine sees, or that would compute in another way, ends the replay with an error: it would give another
result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from inspection.errors import ConfigError, DatasetError, InspectionError
from inspection.ray_cluster import cluster
from inspection.release import list_releases
from inspection.store.config import StoreConfig
from inspection.store.queries import StoreReader
from inspection.store.rows import stored_images
from inspection.types import Verdict
from inspection_datasets.incoming import inside
from inspection_training.replay.decide_again import (
    Asked,
    Replay,
    begin,
    checked,
    count_parts,
    decide_row,
    stored_rows,
)
from inspection_training.replay.judges import Judges
from inspection_training.surroundings import (
    Surroundings,
    check_alike,
    check_shared,
    surroundings,
    this_node,
)

BLOCK = 64
"""Parts of one task."""
RETRIES = 5
"""So often a block is begun again after its process or node was lost."""
STALL = 900.0
"""Seconds without any block done after which the cluster is given up."""

Row = tuple[dict[str, Any], Verdict | None]


def replay_on_cluster(
    asked: Asked,
    address: str,
    tick: Callable[[int, int], None] = lambda _done, _of: None,
    *,
    block: int = BLOCK,
) -> Replay:
    """Decide the stored parts again on a cluster; see `decide_again.replay`.

    Args:
        asked: which parts, and by what; threads 0 means 1 here: there is a task for each processor.
        address: HOST:PORT of the cluster's head; empty: start one on this machine.
        tick: called with (done, parts) after each block.
        block: parts of one task.

    Raises:
        InspectionError: as `replay`; and where a node sees or computes something else, or blocks
            are lost again and again. There is no partial result.
    """
    check_shared(asked.runtime)
    asked = replace(
        asked,
        threads=asked.threads or 1,
        releases=asked.releases.resolve(),
        store=_with_whole_path(asked.store),
    )
    with Judges(asked.releases, asked.runtime, asked.threads) as judges:
        found = begin(asked, judges)
    with StoreReader(asked.store) as reader, cluster(address) as ray:
        total, done = count_parts(reader, asked), 0
        told = Told(
            _without_store(asked),
            surroundings(found.release.model_sha256, list_releases(asked.releases)),
        )
        kept: dict[int, Replay] = {}
        blocks = _blocks(stored_rows(reader, asked), asked, block)
        for index, size, part in _run(ray, told, blocks):
            kept[index] = part
            done += size
            tick(done, total)
    for index in sorted(kept):
        _join(found, kept[index])
    return checked(found, asked)


@dataclass(frozen=True, slots=True)
class Told:
    """What every task is told: the question, and what the machine that asks is like."""

    asked: Asked
    here: Surroundings


@dataclass(frozen=True, slots=True)
class Block:
    """Rows, and whether the picture of each is seen on the machine that read the store."""

    rows: list[Row]
    seen: list[bool]


class _Worker:
    """What a process of a node keeps between blocks: the releases it has loaded."""

    told: Told | None = None
    judges: Judges | None = None
    empty: Replay | None = None


def decide_block(told: Told, block: Block) -> Replay:
    """Decide one block; runs in a process of some node.

    Raises:
        InspectionError: the node is not as the machine that asked.
    """
    kept = _Worker
    if kept.told != told or kept.judges is None or kept.empty is None:
        judges = Judges(told.asked.releases, told.asked.runtime, told.asked.threads)
        empty = begin(told.asked, judges)
        releases = list_releases(told.asked.releases)
        check_alike(told.here, surroundings(empty.release.model_sha256, releases))
        kept.told, kept.judges, kept.empty = told, judges, empty
    empty = kept.empty
    found = Replay(empty.release, empty.recipe, empty.recipe_given, empty.runtime)
    for (row, verdict), seen in zip(block.rows, block.seen, strict=True):
        if _sees(row, told.asked) is not seen:
            raise ConfigError(
                f"{this_node()} does not see the pictures that the machine with the store sees: "
                f"row {row['id']}, folder {told.asked.store.images.folder}; share it, at the same path on "
                "every node"
            )
        decide_row(row, verdict, told.asked, kept.judges, found)
    return found


def _sees(row: dict[str, Any], asked: Asked) -> bool:
    try:
        files = stored_images(row["images"])
        folder = asked.store.images.folder
        return bool(files) and inside(folder, files[0].path, "the results store").is_file()
    except (DatasetError, OSError, KeyError, TypeError, ValueError):
        return False


def _blocks(rows: Iterator[Row], asked: Asked, size: int) -> Iterator[Block]:
    while some := list(islice(rows, size)):
        yield Block(some, [_sees(row, asked) for row, _ in some])


def _run(ray: Any, told: Told, blocks: Iterator[Block]) -> Iterator[tuple[int, int, Replay]]:
    """Yield (index, parts, found) of each block as it is done; at most two for each processor wait."""
    most = 2 * max(int(ray.cluster_resources().get("CPU", 0)), 1)
    task = ray.remote(decide_block).options(num_cpus=1, max_retries=RETRIES)
    shared = ray.put(told)
    waiting: dict[Any, tuple[int, int]] = {}
    numbered = enumerate(blocks)
    while True:
        for index, block in islice(numbered, most - len(waiting)):
            waiting[task.remote(shared, block)] = (index, len(block.rows))
        if not waiting:
            return
        ready, _ = ray.wait(list(waiting), timeout=STALL)
        if not ready:
            raise ConfigError(
                f"no block was done for {STALL:g} s: has the cluster a free processor? Look at: ray status"
            )
        for done in ready:
            yield (*waiting.pop(done), _result(ray, done))


def _result(ray: Any, done: Any) -> Replay:
    try:
        found: Replay = ray.get(done)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, InspectionError):
            raise cause from error
        raise ConfigError(f"a block could not be decided: {cause!r}") from error
    except ray.exceptions.RayError as error:
        raise ConfigError(
            f"a block was lost {RETRIES + 1} times, nothing is told of any part: {error}"
        ) from error
    return found


def _join(found: Replay, block: Replay) -> None:
    """Add a block; blocks come in the order of their rows, so that nothing tells how it was cut."""
    found.parts += block.parts
    for why, keys in block.left_out.items():
        found.left_out.setdefault(why, []).extend(keys)
    found.lossy += block.lossy
    found.no_baseline.update(block.no_baseline)
    found.recipe_differs += block.recipe_differs
    found.no_code += block.no_code


def _with_whole_path(store: StoreConfig) -> StoreConfig:
    images = store.images.model_copy(update={"folder": store.images.folder.resolve()})
    return store.model_copy(update={"images": images})


def _without_store(asked: Asked) -> Asked:
    """Nodes need the pictures, never the database nor who may read it."""
    return replace(asked, store=asked.store.model_copy(update={"url": "not-told.db"}))
