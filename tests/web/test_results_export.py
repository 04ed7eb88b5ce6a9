"""Exports of results: harmless in a spreadsheet, whole or visibly broken; and hostile searches."""

from __future__ import annotations

import csv
import http.client
import io
import json
import re
import zipfile
from collections.abc import AsyncGenerator, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import anyio
import pytest
import sqlalchemy as sa
from playwright.sync_api import expect
from web_process import PASSWORD, WebProcess, add_people
from web_shift import bulk, write_shift

from inspection.store.config import StoreConfig
from inspection.store.database import make_engine
from inspection.store.tables import parts
from inspection.store.web import audit
from inspection.store.web.access import WebStore
from inspection_serve.web.results import export

HOSTILE = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "＝1+1",
    "＠SUM(A1)",
    "a;=1+1",
    '<img src=x onerror="1">',
    'a"b,c\r\nd',
    "'; DROP--",
]

SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
FORMULA = re.compile(r"(^|;)[=+\-@\t\r\n＝＋－＠]")
"""Where spreadsheets begin a formula."""


def harmless(text: str) -> str:
    """Return how a text stands in a CSV."""
    if text == "a;=1+1":
        return "a;'=1+1"
    return f"'{text}" if text[0] in "=+-@\t\r＝＠" else text


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> StoreConfig:
    """The shift, with hostile serials and classes."""
    config = write_shift(tmp_path_factory.mktemp("hostile"))
    add_people(config)
    engine = make_engine(config)
    with engine.connect() as connection, connection.begin():
        for record, text in enumerate(HOSTILE, start=1):
            change = sa.update(parts).where(parts.c.id == record)
            connection.execute(change.values(serial=text, detail=text))
        change = sa.update(parts).where(parts.c.id == 3)
        connection.execute(change.values(defect_class="<script>alert(1)</script>"))
    engine.dispose()
    return config


def api(visitor: Any, path: str) -> Any:
    return visitor.context.request.get(visitor.address + path)


def test_a_csv_is_harmless_and_whole(visit: Callable[..., Any], shop: StoreConfig) -> None:
    visitor = visit(language="ko")
    visitor.sign_in("viewer")
    answer = api(visitor, "/api/v1/results/export?format=csv")
    assert answer.status == 200
    name = answer.headers["content-disposition"]
    assert re.fullmatch(r'attachment; filename="results-\d{8}-\d{6}\.csv"', name)
    body = answer.body()
    assert body.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline="")))
    assert len(rows) == 25
    assert rows[0][0] == "기록 번호"
    by_id = {int(row[0]): row for row in rows[1:]}
    assert list(by_id) == sorted(by_id, reverse=True)
    for record, text in enumerate(HOSTILE, start=1):
        cell = by_id[record][7]
        assert cell == harmless(text)
        assert not FORMULA.search(cell)
    with_store = WebStore(shop)
    with with_store.read("audit") as connection:
        done = [row["action"] for row in audit.rows(connection, subject="results")]
    with_store.close()
    assert done[:2] == ["results.export_ended", "results.exported"]


def test_a_workbook_has_text_as_text_and_numbers_as_numbers(visit: Callable[..., Any]) -> None:
    visitor = visit()
    visitor.sign_in("viewer")
    answer = api(visitor, "/api/v1/results/export?format=xlsx")
    with zipfile.ZipFile(io.BytesIO(answer.body())) as book:
        assert book.testzip() is None
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
        assert not any("hyperlink" in name for name in book.namelist())
    assert "<f>" not in sheet
    assert "<v>1024</v>" in sheet
    cells = ElementTree.fromstring(sheet).iter(f"{SHEET}c")
    rows = [c for c in cells if c.get("t") == "inlineStr"]
    texts = ["".join(part.text or "" for part in c.iter(f"{SHEET}t")) for c in rows]
    for text in HOSTILE:  # kept as text, never as a formula; an end of line is one in XML
        assert text.replace("\r\n", "\n").replace("\r", "\n") in [
            t.replace("_x000D_", "\r").replace("\r\n", "\n").replace("\r", "\n") for t in texts
        ], text
    assert sheet.count("<row ") == 25


