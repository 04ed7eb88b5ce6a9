"""What holds for the review: reasons, classes for a second person, limits that were in force."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from inspection.store.web import settings
from inspection.store.web.intake import DEFAULT_SHARE, PASS_SHARE
from inspection.store.web.review import Rules, list_of_reasons
from inspection_serve.web.models.recipes import find_form
from inspection_serve.web.site import Site

REASONS = "review.reasons"
SECOND_CLASSES = "review.second_classes"
DEFAULT_REASONS: list[dict[str, Any]] = [
    {"code": "dust", "ko": "먼지·이물", "en": "Dust"},
    {"code": "glare", "ko": "빛 반사", "en": "Glare"},
    {"code": "edge", "ko": "모서리·윤곽", "en": "Edge of the part"},
    {"code": "shadow", "ko": "그림자", "en": "Shadow"},
    {"code": "within_limit_sample", "ko": "한도견본 이내", "en": "Within the limit sample"},
    {"code": "wrong_region", "ko": "검사 영역 아님", "en": "Not in the inspected area"},
    {"code": "other", "ko": "기타", "en": "Other"},
]
KNOWN_KEPT = 256
_log = logging.getLogger(__name__)
_known: dict[
    tuple[Path, Path | None, str, str | None, int | None], dict[str, tuple[float, float]]
] = {}
"""Limits that were found; a file of a hash never says anything else."""


class ReasonText(BaseModel):
    """One reason to overrule the machine."""

    model_config = ConfigDict(extra="forbid")
    code: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,31}$", description="stays in the rows; never change it"
    )
    ko: str = Field(min_length=1, max_length=40, description="Korean name")
    en: str = Field(min_length=1, max_length=40, description="English name")


class ReviewRules(BaseModel):
    """What an engineer sets for the review."""

    model_config = ConfigDict(extra="forbid")
    pass_share: float = Field(
        ge=0,
        le=1,
        description="share of the passed parts with a kept picture that a person looks at, 0..1",
    )
    reasons: dict[
        Annotated[str, Field(pattern=r"^(default|[1-9]\d{0,4})$")],
        Annotated[list[ReasonText], Field(min_length=1, max_length=9)],
    ] = Field(
        min_length=1,
        description="recipe number, or `default`, to its reasons; their order gives the keys 1 to 9",
    )
    second_classes: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(
        max_length=100,
        description="defect classes for which a second person looks, unaware of the first",
    )


def read_rules(connection: Any) -> ReviewRules:
    """Return what is set now; the defaults where nothing was set."""
    defaults: dict[str, Any] = {
        PASS_SHARE: DEFAULT_SHARE,
        REASONS: {"default": DEFAULT_REASONS},
        SECOND_CLASSES: [],
    }
    found = settings.read_some(connection, defaults)
    return ReviewRules(
        pass_share=found[PASS_SHARE], reasons=found[REASONS], second_classes=found[SECOND_CLASSES]
    )


def change_rules(connection: Any, rules: ReviewRules, who: str) -> None:
    """Keep what differs from what is set now."""
    before = read_rules(connection).model_dump()
    names = {"pass_share": PASS_SHARE, "reasons": REASONS, "second_classes": SECOND_CLASSES}
    for field, value in rules.model_dump().items():
        if before[field] != value:
            settings.change(connection, names[field], value, who)


def reasons_of(rules: ReviewRules, recipe_number: int | None) -> list[ReasonText]:
    """Return the reasons of a recipe, in the order of their keys."""
    found = rules.reasons.get(str(recipe_number)) or rules.reasons.get("default")
    return found or [ReasonText.model_validate(reason) for reason in DEFAULT_REASONS]


def rules_of(rules: ReviewRules, recipe_number: int | None) -> Rules:
    """Return what the store checks a verdict against."""
    reasons = [reason.model_dump() for reason in reasons_of(rules, recipe_number)]
    return Rules(list_of_reasons(reasons), frozenset(rules.second_classes))


def limits_in_force(site: Site, part: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Return T1 and T2 by class as they were when the part was judged; empty where nobody can tell.

    The recipe's file is found by the hash in the row, also as it was before a switch. The release's card
    gives limits where it is the one of the row. What was found is kept; what was not is looked for again.
    """
    if site.recipes is None or not part["recipe_sha256"]:
        return {}
    key = (
        site.recipes,
        site.releases,
        part["recipe_sha256"],
        part["part_name"],
        part["release_number"],
        part.get("card_sha256"),
    )
    found = _known.get(key) or _limits(*key)
    if found:
        if len(_known) >= KNOWN_KEPT:
            _known.clear()
        _known[key] = found
    return found


def _limits(
    recipes: Path,
    releases: Path | None,
    sha256: str,
    part: str | None,
    number: int | None,
    card_sha256: str | None,
) -> dict[str, tuple[float, float]]:
    config = find_form(recipes, sha256)
    if config is None:
        return {}
    found: dict[str, tuple[float, float]] = {}
    if releases is not None and part == config.part and number == config.release:
        path = releases / str(part) / str(number) / "release.json"
        try:
            content = path.read_bytes()
            if card_sha256 in {None, hashlib.sha256(content).hexdigest()}:
                found = {
                    name: (float(limit["t1"]), float(limit["t2"]))
                    for name, limit in json.loads(content).get("limits", {}).items()
                }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("limits of %s cannot be read: %s", path, error)
            return {}
    return found | {name: (card.t1, card.t2) for name, card in config.limits.items()}
