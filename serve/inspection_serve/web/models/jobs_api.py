"""Jobs as JSON: `/api/v1/jobs`. One at a time; a job outlives the pages."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from inspection.store.rows import Values
from inspection.store.web import jobs
from inspection.store.web.jobs import JobBusyError
from inspection.store.web.people import Person, Role
from inspection_serve.web.guard import Needs, site_of
from inspection_serve.web.models import plans, releases
from inspection_serve.web.models.jobs import JobError
from inspection_serve.web.models.runner import jobs_of, problem
from inspection_serve.web.pages import language_of

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])
Viewing = Annotated[Person, Depends(Needs(Role.VIEWER))]
Engineer = Annotated[Person, Depends(Needs(Role.ENGINEER))]
JobId = Annotated[int, Path(ge=1, le=2**53 - 1, description="id of the job")]
_NAME = r"^([^-./\x00-\x1f\x7f\\][^\x00-\x1f\x7f\\]*)?$"
MOST_MINUTES = 14 * 24 * 60
NO_LOG: dict[str, Any] = {"text": "", "offset": 0, "size": 0}


class JobAnswer(BaseModel):
    """A job."""

    id: int
    kind: str = Field(description="train or replay")
    arguments: dict[str, Any] = Field(description="what was asked")
    host: str = Field(description="machine on which it runs")
    here: bool = Field(description="on this machine: it can be cancelled and its log read here")
    who: str = Field(description="login name")
    at: str = Field(description="UTC, when it was asked")
    state: str = Field(description="asked, running, done, refused, failed, cancelled or lost")
    started_at: str | None = Field(description="UTC")
    ended_at: str | None = Field(description="UTC")
    exit_code: int | None = Field(description="of the last step; null: not ended, or nobody knows")
    outcome: dict[str, Any] = Field(description="what it said at its end: release, gates, changes")
    progress: dict[str, Any] = Field(description="step, epochs done and of how many, latest values")


class LogAnswer(BaseModel):
    """A piece of a job's log."""

    text: str
    offset: int = Field(description="where the next piece starts")
    size: int = Field(description="bytes of the whole log")
    ended: bool = Field(description="nothing is added any more")


class ChoicesAnswer(BaseModel):
    """What a training can be made of."""

    datasets: list[str] = Field(description="folders of datasets")
    experiments: list[str] = Field(description="YAML files beside them and in them")
    weights: list[str] = Field(description="weight files beside the datasets")
    parts: list[str] = Field(description="that have releases")


class Start(BaseModel):
    """Train from judged parts, or decide stored parts again with a release."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    kind: str = Field(pattern="^(train|replay)$", description="train or replay")
    dataset: str = Field("", max_length=200, pattern=_NAME, description="one of the choices; train")
    experiment: str = Field(
        "",
        max_length=300,
        pattern=_NAME,
        description="one of the choices; empty: settings by pictures",
    )
    start: str = Field(
        "",
        max_length=300,
        pattern=_NAME,
        description="a weight file, random, or empty: none; train",
    )
    part: str = Field("", max_length=64, pattern=_NAME, description="empty: the dataset's own name")
    minutes: float = Field(
        30, gt=0, le=MOST_MINUTES, allow_inf_nan=False, description="budget of a training"
    )
    harvest: bool = Field(True, description="take the judged parts of the store first; train")
    number: int = Field(1, ge=1, le=65535, description="release; replay")
    recipe: int | None = Field(
        None, ge=1, le=65535, description="limits and regions; null: the release's; replay"
    )
    limit: int = Field(500, ge=1, le=100_000, description="newest parts; replay")


def job_answer(request: Request, row: Values) -> JobAnswer:
    """Return a row of the store as the API gives it."""
    names = ("id", "kind", "arguments", "host", "who", "at", "state", "started_at", "ended_at")
    runner = jobs_of(request)
    return JobAnswer(
        **{name: row[name] for name in names},
        exit_code=row["exit_code"],
        here=runner.is_own(row),
        outcome=jobs.outcome(row["process"]),
        progress=runner.progress(row),
    )


def find_job(request: Request, job: int) -> Values:
    """Return a job's row as it stands now. Raises HTTPException 404."""
    jobs_of(request).look()
    with site_of(request).store.read("a job") as connection:
        row = jobs.find(connection, job)
    if row is None:
        raise HTTPException(404, "no_job")
    return row


