"""The seam of the ways upward: a link takes messages, refuses one, or is away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from inspection.errors import ConfigError, InspectionError
from inspection.store.plant.source import Source
from inspection_serve.upward.messages import Message
from inspection_serve.upward.state import StationState

Kind = Literal["part", "verdict", "alarm"]
KINDS: list[Kind] = ["part", "verdict", "alarm"]
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$"


class AwayError(InspectionError):
    """The receiver is not there, or takes nothing from us now: the same message is tried again later."""


class RefusedError(InspectionError):
    """The receiver refuses this message for what it is: it goes to quarantine and the next one follows.

    Attributes:
        number: which of several, by its `Message.number`: those before it were taken, and those after it are
            given again; 0: one message was given.
    """

    def __init__(self, message: str, number: int = 0) -> None:
        super().__init__(message)
        self.number = number


@runtime_checkable
class Link(Protocol):
    """An open way to one destination. Used by one thread; thrown away after AwayError."""

    def send(self, messages: Sequence[Message]) -> None:
        """Return when the receiver has taken all of them, in this order.

        Raises:
            AwayError: nobody knows which were taken; all are sent again.
            RefusedError: one message is refused; its `number` says which, where several were given.
            StoreError: the station's own store cannot be read; the link stays.
        """
        ...

    def keep(self, state: StationState) -> None:
        """Called twice a second: stay connected, and tell how the station stands where that is possible.

        Raises:
            AwayError: the receiver is not there.
        """
        ...

    def close(self) -> None:
        """Release everything; may be called twice."""
        ...


@runtime_checkable
class OwnMark(Protocol):
    """What a link has beside `Link` when its receiver remembers itself how far it is."""

    def resume(self, source: Source) -> int:
        """Return the number of the last message that the receiver has; 0: none. Called before `send`.

        Raises:
            AwayError: the receiver is not there, or takes nothing from this store.
            StoreError: the station's own store cannot be read.
        """
        ...


class LinkConfig(Protocol):
    """What an entry point of the group `inspection.upward` gives: a frozen pydantic class of this shape."""

    name: str
    tell: list[Kind]

    @property
    def batch(self) -> int:
        """How many messages `send` is given at most."""
        ...

    @property
    def every(self) -> float:
        """Seconds to wait for a full batch; 0: each is sent at once."""
        ...

    @property
    def patience(self) -> float:
        """Seconds that a message may wait before people are to be told."""
        ...

    @property
    def behind(self) -> int:
        """Messages that may wait before people are to be told, 10,000 at most: more are not counted."""
        ...

    def open(self, station: str) -> Link:
        """Return a link, connected. Raises AwayError, or ConfigError for a setting that cannot work."""
        ...


def secret(path: Path, what: str) -> bytes:
    """Read a password or key from its file, without the end of its line. Raises ConfigError."""
    try:
        found = path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise ConfigError(
            f"{what}: {path} cannot be read: {error}; check the file and its rights"
        ) from error
    if not found:
        raise ConfigError(f"{what}: {path} is empty; write the secret into it")
    if any(one < 32 or one > 126 for one in found):
        raise ConfigError(
            f"{what}: {path} must be one line of plain ASCII; write nothing else into it"
        )
    return found
