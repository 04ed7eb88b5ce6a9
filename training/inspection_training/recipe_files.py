"""The files of a proposal: the recipe, and the claim beside it.

    Proposal ─▶ RECIPE.yaml, RECIPE.claim.json: both, or neither

A release is never changed: its hash and its card were what somebody signed, and the line may run it now.
Limits belong to the recipe, which may replace those of the release. So the limits are written as a whole
recipe file, ready for the recipes folder, and the claim beside it with the hashes of everything it rests
on: release, model, dataset version, and the recipe file itself. Limits that do not meet their targets are
written too; the recipe's first line and the claim then say so.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import yaml

from inspection.errors import ConfigError
from inspection.recipe import RecipeConfig
from inspection.release import LimitsCard
from inspection.yaml_file import read_yaml
from inspection_training.evaluation import SplitRun
from inspection_training.recipe_limits import Proposal, as_dict

HIGHEST_NUMBER = 65535


def number_for(path: Path, recipe: RecipeConfig | None, number: int | None) -> int:
    """Return the number of the recipe to write.

    Args:
        path: the file to write.
        recipe: the recipe that the limits are for, if any.
        number: as asked; default: the recipe's, else that of a file name like `7.yaml`, else 1.
    """
    if number is not None:
        return number
    if recipe is not None:
        return recipe.number
    name = path.stem
    own = int(name) if name.isascii() and name.isdigit() and len(name) <= 5 else 0
    return own if 1 <= own <= HIGHEST_NUMBER else 1


def check_place(path: Path, number: int) -> None:
    """Make sure that the recipe and its claim can be written there, and that the line can then read it.

    Raises:
        ConfigError: a file is there already, another recipe of the folder has this number, or the name
            does not end in `.yaml`.
    """
    if path.suffix != ".yaml":
        raise ConfigError(f"{path} is no recipe file for the line; let its name end in .yaml")
    for file in (path, claim_file(path)):
        if file.exists():
            raise ConfigError(f"{file} is there already; name another file, or move it away")
    for other in sorted(path.parent.glob("*.yaml")):
        try:
            taken = read_yaml(other, RecipeConfig).number == number
        except ConfigError:
            continue  # no recipe: the line skips it too
        if taken:
            raise ConfigError(
                f"{other} is recipe {number} already, and the line refuses two of one number: choose "
                "another with --number, or write to another folder and replace the file later"
            )


def claim_file(path: Path) -> Path:
    """Return where the claim of a recipe file lies."""
    return path.with_suffix(".claim.json")


def recipe_yaml(proposal: Proposal, config: RecipeConfig) -> str:
    """Return the recipe as a file that `inspection line` reads: as it was read, but for number and limits.

    Raises:
        ConfigError: the file would not say the same as the recipe.
    """
    limits = {name: LimitsCard(**asdict(x)) for name, x in proposal.recipe.limits.items()}
    made = config.model_copy(update={"number": proposal.recipe.number, "limits": limits})
    content = made.model_dump(mode="json", exclude_none=True)
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
    if RecipeConfig.model_validate(yaml.safe_load(text)) != made:
        raise ConfigError(
            f"recipe {made.number} cannot be written as it was read; write it by hand"
        )
    return text if proposal.met else f"# not every target is proven: see the claim file\n{text}"


def write_limits(path: Path, proposal: Proposal, run: SplitRun, config: RecipeConfig) -> Path:
    """Write the recipe file and the claim beside it; return the claim's path. Nothing is overwritten.

    Args:
        path: the recipe file.
        proposal: number and limits.
        run: what the proposal rests on.
        config: the recipe that the limits were chosen for; everything else is taken from it.

    Raises:
        ConfigError: see `check_place`; or they cannot be written, then neither is there.
    """
    claim, text = claim_file(path), recipe_yaml(proposal, config).encode()
    content = {**as_dict(proposal, run), "recipe_sha256": hashlib.sha256(text).hexdigest()}
    try:
        check_place(path, proposal.recipe.number)
        path.parent.mkdir(parents=True, exist_ok=True)
        said = (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
        write_all({claim: said, path: text})
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error}; free space or check the rights"
        ) from error
    return claim


def write_all(files: Mapping[Path, bytes]) -> None:
    """Write new files of one folder, in that order: all of them, or none when one fails.

    Raises:
        OSError: one cannot be written; none of them is there then.
    """
    made: list[Path] = []
    done = False
    try:
        for path, data in files.items():
            with _temporary(path).open("wb") as file:
                made.append(_temporary(path))
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for path in files:
            _temporary(path).replace(path)
            made.append(path)
        _sync_folder(next(iter(files)).parent)
        done = True
    finally:
        if not done:
            for path in made:
                path.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
