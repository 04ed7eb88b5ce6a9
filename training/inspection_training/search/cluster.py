"""The trials of a search on the nodes of a Ray cluster: Ray Tune hands them out.

    experiments ─▶ a trial on so many processors each ─▶ after each epoch: mAP50 on val
                      │                                        └─▶ far behind the others: stopped
                      └─▶ its process or node lost: begun again elsewhere

Which trials are stopped depends on who comes first, so a search that stops early is not repeatable; its
best trial is a training like any other. Weights, dataset and run folders lie at the same paths on every node.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from inspection.errors import ConfigError, how_to_install
from inspection.ray_cluster import cluster
from inspection_training.experiment import Experiment
from inspection_training.progress import Step
from inspection_training.search.trial import Job, Trial, run_trial

RETRIES = 2
"""So often a trial is begun again after its process or node was lost."""
KEEP = 3
"""One of so many trials goes on at each look."""


def search_on_cluster(
    address: str,
    job: Job,
    plan: Sequence[tuple[dict[str, Any], Experiment]],
    *,
    threads: int,
    early: bool,
) -> list[Trial]:
    """Run every trial and return them in their order.

    Args:
        address: HOST:PORT of the cluster's head; empty: start one on this machine.
        job: what all trials share.
        plan: of `space.read_space`.
        threads: processors of one trial.
        early: stop trials that are far behind the others.

    Raises:
        ConfigError: no such cluster, Ray Tune is not installed, or no node has so many processors.
    """
    if importlib.util.find_spec("ray") and not importlib.util.find_spec("pyarrow"):
        raise ConfigError(f"Ray Tune is not installed; {how_to_install('ray')}, on every node")
    with cluster(address) as ray, tempfile.TemporaryDirectory(prefix="inspection-search-") as work:
        _check_room(ray, threads)
        return _run(work, job, plan, threads, early=early)


def _check_room(ray: Any, threads: int) -> None:
    """Raise ConfigError where no node could ever take a trial: Ray itself would wait for ever."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    most = max((int(resources.get("CPU", 0)) for resources in alive), default=0)
    if threads > most:
        raise ConfigError(
            f"no node of the cluster has {threads} processors, the largest has {most}; use --threads {most}"
        )


def _run(
    work: str,
    job: Job,
    plan: Sequence[tuple[dict[str, Any], Experiment]],
    threads: int,
    *,
    early: bool,
) -> list[Trial]:
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # our run folders hold all there is
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # it names a folder that is gone at the end
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    epochs = max(experiment.epochs for _, experiment in plan)
    scheduler = (
        ASHAScheduler(
            time_attr="epoch",
            max_t=epochs + 1,
            grace_period=max(1, epochs // 4),
            reduction_factor=KEEP,
        )
        if early
        else FIFOScheduler()
    )
    told = {
        "job": job,
        "plan": [(tried, experiment.model_dump_json()) for tried, experiment in plan],
        "threads": threads,
    }
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(_trial, told=told), {"cpu": threads}),
        param_space={"number": tune.grid_search(list(range(1, len(plan) + 1)))},
        tune_config=tune.TuneConfig(metric="map50", mode="max", scheduler=scheduler),
        run_config=tune.RunConfig(
            name="search",
            storage_path=work,
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            verbose=0,
        ),
    )
    found = {trial.number: trial for trial in map(_read(plan), tuner.fit())}
    return [
        found.get(number) or Trial(number, tried, "failed", why="nothing is known of it")
        for number, (tried, _) in enumerate(plan, start=1)
    ]


def _read(plan: Sequence[tuple[dict[str, Any], Experiment]]) -> Callable[[Any], Trial]:
    """Return what turns a result of Ray Tune into a trial."""

    def read(result: Any) -> Trial:
        metrics = result.metrics or {}
        number = int((result.config or metrics["config"])["number"])
        tried = plan[number - 1][0]
        if "trial" in metrics:
            return Trial(**metrics["trial"])
        if result.error is not None:
            return Trial(number, tried, "failed", why=f"its process was lost: {result.error}")
        return Trial(number, tried, "stopped", map50=metrics.get("map50"))

    return read


def _trial(config: dict[str, Any], told: dict[str, Any]) -> None:
    """Run one trial; in a process of some node."""
    from ray import tune

    number = config["number"]
    tried, settings = told["plan"][number - 1]
    experiment = Experiment.model_validate_json(settings)
    if not experiment.threads:  # else each trial would take all processors of its node
        experiment = experiment.model_copy(update={"threads": told["threads"]})
    latest = {"epoch": 0, "map50": 0.0}

    def report(step: Step) -> None:
        if step.stage != "train" or int(step.done) <= latest["epoch"]:
            return
        latest.update(epoch=int(step.done), map50=step.map50 or 0.0)
        tune.report(dict(latest))  # leaves the thread where the trial is stopped

    trial = run_trial(told["job"], number, tried, experiment, report)
    latest["epoch"] = int(latest["epoch"]) + 1
    tune.report({**latest, "trial": asdict(trial)})
