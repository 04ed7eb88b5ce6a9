"""Pages of the results."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from inspection.store.web import search
from inspection.store.web.people import Person, Role
from inspection.types import Decision, Verdict
from inspection_serve.web.guard import Needs, site_of
from inspection_serve.web.pages import page, texts_of
from inspection_serve.web.results import sorting, story
from inspection_serve.web.results.asked import REASONS, AskedPage, local
from inspection_serve.web.results.export import SHEET
from inspection_serve.web.results.words import (
    REVIEW_TEXTS,
    STAGE_TEXTS,
    VERDICT_TEXTS,
    reason_texts,
    wrong_fields,
)

router = APIRouter(prefix="/results", include_in_schema=False)
ROWS = 50
"""Rows of a page."""


@router.get("")
def results(request: Request, _: Annotated[Person, Depends(Needs(Role.VIEWER))]) -> Response:
    """Show the search and what it found."""
    given = {name: value for name, value in request.query_params.items() if name != "limit"}
    wrong: dict[str, str] = {}
    try:
        asked = AskedPage.model_validate(given)
    except ValidationError as error:
        wrong = wrong_fields(error, texts_of(request))
        asked = AskedPage.model_validate({n: v for n, v in given.items() if n not in wrong})
    found = search.Page([], 0, 0, None, None)
    with site_of(request).store.read("searching") as connection:
        choices = search.choices(connection)
        if not wrong:
            found = search.page(connection, asked.search(), below=asked.below, limit=ROWS)
    fields = asked.model_dump(mode="json") | {
        "since": local(asked.since),
        "until": local(asked.until),
    }
    return page(
        request,
        "results/search.html",
        status=422 if wrong else 200,
        fields={name: "" if value is None else value for name, value in fields.items()}
        | {name: given[name] for name in wrong},
        wrong=wrong,
        rows=found.rows,
        number_found=found.number,
        over=found.over,
        older=found.below,
        reached=found.reached,
        sheet=SHEET,
        choices=choices,
        decisions=list(Decision),
        verdicts=[v.value for v in Verdict if v.value in VERDICT_TEXTS],
        verdict_texts=VERDICT_TEXTS,
        review_texts=REVIEW_TEXTS,
        reasons=reason_texts(REASONS),
        below=asked.below,
        query=asked.query(),
    )


@router.get("/sorting")
def sorting_page(request: Request, _: Annotated[Person, Depends(Needs(Role.VIEWER))]) -> Response:
    """Show which passed parts must be looked at again."""
    given = dict(request.query_params)
    wrong: dict[str, str] = {}
    try:
        asked = sorting.AskedSorting.model_validate(given)
    except ValidationError as error:
        wrong = wrong_fields(error, texts_of(request))
        asked = sorting.AskedSorting()
    with site_of(request).store.read("what must be sorted again") as connection:
        stations = search.choices(connection)["station"]
    answer, problem = None, ""
    if asked.station and not wrong:
        try:
            answer = sorting.answer(site_of(request).store, asked)
        except search.SearchError as error:
            problem = texts_of(request)(error.text, **error.values)
    return page(
        request,
        "results/sorting.html",
        status=422 if wrong or problem else 200,
        given=given,
        wrong=wrong,
        problem=problem,
        asked=asked,
        answer=answer,
        stations=stations,
        sheet=SHEET,
        sentence="" if answer is None else sorting.sentence(request, answer),
    )


@router.get("/{record}")
def part(
    request: Request, record: int, person: Annotated[Person, Depends(Needs(Role.VIEWER))]
) -> Response:
    """Show the whole story of one part."""
    told = story.tell(request, record, person)
    if told is None:
        raise HTTPException(404)
    return page(
        request,
        "results/part.html",
        story=told,
        may_add=person.role.covers(Role.ENGINEER) and not site_of(request).store.is_plant,
        at_plant=site_of(request).store.is_plant,
        stage_texts=STAGE_TEXTS,
        verdict_texts=VERDICT_TEXTS,
        review_texts=REVIEW_TEXTS,
        reasons=reason_texts(REASONS),
    )
