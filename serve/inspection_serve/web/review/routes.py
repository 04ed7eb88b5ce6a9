"""The pages of the review."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError

from inspection.store.web import review, review_queue, settings
from inspection.store.web.people import Person, Role
from inspection_serve.web.guard import Needs, site_of
from inspection_serve.web.pages import language_of, page
from inspection_serve.web.review.api import Filter
from inspection_serve.web.review.keys import DEFAULT_KEYS, keys_of
from inspection_serve.web.review.rules import ReviewRules, change_rules, read_rules

CLASS_NAMES = "classes.names"
MOST_ENDED, AT_ONCE = 2000, 10
"""Drawn parts without a picture that are ended by one press, and in one transaction."""
router = APIRouter(prefix="/review", include_in_schema=False)


@router.get("")
def review_page(
    request: Request, person: Annotated[Person, Depends(Needs(Role.OPERATOR))], wanted: Filter
) -> Response:
    """Show the review station; without scripts, the list of what waits."""
    with site_of(request).store.read("reading the review queue") as connection:
        items = review_queue.waiting(connection, wanted, person)
        left = review_queue.left(connection, wanted, person)
        choices = review_queue.choices(connection, person)
        known = settings.read(connection, CLASS_NAMES, {})
    language = language_of(request).code
    return page(
        request,
        "review/review.html",
        at_plant=site_of(request).store.is_plant,
        items=items,
        left=left,
        choices=choices,
        wanted=wanted,
        names={code: found.get(language) or code for code, found in known.items()},
        keys={"own": keys_of(person), "delivered": DEFAULT_KEYS},
    )


@router.get("/rules")
def rules_page(
    request: Request,
    _: Annotated[Person, Depends(Needs(Role.ENGINEER))],
    saved: bool = False,
    ended: int | None = None,
) -> Response:
    """Show what an engineer sets for the review."""
    store = site_of(request).store
    with store.read("reading the rules of the review") as connection:
        rules = read_rules(connection)
        # of a plant's store they are ended at their station
        gone = 0 if store.is_plant else len(review.gone(connection, MOST_ENDED))
    return page(
        request,
        "review/rules.html",
        rules=rules,
        text=_as_text(rules),
        error="",
        saved=saved,
        gone=gone,
        most=MOST_ENDED,
        ended=ended,
    )


@router.post("/gone")
def end_gone(
    request: Request, person: Annotated[Person, Depends(Needs(Role.ENGINEER))]
) -> Response:
    """End the drawn parts whose picture is gone, a few at a time: the line writes between them."""
    ended, store = 0, site_of(request).store
    if not store.is_plant:
        with store.read("looking for parts that nobody can judge") as connection:
            records = review.gone(connection, MOST_ENDED)  # no lock is held while it looks
        for at in range(0, len(records), AT_ONCE):
            with store.write("ending parts that nobody can judge") as connection:
                ended += review.end_gone(connection, records[at : at + AT_ONCE], person)
    return RedirectResponse(f"/review/rules?ended={ended}", 303)


@router.post("/rules")
def set_rules(
    request: Request,
    person: Annotated[Person, Depends(Needs(Role.ENGINEER))],
    share: Annotated[str, Form(max_length=16)],
    second_classes: Annotated[str, Form(max_length=4000)] = "",
    reasons: Annotated[str, Form(max_length=20_000)] = "",
) -> Response:
    """Keep the rules."""
    given = {"share": share, "second_classes": second_classes, "reasons": reasons}
    try:
        rules = ReviewRules.model_validate(
            {
                "pass_share": float(share.replace(",", ".")) / 100,
                "second_classes": [
                    line.strip() for line in second_classes.splitlines() if line.strip()
                ],
                "reasons": _from_text(reasons),
            }
        )
    except (ValidationError, ValueError) as error:
        lines = (
            error.errors()
            if isinstance(error, ValidationError)
            else [{"loc": (), "msg": str(error)}]
        )
        said = "; ".join(f"{'.'.join(map(str, e['loc']))} {e['msg']}".strip() for e in lines)
        return page(
            request,
            "review/rules.html",
            status=400,
            rules=None,
            text=given,
            error=said,
            saved=False,
            gone=0,
            most=MOST_ENDED,
            ended=None,
        )
    with site_of(request).store.write("setting the rules of the review") as connection:
        change_rules(connection, rules, person.name)
    return RedirectResponse("/review/rules?saved=true", 303)


def _as_text(rules: ReviewRules) -> dict[str, str]:
    lines: list[str] = []
    for recipe, reasons in rules.reasons.items():
        lines += [f"[{recipe}]", *(f"{r.code} | {r.ko} | {r.en}" for r in reasons)]
    return {
        "share": f"{rules.pass_share * 100:g}",
        "second_classes": "\n".join(rules.second_classes),
        "reasons": "\n".join(lines),
    }


def _from_text(text: str) -> dict[str, list[dict[str, str]]]:
    """Return reasons of lines `code | Korean | English` below `[recipe number]` or `[default]`."""
    found: dict[str, list[dict[str, str]]] = {}
    recipe = "default"
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("[") and line.endswith("]"):
            recipe = line[1:-1].strip()
            continue
        fields = [field.strip() for field in line.split("|")]
        if len(fields) != 3:
            raise ValueError(line)
        found.setdefault(recipe, []).append(dict(zip(("code", "ko", "en"), fields, strict=True)))
    return found
