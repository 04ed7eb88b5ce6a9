"""`inspection limits`: T1 and T2 with the claim they support, or what is missing for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inspection.errors import ConfigError
from inspection.sentences.claims import class_name
from inspection.sentences.language import DEFAULT_LANGUAGE, Table, check_language, phrases
from inspection.sentences.shares import percent, rate_sentence

if TYPE_CHECKING:
    from inspection.recipe import RecipeConfig
    from inspection.types import Recipe, Release
    from inspection_training.claims import Targets
    from inspection_training.evaluation import SplitRun
    from inspection_training.recipe_limits import Proposal

app = typer.Typer(add_completion=False, help="Choose limits with a claim, on held-out parts.")
_WORDS: Table = {
    "title": (
        "{release}: {split} 부품 {parts}개로 정한 한계값",
        "{release}: limits from {parts} {split} parts",
    ),
    "class": ("클래스", "class"),
    "parts": ("n (부품)", "n (parts)"),
    "allowed": ("k (허용)", "k (allowed)"),
    "missed": ("미검", "missed"),
    "t1": ("T1", "T1"),
    "t2": ("T2", "T2"),
    "supported": ("입증된 미검률", "escape supported"),
    "escape": ("미검", "escape"),
    "overkill": ("과검", "overkill"),
    "review": ("양품 재검", "review"),
    "not_met": ("목표 미달: {sentence}", "NOT MET: {sentence}"),
    "written": (
        "레시피 {number}: {file}, 보증 한도 파일: {claim}",
        "recipe {number} in {file}, claim {claim}",
    ),
    "taken": (
        "라인은 그래도 이 레시피를 씁니다. 무엇이 미달인지는 보증 한도 파일에 있습니다",
        "the line takes this recipe all the same; its claim says what is not met",
    ),
}


@app.command()
def limits(
    *,
    release: Annotated[Path, typer.Argument(help="release folder, releases/PART/NUMBER")],
    data: Annotated[Path, typer.Option(help="dataset folder")],
    data_version: Annotated[str | None, typer.Option(help="default: the newest")] = None,
    split: Annotated[str, typer.Option(help="test or val; train is refused")] = "test",
    max_escape: Annotated[str, typer.Option(help="share of defective parts that may pass")] = "1%",
    max_overkill: Annotated[str, typer.Option(help="share of good parts that may fail")] = "5%",
    max_review: Annotated[str, typer.Option(help="share of good parts for REVIEW")] = "3%",
    confidence: Annotated[str, typer.Option(help="how sure the claim is")] = "95%",
    pooled: Annotated[
        bool, typer.Option("--pooled", help="one T1 for all classes; claims the mix of defects")
    ] = False,
    recipe: Annotated[
        Path | None, typer.Option(help="recipe file with regions and counts; default: none")
    ] = None,
    trained_on: Annotated[
        Path | None, typer.Option(help="dataset folder the release learned from; default: --data")
    ] = None,
    runtime: Annotated[str, typer.Option(help="openvino, onnxruntime or pytorch")] = "openvino",
    precision: Annotated[
        str, typer.Option(help="f32, or a variant the release has: bf16, int8; as the station's")
    ] = "f32",
    write: Annotated[
        Path | None, typer.Option(help="new recipe file to write; the claim goes beside it")
    ] = None,
    number: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="number of the recipe to write; default: that of --recipe, else of a name like 7.yaml, "
            "else 1",
        ),
    ] = None,
    language: Annotated[str, typer.Option(help="of the sentences: ko or en")] = DEFAULT_LANGUAGE,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Choose T1 and T2 for a target escape rate. Exit code 1: some target is not proven."""
    from inspection_datasets.manifest import load_version
    from inspection_training.evaluation import inspect_split, refuse_known_pictures
    from inspection_training.progress import TrainingBar
    from inspection_training.recipe_files import check_place, number_for, write_limits
    from inspection_training.recipe_limits import as_dict, propose_limits

    check_language(language)
    targets = read_targets(max_escape, max_overkill, max_review, confidence)
    version = load_version(data, data_version)
    if split == "train":
        raise ConfigError(
            "split train was learned from; limits need parts never seen: --split test"
        )
    config = _config(recipe)
    if write:
        number = number_for(write, config, number)
        check_place(write, number)
    elif number is not None:
        raise ConfigError(f"--number {number} is for a recipe file; name it with --write FILE")
    with TrainingBar() as bar:
        run = inspect_split(release, version, split, runtime, bar.report, precision, trained_on)
    refuse_known_pictures(run, trained_on)
    config = _of_release(config, run.release)
    proposal = propose_limits(run, _recipe(config, run.release, number), targets, pooled=pooled)
    claim = write_limits(write, proposal, run, config) if write else None
    if as_json:
        typer.echo(json.dumps(as_dict(proposal, run), ensure_ascii=False))
    else:
        words = phrases(_WORDS, language)
        _print(proposal, run, language)
        for sentence in proposal.not_met(language):
            typer.echo(words["not_met"].format(sentence=sentence))
        if write:
            typer.echo(
                words["written"].format(number=proposal.recipe.number, file=write, claim=claim)
            )
        if write and not proposal.met:
            typer.echo(words["taken"])
    raise typer.Exit(0 if proposal.met else 1)


