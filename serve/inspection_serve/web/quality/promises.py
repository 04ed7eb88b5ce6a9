"""Whether the promises of the limits are kept, from counts and verdicts of the time that is looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from inspection.quality.intervals import round_down, round_up
from inspection.quality.promises import Kept, Produced, keep_escape, keep_overkill
from inspection.store.rows import Values
from inspection.types import Decision
from inspection_serve.web.quality.answers import Promise
from inspection_serve.web.quality.claims import Claim
from inspection_serve.web.quality.estimates import ENOUGH, Group, group

_DIGITS = 6


def promises(
    claims: Sequence[Claim],
    counted: dict[tuple[Any, ...], int],
    said: Sequence[Values],
    since: str,
) -> Iterator[Promise]:
    """Yield the promises of the recipes that have parts in the time.

    Args:
        claims: of the recipes as they are now.
        counted: parts by (recipe_number, part_name, release, decision).
        said: groups of `tallies.judged` with `recipe_number` and `release`.
        since: start of the time, UTC.
    """
    groups = group(((row["recipe_number"], row["release"]), row) for row in said)
    for claim in claims:
        of = dict.fromkeys(Decision, 0)
        for (recipe, _, release, decision), number in counted.items():
            if (recipe, release) == (claim.recipe, claim.release) and decision in of:
                of[Decision(decision)] += number
        if not of[Decision.PASS] + of[Decision.FAIL]:
            continue
        found = groups.get((claim.recipe, claim.release), Group())
        found.passed, found.failed = of[Decision.PASS], of[Decision.FAIL]
        made = found.made(of[Decision.REVIEW])
        yield from _promises(claim, made, since)


def _promises(claim: Claim, made: Produced, since: str) -> Iterator[Promise]:
    written = datetime.fromtimestamp(claim.since, UTC).strftime("%Y-%m-%dT%H:%M")
    common: dict[str, Any] = {
        "recipe": claim.recipe,
        "release": claim.release,
        "confidence": claim.confidence,
        "older": written > since,
    }
    nothing: dict[str, Any] = {
        "claimed": None, "state": "none", "why_none": claim.why_none, "estimate": None, "low": 0.0,
        "upper": 1.0, "more": None, "missing": "",
    }  # fmt: skip
    told = (("escape", claim.escape, keep_escape), ("overkill", claim.overkill, keep_overkill))
    for what, claimed, keep in told:
        if claimed is None:
            yield Promise.model_validate({**common, **nothing, "what": what})
            continue
        kept = keep(claimed, made)
        values = _values(kept, made) | {"claimed": claimed, "why_none": "", "what": what}
        yield Promise.model_validate(common | values)


def _values(kept: Kept, made: Produced) -> dict[str, Any]:
    enough = min(made.passed.reviewed, made.failed.reviewed) >= ENOUGH
    return {
        "state": kept.state,
        "estimate": kept.estimate if enough else None,
        "low": round_down(kept.low, _DIGITS),
        "upper": round_up(kept.upper, _DIGITS),
        "more": kept.more,
        "missing": kept.missing,
    }
