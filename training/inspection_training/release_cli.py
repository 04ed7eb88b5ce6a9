"""`inspection release`: make, list, show, diff, rollback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inspection.errors import ConfigError, ReleaseError
from inspection.sentences.card import DIFFERENCE, WORDS, setting_words
from inspection.sentences.language import DEFAULT_LANGUAGE, check_language, phrase, phrases
from inspection.sentences.shares import rate_sentence

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(
    add_completion=False, help="Make, list, show and compare releases.", no_args_is_help=True
)
OFF = "off"
_LISTED = 10


@app.command("make")
def make_command(
    run: Annotated[Path, typer.Argument(help="run folder, as `inspection train` printed it")],
    data: Annotated[
        Path | None, typer.Option(help="dataset folder; only where it was moved since")
    ] = None,
    releases: Annotated[
        Path | None, typer.Option(help="where releases are; default: as in the training")
    ] = None,
    max_escape: Annotated[
        str | None, typer.Option(help="share of defective parts that may pass; off: not asked")
    ] = None,
    max_overkill: Annotated[
        str | None, typer.Option(help="share of good parts that may fail; off: not asked")
    ] = None,
    must_catch: Annotated[
        list[str] | None,
        typer.Option(
            help="also this image must not be PASS, as the manifest names it; may be repeated; off: "
            "forget those of the experiment"
        ),
    ] = None,
    max_latency_ms: Annotated[
        str | None, typer.Option(help="99th percentile on this machine; off: not asked")
    ] = None,
    confidence: Annotated[str | None, typer.Option(help="of the escape bound")] = None,
    limits_overkill: Annotated[
        str | None,
        typer.Option(help="choose T1 and T2 again: share of good val parts that may fail"),
    ] = None,
    limits_review: Annotated[
        str | None,
        typer.Option(
            help="choose T1 and T2 again: share of good val parts for REVIEW; higher: T1 comes lower"
        ),
    ] = None,
    by: Annotated[
        str, typer.Option(help="who stands for gates and limits that differ from the experiment's")
    ] = "",
    language: Annotated[str, typer.Option(help="of the sentences: ko or en")] = DEFAULT_LANGUAGE,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Ask the gates of a kept candidate again, and publish it when they are passed.

    Options override the gates of the experiment. Exit code 1: a gate was not passed.
    """
    from inspection_training.candidate import Override, make_release
    from inspection_training.gates import RefusedError
    from inspection_training.limits_cli import read_share
    from inspection_training.progress import TrainingBar
    from inspection_training.release import not_in_force

    check_language(language)
    changed: dict[str, Any] = {}
    for name, text in (("max_escape", max_escape), ("max_overkill", max_overkill)):
        if text is not None:
            option = f"--{name.replace('_', '-')}"
            changed[name] = None if text == OFF else read_share(option, text)
    if max_latency_ms is not None:
        changed["max_latency_ms"] = None if max_latency_ms == OFF else max_latency_ms
    if confidence is not None:
        changed["confidence"] = read_share("--confidence", confidence)
    named = must_catch or []
    if OFF in named:
        changed["must_catch"] = ()
    limits = {
        name: read_share(f"--limits-{name.removeprefix('max_')}", text)
        for name, text in (("max_overkill", limits_overkill), ("max_review", limits_review))
        if text is not None
    }
    override = Override(changed, by, tuple(name for name in named if name != OFF), limits)
    try:
        with TrainingBar() as bar:
            release = make_release(run, data, releases, override, bar.report)
    except RefusedError as error:
        tell_refusal(error, language, as_json=as_json)
        raise typer.Exit(1) from error
    if as_json:
        told = {
            "release": release.name,
            "folder": str(release.folder),
            "not_in_force": not_in_force(release),
        }
        typer.echo(json.dumps(told))
    else:
        said = {"name": release.name, "folder": release.folder}
        typer.echo(phrase(WORDS, "released", language, **said))
        if words := not_in_force(release, language):
            typer.echo(f"! {words}")


