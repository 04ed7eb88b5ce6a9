"""What the limits in force promise, by recipe: read from the claim files beside the recipes.

    RECIPE.yaml (part, release) + RECIPE.claim.json, when it is about this very file ─▶ its claims in force
    no limits of its own ─▶ the claims of the release's card, when it makes any

A promise that cannot be read, or that is about an older recipe file, is none.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspection.errors import InspectionError
from inspection.recipe import RecipeConfig
from inspection.release import read_card
from inspection.yaml_file import read_yaml
from inspection_serve.web.site import Site

_LARGEST = 4 << 20


@dataclass(frozen=True, slots=True)
class Claim:
    """What the limits of a recipe promise.

    Attributes:
        recipe: its number.
        release: as `plate/3`.
        escape: highest share of defective parts that pass, whatever their class; None: no promise.
        overkill: highest share of good parts that fail; None: no promise.
        confidence: of the promise.
        since: UTC second, as in `Period`: when the recipe's file was written.
        why_none: code of what is missing, where neither is promised.
    """

    recipe: int
    release: str
    escape: float | None = None
    overkill: float | None = None
    confidence: float = 0.95
    since: float = 0.0
    why_none: str = ""


def read_claims(site: Site) -> tuple[Claim, ...]:
    """Return a claim for each recipe that can be read, by number. Never raises for a bad file."""
    found: list[Claim] = []
    for path in sorted(site.recipes.glob("*.yaml")) if site.recipes is not None else []:
        try:
            data, config = path.read_bytes(), read_yaml(path, RecipeConfig)
            written = path.stat().st_mtime
        except (InspectionError, OSError):
            continue
        plain = Claim(config.number, f"{config.part}/{config.release}", since=written)
        found.append(_claim(site, path, hashlib.sha256(data).hexdigest(), config, plain))
    return tuple(sorted(found, key=lambda claim: claim.recipe))


def _claim(site: Site, path: Path, sha256: str, config: RecipeConfig, plain: Claim) -> Claim:
    told = path.with_suffix(".claim.json")
    if told.is_file():
        try:
            if told.stat().st_size > _LARGEST:
                raise ValueError(told)
            stored = json.loads(told.read_bytes())
            if stored["recipe_sha256"] != sha256:
                return _without(plain, "changed")
            return _of_file(stored, plain)
        except (OSError, ValueError, TypeError, KeyError):
            return _without(plain, "unread")
    if config.limits:
        return _without(plain, "no_claim")
    return _of_card(site, config, plain)


def _without(plain: Claim, why: str) -> Claim:
    return Claim(plain.recipe, plain.release, since=plain.since, why_none=why)


def _of_file(stored: dict[str, Any], plain: Claim) -> Claim:
    """Return the weakest of the claims in force: it holds for every mix of defects."""
    claims = {claim["class"]: claim for claim in stored["claims"]}
    own = [claims[name] for name in stored["claims_in_force"]]
    shares = [claim["supported"] if claim.get("known", True) else None for claim in own]
    known = [float(share) for share in shares if share is not None]
    escape = max(known) if known and len(known) == len(shares) else None
    overkill = stored["overkill"]["supported"]
    return Claim(
        plain.recipe,
        plain.release,
        escape if escape is not None and 0 < escape < 1 else None,
        float(overkill) if overkill is not None and 0 < overkill < 1 else None,
        float(stored["targets"]["confidence"]),
        plain.since,
        "no_claim",
    )


def _of_card(site: Site, config: RecipeConfig, plain: Claim) -> Claim:
    try:
        if site.releases is None:
            return _without(plain, "no_claim")
        card = read_card(site.releases / config.part / str(config.release))
        claims = {str(one["code"]): one["values"] for one in card.metrics.get("claims") or []}
        values = claims.get("overkill_supported")
        if values is None:
            return _without(plain, "no_claim")
        share, sure = float(values["share"]), float(values["confidence"])
    except (InspectionError, OSError, ValueError, TypeError, KeyError):
        return _without(plain, "no_claim")
    if not 0 < share < 1:
        return _without(plain, "no_claim")
    return Claim(plain.recipe, plain.release, None, share, sure, plain.since, "no_claim")
