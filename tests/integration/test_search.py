"""A search over experiments: one after the other, and on a real Ray cluster of two nodes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from inspection.demo.labelled_set import write_labelled_set
from inspection.errors import ConfigError
from inspection_datasets.importing import ImportPlan, import_dataset
from inspection_datasets.manifest import load_version
from inspection_training.run_card import read_run
from inspection_training.search.cli import app
from inspection_training.search.space import read_space
from inspection_training.search.trial import Job

TINY = {
    "model": "yolov8n", "width": 0.0625, "imgsz": 96, "input_size": [64, 96], "epochs": 2, "batch": 8,
    "validations": 2, "threads": 1,
}  # fmt: skip
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_labelled_set(root / "rendered", 24, seed=0, size=(96, 80), defect_rate=0.5)
    import_dataset(root / "rendered", root / "plate", ImportPlan())
    return root / "plate"


def space(folder: Path, values: dict[str, list[Any]], **more: object) -> Path:
    (folder / "base.yaml").write_text(json.dumps({**TINY, **more}))
    path = folder / "search.yaml"
    path.write_text(json.dumps({"experiment": "base.yaml", "vary": values}))
    return path


def asked(folder: Path, dataset: Path, path: Path, *more: str) -> list[str]:
    return [
        *(str(path), "--data", str(dataset), "--weights", "random", "--part", "plate"),
        *("--out", str(folder / "runs"), "--releases", str(folder / "releases"), *more),
    ]


def test_trials_are_compared_and_nothing_is_released(dataset: Path, tmp_path: Path) -> None:
    path = space(tmp_path, {"augment": ["metal", "none"], "candidates": [300]})
    done = CliRunner().invoke(app, asked(tmp_path, dataset, path, "--json"))
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [trial["state"] for trial in told["trials"]] == ["done", "done"]
    assert sorted(trial["tried"]["augment"] for trial in told["trials"]) == ["metal", "none"]
    assert not (tmp_path / "releases").exists()
    for trial in told["trials"]:
        run = read_run(Path(trial["run"]))
        assert run.experiment.augment == trial["tried"]["augment"]
        assert (Path(trial["run"]) / "candidate" / "plate" / "1" / "model.onnx").is_file()
        score = trial["score"]
        assert score["escape"] <= score["bad"] > 0
    assert told["run"] == told["trials"][0]["run"]


def test_a_trial_that_fails_ends_no_other(dataset: Path, tmp_path: Path) -> None:
    path = space(tmp_path, {"tile": [None, [4000, 4000]], "expected_class": []})
    with pytest.raises(ConfigError, match="expected_class is no setting"):
        read_space(path)
    path = space(tmp_path, {"train_images": [1, 12]})
    done = CliRunner().invoke(app, asked(tmp_path, dataset, path, "--json"))
    told = json.loads(done.stdout)
    states = {trial["tried"]["train_images"]: trial["state"] for trial in told["trials"]}
    assert states[12] == "done"
    for trial in told["trials"]:
        assert (trial["state"] == "failed") == bool(trial["why"])


def test_wrong_options_say_what_to_do(dataset: Path, tmp_path: Path) -> None:
    path = space(tmp_path, {"seed": [0, 1]})
    runner = CliRunner()
    dry = runner.invoke(app, asked(tmp_path, dataset, path, "--dry-run"))
    assert dry.stdout == '1: {"seed": 0}\n2: {"seed": 1}\n'
    assert not (tmp_path / "runs").exists()
    alone = runner.invoke(app, asked(tmp_path, dataset, path, "--address", "127.0.0.1:1"))
    assert "--address is for --ray" in str(alone.exception)
    unsaid = runner.invoke(app, [str(path), "--data", str(dataset)])
    assert "say what to start from" in str(unsaid.exception)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    pytest.importorskip("ray", reason="Ray is not installed: the extra ray")
    from ray_nodes import RayNodes

    with RayNodes((1, 1)) as running:
        yield running


def on(nodes: Any, arguments: list[str], *more: str) -> subprocess.Popen[str]:
    """Start the command in a process of its own, which joins the cluster."""
    cluster = ["--ray", "--address", nodes.address, "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "inspection", "search", *arguments, *cluster, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(search: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return its exit code and what it printed."""
    with search:
        try:
            out, errors = search.communicate(timeout=400)
        except subprocess.TimeoutExpired:
            search.kill()
            raise
    return search.returncode, out, errors


@pytest.mark.soak
def test_on_two_nodes_each_trial_runs_once(nodes: Any, dataset: Path, tmp_path: Path) -> None:
    path = space(tmp_path, {"seed": [0, 1, 2]})
    arguments = asked(tmp_path, dataset, path)
    code, _, errors = ended(on(nodes, arguments, "--threads", "3"))
    assert code == 2
    assert "no node of the cluster has 3 processors, the largest has 1" in errors
    code, out, errors = ended(on(nodes, arguments, "--all-through"))
    assert code == 0, errors[-3000:]
    trials = json.loads(out)["trials"]
    assert sorted(trial["number"] for trial in trials) == [1, 2, 3]
    assert [trial["state"] for trial in trials] == ["done"] * 3, trials
    assert len({trial["run"] for trial in trials}) == 3
    for trial in trials:
        assert trial["tried"] == {"seed": trial["number"] - 1}
        assert read_run(Path(trial["run"])).experiment.seed == trial["tried"]["seed"]
    assert not (tmp_path / "releases").exists()


@pytest.mark.soak
def test_a_node_lost_in_a_search_costs_no_trial(nodes: Any, dataset: Path, tmp_path: Path) -> None:
    path = space(tmp_path, {"seed": [0, 1, 2]}, epochs=8)
    search = on(nodes, asked(tmp_path, dataset, path), "--all-through")
    end = time.monotonic() + 120
    while len(list((tmp_path / "runs").glob("plate-*"))) < 2:
        if search.poll() is not None or time.monotonic() > end:
            pytest.fail(f"no trial began: {ended(search)}")
        time.sleep(0.05)
    nodes.lose(1)
    code, out, errors = ended(search)
    assert code == 0, errors[-3000:]
    trials = json.loads(out)["trials"]
    assert [trial["state"] for trial in trials] == ["done"] * 3, trials
    assert {trial["tried"]["seed"] for trial in trials} == {0, 1, 2}
    runs = {Path(trial["run"]) for trial in trials}
    assert len(runs) == 3
    assert len(list((tmp_path / "runs").glob("plate-*"))) == 4, "one was begun again"
    assert all((run / "candidate").is_dir() for run in runs)


def test_a_dataset_that_changed_is_refused_by_the_node(dataset: Path) -> None:
    version = load_version(dataset)
    job = Job(dataset, version.version, "0" * 64, "plate", None, Path("releases"), Path("runs"))
    with pytest.raises(ConfigError, match="not the version that the search began with"):
        job.version()