def tell_refusal(error: Any, language: str, *, as_json: bool) -> None:
    """Print why a candidate was not released: for people on standard error, as JSON on request."""
    typer.echo(error.told(language), err=True)
    if as_json:
        told = {
            "release": None,
            "candidate": error.candidate and str(error.candidate),
            "refused": [x.name for x in error.results if not x.passed],
            "gates": [x.as_dict() for x in error.results],
        }
        typer.echo(json.dumps(told, ensure_ascii=False))


@app.command("list")
def list_command(
    releases: Annotated[Path, typer.Argument(help="releases folder")],
    language: Annotated[str, typer.Option(help="of the sentences: ko or en")] = DEFAULT_LANGUAGE,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """List releases; the one in force is marked."""
    from inspection.release import list_releases

    check_language(language)
    words = phrases(WORDS, language)
    found = list_releases(releases)
    if as_json:
        entries = {p: {"numbers": n, "current": _in_force(releases, p)} for p, n in found.items()}
        typer.echo(json.dumps(entries))
        return
    if not found:
        typer.echo(words["no_releases"].format(releases=releases))
    for part, numbers in found.items():
        current = _in_force(releases, part)
        in_force = words["in_force"]
        marked = ", ".join(in_force.format(number=n) if n == current else str(n) for n in numbers)
        typer.echo(f"{part}: {marked}")


@app.command("show")
def show_command(
    folder: Annotated[Path, typer.Argument(help="release folder, releases/PART/NUMBER")],
    language: Annotated[str, typer.Option(help="of the sentences: ko or en")] = DEFAULT_LANGUAGE,
    as_json: Annotated[bool, typer.Option("--json", help="print release.json")] = False,
) -> None:
    """Check a release's files and show its card."""
    from inspection.release import load_release, read_card

    check_language(language)
    release = load_release(folder)
    card = read_card(folder)
    if as_json:
        typer.echo(card.model_dump_json(indent=2))
        return
    from inspection_training.card_text import describe

    typer.echo(describe(card, language))
    said = {"name": release.name, "sha256": release.model_sha256[:12]}
    typer.echo(phrase(WORDS, "as_released", language, **said))


@app.command("diff")
def diff_command(
    first: Annotated[str, typer.Argument(help="release folder, or PART/NUMBER", metavar="A")],
    second: Annotated[str, typer.Argument(help="release folder, or PART/NUMBER", metavar="B")],
    releases: Annotated[Path, typer.Option(help="where PART/NUMBER is")] = Path("releases"),
    data: Annotated[
        Path | None, typer.Option(help="dataset folder: also list images added and removed")
    ] = None,
    language: Annotated[str, typer.Option(help="of the sentences: ko or en")] = DEFAULT_LANGUAGE,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Show what differs between two releases: data, settings, limits, numbers, speed, libraries."""
    from rich.console import Console

    from inspection_training.release_diff import compare_releases

    check_language(language)
    found = compare_releases(_folder(first, releases), _folder(second, releases), data)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    console = Console()
    console.print(_table(found, language))
    for line in _sentences(found, language):
        console.print(line, markup=False, highlight=False)


@app.command("rollback")
def rollback_command(
    releases: Annotated[Path, typer.Argument(help="releases folder")],
    part: Annotated[str, typer.Argument(help="name of the part")],
    to: Annotated[
        int | None, typer.Option(help="release number; default: the one before that in force")
    ] = None,
    language: Annotated[str, typer.Option(help="of the sentences: ko or en")] = DEFAULT_LANGUAGE,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Put an older release in force for clients that name no number; its files are checked first.

    Stations go by the number in their recipe and are not touched.
    """
    from inspection.release import current_number, find_release, list_releases, set_current

    check_language(language)
    numbers = list_releases(releases).get(part, [])
    if not numbers:
        raise ReleaseError(f"{releases} holds no release of {part}; name the releases folder")
    # To name a number is the way out where the file that says which is in force is damaged.
    before = current_number(releases, part) if to is None else _in_force(releases, part)
    older = [number for number in numbers if before is not None and number < before]
    if to is None and not older:
        raise ReleaseError(f"{part}/{before} is in force and no older release is in {releases}")
    target = to if to is not None else older[-1]
    release = find_release(releases, part, target)
    try:
        set_current(releases, part, target)
    except OSError as error:
        raise ReleaseError(
            f"{releases / part / 'current'} cannot be written: {error}; what was in force stays so"
        ) from error
    if as_json:
        typer.echo(json.dumps({"part": part, "before": before, "current": target}))
        return
    words = phrases(WORDS, language)
    was = words["unknown"] if before is None else f"{part}/{before}"
    typer.echo(words["rolled_back"].format(before=was, after=release.name))
    typer.echo(words["rolled_back_for"].format(part=part))
    typer.echo(words["stations_stay"].format(before=before or "NUMBER", after=target))


def _in_force(releases: Path, part: str) -> int | None:
    """Return the number in force; None and a word on stderr where nobody can tell."""
    from inspection.release import current_number

    try:
        return current_number(releases, part)
    except ReleaseError as error:
        typer.echo(str(error), err=True)
        return None


def _folder(name: str, releases: Path) -> Path:
    """Return the folder of a release given as a folder or as PART/NUMBER."""
    folder = Path(name)
    if folder.is_dir():
        return folder
    if (releases / name).is_dir():
        return releases / name
    raise ConfigError(
        f"{name} is neither a release folder nor in {releases}; write PART/NUMBER and --releases"
    )


def _table(found: dict[str, Any], language: str) -> Table:
    from rich.markup import escape
    from rich.table import Table

    words = phrases(DIFFERENCE, language)
    first, second = found["releases"]
    table = Table(title=escape(words["title"].format(first=first, second=second)))
    for head in ("", first, second):
        table.add_column(head, overflow="fold")

    def section(name: str, rows: list[tuple[str, str, str]]) -> None:
        table.add_section()
        table.add_row(f"[bold]{escape(name)}[/]", *(("", "") if rows else (words["the same"], "")))
        for row in rows:
            table.add_row(*map(escape, row))

    for name in ("dataset", "settings", "limits"):
        rows = [
            (key, setting_words(key, a, language), setting_words(key, b, language))
            for key, (a, b) in found[name].items()
        ]
        section(words[name], rows)
    for split, rates in found["metrics"].items():
        rows = [
            (words.get(key, key), _value(a, language), _value(b, language))
            for key, (a, b) in rates.items()
            if (a, b) != (None, None)
        ]
        section(words["measured"].format(split=split), rows)
    rows = [
        (words.get(key, key), _value(a, language), _value(b, language))
        for key, (a, b) in found["latency"].items()
    ]
    section(words["latency"], rows)
    for name in ("libraries", "other"):
        section(words[name], [(key, str(a), str(b)) for key, (a, b) in found[name].items()])
    return table


def _value(value: Any, language: str) -> str:
    if not isinstance(value, dict):
        return str(value)
    if "p50_ms" in value:
        return phrase(DIFFERENCE, "times", language, p50=value["p50_ms"], p99=value["p99_ms"])
    return rate_sentence(value, language)


def _sentences(found: dict[str, Any], language: str) -> list[str]:
    words, comparison, lines = phrases(DIFFERENCE, language), found["comparison"], list[str]()
    first, second = found["releases"]
    if "why_not" in comparison:
        lines.append(words["no_comparison"].format(why=words[comparison["code"]]))
    else:
        for split, told in comparison.items():
            lines.append(
                words["changed"].format(
                    split=split,
                    changed=told["changed"],
                    images=told["images"],
                    only=told["only_one_has"],
                    labelled=told["labelled_differently"],
                )
            )
            for name in ("escape", "overkill"):
                side = told[name]
                lines.append(
                    words["side"].format(
                        name=words[name],
                        first=first,
                        second=second,
                        a=side["only_first"],
                        b=side["only_second"],
                        both=side["both"],
                        parts=side["parts"],
                        p=side["p"],
                    )
                )
    for what, images in found.get("images", {}).items():
        shown = ", ".join(images[:_LISTED]) + (" …" if len(images) > _LISTED else "")
        shown = f" ({shown})" if images else ""
        lines.append(words["images"].format(what=words[what], number=len(images), shown=shown))
    return lines
