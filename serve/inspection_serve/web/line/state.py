"""What the line wrote for people (`inspection.live`). What is not whole is not shown."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

STATION = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$"
"""A station's name; nothing else is ever made a file name."""
_NAME = re.compile(STATION)
_LARGEST_STATE, _LARGEST_PICTURE = 65_536, 8_000_000


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class LastPart(_Read):
    """The part that was answered last."""

    record: int = Field(description="record id; 0 when its row could not be written")
    sequence: int = Field(description="TRIG_SEQ")
    part_id: int = Field(description="as given by the PLC")
    serial: str = Field(max_length=64, description="serial or lot")
    decision: str | None = Field(description="PASS, FAIL, REVIEW or NOT_INSPECTED")
    reason: str | None = Field(description="name of the reason")
    at: str = Field(max_length=64, description="UTC, when it was triggered")
    age: float = Field(description="seconds since its answer, when this was written")
    cycle: float = Field(description="seconds from trigger to answer")


class LiveState(_Read):
    """How a station stood when it wrote this, about twice a second."""

    station: str = Field(description="name of the station")
    running: bool = Field(description="false: it was stopped")
    at: str = Field(max_length=64, description="UTC, when this was written")
    mono: float = Field(description="seconds of the line's monotonic clock")
    uptime: float = Field(description="seconds since the line process started")
    loop_age: float = Field(description="seconds since the loop's latest turn")
    ready: bool = Field(description="a part could be inspected now")
    cause: str | None = Field(description="name of the reason why not")
    camera: str | None = Field(description="reason, null when it delivers")
    plc: str | None = Field(description="reason, null when link and heartbeat are there")
    model: str | None = Field(description="reason, null when loaded and warm")
    store: str | None = Field(description="reason, null when rows can be written")
    degraded: bool = Field(description="pictures are being lost")
    recipe: int = Field(description="recipe in force, 0 for none")
    release: str = Field(max_length=200, description="PART/NUMBER in force; empty for none")
    counts: dict[str, int] = Field(description="answers since the start, by decision")
    takt: float | None = Field(description="median seconds between the latest 20 triggers")
    last: LastPart | None = Field(description="the part answered last")
    picture_at: str | None = Field(max_length=64, description="UTC, when the picture was written")


def stations_in(folder: Path) -> list[str]:
    """Return the names of the stations that publish in a folder; empty when it is not there."""
    try:
        found = [path.stem for path in folder.iterdir() if path.suffix == ".json"]
    except OSError:
        return []
    return sorted(name for name in found if _NAME.fullmatch(name))


def read_state(folder: Path, station: str) -> LiveState | None:
    """Return a station's state; None when there is none, or it is not whole."""
    content = _read(folder, station, "json", _LARGEST_STATE)
    try:
        return None if content is None else LiveState.model_validate_json(content)
    except ValidationError:
        return None


def read_picture(folder: Path, station: str) -> bytes | None:
    """Return a station's latest picture as JPEG; None without one."""
    content = _read(folder, station, "jpg", _LARGEST_PICTURE)
    return content if content is not None and content.startswith(b"\xff\xd8") else None


def _read(folder: Path, station: str, ending: str, largest: int) -> bytes | None:
    path = folder / f"{station}.{ending}"
    if not _NAME.fullmatch(station) or path.is_symlink() or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except OSError:
        return None
    return content if len(content) <= largest else None
