"""Replays a store and prints what came out to the last bit: run as a process by the tests of Ray.

python ray_replay.py RESULTS.DB RELEASES NUMBER [HOST:PORT [BLOCK]]
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import astuple
from pathlib import Path

import numpy as np

from inspection.store.config import StoreConfig
from inspection_training.replay.blocks import replay_on_cluster
from inspection_training.replay.decide_again import Asked, Replay, replay


def to_the_bit(found: Replay) -> str:
    """Return a hash of every part, every box and score, every count."""
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
        else:
            digest.update(repr(value).encode() + b"\0")

    for part in found.parts:
        take(astuple(part))
    take([found.left_out, dict(found.no_baseline), found.lossy, found.recipe_differs])
    take(found.as_dict())
    return digest.hexdigest()


def main() -> None:
    """Print one line: hash, parts, changes."""
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
    print(to_the_bit(found), len(found.parts), len(found.changed))


if __name__ == "__main__":
    main()
