"""Review: what people say of the parts that the machine flagged.

    open ──▶ done                      second_classes ask for a second person, who is not told the first's
      ├────▶ second ──▶ done           word; where the two disagree an engineer settles it
      └────▶ engineer ◀─┘ ──▶ done     unsure asks the engineer; undo goes back, as a new verdict

Every verdict is a new row of `verdicts`; `reviews` says where the part stands. `false_call` means "the
part is good", whatever the machine said: on a passed part it confirms the pass.

A part whose picture is gone is ended with `aborted`, which says nothing of the part. While its picture is
there a passed part cannot be aborted: nobody takes a part that is hard to judge out of the sample.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from inspection.errors import InspectionError
from inspection.store.plant.tables import is_plant
from inspection.store.queries import VersionConflictError
from inspection.store.rows import Values, stored_images, utc_now
from inspection.store.tables import parts, verdicts
from inspection.store.web import audit
from inspection.store.web.people import Person, Role
from inspection.store.web.tables import reviews
from inspection.types import Decision, StoredImage, Verdict

UNDO = "UNDO"
"""Reason code of a `not_reviewed` that takes a verdict back."""
LAST = 10
"""So many own verdicts can be taken back."""
_RECENT = 2000
"""Verdicts of everybody among which the own ones are looked for."""
ALLOWED: dict[str, tuple[Verdict, ...]] = {
    Decision.FAIL.value: (
        Verdict.REAL_DEFECT, Verdict.FALSE_CALL, Verdict.BORDERLINE, Verdict.ABORTED, Verdict.UNSURE,
    ),
    Decision.REVIEW.value: (
        Verdict.REAL_DEFECT, Verdict.FALSE_CALL, Verdict.BORDERLINE, Verdict.ABORTED, Verdict.UNSURE,
    ),
    Decision.PASS.value: (Verdict.FALSE_CALL, Verdict.MISSED, Verdict.BORDERLINE, Verdict.UNSURE),
    Decision.NOT_INSPECTED.value: (
        Verdict.REAL_DEFECT, Verdict.FALSE_CALL, Verdict.ABORTED, Verdict.UNSURE,
    ),
}  # fmt: skip
"""What can be said of a part whose picture is kept, by the machine's decision."""
UNSEEN = (Verdict.UNSURE, Verdict.ABORTED)
"""What can be said of a part that nobody can see, whatever the machine's decision."""


