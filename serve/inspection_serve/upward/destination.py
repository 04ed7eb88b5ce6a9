"""What the destinations that something is sent to have in common in the station file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

from inspection_serve.upward.link import KINDS, NAME, Kind


class Destination(BaseModel):
    """The shape of `link.LinkConfig`; a driver gives `type` and `open`. Paths are named in `PATHS`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    PATHS: ClassVar[tuple[str, ...]] = ()

    name: str = Field(
        pattern=NAME, description="name of this destination; it remembers how far it is"
    )
    alarm_after: float = Field(
        600.0, ge=1, le=604800, description="seconds a message may wait before people are told"
    )
    alarm_behind: int = Field(
        5000, ge=100, le=10000, description="messages that may wait before people are told"
    )

    @property
    def batch(self) -> int:
        """One message at a time: the order is the receiver's order."""
        return 1

    @property
    def every(self) -> float:
        """Nothing is gathered."""
        return 0.0

    @property
    def patience(self) -> float:
        """Seconds that a message may wait before people are to be told."""
        return self.alarm_after

    @property
    def behind(self) -> int:
        """Messages that may wait before people are to be told."""
        return self.alarm_behind

    def beside(self, folder: Path) -> Self:
        """Return these settings with relative paths taken from `folder`."""
        paths = {name: getattr(self, name) for name in self.PATHS}
        return self.model_copy(update={k: folder / v for k, v in paths.items() if v is not None})


class Chosen(Destination):
    """A destination that is told some kinds of messages."""

    tell: list[Kind] = Field(KINDS, min_length=1, description="what is told")
