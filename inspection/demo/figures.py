"""What a shift came to: the figures of the demo's table, counted from the store and the PLC's log.

The simulated camera knows the truth of each part, so escapes and overkill are counted, not estimated.
A defective part that the PLC let through is an escape; a good part that it did not is overkill.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from inspection.store.config import StoreConfig
from inspection.store.queries import StoreReader
from inspection.types import Decision

MIN_RECALL = 0.9
MAX_OVERKILL = 0.1
CONFIDENCE = 0.95
"""Thirty bad parts tell little: the demo fails when a model this good would do worse in 5 of 100 shifts."""


@dataclass(frozen=True)
class Figures:
    """Counts of one shift. Rates come as (count, of).

    Attributes:
        decisions: rows of the store by decision.
        outcomes: outcomes in the PLC's log by cause.
        triggers: triggers that the PLC counted.
        caught: defective parts that were not passed, of all defective parts.
        overkill: good parts that were not passed, of all good parts.
        escapes: part ids of defective parts that were passed, with what was wrong.
        by_class: defect class to (parts caught, parts that had it).
        answer: seconds from trigger to answer as the PLC saw them, ascending.
        disagreements: in words; empty when store and PLC agree part by part.
    """

    decisions: Counter[str]
    outcomes: Counter[str]
    triggers: int
    caught: tuple[int, int]
    overkill: tuple[int, int]
    escapes: dict[int, str]
    by_class: dict[str, tuple[int, int]]
    answer: list[float]
    disagreements: list[str] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Return the answer time in seconds below which this share of answers lies; NaN when none."""
        if not self.answer:
            return float("nan")
        return self.answer[min(len(self.answer) - 1, int(len(self.answer) * share))]

    def failures(self, parts: int) -> list[str]:
        """Return what keeps the demo from ending 0, in words."""
        found = list(self.disagreements)
        if self.triggers != parts:
            found.append(f"{self.triggers} triggers for {parts} parts")
        missed = self.decisions[Decision.NOT_INSPECTED]
        if missed:
            found.append(f"{missed} parts were not inspected; demo-data/line.log says why")
        caught, defective = self.caught
        if defective and _worse(caught, defective, MIN_RECALL, "less"):
            found.append(f"only {caught} of {defective} defective parts were caught")
        rejected, good = self.overkill
        if good and _worse(rejected, good, MAX_OVERKILL, "greater"):
            found.append(f"{rejected} of {good} good parts were rejected")
        return found


def _worse(count: int, of: int, share: float, side: Literal["less", "greater"]) -> bool:
    """Tell whether chance alone hardly explains so few, or so many, where `share` is the truth."""
    from scipy.stats import binomtest

    return bool(binomtest(count, of, share, alternative=side).pvalue < 1 - CONFIDENCE)


def read_rows(database: Path) -> list[dict[str, Any]]:
    """Return all rows of a store, oldest first."""
    rows: list[dict[str, Any]] = []
    with StoreReader(StoreConfig.model_validate({"url": str(database)})) as reader:
        below: int | None = None
        while page := reader.page(below=below, limit=500):
            rows += [dict(row) for row in page]
            below = page[-1]["id"]
    return rows[::-1]


def count_shift(rows: list[dict[str, Any]], plc_log: Path) -> Figures:
    """Count a shift of the simulated camera.

    Args:
        rows: of the store, see `read_rows`.
        plc_log: the simulated PLC's log.
    """
    events = list(_events(plc_log))
    outcomes = {(e["seq"], e["part_id"]): e for e in events if e["event"] == "outcome"}
    by_part = {(row["sequence"], row["part_id"]): row for row in rows}
    truth = {key: row["truth"] or {} for key, row in by_part.items()}
    passed = {key for key, event in outcomes.items() if event["passed"]}
    bad = {key for key, found in truth.items() if found}
    classes = sorted({name for key in bad for name in truth[key]})
    return Figures(
        decisions=Counter(row["decision"] for row in rows),
        outcomes=Counter(event["cause"] for event in outcomes.values()),
        triggers=sum(event["event"] == "trigger" for event in events),
        caught=(len(bad - passed), len(bad)),
        overkill=(len(truth.keys() - bad - passed), len(truth.keys() - bad)),
        escapes={key[1]: ", ".join(truth[key]) for key in sorted(bad & passed)},
        by_class={
            name: (
                sum(name in truth[key] for key in bad - passed),
                sum(name in truth[key] for key in bad),
            )
            for name in classes
        },
        answer=sorted(e["waited"] for e in outcomes.values() if e["record"]),
        disagreements=_disagreements(by_part, outcomes),
    )


def _disagreements(
    rows: dict[tuple[int, int], dict[str, Any]], outcomes: dict[tuple[int, int], dict[str, Any]]
) -> list[str]:
    found: list[str] = []
    if rows.keys() != outcomes.keys():
        found.append(f"{len(rows)} rows in the store, {len(outcomes)} outcomes at the PLC")
    for key, event in outcomes.items():
        row = rows.get(key)
        if row is None or row["decision"].lower() != event["cause"]:
            told = row["decision"] if row else "no row"
            found.append(f"part {key[1]}: the PLC has {event['cause']}, the store {told}")
    return found[:10]


def _events(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:  # a line torn by a kill
            continue
