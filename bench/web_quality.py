"""Time of the quality page's numbers over 30 days of 1,000,000 results, judged ones included.

    bulk store ─▶ Counting until done ─▶ Intake, verdicts ─▶ summarise, again and again ─▶ p50, p95

    python bench/web_quality.py FOLDER [--results 1000000 --times 20 --url postgresql+psycopg://…]

Nothing is kept between two answers here; the page itself shows the same numbers again for some seconds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import sqlalchemy as sa
from store_samples import store_config
from web_shift import bulk

from inspection.store.web.access import WebStore
from inspection.store.web.counts import Counting, Wanted
from inspection.store.web.intake import Intake
from inspection_serve.web.quality.period import DEFAULT_SHIFTS, choose_period, read_shifts
from inspection_serve.web.quality.summary import summarise

JUDGE = (
    "UPDATE reviews SET state = 'done', verdict = CASE WHEN decision = 'PASS' THEN 'false_call'"
    " ELSE 'real_defect' END WHERE record % 5 < 4"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--results", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--url", default=None)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    config = store_config(given.folder, **({"url": given.url} if given.url else {}))
    bulk(config, given.results)
    store = WebStore(config)
    counting, began = Counting(store), time.perf_counter()
    counting.step(worth=0)
    while counting.step(worth=0):
        pass
    print(f"counting {given.results} results: {time.perf_counter() - began:.1f} s")
    Intake(store).take_all()
    with store.write("verdicts for a benchmark") as connection:
        connection.execute(sa.text(JUDGE))
    now = datetime.now().astimezone()
    period = choose_period("month", None, None, None, read_shifts(DEFAULT_SHIFTS), now)
    taken: list[float] = []
    for _ in range(given.times):
        began = time.perf_counter()
        summarise(store, period, Wanted(period.since, period.until), "fail", "laney")
        taken.append(time.perf_counter() - began)
    p95 = statistics.quantiles(taken, n=20)[-1]
    print(f"summary: first {taken[0]:.3f} s, p50 {statistics.median(taken):.3f} s, p95 {p95:.3f} s")
    store.close()


if __name__ == "__main__":
    main()
