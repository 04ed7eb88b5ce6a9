"""How long a search of the results takes in a large store, how long an export, and what a row costs the line.

    a million parts, made by the database ─▶ each search 20 times ─▶ p50, p95, longest
                                          ├▶ an export of everything ─▶ rows a second, memory
                                          └▶ a part's life, one by one ─▶ milliseconds of a part

    python -m inspection_bench.web_results FOLDER [--rows 1000000] [--postgres] [--export]

With `--postgres` a server is started as the tests do, in a temporary folder.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import sqlalchemy as sa

from inspection.store.config import StoreConfig
from inspection.store.database import make_engine
from inspection.store.sql import SqlStore
from inspection.store.tables import parts
from inspection.store.web import search
from inspection.store.web.access import WebStore
from inspection.store.web.search import Search
from inspection_bench.checkout import tests_folder

sys.path.insert(0, str(tests_folder()))
TIMES = 20
MADE = """
INSERT INTO parts (id, station, epoch, sequence, state, part_id, serial, recipe_number, recipe_sha256,
 part_name, release_number, release, model_sha256, decision, reason, reasons, detail, deciding_class,
 deciding_score, defect_class, over_t1, detections, timings, frame_id, frame_mono, camera, source, simulated,
 triggered_mono, triggered_at, deadline_mono, decided_mono, decided_at, committed_mono, sent_mono, sent_at,
 acknowledged_mono, acknowledged_at, image_state)
SELECT n, 'st' || (n % 3 + 1), n / 60000 + 1, n % 60000 + 1, 'acknowledged',
 CASE WHEN n BETWEEN 200001 AND 260000 THEN 5 WHEN n % 5 = 0 THEN 6 ELSE 100000 + n END,
 CASE WHEN n % 300 = 0 THEN 'RW' || n WHEN n BETWEEN 100001 AND 170000 THEN 'OLD' || n
 WHEN n > 500000 THEN 'SN' || n ELSE {lot} END, n % 4 + 1, '{sha}', 'plate', 1,
 CASE WHEN d = 'NOT_INSPECTED' THEN NULL ELSE 'plate/' || (n / 200000 + 1) END,
 CASE WHEN d = 'NOT_INSPECTED' THEN NULL ELSE '{sha}' END, d,
 CASE d WHEN 'PASS' THEN 'NONE' WHEN 'FAIL' THEN 'DEFECT' WHEN 'REVIEW' THEN 'BORDERLINE' ELSE 'DEADLINE' END,
 '[]', '', 0, 0.5, CASE WHEN n % 50000 = 48 THEN 'rare'
 WHEN d IN ('FAIL', 'REVIEW') THEN 'class' || (n % 7) END, 0,
 CASE WHEN d = 'NOT_INSPECTED' THEN NULL ELSE {found} END, {timings},
 n, n * 0.3 + 0.01, 'top', '', {false}, n * 0.3, {at}, n * 0.3 + 1, n * 0.3 + 0.1, {at},
 n * 0.3 + 0.1, n * 0.3 + 0.1, {at}, n * 0.3 + 0.15, {at}, 'saved'
FROM (SELECT n, CASE WHEN n % 100 * 79 % 100 >= 99 THEN 'NOT_INSPECTED'
 WHEN n % 100 * 79 % 100 >= 97 THEN 'REVIEW'
 WHEN n % 100 * 79 % 100 >= 92 THEN 'FAIL' ELSE 'PASS' END AS d FROM {numbers}) made
"""
REVIEWS = """
INSERT INTO reviews (record, state, why, probability, version, verdict, who, station, part_name,
 recipe_number, release, decision, reason, defect_class, score, triggered_at, changed_at)
SELECT id, CASE WHEN id % 10 = 0 THEN 'open' ELSE 'done' END, 'x', 1.0, 1,
 CASE WHEN id % 10 = 0 THEN NULL WHEN id % 7 = 0 THEN 'false_call' ELSE 'real_defect' END, 'kim', station,
 part_name, recipe_number, release, decision, reason, defect_class, deciding_score, triggered_at, triggered_at
