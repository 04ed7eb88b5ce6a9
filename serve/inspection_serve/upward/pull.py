"""Pull: nothing is sent; what the station tells is kept in its order for who asks the pages for it.

The station is told upward by having a destination at all. This one takes everything at once, so nothing waits
and nobody is alarmed: how far an asker is, only the asker knows. See `GET /api/v1/messages`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from inspection_serve.upward.link import KINDS, NAME, Kind
from inspection_serve.upward.messages import Message
from inspection_serve.upward.state import StationState


class PullConfig(BaseModel):
    """Somebody who asks the pages with a key; nothing is sent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["pull"] = "pull"
    name: str = Field(pattern=NAME, description="name of this destination")

    @property
    def tell(self) -> list[Kind]:
        """Everything: who asks chooses."""
        return KINDS

    @property
    def batch(self) -> int:
        """Messages that are passed over at a time."""
        return 500

    @property
    def every(self) -> float:
        """Each is there at once."""
        return 0.0

    @property
    def patience(self) -> float:
        """Seconds after which people are told that `inspection upward` does not run."""
        return 600.0

    @property
    def behind(self) -> int:
        """Messages after which people are told that `inspection upward` does not run."""
        return 5000

    def open(self, station: str) -> PullLink:  # noqa: ARG002  the seam's
        """Return the link."""
        return PullLink()


class PullLink:
    """Takes everything. Satisfies `link.Link`."""

    def send(self, messages: Sequence[Message]) -> None:
        """They are in the store already."""

    def keep(self, state: StationState) -> None:
        """There is nobody to be connected to."""

    def close(self) -> None:
        """There is nothing to be released."""
