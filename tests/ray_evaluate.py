"""Runs a release on a split and prints what came out to the last bit: run as a process by the tests of Ray.

python ray_evaluate.py RELEASE DATASET [HOST:PORT BLOCK]
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from ray_replay import hash_of

from inspection_datasets.manifest import load_version
from inspection_training.detect_on_cluster import cluster_detection
from inspection_training.evaluation import detect_here, inspect_split


def main() -> None:
    """Print one line: hash, pictures, defective parts that pass."""
    release, data, *cluster = sys.argv[1:]
    version = load_version(Path(data))
    if cluster:
        where = cluster_detection(cluster[0], "onnxruntime", 0, block=int(cluster[1]))
    else:
        where = nullcontext(partial(detect_here, "onnxruntime", 1))
    with where as detect:
        run = inspect_split(Path(release), version, "test", "onnxruntime", detect=detect)
    metrics = run.metrics()
    print(hash_of([run.found, metrics]), len(run.found), metrics["defective"]["escape"]["count"])


if __name__ == "__main__":
    main()
