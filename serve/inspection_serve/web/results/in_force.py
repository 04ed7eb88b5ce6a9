"""The limits that judged a part: of its release's card, changed by its recipe's file, both by hash."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inspection.errors import InspectionError, ReleaseError
from inspection.release import (
    MODEL,
    PART_NAME,
    LimitsCard,
    ReleaseCard,
    read_hashed_card,
)
from inspection.variants import read_variant
from inspection_serve.web.models.recipes import find_form
from inspection_serve.web.site import Site


@dataclass(slots=True)
class InForce:
    """What is known of release and recipe of a part.

    Attributes:
        release: `found`, `missing` (no such folder or variant here), `altered` (its model is another
            one), `other_card` (its card is), `none` (no release judged it) or `unread`.
        card_sha256: hash of `release.json`; empty when there is none.
        claim: what the release's limits support, in its own words.
        recipe: `found`, `changed` (no file has this hash, nor had it before a switch), `unknown` (no folder
            given) or `none`.
        limits: class to limits, as in force when both were found; else as far as known.
        certain: the limits are those that judged the part.
    """

    release: str = "none"
    card_sha256: str = ""
    claim: str = ""
    recipe: str = "none"
    limits: dict[str, LimitsCard] = field(default_factory=dict[str, LimitsCard])
    certain: bool = False


def in_force(site: Site, row: dict[str, Any]) -> InForce:
    """Return the limits that judged a part, and how sure that is. Never raises for a bad file."""
    found = InForce()
    _release(site, row, found)
    _recipe(site, row, found)
    found.certain = found.release == "found" and found.recipe == "found"
    return found


def _release(site: Site, row: dict[str, Any], found: InForce) -> None:
    part, _, number = str(row["release"] or "").rpartition("/")
    if not part:
        return
    found.release = "missing"
    if site.releases is None or not re.fullmatch(PART_NAME, part) or not number.isdecimal():
        return
    folder = site.releases / part / number
    try:
        card, found.card_sha256 = read_hashed_card(folder)
    except InspectionError:
        found.release = "unread" if folder.is_dir() else "missing"
        return
    found.claim, found.limits = card.claim, dict(card.limits)
    precision, _, digest = str(row["model_sha256"] or "").rpartition(":")
    try:
        there = _model_hash(folder, card, precision)
    except ReleaseError:
        found.release = "missing"  # the release is here, the variant that judged is not
        return
    found.release = "found" if there == digest else "altered"
    if found.release == "found" and row.get("card_sha256") not in {None, found.card_sha256}:
        found.release = "other_card"


def _model_hash(folder: Path, card: ReleaseCard, precision: str) -> str | None:
    """Return the hash of the file that a release computes with in a precision; empty: f32.

    Raises:
        ReleaseError: it has no such variant, or its card cannot be read.
    """
    variant = read_variant(folder, precision) if precision else None
    if variant is None or not variant.files:  # bf16 computes the release's own file in 16 bits
        return card.files.get(MODEL)
    return variant.model_sha256


def _recipe(site: Site, row: dict[str, Any], found: InForce) -> None:
    wanted = row["recipe_sha256"]
    if not wanted:
        return
    if site.recipes is None:
        found.recipe = "unknown"
        return
    config = find_form(site.recipes, wanted)
    found.recipe = "changed" if config is None else "found"
    if config is not None:
        found.limits = {**found.limits, **config.limits}
