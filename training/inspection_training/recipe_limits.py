"""Limits and claim of a release for one recipe, from parts that training never saw.

    SplitRun + recipe + targets ─▶ distinct pictures ─▶ scores of whole parts ─▶ T1, T2, claims
        ─▶ measured with `judge`

`recipe_files` writes them. A picture counts once, however many byte copies of it the split holds; a part
counts once, however many pictures there are of it, see `inspection_datasets.parts`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from inspection.sentences.claims import (
    ALL,
    limit_sentences,
    not_met_sentences,
)
from inspection.sentences.shares import counted_of
from inspection.types import ClassLimits, Decision, Recipe
from inspection_datasets.parts import parts_of
from inspection_training.claims import (
    FAILS_BY_COUNT,
    EscapeClaim,
    OverkillLimit,
    Targets,
    escape_claim,
    fixed_claim,
    overkill_limit,
    unknown_claim,
)
from inspection_training.evaluate import rate_of
from inspection_training.evaluation import SplitRun, Warned
from inspection_training.scoring import COUNT, count_decision, defects_of, must_be_there, part_score
from inspection_training.statistics import upper_bound


@dataclass(frozen=True, slots=True)
class Proposal:
    """Limits with what they support.

    Attributes:
        recipe: with the new limits.
        targets: what was asked.
        claims: one for each defect class of the release, for wrong counts where the recipe expects any,
            and for each class of the labels that the release does not know.
        pooled: one T1 for every class, for the mix of defects as it is in these parts.
        is_pooled: the recipe's T1 is the pooled one.
        overkill: T2 and what it supports.
        measured: escape of defective, overkill and review of good pictures, by `judge` on these parts;
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
    warnings: tuple[Warned, ...]

    @property
    def in_force(self) -> tuple[EscapeClaim, ...]:
        """The claims that must be met for the recipe's limits."""
        others = tuple(claim for claim in self.claims if claim.name == COUNT or not claim.known)
        return (self.pooled, *others) if self.is_pooled else self.claims

    @property
    def overkill_met(self) -> bool:
        """Tell whether the overkill is proven and the review of good parts is as asked."""
        supported, review = self.overkill.supported, self.measured["review"]["rate"]
        return (
            supported is not None
            and supported <= self.targets.overkill
            and review is not None
            and review <= self.targets.review
        )

    @property
    def met(self) -> bool:
        """Tell whether every target is proven or, for review, reached."""
        return all(claim.met for claim in self.in_force) and self.overkill_met

    def as_values(self) -> dict[str, Any]:
        """Return what was asked, claimed and measured, in plain values: all that a sentence needs."""
        return {
            "targets": asdict(self.targets),
            "claims": [claim.as_dict() for claim in (*self.claims, self.pooled)],
            "claims_in_force": [claim.name for claim in self.in_force],
            "overkill": asdict(self.overkill),
            "measured": self.measured,
        }

    def sentences(self, language: str = "en") -> list[str]:
        """Return every claim in `ko` or `en`, or what is missing for it."""
        return limit_sentences(self.as_values(), language)

    def not_met(self, language: str = "en") -> list[str]:
        """Return the sentences of the targets that are not met; empty when all are."""
        return not_met_sentences(self.as_values(), language)


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
    run, wrong, copies = _distinct(run, recipe)
    parts = parts_of(run.samples)
    defects = [name for name in run.release.classes if name not in must_be_there(recipe)]
    scores = {name: [part_score(x, name, recipe) for x in run.found] for name in defects}
    claims = [
        escape_claim(
            name,
            [s for s, w in zip(scores[name], wrong, strict=True) if name in w],
            [x for x, w in zip(parts, wrong, strict=True) if name in w],
            targets,
        )
        for name in defects
    ]
    highest = [max(row, default=0.0) for row in zip(*scores.values(), strict=True)]
    bearing = [i for i, w in enumerate(wrong) if w - {COUNT}] if defects else []
    all_claim = escape_claim(
        ALL, [highest[i] for i in bearing], [parts[i] for i in bearing], targets
    )
    counted = _count_claim(run, recipe, wrong, targets)
    t1 = {c.name: all_claim.t1 if pooled else c.t1 for c in claims}
    good = [i for i, w in enumerate(wrong) if not w]
    t2 = _good_limit(run, recipe, scores, t1, good, targets)
    limits = {**recipe.limits, **{n: _limits(recipe.limits[n], t1[n], t2) for n in defects}}
    judged = replace(recipe, limits=limits)
    measured = _measure(run, judged, wrong)
    return Proposal(
        recipe=judged,
        targets=targets,
        claims=(*claims, *counted, *_unknown_claims(run, judged, wrong, targets)),
        pooled=all_claim,
        is_pooled=pooled,
        overkill=_as_judged(t2, counted_of(measured["overkill"]), targets),
        measured=measured,
        warnings=(
            *run.warnings,
            *copies,
            *_warnings(run, [all_claim if pooled else c for c in claims], good, targets),
            *_pooled_hint(claims, all_claim, pooled=pooled),
        ),
    )


