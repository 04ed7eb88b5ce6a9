"""Jobs: training and replay runs that people start on the pages; one at a time.

asked ─▶ running ─▶ done | refused (a gate was not passed) | failed | cancelled | lost (nobody knows)
"""

from __future__ import annotations

import enum
from typing import Any

import sqlalchemy as sa

from inspection.errors import InspectionError
from inspection.store.rows import Values, utc_now
from inspection.store.web import audit
from inspection.store.web.people import SYSTEM
from inspection.store.web.tables import jobs


class JobState(enum.StrEnum):
    """How a job stands."""

    ASKED = "asked"
    RUNNING = "running"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


ACTIVE = (JobState.ASKED, JobState.RUNNING)


class JobBusyError(InspectionError):
    """Another job is not at its end."""


def add(
    connection: sa.Connection,
    kind: str,
    arguments: Values,
    who: str,
    *,
    host: str = "",
    work: str = "",
) -> int:
    """Add a job and return its id; its folder is `jobs/ID` below the work folder.

    Args:
        connection: from `WebStore.write`.
        kind: `train` or `replay`.
        arguments: what was asked, plain values.
        who: login name.
        host: name of the machine on which it runs; several may share a store.
        work: the work folder there.

    Raises:
        JobBusyError: there is one that is not at its end.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("LOCK TABLE jobs IN EXCLUSIVE MODE"))
    busy = active(connection)
    if busy is not None:
        where = f" on {busy['host']}" if busy["host"] else ""
        raise JobBusyError(
            f"job {busy['id']} of {busy['who']}{where} is not at its end; one at a time"
        )
    row: Values = {
        "kind": kind,
        "arguments": arguments,
        "host": host,
        "folder": "",
        "who": who,
        "at": utc_now(),
        "state": JobState.ASKED.value,
    }
    query = sa.insert(jobs).returning(jobs.c.id)
    made = int(connection.execute(query, row).scalar_one())
    folder = folder_of(work, made)
    connection.execute(sa.update(jobs).where(jobs.c.id == made).values(folder=folder))
    audit.append(connection, who, "job.started", f"job:{made}", kind=kind, **arguments)
    return made


def folder_of(work: str, job: int) -> str:
    """Return the folder of a job below a work folder."""
    return f"{work}/jobs/{job}" if work else f"jobs/{job}"


def started(connection: sa.Connection, job: int, process: Values) -> None:
    """Write that a job runs, and as which process."""
    values = {"state": JobState.RUNNING.value, "started_at": utc_now(), "process": process}
    connection.execute(
        sa.update(jobs).where(jobs.c.id == job, jobs.c.state == JobState.ASKED.value).values(values)
    )


def ended(
    connection: sa.Connection,
    job: int,
    state: JobState,
    exit_code: int | None,
    process: Values,
    at: str | None = None,
) -> bool:
    """Write how a job ended; tell whether this call was the first to say so.

    Args:
        connection: from `WebStore.write`.
        job: its id.
        state: none of `ACTIVE`.
        exit_code: of the step that ended it; None: nobody knows.
        process: as started, with `outcome`: what the job said.
        at: UTC label of its end; default: now.
    """
    values = {
        "state": state.value,
        "ended_at": at or utc_now(),
        "exit_code": exit_code,
        "process": process,
    }
    query = sa.update(jobs).where(jobs.c.id == job, jobs.c.state.in_([s.value for s in ACTIVE]))
    if not connection.execute(query.values(values)).rowcount:
        return False
    audit.append(
        connection, SYSTEM, "job.ended", f"job:{job}", state=state.value, exit_code=exit_code
    )
    return True


def cancelled(connection: sa.Connection, job: int, who: str) -> None:
    """Write who asked that a job ends; its state follows when it has."""
    audit.append(connection, who, "job.cancelled", f"job:{job}")


def given_up(connection: sa.Connection, job: int, who: str, host: str) -> None:
    """Write who said that a job of another machine does not run any more."""
    audit.append(connection, who, "job.given_up", f"job:{job}", host=host)


def find(connection: sa.Connection, job: int) -> Values | None:
    """Return one job."""
    row = connection.execute(sa.select(jobs).where(jobs.c.id == job)).mappings().first()
    return None if row is None else dict(row)


def active(connection: sa.Connection) -> Values | None:
    """Return the job that is not at its end."""
    query = sa.select(jobs).where(jobs.c.state.in_([s.value for s in ACTIVE]))
    row = connection.execute(query.order_by(jobs.c.id.desc())).mappings().first()
    return None if row is None else dict(row)


def listing(connection: sa.Connection, limit: int = 50, kind: str | None = None) -> list[Values]:
    """Return jobs, newest first."""
    query = sa.select(jobs).order_by(jobs.c.id.desc()).limit(max(1, min(limit, 500)))
    if kind is not None:
        query = query.where(jobs.c.kind == kind)
    return [dict(row) for row in connection.execute(query).mappings()]


def trained_by(connection: sa.Connection, release: str) -> set[str]:
    """Return who started the jobs that trained a release.

    Args:
        connection: of a reader or writer.
        release: as `plate/3`.
    """
    query = sa.select(jobs.c.who, jobs.c.process).where(jobs.c.kind == "train")
    return {
        str(row.who)
        for row in connection.execute(query)
        if outcome(row.process).get("release") == release
    }


def outcome(process: Any) -> Values:
    """Return what a job said at its end; empty before."""
    found = process.get("outcome") if isinstance(process, dict) else None
    return found if isinstance(found, dict) else {}
