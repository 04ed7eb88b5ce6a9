"""One part's story, put together for its page and for the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Request

from inspection.store.web import story
from inspection.store.web.people import Person
from inspection_serve.web.guard import site_of
from inspection_serve.web.pages import language_of
from inspection_serve.web.results.datasets_used import DatasetUses, Use
from inspection_serve.web.results.in_force import InForce, in_force
from inspection_serve.web.results.proof import Claim, explain, prove

_uses = DatasetUses()
_LIFE = ("decided", "committed", "sent", "acknowledged")
_MARKS = ("frame", "detected")
_OLD_MARKS = {"grab": "frame", "infer": "detected"}


@dataclass(frozen=True, slots=True)
class Moment:
    """A step in the life of a part.

    Attributes:
        name: a key of `STAGE_TEXTS`.
        seconds: since the trigger was seen; None when it cannot be told.
        at: UTC; None when it is not stored.
        start: where its bar begins, percent of the whole; 0 for the first.
        width: of its bar, percent.
    """

    name: str
    seconds: float | None
    at: str | None
    start: float
    width: float


@dataclass(frozen=True, slots=True)
class Told:
    """What the page of a part shows."""

    stored: story.Story
    moments: list[Moment]
    deadline: float
    force: InForce
    why: str
    claims: list[Claim]
    uses: list[Use]
    unread: list[str]

    @property
    def row(self) -> dict[str, Any]:
        """The part's row."""
        return self.stored.row


def tell(request: Request, record: int, person: Person) -> Told | None:
    """Return a part's story as this person may read it; None when there is no such part."""
    site, language = site_of(request), language_of(request)
    with site.store.read("reading a part") as connection:
        stored = story.read(connection, record, person.name)
    if stored is None:
        return None
    row = stored.row
    force = in_force(site, row)
    key = f"{row['station']}/{row['epoch']}/{row['sequence']}"
    pictures = [str(image.get("sha256")) for image in row["images"] or []]
    uses, unread = _uses.of(site.datasets, site.releases, key, pictures)
    passed = row["decision"] == "PASS"
    return Told(
        stored=stored,
        moments=moments(row),
        deadline=row["deadline_mono"] - row["triggered_mono"],
        force=force,
        why=explain(language, row, force),
        claims=list(prove(language, row, force)) if passed else [],
        uses=uses,
        unread=unread,
    )


def moments(row: dict[str, Any]) -> list[Moment]:
    """Return the steps of a part's life in their order, with bars from step to step."""
    begun = float(row["triggered_mono"])
    steps: list[tuple[str, float | None, str | None]] = []
    if row["frame_mono"] is not None:
        steps.append(("exposed", row["frame_mono"] - begun, None))
    for name, seconds in (row["timings"] or {}).items():
        known = _OLD_MARKS.get(name, name)
        if known in _MARKS:
            steps.append((known, float(seconds), None))
    for name in _LIFE:
        mono, at = row[f"{name}_mono"], row.get(f"{name}_at")
        if mono is not None or at is not None:
            # a negative time is of another start of the PC: its clock cannot be compared
            seconds = None if mono is None or mono < begun else mono - begun
            steps.append((name, seconds, at))
    steps.sort(key=lambda step: float("inf") if step[1] is None else step[1])
    whole = max([seconds for _, seconds, _ in steps if seconds is not None] or [0.0]) or 1.0
    found = [Moment("triggered", 0.0, row["triggered_at"], 0.0, 0.0)]
    last = 0.0
    for name, seconds, at in steps:
        end = last if seconds is None else 100 * max(0.0, seconds) / whole
        found.append(Moment(name, seconds, at, round(last, 2), round(max(0.0, end - last), 2)))
        last = max(last, end)
    return found