def _distinct(run: SplitRun, recipe: Recipe) -> tuple[SplitRun, list[set[str]], list[Warned]]:
    """Return the run with each picture once, what is wrong with each, and a warning about copies.

    Copies of a picture are one part; what is wrong with it is everything that any of them is labelled as.
    """
    first: dict[str, int] = {}
    wrong: dict[str, set[str]] = {}
    copies: list[int] = []
    torn: set[str] = set()
    for i, sample in enumerate(run.samples):
        own, key = defects_of(sample, recipe), sample.sha256
        if key in first:
            copies.append(i)
            if own != wrong[key]:
                torn.add(key)
        first.setdefault(key, i)
        wrong[key] = wrong.get(key, set()) | own
    if not copies:
        return run, list(wrong.values()), []
    kept = list(first.values())
    a, b = run.samples[copies[0]], run.samples[first[run.samples[copies[0]].sha256]]
    values = {"copies": len(copies), "of": len(run.samples), "torn": len(torn)}
    warning = Warned("copies", {**values, "image": a.image, "original": b.image})
    once = replace(
        run,
        samples=tuple(run.samples[i] for i in kept),
        found=tuple(run.found[i] for i in kept),
    )
    return once, list(wrong.values()), [warning]


def _unknown_claims(
    run: SplitRun, recipe: Recipe, wrong: list[set[str]], targets: Targets
) -> list[EscapeClaim]:
    names = sorted(set[str]().union(*wrong) - {COUNT} - set(run.release.classes))
    made, parts = run.decisions(recipe) if names else [], parts_of(run.samples)
    claims: list[EscapeClaim] = []
    for name in names:
        bad = [i for i, w in enumerate(wrong) if name in w]
        passed = [made[i] is Decision.PASS for i in bad]
        claims.append(unknown_claim(name, passed, [parts[i] for i in bad], targets))
    return claims


def _as_judged(limit: OverkillLimit, failing: int, targets: Targets) -> OverkillLimit:
    """Return the limit with no better claim than what `judge` made of the good parts."""
    if limit.supported is None:
        return limit
    bound = upper_bound(failing, limit.parts, targets.confidence)
    return replace(limit, supported=max(limit.supported, bound))


def _limits(old: ClassLimits, t1: float | None, overkill: OverkillLimit) -> ClassLimits:
    """Return a class's limits; without any part of the class its T1 is not raised."""
    low = min(old.t1, overkill.t2) if t1 is None else t1
    return replace(old, t1=low, t2=max(low, overkill.t2))


