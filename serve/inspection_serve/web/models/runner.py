"""What the routes of this area share: the runner of jobs, one for each site, and problems in words."""

from __future__ import annotations

import threading

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from inspection_serve.web.guard import site_of
from inspection_serve.web.models.jobs import Jobs
from inspection_serve.web.models.words import problem_text
from inspection_serve.web.pages import texts_of

_lock = threading.Lock()


def jobs_of(request: Request) -> Jobs:
    """Return the site's runner."""
    with _lock:
        found: Jobs | None = getattr(request.app.state, "jobs", None)
        if found is None:
            found = Jobs(site_of(request))
            request.app.state.jobs = found
    return found


def problem(request: Request, status: int, code: str, detail: str) -> Response:
    """Return why something was refused: RFC 9457, the title in the language of who asks."""
    text = problem_text(code)
    words = f"{texts_of(request)(text)} ({detail})" if text else detail
    body = {"type": "about:blank", "status": status, "code": code, "detail": words}
    return JSONResponse(body, status, media_type="application/problem+json")
