"""Export of a search as CSV or XLSX, page by page.

A page is one short read; between pages the export rests, so that the line and other readers go first. Memory
does not grow with the number of rows. A file that did not come whole never looks so: the transfer is broken
off, and the CSV's last line says that it is not complete.
"""

from __future__ import annotations

import csv
import io
import logging
import re
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import aclosing, closing
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import anyio
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.types import Message, Send

from inspection.errors import InspectionError
from inspection.store.web import audit, search
from inspection.store.web.people import Person, Role
from inspection_serve.web.guard import Needs, site_of
from inspection_serve.web.pages import DECISION_TEXTS, language_of, page, texts_of
from inspection_serve.web.reasons import reason_text
from inspection_serve.web.results.asked import Asked
from inspection_serve.web.results.words import REVIEW_TEXTS, VERDICT_TEXTS
from inspection_serve.web.site import Site
from inspection_serve.web.texts import Language

PAGE = 2000
"""Rows of one read."""
INTERVAL = 0.1
"""Seconds from one read to the next, at least: ten pages a second."""
AT_ONCE = 2
"""Exports at the same time; the next is told to wait."""
RETRY = 30
"""Seconds after which a program may try again."""
STALLED = 60.0
"""Seconds for which a browser may take nothing of its download; then another one may have its place."""
PIECE = 16 << 10
"""Bytes that are sent at a time: a slow download must get on with each of them."""
SHEET = 1_048_575
"""Rows of one sheet of a workbook, beside its header."""
_LONGEST = 32_000
_FORMULA = re.compile(r"(^|;)(?=[=+\-@\t\r\n＝＋－＠])")
"""Where a spreadsheet would begin a formula; some countries' spreadsheets begin a cell after a semicolon."""
_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_log = logging.getLogger(__name__)
_free = threading.BoundedSemaphore(AT_ONCE)

router = APIRouter(prefix="/api/v1/results", tags=["results"])
Cell = str | int | float | None


class ExportAsked(Asked):
    """A search and the format of its file."""

    format: Literal["csv", "xlsx"] = "csv"


@router.get("/export", response_class=StreamingResponse)
def export(
    request: Request,
    asked: Annotated[ExportAsked, Query()],
    person: Annotated[Person, Depends(Needs(Role.VIEWER))],
) -> Response:
    """Download every part that a search finds. 429: two exports run already."""
    site, language = site_of(request), language_of(request)
    if not _free.acquire(blocking=False):
        return _busy(request)
    try:
        _note(site, person, "results.exported", asked)
    except BaseException:
        _free.release()
        raise
    job = Export(site, language, asked, person)
    name = f"results-{datetime.now().astimezone():%Y%m%d-%H%M%S}.{asked.format}"
    return Sending(
        _sent(job), headers={"Content-Disposition": f'attachment; filename="{name}"'},
        media_type=_TYPES[asked.format],
    )  # fmt: skip


def _busy(request: Request) -> Response:
    """Return what to do: as a page where a person pressed a button, else for a program."""
    code, text = "export_busy", texts_of(request)
    detail = text(
        "Two exports are running already. Wait until one of them has ended, then try again."
    )
    if "text/html" in request.headers.get("accept", ""):
        answer: Response = page(request, "problem.html", status=429, code=code, detail=detail)
    else:
        body = {"type": "about:blank", "status": 429, "code": code, "detail": detail}
        answer = JSONResponse(body, 429, media_type="application/problem+json")
    answer.headers["Retry-After"] = str(RETRY)
    return answer


class Sending(StreamingResponse):
    """A download that is broken off where nothing of it is taken for `STALLED` seconds."""

    async def stream_response(self, send: Send) -> None:
        """Send the whole, or break off: the file is then visibly not whole."""

        async def send_in_time(message: Message) -> None:
            with anyio.fail_after(STALLED):
                await send(message)

        async with aclosing(self.file):
            try:
                await super().stream_response(send_in_time)
            except TimeoutError:
                _log.warning(
                    "nothing of an export was taken for %g s: it is broken off, its place is free",
                    STALLED,
                )

    @property
    def file(self) -> AsyncGenerator[bytes, None]:
        """What is sent."""
        return cast("AsyncGenerator[bytes, None]", self.body_iterator)


