"""Limits and claim of a release for one recipe, from parts that training never saw; and their files.

    SplitRun + recipe + targets ─▶ scores of whole parts ─▶ T1, T2, claims ─▶ measured with `judge`
        ─▶ RECIPE.yaml, RECIPE.claim.json

A release is never changed: its hash and its card were what somebody signed, and the line may run it now.
Limits belong to the recipe, which may replace those of the release. So the limits are written as a whole
recipe file, ready for the recipes folder, and the claim beside it with the hashes of everything it rests
on: release, model, dataset version, and the recipe file itself.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from inspection.errors import ConfigError
from inspection.release import write_atomic
from inspection.types import ClassLimits, Decision, Recipe
from inspection_training.claims import (
    EscapeClaim,
    OverkillLimit,
    Targets,
    escape_claim,
    fixed_claim,
    in_words,
    overkill_limit,
    percent,
)
from inspection_training.evaluate import rate
from inspection_training.evaluation import SplitRun
from inspection_training.scoring import COUNT, count_decision, defects_of, must_be_there, part_score

ALL = "all defects"


@dataclass(frozen=True, slots=True)
class Proposal:
    """Limits with what they support.

    Attributes:
        recipe: with the new limits.
        targets: what was asked.
        claims: one for each defect class, and for wrong counts where the recipe expects any.
        pooled: one T1 for every class, for the mix of defects as it is in these parts.
        is_pooled: the recipe's T1 is the pooled one.
        overkill: T2 and what it supports.
        measured: escape of defective, overkill and review of good parts, by `judge` on these parts;
            flattered a little, since the limits were chosen on them.
        warnings: what a person must know before signing.
    """

    recipe: Recipe
    targets: Targets
    claims: tuple[EscapeClaim, ...]
    pooled: EscapeClaim
    is_pooled: bool
    overkill: OverkillLimit
    measured: dict[str, dict[str, Any]]
    warnings: tuple[str, ...]

    @property
    def in_force(self) -> tuple[EscapeClaim, ...]:
        """The claims that the recipe's limits support."""
        counts = tuple(claim for claim in self.claims if claim.name == COUNT)
        return (self.pooled, *counts) if self.is_pooled else self.claims

    @property
    def met(self) -> bool:
        """Tell whether every target is proven or, for review, reached."""
        supported, review = self.overkill.supported, self.measured["review"]["rate"]
        return (
            all(claim.met for claim in self.in_force)
            and supported is not None
            and supported <= self.targets.overkill
            and review is not None
            and review <= self.targets.review
        )

    def sentences(self) -> list[str]:
        """Return every claim, or what is missing for it, in words."""
        sure = self.targets.confidence
        words = [in_words(claim, sure) for claim in self.in_force]
        words.append(_overkill_words(self))
        return words


def propose_limits(run: SplitRun, recipe: Recipe, targets: Targets, *, pooled: bool) -> Proposal:
    """Return limits for a recipe by the order-statistic rule.

    The limits of what must be there stay as they are; what they support is an exact bound.

    Args:
        run: held-out parts; see `evaluation.refuse_known_pictures`.
        recipe: regions, minimum sizes, allowed and expected counts.
        targets: what is asked.
        pooled: one T1 for all defect classes, for few defects of many classes. The claim is then
            about the mix of defects in these parts, not about any class.
    """
    wrong = [defects_of(sample, recipe) for sample in run.samples]
    groups = [sample.group for sample in run.samples]
    defects = [name for name in run.release.classes if name not in must_be_there(recipe)]
    scores = {name: [part_score(x, name, recipe) for x in run.found] for name in defects}
    claims = [
        escape_claim(
            name,
            [s for s, w in zip(scores[name], wrong, strict=True) if name in w],
            [g for g, w in zip(groups, wrong, strict=True) if name in w],
            targets,
        )
        for name in defects
    ]
    highest = [max(row, default=0.0) for row in zip(*scores.values(), strict=True)]
    bearing = [i for i, w in enumerate(wrong) if w - {COUNT}] if defects else []
    all_claim = escape_claim(
        ALL, [highest[i] for i in bearing], [groups[i] for i in bearing], targets
    )
    counted = _count_claim(run, recipe, wrong, targets)
    t1 = {c.name: all_claim.t1 if pooled else c.t1 for c in claims}
    good = [i for i, w in enumerate(wrong) if not w]
    t2 = _good_limit(recipe, scores, t1, good, targets)
    limits = {**recipe.limits, **{n: _limits(recipe.limits[n], t1[n], t2) for n in defects}}
    judged = replace(recipe, limits=limits)
    return Proposal(
        recipe=judged,
        targets=targets,
        claims=(*claims, *counted),
        pooled=all_claim,
        is_pooled=pooled,
        overkill=t2,
        measured=_measure(run, judged, wrong),
        warnings=(
            *_warnings(run, [all_claim if pooled else c for c in claims], good, targets),
            *_pooled_hint(claims, all_claim, pooled=pooled),
        ),
    )


