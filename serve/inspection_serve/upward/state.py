"""How the line stands, from the file that it writes for people to look at."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SILENT_AFTER = 3.0
"""Seconds without news of the line after which it is called silent."""


@dataclass(frozen=True, slots=True)
class StationState:
    """How a station stands.

    Attributes:
        state: ready, not_ready, stopped (the line ended in order), silent (the line says nothing); the last
            will of the link says offline.
        cause: name of the reason while not ready; None else.
        recipe: number in force; None: not known.
        release: PART/NUMBER in force; None: not known.
    """

    state: str
    cause: str | None = None
    recipe: int | None = None
    release: str | None = None


class StateReader:
    """Reads one station's file; safe in several threads."""

    def __init__(self, folder: Path, station: str) -> None:
        self._path = folder / f"{station}.json"
        self._news: tuple[object, float] = (None, 0.0)

    def read(self) -> StationState:
        """Return how the line stands now; never raises."""
        try:
            found: Any = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return StationState("silent")
        if not isinstance(found, dict):
            return StationState("silent")
        now, label = time.monotonic(), (found.get("mono"), found.get("at"))
        if self._news[0] != label:
            self._news = label, now
        if not found.get("running"):
            return StationState("stopped")
        if now - self._news[1] > SILENT_AFTER:
            return StationState("silent")
        known = {
            "recipe": found.get("recipe") or None,
            "release": found.get("release") or None,
        }
        if found.get("ready"):
            return StationState("ready", **known)
        return StationState("not_ready", found.get("cause"), **known)