async def _sent(job: Export) -> AsyncGenerator[bytes, None]:
    chunks = job.csv() if job.asked.format == "csv" else job.xlsx()
    try:
        async for chunk in iterate_in_threadpool(chunks):
            for start in range(0, max(len(chunk), 1), PIECE):
                yield chunk[start : start + PIECE]
    finally:
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(job.end, chunks)


def _note(site: Site, person: Person, action: str, asked: ExportAsked, **detail: object) -> None:
    with site.store.write("noting an export") as connection:
        audit.append(
            connection,
            person.name,
            action,
            "results",
            format=asked.format,
            asked=asked.plain(),
            **detail,
        )


class Export:
    """One file on its way."""

    def __init__(self, site: Site, language: Language, asked: ExportAsked, who: Person) -> None:
        self.site, self.language, self.asked, self.who = site, language, asked, who
        self.sent, self.whole = 0, False

    def pages(self) -> Iterator[list[dict[str, Any]]]:
        """Yield rows, newest first, with a rest after each read."""
        wanted, below = self.asked.search(), None
        rest = threading.Event()
        while True:
            started = time.monotonic()
            with self.site.store.read("an export") as connection:
                looked = search.look(connection, wanted, below=below, limit=PAGE)
                found = search.rows(connection, looked.records)
            yield found  # also when it is empty: a browser that went away ends this
            self.sent += len(found)
            below = looked.reached
            if len(looked.records) == PAGE:
                below = looked.records[-1]
            if below is None:
                return
            took = time.monotonic() - started
            rest.wait(max(INTERVAL - took, took / 2))

    def csv(self) -> Generator[bytes, None, None]:
        """Yield the file: UTF-8 with a byte order mark, RFC 4180."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\r\n")
        text.write("\ufeff")
        writer.writerow([_harmless(self.language.text(name)) for name, _ in COLUMNS])
        try:
            for found in self.pages():
                for row in found:
                    writer.writerow([_harmless(cell(row, self.language)) for _, cell in COLUMNS])
                yield _taken(text)
        except InspectionError as error:
            _log.error("an export broke off after %d rows: %s", self.sent, error)
            writer.writerow([self.language.text("NOT COMPLETE: the export broke off here.")])
            yield _taken(text)
            raise
        self.whole = True
        yield _taken(text)

    def xlsx(self) -> Generator[bytes, None, None]:
        """Yield the workbook once it is written; nothing of it when it cannot be."""
        folder = self.site.work / "exports"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            path = Path(place) / "results.xlsx"
            for _ in self._written(path):
                yield b""  # says nothing, and lets a browser that went away end this
            self.whole = True
            with path.open("rb") as file:
                while chunk := file.read(1 << 18):
                    yield chunk

    def _written(self, path: Path) -> Iterator[None]:
        from xlsxwriter import Workbook

        options = {
            "constant_memory": True, "tmpdir": str(path.parent), "strings_to_formulas": False,
            "strings_to_numbers": False, "strings_to_urls": False, "nan_inf_to_errors": True,
        }  # fmt: skip
        with closing(Workbook(str(path), options)) as book:
            book.use_zip64()
            sheet: Any = None
            line = SHEET + 1
            for found in self.pages():
                for row in found:
                    if line > SHEET:
                        sheet, line = self._sheet(book), 1
                    for place, (_, cell) in enumerate(COLUMNS):
                        _write(sheet, line, place, cell(row, self.language))
                    line += 1
                yield
            if sheet is None:
                self._sheet(book)

    def _sheet(self, book: Any) -> Any:
        sheet = book.add_worksheet()
        bold = book.add_format({"bold": True})
        for place, (name, _) in enumerate(COLUMNS):
            sheet.write_string(0, place, self.language.text(name), bold)
        sheet.freeze_panes(1, 0)
        return sheet

    def end(self, chunks: Generator[bytes, None, None]) -> None:
        """Let go of everything and note how it ended."""
        try:
            chunks.close()
            _note(
                self.site, self.who, "results.export_ended", self.asked,
                rows=self.sent, complete=self.whole,
            )  # fmt: skip
        except InspectionError as error:
            _log.error("the end of an export could not be noted: %s", error)
        finally:
            _free.release()


def _taken(text: io.StringIO) -> bytes:
    found = text.getvalue().encode("utf-8", "replace")
    text.seek(0)
    text.truncate()
    return found


def _harmless(cell: Cell) -> Cell:
    """Return a cell that a spreadsheet takes for text: a quote stands before what begins like a formula."""
    if isinstance(cell, str):
        cell = cell.replace("\x00", "")
        return _FORMULA.sub(r"\1'", cell)
    return cell


def _write(sheet: Any, line: int, place: int, cell: Cell) -> None:
    if isinstance(cell, str):
        sheet.write_string(line, place, cell[:_LONGEST])
    elif cell is not None:
        sheet.write_number(line, place, cell)


def _mark(message: str) -> str:
    """Mark a text for the catalogue where it is translated later."""
    return message


def _plain(name: str) -> Callable[[dict[str, Any], Language], Cell]:
    return lambda row, _language: row[name]


def _word(name: str, texts: dict[str, str]) -> Callable[[dict[str, Any], Language], Cell]:
    def cell(row: dict[str, Any], language: Language) -> Cell:
        code = row[name]
        return None if code is None else language.text(texts.get(code, code))

    return cell


def _local(row: dict[str, Any], _language: Language) -> Cell:
    moment = datetime.fromisoformat(row["triggered_at"]).astimezone()
    return moment.replace(tzinfo=None).isoformat(" ", "milliseconds")


def _reason(row: dict[str, Any], language: Language) -> Cell:
    return reason_text(language.text, row["reason"])


def _time(row: dict[str, Any], _language: Language) -> Cell:
    if row["decided_mono"] is None or row["decided_mono"] < row["triggered_mono"]:
        return None
    return round((row["decided_mono"] - row["triggered_mono"]) * 1e3, 1)


COLUMNS: tuple[tuple[str, Callable[[dict[str, Any], Language], Cell]], ...] = (
    (_mark("Record"), _plain("id")),
    (_mark("Triggered, local time"), _local),
    (_mark("Triggered, UTC"), _plain("triggered_at")),
    (_mark("Station"), _plain("station")),
    (_mark("Epoch"), _plain("epoch")),
    (_mark("Sequence"), _plain("sequence")),
    (_mark("Part id"), _plain("part_id")),
    (_mark("Lot or serial"), _plain("serial")),
    (_mark("Code on the part"), _plain("code")),
    (_mark("Recipe"), _plain("recipe_number")),
    (_mark("Part name"), _plain("part_name")),
    (_mark("Release"), _plain("release")),
    (_mark("Decision code"), _plain("decision")),
    (_mark("Decision"), _word("decision", DECISION_TEXTS)),
    (_mark("Reason code"), _plain("reason")),
    (_mark("Reason"), _reason),
    (_mark("Class"), _plain("defect_class")),
    (_mark("Score"), _plain("deciding_score")),
    (_mark("Findings counted"), _plain("over_t1")),
    (_mark("Milliseconds to the decision"), _time),
    (_mark("Review"), _word("review", REVIEW_TEXTS)),
    (_mark("Verdict"), _word("verdict", VERDICT_TEXTS)),
    (_mark("Picture"), _plain("image_state")),
)
"""Header and value of each column."""