def _good_limit(
    run: SplitRun,
    recipe: Recipe,
    scores: dict[str, list[float]],
    t1: dict[str, float | None],
    good: list[int],
    targets: Targets,
) -> OverkillLimit:
    floor = {name: recipe.limits[name].t1 if x is None else x for name, x in t1.items()}
    parts = parts_of(run.samples)
    stopped = [
        FAILS_BY_COUNT
        if count_decision(run.found[i], recipe) is Decision.FAIL
        else max((s[i] for n, s in scores.items() if s[i] >= floor[n]), default=0.0)
        for i in good
    ]
    own = [parts[i] for i in good]
    return overkill_limit(stopped, own, targets, counted=bool(must_be_there(recipe)))


def _count_claim(
    run: SplitRun, recipe: Recipe, wrong: list[set[str]], targets: Targets
) -> list[EscapeClaim]:
    if not must_be_there(recipe):
        return []
    bad, parts = [i for i, w in enumerate(wrong) if COUNT in w], parts_of(run.samples)
    passed = [count_decision(run.found[i], recipe) is Decision.PASS for i in bad]
    return [fixed_claim(COUNT, passed, [parts[i] for i in bad], targets)]


def _measure(run: SplitRun, recipe: Recipe, wrong: list[set[str]]) -> dict[str, dict[str, Any]]:
    made, parts = run.decisions(recipe), parts_of(run.samples)

    def share(decision: Decision, *, defective: bool) -> dict[str, Any]:
        own = [i for i, w in enumerate(wrong) if bool(w) is defective]
        return rate_of([made[i] is decision for i in own], [parts[i] for i in own])

    return {
        "escape": share(Decision.PASS, defective=True),
        "overkill": share(Decision.FAIL, defective=False),
        "review": share(Decision.REVIEW, defective=False),
    }


def _warnings(
    run: SplitRun, claims: list[EscapeClaim], good: list[int], targets: Targets
) -> list[Warned]:
    found: list[Warned] = []
    if run.split == "val":
        found.append(Warned("val_parts"))
    for claim in dict.fromkeys(claims):
        own = {"name": claim.name, "parts": claim.pictures, "groups": claim.parts}
        if claim.few_groups:
            found.append(Warned("few_groups", {**own, "largest_group": claim.largest_group}))
        if claim.t1 is None and not claim.parts:
            found.append(Warned("t1_not_raised", {"name": claim.name}))
    named = [claim for claim in dict.fromkeys(claims) if claim.parts]
    if len(named) > 1:
        values = {"confidence": targets.confidence, "claims": len(named)}
        found.append(Warned("single_claims", values))
    if not good:
        found.append(Warned("no_good_parts"))
    if run.release.task == "anomaly":
        found.append(Warned("good_parts_only"))
    return found


def _pooled_hint(
    claims: list[EscapeClaim], all_claim: EscapeClaim, *, pooled: bool
) -> list[Warned]:
    if pooled or not all_claim.met or all(claim.met for claim in claims):
        return []
    values = {"target": all_claim.target, "parts": all_claim.parts}
    return [Warned("pooled_would_hold", values)]


def as_dict(proposal: Proposal, run: SplitRun) -> dict[str, Any]:
    """Return everything a script or an auditor asks.

    Codes and values say it all; `words`, `not_met` and `warnings` are their English sentences, for people
    who open the file itself.
    """
    values = proposal.as_values()
    return {
        "release": run.release.name,
        "model_sha256": run.release.model_sha256,
        "dataset": {
            "name": run.version.name, "version": run.version.version, "sha256": run.version.sha256,
            "split": run.split, "images": len(run.samples),
        },
        "runtime": run.runtime,
        "precision": run.precision,
        "targets": values["targets"],
        "met": proposal.met,
        "not_met": proposal.not_met("en"),
        "rule": "pooled" if proposal.is_pooled else "per class",
        "limits": {name: asdict(x) for name, x in proposal.recipe.limits.items()},
        "claims": values["claims"],
        "claims_in_force": values["claims_in_force"],
        "overkill": values["overkill"],
        "measured": values["measured"],
        "words": proposal.sentences("en"),
        "warnings": [warning.told("en") for warning in proposal.warnings],
        "warning_codes": [asdict(warning) for warning in proposal.warnings],
    }  # fmt: skip
