"""Pages: a template, in the language of who asks, with what every page shows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from inspection.store.web.people import Person, Role
from inspection.types import Decision
from inspection_serve.web.cookies import LANGUAGE_COOKIE
from inspection_serve.web.guard import signed_in, site_of
from inspection_serve.web.machine import has_key
from inspection_serve.web.texts import LANGUAGES, Language, script_texts


def _mark(message: str) -> str:
    """Mark a text for the catalogue where it is translated later."""
    return message


AREAS: tuple[tuple[str, str, Role], ...] = (
    ("/review", _mark("Review"), Role.OPERATOR),
    ("/line", _mark("Line"), Role.VIEWER),
    ("/results", _mark("Results"), Role.VIEWER),
    ("/quality", _mark("Quality"), Role.VIEWER),
    ("/models", _mark("Models"), Role.VIEWER),
    ("/book", _mark("Limit samples"), Role.VIEWER),
    ("/audit", _mark("Audit"), Role.ENGINEER),
    ("/people", _mark("People"), Role.ADMINISTRATOR),
)
"""Path, English name and least role of each area, in the order of the header."""

SHAPES = {
    Decision.PASS.value: "●",
    Decision.FAIL.value: "▲",
    Decision.REVIEW.value: "◆",
    Decision.NOT_INSPECTED.value: "■",
}
"""A decision is never told by colour alone."""


DECISION_TEXTS = {
    Decision.PASS.value: _mark("OK"),
    Decision.FAIL.value: _mark("NG"),
    Decision.REVIEW.value: _mark("Borderline"),
    Decision.NOT_INSPECTED.value: _mark("Not inspected"),
}


@cache
def environment() -> Environment:
    """Return the templates: everything is escaped, an unknown name is an error."""
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    found.globals |= {
        "shapes": SHAPES,
        "decision_texts": DECISION_TEXTS,
        "languages": LANGUAGES,
        "script_texts": script_texts,
    }
    return found


def language_of(request: Request) -> Language:
    """Return the language of who asks: as they chose, else the browser's, else Korean."""
    person: Person | None = signed_in(request)
    return site_of(request).texts.choose(
        None if has_key(request) else request.cookies.get(LANGUAGE_COOKIE),
        None if person is None else person.language,
        request.headers.get("accept-language"),
    )


def page(request: Request, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """Return a filled template.

    Args:
        request: of the page.
        template: path below `templates/`.
        status: of HTTP.
        context: what the template uses, beside `_`, `ngettext`, `number`, `percent`, `when`, `language`,
            `person`, `areas`, `path`, `place`, `csrf`.
    """
    language, person = language_of(request), signed_in(request)
    common: dict[str, Any] = {
        "_": language.text,
        "ngettext": language.plural,
        "number": language.number,
        "percent": language.percent,
        "when": language.when,
        "language": language.code,
        "person": person,
        "csrf": "" if person is None else person.csrf,
        "areas": [area for area in AREAS if person is not None and person.role.covers(area[2])],
        "path": request.url.path,
        "place": place_of(request),
    }
    text = environment().get_template(template).render(common | context)
    return HTMLResponse(text, status, {"Cache-Control": "no-store"})


def place_of(request: Request) -> str:
    """Return path and query of the page that is shown, as the browser wrote them.

    The answer to a form is shown at an address that no link leads to: the place is then the form's page.
    """
    if request.method != "GET":
        told = urlsplit(request.headers.get("referer", ""))
        is_ours = told.netloc == request.headers.get("host") and told.path.startswith("/")
        return told._replace(scheme="", netloc="", fragment="").geturl() if is_ours else "/"
    raw: bytes = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    query: bytes = request.scope["query_string"]
    place = raw.partition(b"?")[0] + (b"?" + query if query else b"")
    return place.decode("ascii", errors="replace")


def texts_of(request: Request) -> Callable[..., str]:
    """Return the function that translates for who asks."""
    return language_of(request).text
