"""Releases as JSON: `/api/v1/models`, approval, switch, roll back."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from fastapi.responses import Response

from inspection.errors import ConfigError
from inspection.release import CARD, PART_NAME
from inspection.store.rows import Values
from inspection.store.web import approvals, jobs
from inspection.store.web.approvals import ApprovalError, Step
from inspection.store.web.people import Person, Role
from inspection_serve.web.guard import Needs, site_of
from inspection_serve.web.models import new_recipe, recipes, releases, switching
from inspection_serve.web.models.answers import (
    Approval,
    Back,
    GateAnswer,
    ModelsAnswer,
    NewRecipe,
    RecipeAnswer,
    ReleaseAnswer,
    StepAnswer,
    Switch,
    SwitchAnswer,
    VariantAnswer,
)
from inspection_serve.web.models.new_recipe import Wanted
from inspection_serve.web.models.recipes import RecipeFile
from inspection_serve.web.models.releases import Held
from inspection_serve.web.models.runner import jobs_of, problem
from inspection_serve.web.models.switching import Asked, SwitchError
from inspection_serve.web.pages import language_of, texts_of

router = APIRouter(prefix="/api/v1/models", tags=["models"])
Viewing = Annotated[Person, Depends(Needs(Role.VIEWER))]
Engineer = Annotated[Person, Depends(Needs(Role.ENGINEER))]
Part = Annotated[str, Path(pattern=PART_NAME, description="name of the part")]
Number = Annotated[int, Path(ge=1, le=65535, description="of the release")]
RecipeNumber = Annotated[int, Path(ge=1, le=65535, description="of the recipe")]


def named_by(found: list[RecipeFile]) -> dict[tuple[str, int], list[int]]:
    """Return (part, release) to the numbers of the recipes that name it."""
    named: dict[tuple[str, int], list[int]] = {}
    for one in found:
        if one.config:
            named.setdefault((one.config.part, one.config.release), []).append(one.config.number)
    return named


def release_answer(
    request: Request,
    held: Held,
    rows: list[Values],
    named: dict[tuple[str, int], list[int]],
    trained: set[str],
) -> ReleaseAnswer:
    """Return a release as the API gives it, in the language of who asks."""
    language, card = language_of(request).code, held.card
    gates, not_asked = ([], []) if card is None else releases.card_gates(card, language)
    return ReleaseAnswer(
        part=held.part,
        number=held.number,
        created_at=card and card.created_at,
        task=card and card.task,
        family=card and card.family,
        dataset=card and f"{card.dataset.name} {card.dataset.version}",
        card_sha256=held.card_sha256,
        problem=held.problem,
        claim="" if card is None else releases.claim_words(card, language),
        note="" if card is None else releases.note_words(card, language),
        metrics=[] if card is None else releases.metric_rows(card, language),
        gates=[GateAnswer(**gate) for gate in gates],
        not_asked=not_asked,
        variants=[
            VariantAnswer(name=name, runtimes=[], problem=one)
            if isinstance(one, str)
            else VariantAnswer(name=name, runtimes=one.runtimes, problem="")
            for name, one in held.variants.items()
        ],
        reports=held.reports,
        current=held.current,
        recipes=sorted(named.get((held.part, held.number), [])),
        state=approvals.state(rows, held.card_sha256) if held.card_sha256 else None,
        trained_by=sorted(trained),
    )


def recipe_answer(file: RecipeFile, rows: list[Values]) -> RecipeAnswer:
    """Return a recipe file as the API gives it; `rows` are its part's."""
    config = file.config
    back = config and approvals.before(rows, config.number, config.release)
    return RecipeAnswer(
        file=file.path.name,
        number=config and config.number,
        part=config and config.part,
        release=config and config.release,
        sha256=file.sha256,
        limits=bool(config and config.limits),
        problem=file.problem,
        back=back,
    )


def look(request: Request, part: str, number: int) -> tuple[ReleaseAnswer, Held, list[Values]]:
    """Return one release with its folder and rows. Raises HTTPException 404."""
    site = site_of(request)
    held = releases.find(site.releases, part, number)
    if held is None:
        raise HTTPException(404, "no_release")
    jobs_of(request).look()
    with site.store.read("the approval of a release") as connection:
        rows = approvals.rows(connection, part, number)
        trained = jobs.trained_by(connection, held.name)
    named = named_by(recipes.recipes(site.recipes))
    return release_answer(request, held, rows, named, trained), held, rows


