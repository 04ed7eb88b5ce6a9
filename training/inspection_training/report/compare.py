"""Two releases on the same parts: exact McNemar, and the parts on which they differ."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from inspection.errors import DatasetError
from inspection.types import Decision
from inspection_datasets.parts import parts_of, worst_of
from inspection_training.evaluation import SplitRun
from inspection_training.scoring import defects_of
from inspection_training.statistics import mcnemar_exact


@dataclass(frozen=True, slots=True)
class Changed:
    """A part that the two decide differently."""

    image: str
    defective: bool
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Side:
    """One kind of error on the same parts.

    Attributes:
        parts: parts on which it can be made; each group of pictures is one.
        only_first: made by the first release alone.
        only_second: made by the second alone.
        both: made by both.
        p: exact two-sided McNemar; small: the difference is no chance.
    """

    parts: int
    only_first: int
    only_second: int
    both: int
    p: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Escapes and overkill of two releases, each under its own limits."""

    first: str
    second: str
    escape: Side
    overkill: Side
    changed: tuple[Changed, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the plain form."""
        return asdict(self)


def compare_runs(first: SplitRun, second: SplitRun) -> Comparison:
    """Compare two runs over the same pictures.

    What is a defect is asked of the first release's limits (its expected counts).

    Raises:
        DatasetError: the runs saw different pictures.
    """
    if [s.sha256 for s in first.samples] != [s.sha256 for s in second.samples]:
        raise DatasetError(
            f"{first.release.name} and {second.release.name} were run on different pictures; "
            "compare them on one split of one version"
        )
    bad = [bool(defects_of(sample, first.recipe)) for sample in first.samples]
    a, b = first.decisions(first.recipe), second.decisions(second.recipe)
    rows = zip(first.samples, bad, a, b, strict=True)
    changed = tuple(Changed(s.image, d, x.value, y.value) for s, d, x, y in rows if x is not y)
    made = list(zip(bad, a, b, parts_of(first.samples), strict=True))
    return Comparison(
        first.release.name,
        second.release.name,
        side([row[1:] for row in made if row[0]], Decision.PASS),
        side([row[1:] for row in made if not row[0]], Decision.FAIL),
        changed,
    )


def side(made: Sequence[tuple[Decision, Decision, Hashable]], error: Decision) -> Side:
    """Return who makes an error on which parts; a part counts once, as wrong when any picture is.

    Args:
        made: of each picture on which the error can be made: both decisions, and the part it counts for.
        error: the decision that is wrong.
    """
    parts = [part for _, _, part in made]
    first = worst_of([x is error for x, _, _ in made], parts, any)
    second = worst_of([y is error for _, y, _ in made], parts, any)
    pairs = list(zip(first, second, strict=True))
    only_first = sum(x and not y for x, y in pairs)
    only_second = sum(y and not x for x, y in pairs)
    both = sum(x and y for x, y in pairs)
    return Side(len(pairs), only_first, only_second, both, mcnemar_exact(only_first, only_second))
