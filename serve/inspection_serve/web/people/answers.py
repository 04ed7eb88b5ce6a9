"""What the API says of people, sessions, terminals and the audit."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from inspection.store.rows import Values
from inspection.store.web.machine_keys import KeyState, state_of
from inspection.store.web.people import Role

PLAIN = r"^[^\x00-\x1f\x7f]*$"
LoginName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,31}$"),
    Field(description="login name: 2 to 32 letters (a-z), digits, dots or dashes"),
]
ShownName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=PLAIN, strip_whitespace=True),
    Field(description="name on the pages"),
]
Pin = Annotated[
    str, StringConstraints(pattern=r"^[0-9]{4,8}$"), Field(description="PIN, 4 to 8 digits")
]
AnyPin = Annotated[
    str, StringConstraints(min_length=1, max_length=16), Field(description="PIN as typed")
]
TerminalName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=32, pattern=PLAIN, strip_whitespace=True),
    Field(description="name of the terminal, as `Line 1 left`"),
]


class Body(BaseModel):
    """A body of a request: nothing unknown in it."""

    model_config = ConfigDict(extra="forbid")


class Account(BaseModel):
    """A person who may sign in, or once could."""

    id: int
    name: str = Field(description="login name; stays for good, since the records name it")
    display: str = Field(description="name on the pages")
    role: Role
    language: str = Field(description="ko or en")
    active: bool = Field(description="false: may not sign in")
    must_change: bool = Field(description="must choose a new password first")
    has_pin: bool = Field(description="may change to themselves with a PIN at a trusted terminal")
    created_at: str = Field(description="UTC")

    @classmethod
    def of(cls, row: Values) -> Account:
        """Return a row of the store without what is secret."""
        return cls.model_validate({**row, "has_pin": row["pin"] is not None})


class NewAccount(Body):
    """A person to add."""

    name: LoginName
    display: ShownName
    role: Role = Field(description="what they may do")
    language: Literal["ko", "en"] = Field("ko", description="of their pages")


class AccountChange(Body):
    """What is to be changed; what is left out or null stays."""

    display: ShownName | None = None
    role: Role | None = Field(None, description="what they may do")
    language: Literal["ko", "en"] | None = Field(None, description="of their pages")
    active: bool | None = Field(None, description="false: they may not sign in, sessions end")


class Temporary(BaseModel):
    """A person with a password that is shown once."""

    account: Account
    password: str = Field(description="works once: they must choose their own")


class SessionRow(BaseModel):
    """A place where a person is signed in."""

    key: str = Field(description="names the session; it is not its token")
    terminal: str = Field(description="name of the trusted terminal; empty for any other place")
    started_at: str = Field(description="UTC")
    seen_at: str = Field(description="last used, UTC, to the minute")
    ends_at: str = Field(description="ends then in any case, UTC")
    is_this: bool = Field(description="the one that asks")


class Me(BaseModel):
    """Who asks."""

    name: str = Field(description="login name")
    display: str = Field(description="name on the pages")
    role: Role
    language: str = Field(description="ko or en")
    terminal: str = Field(description="trusted terminal they sit at; may be empty")
    has_pin: bool = Field(description="they have set a PIN")
    sessions: list[SessionRow] = Field(description="newest first")


class NewPin(Body):
    """A new PIN; the password shows that it is you."""

    pin: Pin
    password: str = Field(max_length=1024, description="your password")


class Terminal(BaseModel):
    """A trusted terminal."""

    name: str
    trusted_by: str = Field(description="login name of who trusted it")
    at: str = Field(description="since, UTC")


class NewTerminal(Body):
    """Name of the browser that asks."""

    name: TerminalName


class QuickPerson(BaseModel):
    """Somebody who may change to themselves with a PIN."""

    name: str = Field(description="login name")
    display: str = Field(description="name on the pages")
    role: Role


class Quick(BaseModel):
    """Who can be changed to at this terminal."""

    terminal: str = Field(description="name of this terminal")
    people: list[QuickPerson] = Field(description="by name on the pages")


class QuickChange(Body):
    """Who takes over."""

    name: LoginName
    pin: AnyPin


class Key(BaseModel):
    """A key of a machine, without the key itself."""

    id: int
    name: str = Field(description="as in the audit; stays for good")
    state: KeyState = Field(description="active: it works; ended: its last day is over; revoked")
    pictures: bool = Field(description="it may read pictures of parts, too")
    made_by: str = Field(description="login name")
    made_at: str = Field(description="UTC")
    ends_at: str | None = Field(description="UTC, works no longer from then on; null: no end")
    used_at: str | None = Field(description="last used, UTC, to the minute; null: never")
    revoked_by: str | None = Field(description="login name; null: it is not revoked")
    revoked_at: str | None = Field(description="UTC")

    @classmethod
    def of(cls, row: Values) -> Key:
        """Return a row of the store without what is secret."""
        return cls.model_validate({**row, "state": state_of(row)})


class NewKey(Body):
    """A key to make."""

    name: LoginName = Field(
        description="what uses it, as `mes`: 2 to 32 letters (a-z), digits, dots or dashes"
    )
    pictures: bool = Field(False, description="it may read pictures of parts, too")
    last_day: date | None = Field(
        None, description="last day on which it works, in the station's calendar; null: no end"
    )


class MadeKey(BaseModel):
    """A new key, shown once."""

    key: Key
    secret: str = Field(description="the key itself: it is kept nowhere and never shown again")


class AuditRow(BaseModel):
    """What somebody did."""

    id: int
    at: str = Field(description="UTC")
    who: str = Field(description="login name; `system` for what no person did")
    action: str = Field(description="code, as in docs/audit.md")
    subject: str = Field(description="what it was done to, as `part:8812`")
    detail: dict[str, Any] = Field(description="plain values")
    sha256: str = Field(description="seal of the row")


class AuditPage(BaseModel):
    """Rows of the audit."""

    rows: list[AuditRow] = Field(description="newest first")
    below: int | None = Field(description="ask with it for the next page; null: this is the last")
    number: int = Field(description="rows of the whole chain")
    head: str = Field(description="seal of the newest row: note it elsewhere")


class Chain(BaseModel):
    """State of the chain."""

    number: int = Field(description="rows checked")
    head: str = Field(description="seal of the newest row")
    is_whole: bool = Field(description="every row follows the one before, unaltered")
    is_protected: bool = Field(description="the database refuses to change or delete a row")
    breaches: list[str] = Field(description="the first places where it is broken")
