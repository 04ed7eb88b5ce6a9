"""What the review page and the quality page ask of the store, among more and more results.

    parts and reviews, made by the database ─▶ counted, as the pages' thread does
      ─▶ each query in each store, in turns ─▶ p50, p95 ─▶ how many times slower among the most

More results are more days: `RATE` a day, so 10^5 are a month, and 10^7 more than eight years; every page
looks at the latest ones. With `days` all results are of the same days instead: more stations, not more
years. A queue that people work off does not grow with the years: of all but the newest `RECENT` parts
every review is judged, so from 10^5 results on as many parts wait. A store that is there is used again.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from inspection.errors import StoreError
from inspection.store.config import StoreConfig
from inspection.store.tables import parts
from inspection.store.web import counts, review, review_queue, settings
from inspection.store.web.access import WebStore
from inspection.store.web.people import Person, Role
from inspection.store.web.review_queue import QueueFilter
from inspection.store.web.tables import reviews
from inspection_bench.checkout import tests_folder
from inspection_bench.measured import Findings, Ratio, quantile

if TYPE_CHECKING:
    from inspection_bench.scale import ScalePlan
    from inspection_serve.web.quality.period import Span

RATE = 100_000 / 30
"""Results of a day."""
RECENT = 100_000
"""Newest parts, of which some still wait for a person."""
BASE = 100_000
"""Results to which the promise compares more of them."""
AT_MOST = 2.0
"""Times slower that a query may be among the most results."""
PERSON = Person(1, "kim", "Kim", Role.OPERATOR, "ko", False, {}, "", "", "")
Query = Callable[[], Any]


def measure_rows(findings: Findings, folder: Path, plan: ScalePlan) -> None:
    """Add a row for each query with its times among each number of results, and the promised ratios.

    Raises:
        ConfigError: this is no checkout of the repository.
    """
    tests_folder()
    with contextlib.ExitStack() as stack:
        asked: dict[int, dict[str, Query]] = {}
        for number, config in _stores(stack, folder, plan):
            store = WebStore(config)
            stack.callback(store.close)
            asked[number] = queries(store)
        seconds = _take_turns(asked, plan.times)
    for name, by_size in seconds.items():
        at = {number: _times(took) for number, took in by_size.items()}
        heading = "queries of the pages, by results in the store: p50 (p95) ms"
        row: dict[str, Any] = {"table": heading, "part": "results", "name": name, "at": at}
        told = {f"{n:,}": f"{t['p50_ms']:.2f} ({t['p95_ms']:.2f})" for n, t in at.items()}
        findings.rows.append({**row, **told})
        compare_sizes(findings, name, {n: t["p50_ms"] for n, t in at.items()})


def _times(took: list[tuple[float, float]]) -> dict[str, float]:
    """Return p50 and p95 of a query, and p50 of its processor time, milliseconds."""
    whole, own = [one for one, _ in took], [one for _, one in took]
    return {
        "p50_ms": round(1000 * quantile(whole, 0.5), 3),
        "p95_ms": round(1000 * quantile(whole, 0.95), 3),
        "cpu_p50_ms": round(1000 * quantile(own, 0.5), 3),
    }


def compare_sizes(findings: Findings, name: str, p50: dict[int, float]) -> None:
    """Add how many times slower a query is among the most results than among `BASE`, or the fewest.

    Args:
        findings: gets the ratio, with the promise where `BASE` was measured.
        name: of the query.
        p50: by number of results; milliseconds.
    """
    most = max(p50)
    least = BASE if BASE in p50 else min(p50)
    if most == least:
        return
    wanted = AT_MOST if least == BASE else None  # nothing is promised of fewer
    what = f"p50, {name}: {most:,} results / {least:,}"
    findings.ratios.append(Ratio(what, round(p50[most] / p50[least], 2), wanted, at_most=True))


def _stores(
    stack: contextlib.ExitStack, folder: Path, plan: ScalePlan
) -> Iterator[tuple[int, StoreConfig]]:
    """Yield each number of results with its store; one that is not there is made."""
    from inspection_bench.web_quality import count, fill

    server = None
    if plan.postgres:
        from postgres_server import PostgresServer  # of the tests, whose folder is on the path now

        server = PostgresServer()
        stack.callback(server.close)
    for number in plan.rows:
        days = plan.days or number / RATE
        own = folder / f"results-{number}-{days:g}"
        own.mkdir(parents=True, exist_ok=True)
        done = own / "done"
        url = "results.db" if server is None else server.url(f"results{number}")
        config = StoreConfig(url=url).beside(own)
        if server is not None or not done.exists():
            begun = time.monotonic()
            for file in own.glob("results.db*"):
                file.unlink()
            with contextlib.redirect_stdout(sys.stderr):
                fill(config, number, max(0, number - RECENT), days)
                count(config)
            took = time.monotonic() - begun
            print(f"{number:,} results made in {took:.0f} s", file=sys.stderr, flush=True)
            if server is None:
                done.touch()
        yield number, config


def queries(store: WebStore) -> dict[str, Query]:
    """Return what the pages ask, by name; each asks as its page does, in one look at the store."""
    with store.read("a bench") as connection:
        newest = sa.select(parts.c.id, parts.c.triggered_at, parts.c.serial)
        record, at, serial = connection.execute(newest.order_by(parts.c.id.desc()).limit(1)).one()
        # in review, and not of the newest
        old = int(connection.execute(sa.select(sa.func.max(reviews.c.record))
                                     .where(reviews.c.record <= record // 2)).scalar() or record)  # fmt: skip
    return {**_of_review(store, old, serial), **_of_quality(store, at)}


def _of_review(store: WebStore, record: int, serial: str) -> dict[str, Query]:
    """Return the queries of the review page: see `inspection_serve.web.review`."""
    wanted = QueueFilter()

    def look(ask: Callable[[sa.Connection], Any]) -> Query:
        def once() -> Any:
            with store.read("a bench") as connection:
                return ask(connection)

        return once

    def left(connection: sa.Connection) -> Any:
        return review_queue.left(connection, wanted, PERSON)

    def page(connection: sa.Connection) -> Any:
        found = review_queue.waiting(connection, wanted, PERSON)
        settings.read(connection, "classes.names", {})
        return found, left(connection), review_queue.choices(connection, PERSON)

    def queue(connection: sa.Connection) -> Any:
        found = review_queue.waiting(connection, wanted, PERSON)
        counted = review_queue.counts(connection, PERSON)
        return found, left(connection), counted, review_queue.newest(connection)

    def uncertain(connection: sa.Connection) -> Any:
        return review_queue.waiting(connection, wanted, PERSON, order="uncertain")

    def news(connection: sa.Connection) -> Any:
        return (
            review_queue.came(connection, wanted, PERSON, review_queue.newest(connection) - 100),
            left(connection),
            review_queue.counts(connection, PERSON),
            review_queue.state_of(connection, record),
            review_queue.strip(connection, "st1"),
        )

    def part(connection: sa.Connection) -> Any:
        found = review.find_review(connection, record)
        if found is None:
            raise StoreError(f"part {record} is not in review; remove the store and run again")
        said = review.history(connection, record, found[0], PERSON)
        return found, said, review_queue.classes_of(connection, found[1]["part_name"])

    def scanned(connection: sa.Connection) -> Any:
        return review_queue.scanned(connection, serial)

    asked = {
        "the page": page, "the queue": queue, "most uncertain first": uncertain, "news": news,
        "a part": part, "a scanned serial": scanned,
    }  # fmt: skip
    return {f"review: {name}": look(ask) for name, ask in asked.items()}


def _of_quality(store: WebStore, at: str) -> dict[str, Query]:
    """Return the queries of the quality page, up to the newest part: see `inspection_serve.web.quality`."""
    from inspection_serve.web.quality.period import DEFAULT_SHIFTS, choose_period, read_shifts
    from inspection_serve.web.quality.positions import find_positions
    from inspection_serve.web.quality.summary import summarise

    now, shifts = datetime.fromisoformat(at).astimezone(), read_shifts(DEFAULT_SHIFTS)

    def page(span: Span, **chosen: Any) -> Query:
        period = choose_period(span, None, None, None, shifts, now)
        wanted = counts.Wanted(period.since, period.until, **chosen)

        def once() -> Any:
            found = summarise(store, period, wanted, "fail", "laney")
            with store.read("a bench") as connection:
                return found, counts.choices(connection)

        return once

    week = choose_period("week", None, None, None, shifts, now)
    wanted = counts.Wanted(week.since, week.until)
    return {
        "quality: a day": page("day"),
        "quality: a week": page("week"),
        "quality: a month": page("month"),
        "quality: a month of a station": page("month", station="st1"),
        "quality: places of defects, a week": lambda: find_positions(store, wanted),
    }


def _take_turns(
    asked: dict[int, dict[str, Query]], times: int
) -> dict[str, dict[int, list[tuple[float, float]]]]:
    """Ask each query so many times in each store, in turns; the first one does not count.

    Returns:
        By query and number of results: seconds of each time, and the processor time of this thread, which
        other work on the PC does not lengthen. A PostgreSQL server's is not in it.
    """
    found: dict[str, dict[int, list[tuple[float, float]]]] = {}
    for name in next(iter(asked.values())):
        found[name] = {number: [] for number in asked}
        for turn in range(times + 1):
            for number in asked if turn % 2 else reversed(asked):
                begun, worked = time.perf_counter(), time.thread_time()
                asked[number][name]()
                took = time.perf_counter() - begun, time.thread_time() - worked
                found[name][number] += [took] if turn else []
        print(f"{name}, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    return found
