"""The web application: areas, guards, errors in words."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from inspection.errors import InspectionError, StoreError
from inspection.store.outbox_feed import Feed
from inspection.store.web.access import VersionConflictError
from inspection_serve.web import api_page
from inspection_serve.web.bodies import Bodies
from inspection_serve.web.book import api as book_api
from inspection_serve.web.book import routes as book
from inspection_serve.web.guard import SignInError
from inspection_serve.web.headers import Headers
from inspection_serve.web.line import api as line_api
from inspection_serve.web.line import routes as line
from inspection_serve.web.line.watch import Watch
from inspection_serve.web.machine import Machines, has_key
from inspection_serve.web.models import api as models_api
from inspection_serve.web.models import jobs_api as models_jobs_api
from inspection_serve.web.models import routes as models
from inspection_serve.web.names import Names
from inspection_serve.web.pages import page, place_of
from inspection_serve.web.people import admin, audit_page, keys, me, quick
from inspection_serve.web.people import routes as people
from inspection_serve.web.pictures import routes as pictures
from inspection_serve.web.quality import api as quality_api
from inspection_serve.web.quality import routes as quality
from inspection_serve.web.results import api as results_api
from inspection_serve.web.results import export as results_export
from inspection_serve.web.results import messages as results_messages
from inspection_serve.web.results import routes as results
from inspection_serve.web.review import api as review_api
from inspection_serve.web.review import routes as review
from inspection_serve.web.seen import Seen
from inspection_serve.web.site import Site

API = "/api/v1"
_log = logging.getLogger(__name__)


def build_app(site: Site, *, names: Iterable[str], secure: bool = False) -> FastAPI:
    """Return the application.

    Args:
        site: store and folders.
        names: host names by which a browser may call us; others are refused (DNS rebinding).
        secure: we listen with TLS, so cookies are for TLS only.
    """
    app = FastAPI(title="Inspection", version="1", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.site, app.state.secure = site, secure
    app.state.line, app.state.is_ending = Watch(site), lambda: False
    app.state.seen = Seen(site.store)
    site.on_close.append(app.state.seen.close)
    app.state.machines = Machines(site.store)
    site.on_close.append(app.state.machines.seen.close)
    app.state.feed = Feed(site.store)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), "static")
    for routes in (
        people,
        me,
        admin,
        quick,
        keys,
        audit_page,
        api_page,
        review,
        review_api,
        pictures,
        book,
        book_api,
        line,
        line_api,
        results,
        results_export,
        results_api,
        results_messages,
        quality,
        quality_api,
        models,
        models_api,
        models_jobs_api,
    ):
        app.include_router(routes.router)
    _add_errors(app)
    app.add_middleware(Bodies)
    app.add_middleware(Names, names=names)
    app.add_middleware(Headers)
    return app


def _add_errors(app: FastAPI) -> None:
    app.add_exception_handler(SignInError, _not_signed_in)
    app.add_exception_handler(VersionConflictError, _conflict)
    app.add_exception_handler(StoreError, _store_failed)
    app.add_exception_handler(InspectionError, _refused)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(Exception, _broken)


def _not_signed_in(request: Request, _error: Exception) -> Response:
    if _is_api(request):
        return _problem(request, 401, "not_signed_in", "")
    if request.method == "GET" and "hx-request" not in request.headers:
        to = request.url_for("sign_in_page").include_query_params(next=place_of(request))
        return RedirectResponse(to, 303)
    return _problem(request, 401, "not_signed_in", "")


def _conflict(request: Request, error: Exception) -> Response:
    return _problem(request, 409, "conflict", str(error))


def _store_failed(request: Request, error: Exception) -> Response:
    _log.error("%s %s: %s", request.method, request.url.path, error)
    return _problem(request, 503, "store_failed", _for_people(request, error))


def _refused(request: Request, error: Exception) -> Response:
    return _problem(request, 400, "refused", _for_people(request, error))


def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError(error)
    code = error.detail if error.detail != HTTPStatus(error.status_code).phrase else ""
    if code == "must_change" and not _is_api(request):
        return RedirectResponse("/people/me", 303)
    answer = _problem(request, error.status_code, code or f"http_{error.status_code}", "")
    answer.headers.update(error.headers or {})
    return answer


def _malformed(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise TypeError(error)
    places = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    return _problem(request, 422, "malformed", places)


def _broken(request: Request, error: Exception) -> Response:
    _log.error("%s %s", request.method, request.url.path, exc_info=error)
    return _problem(request, 500, "internal", "")


def _for_people(request: Request, error: Exception) -> str:
    """Return what an error says; nothing for who is not signed in: it may name files and hosts."""
    return str(error) if getattr(request.state, "person", None) is not None else ""


def _is_api(request: Request) -> bool:
    """Tell whether a program asks; the stream of events is one: it cannot follow us to a page."""
    wants = request.headers.get("accept", "")
    is_program = "application/json" in wants or "text/event-stream" in wants
    return request.url.path.startswith(API) or is_program or has_key(request)


def _problem(request: Request, status: int, code: str, detail: str) -> Response:
    """Return what went wrong: RFC 9457 for programs, a page for people."""
    if _is_api(request):
        body = {"type": "about:blank", "status": status, "code": code, "detail": detail}
        return JSONResponse(body, status, media_type="application/problem+json")
    is_reading = request.method in {"GET", "HEAD"}
    try:
        return page(
            request, "problem.html", status=status, code=code, detail=detail, is_reading=is_reading
        )
    except StoreError:  # who asks cannot be looked up either
        words = "저장소를 읽을 수 없습니다 / The store cannot be read"
        text = f"<!doctype html><title>{status}</title><h1>{words}</h1>"
        return HTMLResponse(text, status)
