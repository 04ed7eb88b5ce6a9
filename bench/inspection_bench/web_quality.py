"""How long the quality page takes as a person opens it: 30 days of 1,000,000 results, many of them judged.

    parts and reviews, made by the database ─▶ Counting until done ─▶ `inspection web`
      ─▶ each period and each filter, over HTTP ─▶ p50, p95, longest; processor time of a page

    python -m inspection_bench.web_quality FOLDER [--results 1000000 --times 20 --postgres]

Every request asks for other times, so that no page is one that was kept from the request before. With
`--postgres` a server is started as the tests do, in a temporary folder. A store in FOLDER is used again.
"""

from __future__ import annotations

import argparse
import http.client
import os
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from inspection_bench.checkout import tests_folder

sys.path.insert(0, str(tests_folder()))

from postgres_server import PostgresServer
from store_samples import store_config
from web_process import WebProcess, add_people

from inspection.store.config import StoreConfig
from inspection.store.database import make_engine
from inspection.store.silence import unhurried
from inspection.store.sql import SqlStore
from inspection.store.web import intake, people
from inspection.store.web.access import WebStore
from inspection.store.web.counting import Counting
from inspection.store.web.tallies import tally_step
from inspection_serve.web.cookies import SESSION_COOKIE, cookie_at
from inspection_serve.web.guard import SESSION

DAYS = 30
SETTLED = 6.0
"""Seconds from the start to the first page; by then the process has done what it does once."""
STATIONS, RECIPES, RELEASES = 3, 4, 5
PARTS = """
INSERT INTO parts (id, station, epoch, sequence, state, part_id, serial, recipe_number, recipe_sha256,
 part_name, release_number, release, model_sha256, decision, reason, reasons, detail, deciding_class,
 deciding_score, defect_class, over_t1, detections, frame_id, frame_mono, simulated, triggered_mono,
 triggered_at, deadline_mono, decided_mono, decided_at, committed_mono, sent_mono, sent_at, image_state,
 images)
SELECT n, 'st' || (n % {stations} + 1), n / 60000 + 1, n % 60000 + 1, 'acknowledged', n, 'S' || n,
 n / 3000 % {recipes} + 1, '{sha}', 'plate', 1,
 CASE WHEN d = 'NOT_INSPECTED' THEN NULL ELSE 'plate/' || (n / {each} + 1) END,
 CASE WHEN d = 'NOT_INSPECTED' THEN NULL ELSE '{sha}' END, d,
 CASE d WHEN 'PASS' THEN 'NONE' WHEN 'FAIL' THEN 'DEFECT' WHEN 'REVIEW' THEN 'BORDERLINE' ELSE 'DEADLINE' END,
 '[]', '', 0, 0.5, CASE WHEN d IN ('FAIL', 'REVIEW') THEN 'class' || (n % 7) END, 0, {found},
 n, n * 0.3 + 0.01, {false}, n * 0.3, {at}, n * 0.3 + 1, n * 0.3 + 0.1, {at}, n * 0.3 + 0.1, n * 0.3 + 0.1,
 {at}, 'saved', {images}
FROM (SELECT n, CASE WHEN n % 10000 * 7919 % 10000 >= 9900 THEN 'NOT_INSPECTED'
 WHEN n % 10000 * 7919 % 10000 >= 9700 THEN 'REVIEW'
 WHEN n % 10000 * 7919 % 10000 >= 9200 THEN 'FAIL' ELSE 'PASS' END AS d FROM {numbers}) made
"""
REVIEWS = """
INSERT INTO reviews (record, state, why, probability, version, verdict, who, station, part_name,
 recipe_number, release, decision, reason, defect_class, score, triggered_at, changed_at)
SELECT id, CASE WHEN {open} THEN 'open' ELSE 'done' END,
 CASE WHEN decision = 'PASS' THEN 'sample' ELSE 'flagged' END,
 CASE WHEN decision = 'PASS' THEN 0.02 ELSE 1.0 END, 1,
 CASE WHEN {open} THEN NULL WHEN decision = 'PASS' THEN CASE WHEN id % 3000 = 0 THEN 'missed'
 ELSE 'false_call' END WHEN id % 11 = 0 THEN 'false_call' ELSE 'real_defect' END, 'kim', station,
 part_name, recipe_number, release, decision, reason, defect_class, deciding_score, triggered_at, triggered_at
FROM parts WHERE decision <> 'PASS' OR id % 50 = 0
"""


