"""What somebody wants to see on the quality page, checked."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from inspection.store.web import settings
from inspection.store.web.counts import Wanted
from inspection_serve.web.guard import site_of
from inspection_serve.web.quality.answers import Kind, Measure, Summary
from inspection_serve.web.quality.claims import read_claims
from inspection_serve.web.quality.period import (
    DEFAULT_SHIFTS,
    SHIFTS,
    Per,
    Period,
    Shift,
    Span,
    choose_period,
    read_shifts,
)
from inspection_serve.web.quality.summary import summarise


def _absent(value: Any) -> Any:
    return None if value == "" else value


Station = Annotated[str, Field(max_length=64)]
Recipe = Annotated[int, Field(ge=0, le=65535)]
Release = Annotated[str, Field(max_length=128)]
"""The bounds stand on the value alone: on what may be absent they would be asked of None."""


class Asked(BaseModel):
    """Which parts; a field that is empty or absent means any."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    span: Span = Field("week", description="up to now; custom: from since to until")
    since: Annotated[datetime | None, BeforeValidator(_absent)] = Field(
        None, description="of custom; without a zone it is the station's local time"
    )
    until: Annotated[datetime | None, BeforeValidator(_absent)] = Field(
        None, description="of custom; not part of it"
    )
    per: Annotated[Per | None, BeforeValidator(_absent)] = Field(
        None, description="length of a point; empty: one that can be read well"
    )
    station: Annotated[Station | None, BeforeValidator(_absent)] = Field(
        None, description="name of the station"
    )
    recipe: Annotated[Recipe | None, BeforeValidator(_absent)] = Field(
        None, description="recipe number"
    )
    release: Annotated[Release | None, BeforeValidator(_absent)] = Field(
        None, description="released model, PART/NUMBER"
    )
    measure: Measure = Field("fail", description="what the control chart counts")
    kind: Kind = Field("laney", description="laney: for large samples; p: plain")

    def period(self, shifts: list[Shift]) -> Period:
        """Return the period. Raises ConfigError."""
        now = datetime.now().astimezone()
        return choose_period(self.span, self.since, self.until, self.per, shifts, now)

    def wanted(self, period: Period) -> Wanted:
        """Return what is counted."""
        return Wanted(period.since, period.until, self.station, self.recipe, self.release)

    def query(self) -> str:
        """Return the same as the part of an address after the question mark."""
        return urlencode(self.model_dump(mode="json", exclude_none=True))

    def results(self) -> Callable[..., str]:
        """Return a function that makes the address of the parts behind a number."""
        mine = {"station": self.station, "recipe": self.recipe, "release": self.release}

        def address(since: str, until: str, **more: object) -> str:
            fields = {"since": f"{since}:00+00:00", "until": f"{until}:00+00:00", **mine, **more}
            return "/results?" + urlencode({k: v for k, v in fields.items() if v not in (None, "")})

        return address


AskedQuery = Annotated[Asked, Query()]


def shifts_of(request: Request) -> list[Shift]:
    """Return the shifts in force."""
    with site_of(request).store.read("reading the shifts") as connection:
        value = settings.read(connection, SHIFTS, DEFAULT_SHIFTS)
    return read_shifts(value)


KEPT = 15.0
"""Seconds for which numbers once counted are shown again; the page says when they were counted."""
_MOST_KEPT = 64
_kept: OrderedDict[tuple[int, Period, Wanted, str], tuple[float, Summary]] = OrderedDict()
_lock = threading.Lock()


def summary_of(request: Request, asked: Asked) -> Summary:
    """Return the numbers that were asked for, at most `KEPT` old. Raises ConfigError, StoreError."""
    site, period = site_of(request), asked.period(shifts_of(request))
    wanted = asked.wanted(period)
    key = (id(site), period, wanted, asked.measure + asked.kind)
    with _lock:
        found = _kept.get(key)
    if found is not None and time.monotonic() - found[0] < KEPT:
        return found[1]
    began = time.monotonic()
    claims = read_claims(site)
    summary = summarise(site.store, period, wanted, asked.measure, asked.kind, claims)
    with _lock:
        _kept[key] = (began, summary)
        while len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    return summary
