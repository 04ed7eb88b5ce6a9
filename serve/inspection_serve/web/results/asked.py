"""What a search asks for, as it comes from a form or a program: checked, local times made UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from inspection.store.web.search import Search
from inspection.types import Decision, Reason, Verdict

REASONS = tuple(reason.name for reason in Reason)
_LARGEST = 2**32 - 1
_PLAIN = r"^[^\x00-\x1f\x7f]*$"
_CODE = r"^[^\x00-\x1c\x1e\x1f\x7f]*$"
"""The separator of GS1 codes is allowed."""


def _absent(value: Any) -> Any:
    """An empty field of a form is no wish."""
    if isinstance(value, str):
        value = value.strip()
    return None if value == "" else value


def _moment(value: Any) -> Any:
    value = _absent(value)
    if not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.astimezone().astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError("not a date and time; write it as 2026-11-21T06:00") from error


def _reason(value: Any) -> Any:
    value = _absent(value)
    if value is not None and value not in REASONS:
        raise ValueError("there is no such reason")
    return value


Text = Annotated[
    Annotated[str, Field(max_length=64, pattern=_PLAIN)] | None, BeforeValidator(_absent)
]
Code = Annotated[
    Annotated[str, Field(max_length=200, pattern=_CODE)] | None, BeforeValidator(_absent)
]
Number = Annotated[Annotated[int, Field(ge=0, le=_LARGEST)] | None, BeforeValidator(_absent)]
Record = Annotated[Annotated[int, Field(ge=1, le=_LARGEST)] | None, BeforeValidator(_absent)]
Recipe = Annotated[Annotated[int, Field(ge=0, le=65535)] | None, BeforeValidator(_absent)]
Moment = Annotated[datetime | None, BeforeValidator(_moment)]


class Asked(BaseModel):
    """Which parts are wanted; a field that is empty or absent means any."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    part: Number = Field(None, description="part id as given by the PLC")
    serial: Text = Field(None, description="how the part serial or lot begins")
    code: Code = Field(None, description="the code read from the part, whole")
    since: Moment = Field(
        None,
        description="triggered at or after this time; without a zone: the station's local time",
    )
    until: Moment = Field(None, description="triggered before this time; as `since`")
    station: Text = Field(None, description="name of the station")
    recipe: Recipe = Field(None, description="recipe number")
    release: Text = Field(None, description="released model, PART/NUMBER")
    decision: Annotated[Decision | None, BeforeValidator(_absent)] = Field(
        None, description="the machine's decision"
    )
    reason: Annotated[str | None, BeforeValidator(_reason)] = Field(
        None, description="name of the deciding reason"
    )
    defect_class: Text = Field(None, description="name of the deciding class")
    review: Annotated[Literal["waiting", "done", "none"] | None, BeforeValidator(_absent)] = Field(
        None,
        description="waiting: a person must still judge it; done: people did; none: nobody was asked",
    )
    verdict: Annotated[Verdict | None, BeforeValidator(_absent)] = Field(
        None, description="the last verdict of people"
    )
    first: Record = Field(None, description="this record or higher, whatever its time says")
    last: Record = Field(None, description="this record or lower")

    def search(self) -> Search:
        """Return the search as the store takes it."""
        return Search(
            part_id=self.part,
            serial=self.serial,
            code=self.code,
            since=label(self.since),
            until=label(self.until),
            station=self.station,
            recipe_number=self.recipe,
            release=self.release,
            decision=None if self.decision is None else self.decision.value,
            reason=self.reason,
            defect_class=self.defect_class,
            review=self.review,
            verdict=None if self.verdict is None else self.verdict.value,
            first=self.first,
            last=self.last,
        )

    def query(self) -> str:
        """Return the search as the part of an address after the question mark."""
        return urlencode(self.plain())

    def plain(self) -> dict[str, Any]:
        """Return what was asked for and nothing else: not the page, not the format."""
        fields = set(Asked.model_fields)
        return self.model_dump(mode="json", exclude_none=True, include=fields)


class AskedPage(Asked):
    """A search and which page of it."""

    below: Record = Field(None, description="last record of the page before; none: the newest")
    limit: int = Field(50, ge=1, le=200, description="rows of a page")


def label(moment: datetime | None) -> str | None:
    """Return a time as the store sorts it; None for None."""
    return None if moment is None else moment.isoformat(timespec="microseconds")


def local(moment: datetime | None) -> str:
    """Return a time as a form's field for local time takes it; empty for None."""
    if moment is None:
        return ""
    return moment.astimezone().replace(tzinfo=None, microsecond=0).isoformat(timespec="seconds")
