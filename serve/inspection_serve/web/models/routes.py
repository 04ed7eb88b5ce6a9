"""Pages of the area: `/models`, one release, two compared, jobs, and reports in a sandbox."""

from __future__ import annotations

import re
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from fastapi.responses import FileResponse, Response

from inspection.release import PART_NAME
from inspection.store.web import approvals, jobs
from inspection.store.web.people import Person, Role
from inspection_serve.web.guard import Needs, site_of
from inspection_serve.web.models import new_recipe, recipes, releases, words
from inspection_serve.web.models.api import (
    Number,
    Part,
    compare_two,
    look,
    look_at_all,
    recipe_answer,
    step_answers,
)  # fmt: skip
from inspection_serve.web.models.differences import sections
from inspection_serve.web.models.jobs_api import NO_LOG, JobId, choices, find_job, job_answer
from inspection_serve.web.models.runner import jobs_of
from inspection_serve.web.pages import language_of, page

router = APIRouter(prefix="/models", include_in_schema=False)
Viewing = Annotated[Person, Depends(Needs(Role.VIEWER))]
SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
JOB_REPORTS = ("check.html", "replay.html")
_WORDS: dict[str, Any] = {
    "states": words.STATES,
    "state_shapes": words.STATE_SHAPES,
    "tasks": words.TASKS,
    "job_states": words.JOB_STATES,
    "job_shapes": words.JOB_SHAPES,
    "job_kinds": words.JOB_KINDS,
    "job_steps": words.JOB_STEPS,
}


@router.get("")
def index(request: Request, person: Viewing) -> Response:
    """Show every part's releases and the recipes."""
    found, site = look_at_all(request), site_of(request)
    with site.store.read("the jobs") as connection:
        rows = jobs.listing(connection, 3)
    return page(
        request,
        "models/index.html",
        found=found,
        known=site.releases is not None,
        jobs=[job_answer(request, row) for row in rows],
        may=person.role.covers(Role.ENGINEER),
        **_WORDS,
    )


@router.get("/part/{part}/{number}")
def release(request: Request, person: Viewing, part: Part, number: Number) -> Response:
    """Show one release."""
    answer, held, rows = look(request, part, number)
    site = site_of(request)
    with site.store.read("the approvals of a part") as connection:
        every = approvals.rows(connection, part)
        replays = [
            row
            for row in jobs.listing(connection, 200, "replay")
            if (row["arguments"].get("part"), row["arguments"].get("number")) == (part, number)
        ]
    files = recipes.recipes(site.recipes)
    own = [recipe_answer(one, every) for one in files if one.config and one.config.part == part]
    others = [one.number for one in releases.list_all(site.releases).get(part, [])]
    return page(
        request,
        "models/release.html",
        release=answer,
        card=held.card,
        steps=step_answers(rows, answer.card_sha256),
        recipes=own,
        free_number=None if site.recipes is None else new_recipe.free_number(files),
        returns=approvals.may_return(rows, answer.card_sha256),
        others=[n for n in others if n != number],
        replays=[job_answer(request, row) for row in replays[:5]],
        asked_by=next((row["who"] for row in reversed(rows) if row["step"] == "asked"), ""),
        may=person.role.covers(Role.ENGINEER),
        **_WORDS,
    )


@router.get("/part/{part}/{number}/report/{name}")
def report(
    request: Request,
    _: Viewing,
    part: Part,
    number: Number,
    name: Annotated[str, Path(pattern=releases.REPORT_NAME)],
) -> Response:
    """Give an HTML report beside a card; nothing in it can act."""
    held = releases.find(site_of(request).releases, part, number)
    if held is None or name not in held.reports:
        raise HTTPException(404)
    return _sandboxed(held.folder / name)


@router.get("/compare")
def compare(
    request: Request,
    _: Viewing,
    part: Annotated[str, Query(pattern=PART_NAME)],
    first: Annotated[int, Query(ge=1, le=65535)],
    second: Annotated[int, Query(ge=1, le=65535)],
) -> Response:
    """Show two releases side by side."""
    found, why = compare_two(request, part, first, second)
    told = sections(found, language_of(request).code) if found else None
    others = [one.number for one in releases.list_all(site_of(request).releases).get(part, [])]
    return page(
        request,
        "models/compare.html",
        part=part,
        first=first,
        second=second,
        numbers=others,
        told=told,
        why=why,
    )


@router.get("/jobs")
def all_jobs(request: Request, person: Viewing) -> Response:
    """Show the jobs, and the form that starts a training."""
    jobs_of(request).look()
    with site_of(request).store.read("the jobs") as connection:
        rows = jobs.listing(connection)
    return page(
        request,
        "models/jobs.html",
        jobs=[job_answer(request, row) for row in rows],
        choices=choices(request),
        known=site_of(request).datasets is not None,
        busy=any(row["ended_at"] is None for row in rows),
        may=person.role.covers(Role.ENGINEER),
        **_WORDS,
    )


@router.get("/jobs/{job}")
def one_job(request: Request, person: Viewing, job: JobId) -> Response:
    """Show one job: progress, outcome, log."""
    answer, runner = job_answer(request, find_job(request, job)), jobs_of(request)
    language = language_of(request).code
    made = re.fullmatch(r"([^/]+)/(\d+)", str(answer.outcome.get("release", "")))
    return page(
        request,
        "models/job.html",
        job=answer,
        gates=releases.gate_words(answer.outcome.get("gates"), language),
        made=(made[1], int(made[2])) if made and answer.kind == "train" else None,
        reports=[
            name for name in JOB_REPORTS if answer.here and _is_plain(runner.folder(job) / name)
        ],
        log=runner.log(job, 0) if answer.here else NO_LOG,
        may=person.role.covers(Role.ENGINEER),
        **_WORDS,
    )


@router.get("/jobs/{job}/report/{name}")
def job_report(
    request: Request, _: Viewing, job: JobId, name: Annotated[str, Path(max_length=20)]
) -> Response:
    """Give a report that a job wrote; nothing in it can act."""
    row, runner = find_job(request, job), jobs_of(request)
    path = runner.folder(job) / name
    if name not in JOB_REPORTS or not runner.is_own(row) or not _is_plain(path):
        raise HTTPException(404)
    return _sandboxed(path)


def _is_plain(path: FilePath) -> bool:
    return path.is_file() and not path.is_symlink()


def _sandboxed(path: FilePath) -> Response:
    headers = {"Content-Security-Policy": SANDBOX, "Cache-Control": "no-store"}
    return FileResponse(path, media_type="text/html; charset=utf-8", headers=headers)