def test_two_exports_at_once_and_no_more(visit: Callable[..., Any], tmp_path: Path) -> None:
    config = write_shift(tmp_path, 2)
    add_people(config)
    bulk(config, 30_000)
    with WebProcess(config.url, log=tmp_path / "web.log") as web:
        visitor = visit(address=web.address)
        visitor.expected = ["ERR_"]
        visitor.sign_in("viewer")
        session = "; ".join(f"{c['name']}={c['value']}" for c in visitor.context.cookies())
        links = [http.client.HTTPConnection(web.address.removeprefix("http://")) for _ in range(3)]
        answers = []
        for link in links:
            link.request("GET", "/api/v1/results/export?format=csv", headers={"Cookie": session})
            answers.append(link.getresponse())
        assert [answer.status for answer in answers] == [200, 200, 429]
        told = json.loads(answers[2].read())
        assert told["code"] == "export_busy"
        assert "Wait until one of them has ended" in told["detail"]
        assert int(answers[2].getheader("Retry-After") or 0) > 0
        assert len(answers[0].read(4000)) == 4000
        web.kill()  # while it sends: what came must not look whole
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answers[0].read()
        for link in links:
            link.close()


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("since=yesterday", 422), ("until=2026-13-45", 422), ("part=-1", 422), ("part=4294967296", 422),
        ("part=1e3", 422), ("below=0", 422), ("below=1099511627776", 422), ("below=999", 400),
        ("limit=0", 422), ("limit=100000", 422), ("decision=OK", 422), ("reason=%27", 422),
        ("review=all", 422), ("verdict=x", 422), ("station=%00", 422), ("serial=" + "x" * 65, 422),
        ("serial=%27%20OR%201%3D1--", 200), ("station=%25", 200), ("serial=_", 200), ("serial=%", 200),
        ("release=../../etc", 200), ("defect_class=<script>", 200), ("until=9999-12-31", 200),
    ],
)  # fmt: skip
def test_a_hostile_search_finds_nothing_and_says_so(
    visit: Callable[..., Any], query: str, status: int
) -> None:
    visitor = visit()
    visitor.expected = ["400", "422"]
    visitor.sign_in("viewer")
    answer = api(visitor, f"/api/v1/results?{query}")
    assert answer.status == status
    if status == 200 and not query.startswith("until"):
        assert answer.json()["parts"] == []
    page = visitor.go(f"/results?{query}")
    expect(page.locator("h1")).to_be_visible()


@pytest.mark.parametrize("record", ["0", "-1", "999", str(2**40), "x", "1%20or%201=1"])
def test_a_part_that_is_not(visit: Callable[..., Any], record: str) -> None:
    visitor = visit()
    visitor.sign_in("viewer")
    assert api(visitor, f"/api/v1/results/{record}").status in {404, 422}


def test_hostile_texts_stay_texts(visit: Callable[..., Any]) -> None:
    visitor = visit()
    visitor.sign_in("engineer")
    page = visitor.go("/results")
    expect(page.locator("#found tbody tr")).to_have_count(24)
    expect(page.locator("#found")).to_contain_text('<img src=x onerror="1">')
    for record in range(1, 10):
        page = visitor.go(f"/results/{record}")
        expect(page.locator("h1")).to_be_visible()


def test_a_picture_that_is_gone_says_so(visit: Callable[..., Any], shop: StoreConfig) -> None:
    visitor = visit()
    visitor.expected = ["404"]
    visitor.sign_in("viewer")
    for image in api(visitor, "/api/v1/results/5").json()["part"]["images"]:
        (shop.images.folder / image["path"]).unlink()
    page = visitor.go("/results/5")
    expect(page.locator(".lost")).to_be_visible()


def test_nobody_reads_without_signing_in(web: WebProcess) -> None:
    assert PASSWORD
    link = http.client.HTTPConnection(web.address.removeprefix("http://"))
    for path in (
        "/api/v1/results",
        "/api/v1/results/1",
        "/api/v1/results/export",
        "/api/v1/results/sorting",
    ):
        link.request("GET", path)
        answer = link.getresponse()
        answer.read()
        assert answer.status == 401
    link.close()


def test_a_download_that_stands_still_gives_its_place_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(export, "STALLED", 0.05)
    ended: list[str] = []

    async def file() -> AsyncGenerator[bytes, None]:
        try:
            yield b"first"
            yield b"second"
        finally:
            ended.append("closed")

    async def download() -> None:
        sent: list[object] = []

        async def send(message: MutableMapping[str, object]) -> None:
            if message.get("body") == b"second":
                await anyio.sleep_forever()  # as where a browser was told to pause
            sent.append(message.get("body"))

        await export.Sending(file()).stream_response(send)
        assert sent == [None, b"first"], "what came does not look whole"

    with ThreadPoolExecutor(1) as thread:  # a browser's loop may run in this one
        thread.submit(anyio.run, download).result(60)
    assert ended == ["closed"]
    assert "nothing of an export was taken" in caplog.text