def fill(config: StoreConfig, number: int, judged_to: int = 0, days: float = DAYS) -> None:
    """Make so many parts, evenly over the days until now, and reviews of about a tenth.

    A fifth of the reviews wait for a person, but none of the first `judged_to` parts.
    """
    SqlStore(config).close()
    engine = make_engine(config.model_copy(update={"busy_timeout": 30.0}))
    lite = engine.dialect.name == "sqlite"
    start = datetime.now(UTC) - timedelta(days=days)
    begin, step = f"{start:%Y-%m-%d %H:%M:%S}", days * 86400 / number
    found = '[{"class": "class1", "score": 0.5, "box": [10, 20, 90, 80]}]'
    images = '[{"path": "x/1.jpg", "sha256": "00", "width": 320, "height": 256}]'
    json = "" if lite else "::jsonb"
    values = {
        "sha": "ab" * 32, "false": "0" if lite else "false", "stations": STATIONS, "recipes": RECIPES,
        "each": -(-number // RELEASES), "found": f"'{found}'{json}", "images": f"'{images}'{json}",
        "numbers": f"(WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {number}) "  # noqa: S608  a number
        "SELECT n FROM r)" if lite else f"generate_series(1, {number}) n",
        "at": f"strftime('%Y-%m-%dT%H:%M:%f000+00:00', '{begin}', (n * {step}) || ' seconds')"
        if lite else f"to_char(timestamp '{begin}' + n * interval '{step} seconds', "
        "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"+00:00\"')",
    }  # fmt: skip
    made = PARTS if lite else PARTS.replace("'[]'", "'[]'::jsonb")
    for name, value in values.items():
        made = made.replace("{" + name + "}", str(value))
    with unhurried(engine), engine.connect() as connection, connection.begin():
        if not lite:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        asked = REVIEWS.replace("{open}", f"id % 5 = 4 AND id > {judged_to}")
        for statement in (made, asked):
            connection.exec_driver_sql(statement if lite else statement.replace("%", "%%"))
        intake.write_mark(connection, {"record": number, "open": []})
    if not lite:  # as the server itself does soon after
        autocommit = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        with unhurried(engine), autocommit as connection:
            connection.exec_driver_sql("SET statement_timeout = 0")
            connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()
    add_people(config)


def count(config: StoreConfig) -> None:
    """Count everything, as the background thread does."""
    store, began, worked = WebStore(config), time.perf_counter(), time.process_time()
    counting = Counting(store)
    counting.step(worth=0)
    while counting.step(worth=0) or tally_step(store):
        pass
    store.close()
    took, used = time.perf_counter() - began, time.process_time() - worked
    print(f"counting everything: {took:.1f} s, {used:.1f} s of the processor", flush=True)


def cases(times: int) -> Iterator[tuple[str, list[str]]]:
    """Yield a name and queries that no request before has asked."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    spans = {"day": 1, "week": 7, "month": DAYS, "everything": 370}
    filters = {
        "": {}, "station": {"station": "st2"}, "recipe": {"recipe": "3"}, "release": {"release": "plate/4"},
        "all three": {"station": "st1", "recipe": "2", "release": "plate/5"},
        "nothing": {"station": "st9"}, "half hours": {"per": "half_hour"}, "shifts": {"per": "shift"},
    }  # fmt: skip
    for span, days in spans.items():
        for name, chosen in filters.items():
            if name == "half hours" and days >= DAYS:
                continue  # refused: too many points
            step = {1: 1, 7: 12}.get(days, 24)
            queries: list[str] = []
            for i in range(times):
                since = now - timedelta(days=days, hours=step * i)
                told = {"span": "custom", "since": since.isoformat(), "until": now.isoformat()}
                queries.append(urlencode(told | chosen))
            yield f"{span} {name}".strip(), queries


def used(processes: list[int]) -> float:
    """Return the processor time of processes and their ended children so far, seconds."""
    ticks = 0
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(address: str, token: str, processes: list[int], times: int, *, positions: bool) -> None:
    """Print how long each page takes, and the worst of all."""
    paths = {"page": "/quality"} | ({"positions": "/api/v1/quality/positions"} if positions else {})
    worst: list[tuple[float, str]] = []
    host = urlsplit(address).netloc
    client = http.client.HTTPConnection(host, timeout=60)
    own = {"Cookie": f"{cookie_at(SESSION_COOKIE, host)}={token}"}
    for what, path in paths.items():
        for name, queries in cases(times):
            took: list[float] = []
            before = used(processes)
            for query in queries:
                began = time.perf_counter()
                client.request("GET", f"{path}?{query}", headers=own)
                answer = client.getresponse()
                body = answer.read()
                took.append((time.perf_counter() - began) * 1e3)
                assert answer.status == 200, body[:500]
            worked = (used(processes) - before) / len(took) * 1e3
            p95 = statistics.quantiles(took, n=20)[-1]
            worst.append((p95, f"{what} {name}"))
            print(
                f"{what:9} {name:22} p50 {statistics.median(took):6.0f}  p95 {p95:6.0f}  longest "
                f"{max(took):6.0f} ms  processor {worked:6.0f} ms  load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    client.close()
    print("worst p95: {:.0f} ms ({})".format(*max(worst)))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--results", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--positions", action="store_true", help="the places of defects too")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    server = PostgresServer() if given.postgres else None
    config = store_config(given.folder, **({"url": server.url("bench")} if server else {}))
    try:
        path = config.sqlite_path
        if server is not None or (path is not None and not path.exists()):
            began = time.perf_counter()
            fill(config, given.results)
            print(f"{given.results} parts made in {time.perf_counter() - began:.0f} s", flush=True)
        count(config)
        store = WebStore(config)
        with store.write("a session for a benchmark") as connection:
            row = people.find(connection, "viewer")
            assert row is not None
            token, _ = people.start_session(connection, row["id"], "", SESSION)
        store.close()
        with WebProcess(config.url, log=given.folder / "web.log") as web:
            threading.Event().wait(SETTLED)
            processes = [web.process.pid, *([server.process] if server else [])]
            measure(web.address, token, processes, given.times, positions=given.positions)
    finally:
        if server is not None:
            server.close()


if __name__ == "__main__":
    main()
