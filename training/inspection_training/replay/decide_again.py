"""Decide stored parts again with another release, before anyone switches. The store is only read.

    rows ─▶ inspected, with a picture that is there and unaltered ─▶ the release on the stored picture
        ─▶ `decide`, as the line does ─▶ old -> new
                      └▶ where it is at hand: the old release on the stored picture (the baseline)

A stored picture is not the frame that was judged: as JPEG it lost a little. What the old release decides
on the stored picture shows how much of a change comes from that alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from inspection.errors import ConfigError, DatasetError
from inspection.recipe import RecipeConfig
from inspection.store.config import StoreConfig
from inspection.store.queries import PartFilter, StoreReader
from inspection.store.rows import counted, stored_images
from inspection.types import (
    Code,
    Decision,
    Detections,
    Image,
    PartKey,
    Recipe,
    Release,
    Result,
    Verdict,
)
from inspection.variants import FLOAT, precision_of
from inspection_datasets.incoming import inside, read_image
from inspection_datasets.manifest import sha256_of
from inspection_training.evaluation import plain_recipe
from inspection_training.measure import MEASURED_WITH
from inspection_training.replay.codes import decision_of, stored_codes, without_rule
from inspection_training.replay.judges import Judges

PAGE = 500
LOSSY = frozenset({".jpg", ".jpeg", ".webp"})
_DEFECTIVE = {Verdict.REAL_DEFECT, Verdict.MISSED}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is replayed.

    Attributes:
        store: the results store; `images.folder` is where its pictures are.
        releases: releases folder.
        part: name of the part.
        release: number of the release that decides again.
        recipe: limits, regions and frame limits, whatever release it names; None: the release's own limits.
        recipe_sha256: hash of the recipe's file; empty without one.
        since: only parts triggered at or after this UTC text.
        until: only parts triggered before this UTC text.
        limit: look at so many of the newest parts at most; None: all.
        runtime: openvino, onnxruntime or pytorch.
        precision: arithmetic that decides again: f32, or a variant that the release has.
        threads: for one inference; 0: the library's choice.
    """

    store: StoreConfig
    releases: Path
    part: str
    release: int
    recipe: RecipeConfig | None = None
    recipe_sha256: str = ""
    since: str | None = None
    until: str | None = None
    limit: int | None = None
    runtime: str = MEASURED_WITH
    precision: str = FLOAT
    threads: int = 0


@dataclass(frozen=True, slots=True)
class Replayed:
    """One part that was decided again.

    Attributes:
        key: identity of the part.
        record: id of its row.
        at: when it was triggered, UTC.
        picture: path in the picture folder.
        release: release that decided it then.
        old: decision in the row.
        new: what the other release decides, by the same rules.
        baseline: what the old release decides on the stored picture; None: not known.
        verdict: the last verdict of a person; None: nobody looked.
        detail: the row's own words for its decision.
        before: detections in the row that counted then; kept where the decision changed.
        after: what the other release found; kept where the decision changed, and it gave an answer.
    """

    key: PartKey
    record: int
    at: str
    picture: str
    release: str
    old: Decision
    new: Result
    baseline: Decision | None
    verdict: Verdict | None
    detail: str
    before: list[dict[str, Any]]
    after: Detections | None

    @property
    def changed(self) -> bool:
        """Tell whether the decision would change."""
        return self.new.decision is not self.old

    @property
    def noise(self) -> bool:
        """Tell whether the old release, too, decides the stored picture otherwise than the row."""
        return self.baseline is not None and self.baseline is not self.old

    @property
    def defective(self) -> bool | None:
        """What a person said of the part; None: nobody, or no clear word."""
        if self.verdict in _DEFECTIVE:
            return True
        return False if self.verdict is Verdict.FALSE_CALL else None

    def error(self, decision: Decision) -> str:
        """Return `escape` or `overkill` where a decision contradicts the verdict, else nothing."""
        if self.defective is True and decision is Decision.PASS:
            return "escape"
        return "overkill" if self.defective is False and decision is Decision.FAIL else ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "part": str(self.key),
            "record": self.record,
            "at": self.at,
            "picture": self.picture,
            "release": self.release,
            "old": self.old.value,
            "new": self.new.decision.value,
            "reason": self.new.reason.name,
            "detail_old": self.detail,
            "detail_new": self.new.detail,
            "baseline": self.baseline and self.baseline.value,
            "verdict": self.verdict and self.verdict.value,
            "error_old": self.error(self.old),
            "error_new": self.error(self.new.decision),
        }


