"""CSV drop: files in a folder, for systems that collect files.

    some rows, or some time ─▶ .NAME.csv.part ─▶ fsync ─▶ NAME.csv

Rows that are not in a finished file are still in the outbox: a full disk or a kill loses none. NAME says the
destination, when the outbox began, and the number of the file's first message. A finished file is never
replaced: the same rows again after a kill are left as they are; other rows get a name with -2, -3 and so on.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from inspection_serve.upward.destination import Chosen
from inspection_serve.upward.link import KINDS, AwayError
from inspection_serve.upward.messages import COLUMNS, Message
from inspection_serve.upward.state import StationState

_FORMULA = re.compile(r"(^|;)(?=[=+\-@\t\r\n＝＋－＠])")
"""Where a spreadsheet would begin a formula; the same rule as in the export of results."""


class CsvConfig(Chosen):
    """A folder that takes CSV files (UTF-8 with BOM), one for each kind; a finished file is never changed."""

    PATHS: ClassVar[tuple[str, ...]] = ("folder",)

    type: Literal["csv"] = "csv"
    alarm_after: float = Field(
        600.0,
        ge=1,
        le=604800,
        description="seconds, after its file was due, a message may wait before people are told",
    )
    alarm_behind: int = Field(
        5000,
        ge=100,
        le=5000,
        description="messages, above those of one file, that may wait before people are told",
    )
    folder: Path = Field(description="folder for the files; it must exist")
    rows: int = Field(500, ge=1, le=5000, description="messages of one file, at most")
    seconds: float = Field(
        3600.0, ge=1, le=604800, description="seconds after which a file is written with fewer"
    )

    @property
    def batch(self) -> int:
        """Messages of one file."""
        return self.rows

    @property
    def every(self) -> float:
        """Seconds to wait for a full file."""
        return self.seconds

    @property
    def patience(self) -> float:
        """Seconds that a message may wait before people are to be told."""
        return self.seconds + self.alarm_after

    @property
    def behind(self) -> int:
        """Messages that may wait before people are to be told."""
        return self.rows + self.alarm_behind

    def open(self, station: str) -> CsvLink:
        """Return the link; the folder is looked at when something is written."""
        return CsvLink(self, station)


class CsvLink:
    """Writes files. Satisfies `link.Link`."""

    def __init__(self, config: CsvConfig, station: str) -> None:
        self._folder, self._station, self._name = config.folder, station, config.name

    def send(self, messages: Sequence[Message]) -> None:
        """See `link.Link`: one file for each kind that is among them."""
        for kind in KINDS:
            of_kind = [message for message in messages if message.kind == kind]
            if of_kind:
                self._write(kind, of_kind)

    def keep(self, state: StationState) -> None:
        """See `link.Link`: a folder needs no keeping."""

    def close(self) -> None:
        """See `link.Link`."""

    def _write(self, kind: str, messages: list[Message]) -> None:
        since = re.sub(r"\D", "", messages[0].since)[:20] or "0"
        name = f"{self._station}_{kind}_{self._name}_{since}_{messages[0].number:012d}"
        part, text = self._folder / f".{name}.csv.part", text_of(kind, messages)
        try:
            target = self._free(name, text)
            if target is None:
                return
            with part.open("wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            part.rename(target)
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            with suppress(OSError):  # it is written anew at the next attempt
                part.unlink(missing_ok=True)
            raise AwayError(f"{self._folder / name}.csv cannot be written: {error}") from error

    def _free(self, name: str, text: bytes) -> Path | None:
        """Return the first name that no finished file has; None: a finished file says just this."""
        for number in itertools.count(1):
            target = self._folder / (f"{name}.csv" if number == 1 else f"{name}-{number}.csv")
            try:
                if target.read_bytes() == text:
                    return None
            except FileNotFoundError:
                return target
        raise AssertionError


def text_of(kind: str, messages: Sequence[Message]) -> bytes:
    """Return a whole file."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS[kind])
    for message in messages:
        writer.writerow([_cell(message.fields[name]) for name in COLUMNS[kind]])
    return b"\xef\xbb\xbf" + text.getvalue().encode("utf-8", "replace")


def _cell(value: Any) -> str | int | float:
    """Return what stands in the file; no text is read as a formula by a spreadsheet."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return _FORMULA.sub(r"\1'", text.replace("\x00", ""))
