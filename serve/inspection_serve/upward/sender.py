"""One thread a destination: takes what waits, sends it in order, notes how far it came.

    batch ─▶ taken ─────▶ noted, the next one
       ▲       refused ─▶ quarantine, the next one
       │       away ────▶ noted; the link is thrown away
       └── the same batch after 1 s … 60 s ──┘

A kill between "taken" and "noted" sends at most half a second of messages again, under the same ids.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from inspection.errors import InspectionError, StoreError
from inspection.store.outbox import Batch, Outbox, Told, age_of
from inspection.store.plant.source import Source
from inspection_serve.upward.link import Link, LinkConfig, OwnMark, RefusedError
from inspection_serve.upward.messages import Message, message_of
from inspection_serve.upward.state import StationState

POLL = 0.5
"""Seconds between two looks for something new; and the longest time until what was taken is noted."""
READ = 100
"""Messages read at a time for a link that takes one at a time."""

log = logging.getLogger("inspection.upward")


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next attempt.

    Attributes:
        first: seconds after the first failure; each further one doubles it.
        longest: seconds, at most.
    """

    first: float = 1.0
    longest: float = 60.0

    def seconds(self, attempts: int) -> float:
        """Return the wait after so many failures in a row, 1 or more; up to a third of it is chance."""
        most = min(self.longest, 1.5 * self.first * 2.0 ** min(attempts - 1, 20))
        return most * random.uniform(2 / 3, 1.0)


