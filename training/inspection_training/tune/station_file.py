"""The `runtime:` block of a station file: what it would become, and writing it.

Only that block changes; every other line of the file stays as a person wrote it.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from inspection.config import StationConfig, load_station
from inspection.errors import ConfigError, InspectionError
from inspection.plugin import plugin
from inspection.recipe import RecipeConfig
from inspection.release import write_atomic
from inspection.tuned import TUNED_FIELDS, block
from inspection.yaml_file import read_yaml


@dataclass(frozen=True, slots=True)
class Change:
    """A station file, as it is and as it would be.

    Attributes:
        path: the file, links followed.
        runtime: its runtime block as it would be.
        old: its text.
        new: its text with the block.
    """

    path: Path
    runtime: dict[str, Any]
    old: str
    new: str

    def difference(self) -> str:
        """Return the lines that change, as `diff -u` tells them; empty: none."""
        lines = (self.old.splitlines(keepends=True), self.new.splitlines(keepends=True))
        name = self.path.name
        return "".join(difflib.unified_diff(*lines, name, f"{name}, tuned", n=1))


def change_of(path: Path, chosen: dict[str, Any]) -> Change:
    """Return what a chosen runtime makes of a station file that was loaded before.

    Fields that a tune does not choose (url, timeout) stay where the type does.
    """
    path = path.resolve()
    old = path.read_text(encoding="utf-8")
    node: Any = yaml.compose(old, Loader=yaml.SafeLoader)
    key, value = next(pair for pair in node.value if pair[0].value == "runtime")
    was: dict[str, Any] = yaml.safe_load(old)["runtime"]
    kept: dict[str, Any] = {}
    if was["type"] == chosen["type"]:
        kept = {name: one for name, one in was.items() if name not in TUNED_FIELDS}
    runtime = {**chosen, **kept}
    if runtime == was:
        return Change(path, runtime, old, old)
    new = f"{old[: key.start_mark.index]}runtime: {block(runtime)}{old[_end(value) :]}"
    return Change(path, runtime, old, new)


def _end(node: Any) -> int:
    """Return where a node's text ends; a block's own mark lies behind the comments after it."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style:
        return int(node.end_mark.index)
    return max(_end(value) for _, value in node.value)


def write(change: Change, config: StationConfig) -> None:
    """Write the changed file, which a station would take.

    Raises:
        ConfigError: a recipe that runs now would be refused, the file would not be valid or cannot be
            written; it is as it was then.
    """
    _refuse_losses(change, config)
    path = change.path
    trial = path.with_name(f".{path.name}.{os.getpid()}.tune.yaml")
    try:
        try:
            trial.write_text(change.new, encoding="utf-8")
            load_station(trial)
        finally:
            trial.unlink(missing_ok=True)
        if path.read_text(encoding="utf-8") != change.old:
            raise ConfigError(
                f"{path} was changed meanwhile; tune again, or write the block by hand"
            )
        mode = path.stat().st_mode
        write_atomic(path, change.new.encode())
        path.chmod(mode)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error}; check the rights, or write the block by hand"
        ) from error


def _refuse_losses(change: Change, config: StationConfig) -> None:
    """Raise ConfigError when a recipe that the station can run now could not be run any more."""
    after = plugin("inspection.runtimes", change.runtime)
    now = config.recipe_book()
    then = config.recipe_book(after)
    for number in _numbers(config.recipes):
        try:
            now.get(number)
        except InspectionError:
            continue  # it is refused already
        try:
            then.get(number)
        except InspectionError as error:
            raise ConfigError(
                f"{change.path} is left as it is: with {block(change.runtime)} recipe {number} would be "
                f"refused: {error}"
            ) from error


def _numbers(folder: Path) -> list[int]:
    """Return the numbers of the recipes that can be read."""
    found: set[int] = set()
    for path in sorted(folder.glob("*.yaml")):
        try:
            found.add(read_yaml(path, RecipeConfig).number)
        except ConfigError:
            continue
    return sorted(found)
