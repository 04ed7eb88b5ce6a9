"""Replays a store and prints what came out to the last bit: run as a process by the tests of Ray.

python ray_replay.py RESULTS.DB RELEASES NUMBER [HOST:PORT [BLOCK]]
"""

from __future__ import annotations

import hashlib
import resource
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np

from inspection.store.config import StoreConfig
from inspection_training.replay.blocks import replay_on_cluster
from inspection_training.replay.decide_again import Asked, Replay, replay


def hash_of(*values: object) -> str:
    """Return a hash of values to the last bit: arrays, data classes, what Python is made of."""
    digest = hashlib.sha256()

    def take(value: object) -> None:
        if isinstance(value, np.ndarray):
            digest.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
        elif isinstance(value, tuple | list):
            digest.update(f"{len(value)}".encode())
            for item in value:
                take(item)
        elif isinstance(value, dict):
            take(list(value.items()))
        elif is_dataclass(value):
            take([getattr(value, x.name) for x in fields(value)])
        else:
            digest.update(repr(value).encode() + b"\0")

    take(values)
    return digest.hexdigest()


def to_the_bit(found: Replay) -> str:
    """Return a hash of every part, every box and score, every count."""
    counts = found.left_out, dict(found.no_baseline), found.lossy, found.recipe_differs
    return hash_of(found.parts, counts, found.as_dict())


def main() -> None:
    """Print one line: hash, parts, changes, and the most memory that this process held, MiB."""
    database, releases, number, *cluster = sys.argv[1:]
    config = StoreConfig.model_validate({"url": database})
    images = config.images.model_copy(update={"folder": Path(database).parent / "images"})
    config = config.model_copy(update={"images": images})
    asked = Asked(config, Path(releases), "demo", int(number), threads=1)
    if cluster:
        block = int(cluster[1]) if cluster[1:] else 64
        found = replay_on_cluster(asked, cluster[0], block=block)
    else:
        found = replay(asked)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(to_the_bit(found), len(found.parts), len(found.changed), peak)


if __name__ == "__main__":
    main()