FROM parts WHERE decision <> 'PASS' OR id % 50 = 0
"""
SEARCHES = {
    "anything": Search(),
    "a class": Search(defect_class="class3"),
    "a class of twenty parts": Search(defect_class="rare"),
    "a class that is not": Search(defect_class="none"),
    "the commonest decision": Search(decision="PASS"),
    "a decision": Search(decision="FAIL"),
    "the rarest decision": Search(decision="NOT_INSPECTED"),
    "a reason": Search(reason="DEADLINE"),
    "a station": Search(station="st2"),
    "decision, class, release, station": Search(
        decision="FAIL", defect_class="class3", release="plate/2", station="st1"
    ),
    "a combination that is not": Search(decision="PASS", reason="DEADLINE"),
    "an old release": Search(release="plate/1"),
    "old rows of a class": Search(defect_class="class3", until="2026-01-10"),
    "a wide range and a recipe that is not": Search(recipe_number=9, since="2026-01-01"),
    "a short range": Search(since="2026-02-01", until="2026-02-01T00:10"),
    "a range without parts": Search(since="2030-01-01"),
    "a range and a decision": Search(since="2026-01-05", until="2026-03-01", decision="REVIEW"),
    "a serial": Search(serial="SN700007"),
    "a lot": Search(serial="LOT00007"),
    "a serial that is not": Search(serial="none"),
    "serials of many": Search(serial="LOT000"),
    "serials of many and a decision": Search(serial="LOT", decision="FAIL"),
    "serials of half, a recipe that is not": Search(serial="SN", recipe_number=9),
    "serials of half, a rare class": Search(serial="SN", defect_class="rare"),
    "old lots, a class": Search(serial="LOT000", defect_class="class3"),
    "70,000 old serials": Search(serial="OLD"),
    "70,000 old serials and a decision": Search(serial="OLD", decision="NOT_INSPECTED"),
    "3,333 serials everywhere": Search(serial="RW"),
    "3,333 serials and a decision none has": Search(serial="RW", decision="FAIL"),
    "3,333 serials and most of all": Search(serial="RW", decision="PASS"),
    "a part id": Search(part_id=600_123),
    "a part id of 60,000 old parts": Search(part_id=5),
    "that id and a rare class": Search(part_id=5, defect_class="rare"),
    "that id and a decision": Search(part_id=5, decision="REVIEW"),
    "a part id of every fifth part": Search(part_id=6),
    "that id and an old release": Search(part_id=6, release="plate/1"),
    "a part id that is not": Search(part_id=7),
    "waiting for a person": Search(review="waiting"),
    "waiting, an old release": Search(review="waiting", release="plate/1"),
    "judged": Search(review="done"),
    "judged, a class": Search(review="done", defect_class="class3"),
    "judged, a rare class": Search(review="done", defect_class="rare"),
    "judged, a serial": Search(review="done", serial="SN7000"),
    "nobody asked": Search(review="none"),
    "nobody asked, a decision": Search(review="none", decision="FAIL"),
    "nobody asked, the commonest": Search(review="none", decision="PASS"),
    "nobody asked, old lots": Search(review="none", serial="LOT000"),
    "a verdict": Search(verdict="false_call"),
    "a verdict, a passed part": Search(verdict="false_call", decision="PASS"),
    "a verdict that is not": Search(verdict="missed"),
    "a verdict and old lots": Search(verdict="real_defect", serial="LOT0001"),
    "a verdict and a part id": Search(verdict="real_defect", part_id=5),
    "everything asked": Search(
        station="st1", recipe_number=1, release="plate/4", decision="FAIL", reason="DEFECT",
        defect_class="class3", review="done", verdict="real_defect", since="2026-01-01", serial="SN",
    ),
}  # fmt: skip
LATER = (
    "the commonest decision", "a decision", "a station", "70,000 old serials", "3,333 serials everywhere",
    "a part id of every fifth part", "waiting for a person", "nobody asked", "a verdict",
)  # fmt: skip
"""Searches of which pages further back are measured, too."""


def fill(config: StoreConfig, number: int) -> None:
    """Make so many parts, four a minute from 2026 on, and reviews of about a tenth."""
    SqlStore(config).close()
    engine = make_engine(config.model_copy(update={"busy_timeout": 30.0}))
    lite = engine.dialect.name == "sqlite"
    values = {
        "sha": "ab" * 32,
        "false": "0" if lite else "false",
        "lot": "printf('LOT%05d', n / 500)" if lite else "'LOT' || lpad((n / 500)::text, 5, '0')",
        "numbers": f"(WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {number}) "  # noqa: S608  a number
        "SELECT n FROM r)" if lite else f"generate_series(1, {number}) n",
        "at": "strftime('%Y-%m-%dT%H:%M:%f000+00:00', '2026-01-01', (n * 15) || ' seconds')" if lite
        else "to_char(timestamp '2026-01-01' + n * interval '15 seconds', "
        "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"+00:00\"')",
        "found": "'" + '[{"class": "class1", "score": 0.1, "box": [1, 2, 30, 40]}]' + "'"
        + ("" if lite else "::jsonb"),
        "timings": "'{\"frame\": 0.01, \"detected\": 0.05}'" + ("" if lite else "::jsonb"),
    }  # fmt: skip
    # every value is made here
    made = MADE if lite else MADE.replace("'[]'", "'[]'::jsonb")
    with engine.connect() as connection, connection.begin():
        if not lite:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        for name, value in values.items():
            made = made.replace("{" + name + "}", value)
        connection.exec_driver_sql(made.replace("%", "%%") if not lite else made)
        connection.exec_driver_sql(REVIEWS.replace("%", "%%") if not lite else REVIEWS)
    if not lite:  # as the server itself does soon after
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("SET statement_timeout = 0")
            connection.exec_driver_sql("VACUUM ANALYZE")
            top = "SELECT setval(pg_get_serial_sequence('parts', 'id'), max(id)) FROM parts"
            connection.exec_driver_sql(top)
    engine.dispose()


def timed(call: Callable[[], object]) -> tuple[str, float]:
    """Return p50, p95 and longest of a call in words, and the p95, milliseconds."""
    took: list[float] = []
    for _ in range(TIMES):
        started = time.perf_counter()
        call()
        took.append((time.perf_counter() - started) * 1e3)
    p95 = statistics.quantiles(took, n=20, method="inclusive")[-1]
    text = f"p50 {statistics.median(took):7.1f}  p95 {p95:7.1f}  longest {max(took):7.1f} ms"
    return text, p95


def searches(store: WebStore) -> None:
    """Print how long the first page of each search takes, and of some a page further back."""
    slowest = 0.0
    with store.read("a search") as connection:
        most = int(connection.execute(sa.select(sa.func.max(parts.c.id))).scalar() or 1)
    tasks = [(name, wanted, None) for name, wanted in SEARCHES.items()]
    tasks += [(f"{name}, deep", SEARCHES[name], most // 8) for name in LATER]
    for name, wanted, below in tasks:
        pages: list[search.Page] = []

        def once(
            wanted: Search = wanted, below: int | None = below, pages: list[search.Page] = pages
        ) -> None:
            with store.read("a search") as connection:
                pages.append(search.page(connection, wanted, below=below))

        text, p95 = timed(once)
        slowest = max(slowest, p95)
        found = pages[-1]
        number = "many" if found.number is None else found.number
        end = f", looked back to {found.reached[:16]}" if found.reached else ""
        print(f"{name:40} {text}  {len(found.rows)} of {number}{end}", flush=True)

    def form() -> None:
        with store.read("a search") as connection:
            search.choices(connection)

    text, p95 = timed(form)
    print(f"{'the choices of the form':40} {text}")
    print(f"the slowest p95 of {len(tasks) + 1}: {max(slowest, p95):.0f} ms")


def export(store: WebStore, folder: Path, kind: str) -> None:
    """Print rows a second and memory of an export of everything."""
    from inspection_serve.web.results.export import Export, ExportAsked
    from inspection_serve.web.texts import load_texts

    site = cast(Any, SimpleNamespace(store=store, work=folder))
    asked = ExportAsked.model_validate({"format": kind})
    job = Export(site, load_texts().languages["ko"], asked, cast(Any, None))
    tracemalloc.start()
    started, size = time.perf_counter(), 0
    for chunk in job.csv() if kind == "csv" else job.xlsx():
        size += len(chunk)
    took = time.perf_counter() - started
    most = tracemalloc.get_traced_memory()[1] / 1e6
    print(
        f"{kind}: {job.sent} rows, {size / 1e6:.0f} MB in {took:.0f} s = {job.sent / took:.0f} rows/s, "
        f"at most {most:.0f} MB of memory"
    )


def lives(config: StoreConfig, number: int = 400) -> None:
    """Print how long the line's writes of one part take together."""
    from store_samples import inspected, trigger

    store = SqlStore(config)
    epoch = store.begin_epoch("bench", "start")
    took: list[float] = []
    for sequence in range(1, number + 1):
        asked = trigger(sequence, epoch=epoch, station="bench")
        started = time.perf_counter()
        part = inspected(asked)
        store.triggered(asked, 1)
        store.decided(part)
        store.sent(asked.key, part.decided_mono, part.decided_at)
        store.acknowledged(asked.key, part.decided_mono, part.decided_at)
        took.append((time.perf_counter() - started) * 1e3)
    store.close()
    p95 = statistics.quantiles(took, n=20)[-1]
    print(
        f"{'a part of the line (four writes)':40} p50 {statistics.median(took):7.1f}  p95 {p95:7.1f}"
    )


def main() -> None:
    """Measure."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("folder", type=Path)
    reader.add_argument("--rows", type=int, default=1_000_000)
    reader.add_argument("--postgres", action="store_true")
    reader.add_argument("--export", action="store_true")
    given = reader.parse_args()
    from postgres_server import PostgresServer
    from store_samples import store_config

    server = PostgresServer() if given.postgres else None
    config = store_config(given.folder, **({"url": server.url("bench")} if server else {}))
    try:
        path = config.sqlite_path
        if server is not None or (path is not None and not path.exists()):
            started = time.perf_counter()
            fill(config, given.rows)
            print(f"{given.rows} parts made in {time.perf_counter() - started:.0f} s", flush=True)
        store = WebStore(config)
        searches(store)
        if given.export:
            for kind in ("csv", "xlsx"):
                export(store, given.folder, kind)
        store.close()
        lives(config)
    finally:
        if server is not None:
            server.close()


if __name__ == "__main__":
    main()
