"""Approvals of releases: asked, approved, declined, in force; rows are never changed.

Every row is bound to the SHA-256 of the release's `release.json`: what was approved is that card, and a
changed card is not approved. `in_force` rows say which release a recipe named, and since when: they are what
a roll back may go to.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from inspection.errors import InspectionError
from inspection.store.rows import Values, utc_now
from inspection.store.web import audit
from inspection.store.web.tables import approvals


class Step(enum.StrEnum):
    """What a row of a release says."""

    ASKED = "asked"
    APPROVED = "approved"
    DECLINED = "declined"
    IN_FORCE = "in_force"


JUDGED = (Step.ASKED, Step.APPROVED, Step.DECLINED)
"""The steps of which the latest is the state of a release."""


class ApprovalError(InspectionError):
    """A step is not possible now; `code` is for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def rows(connection: sa.Connection, part: str, number: int | None = None) -> list[Values]:
    """Return the rows of a part, or of one release of it, oldest first."""
    query = sa.select(approvals).where(approvals.c.part == part).order_by(approvals.c.id)
    if number is not None:
        query = query.where(approvals.c.number == number)
    return [dict(row) for row in connection.execute(query).mappings()]


def state(found: Iterable[Values], card_sha256: str) -> Step | None:
    """Return how a release with this card stands; None: nobody asked.

    Args:
        found: rows of the release, oldest first.
        card_sha256: hash of its `release.json` as it is now.
    """
    steps = [
        Step(row["step"])
        for row in found
        if row["card_sha256"] == card_sha256 and row["step"] in JUDGED
    ]
    return steps[-1] if steps else None


def may_return(found: Iterable[Values], card_sha256: str) -> bool:
    """Tell whether a roll back may go to this release: approved, or in force earlier, and not declined.

    Args:
        found: rows of the release.
        card_sha256: hash of its `release.json` as it is now.
    """
    found = list(found)
    stands = state(found, card_sha256)
    earlier = any(
        row["step"] == Step.IN_FORCE and row["card_sha256"] == card_sha256 for row in found
    )
    return stands is Step.APPROVED or (earlier and stands is not Step.DECLINED)


def before(found: Sequence[Values], recipe: int, now: int) -> int | None:
    """Return the release that a recipe named before the one of now; None: nobody knows of one.

    A roll back takes the newest release away, so that the next one goes further back.

    Args:
        found: rows of the part, oldest first.
        recipe: its number.
        now: release number in the recipe file.
    """
    stack: list[int] = []
    for row in found:
        if row["step"] == Step.IN_FORCE and row["comment"] == place(recipe):
            number = int(row["number"])
            stack = stack[: stack.index(number)] if number in stack else stack
            stack.append(number)
    if now in stack:
        stack = stack[: stack.index(now)]
    return stack[-1] if stack else None


def place(recipe: int) -> str:
    """Return what the comment of an `in_force` row says: where it was."""
    return f"recipe:{recipe}"


def take(
    connection: sa.Connection,
    part: str,
    number: int,
    card_sha256: str,
    step: Step,
    who: str,
    comment: str,
    trained_by: Iterable[str] = (),
) -> int:
    """Ask for, give or refuse an approval; return the row's id.

    Args:
        connection: from `WebStore.write`.
        part: name of the part.
        number: of the release.
        card_sha256: hash of its `release.json` as the person saw it and as it is.
        step: one of `JUDGED`.
        who: login name.
        comment: may be empty for `ASKED` and `APPROVED`.
        trained_by: whose jobs trained the release.

    Raises:
        ApprovalError: `asked_already`, `approved_already`, `not_asked`, `declined_already`, `own_request`,
            `own_training` or `no_comment`.
    """
    _lock(connection)
    found = rows(connection, part, number)
    stands, name = state(found, card_sha256), f"{part}/{number}"
    if step is Step.ASKED:
        if stands is Step.ASKED or stands is Step.APPROVED:
            raise ApprovalError(f"{stands.value}_already", f"{name} is {stands.value} already")
        return add(connection, part, number, card_sha256, step, who, comment)
    if stands is None:
        raise ApprovalError("not_asked", f"nobody asked for the approval of {name} as it is now")
    if stands is step or (step is Step.APPROVED and stands is Step.DECLINED):
        raise ApprovalError(f"{stands.value}_already", f"{name} is {stands.value} already")
    asked = [r for r in found if r["step"] == Step.ASKED and r["card_sha256"] == card_sha256]
    if asked[-1]["who"] == who:
        raise ApprovalError("own_request", f"{who} asked for it: another person decides")
    if who in set(trained_by):
        raise ApprovalError("own_training", f"{who} trained {name}: another person decides")
    if step is Step.DECLINED and not comment.strip():
        raise ApprovalError("no_comment", "say why it is declined")
    return add(connection, part, number, card_sha256, step, who, comment)


def add(
    connection: sa.Connection,
    part: str,
    number: int,
    card_sha256: str,
    step: Step,
    who: str,
    comment: str,
) -> int:
    """Add a row, with its audit, and return its id."""
    row: Values = {
        "part": part,
        "number": number,
        "card_sha256": card_sha256,
        "step": step.value,
        "who": who,
        "at": utc_now(),
        "comment": comment,
    }
    query = sa.insert(approvals).returning(approvals.c.id)
    made = int(connection.execute(query, row).scalar_one())
    if step is not Step.IN_FORCE:
        audit.append(
            connection, who, f"release.{step.value}", f"release:{part}/{number}",
            card_sha256=card_sha256, comment=comment,
        )  # fmt: skip
    return made


def note_in_force(
    connection: sa.Connection, part: str, number: int, card_sha256: str, recipe: int, who: str
) -> None:
    """Write that a recipe names a release now, unless the newest row of that recipe says so already."""
    ours = [
        row
        for row in rows(connection, part)
        if row["step"] == Step.IN_FORCE and row["comment"] == place(recipe)
    ]
    if ours and (ours[-1]["number"], ours[-1]["card_sha256"]) == (number, card_sha256):
        return
    add(connection, part, number, card_sha256, Step.IN_FORCE, who, place(recipe))


def _lock(connection: sa.Connection) -> None:
    """Let one person at a time decide; a writer of SQLite is alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("LOCK TABLE approvals IN EXCLUSIVE MODE"))