def step_answers(rows: list[Values], card_sha256: str) -> list[StepAnswer]:
    """Return the rows of a release, newest first."""
    return [
        StepAnswer(
            **{name: row[name] for name in ("step", "who", "at", "comment", "card_sha256")},
            this_card=row["card_sha256"] == card_sha256,
        )
        for row in reversed(rows)
    ]


def look_at_all(request: Request) -> ModelsAnswer:
    """Return every release and recipe."""
    site = site_of(request)
    files, found = recipes.recipes(site.recipes), releases.list_all(site.releases)
    named = named_by(files)
    jobs_of(request).look()
    with site.store.read("the approvals of releases") as connection:
        parts = set(found) | {one.config.part for one in files if one.config}
        rows = {part: approvals.rows(connection, part) for part in parts}
        trained = {
            held.name: jobs.trained_by(connection, held.name)
            for all_ in found.values()
            for held in all_
        }
    return ModelsAnswer(
        parts={
            part: [
                release_answer(
                    request,
                    held,
                    [row for row in rows[part] if row["number"] == held.number],
                    named,
                    trained[held.name],
                )
                for held in all_
            ]
            for part, all_ in found.items()
        },
        recipes=[recipe_answer(one, rows[one.config.part] if one.config else []) for one in files],
    )


@router.get("")
def models(request: Request, _: Viewing) -> ModelsAnswer:
    """Give every release and recipe; a damaged one says what is wrong with it."""
    return look_at_all(request)


@router.get("/compare")
def compare(
    request: Request,
    _: Viewing,
    part: Annotated[str, Query(pattern=PART_NAME, description="name of the part")],
    first: Annotated[int, Query(ge=1, le=65535, description="a release")],
    second: Annotated[int, Query(ge=1, le=65535, description="another release")],
) -> dict[str, Any]:
    """Give what differs between two releases: data, settings, limits, numbers, speed, libraries."""
    found, why = compare_two(request, part, first, second)
    if why:
        raise ConfigError(why)
    return found


def compare_two(request: Request, part: str, first: int, second: int) -> tuple[dict[str, Any], str]:
    """Return what differs, or why nobody can tell. Raises HTTPException 404."""
    both = [releases.find(site_of(request).releases, part, number) for number in (first, second)]
    if both[0] is None or both[1] is None:
        raise HTTPException(404, "no_release")
    text, why = releases.compare(both[0], both[1])
    if why == releases.COMPARING:
        why = texts_of(request)(why)
    return (json.loads(text) if text else {}), why


@router.get("/{part}/{number}")
def release(request: Request, _: Viewing, part: Part, number: Number) -> ReleaseAnswer:
    """Give one release."""
    return look(request, part, number)[0]


@router.get("/{part}/{number}/steps")
def steps(request: Request, _: Viewing, part: Part, number: Number) -> list[StepAnswer]:
    """Give who asked for, approved or declined a release, and where it came into force; newest first."""
    answer, _held, rows = look(request, part, number)
    return step_answers(rows, answer.card_sha256)


@router.get("/{part}/{number}/card")
def card(request: Request, _: Viewing, part: Part, number: Number) -> Response:
    """Give `release.json` as it is on the disk."""
    held = releases.find(site_of(request).releases, part, number)
    path = None if held is None else held.folder / CARD
    if path is None or not path.is_file() or path.stat().st_size > releases.MAX_CARD:
        raise HTTPException(404, "no_release")
    name = f"{part}-{number}.json"
    headers = {"Content-Disposition": f'inline; filename="{name}"'}
    return Response(path.read_bytes(), media_type="application/json", headers=headers)


@router.post("/{part}/{number}/approval", response_model=ReleaseAnswer)
def approve(
    request: Request, person: Engineer, part: Part, number: Number, body: Approval
) -> Response | ReleaseAnswer:
    """Ask for the approval of a release, or approve or decline it. Another person than who asked decides.

    409: `card_changed`, `damaged`, `asked_already`, `approved_already`, `declined_already`, `not_asked`,
    `own_request`, `own_training`, `no_comment`.
    """
    _answer, held, _rows = look(request, part, number)
    step = Step(body.step)
    if held.card_sha256 != body.card_sha256:
        return problem(request, 409, "card_changed", "release.json was changed: look at it again")
    wrong = held.problem
    if not wrong and step is not Step.DECLINED:
        wrong = releases.verify(held)
    if wrong and step is not Step.DECLINED:
        return problem(request, 409, "damaged", wrong)
    try:
        with site_of(request).store.write("an approval") as connection:
            approvals.take(
                connection, part, number, body.card_sha256, step, person.name, body.comment,
                jobs.trained_by(connection, held.name),
            )  # fmt: skip
    except ApprovalError as error:
        return problem(request, 409, error.code, str(error))
    return look(request, part, number)[0]


