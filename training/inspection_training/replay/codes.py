"""What a row still tells of the part's own code.

    the code that named the part ─▶ that code, judged by the rule of the recipe
    CODE_MISSING ─────────────────▶ none was read
    CODE_WRONG ───────────────────▶ not kept: the part is left out
    nothing ──────────────────────▶ nobody looked: judged without the rule, and counted

Codes that were read beside the right one are in no row.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from inspection.decide import judge
from inspection.identity import identify, join
from inspection.types import Code, Decision, Detections, Reason, Recipe

NOT_KEPT = "its code was wrong, and what was read is not kept"


def stored_codes(row: dict[str, Any], recipe: Recipe) -> tuple[Code, ...] | str | None:
    """Return the codes that a rule is held against, why the part is left out, or None: no rule can be."""
    reasons: list[str] = row["reasons"] or []
    if recipe.code is None:
        return None
    if row["code"]:
        return (Code(row["code"], "stored"),)
    if Reason.CODE_WRONG.name in reasons:
        return NOT_KEPT
    return () if Reason.CODE_MISSING.name in reasons else None


def without_rule(recipe: Recipe, codes: tuple[Code, ...] | None) -> Recipe:
    """Return the recipe as these codes allow to judge by it: without its rule where nobody looked."""
    return replace(recipe, code=None) if codes is None else recipe


def decision_of(
    found: Detections, recipe: Recipe, codes: tuple[Code, ...] | None, serial: str
) -> Decision:
    """Return what the recipe makes of detections and codes."""
    result = judge(found, recipe)
    if recipe.code is None or codes is None:
        return result.decision
    return join(result, identify(codes, recipe.code, serial)).decision
