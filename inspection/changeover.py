"""Changeover: which recipe is in force, changed between parts only.

request(number) ─▶ read and check recipe and release (own thread: hashing outlasts a heartbeat)
│ refused: nothing is in force, the reason is shown, tried again every few seconds
▼
take (between parts) ─▶ in force ─▶ the detect stage loads and warms its release

A request of the pages is the same, but for one thing: when it is refused, what is in force stays.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from inspection.errors import ConfigError, ReleaseError
from inspection.part import Setup
from inspection.types import Reason

log = logging.getLogger(__name__)

_RETRY_EVERY = 5.0


@dataclass(frozen=True, slots=True)
class Taken:
    """A recipe that was read: in force when `refused` is None.

    Attributes:
        number: of the recipe.
        refused: why it is not in force.
        detail: name of the release, or what is wrong.
    """

    number: int
    refused: Reason | None
    detail: str


class Changeover:
    """The recipe in force. Used by the station's loop; only the reading has a thread of its own."""

    def __init__(
        self,
        recipes: Callable[[int], Setup],
        load: Callable[[Setup | None], None],
        wake: Callable[[], None],
    ) -> None:
        """Nothing is in force yet.

        Args:
            recipes: number to recipe and release; raises ConfigError or ReleaseError.
            load: tells the detect stage what to load; None: nothing.
            wake: tells the station's loop that something changed.
        """
        self._recipes = recipes
        self._load = load
        self._wake = wake
        self._outcome: tuple[int, Setup | Reason, str] | None = None
        self._keep = False
        self._refused: tuple[int, float, str] | None = None
        self._reading = False
        self.setup: Setup | None = None
        self.fault: Reason | None = Reason.RECIPE_NONE

    @property
    def pending(self) -> bool:
        """A recipe is being read, or waits to be taken."""
        return self._reading

    @property
    def number(self) -> int:
        """Number of the recipe in force, 0 for none."""
        return self.setup.recipe.number if self.setup else 0

    def request(self, number: int, *, keep: bool = False) -> None:
        """Begin to read a recipe; its outcome is taken by `take`.

        Args:
            number: of the recipe.
            keep: when it is refused, the recipe in force stays in force.
        """
        self._reading, self._keep = True, keep

        def read() -> None:
            self._outcome = (number, *self._read(number))
            self._wake()

        threading.Thread(target=read, name="recipe", daemon=True).start()

    def take(self) -> Taken | None:
        """Put what was read in force; call it only between parts. Returns what was read, if anything."""
        if self._outcome is not None:
            number, found, detail = self._outcome
            self._outcome, self._reading = None, False
            if not isinstance(found, Reason):
                self._enforce(number, found)
                return Taken(number, None, found.release.name)
            if self._keep:
                log.error("recipe %d, asked for on the pages: %s", number, detail)
            else:
                self._refuse(number, found, detail)
            return Taken(number, found, detail)
        if self._refused is not None and not self._reading and time.monotonic() > self._refused[1]:
            self.request(self._refused[0])
        return None

    def _read(self, number: int) -> tuple[Setup | Reason, str]:
        try:
            return self._recipes(number), ""
        except ReleaseError as error:
            return Reason.RELEASE_INVALID, str(error)
        except ConfigError as error:
            return getattr(error, "reason", Reason.RECIPE_INVALID), str(error)
        except Exception as error:  # the boundary: a recipe file must never end the loop
            log.exception("recipe %d", number)
            return Reason.RECIPE_INVALID, f"{type(error).__name__}: {error}"

    def _refuse(self, number: int, reason: Reason, detail: str) -> None:
        if self._refused is None or self._refused[2] != detail:
            log.error("recipe %d: %s", number, detail)
        self._refused = (number, time.monotonic() + _RETRY_EVERY, detail)
        self.setup, self.fault = None, reason
        self._load(None)

    def _enforce(self, number: int, setup: Setup) -> None:
        self._refused, self.fault = None, None
        if self.setup == setup:
            return
        log.info("recipe %d: %s", number, setup.release.name)
        self.setup = setup
        self._load(setup)
