"""`inspection dataset check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inspection.sentences.language import DEFAULT_LANGUAGE, check_language
from inspection_datasets.text import texts

if TYPE_CHECKING:
    from inspection_datasets.findings import Finding

_LISTED = 8


def check_command(
    dataset: Annotated[Path, typer.Argument(help="dataset folder")],
    version: Annotated[
        str | None, typer.Option(help="version, for example v0001; default: the newest")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    html: Annotated[
        Path | None, typer.Option(help="HTML file: the findings with their pictures")
    ] = None,
    max_escape: Annotated[
        str | None,
        typer.Option(
            help="escape rate that is to be claimed, for example 1%; too few is a warning"
        ),
    ] = None,
    max_overkill: Annotated[
        str | None, typer.Option(help="overkill rate that is to be claimed, for example 5%")
    ] = None,
    confidence: Annotated[str, typer.Option(help="confidence of the claims")] = "95%",
    group: Annotated[
        str, typer.Option(help="regular expression on the image path that gives its group")
    ] = "",
    release: Annotated[
        Path | None, typer.Option(help="folder of a release: also list label suspects")
    ] = None,
    language: Annotated[
        str, typer.Option(help="of the findings and the report: ko or en")
    ] = DEFAULT_LANGUAGE,
) -> None:
    """Look for what makes training or its numbers wrong: broken images, wrong labels, leaks, too few.

    Exit code 0: nothing but notes. 1: warnings only. 2: errors, or a dataset that cannot be read.
    """
    from rich.console import Console
    from rich.progress import track

    from inspection_datasets.check import check_dataset
    from inspection_datasets.check_report import write_report
    from inspection_datasets.claims import Claim, read_share
    from inspection_datasets.findings import counts, exit_code
    from inspection_datasets.manifest import load_version
    from inspection_datasets.suspects import label_suspects

    check_language(language)
    claim = Claim(
        read_share(max_escape, "--max-escape") if max_escape else None,
        read_share(max_overkill, "--max-overkill") if max_overkill else None,
        read_share(confidence, "--confidence"),
    )
    loaded = load_version(dataset, version)
    rounds = len(loaded.samples) * (2 if release else 1)
    steps = iter(track(range(rounds), "checking", console=Console(stderr=True), transient=True))

    def tick() -> None:
        next(steps, None)

    found = check_dataset(loaded, claim, group, tick)
    if release is not None:
        broken = {
            f.values["image"] for f in found if f.code in {"image_missing", "image_unreadable"}
        }
        found += label_suspects(loaded, release, tick, skip=broken)
    list(steps)
    if html is not None:
        write_report(loaded, found, html, language)
    if as_json:
        told = {"name": loaded.name, "version": loaded.version, "sha256": loaded.sha256}
        rows = [finding.as_dict() for finding in found]
        typer.echo(json.dumps({**told, **counts(found), "findings": rows}, ensure_ascii=False))
    else:
        _print(found, language)
        if html is not None:
            typer.echo(texts(language)["wrote"].format(file=html))
    raise typer.Exit(exit_code(found))


def _print(found: list[Finding], language: str) -> None:
    from inspection_datasets.finding_texts import TEXTS
    from inspection_datasets.findings import counts

    said = texts(language)
    severity = {"error": said["error"], "warning": said["warning"], "note": said["finding_note"]}
    by_code: dict[str, list[Finding]] = {}
    for finding in found:
        by_code.setdefault(finding.code, []).append(finding)
    for code, members in by_code.items():
        words = TEXTS[code].words(language)
        typer.echo(
            f"{severity[TEXTS[code].severity]}: {words.title} ({len(members)}). {words.action}"
        )
        for finding in members[:_LISTED]:
            typer.echo(f"    {finding.text(language)}")
        if len(members) > _LISTED:
            typer.echo(f"    … (+{len(members) - _LISTED}; --html, --json)")
    typer.echo(said["counts"].format(**counts(found)))
