"""`{type: NAME, …}` in YAML becomes the config class that an entry point gives."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any


def plugin(group: str, value: Any) -> Any:
    """Turn `{type: NAME, …}` into the config class that the entry point NAME of `group` gives.

    Raises:
        ValueError: no such type (the known ones are listed), or it cannot be loaded.
    """
    if not isinstance(value, dict):
        return value
    known: dict[str, EntryPoint] = {point.name: point for point in entry_points(group=group)}
    name = value.get("type")
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"type {name!r} is not known; installed: {', '.join(sorted(known))}")
    try:
        config_class = known[name].load()
    except ImportError as error:
        raise ValueError(f"type {name!r} needs a package that is not installed: {error}") from error
    return config_class.model_validate(value)


def resolve(config: Any, base: Path) -> Any:
    """Make a plug-in's own relative paths absolute, where it has any."""
    beside = getattr(config, "beside", None)
    return beside(base) if beside else config