@router.post("/{part}/{number}/switch", response_model=SwitchAnswer)
def switch(
    request: Request, person: Engineer, part: Part, number: Number, body: Switch
) -> Response | SwitchAnswer:
    """Put an approved release into a recipe file; the line takes it at its next recipe request.

    409: `no_recipe`, `recipe_changed`, `no_release`, `card_changed`, `damaged`, `not_approved`, `same`,
    `unknown_classes`, `limits_unsaid`, `not_plain`, `not_written`. Nothing was changed then.
    500: `not_taken_back`: the recipe names the release, but the store could not note it.
    """
    file = switching.find_recipe(site_of(request), body.recipe)
    if file is None or file.config is None or file.config.part != part:
        return problem(
            request, 409, "no_recipe", f"there is no readable recipe {body.recipe} of {part}"
        )
    if file.config.limits and body.limits is None:
        return problem(
            request,
            409,
            "limits_unsaid",
            "the recipe has limits of its own: say what becomes of them",
        )
    asked = Asked(
        body.recipe, body.recipe_sha256, number, body.card_sha256, body.limits or "keep", back=False
    )
    return _switch(request, asked, person)


@router.post("/{part}/{number}/recipe", status_code=201, response_model=RecipeAnswer)
def make_recipe(
    request: Request, person: Engineer, part: Part, number: Number, body: NewRecipe
) -> Response | RecipeAnswer:
    """Write a recipe file that names an approved release; the line takes it when the PLC asks for it.

    409: `no_recipes`, `recipe_taken`, `no_release`, `card_changed`, `damaged`, `not_approved`, `not_written`.
    Nothing was written then. 500: `not_taken_back`: the file is there, but the store could not note it.
    """
    site = site_of(request)
    wanted = Wanted(body.recipe, part, number, body.card_sha256, body.deadline)
    try:
        new_recipe.make(site, wanted, person.name)
    except SwitchError as error:
        return _not_done(request, error)
    return _recipe_now(request, body.recipe)


@router.post("/recipes/{recipe}/back", response_model=SwitchAnswer)
def roll_back(
    request: Request, person: Engineer, recipe: RecipeNumber, body: Back
) -> Response | SwitchAnswer:
    """Put a release that was approved or in force earlier into a recipe again, with its limits of then.

    409 and 500: as of a switch.
    """
    site = site_of(request)
    file = switching.find_recipe(site, recipe)
    if file is None or file.config is None:
        return problem(request, 409, "no_recipe", f"there is no readable recipe {recipe}")
    held = releases.find(site.releases, file.config.part, body.number)
    if held is None:
        return problem(request, 409, "no_release", f"there is no release {body.number}")
    then = recipes.limits_then(file.path, body.number)
    limits = "keep" if then is None or then == _limits_now(file) else "then"
    asked = Asked(recipe, body.recipe_sha256, body.number, held.card_sha256, limits, back=True)
    return _switch(request, asked, person)


def _limits_now(file: RecipeFile) -> dict[str, Any]:
    config = file.config
    return (
        {}
        if config is None
        else {n: c.model_dump(exclude_unset=True) for n, c in config.limits.items()}
    )


def _switch(request: Request, asked: Asked, person: Person) -> Response | SwitchAnswer:
    site = site_of(request)
    try:
        kept = switching.switch(site, asked, person.name)
    except SwitchError as error:
        return _not_done(request, error)
    return SwitchAnswer(recipe=_recipe_now(request, asked.recipe), kept=kept.name)


def _not_done(request: Request, error: SwitchError) -> Response:
    status = 500 if error.code == "not_taken_back" else 409
    return problem(request, status, error.code, str(error))


def _recipe_now(request: Request, number: int) -> RecipeAnswer:
    site = site_of(request)
    file = switching.find_recipe(site, number)
    if file is None or file.config is None:
        raise ConfigError(f"recipe {number} cannot be read any more")
    with site.store.read("the approvals of a part") as connection:
        rows = approvals.rows(connection, file.config.part)
    return recipe_answer(file, rows)
