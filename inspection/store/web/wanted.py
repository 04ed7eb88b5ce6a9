"""What may be asked of the results."""

from __future__ import annotations

from dataclasses import dataclass

from inspection.errors import InspectionError

WAITING = ("open", "second", "engineer")
"""States of `reviews` that wait for a person."""
REVIEWED = ("waiting", "done", "none")
"""What `Search.review` may be: a person must still judge it, somebody did, nobody was asked."""
KNOWN = ("open", "engineer", "done")
"""States in which the verdict may be known: not while a second person must judge without the first."""


class SearchError(InspectionError):
    """What was asked for cannot be searched; the message says what to change.

    Attributes:
        text: English, with `{name}` places: a page translates it.
        values: what fills them.
    """

    def __init__(self, text: str, **values: object) -> None:
        super().__init__(text.format(**values))
        self.text, self.values = text, values


@dataclass(frozen=True, slots=True)
class Search:
    """Which parts are wanted; None means any.

    Attributes:
        part_id: as given by the PLC.
        serial: how the part serial or lot begins.
        code: the part's own code, whole.
        since: triggered at or after this UTC text.
        until: triggered before this UTC text.
        station: name of the station.
        recipe_number: as the PLC asked for it.
        release: `PART/NUMBER`.
        decision: the machine's answer.
        reason: name of the deciding reason.
        defect_class: name of the deciding class.
        review: one of `REVIEWED`.
        first: this record or higher; where the clock was set back, times do not tell what came later.
        last: this record or lower.
        verdict: the last one given. A first verdict that a second person must not know is no verdict yet.
    """

    part_id: int | None = None
    serial: str | None = None
    code: str | None = None
    since: str | None = None
    until: str | None = None
    station: str | None = None
    recipe_number: int | None = None
    release: str | None = None
    decision: str | None = None
    reason: str | None = None
    defect_class: str | None = None
    review: str | None = None
    first: int | None = None
    last: int | None = None
    verdict: str | None = None
