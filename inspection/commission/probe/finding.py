"""What the probe found: codes and values; sentences.py makes the words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        code: what was found; a key of the tables in sentences.py.
        state: ok, warn (it runs, but…) or fail.
        values: for the sentence.
    """

    code: str
    state: State = "ok"
    values: dict[str, object] = field(default_factory=dict[str, object])


class WrongError(Exception):
    """A step ended with something wrong; the probe goes no further.

    Attributes:
        finding: what was wrong.
    """

    def __init__(self, code: str, **values: object) -> None:
        super().__init__(code)
        self.finding = Finding(code, "fail", values)