def _limits(old: ClassLimits, t1: float | None, overkill: OverkillLimit) -> ClassLimits:
    """Return a class's limits; without any part of the class its T1 is not raised."""
    low = min(old.t1, overkill.t2) if t1 is None else t1
    return replace(old, t1=low, t2=max(low, overkill.t2))


def _good_limit(
    recipe: Recipe,
    scores: dict[str, list[float]],
    t1: dict[str, float | None],
    good: list[int],
    targets: Targets,
) -> OverkillLimit:
    floor = {name: recipe.limits[name].t1 if x is None else x for name, x in t1.items()}
    stopped = [
        max((s[i] for n, s in scores.items() if s[i] >= floor[n]), default=0.0) for i in good
    ]
    return overkill_limit(stopped, targets)


def _count_claim(
    run: SplitRun, recipe: Recipe, wrong: list[set[str]], targets: Targets
) -> list[EscapeClaim]:
    if not must_be_there(recipe):
        return []
    bad = [i for i, w in enumerate(wrong) if COUNT in w]
    missed = sum(count_decision(run.found[i], recipe) is Decision.PASS for i in bad)
    return [fixed_claim(COUNT, missed, [run.samples[i].group for i in bad], targets)]


def _measure(run: SplitRun, recipe: Recipe, wrong: list[set[str]]) -> dict[str, dict[str, Any]]:
    made = run.decisions(recipe)
    good = [d for d, w in zip(made, wrong, strict=True) if not w]
    bad = [d for d, w in zip(made, wrong, strict=True) if w]
    return {
        "escape": rate(bad.count(Decision.PASS), len(bad)),
        "overkill": rate(good.count(Decision.FAIL), len(good)),
        "review": rate(good.count(Decision.REVIEW), len(good)),
    }


def _warnings(
    run: SplitRun, claims: list[EscapeClaim], good: list[int], targets: Targets
) -> list[str]:
    found: list[str] = []
    if run.split == "val":
        found.append(
            "these are val parts: training looked at them to choose its limits. Claims belong on test"
        )
    for claim in dict.fromkeys(claims):
        if claim.few_groups:
            found.append(
                f"{claim.name}: {claim.parts} defective parts come from {claim.groups} groups, "
                f"{claim.largest_group} from one. Parts of one group are alike: the claim is about these "
                "groups until defects of more lots are added"
            )
        if claim.t1 is None and not claim.parts:
            found.append(
                f"{claim.name}: no part has it here; its T1 was not raised and proves nothing"
            )
    named = [claim for claim in dict.fromkeys(claims) if claim.parts]
    if len(named) > 1:
        found.append(
            f"each claim holds by itself at {percent(targets.confidence)}; that all {len(named)} hold "
            "together is less sure"
        )
    if not good:
        found.append("no good part is here: T2 is 1, and nothing is known of overkill and review")
    if run.release.task == "anomaly":
        found.append(
            "the model learned from good parts only: the claim is about these kinds of defects"
        )
    return found


