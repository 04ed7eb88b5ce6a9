"""What a job may be made of: names from the form, checked against what is there, become arguments.

No value of the form is ever an option: a file or folder is given by its absolute path, which was found by
listing, and the others are numbers or checked names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from inspection.release import PART_NAME
from inspection.yaml_file import MAX_BYTES
from inspection_datasets.manifest import CARD
from inspection_serve.web.models.jobs import JobError
from inspection_serve.web.models.releases import Held
from inspection_serve.web.models.switching import find_recipe
from inspection_serve.web.site import Site

QUICK = ""
"""Stands for settings that are chosen from the pictures."""
RANDOM = "random"
"""Stands for a network that has never seen an image."""
Steps = list[dict[str, Any]]


def datasets(site: Site) -> dict[str, Path]:
    """Return name to folder of each dataset; the folder of datasets may be one itself."""
    if site.datasets is None:
        return {}
    root = site.datasets.resolve()
    if (root / CARD).is_file():
        return {root.name: root}
    return {
        path.name: path
        for path in sorted(root.iterdir())
        if (path / CARD).is_file()
        and not path.is_symlink()
        and not path.name.startswith((".", "-"))
    }


def experiments(site: Site) -> dict[str, Path]:
    """Return name to file of each experiment: YAML files beside the datasets and in them."""
    if site.datasets is None:
        return {}
    root = site.datasets.resolve()
    found: dict[str, Path] = {}
    for folder in (root, *(p for p in datasets(site).values() if p != root)):
        for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
            plain = path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_BYTES
            if plain and path.name != CARD and not path.name.startswith((".", "-")):
                found[str(path.relative_to(root))] = path
    return found


def weights(site: Site) -> dict[str, Path]:
    """Return name to file of what a training may start from: beside the datasets, or in `weights` there."""
    if site.datasets is None:
        return {}
    root = site.datasets.resolve()
    return {
        str(path.relative_to(root)): path
        for folder in (root, root / "weights")
        for path in sorted([*folder.glob("*.pt"), *folder.glob("*.pth")])
        if path.is_file() and not path.is_symlink() and not path.name.startswith((".", "-"))
    }


def train(
    site: Site,
    *,
    dataset: str,
    experiment: str,
    start: str,
    part: str,
    minutes: float,
    harvest: bool,
    language: str,
    folder: Path,
) -> Steps:
    """Return the steps of a training.

    Args:
        site: of the pages.
        dataset: one of `datasets`.
        experiment: one of `experiments`, or `QUICK`.
        start: one of `weights`, `RANDOM`, or empty: as the family does without.
        part: name of the part; empty: the dataset's own.
        minutes: budget of the training itself.
        harvest: take the judged parts of the store first.
        language: of what is written.
        folder: of the job.

    Raises:
        JobError: `no_dataset`, `no_experiment`, `no_weights`, `no_part`, `no_releases`.
    """
    data = datasets(site).get(dataset)
    if data is None:
        raise JobError("no_dataset", f"there is no dataset {dataset!r} in the folder of datasets")
    chosen = None if experiment == QUICK else experiments(site).get(experiment)
    if experiment != QUICK and chosen is None:
        raise JobError(
            "no_experiment", f"there is no experiment {experiment!r} beside the datasets"
        )
    begin = weights(site).get(start)
    if start not in ("", RANDOM) and begin is None:
        raise JobError("no_weights", f"there is no weight file {start!r} beside the datasets")
    if part and not re.fullmatch(PART_NAME, part):
        raise JobError("no_part", f"{part!r} is no name of a part")
    if site.releases is None:
        raise JobError("no_releases", "the pages know no folder of releases: start with --releases")
    steps: Steps = []
    if harvest:
        told = ["--to", str(data), "--images", str(site.images.resolve()), "--json"]
        told += ["--language", language]
        steps.append(_step("harvest", ["dataset", "harvest", _store(site), *told], [0]))
    html = str(folder / "check.html")
    looked = ["dataset", "check", str(data), "--html", html, "--language", language]
    steps.append(_step("check", looked, [0, 1]))
    learn = ["--quick", str(data)] if chosen is None else [str(chosen), "--data", str(data)]
    learn += ["--minutes", f"{minutes:g}", "--releases", str(site.releases.resolve())]
    learn += ["--out", str(folder / "runs"), "--language", language, "--json"]
    learn += ["--part", part] if part else []
    learn += ["--weights", str(begin or start)] if start else []
    steps.append(_step("train", ["train", *learn], [0]))
    return steps


def replay(
    site: Site, held: Held, *, recipe: int | None, limit: int, language: str, folder: Path
) -> Steps:
    """Return the step of a replay: stored parts decided again with a release.

    Raises:
        JobError: `no_recipe`: there is none of this number for the part.
    """
    told = ["--release", str(held.number), "--part", held.part, "--limit", str(limit)]
    told += ["--releases", str(held.folder.parent.parent.resolve())]
    told += ["--images", str(site.images.resolve()), "--language", language]
    told += ["--html", str(folder / "replay.html"), "--json"]
    if recipe is not None:
        file = find_recipe(site, recipe)
        if file is None or file.config is None or file.config.part != held.part:
            raise JobError("no_recipe", f"there is no readable recipe {recipe} of {held.part}")
        told += ["--recipe", str(file.path.resolve())]
    return [_step("replay", ["replay", _store(site), *told], [0])]


def _step(name: str, arguments: list[str], go_on: list[int]) -> dict[str, Any]:
    return {"name": name, "arguments": arguments, "go_on": go_on}


def _store(site: Site) -> str:
    path = site.store.config.sqlite_path
    return site.store.config.url if path is None else str(path.resolve())
