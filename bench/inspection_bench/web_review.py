"""Review: key press to next part painted, and the queue's SQL, with many results in the store.

    python -m inspection_bench.web_review --results 100000 --presses 60

It writes a store in a temporary folder, starts the pages as a process, judges parts in Debian's Chromium by
keys as an operator would, and prints percentiles in milliseconds, with the share of each stage:

    key ─▶ sent (30 ms of it: a scanner's next character may come) ─▶ saved ─▶ the next part painted
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from inspection_bench.checkout import tests_folder

sys.path.insert(0, str(tests_folder()))

from playwright.sync_api import expect, sync_playwright
from web_process import PASSWORD, WebProcess, add_people
from web_shift import bulk, write_shift

from inspection.store.config import StoreConfig
from inspection.store.database import make_engine
from inspection.store.tables import parts
from inspection.store.web import review_queue
from inspection.store.web.access import WebStore
from inspection.store.web.counting import Counting
from inspection.store.web.intake import Intake
from inspection.store.web.people import Person, Role
from inspection.store.web.review_queue import QueueFilter
from inspection.store.web.tallies import tally_step

STAGES = ("key to painted", "key to sent", "sent to saved", "saved to painted")
SETTLED = 6000
"""Milliseconds after which the process has done what it does once after its start."""
ALONE = 400
"""Milliseconds before and after a press in which the page is asked nothing: each look by a test tool takes
its main thread 15 ms, which no operator's browser has."""
FREE = '#review[data-phase="shown"][data-free="true"]'


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def percentiles(values: list[float]) -> str:
    """Return median, 95th percentile and maximum."""
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    middle = statistics.median(ordered)
    return f"median {middle:.1f}, p95 {p95:.1f}, max {ordered[-1]:.1f} ms (n={len(ordered)})"


def used(process: int) -> float:
    """Return the processor time of a process so far, seconds."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:13]) / os.sysconf("SC_CLK_TCK")


def fill(folder: Path, number: int) -> StoreConfig:
    """Write the store; every row shows one real picture."""
    config = write_shift(folder, 3)
    add_people(config)
    bulk(config, number)
    engine = make_engine(config)
    with engine.begin() as connection:
        one = connection.execute(sa.select(parts.c.images).where(parts.c.id == 3)).scalar()
        connection.execute(
            sa.update(parts).where(parts.c.image_state == "saved").values(images=one)
        )
    engine.dispose()
    return config


def queries(config: StoreConfig) -> None:
    """Measure what the queue asks of the store."""
    store = WebStore(config)
    start = time.perf_counter()
    taken = Intake(store).take_all()
    say(f"intake: {taken} reviews in {time.perf_counter() - start:.1f} s")
    counting = Counting(store)  # long done where a hundred thousand parts came one by one
    while counting.step(worth=0) or tally_step(store):
        pass
    person = Person(1, "kim", "Kim", Role.OPERATOR, "ko", False, {}, "", "", "")
    with store.read("a bench") as connection:
        ids = [
            row["record"]
            for row in review_queue.waiting(connection, QueueFilter(), person, limit=200)
        ]
        for name, wanted, options in (
            ("next, oldest first", QueueFilter(), {"after": ids[-1]}),
            ("next, rare class", QueueFilter(defect_class="none"), {}),
            ("next, most uncertain first", QueueFilter(), {"order": "uncertain"}),
        ):
            times: list[float] = []
            for _ in range(30):
                begin = time.perf_counter()
                review_queue.waiting(connection, wanted, person, limit=1, **options)
                times.append((time.perf_counter() - begin) * 1000)
            say(f"{name}: {percentiles(times)}")
        begin = time.perf_counter()
        review_queue.counts(connection, person)
        say(f"counts by state: {(time.perf_counter() - begin) * 1000:.1f} ms")
    store.close()


def presses(config: StoreConfig, folder: Path, number: int) -> None:
    """Judge parts by keys in a browser."""
    with WebProcess(config.url, log=folder / "web.log") as web, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1024, "height": 768}, locale="ko-KR")
        page.goto(web.address + "/sign-in")
        page.locator("input[name=name]").fill("operator")
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("main button.primary").click()
        page.wait_for_url(lambda url: "/sign-in" not in url)
        page.goto(web.address + "/review")
        expect(page.locator(FREE)).to_be_attached(timeout=30_000)
        page.wait_for_timeout(SETTLED)
        before = used(web.process.pid)
        for _ in range(number):
            free = page.locator(FREE)
            expect(free).to_be_attached(timeout=30_000)
            shown = free.get_attribute("data-painted")
            passed = "PASS" in (page.locator("#machine").get_attribute("class") or "")
            page.wait_for_timeout(ALONE)
            page.keyboard.press("o" if passed else "n")
            page.wait_for_timeout(ALONE)
            moved = page.locator(f'{FREE}:not([data-painted="{shown}"])')
            expect(moved).to_be_attached(timeout=30_000)
        worked = (used(web.process.pid) - before) / number * 1e3
        for stage in STAGES:
            found = page.evaluate(
                "(name) => performance.getEntriesByName(name).map(e => e.duration)", stage
            )
            say(f"{stage}: {percentiles(found)}")
        waits = page.evaluate(
            "() => performance.getEntriesByType('resource').filter(e => e.name.endsWith('/verdict'))"
            ".map(e => e.responseStart - e.requestStart)"
        )
        say(f"of it in the server and on the way: {percentiles(waits)}")
        say(
            f"processor time of the pages' process, with all that a part needs: {worked:.1f} ms a part"
        )
        say(f"load of the machine at the end {os.getloadavg()[0]:.1f}")
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=int, default=100_000)
    parser.add_argument("--presses", type=int, default=60)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = fill(folder, asked.results)
        say(f"{asked.results} results; load of the machine {os.getloadavg()[0]:.1f}")
        queries(config)
        presses(config, folder, asked.presses)


if __name__ == "__main__":
    main()