def _pooled_hint(claims: list[EscapeClaim], all_claim: EscapeClaim, *, pooled: bool) -> list[str]:
    if pooled or not all_claim.met or all(claim.met for claim in claims):
        return []
    return [
        f"one T1 for all classes (--pooled) supports {percent(all_claim.target)} for the mix of "
        f"defects in these {all_claim.parts} parts, though not for each class"
    ]


def _overkill_words(proposal: Proposal) -> str:
    limit, targets = proposal.overkill, proposal.targets
    sure, target = percent(targets.confidence), percent(targets.overkill)
    review = proposal.measured["review"]
    if limit.supported is None:
        return f"overkill: no claim of {target}: there is no good part"
    if limit.supported > targets.overkill:
        words = (
            f"overkill: no claim of {target}: {limit.parts} good parts support at best "
            f"{percent(limit.supported)} at {sure}"
        )
    else:
        words = f"overkill: at most {target} at {sure} confidence ({limit.parts} good parts)"
    if review["rate"] is not None and review["rate"] > targets.review:
        words += (
            f". Review of good parts is {percent(review['rate'])}, asked was {percent(targets.review)}: "
            "the defects' scores reach down among the good parts. Train a better model, or ask for less"
        )
    return words


def as_dict(proposal: Proposal, run: SplitRun) -> dict[str, Any]:
    """Return everything a script or an auditor asks."""
    return {
        "release": run.release.name,
        "model_sha256": run.release.model_sha256,
        "dataset": {
            "name": run.version.name, "version": run.version.version, "sha256": run.version.sha256,
            "split": run.split, "images": len(run.samples),
        },
        "runtime": run.runtime,
        "precision": run.precision,
        "targets": asdict(proposal.targets),
        "met": proposal.met,
        "rule": "pooled" if proposal.is_pooled else "per class",
        "limits": {name: asdict(x) for name, x in proposal.recipe.limits.items()},
        "claims": [claim.as_dict() for claim in (*proposal.claims, proposal.pooled)],
        "claims_in_force": [claim.name for claim in proposal.in_force],
        "overkill": asdict(proposal.overkill),
        "measured": proposal.measured,
        "words": proposal.sentences(),
        "warnings": list(proposal.warnings),
    }  # fmt: skip


def recipe_yaml(proposal: Proposal) -> str:
    """Return the recipe as a file that `inspection line` reads."""
    recipe = proposal.recipe
    content: dict[str, Any] = {
        "number": recipe.number,
        "part": recipe.part,
        "release": recipe.release,
        "limits": {
            name: {k: v for k, v in asdict(x).items() if v is not None}
            for name, x in recipe.limits.items()
        },
        "deadline": recipe.deadline,
    }
    if recipe.regions:
        content["regions"] = [
            {**asdict(x), "box": list(x.box), "classes": list(x.classes)} for x in recipe.regions
        ]
    frame = {
        k: list(v) if k == "size" else v for k, v in asdict(recipe.frame).items() if v is not None
    }
    content["frame"] = frame
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False)


def write_limits(path: Path, proposal: Proposal, run: SplitRun) -> Path:
    """Write the recipe file and the claim beside it; return the claim's path. Nothing is overwritten.

    Raises:
        ConfigError: a file is there already, or cannot be written.
    """
    claim = path.with_suffix(".claim.json")
    for file in (path, claim):
        if file.exists():
            raise ConfigError(f"{file} is there already; name another file, or move it away")
    text = recipe_yaml(proposal).encode()
    content = {**as_dict(proposal, run), "recipe_sha256": hashlib.sha256(text).hexdigest()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(claim, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
        write_atomic(path, text)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error}; free space or check the rights"
        ) from error
    return claim
