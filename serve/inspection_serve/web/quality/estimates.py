"""Escapes and overkill from what people judged: never more than was reviewed.

A passed part counts only when the draw chose it (`why` is `sample`), weighted by 1 / its probability. A part
that the draw chose and that people doubt (unsure, or a second person was asked) counts as defective in
the limits, and not in the estimate, until it is settled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from inspection.quality.intervals import NOTHING, Share, parts_to_show, sampled_share
from inspection.store.rows import Values
from inspection.types import Decision, Verdict

SAMPLE = "sample"
DEFECTIVE = {Verdict.REAL_DEFECT.value, Verdict.MISSED.value}
GOOD = Verdict.FALSE_CALL.value
BORDERLINE = Verdict.BORDERLINE.value
ENOUGH = parts_to_show(0.05)
"""Reviewed parts below which no estimate is shown: not even 5 % could be told from none."""
_DOUBTED = {"second", "engineer"}


@dataclass(slots=True)
class Judged:
    """What people said of the parts with one decision of the machine.

    Attributes:
        drawn: parts put before people.
        defective: judged defective.
        good: judged good.
        borderline: judged borderline; not counted as defective, nor as overkill.
        doubted: a second person or an engineer is asked.
        other: no judgement possible.
        waiting: not judged yet.
    """

    drawn: int = 0
    defective: int = 0
    good: int = 0
    borderline: int = 0
    doubted: int = 0
    other: int = 0
    waiting: int = 0

    def add(self, row: Values) -> None:
        """Count a group of `tallies.judged`."""
        number = int(row["number"])
        self.drawn += number
        setattr(self, name := _kind(row), getattr(self, name) + number)


def _kind(row: Values) -> str:
    if row["state"] in _DOUBTED:
        return "doubted"
    if row["state"] != "done":
        return "waiting"
    if row["verdict"] in DEFECTIVE:
        return "defective"
    return {GOOD: "good", BORDERLINE: "borderline"}.get(row["verdict"] or "", "other")


@dataclass(slots=True)
class Group:
    """What is known of one group of parts, such as a shift or a release.

    Attributes:
        passed: parts passed.
        failed: parts failed.
        by: what people said, by the machine's decision; of passed parts only those drawn at random.
        draws: probability of the draw to what people said of the passed parts drawn with it.
    """

    passed: int = 0
    failed: int = 0
    by: dict[str, Judged] = field(
        default_factory=lambda: {decision.value: Judged() for decision in Decision}
    )
    draws: dict[float, Judged] = field(default_factory=lambda: defaultdict(Judged))

    def add(self, row: Values) -> None:
        """Count a group of `tallies.judged`."""
        if row["decision"] == Decision.PASS.value:
            if row["why"] != SAMPLE:
                return  # somebody chose it: it says nothing about the others
            self.draws[float(row["probability"])].add(row)
        if row["decision"] in self.by:
            self.by[row["decision"]].add(row)

    def escape(self) -> Share:
        """Return the share of the passed parts that are defective."""
        told = [
            (p, j.defective + j.good + j.borderline, j.defective, j.doubted)
            for p, j in self.draws.items()
        ]
        plain = sampled_share((p, n, k) for p, n, k, _ in told)
        if not any(doubted for *_, doubted in told):
            return plain
        worst = sampled_share((p, n + doubted, k + doubted) for p, n, k, doubted in told)
        return replace(plain, high=max(plain.high, worst.high), upper=max(plain.upper, worst.upper))

    def overkill(self) -> Share:
        """Return the share of the failed parts that are good, as far as they were reviewed."""
        judged = self.by[Decision.FAIL.value]
        number = judged.defective + judged.good + judged.borderline
        return sampled_share([(1.0, number, judged.good)]) if number else NOTHING


def group(rows: Iterable[tuple[object, Values]]) -> dict[object, Group]:
    """Return a group for each key of (key, group of `tallies.judged`)."""
    found: dict[object, Group] = defaultdict(Group)
    for key, row in rows:
        found[key].add(row)
    return found
