"""What a search tries: a base experiment, and the values of some of its settings.

file: experiment: experiment.yaml      beside this file; without it: the defaults
      vary:
        imgsz: [320, 448]
        augment: [metal, none]
      trials: 3                        of the 4 combinations; default: all
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from inspection.errors import ConfigError
from inspection_training.experiment import Experiment, check_settings, load_experiment

MOST = 1000
"""Trials of one search."""
_NOT_SEARCHED = frozenset(
    {"gates", "variants", "expected", "max_overkill", "max_review", "minutes"}
)
"""Settings that say what is wanted, or how it is measured: with them varied, trials cannot be compared."""


class SearchFile(BaseModel):
    """What `inspection search` tries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: Path | None = Field(
        None, description="experiment file that all trials begin with; relative to this file"
    )
    vary: dict[str, list[Any]] = Field(
        min_length=1, description="setting of an experiment to the values that are tried"
    )
    trials: int | None = Field(
        None, ge=1, le=MOST, description="so many of all combinations, drawn; default: all"
    )
    seed: int = Field(0, ge=0, description="of the draw")

    @field_validator("vary")
    @classmethod
    def _known(cls, values: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for name, tried in values.items():
            if name not in Experiment.model_fields:
                known = ", ".join(sorted(set(Experiment.model_fields) - _NOT_SEARCHED))
                raise ValueError(f"{name} is no setting of an experiment; known are: {known}")
            if name in _NOT_SEARCHED:
                raise ValueError(
                    f"{name} says what is wanted, and trials that differ in it cannot be compared; "
                    "set it in the experiment"
                )
            if not tried:
                raise ValueError(f"{name} has no values; name at least one")
            if any(tried.count(one) > 1 for one in tried):
                raise ValueError(f"{name} has a value twice: {tried}")
        return values


def read_space(path: Path) -> list[tuple[dict[str, Any], Experiment]]:
    """Return what is tried in each trial, and the whole experiment, in the order of the trials.

    Every experiment is checked here, before the first training begins.

    Raises:
        ConfigError: unreadable, or a setting that an experiment refuses; the message names it.
    """
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
        search = SearchFile.model_validate(told)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"search {path} cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(x) for x in first["loc"]) or "search"
        raise ConfigError(
            f"search {path}: {field}: {first['msg']}; a search is `vary:` with a list of values for each "
            "setting, and where wanted `experiment`, `trials`, `seed`"
        ) from error
    base: dict[str, Any] = {}
    if search.experiment is not None:
        base = load_experiment(path.parent / search.experiment, {}).model_dump(exclude_unset=True)
    return [
        (values, check_settings({**base, **values}, f"{path}, trial {number}"))
        for number, values in enumerate(_draw(path, search), start=1)
    ]


def _draw(path: Path, search: SearchFile) -> list[dict[str, Any]]:
    """Return the combinations that are tried, in the order of the file."""
    count = math.prod(len(tried) for tried in search.vary.values())
    wanted = min(search.trials or count, count)
    if wanted > MOST:
        raise ConfigError(
            f"search {path} has {count} combinations, {MOST} are the most; set `trials` to try some of them"
        )
    places = sorted(random.Random(search.seed).sample(range(count), wanted))
    return [_at(search.vary, place) for place in places]


def _at(values: Mapping[str, list[Any]], place: int) -> dict[str, Any]:
    """Return the combination at a place; the last setting changes first."""
    chosen: dict[str, Any] = {}
    for name in reversed(values):
        place, index = divmod(place, len(values[name]))
        chosen[name] = values[name][index]
    return {name: chosen[name] for name in values}
