"""What was fastest on a kind of PC: `releases/PART/NUMBER/tune/PC.json`, beside the release.

    inspection tune ─▶ tune/PC.json ─▶ inspection doctor: does the station run what was tuned for this PC?

A release never changes. This file only says what was measured, no row names it, and the next tune on the same
kind of PC replaces it. PC is the processor's name and its number of cores.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inspection.errors import ReleaseError
from inspection.release import write_atomic
from inspection.variants import processor

FOLDER = "tune"
TUNED_FIELDS = ("type", "providers", "device", "precision", "hint", "threads")
"""Fields of a station's runtime that a tune chooses; all others (url, timeout) are the station's."""
MANY_RUNS = 100
"""With fewer runs a p99 is little more than the slowest of them."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Times(_Model):
    """How long one took from frame to boxes."""

    runs: int = Field(ge=1, description="warm runs")
    p50_ms: float = Field(ge=0, description="median of the warm runs, milliseconds")
    p99_ms: float = Field(ge=0, description="99th percentile of the warm runs, milliseconds")
    idle_runs: int = Field(0, ge=0, description="runs after idle; 0: dropped before")
    idle_p50_ms: float | None = Field(None, ge=0, description="median after idle, milliseconds")
    idle_worst_ms: float | None = Field(None, ge=0, description="slowest after idle, milliseconds")

    @property
    def worst_ms(self) -> float:
        """What is held against the deadline: p99 warm, or the slowest after idle."""
        return max(self.p99_ms, self.idle_worst_ms or 0.0)


class Tried(_Model):
    """One way to run the release, and what became of it."""

    runtime: dict[str, Any] = Field(
        description="the runtime block of a station file, without a url"
    )
    state: Literal["chosen", "kept", "late", "slow", "barred", "out"] = Field(
        description="chosen; kept: keeps the deadline too; late: does not; slow: dropped early, others "
        "are faster; barred: measured, but must not be chosen; out: could not be measured"
    )
    why: str = Field(description="why it is not the chosen one; empty: it is")
    note: str = Field("", description="what else to know of it")
    times: Times | None = Field(None, description="measured; none: it could not be")


class Smaller(_Model):
    """Another model of the part, or another size of this one, held against the deadline."""

    model: str = Field(description="release, or network and input size")
    source: Literal["measured", "estimated"] = Field(
        description="measured: a release that is there, or this one with another activation, in the same "
        "run; estimated: from this release's time, by the work of networks of that size"
    )
    runtime: dict[str, Any] = Field(description="the runtime it ran under, or would run under")
    p99_ms: float = Field(ge=0, description="milliseconds, warm")
    keeps: bool = Field(description="it keeps the deadline")


class Shape(_Model):
    """What the camera's frame leaves of the network's input."""

    padding: float = Field(ge=0, lt=1, description="share of the input that is grey border")
    better: tuple[int, int] | None = Field(
        None, description="height and width of an input with less border; none: this one fits"
    )
    estimate_ms: float | None = Field(
        None, ge=0, description="p50 with it, estimated by its area; none: nothing was measured"
    )


class TuneCard(_Model):
    """`tune/PC.json`: all that was measured, and the choice."""

    format: Literal[1] = Field(1, description="version of this file's layout")
    created_at: str = Field(description="when it was measured, UTC, ISO 8601")
    release: str = Field(description="PART/NUMBER")
    base_sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="model file of the release")
    machine: str = Field(description="processor and cores")
    load: tuple[float, float] = Field(
        description="processes that wanted to run, mean of a minute, before and after"
    )
    deadline: float = Field(
        gt=0, le=60, description="seconds from frame to boxes that were asked for"
    )
    frame: tuple[int, int] = Field(description="width and height of the first frame, pixels")
    pictures: str = Field(description="what was shown")
    idle: float = Field(ge=0, description="seconds of idle before a run after idle")
    tried: list[Tried] = Field(description="every way to run it, the chosen one first")
    shape: Shape | None = Field(description="border of the input; none: the release looks at tiles")
    smaller: list[Smaller] = Field(description="when nothing kept the deadline: what would")
    libraries: dict[str, str] = Field(description="library name to version")

    @model_validator(mode="after")
    def _one_choice(self) -> TuneCard:
        if sum(one.state == "chosen" for one in self.tried) > 1:
            raise ValueError("more than one is chosen")
        if any(one.state == "chosen" and one.times is None for one in self.tried):
            raise ValueError("the chosen one was not measured")
        return self

    @property
    def chosen(self) -> Tried | None:
        """The fastest that keeps the deadline; None: nothing does."""
        return next((one for one in self.tried if one.state == "chosen"), None)


def this_pc() -> str:
    """Return the name of this kind of PC: processor and cores, as a file name."""
    text = f"{processor() or 'unknown'} {os.cpu_count()} cores".lower()
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-")[:100]


def tune_path(release_folder: Path) -> Path:
    """Return where the tune of this kind of PC lies, there or not."""
    return release_folder / FOLDER / f"{this_pc()}.json"


def read_tune(release_folder: Path) -> TuneCard | None:
    """Return what was measured on this kind of PC; None: nothing was.

    Raises:
        ReleaseError: the file cannot be read or is not to the contract.
    """
    path = tune_path(release_folder)
    try:
        return TuneCard.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read: {error}; tune the release again") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(x) for x in first["loc"]) or path.name
        raise ReleaseError(f"{path}: {where}: {first['msg']}; tune the release again") from error


def write_tune(release_folder: Path, card: TuneCard) -> Path:
    """Write it, replacing an older one of this kind of PC whole, and return where.

    Raises:
        ReleaseError: it cannot be written; the older one is still there then.
    """
    path = tune_path(release_folder)
    try:
        path.parent.mkdir(exist_ok=True)
        data = json.dumps(card.model_dump(), indent=2, ensure_ascii=False) + "\n"
        write_atomic(path, data.encode())
    except OSError as error:
        raise ReleaseError(
            f"{path} cannot be written: {error}; free space or check the rights"
        ) from error
    return path


def chosen_fields(runtime: object) -> dict[str, Any]:
    """Return what of a runtime's configuration a tune chooses, defaults too."""
    return {name: getattr(runtime, name) for name in TUNED_FIELDS if hasattr(runtime, name)}


def block(runtime: dict[str, Any]) -> str:
    """Return a runtime as it is written in a station file, on one line."""
    return yaml.safe_dump(runtime, default_flow_style=True, width=1000, sort_keys=False).strip()
