"""`inspection search`: many trainings, one after the other or on a Ray cluster; nothing is released."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from inspection.errors import ConfigError
from inspection.sentences.language import DEFAULT_LANGUAGE, check_language

app = typer.Typer(add_completion=False, help="Train many variations of an experiment and compare.")


@app.command()
def search(
    space: Annotated[Path, typer.Argument(help="search YAML: `vary:` and the values of settings")],
    *,
    data: Annotated[Path, typer.Option(help="dataset folder")],
    data_version: Annotated[str | None, typer.Option(help="default: the newest")] = None,
    weights: Annotated[
        str | None, typer.Option(help="what all trials start from, as of inspection train")
    ] = None,
    part: Annotated[str, typer.Option(help="part name; default: the dataset's name")] = "",
    releases: Annotated[Path, typer.Option(help="where a release of the best one would go")] = Path(
        "releases"
    ),
    out: Annotated[Path, typer.Option(help="where the runs' own files go")] = Path("runs"),
    ray: Annotated[
        bool, typer.Option("--ray", help="share the trials among the nodes of a Ray cluster")
    ] = False,
    address: Annotated[
        str,
        typer.Option(help="with --ray: HOST:PORT of the cluster's head; default: start one here"),
    ] = "",
    threads: Annotated[
        int, typer.Option(help="with --ray: processors of one trial", min=1, max=256)
    ] = 1,
    all_through: Annotated[
        bool,
        typer.Option("--all-through", help="with --ray: stop no trial that is behind the others"),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would be tried, do not train")
    ] = False,
    language: Annotated[str, typer.Option(help="of the table: ko or en")] = DEFAULT_LANGUAGE,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Train many variations of an experiment, compare them on val, and name the best; release nothing.

    Exit code 1: no trial came to its end.
    """
    from inspection_datasets.manifest import load_version
    from inspection_training.progress import TrainingBar
    from inspection_training.search import table
    from inspection_training.search.space import read_space
    from inspection_training.search.trial import Job, Trial, best_of, run_trial

    check_language(language)
    if address and not ray:
        raise ConfigError("--address is for --ray; name both")
    version = load_version(data, data_version)
    plan = read_space(space)
    if not any(sample.split == "val" for sample in version.samples):
        raise ConfigError(
            f"{data} {version.version} holds back no val images, so no trial could be chosen; import it "
            "with --val 0.2"
        )
    if weights is None and any(one.family == "ultralytics" for _, one in plan):
        raise ConfigError("say what to start from: --weights FILE.pt, or --weights random")
    if dry_run:
        for number, (tried, _) in enumerate(plan, start=1):
            typer.echo(f"{number}: {json.dumps(tried, ensure_ascii=False)}")
        return
    job = Job(
        data=version.folder.resolve(),
        data_version=version.version,
        data_sha256=version.sha256,
        part=part or version.name,
        weights=None if weights in {None, "random"} else Path(str(weights)).resolve(),
        releases=releases.resolve(),
        runs=out.resolve(),
    )
    if ray:
        from inspection_training.search.cluster import search_on_cluster

        trials = search_on_cluster(address, job, plan, threads=threads, early=not all_through)
    else:
        trials: list[Trial] = []
        for number, (tried, experiment) in enumerate(plan, start=1):
            typer.echo(f"{number} of {len(plan)}: {json.dumps(tried)}", err=True)
            with TrainingBar() as bar:
                trials.append(run_trial(job, number, tried, experiment, bar.report))
    if as_json:
        typer.echo(json.dumps(table.as_json(trials), ensure_ascii=False))
    else:
        table.print_trials(trials, language)
    if best_of(trials) is None:
        raise typer.Exit(1)