class RefusedVerdictError(InspectionError):
    """This verdict cannot be given; nothing was written. `code` names why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Word:
    """What a person says of a part.

    Attributes:
        verdict: one of `ALLOWED`.
        version: of the review, as they saw it.
        client: made by their browser for this one press; a repeat with it is not a second verdict.
        reason_code: why, where the machine is overruled.
        defect_class: where it is a defect.
        comment: may be empty.
        boxes: corrected boxes, [{class, box: [x1, y1, x2, y2]}] in image pixels; None: as found.
        seen: what was on the screen: release, limits, image_sha256, shown (seconds).
        unreadable: why the picture that the row names cannot be shown, as the server found; empty: it can.
    """

    verdict: Verdict
    version: int
    client: str
    reason_code: str = ""
    defect_class: str | None = None
    comment: str = ""
    boxes: list[Values] | None = None
    seen: Values = field(default_factory=dict[str, Any])
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """What engineers set.

    Attributes:
        reasons: reason codes of the part's recipe.
        second_classes: classes for which a second person looks.
    """

    reasons: frozenset[str]
    second_classes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Saved:
    """What became of a verdict.

    Attributes:
        record: of the part.
        version: of the review now.
        state: of the review now.
        repeated: it was there already: the same press came twice.
        told: what the PLC was told of the part; None while it was told nothing.
    """

    record: int
    version: int
    state: str
    repeated: bool
    told: str | None


def pictures_kept(part: Values) -> list[StoredImage]:
    """Return the pictures of a part that can be seen; none where they are gone, or the row is malformed."""
    if part["image_state"] != "saved":
        return []
    try:
        return stored_images(part["images"])
    except (KeyError, TypeError, ValueError):
        return []


def words_of(part: Values) -> tuple[Verdict, ...]:
    """Return what can be said of a part as its row is."""
    if pictures_kept(part):
        return ALLOWED[part["decision"]]
    coming = part["image_state"] == "pending"
    return (Verdict.UNSURE,) if coming and part["decision"] == Decision.PASS else UNSEEN


def words_unreadable(part: Values, person: Person) -> tuple[Verdict, ...]:
    """Return what this person can say where the picture that the row names cannot be shown.

    Somebody may have taken the file away: only an engineer ends the review of a passed part then.
    """
    ends = part["decision"] != Decision.PASS or person.role.covers(Role.ENGINEER)
    return UNSEEN if ends else (Verdict.UNSURE,)


def decide(
    connection: sa.Connection, record: int, word: Word, person: Person, rules: Rules
) -> Saved:
    """Write a verdict in the caller's transaction.

    Raises:
        VersionConflictError: somebody else was faster, or the part cannot be judged any more.
        RefusedVerdictError: this cannot be said of this part by this person.
    """
    review, part = _locked(connection, record)
    if _is_repeat(connection, record, word.client, person):
        return _saved(review, part, repeated=True)
    if review["version"] != word.version:
        raise VersionConflictError(f"part {record} was judged meanwhile; look at it again")
    _check(review, part, word, person, rules)
    state, first = _next_state(review, word, person, rules)
    row = _verdict_row(word, review["state"])
    if word.unreadable or not pictures_kept(part):
        row["seen"]["picture"] = word.unreadable or part["image_state"]
    _add(connection, review, person, row)
    changes: Values = {"state": state, "verdict": word.verdict.value, "who": person.name, **first}
    return _move(connection, review, part, changes, person, "review.verdict")


def gone(connection: sa.Connection, most: int) -> list[int]:
    """Return drawn passed parts that wait, seen by nobody, and whose row says that the picture is gone.

    Args:
        connection: from `WebStore.read`.
        most: so many at most, the oldest records.
    """
    query = (
        sa.select(reviews.c.record)
        .join(parts, parts.c.id == reviews.c.record)
        .where(
            reviews.c.state == "open",
            reviews.c.version == 0,
            reviews.c.decision == Decision.PASS.value,
            parts.c.image_state.not_in(("saved", "pending")),
        )
        .order_by(reviews.c.record)
        .limit(most)
    )
    return [int(record) for record in connection.execute(query).scalars()]


def end_gone(connection: sa.Connection, records: Collection[int], person: Person) -> int:
    """End these of `gone` as one by one with `aborted`, each with its own verdict; return how many.

    Those that somebody judged since are left alone.
    """
    ended = 0
    for record in records:
        word = Word(Verdict.ABORTED, 0, f"gone-{record}")
        with suppress(VersionConflictError, RefusedVerdictError):  # before anything is written
            saved = decide(connection, record, word, person, Rules(frozenset(), frozenset()))
            ended += not saved.repeated
    return ended


def undo(
    connection: sa.Connection, record: int, version: int, client: str, person: Person
) -> Saved:
    """Take the own last verdict of a part back, as a new row.

    Raises:
        VersionConflictError: somebody judged the part after that.
        RefusedVerdictError: it is not among the person's last verdicts.
    """
    review, part = _locked(connection, record)
    last = _last_verdict(connection, record)
    if _is_repeat(connection, record, client, person):
        return _saved(review, part, repeated=True)
    if last is None or review["version"] != version:
        raise VersionConflictError(f"part {record} was judged meanwhile; look at it again")
    if not any(own["record"] == record for own in mine(connection, person)):
        raise RefusedVerdictError(
            "not_yours", f"part {record} is not among your last {LAST} decisions"
        )
    before = str((last["seen"] or {}).get("before", "open"))
    word = Word(Verdict.NOT_REVIEWED, version, client, UNDO)
    _add(connection, review, person, _verdict_row(word, review["state"]))
    changes: Values = {"state": before, "verdict": None, "who": None}
    if before == "open":
        changes |= {"first_who": None, "first_verdict": None}
    return _move(connection, review, part, changes, person, "review.undo")


def mine(connection: sa.Connection, person: Person) -> list[Values]:
    """Return the person's last verdicts that still stand and nobody followed, newest first."""
    recent = sa.select(verdicts).order_by(verdicts.c.id.desc()).limit(_RECENT).subquery()
    query = (
        sa.select(recent, reviews.c.version.label("now"), reviews.c.state)
        .join(reviews, reviews.c.record == recent.c.record)
        .where(recent.c.who == person.name, recent.c.verdict != Verdict.NOT_REVIEWED.value)
        .order_by(recent.c.id.desc())
        .limit(LAST)
    )
    found = connection.execute(query).mappings()
    return [dict(row) for row in found if row["version"] == row["now"]]