@dataclass(slots=True)
class Replay:
    """What a replay found.

    Attributes:
        release: the release that decided again, checked.
        recipe: limits and regions it was done with.
        recipe_given: they come from a recipe file, else from the release.
        runtime: who ran it.
        parts: every part that was decided again, newest first.
        left_out: why to keys of parts that cannot be decided again.
        lossy: parts whose stored picture is a lossy one.
        no_baseline: why to number of parts without a baseline.
        recipe_differs: parts that another recipe file decided than the one given.
        no_code: parts judged without the recipe's rule of the code, since nobody looked for one then.
    """

    release: Release
    recipe: Recipe
    recipe_given: bool
    runtime: str
    parts: list[Replayed] = field(default_factory=list[Replayed])
    left_out: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    lossy: int = 0
    no_baseline: Counter[str] = field(default_factory=Counter[str])
    recipe_differs: int = 0
    no_code: int = 0

    @property
    def changed(self) -> list[Replayed]:
        """The parts whose decision would change, those that would newly pass first."""
        order = {Decision.PASS: 0, Decision.NOT_INSPECTED: 1, Decision.REVIEW: 2, Decision.FAIL: 3}
        found = [part for part in self.parts if part.changed]
        return sorted(found, key=lambda part: order[part.new.decision])

    @property
    def counts(self) -> dict[tuple[Decision, Decision], int]:
        """(old, new) to number of parts."""
        return dict(Counter((part.old, part.new.decision) for part in self.parts))

    @property
    def baseline(self) -> list[Replayed]:
        """The parts that the old release decided again on their stored picture."""
        return [part for part in self.parts if part.baseline is not None]

    def reviewed(self) -> dict[str, dict[str, int]]:
        """Return escapes and overkill among the parts that a person judged, then and now."""
        judged = [part for part in self.parts if part.defective is not None]
        found: dict[str, dict[str, int]] = {}
        for name, defective in (("escape", True), ("overkill", False)):
            own = [part for part in judged if part.defective is defective]
            found[name] = {
                "parts": len(own),
                "old": sum(part.error(part.old) == name for part in own),
                "new": sum(part.error(part.new.decision) == name for part in own),
            }
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "release": self.release.name,
            "model_sha256": self.release.model_sha256,
            "limits_from": "recipe" if self.recipe_given else "release",
            "runtime": self.runtime,
            "precision": precision_of(self.release),
            "decided_again": len(self.parts),
            "changes": len(self.changed),
            "counts": {f"{a.value} -> {b.value}": n for (a, b), n in self.counts.items()},
            "reviewed": self.reviewed(),
            "baseline": {
                "parts": len(self.baseline),
                "differ": sum(part.noise for part in self.baseline),
                "unknown": dict(self.no_baseline),
            },
            "lossy_pictures": self.lossy,
            "other_recipe": self.recipe_differs,
            "no_code": self.no_code,
            "left_out": self.left_out,
            "changed": [part.as_dict() for part in self.changed],
        }


def replay(asked: Asked, tick: Callable[[int, int], None] = lambda _done, _of: None) -> Replay:
    """Decide the stored parts again.

    Args:
        asked: which parts, and by what.
        tick: called with (done, parts) after each row.

    Raises:
        StoreError: the store cannot be read.
        ReleaseError: the release is refused, or has no such variant.
        InferenceError: this processor cannot run it.
        ConfigError: recipe and release do not fit, or no part could be decided again.
    """
    with (
        Judges(asked.releases, asked.runtime, asked.threads) as judges,
        StoreReader(asked.store) as reader,
    ):
        found = begin(asked, judges)
        total = count_parts(reader, asked)
        for done, (row, verdict) in enumerate(stored_rows(reader, asked), 1):
            decide_row(row, verdict, asked, judges, found)
            tick(done, total)
    return checked(found, asked)


def begin(asked: Asked, judges: Judges) -> Replay:
    """Return a replay of no part yet: the release is checked, its recipe made."""
    release = judges.asked(asked.part, asked.release, asked.precision)
    return Replay(release, _recipe(asked, release), asked.recipe is not None, asked.runtime)


def checked(found: Replay, asked: Asked) -> Replay:
    """Return a replay of some parts. Raises ConfigError where there is none."""
    if not found.parts:
        why = "; ".join(f"{len(keys)}: {name}" for name, keys in found.left_out.items())
        raise ConfigError(
            f"no part of {asked.part} could be decided again ({why or 'none is in this time'}); "
            "check --part, --since, --until and --images"
        )
    return found


def _recipe(asked: Asked, release: Release) -> Recipe:
    if asked.recipe is None:
        return plain_recipe(release)
    if asked.recipe.part != asked.part:
        raise ConfigError(
            f"the recipe is for {asked.recipe.part}, replayed is {asked.part}; name its recipe"
        )
    config = asked.recipe.model_copy(update={"release": release.number})
    return config.recipe(release, asked.recipe_sha256)


def _filter(asked: Asked, *, unreviewed: bool = False) -> PartFilter:
    return PartFilter(since=asked.since, until=asked.until, unreviewed=unreviewed)


def count_parts(reader: StoreReader, asked: Asked) -> int:
    """Return the number of rows that are looked at."""
    total = sum(reader.counts(_filter(asked)).values())
    return total if asked.limit is None else min(total, asked.limit)


