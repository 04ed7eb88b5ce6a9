"""Why a part passed, or did not: the answer to an auditor, from what is stored of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from inspection.types import Decision
from inspection_serve.web.reasons import reason_text
from inspection_serve.web.results.in_force import InForce
from inspection_serve.web.texts import Language


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that must hold for a PASS.

    Attributes:
        holds: True, False, or None: it cannot be told from here.
        text: in words, with the numbers.
    """

    holds: bool | None
    text: str


def explain(language: Language, row: dict[str, Any], force: InForce) -> str:
    """Return in one sentence why the decision was taken."""
    _ = language.text
    if row["decision"] is None:
        return _("There is no decision yet.")
    if row["decision"] == Decision.PASS:
        claims = list(prove(language, row, force))
        if any(claim.holds is False for claim in claims):
            return _("It passed, but what is stored does not prove it. Call the engineer.")
        return _("It passed because: {claims}", claims=" ".join(claim.text for claim in claims))
    why = reason_text(_, row["reason"])
    if row["deciding_class"] and row["defect_class"]:
        return _(
            "It did not pass: {why}. {name} with score {score}, {limits}.",
            why=why,
            name=row["defect_class"],
            score=language.number(row["deciding_score"] or 0.0, 3),
            limits=_limits_of(language, force, row["defect_class"]),
        )
    return _("It did not pass: {why}.", why=why)


def prove(language: Language, row: dict[str, Any], force: InForce) -> Iterator[Claim]:
    """Yield what had to hold for a PASS, each with its evidence."""
    _, number = language.text, language.number
    if row["frame_mono"] is None or row["frame_id"] is None:
        yield Claim(False, _("There is no picture of this part."))
    else:
        after = row["frame_mono"] - row["triggered_mono"]
        text = _("Picture {id} was exposed {ms} ms after the trigger.",
                 id=row["frame_id"], ms=number(after * 1e3, 1))  # fmt: skip
        yield Claim(after >= 0, text)
    yield _model(language, row, force)
    if row["decided_mono"] is None:
        yield Claim(False, _("It was never decided."))
    else:
        took = row["decided_mono"] - row["triggered_mono"]
        left = row["deadline_mono"] - row["decided_mono"]
        text = _("It was decided {ms} ms after the trigger, {left} ms before the deadline.",
                 ms=number(took * 1e3, 1), left=number(left * 1e3, 1))  # fmt: skip
        yield Claim(left >= 0, text)
    yield _scores(language, row, force)
    if row["committed_mono"] is not None and row["sent_mono"] is not None:
        ahead = row["sent_mono"] - row["committed_mono"]
        if ahead >= 0:
            text = _("It was on disk {ms} ms before the PLC was told.", ms=number(ahead * 1e3, 1))
        else:
            text = _(
                "It came into the database after the PLC was told: the journal kept it till then."
            )
        yield Claim(True if ahead >= 0 else None, text)


def _model(language: Language, row: dict[str, Any], force: InForce) -> Claim:
    _ = language.text
    digest = str(row["model_sha256"] or "")
    if not digest or not row["release"]:
        return Claim(False, _("No released model judged it."))
    values = {"release": row["release"], "digest": digest[:12]}
    if force.release == "found":
        return Claim(
            True,
            _("Release {release} judged it; its model file has the same hash {digest}….", **values),
        )
    if force.release == "altered":
        return Claim(
            False,
            _("Release {release} judged it, but its model file here is not {digest}….", **values),
        )
    if force.release == "other_card":
        return Claim(
            False,
            _(
                "Release {release} judged it, but its card here, with the limits, is another one.",
                **values,
            ),
        )
    return Claim(
        None,
        _(
            "Release {release} judged it, model {digest}…; its folder is not here to compare.",
            **values,
        ),
    )


def _scores(language: Language, row: dict[str, Any], force: InForce) -> Claim:
    """Tell how the findings compare with the limits."""
    _, number = language.text, language.number
    if row["detections"] is None:
        return Claim(False, _("The model's answer is not stored."))
    if row["anomaly_score"] is not None:
        highest, name = float(row["anomaly_score"]), next(iter(force.limits), "")
    else:
        scored = [(float(d["score"]), str(d["class"])) for d in row["detections"]]
        if not scored:
            return Claim(True, _("The model found nothing."))
        highest, name = max(scored)
    values = {"score": number(highest, 3), "name": name, "counted": number(row["over_t1"] or 0)}
    limits = force.limits.get(name)
    if limits is None:
        return Claim(
            None, _("The highest score is {score} ({name}); {counted} findings counted.", **values)
        )
    if highest < limits.t1:
        return Claim(
            True,
            _(
                "The highest score {score} ({name}) is below T1 {t1}.",
                t1=number(limits.t1, 3),
                **values,
            ),
        )
    return Claim(
        None,
        _("The highest score is {score} ({name}), T1 is {t1}; {counted} findings counted, the recipe allows "
          "or expects them, or they are too small.", t1=number(limits.t1, 3), **values),
    )  # fmt: skip


def _limits_of(language: Language, force: InForce, name: str) -> str:
    limits = force.limits.get(name)
    if limits is None:
        return language.text("limits not known here")
    t1, t2 = language.number(limits.t1, 3), language.number(limits.t2, 3)
    return language.text("limits T1 {t1}, T2 {t2}", t1=t1, t2=t2)
