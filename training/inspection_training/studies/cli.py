"""`inspection study`: do people and machine agree, does the gauge measure, is the line stable."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    add_completion=False,
    help="Studies of the trade: agreement of appraisers, gauge R&R, control charts.",
    no_args_is_help=True,
)
_Table = Annotated[Path, typer.Argument(help="CSV file with a header")]
_Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]


@app.command()
def agreement(
    table: _Table,
    *,
    reference: Annotated[
        str, typer.Option(help="the appraiser whose rating is the truth")
    ] = "reference",
    as_json: _Json = False,
) -> None:
    """Agreement of appraisers on good and bad (AIAG MSA). Columns: part, appraiser, trial, rating."""
    from inspection_training.studies.agreement import study_agreement
    from inspection_training.studies.table import read_ratings

    parts, ratings, truth = read_ratings(table, reference)
    study = study_agreement(ratings, truth)
    bad = int(truth.sum())
    if as_json:
        found = {**asdict(study), "parts": len(parts), "bad_parts": bad}
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    rows = [
        [
            name,
            f"{x.within} of {x.parts}",
            f"{x.standard_parts} of {x.parts}",
            f"{100 * x.standard_ratings / x.ratings:.1f} %",
            _percent(x.miss),
            _percent(x.false_alarm),
            f"{x.cohen_standard:.3f}",
        ]
        for name, x in study.appraisers.items()
    ]
    head = [
        "appraiser",
        "agrees with self",
        "with the truth",
        "ratings right",
        "miss",
        "false alarm",
    ]
    _print(f"{len(parts)} parts, {bad} bad", [*head, "kappa"], rows)
    typer.echo(
        f"all appraisers agree on {study.between} of {len(parts)} parts, and are right on "
        f"{study.all_standard}"
    )
    typer.echo(_judged(bad))


def _judged(bad: int) -> str:
    from inspection_training.statistics import best_claim

    usual = "usual limits: ratings right 90 %, miss 2 %, false alarm 5 % (marginal 80, 5, 10 %), kappa 0.75"
    if not bad:
        return f"{usual}. There is no bad part in this study, so nothing is known of misses"
    bound = 100 * best_claim(bad)
    return (
        f"{usual}. Even without a miss, {bad} bad parts support a miss rate of at best {bound:.1f} % "
        "at 95 %"
    )


@app.command()
def gage(table: _Table, *, as_json: _Json = False) -> None:
    """Gauge R&R of a measurement, ANOVA and range method. Columns: part, appraiser, trial, value."""
    from inspection.errors import ConfigError
    from inspection_training.studies.gage import anova_study, range_study
    from inspection_training.studies.table import read_measurements

    values = read_measurements(table)
    methods: dict[str, Any] = {}
    try:
        methods["ANOVA"] = anova_study(values)
    except ValueError as error:
        raise ConfigError(f"{table}: {error}") from error
    try:
        methods["average and range"] = range_study(values)
    except ValueError as error:
        typer.echo(f"no average and range method: {error}", err=True)
    if as_json:
        found = {name: asdict(x) | {"ndc": x.components.ndc} for name, x in methods.items()}
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    rows = [
        [
            name,
            *(f"{x.components.percent(part):.2f} %" for part in ("ev", "av", "grr", "pv")),
            str(x.components.ndc),
        ]
        for name, x in methods.items()
    ]
    head = ["method", "repeatability", "appraisers", "gauge R&R", "parts", "categories"]
    _print(
        f"{values.shape[0]} appraisers, {values.shape[1]} trials, {values.shape[2]} parts",
        head,
        rows,
    )
    typer.echo(
        "percent of the total variation; gauge R&R: under 10 % good, to 30 % marginal; categories: 5"
    )


@app.command()
def chart(
    table: _Table,
    *,
    kind: Annotated[
        str, typer.Option(help="laney (large samples), p or np; np: one size for all samples")
    ] = "laney",
    as_json: _Json = False,
) -> None:
    """Control chart of rejects. Columns: sample, size, count. Exit code 1: a sample is out of control."""
    from inspection.errors import ConfigError
    from inspection.quality.charts import laney_chart, np_chart, p_chart
    from inspection_training.studies.table import read_counts

    names, counts, sizes = read_counts(table)
    if kind not in {"laney", "p", "np"}:
        raise ConfigError(f"chart {kind!r} is not one of laney, p, np")
    if kind == "np" and len(set(sizes)) != 1:
        raise ConfigError("an np chart needs samples of one size; use --kind p or laney")
    try:
        drawn = (
            np_chart(counts, sizes[0])
            if kind == "np"
            else (laney_chart if kind == "laney" else p_chart)(counts, sizes)
        )
    except ValueError as error:
        raise ConfigError(f"{table}: {error}") from error
    rows = [
        [name, f"{point:.4g}", f"{low:.4g}", f"{high:.4g}", "out" if i in drawn.outside else ""]
        for i, (name, point, low, high) in enumerate(
            zip(names, drawn.points, drawn.lower, drawn.upper, strict=True)
        )
    ]
    if as_json:
        found = {
            "kind": kind, "samples": names, "points": drawn.points.tolist(), "centre": drawn.centre,
            "upper": drawn.upper.tolist(), "lower": drawn.lower.tolist(),
            "outside": [names[i] for i in drawn.outside], "sigma_z": drawn.sigma_z,
        }  # fmt: skip
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        title = f"{kind} chart, centre {drawn.centre:.4g}, sigma_z {drawn.sigma_z:.3g}"
        _print(title, ["sample", "rejects", "lower", "upper", ""], rows)
    raise typer.Exit(1 if drawn.outside else 0)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _print(title: str, head: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for name in head:
        table.add_column(name)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