def history(connection: sa.Connection, record: int, review: Values, person: Person) -> list[Values]:
    """Return what was said of a part, as far as this person may know; oldest first."""
    if is_blind(review, person):
        return []
    query = sa.select(verdicts).where(verdicts.c.record == record).order_by(verdicts.c.version)
    return [dict(row) for row in connection.execute(query).mappings()]


def is_blind(review: Values, person: Person) -> bool:
    """Tell whether the first word must stay hidden: a second person has not spoken yet."""
    return review["state"] == "second" and review["first_who"] != person.name


def find_review(connection: sa.Connection, record: int) -> tuple[Values, Values] | None:
    """Return review and part of a record; None when it is not in review."""
    review = (
        connection.execute(sa.select(reviews).where(reviews.c.record == record)).mappings().first()
    )
    part = connection.execute(sa.select(parts).where(parts.c.id == record)).mappings().first()
    return None if review is None or part is None else (dict(review), dict(part))


def _locked(connection: sa.Connection, record: int) -> tuple[Values, Values]:
    refuse_at_plant(connection)
    query = sa.select(reviews).where(reviews.c.record == record).with_for_update()
    review = connection.execute(query).mappings().first()
    if review is None:
        raise RefusedVerdictError("not_in_review", f"part {record} is not in review")
    part = connection.execute(sa.select(parts).where(parts.c.id == record)).mappings().one()
    return dict(review), dict(part)


def _last_verdict(connection: sa.Connection, record: int) -> Values | None:
    query = sa.select(verdicts).where(verdicts.c.record == record)
    found = (
        connection.execute(query.order_by(verdicts.c.version.desc()).limit(1)).mappings().first()
    )
    return None if found is None else dict(found)


def _is_repeat(connection: sa.Connection, record: int, client: str, person: Person) -> bool:
    """Tell whether this very press is a verdict already, though somebody may have followed."""
    query = sa.select(verdicts.c.seen).where(
        verdicts.c.record == record, verdicts.c.who == person.name
    )
    return any((seen or {}).get("client") == client for seen in connection.execute(query).scalars())


