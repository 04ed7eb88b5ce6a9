"""The audit: `/audit` to read and print, `/api/v1/audit`, and the check of the whole chain."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response

from inspection.store.rows import Values
from inspection.store.tables import MAX_RECORD
from inspection.store.web import audit
from inspection.store.web.people import Person, Role
from inspection_serve.web.guard import Needs, site_of
from inspection_serve.web.pages import page
from inspection_serve.web.people.answers import PLAIN, AuditPage, AuditRow, Chain
from inspection_serve.web.people.words import ACTIONS
from inspection_serve.web.site import Site

router = APIRouter()
Engineer = Annotated[Person, Depends(Needs(Role.ENGINEER))]
Text = Annotated[str, Query(max_length=128, pattern=PLAIN)]
_PAGE = 100
_EXAMPLES = 10


class Asked:
    """What rows are looked for: empty is everything."""

    def __init__(
        self,
        who: Text = "",
        action: Annotated[Text, Query(description="code, or how it begins, as `sign_in`")] = "",
        subject: Annotated[Text, Query(description="whole, or its kind, as `person:`")] = "",
        since: Annotated[Text, Query(description="ISO 8601; local time without a zone")] = "",
        until: Annotated[Text, Query(description="ISO 8601; local time without a zone")] = "",
        below: Annotated[Text, Query(description="last id of the page before")] = "",
    ) -> None:
        self.who, self.action, self.subject = who.strip(), action.strip(), subject.strip()
        self.since, self.until, self.below = since.strip(), until.strip(), below.strip()

    def filter(self) -> audit.Filter:
        """Return it as the store takes it. Raises HTTPException 422."""
        return audit.Filter(
            who=self.who,
            action=self.action,
            subject=self.subject,
            since=_moment(self.since),
            until=_moment(self.until),
            below=_number(self.below),
        )


@router.get("/audit", include_in_schema=False)
def audit_page(
    request: Request, _: Engineer, asked: Annotated[Asked, Depends()], check: bool = False
) -> Response:
    """Show the rows; with `check` the state of the whole chain."""
    site, wanted = site_of(request), asked.filter()
    found = _read(site, wanted, _PAGE)
    return page(
        request,
        "audit/audit.html",
        found=found,
        asked=asked,
        chain=_check(site) if check else None,
        actions=ACTIONS,
        shown=_shown,
    )


@router.get("/api/v1/audit", tags=["audit"])
def list_audit(
    request: Request,
    _: Engineer,
    asked: Annotated[Asked, Depends()],
    limit: Annotated[int, Query(ge=1, le=1000)] = _PAGE,
) -> AuditPage:
    """Give rows of the audit, newest first."""
    return _read(site_of(request), asked.filter(), limit)


@router.get("/api/v1/audit/chain", tags=["audit"])
def check_chain(request: Request, _: Engineer) -> Chain:
    """Check every row against the one before it; a long audit takes some seconds."""
    return _check(site_of(request))


def _read(site: Site, wanted: audit.Filter, limit: int) -> AuditPage:
    with site.store.read("reading the audit") as connection:
        rows = audit.rows(connection, wanted, limit=limit + 1)
        number, head = audit.head(connection)
    more = len(rows) > limit
    shown = [AuditRow.model_validate({**row, "detail": _detail(row)}) for row in rows[:limit]]
    return AuditPage(rows=shown, below=shown[-1].id if more else None, number=number, head=head)


def _check(site: Site) -> Chain:
    """Walk the chain in short transactions: rows do not change, so what was read stays true."""
    walk = audit.Walk()
    while True:
        with site.store.read("checking the audit") as connection:
            if not audit.walk_on(connection, walk):
                protected = audit.is_protected(connection)
                break
    return Chain(
        number=walk.number,
        head=walk.previous,
        is_whole=not walk.breaches,
        is_protected=protected,
        breaches=walk.breaches[:_EXAMPLES],
    )


def _detail(row: Values) -> dict[str, Any]:
    """Return the details; an altered row may hold anything, and must still be shown."""
    try:
        found = json.loads(row["detail"])
    except ValueError:
        return {"?": row["detail"]}
    return found if isinstance(found, dict) else {"?": found}


def _shown(detail: dict[str, Any]) -> str:
    """Return details in one line."""
    return ", ".join(
        f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in detail.items()
    )


def _moment(text: str) -> str:
    """Return a time as the store writes it: UTC."""
    if not text:
        return ""
    try:
        return audit.label(datetime.fromisoformat(text))
    except (ValueError, OverflowError, OSError):
        raise HTTPException(422, "malformed") from None


def _number(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) > MAX_RECORD:
        raise HTTPException(422, "malformed")
    return int(text)
