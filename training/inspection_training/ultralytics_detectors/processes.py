"""Train on several GPUs of one machine: a process for each, torch's own DistributedDataParallel.

    this process ─▶ RUN/processes.json ─▶ process 0 ─┐  gradients averaged after every step
                                      └─▶ process 1 ─┘
    process 0 ─▶ a line for every step ─▶ this process; RUN/checkpoint.pt at the end

ultralytics would start its processes from a file it generates, which cannot carry our samples; here each
process reads the run's folder. When this process dies, the others end too; when one of them fails, all do.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inspection import errors
from inspection.errors import ConfigError, InspectionError
from inspection_datasets.manifest import DatasetVersion, load_version
from inspection_training.experiment import Experiment
from inspection_training.failures import kept
from inspection_training.progress import Report, Step

JOB = "processes.json"
END_SECONDS = 30.0
"""Longest wait for a process that was told to end, seconds."""


def train_together(
    experiment: Experiment,
    version: DatasetVersion,
    weights: Path | None,
    run: Path,
    together: int,
    report: Report,
) -> None:
    """Train in several processes until the run's checkpoint is the finished one.

    Args:
        experiment: every setting; its batch is shared out.
        version: the dataset version; the processes load it again.
        weights: weight file to start from, or None.
        run: folder of the run; a checkpoint there is gone on from.
        together: processes; on GPUs the first so many of them.
        report: told about every step of process 0.

    Raises:
        ConfigError: the batch cannot be shared out, or a process ended without saying why.
        InspectionError: what a process said.
    """
    if experiment.batch % together:
        raise ConfigError(
            f"batch {experiment.batch} cannot be shared out to {together} processes; use a multiple"
        )
    job = {
        "experiment": experiment.model_dump(mode="json"),
        "data": str(version.folder.resolve()),
        "version": version.version,
        "sha256": version.sha256,
        "weights": str(weights.resolve()) if weights else None,
    }
    (run / JOB).write_text(json.dumps(job), encoding="utf-8")
    port = _free_port()
    started: list[subprocess.Popen[str]] = []
    try:
        for rank in range(together):
            started.append(_start(run, rank, together, port))
        _follow(started, run, report)
    finally:
        for process in started:
            _end(process)


def _start(run: Path, rank: int, together: int, port: int) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(together),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    for name in ("YOLO_CONFIG_DIR", "MPLCONFIGDIR"):  # each process has its own
        environment.pop(name, None)
    with (run / f"process-{rank}.log").open("a", encoding="utf-8") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "inspection_training.ultralytics_detectors.processes", str(run)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


def _follow(started: list[subprocess.Popen[str]], run: Path, report: Report) -> None:
    """Pass on what process 0 reports until all have ended; raise what the first failing one says."""
    lines: queue.Queue[tuple[int, str | None]] = queue.Queue()
    for rank, process in enumerate(started):
        threading.Thread(target=_read, args=(rank, process, lines), daemon=True).start()
    running = len(started)
    while running:
        rank, line = lines.get()
        if line is None:
            running -= 1
            code = started[rank].wait()
            if code:
                raise ConfigError(
                    f"training process {rank} ended with {code}; {run / f'process-{rank}.log'} may say "
                    f"why. {kept(run)[0].upper()}{kept(run)[1:]}"
                )
            continue
        told = json.loads(line)
        if "error" in told:
            raise getattr(errors, told["kind"], ConfigError)(told["error"])
        if rank == 0:
            report(Step(**told))


def _read(
    rank: int, process: subprocess.Popen[str], lines: queue.Queue[tuple[int, str | None]]
) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put((rank, line))
    lines.put((rank, None))


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait(END_SECONDS)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(run: Path) -> int:
    """Be one of the processes; what happens is told on standard output, a JSON object a line."""
    out = sys.stdout  # the libraries' prints go to train.log meanwhile
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def tell(told: dict[str, Any]) -> None:
        out.write(json.dumps(told) + "\n")
        out.flush()

    try:
        _work(run, lambda step: tell(asdict(step)))
    except InspectionError as error:
        tell({"error": str(error), "kind": type(error).__name__})
    return 0


def _end_with_parent() -> None:
    sys.stdin.read()  # returns when the process that started this one has gone
    os._exit(1)


def _work(run: Path, report: Report) -> None:
    from inspection_training.ultralytics_detectors.family import train_share
    from inspection_training.ultralytics_detectors.quiet import quiet_ultralytics

    job = json.loads((run / JOB).read_text(encoding="utf-8"))
    version = load_version(Path(job["data"]), job["version"])
    if version.sha256 != job["sha256"]:
        raise ConfigError(f"{job['data']} {job['version']} was changed; start a new run")
    rank, together = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    own = run if rank == 0 else run / f"process-{rank}"
    own.mkdir(exist_ok=True)
    weights = Path(job["weights"]) if job["weights"] else None
    with quiet_ultralytics(own):
        experiment = Experiment.model_validate(job["experiment"])
        train_share(experiment, version, weights, run, report, together)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