def _check(review: Values, part: Values, word: Word, person: Person, rules: Rules) -> None:
    record, words = review["record"], words_of(part)
    if word.unreadable:
        words = words_unreadable(part, person)
    if word.verdict not in words:
        if word.verdict in ALLOWED[part["decision"]]:
            raise RefusedVerdictError(
                "gone",
                f"part {record} cannot be judged: its picture is {word.unreadable or part['image_state']}",
            )
        raise RefusedVerdictError(
            "verdict",
            f"{word.verdict} cannot be said of a part that the machine called {part['decision']}",
        )
    if review["state"] == "done":
        raise VersionConflictError(f"part {record} is judged; take that back first")
    if review["state"] == "engineer" and not person.role.covers(Role.ENGINEER):
        raise RefusedVerdictError("engineer", f"part {record} waits for the engineer")
    if review["state"] == "second" and review["first_who"] == person.name:
        raise RefusedVerdictError("second", f"part {record} waits for a second person")
    pictures = {image.sha256 for image in pictures_kept(part)}
    if word.verdict not in UNSEEN and word.seen.get("image_sha256") not in pictures:
        raise RefusedVerdictError(
            "unseen",
            f"part {record}: the picture that was judged is not the stored one; load it again",
        )
    if _needs_reason(part["decision"], word.verdict) and word.reason_code not in rules.reasons:
        raise RefusedVerdictError("reason", f"part {record}: choose a reason of the list")
    if word.verdict is Verdict.MISSED and not word.defect_class:
        raise RefusedVerdictError("class", f"part {record}: say which defect was missed")


def _needs_reason(decision: str, verdict: Verdict) -> bool:
    return decision == Decision.FAIL and verdict is Verdict.FALSE_CALL


def refuse_at_plant(connection: sa.Connection) -> None:
    """Raise RefusedVerdictError in a plant store: a verdict is given at the station, which tells it."""
    if is_plant(connection):
        raise RefusedVerdictError("at_station", "verdicts are given at the station")


def _next_state(
    review: Values, word: Word, person: Person, rules: Rules
) -> tuple[str, dict[str, str | None]]:
    """Return the state after a word, and what changes of the first word."""
    if word.verdict is Verdict.UNSURE:
        return "engineer", {}
    if review["state"] == "second":
        return ("done" if review["first_verdict"] == word.verdict else "engineer"), {}
    classes = {review["defect_class"], word.defect_class, *(b["class"] for b in word.boxes or [])}
    if review["state"] == "open" and classes & rules.second_classes:
        return "second", {"first_who": person.name, "first_verdict": word.verdict.value}
    return "done", {}


def _verdict_row(word: Word, before: str) -> Values:
    return {
        "verdict": word.verdict.value,
        "reason_code": word.reason_code,
        "comment": word.comment,
        "defect_class": word.defect_class,
        "boxes": word.boxes,
        "seen": {**word.seen, "client": word.client, "before": before},
    }


def _add(connection: sa.Connection, review: Values, person: Person, row: Values) -> None:
    version = review["version"] + 1
    values = {
        "record": review["record"],
        "version": version,
        "who": person.name,
        "at": utc_now(),
        **row,
    }
    try:
        connection.execute(sa.insert(verdicts), values)
    except IntegrityError as error:
        raise VersionConflictError(
            f"part {review['record']} was judged meanwhile; look at it again"
        ) from error


def _move(
    connection: sa.Connection,
    review: Values,
    part: Values,
    changes: Values,
    person: Person,
    action: str,
) -> Saved:
    """Update the review and tell the audit; the first word of two is not told there."""
    after = review | changes | {"version": review["version"] + 1, "changed_at": utc_now()}
    record = review["record"]
    connection.execute(
        sa.update(reviews)
        .where(reviews.c.record == record)
        .values({name: after[name] for name in (*changes, "version", "changed_at")})
    )
    detail: Values = {"version": after["version"], "state": after["state"]}
    if after["state"] != "second":
        detail["verdict"] = after["verdict"] or Verdict.NOT_REVIEWED.value
    audit.append(connection, person.name, action, f"part:{record}", **detail)
    return _saved(after, part, repeated=False)


def _saved(review: Values, part: Values, *, repeated: bool) -> Saved:
    told = part["decision"] if part["sent_at"] else None
    return Saved(review["record"], review["version"], review["state"], repeated, told)


def list_of_reasons(found: Sequence[Values]) -> frozenset[str]:
    """Return the codes of a reason list."""
    return frozenset(str(reason["code"]) for reason in found)
