"""A part as the review shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastapi import HTTPException

from inspection.store.rows import counted
from inspection.store.web.people import Person, Role
from inspection.store.web.review import Word, is_blind, pictures_kept, words_of, words_unreadable
from inspection_serve.web.pictures.desk import picture_text
from inspection_serve.web.pictures.files import Checked, PictureError, find_file, media_type
from inspection_serve.web.reasons import reason_text
from inspection_serve.web.review import answers
from inspection_serve.web.review.rules import ReviewRules, limits_in_force, reasons_of
from inspection_serve.web.site import Site
from inspection_serve.web.texts import Language

Row = dict[str, Any]


def part_answer(
    site: Site,
    found: tuple[Row, Row],
    said: Sequence[Row],
    rules: ReviewRules,
    person: Person,
    language: Language,
    classes: Sequence[str] = (),
) -> answers.Part:
    """Return a part for who asks; what a blind second person must not know is not in it."""
    review, part = found
    limits = limits_in_force(site, part)
    t1, t2 = limits.get(str(part["defect_class"]), (None, None))
    boxes = boxes_of(part)
    known = {*classes, *limits, *(box.name for box in boxes), part["defect_class"]} - {None}
    blind = is_blind(review, person)
    reasons = reasons_of(rules, review["recipe_number"])
    decided = {name: part[name] for name in ("decision", "reason")}  # as it is now
    turn = not site.store.is_plant and _is_turn(review, person)
    return answers.Part(
        **({name: review[name] for name in answers.Item.model_fields} | decided),
        part_id=part["part_id"],
        serial=part["serial"],
        release=part["release"],
        reason_text=reason_text(language.text, part["reason"]),
        detail=part["detail"] or "",
        anomaly_score=part["anomaly_score"],
        t1=t1,
        t2=t2,
        image_state=part["image_state"],
        picture_text=_why_gone(part, language),
        pictures=pictures_of(part),
        boxes=boxes,
        classes=sorted(known),
        reasons=[
            answers.ReasonChoice(code=r.code, name=r.ko if language.code == "ko" else r.en)
            for r in reasons
        ],
        allowed=[verdict.value for verdict in words_of(part)] if turn else [],
        unseen=[verdict.value for verdict in words_unreadable(part, person)] if turn else [],
        blind=blind,
        said=[_said(row) for row in said],
        who=None if blind else review["who"],
        answered=part["sent_at"] is not None,
    )


def _is_turn(review: Row, person: Person) -> bool:
    state = review["state"]
    waits = state == "open" or (state == "second" and review["first_who"] != person.name)
    return waits or (state == "engineer" and person.role.covers(Role.ENGINEER))


def _why_gone(part: Row, language: Language) -> str:
    """Return why there is no picture; empty where the row names one."""
    try:
        find_file(part, 0)
    except PictureError as error:
        return picture_text(language.text, error.code)
    return ""


def unreadable(site: Site, checked: Checked, part: Row) -> str:
    """Return why the picture that a row names cannot be shown, a code; empty: it can, or none is named."""
    try:
        for file in pictures_kept(part)[:1]:
            media_type(file.path)
            checked.read(site.images, file.path, file.sha256)
    except PictureError as error:
        return error.code
    return ""


def boxes_of(part: Row) -> list[answers.Box]:
    """Return what the model found, best first, and what of it counted, where the row tells that."""
    found: list[Row] = sorted(part["detections"] or [], key=lambda row: -row["score"])
    counts = counted(part)
    return [
        answers.Box(
            name=row["class"],
            score=row["score"],
            box=row["box"],
            outline=row.get("outline"),
            counted=None if counts is None else row in counts,
        )
        for row in found
    ]


def pictures_of(part: Row) -> list[answers.Picture]:
    """Return the pictures that are kept; see `pictures_kept`."""
    return [
        answers.Picture(
            url=f"/pictures/{part['id']}/{index}",
            sha256=file.sha256,
            width=file.width,
            height=file.height,
        )
        for index, file in enumerate(pictures_kept(part))
    ]


def seen_of(site: Site, part: Row) -> Row:
    """Return what the row of a verdict keeps of what was on the screen, as the store knows it."""
    limits = limits_in_force(site, part).get(str(part["defect_class"]))
    return {"release": part["release"], "model_sha256": part["model_sha256"], "limits": limits}


def check_boxes(word: Word, part: Row) -> None:
    """Refuse boxes that are empty or not in the picture. Raises HTTPException 422."""
    pictures = pictures_of(part)
    for box in word.boxes or []:
        x1, y1, x2, y2 = box["box"]
        if not all(map(math.isfinite, box["box"])) or not pictures:
            raise HTTPException(422, "boxes")
        if not (0 <= x1 < x2 <= pictures[0].width and 0 <= y1 < y2 <= pictures[0].height):
            raise HTTPException(422, "boxes")


def strip_answer(rows: Sequence[Row]) -> list[answers.Passed]:
    """Return the strip of the last parts."""
    return [
        answers.Passed(
            record=row["id"],
            decision=row["decision"],
            defect_class=row["defect_class"],
            serial=row["serial"],
            triggered_at=row["triggered_at"],
            seconds=max((row["timings"] or {}).values(), default=None),
            picture=row["image_state"] == "saved",
        )
        for row in rows
    ]


def _said(row: Row) -> answers.Said:
    names = ("version", "verdict", "who", "at", "reason_code", "defect_class", "comment", "boxes")
    return answers.Said.model_validate({name: row[name] for name in names})
