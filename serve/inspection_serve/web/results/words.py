"""Words of the results: verdicts, reviews, reasons, stages."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pydantic import ValidationError

from inspection.types import Verdict
from inspection_serve.web.reasons import words_of


def _mark(message: str) -> str:
    """Mark a text for the catalogue where it is translated later."""
    return message


VERDICT_TEXTS = {
    Verdict.REAL_DEFECT.value: _mark("Real defect"),
    Verdict.FALSE_CALL.value: _mark("Part is good"),
    Verdict.MISSED.value: _mark("Missed defect"),
    Verdict.BORDERLINE.value: _mark("On the limit"),
    Verdict.ABORTED.value: _mark("Not judged"),
    Verdict.UNSURE.value: _mark("Unsure, ask the engineer"),
    Verdict.NOT_REVIEWED.value: _mark("Taken back"),
}
REVIEW_TEXTS = {
    "waiting": _mark("Waits for a person"),
    "open": _mark("Waits for a person"),
    "second": _mark("Waits for a second person"),
    "engineer": _mark("Waits for the engineer"),
    "done": _mark("Judged by people"),
    "none": _mark("Nobody was asked"),
}
STAGE_TEXTS = {
    "triggered": _mark("Trigger"),
    "exposed": _mark("Picture exposed"),
    "frame": _mark("Picture received"),
    "detected": _mark("Model answered"),
    "decided": _mark("Decided"),
    "committed": _mark("On disk"),
    "sent": _mark("PLC told"),
    "acknowledged": _mark("PLC acknowledged"),
}


def reason_texts(codes: Iterable[str]) -> dict[str, str]:
    """Return the English text of each reason: the key of the catalogue."""
    return {code: words_of(code).text for code in codes}


_WRONG = {
    "since": _mark("Write a date and a time."),
    "until": _mark("Write a date and a time."),
    **dict.fromkeys(("part", "recipe", "below", "missed", "good"), _mark("Write a whole number.")),
}


def wrong_fields(error: ValidationError, translate: Callable[[str], str]) -> dict[str, str]:
    """Return name of each field that was not understood, and what to write there."""
    names = [str(fault["loc"][0]) for fault in error.errors()]
    other = _mark("There is no such value.")
    return {name: translate(_WRONG.get(name, other)) for name in names}
