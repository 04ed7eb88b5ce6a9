"""Results for programs: search, one part, what must be sorted again."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from inspection.store.web import search
from inspection.store.web.people import Person, Role
from inspection_serve.web.guard import Needs, site_of
from inspection_serve.web.machine import Opens
from inspection_serve.web.results import sorting, story
from inspection_serve.web.results.asked import AskedPage

router = APIRouter(prefix="/api/v1/results", tags=["results"])


class Found(BaseModel):
    """One part in a list."""

    id: int = Field(description="record id")
    station: str = Field(description="name of the station")
    epoch: int = Field(description="counts starts of the station")
    sequence: int = Field(description="number of the trigger, 1..65535")
    state: str = Field(description="triggered, decided, sent or acknowledged")
    part_id: int = Field(description="as given by the PLC")
    serial: str = Field(description="part serial or lot, as given by the PLC")
    code: str | None = Field(description="the part's own code, read from it; null: none was read")
    recipe_number: int | None = Field(description="recipe in force")
    part_name: str | None = Field(description="name of the part")
    release: str | None = Field(description="released model, PART/NUMBER")
    decision: str | None = Field(
        description="PASS, FAIL, REVIEW, NOT_INSPECTED; null: not decided yet"
    )
    reason: str | None = Field(description="name of the deciding reason")
    defect_class: str | None = Field(description="name of the deciding class")
    deciding_score: float | None = Field(description="score 0..1 of the deciding finding")
    over_t1: int | None = Field(description="findings counted at or over T1")
    anomaly_score: float | None = Field(description="score of the whole part, task anomaly")
    triggered_at: str = Field(description="UTC")
    decided_at: str | None = Field(description="UTC")
    image_state: str = Field(description="what became of the picture")
    review: str | None = Field(description="open, second, engineer, done; null: nobody was asked")
    verdict: str | None = Field(description="last verdict; null while it must not be known")


class FoundPage(BaseModel):
    """A page of a search."""

    parts: list[Found] = Field(description="newest first")
    number: int | None = Field(
        description="how many match from here on; null: more than 1,000, or not known"
    )
    below: int | None = Field(description="ask with it for the next page; null: this is the last")
    reached: str | None = Field(
        description="UTC; the search looked back to this time and has not looked at what is older: go on "
        "with `below`; null: the page is full, or everything was looked at"
    )


class Step(BaseModel):
    """A step in the life of a part."""

    name: str = Field(
        description="triggered, exposed, frame, detected, decided, committed, sent, acknowledged"
    )
    seconds: float | None = Field(description="since the trigger; null: cannot be told")
    at: str | None = Field(description="UTC")


class Proof(BaseModel):
    """One thing that had to hold for a PASS."""

    holds: bool | None = Field(description="null: cannot be told from here")
    text: str = Field(description="in the language of who asks")


class Used(BaseModel):
    """A dataset version that used the part."""

    dataset: str = Field(description="folder name of the dataset")
    version: str = Field(description="v0001 and so on")
    sha256: str = Field(description="hash of the version")
    releases: list[str] = Field(description="releases that learned from it")


class Limits(BaseModel):
    """Limits of a class."""

    t1: float = Field(description="score below which a finding passes")
    t2: float = Field(description="score from which it fails")


class Part(BaseModel):
    """One part's story."""

    part: dict[str, Any] = Field(description="the row of the store, all columns")
    why: str = Field(description="why it was decided so, in the language of who asks")
    proof: list[Proof] = Field(description="of a passed part: what proves it")
    steps: list[Step] = Field(description="from trigger to acknowledgement")
    deadline: float = Field(description="seconds from the trigger")
    limits: dict[str, Limits] = Field(description="by class")
    limits_certain: bool = Field(description="these are the limits that judged it, by hash")
    card_sha256: str = Field(description="hash of the release's card; empty: not here")
    review: dict[str, Any] | None = Field(description="where the review stands")
    verdicts: list[dict[str, Any]] = Field(description="what people said, oldest first")
    hidden: int = Field(description="verdicts not told before a second person has judged")
    audit: list[dict[str, Any]] = Field(description="what people did with it, oldest first")
    datasets: list[Used] = Field(description="dataset versions that used it")
    before: int | None = Field(description="record before it at the station")
    after: int | None = Field(description="record after it at the station")


@router.get("")
def find(
    request: Request,
    asked: Annotated[AskedPage, Query()],
    _: Annotated[Person, Depends(Needs(Role.VIEWER, opens=Opens.READING))],
) -> FoundPage:
    """Search parts, newest first."""
    with site_of(request).store.read("searching") as connection:
        found = search.page(connection, asked.search(), below=asked.below, limit=asked.limit)
    return FoundPage(
        parts=[Found.model_validate(row) for row in found.rows],
        number=found.number,
        below=found.below,
        reached=found.reached,
    )


@router.get("/sorting")
def sort_again(
    request: Request,
    asked: Annotated[sorting.AskedSorting, Query()],
    _: Annotated[Person, Depends(Needs(Role.VIEWER, opens=Opens.READING))],
) -> sorting.Sorting:
    """Tell which passed parts must be sorted again since the last good check."""
    return sorting.answer(site_of(request).store, asked)


@router.get("/{record}")
def part(
    request: Request,
    record: int,
    person: Annotated[Person, Depends(Needs(Role.VIEWER, opens=Opens.READING))],
) -> Part:
    """Return one part's whole story."""
    told = story.tell(request, record, person)
    if told is None:
        raise HTTPException(404)
    stored, force = told.stored, told.force
    return Part(
        part=stored.row,
        why=told.why,
        proof=[Proof(holds=claim.holds, text=claim.text) for claim in told.claims],
        steps=[Step(name=m.name, seconds=m.seconds, at=m.at) for m in told.moments],
        deadline=told.deadline,
        limits={name: Limits(t1=c.t1, t2=c.t2) for name, c in force.limits.items()},
        limits_certain=force.certain,
        card_sha256=force.card_sha256,
        review=stored.review,
        verdicts=stored.verdicts,
        hidden=stored.hidden,
        audit=stored.audit,
        datasets=[
            Used(dataset=u.dataset, version=u.version, sha256=u.sha256, releases=list(u.releases))
            for u in told.uses
        ],
        before=stored.before,
        after=stored.after,
    )
