"""The recipes that the line could take, as the files say now."""

from __future__ import annotations

from pathlib import Path

from inspection.errors import ConfigError
from inspection.recipe import RecipeConfig
from inspection.yaml_file import read_yaml


def recipes_in(folder: Path | None) -> list[tuple[int, str]] | None:
    """Return number and `PART/RELEASE` of each readable recipe; None when the folder is not known."""
    if folder is None:
        return None
    found: list[tuple[int, str]] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            config = read_yaml(path, RecipeConfig)
        except ConfigError:
            continue  # the line refuses it too; the models page says why
        found.append((config.number, f"{config.part}/{config.release}"))
    return sorted(found)