def stored_rows(
    reader: StoreReader, asked: Asked
) -> Iterator[tuple[dict[str, Any], Verdict | None]]:
    """Yield each row and its last verdict, newest first."""
    below: int | None = None
    left = asked.limit
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        rows = reader.page(_filter(asked), below=below, limit=size)
        if not rows:
            return
        open_ones = reader.page(_filter(asked, unreviewed=True), below=below, limit=size)
        without = {row["id"] for row in open_ones}
        for row in rows:
            found = None if row["id"] in without else reader.part(row["id"])
            given = found[1] if found else []
            yield row, Verdict(given[-1]["verdict"]) if given else None
        below = rows[-1]["id"]
        left = None if left is None else left - len(rows)


def decide_row(
    row: dict[str, Any], verdict: Verdict | None, asked: Asked, judges: Judges, found: Replay
) -> None:
    """Decide one stored part again and add it to what was found."""
    key = PartKey(row["station"], row["epoch"], row["sequence"])
    picture = _picture(row, asked)
    if isinstance(picture, str):
        found.left_out.setdefault(picture, []).append(str(key))
        return
    path, image = picture
    codes = stored_codes(row, found.recipe)
    if isinstance(codes, str):
        found.left_out.setdefault(codes, []).append(str(key))
        return
    recipe = without_rule(found.recipe, codes)
    found.no_code += recipe is not found.recipe and found.recipe.code is not None
    judge_of = judges.of(found.release)
    result, after = judge_of.decide(image, recipe, key, codes, row["serial"])
    changed = result.decision != row["decision"]
    baseline, why = _baseline(row, image, asked, judges, (found, result), codes)
    if why:
        found.no_baseline[why] += 1
    found.lossy += PurePosixPath(path).suffix.lower() in LOSSY
    if asked.recipe is not None and row["recipe_sha256"] != asked.recipe_sha256:
        found.recipe_differs += 1
    found.parts.append(
        Replayed(
            key, row["id"], row["triggered_at"], path, row["release"] or "", Decision(row["decision"]),
            result, baseline, verdict, row["detail"] or "", (counted(row) or []) if changed else [],
            after if changed else None,
        )
    )  # fmt: skip


def _picture(row: dict[str, Any], asked: Asked) -> tuple[str, Image] | str:
    """Return path and pixels of a row's picture, or why the part cannot be decided again."""
    if row["decision"] is None:
        return "not decided yet"
    if row["decision"] == Decision.NOT_INSPECTED:
        return f"was not inspected ({row['reason']})"
    if row["part_name"] != asked.part:
        return f"another part ({row['part_name']})"
    try:
        files = stored_images(row["images"])
    except (KeyError, TypeError, ValueError):
        return "the row of its picture is malformed"
    if not files:
        return f"no picture was kept ({row['image_state']})"
    try:
        path = inside(asked.store.images.folder, files[0].path, "the results store")
        if not path.is_file():
            return "the picture is gone"
        if sha256_of(path) != files[0].sha256:
            return "the picture was altered"
        return files[0].path, read_image(path)
    except (DatasetError, OSError):
        return "the picture cannot be read"


def _baseline(
    row: dict[str, Any],
    image: Image,
    asked: Asked,
    judges: Judges,
    new: tuple[Replay, Result],
    codes: tuple[Code, ...] | None,
) -> tuple[Decision | None, str]:
    """Return what the old release decides on the stored picture, or why that is not known.

    The limits in force then are known when they lead from the row's own detections to its decision.
    """
    release = judges.find(row)
    if release is None:
        return None, "the old release is not at hand"
    recipe = plain_recipe(release)
    if asked.recipe is not None and not set(asked.recipe.limits) - set(release.classes):
        old = asked.recipe.model_copy(update={"release": release.number})
        recipe = without_rule(old.recipe(release, asked.recipe_sha256), codes)
    seen = _stored_detections(row, release)
    if seen is None:
        return None, "the row keeps no whole detections"
    if decision_of(seen, recipe, codes, row["serial"]) != row["decision"]:
        return None, "other limits were in force"
    if recipe == new[0].recipe and release.model_sha256 == new[0].release.model_sha256:
        return new[1].decision, ""  # the very release that decides again, in its precision
    key = PartKey(row["station"], row["epoch"], row["sequence"])
    return judges.of(release).decide(image, recipe, key, codes, row["serial"])[0].decision, ""


def _stored_detections(row: dict[str, Any], release: Release) -> Detections | None:
    """Return what the row keeps of the old detections; None where it is not whole."""
    try:
        rows = row["detections"]
        classes = [release.classes.index(found["class"]) for found in rows]
        boxes = np.array([found["box"] for found in rows], np.float32).reshape(-1, 4)
        scores = np.array([found["score"] for found in rows], np.float32)
        outlined = release.task == "segment"
        areas = np.array([found["area"] for found in rows], np.float32) if outlined else None
    except (KeyError, TypeError, ValueError):
        return None
    return Detections(
        boxes, scores, np.array(classes, np.int64), release.classes, release.name,
        release.model_sha256, row["anomaly_score"], areas=areas,
    )  # fmt: skip
