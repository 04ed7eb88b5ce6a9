"""The JSON API of the review."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from pydantic import BaseModel

from inspection.store.web import audit, people, review, review_queue
from inspection.store.web.intake import insert, row_of, seed_of
from inspection.store.web.people import Person, Role
from inspection.store.web.review import RefusedVerdictError, Saved, Word
from inspection.store.web.review_queue import Order, QueueFilter, State
from inspection.types import Decision, PartState, Verdict
from inspection_serve.web.guard import Needs, site_of
from inspection_serve.web.pages import language_of
from inspection_serve.web.pictures.desk import desk_of
from inspection_serve.web.review import answers
from inspection_serve.web.review.keys import DEFAULT_KEYS, keys_of, problem_of
from inspection_serve.web.review.middles import middles
from inspection_serve.web.review.part import (
    check_boxes,
    part_answer,
    seen_of,
    strip_answer,
    unreadable,
)
from inspection_serve.web.review.rules import ReviewRules, change_rules, read_rules, rules_of

router = APIRouter(prefix="/api/v1", tags=["review"])
Record = Annotated[int, Path(ge=1, le=2**32 - 1, description="record id of the part")]
Operator = Annotated[Person, Depends(Needs(Role.OPERATOR))]
Engineer = Annotated[Person, Depends(Needs(Role.ENGINEER))]
_Name = Annotated[str | None, Query(max_length=64)]


def asked_filter(
    state: Annotated[State, Query(description="whose turn it is")] = "open",
    station: _Name = None,
    defect_class: _Name = None,
    recipe: Annotated[int | None, Query(ge=0, le=65535)] = None,
    decision: Annotated[Decision | None, Query(description="the machine's")] = None,
    since: Annotated[
        datetime | None, Query(description="triggered at or after; with a zone")
    ] = None,
    until: Annotated[datetime | None, Query(description="triggered before; with a zone")] = None,
) -> QueueFilter:
    """Return the filter of a query."""
    return QueueFilter(
        state,
        station,
        defect_class,
        recipe,
        decision.value if decision else None,
        _utc(since),
        _utc(until),
    )


def _utc(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    try:
        return moment.astimezone(UTC).isoformat(timespec="microseconds")
    except (OverflowError, ValueError) as error:
        raise HTTPException(422, "time") from error


Filter = Annotated[QueueFilter, Depends(asked_filter)]


@router.get("/reviews")
def queue(
    request: Request,
    person: Operator,
    wanted: Filter,
    order: Annotated[Order, Query(description="oldest first, or most uncertain first")] = "oldest",
    after: Annotated[
        int | None, Query(ge=0, le=2**32, description="last record of the page before")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> answers.Queue:
    """Return parts that wait for a person."""
    site = site_of(request)
    known = middles(site) if order == "uncertain" else None
    with site.store.read("reading the review queue") as connection:
        items = review_queue.waiting(
            connection, wanted, person, order=order, after=after, limit=limit, middles=known
        )
        return answers.Queue(
            items=[answers.Item.model_validate(item) for item in items],
            left=review_queue.left(connection, wanted, person),
            counts=review_queue.counts(connection, person),
            newest=review_queue.newest(connection),
        )


@router.get("/reviews/news", response_model=answers.News)
def news(
    request: Request,
    person: Operator,
    wanted: Filter,
    newest: Annotated[int, Query(ge=0, le=2**32, description="as the queue told")],
    record: Annotated[
        int | None, Query(ge=1, le=2**32 - 1, description="part on the screen")
    ] = None,
    strip: Annotated[str | None, Query(max_length=64, description="station of the strip")] = None,
) -> Response:
    """Return what happened since the queue was read."""
    with site_of(request).store.read("looking for news") as connection:
        state = None if record is None else review_queue.state_of(connection, record)
        hidden = state is not None and review.is_blind(state, person)
        found = answers.News(
            came=review_queue.came(connection, wanted, person, newest),
            left=review_queue.left(connection, wanted, person),
            counts=review_queue.counts(connection, person),
            state=None if state is None else state["state"],
            version=None if state is None else state["version"],
            who=None if state is None or hidden else state["who"],
            strip=[] if strip is None else strip_answer(review_queue.strip(connection, strip)),
        )
    return _told(found)


@router.get("/reviews/mine")
def mine(request: Request, person: Operator) -> list[answers.Own]:
    """Return the own last verdicts that can be taken back, newest first."""
    with site_of(request).store.read("reading own verdicts") as connection:
        found = review.mine(connection, person)
    names = ("record", "version", "verdict", "at")
    return [answers.Own.model_validate({name: row[name] for name in names}) for row in found]


@router.get("/reviews/find")
def find(
    request: Request,
    _: Operator,
    text: Annotated[str, Query(min_length=1, max_length=64, description="serial or part id")],
) -> answers.Found:
    """Return the latest part with this serial or part id."""
    with site_of(request).store.read("looking for a scanned part") as connection:
        record = review_queue.scanned(connection, text)
        if record is None:
            raise HTTPException(404, "no_such_part")
        return answers.Found(
            record=record, in_review=review_queue.state_of(connection, record) is not None
        )


@router.get("/reviews/{record}", response_model=answers.Part)
def part(request: Request, person: Operator, record: Record) -> Response:
    """Return everything that a person needs to judge a part."""
    site = site_of(request)
    with site.store.read("reading a part for review") as connection:
        found = review.find_review(connection, record)
        if found is None:
            raise HTTPException(404, "not_in_review")
        said = review.history(connection, record, found[0], person)
        rules = read_rules(connection)
        classes = review_queue.classes_of(connection, found[1]["part_name"])
    language = language_of(request)
    return _told(part_answer(site, found, said, rules, person, language, classes))


@router.post("/reviews/{record}", status_code=201)
def ask(request: Request, person: Operator, record: Record) -> answers.Found:
    """Put a decided part into review that is not in it: somebody wants it judged."""
    with site_of(request).store.write("putting a part into review") as connection:
        row = row_of(connection, record)
        if row is None or row["state"] == PartState.TRIGGERED:
            raise HTTPException(404, "no_such_part")
        if site_of(request).store.is_plant:
            raise HTTPException(403, "at_station")
        if insert(connection, [row], seed_of(connection), 0.0, why="asked"):
            audit.append(connection, person.name, "review.asked", f"part:{record}")
    return answers.Found(record=record, in_review=True)


@router.post("/reviews/{record}/verdict", response_model=answers.SavedOut)
def verdict(request: Request, person: Operator, record: Record, word: answers.WordIn) -> Response:
    """Say what a part is. 409: somebody was faster. The same `client` again is not a second verdict."""
    site = site_of(request)
    boxes = None if word.boxes is None else [box.model_dump(by_alias=True) for box in word.boxes]
    with site.store.read("reading a part for review") as connection:
        found = review.find_review(connection, record)
        rules = read_rules(connection)
    if found is None:
        raise HTTPException(404, "not_in_review")
    looked = word.verdict is not Verdict.UNSURE
    given = Word(
        verdict=word.verdict,
        version=word.version,
        client=word.client,
        reason_code=word.reason_code,
        defect_class=word.defect_class,
        comment=word.comment,
        boxes=boxes,
        unreadable=unreadable(site, desk_of(request).checked, found[1]) if looked else "",
        seen=seen_of(site, found[1])
        | {"image_sha256": word.image_sha256, "shown": round(word.shown, 3)},
    )
    check_boxes(given, found[1])
    try:
        with site.store.write("saving a verdict") as connection:
            to = rules_of(rules, found[0]["recipe_number"])
            saved = review.decide(connection, record, given, person, to)
    except RefusedVerdictError as error:
        raise HTTPException(_status(error), error.code) from error
    return _told(_saved(saved))


@router.post("/reviews/{record}/undo")
def undo(
    request: Request, person: Operator, record: Record, given: answers.UndoIn
) -> answers.SavedOut:
    """Take one of the own last verdicts back, as a new row. 409: somebody judged the part after it."""
    try:
        with site_of(request).store.write("taking a verdict back") as connection:
            return _saved(review.undo(connection, record, given.version, given.client, person))
    except RefusedVerdictError as error:
        raise HTTPException(_status(error), error.code) from error


@router.get("/review/rules")
def rules(request: Request, _: Operator) -> ReviewRules:
    """Return reasons, classes for a second person, and the share of passed parts."""
    with site_of(request).store.read("reading the rules of the review") as connection:
        return read_rules(connection)


@router.put("/review/rules")
def set_rules(request: Request, person: Engineer, given: ReviewRules) -> ReviewRules:
    """Set them; what changes is audited."""
    with site_of(request).store.write("setting the rules of the review") as connection:
        change_rules(connection, given, person.name)
    return given


@router.get("/me/keys")
def keys(person: Operator) -> answers.Keys:
    """Return the own keys of the review page."""
    return answers.Keys(keys=keys_of(person))


@router.put("/me/keys")
def set_keys(request: Request, person: Operator, given: answers.Keys) -> answers.Keys:
    """Set the own keys; an empty object restores those delivered. 400: two actions on one key."""
    problem = problem_of(given.keys)
    if problem:
        raise HTTPException(400, problem)
    with site_of(request).store.write("setting keys") as connection:
        row = people.find(connection, person.name)
        options = dict((row or {}).get("options") or {}) | {"keys": given.keys}
        people.change(connection, person.id, options=options)
    return answers.Keys(keys=DEFAULT_KEYS | given.keys)


def _saved(saved: Saved) -> answers.SavedOut:
    return answers.SavedOut(
        record=saved.record,
        version=saved.version,
        state=saved.state,
        repeated=saved.repeated,
        told=saved.told,
    )


def _told(answer: BaseModel) -> Response:
    """Return what a person waits for as it is: checking a model once more costs a turn of a thread."""
    return Response(answer.model_dump_json(by_alias=True), media_type="application/json")


def _status(error: RefusedVerdictError) -> int:
    return 403 if error.code in {"engineer", "second", "not_yours", "at_station"} else 400