def read_share(name: str, text: str) -> float:
    """Return a share written as `1%` or `0.01`.

    Raises:
        ConfigError: neither, or not between 0 and 100 %.
    """
    try:
        plain = text.strip()
        value = float(plain.removesuffix("%")) / (100 if plain.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise ConfigError(f"{name} {text!r} is no share; write for example 1% or 0.01")
    return value


def read_targets(escape: str, overkill: str, review: str, confidence: str) -> Targets:
    """Return the targets from options."""
    from inspection_training.claims import Targets

    return Targets(
        read_share("--max-escape", escape),
        read_share("--max-overkill", overkill),
        read_share("--max-review", review),
        read_share("--confidence", confidence),
    )


def _config(path: Path | None) -> RecipeConfig | None:
    from inspection.recipe import RecipeConfig
    from inspection.yaml_file import read_yaml

    return None if path is None else read_yaml(path, RecipeConfig)


def _of_release(config: RecipeConfig | None, release: Release) -> RecipeConfig:
    """Return the recipe that was read; without one, that which names the release and no more.

    Raises:
        ConfigError: it names another release.
    """
    from inspection.recipe import RecipeConfig

    if config is None:
        plain = {"number": 1, "part": release.part, "release": release.number}
        return RecipeConfig.model_validate(plain)
    if (config.part, config.release) != (release.part, release.number):
        raise ConfigError(
            f"recipe {config.number} is for {config.part}/{config.release}, not for {release.name}; "
            "name its release"
        )
    return config


def _recipe(config: RecipeConfig, release: Release, number: int | None) -> Recipe:
    """Return the recipe to choose limits for, with the number it will be written under."""
    from dataclasses import replace

    recipe = config.recipe(release, "")
    return recipe if number is None else replace(recipe, number=number)


def _print(proposal: Proposal, run: SplitRun, language: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from inspection_datasets.parts import count_parts

    words = phrases(_WORDS, language)
    parts = count_parts(run.samples)
    title = words["title"].format(release=run.release.name, parts=parts, split=run.split)
    table = Table(title=escape(title))
    for head in ("class", "parts", "allowed", "missed", "t1", "t2", "supported"):
        table.add_column(words[head])
    for claim in (*proposal.claims, proposal.pooled):
        own = proposal.recipe.limits.get(claim.name)
        table.add_row(
            escape(class_name(claim.name, language)),
            str(claim.parts),
            str(claim.allowed) if claim.allowed >= 0 else "-",
            str(claim.missed),
            "-" if claim.t1 is None else f"{claim.t1:g}",
            "-" if own is None else f"{own.t2:g}",
            "-" if claim.supported is None else percent(claim.supported),
        )
    console = Console()
    console.print(table)
    for name in ("escape", "overkill", "review"):
        rate = rate_sentence(proposal.measured[name], language)
        console.print(f"{words[name]}: {rate}", markup=False)
    for sentence in proposal.sentences(language):
        console.print(f"- {sentence}", markup=False)
    for warning in proposal.warnings:
        console.print(f"! {warning.told(language)}", markup=False)
