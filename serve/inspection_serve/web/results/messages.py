"""Messages for who asks: what `inspection upward` tells, in the same words, read page by page."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from inspection.store.outbox_feed import START, About, Feed, OtherStoreError
from inspection.store.web.people import Person, Role
from inspection_serve.upward.messages import message_of
from inspection_serve.web.guard import Needs, site_of
from inspection_serve.web.machine import Opens
from inspection_serve.web.results.asked import Code, Number, Text

router = APIRouter(prefix="/api/v1/messages", tags=["messages"])
Kind = Literal["part", "verdict", "alarm"]
KINDS: tuple[Kind, ...] = ("part", "verdict", "alarm")


class AskedMessages(BaseModel):
    """Which messages are wanted; a field that is empty or absent means any."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    after: str = Field(
        START,
        pattern=r"^(|0|newest|[1-9][0-9]{0,17}-[0-9a-f]{12})$",
        description="`next` of the answer before; 0 or empty: from the first message; newest: only "
        "tell `next`",
    )
    limit: int = Field(200, ge=1, le=1000, description="messages, at most")
    kind: list[Kind] = Field([], description="part, verdict, alarm; may be given again")
    station: Text = Field(None, description="name of the station")
    part: Number = Field(None, description="part id as given by the PLC")
    serial: Text = Field(None, description="part serial or lot as given by the PLC, whole")
    code: Code = Field(None, description="the code read from the part, whole")


class Messages(BaseModel):
    """Some messages, each as a webhook gets it."""

    messages: list[dict[str, Any]] = Field(
        description="oldest first; fields as in docs/how-to/upward.md"
    )
    next: str = Field(description="ask with it as `after` for what follows")
    more: bool = Field(description="true: ask on at once; false: that is all for now")
    unreadable: list[int] = Field(
        description="numbers of messages that cannot be told; see `inspection verify`"
    )


@router.get("")
def messages(
    request: Request,
    asked: Annotated[AskedMessages, Query()],
    person: Annotated[Person, Depends(Needs(Role.VIEWER, opens=Opens.READING))],
) -> Messages:
    """Give what stations told upward after a place, in order, without gaps and none twice.

    Only of stations with `upward` in their file. Verdicts are told to keys only: a person might have to judge
    without knowing the first one. 409 `other_store`: begin again with 0; the store was replaced. 409
    `plant_store`: it is told, it tells nothing; ask the pages of the station.
    """
    feed: Feed = request.app.state.feed
    if site_of(request).store.is_plant:
        raise HTTPException(409, "plant_store")
    if asked.after == "newest":
        return Messages(messages=[], next=feed.newest(), more=False, unreadable=[])
    may: set[str] = set(KINDS) if person.is_machine else set(KINDS) - {"verdict"}
    kinds = may & set(asked.kind) if asked.kind else may
    about = About(asked.station, kinds, asked.part, asked.serial, asked.code)
    try:
        page = feed.read(asked.after or START, asked.limit, about)
    except OtherStoreError:
        raise HTTPException(409, "other_store") from None
    said: list[dict[str, Any]] = []
    unreadable: list[int] = []
    for told in page.told:
        try:
            said.append(message_of(told).fields)
        except (ValueError, KeyError, TypeError):
            unreadable.append(told.id)
    return Messages(messages=said, next=page.next, more=page.more, unreadable=unreadable)