def choices(request: Request) -> ChoicesAnswer:
    """Return what the form offers."""
    site = site_of(request)
    return ChoicesAnswer(
        datasets=list(plans.datasets(site)),
        experiments=list(plans.experiments(site)),
        weights=list(plans.weights(site)),
        parts=list(releases.list_all(site.releases)),
    )


@router.get("")
def list_jobs(
    request: Request,
    _: Viewing,
    limit: Annotated[int, Query(ge=1, le=500, description="at most so many")] = 50,
) -> list[JobAnswer]:
    """Give the jobs, newest first."""
    jobs_of(request).look()
    with site_of(request).store.read("the jobs") as connection:
        rows = jobs.listing(connection, limit)
    return [job_answer(request, row) for row in rows]


@router.get("/choices")
def job_choices(request: Request, _: Viewing) -> ChoicesAnswer:
    """Give what a training can be made of."""
    return choices(request)


@router.post("", status_code=201, response_model=JobAnswer)
def start(request: Request, person: Engineer, body: Start) -> Response | JobAnswer:
    """Start a job.

    409: `busy`, `no_dataset`, `no_experiment`, `no_weights`, `no_part`, `no_releases`, `no_release`,
    `damaged`, `no_recipe`, `not_started`. 507: `disk_full`. Nothing was started then.
    """
    try:
        return job_answer(request, find_job(request, _start(request, person, body)))
    except JobBusyError as error:
        return problem(request, 409, "busy", str(error))
    except JobError as error:
        return problem(request, 507 if error.code == "disk_full" else 409, error.code, str(error))


def _start(request: Request, person: Person, body: Start) -> int:
    site, runner, language = site_of(request), jobs_of(request), language_of(request).code
    if body.kind == "train":
        names = {"dataset", "experiment", "start", "part", "minutes", "harvest"}
        asked = body.model_dump(include=names)

        def plan(folder: Any) -> plans.Steps:
            return plans.train(site, **asked, language=language, folder=folder)

    else:
        held = releases.find(site.releases, body.part, body.number)
        if held is None:
            raise JobError("no_release", f"there is no release {body.part}/{body.number}")
        if held.problem:
            raise JobError("damaged", held.problem)
        asked = body.model_dump(include={"part", "number", "recipe", "limit"})

        def plan(folder: Any) -> plans.Steps:
            told = {"recipe": body.recipe, "limit": body.limit}
            return plans.replay(site, held, **told, language=language, folder=folder)

    return runner.start(body.kind, asked, plan, person.name)


@router.get("/{job}")
def show(request: Request, _: Viewing, job: JobId) -> JobAnswer:
    """Give one job."""
    return job_answer(request, find_job(request, job))


@router.get("/{job}/log")
def log(
    request: Request,
    _: Viewing,
    job: JobId,
    offset: Annotated[int, Query(ge=0, le=2**53 - 1, description="where the piece starts")] = 0,
) -> LogAnswer:
    """Give a piece of a job's log; nothing of a job of another machine."""
    row, runner = find_job(request, job), jobs_of(request)
    ended = row["ended_at"] is not None
    found = runner.log(job, offset) if runner.is_own(row) else NO_LOG
    return LogAnswer(**found, ended=ended)


@router.post("/{job}/cancel", response_model=JobAnswer)
def cancel(request: Request, person: Engineer, job: JobId) -> Response | JobAnswer:
    """Ask a job to end; its state follows. 409: `not_running`, `elsewhere`."""
    row = find_job(request, job)
    try:
        jobs_of(request).cancel(row, person.name)
    except JobError as error:
        return problem(request, 409, error.code, str(error))
    return job_answer(request, find_job(request, job))


@router.post("/{job}/give-up", response_model=JobAnswer)
def give_up(request: Request, person: Engineer, job: JobId) -> Response | JobAnswer:
    """Count a job of another machine as lost: that one does not come back. 409: `not_running`, `here`."""
    row = find_job(request, job)
    try:
        jobs_of(request).give_up(row, person.name)
    except JobError as error:
        return problem(request, 409, error.code, str(error))
    return job_answer(request, find_job(request, job))
