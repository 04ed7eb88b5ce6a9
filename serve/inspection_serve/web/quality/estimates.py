"""Escapes and overkill from what people judged: never more than was reviewed.

A passed part counts only when the draw chose it (`why` is `sample`), weighted by 1 / its probability: the
share of pictures that are kept, by the share of those that is drawn; see `inspection.store.web.intake`. A
part that people doubt (unsure, or a second person was asked) is not in the estimate until it is settled; each
limit takes it as what is worse for that limit. What promises are compared with takes borderline parts alike.

A passed part that nobody can judge is left out, and told beside the estimate: pictures are lost by load,
disk, kill or age, whatever is on them. Where somebody had seen the part before, and did not settle it, that
is no chance any more: it stays in doubt (`inspection.store.web.tallies`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from inspection.quality.intervals import Share, parts_to_show, sampled_share
from inspection.quality.promises import Produced, Side
from inspection.store.rows import Values
from inspection.types import Decision, Verdict

SAMPLE = "sample"
DEFECTIVE = {Verdict.REAL_DEFECT.value, Verdict.MISSED.value}
GOOD = Verdict.FALSE_CALL.value
BORDERLINE = Verdict.BORDERLINE.value
ENOUGH = parts_to_show(0.05)
"""Reviewed parts below which no estimate is shown: not even 5 % could be told from none."""
_DOUBTED = {"second", "engineer"}
_JUDGED = ("defective", "good", "borderline")


@dataclass(slots=True)
class Judged:
    """What people said of the parts with one decision of the machine.

    Attributes:
        drawn: parts put before people.
        defective: judged defective.
        good: judged good.
        borderline: judged borderline; not counted as defective, nor as overkill.
        doubted: a second person or an engineer is asked, or was when the picture was lost.
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

    def sum(self, names: Iterable[str]) -> int:
        """Return how many parts have one of these kinds."""
        return sum(int(getattr(self, name)) for name in names)


_Told = list[tuple[float, Judged]]
"""Probability of the draw, and what people said of the parts drawn with it."""


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
        return _outer(_ways(list(self.draws.items()), "defective"))

    def overkill(self) -> Share:
        """Return the share of the failed parts that are good, as far as they were reviewed."""
        return _outer(_ways(self._failures(), "good"))

    def made(self, held: int = 0) -> Produced:
        """Return what promises are compared with, beside so many parts between the limits."""
        passed = _side(self.passed, list(self.draws.items()))
        return Produced(passed, _side(self.failed, self._failures()), held)

    def _failures(self) -> _Told:
        return [(1.0, self.by[Decision.FAIL.value])]


def _ways(told: _Told, *counted: str) -> list[Share]:
    """Return the share of these as judged; then with all in doubt as others, and as some of these."""
    ways = [(counted, _JUDGED)]
    if any(judged.doubted for _, judged in told):
        every = (*_JUDGED, "doubted")
        ways += [(counted, every), ((*counted, "doubted"), every)]
    return [
        sampled_share((p, judged.sum(among), judged.sum(names)) for p, judged in told)
        for names, among in ways
    ]


def _outer(ways: Sequence[Share]) -> Share:
    """Return the first with the outermost limits of all."""
    return replace(
        ways[0],
        low=min(share.low for share in ways),
        high=max(share.high for share in ways),
        upper=max(share.upper for share in ways),
    )


def _side(parts: int, told: _Told) -> Side:
    sure = _ways(told, "defective")
    ways = [*sure, *_ways(told, "defective", "borderline")]
    return Side(
        parts,
        sure[0].reviewed,
        sure[0].estimate,
        _ways(told, "good")[0].estimate,
        min(ways, key=lambda share: share.low),
        max(ways, key=lambda share: share.high),
        sum(judged.doubted for _, judged in told),
    )


def group(rows: Iterable[tuple[object, Values]]) -> dict[object, Group]:
    """Return a group for each key of (key, group of `tallies.judged`)."""
    found: dict[object, Group] = defaultdict(Group)
    for key, row in rows:
        found[key].add(row)
    return found