class Sender:
    """Sends to one destination until `stop` is set. `run` is its thread."""

    def __init__(
        self,
        config: LinkConfig,
        station: str,
        outbox: Outbox,
        register: Callable[[], None],
        state: Callable[[], StationState],
        backoff: Backoff | None = None,
        source: Source | None = None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            config: of the destination.
            station: that tells.
            outbox: its view of the outbox.
            register: adds destinations of the station that the store does not know.
            state: how the line stands now.
            backoff: between attempts.
            source: the station's rows, for a link that has a mark of its own.
        """
        self._source = source
        self._resumed: tuple[object, ...] = ()
        self._late = (0, 0)  # mark and row at which a link broke that was told late ones
        self._config, self._station, self._outbox = config, station, outbox
        self._register, self._state = register, state
        self._backoff = backoff or Backoff()
        self._link: Link | None = None
        self._batch: Batch | None = None
        self._attempts = 0
        self._said = ""
        self._absent = 0
        self._stop = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Send until `stop` is set."""
        self._stop = stop
        wait = 0.0
        while not stop.wait(wait):
            try:
                wait = self._turn()
            except StoreError as error:
                wait = self._store_failed(error)
            except InspectionError as error:
                wait = self._failed(str(error))
            except Exception as error:  # the boundary: one destination must not end the others
                wait = self._failed(self._unexpected(error))
        self._drop()

    def _turn(self) -> float:
        """Send what is there; return the seconds until the next turn."""
        limit = self._config.batch if self._config.every else max(READ, self._config.batch)
        batch = self._batch = self._outbox.batch(limit)
        if batch is None:
            self._register()
            self._absent += 1
            if self._absent > 1:
                self._say("the line was started without it; start the line again")
            return POLL
        self._absent = 0
        self._say("")
        link = self._open()
        if self._resume(link, batch):
            return 0.0
        link.keep(self._state())
        if not self._outbox.is_noted:  # a full disk, a store that was locked
            self._outbox.save(batch, batch.delivered)
        if not batch.told or self._gathers(batch):
            if self._attempts or batch.attempts:
                self._outbox.back(batch)
            self._came_back()
            self._send_again(link)
            return POLL
        left = self._send(link, batch)
        return 0.0 if left or len(batch.told) >= limit else POLL

    def _gathers(self, batch: Batch) -> bool:
        """Tell whether a fuller batch is to be waited for."""
        if not self._config.every or len(batch.told) >= self._config.batch:
            return False
        age = age_of(batch.told[0].at)
        return age is not None and 0 <= age < self._config.every

    def _send(self, link: Link, batch: Batch) -> bool:
        """Send in order for half a second; return whether something is left of the batch."""
        told, end = batch.told, time.monotonic() + POLL
        reached = noted = batch.delivered
        was_taken = False
        try:
            while told and not self._stop.is_set() and time.monotonic() < end:
                messages, reaches, refused = self._next(told)
                if messages:
                    refused, number = self._refusal(link, messages)
                    reaches = number or reaches
                    was_taken |= not refused or reaches > messages[0].number
                    self._came_back()
                if refused:
                    log.error("%s: message %d: %s", self._config.name, reaches, refused)
                    self._outbox.refuse(batch, reaches, refused)
                    noted = reaches
                reached = reaches
                told = [one for one in told if one.id > reached]
        finally:
            if reached > noted:
                (self._outbox.save if was_taken else self._outbox.skip)(batch, reached)
        return bool(told)

    @staticmethod
    def _refusal(link: Link, messages: list[Message]) -> tuple[str, int]:
        """Send; return why one is refused, empty when all are taken, and which of several it is.

        Raises AwayError.
        """
        try:
            link.send(messages)
        except RefusedError as error:
            return str(error), error.number
        return "", 0

    def _next(self, told: list[Told]) -> tuple[list[Message], int, str]:
        """Return the next messages, the row that they reach, and why the first cannot be said."""
        messages: list[Message] = []
        reaches = 0
        for one in told[: self._config.batch]:
            if one.kind in self._config.tell:
                try:
                    messages.append(message_of(one))
                except (ValueError, KeyError, TypeError) as error:
                    if not reaches:
                        return [], one.id, f"it cannot be said: {error!r}"
                    break
            reaches = one.id
        return messages, reaches, ""

    def _send_again(self, link: Link) -> None:
        """Send one message of the quarantine that a person wants sent again."""
        one = self._outbox.again()
        if one is None:
            return
        try:
            why, _ = self._refusal(link, [message_of(one)])
        except (ValueError, KeyError, TypeError) as error:
            why = f"it cannot be said: {error!r}"
        self._outbox.again_done(one.id, why, keep=isinstance(link, OwnMark))

    def _resume(self, link: Link, batch: Batch) -> bool:
        """Go on where the receiver itself stands; tell whether that is elsewhere than we thought."""
        label = (link, batch.since, batch.place)
        if not isinstance(link, OwnMark) or self._source is None or self._resumed == label:
            return False
        mark = link.resume(self._source)
        if not self._tell_late(link, mark):
            return True
        self._resumed = label
        if mark == batch.delivered:
            return False
        if mark < batch.delivered:
            log.warning("%s has less than was noted: from message %d on", self._config.name, mark)
        self._outbox.go_to(batch, mark)
        return True

    def _tell_late(self, link: Link, mark: int) -> bool:
        """Tell again what left the quarantine: a receiver that was restored may be from before that.

        Its mark does not say so. What it has does not change by that; what is above the mark comes anyway.
        Where a link broke on the way, the next one goes on there. False: the end came first.
        """
        before, reached = self._late
        reached = reached if mark >= before else 0
        while told := self._outbox.taken_late(reached, mark, self._config.batch):
            if self._stop.is_set():
                return False
            messages = [message for one in told for message in self._still_said(one)]
            reached = told[-1].id
            refused, number = self._refusal(link, messages) if messages else ("", 0)
            if refused:
                reached = number or messages[0].number
                log.error("%s: message %d: %s", self._config.name, reached, refused)
                self._outbox.again_done(reached, refused)
            self._late = (mark, reached)
        self._late = (0, 0)
        return True

    def _still_said(self, one: Told) -> list[Message]:
        try:
            return [message_of(one)]
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s: message %d is not told again: %s", self._config.name, one.id, error)
            return []

    def _open(self) -> Link:
        if self._link is None:
            self._link = self._config.open(self._station)
        return self._link

    def _drop(self) -> None:
        link, self._link, self._resumed = self._link, None, ()
        if link is not None:
            link.close()

    def _came_back(self) -> None:
        if self._attempts:
            log.warning("%s is there again", self._config.name)
        self._attempts = 0

    def _failed(self, why: str) -> float:
        """Note that the destination is away; return the seconds to wait."""
        if self._attempts == 0:
            log.error("%s is away: %s", self._config.name, why)
        self._attempts += 1
        wait = self._backoff.seconds(self._attempts)
        next_at = datetime.now(UTC) + timedelta(seconds=wait)
        try:
            self._drop()
            if self._batch is not None:
                at = next_at.isoformat(timespec="microseconds")
                self._outbox.away(self._batch, self._attempts, at, why)
        except StoreError as error:
            self._say(str(error))
        return wait

    def _store_failed(self, error: StoreError) -> float:
        """The store cannot be used now: everything waits in it. How the line stands is still shown."""
        self._say(str(error))
        try:
            if self._link is not None:
                self._link.keep(self._state())
        except InspectionError as gone:
            log.warning("%s: %s", self._config.name, gone)
            self._drop()
        except Exception as unexpected:  # the boundary, as in `run`
            self._unexpected(unexpected)
            self._drop()
        return 1.0

    def _say(self, said: str) -> None:
        """Log what is wrong with the store when it changes; empty: nothing is."""
        if said != self._said:
            log.warning("%s: %s", self._config.name, said or "the outbox can be used again")
            self._said = said

    def _unexpected(self, error: Exception) -> str:
        """Log where an error nobody expected came from, and return its type: its text may hold a secret."""
        name = type(error).__name__
        where = "".join(traceback.format_tb(error.__traceback__))
        log.error("%s: %s, which nobody expected:\n%s", self._config.name, name, where)
        return name
