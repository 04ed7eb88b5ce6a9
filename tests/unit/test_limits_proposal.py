"""A proposal signs nothing that is false: counts, unknown classes, copies, rounding; and its two files."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.errors import ConfigError
from inspection.recipe import CodeConfig, FrameConfig, RecipeConfig
from inspection.release import DatasetCard, LimitsCard, ReleaseCard
from inspection.sentences.claims import escape_sentence, limit_sentences, not_met_sentences
from inspection.sentences.shares import at_most, exactly, percent
from inspection.types import ClassLimits, Decision, Detections, Region, Release
from inspection.yaml_file import read_yaml
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.claims import (
    FAILS_BY_COUNT,
    Targets,
    escape_claim,
    overkill_limit,
    unknown_claim,
)
from inspection_training.evaluation import SplitRun
from inspection_training.recipe_files import check_place, number_for, write_all, write_limits
from inspection_training.recipe_limits import as_dict, propose_limits
from inspection_training.statistics import upper_bound

Box = tuple[str, float, float, float, float]
BOX = (10.0, 10.0, 30.0, 30.0)
SHA = "0" * 64
PLAIN = RecipeConfig(number=1, part="plate", release=1)


def part(number: int, *boxes: Box, sha256: str | None = None) -> Sample:
    return Sample(
        image=f"i{number}.png", sha256=sha256 or f"{number:064x}", width=100, height=100, split="test",
        group=f"g{number}", boxes=list(boxes), state="labelled" if boxes else "good", origin="test",
    )  # fmt: skip


def found(*rows: tuple[float, int, tuple[float, ...]], classes: Sequence[str]) -> Detections:
    return Detections(
        np.array([row[2] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[0] for row in rows], np.float32),
        np.array([row[1] for row in rows], np.int64),
        tuple(classes), "plate/1", SHA,
    )  # fmt: skip


def made(
    limits: dict[str, ClassLimits],
    pairs: Sequence[tuple[Sample, Detections]],
    labels: tuple[str, ...] = (),
) -> SplitRun:
    classes = tuple(limits)
    release = Release(
        part="plate", number=1, folder=Path("x"), model=Path("x"), model_sha256=SHA, task="detect",
        classes=classes, input_size=(64, 64), limits=limits, tiling=None,
    )  # fmt: skip
    samples = tuple(sample for sample, _ in pairs)
    version = DatasetVersion(Path("x"), "plate", "v0001", SHA, labels or classes, samples)
    card = ReleaseCard(
        part="plate", number=1, created_at="2026-11-21T00:00:00Z", family="test", task="detect",
        classes=list(classes), input_size=(64, 64), files={"model.onnx": SHA},
        limits={name: LimitsCard(t1=x.t1, t2=x.t2, min_size=0) for name, x in limits.items()}, claim="",
        dataset=DatasetCard(name="plate", version="v0001", sha256=SHA, train_images=1, val_images=0),
        base_weights="", experiment={}, seeds={}, libraries={}, licence="none", metrics={}, parity={},
        latency={},
    )  # fmt: skip
    return SplitRun(release, card, version, "test", samples, tuple(d for _, d in pairs), "openvino")


# ---------------------------------------------------------------------- things that must be there


def screws(count: int) -> list[Box]:
    return [("screw", 10.0 * k, 10.0, 10.0 * k + 8, 20.0) for k in range(1, count + 1)]


def seen(count: int, classes: Sequence[str] = ("screw",)) -> Detections:
    return found(*[(0.9, 0, box[1:]) for box in screws(count)], classes=classes)


def screw_run(failing: int, good: int = 100, *, in_region: bool = False) -> SplitRun:
    """Return good parts with four screws, of which the model sees three on `failing` of them."""
    limit = ClassLimits(0.5, 0.5) if in_region else ClassLimits(0.5, 0.5, expected=4)
    pairs = [(part(i, *screws(4)), seen(3 if i < failing else 4)) for i in range(good)]
    pairs += [(part(1000 + i, *screws(3)), seen(3)) for i in range(300)]
    return made({"screw": limit}, pairs)


@pytest.mark.parametrize("in_region", [False, True])
def test_good_parts_that_fail_by_count_are_overkill(in_region: bool) -> None:
    run = screw_run(100, in_region=in_region)
    recipe = run.recipe
    if in_region:
        regions = (Region((0, 0, 100, 100), expected={"screw": 4}),)
        recipe = type(recipe)(1, "plate", 1, recipe.limits, regions)
    proposal = propose_limits(run, recipe, Targets(), pooled=False)
    assert all(claim.met for claim in proposal.claims), "every bad part is stopped"
    assert proposal.measured["overkill"]["count"] == 100
    assert proposal.overkill.supported == 1.0
    assert not proposal.met
    (said,) = proposal.not_met("en")
    assert said.startswith(
        "overkill: no claim of 5 %: 100 good parts, 100 FAIL, 100 of them by counts"
    )
    assert "support nothing at 95 %" in said


@pytest.mark.parametrize("failing", range(4))
def test_counts_use_up_the_overkill(failing: int) -> None:
    proposal = propose_limits(screw_run(failing), screw_run(0).recipe, Targets(), pooled=False)
    bound = upper_bound(failing, 100)
    assert proposal.overkill_met == (bound <= 0.05) == (failing <= proposal.overkill.allowed)
    if failing <= proposal.overkill.allowed:
        assert proposal.overkill.supported == 0.05
    else:  # their own bound and that of what T2 fails, together
        assert proposal.overkill.supported == pytest.approx(
            {2: 0.13735, 3: 0.15303}[failing], rel=1e-4
        )
        assert proposal.overkill.supported > bound


def test_the_overkill_guarantee_holds_with_counts() -> None:
    """Of all good parts 2 % FAIL by count, whatever T2 is; the scores of the others are uniform."""
    random, targets, wrong = np.random.default_rng(5), Targets(overkill=0.05), 0
    for _ in range(2000):
        by_count = int((random.random(250) < 0.02).sum())
        scores = [FAILS_BY_COUNT] * by_count + random.random(250 - by_count).tolist()
        limit = overkill_limit(scores, range(250), targets)
        assert limit.supported is not None
        wrong += 0.02 + 0.98 * max(0.0, 1 - limit.t2) > limit.supported
    assert wrong <= 0.05 * 2000 + 3 * (0.05 * 0.95 * 2000) ** 0.5


def test_nothing_is_known_of_t2_when_all_fail_by_count() -> None:
    assert overkill_limit([FAILS_BY_COUNT] * 10, range(10), Targets()).t2 == 1.0


# ---------------------------------------------------------------------- classes, copies


def scratches(count: int) -> list[tuple[Sample, Detections]]:
    names = ("scratch",)
    pairs = [
        (part(i, ("scratch", *BOX)), found((0.9, 0, BOX), classes=names)) for i in range(count)
    ]
    return pairs + [(part(9000 + i), found(classes=names)) for i in range(100)]


@pytest.mark.parametrize("pooled", [False, True])
def test_a_class_the_release_does_not_know_is_never_claimed(pooled: bool) -> None:
    limits = {"scratch": ClassLimits(0.25, 0.5)}
    run = made(limits, scratches(400))
    assert propose_limits(run, run.recipe, Targets(), pooled=pooled).met
    cracks = [
        (part(5000, ("crack", *BOX)), found(classes=("scratch",))),
        (part(5001, ("crack", *BOX)), found((0.95, 0, BOX), classes=("scratch",))),
    ]
    run = made(limits, [*scratches(400), *cracks], ("scratch", "crack"))
    proposal = propose_limits(run, run.recipe, Targets(), pooled=pooled)
    assert not proposal.met
    claim = next(claim for claim in proposal.in_force if claim.name == "crack")
    assert (claim.parts, claim.missed, claim.known, claim.met) == (2, 1, False, False)
    assert "crack: no claim of 1 %: the release does not know this class; 1 of 2 parts" in " ".join(
        proposal.not_met("en")
    )
    told = as_dict(proposal, run)
    assert told["not_met"] == proposal.not_met("en")
    assert {"class": "crack", "known": False}.items() <= told["claims"][1].items()


def test_a_class_that_is_not_known_is_not_met_even_without_a_miss() -> None:
    assert not unknown_claim("crack", [False] * 1000, range(1000), Targets()).met


def test_copies_of_a_picture_count_once() -> None:
    pairs = scratches(299)
    limits = {"scratch": ClassLimits(0.25, 0.5)}
    honest = made(limits, pairs)
    assert propose_limits(honest, honest.recipe, Targets(), pooled=False).met
    copied = [
        (sample.model_copy(update={"sha256": "a" * 64}) if sample.boxes else sample, what)
        for sample, what in pairs
    ]
    run = made(limits, copied)
    proposal = propose_limits(run, run.recipe, Targets(), pooled=False)
    assert (proposal.claims[0].parts, proposal.claims[0].pictures) == (1, 1)
    assert not proposal.met
    assert proposal.measured["escape"]["of"] == 1
    assert proposal.warnings[0].told("en") == (
        "298 of 399 pictures are copies of others, the first is i1.png of i0.png: each picture counts once"
    )


@pytest.mark.parametrize("pooled", [False, True])
def test_pictures_of_one_part_count_once(pooled: bool) -> None:
    """300 defective and 100 good pictures of 20 parts each, nothing missed, nothing wrongly failed."""
    pairs = scratches(300)
    limits = {"scratch": ClassLimits(0.25, 0.5)}
    honest = made(limits, pairs)
    assert propose_limits(honest, honest.recipe, Targets(), pooled=pooled).met
    views = [
        (sample.model_copy(update={"group": f"part {i % 20}"}), what)
        for i, (sample, what) in enumerate(pairs)
    ]
    run = made(limits, views)
    proposal = propose_limits(run, run.recipe, Targets(), pooled=pooled)
    assert not proposal.met
    (claim,) = proposal.in_force
    assert (claim.parts, claim.pictures) == (20, 300)
    assert claim.supported == pytest.approx(1 - 0.05 ** (1 / 20))
    assert (proposal.overkill.parts, proposal.overkill.pictures) == (20, 100)
    assert proposal.overkill.supported == pytest.approx(1 - 0.05 ** (1 / 20))
    measured = proposal.measured["escape"]
    assert (measured["of"], measured["parts"], measured["worst"]) == (300, 20, 0)
    escape, overkill = proposal.sentences("en")
    assert "300 pictures of 20 parts: counted as 20" in escape
    assert "100 pictures of 20 parts: counted as 20" in overkill
    assert "이미지 300장" in proposal.sentences("ko")[0]
    assert "few_groups" not in [warning.code for warning in proposal.warnings]


def test_a_good_part_fails_when_one_of_its_pictures_does() -> None:
    """Two pictures of every good part; of three of 100 one looks scratched. Of 200 parts 4 might fail."""
    pairs = scratches(300)[:300]
    for i in range(200):
        rows = [(0.95, 0, BOX)] if i in {0, 2, 4} else []
        sample = part(5000 + i).model_copy(update={"group": f"good {i // 2}"})
        pairs.append((sample, found(*rows, classes=("scratch",))))
    run = made({"scratch": ClassLimits(0.25, 0.5)}, pairs)
    proposal = propose_limits(run, run.recipe, Targets(overkill=0.05), pooled=False)
    assert (proposal.overkill.parts, proposal.overkill.allowed) == (100, 1)
    assert proposal.overkill.t2 >= 0.95, "the highest picture of a part is the part's"


def test_a_picture_with_two_labels_is_what_anybody_labelled() -> None:
    nothing = found(classes=("scratch",))
    pairs = [(part(1, sha256="a" * 64), nothing)]
    pairs += [(part(2, ("scratch", *BOX), sha256="a" * 64), nothing), (part(3), nothing)]
    run = made({"scratch": ClassLimits(0.25, 0.5)}, pairs)
    proposal = propose_limits(run, run.recipe, Targets(), pooled=False)
    assert (proposal.claims[0].parts, proposal.claims[0].missed) == (1, 1)
    assert proposal.overkill.parts == 1, "it is no good part"
    assert "1 of these are labelled in different ways" in proposal.warnings[0].told("en")
    assert "사본 가운데 1개는 라벨이 서로 다릅니다" in proposal.warnings[0].told("ko")
    assert run.decisions(proposal.recipe)[0] is Decision.PASS


# ---------------------------------------------------------------------- numbers in words


@given(st.floats(1e-6, 1.0))
def test_a_bound_is_never_shown_lower_than_it_is(share: float) -> None:
    shown = float(percent(share).removesuffix(" %")) / 100
    assert share <= shown * (1 + 1e-9)
    assert shown <= share * 1.1 + 1e-12


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0, "0 %"), (0.01, "1 %"), (0.07, "7 %"), (0.0101, "1.1 %"), (0.995, "100 %"), (1.0, "100 %")],
)  # fmt: skip
def test_bounds_in_percent(share: float, shown: str) -> None:
    assert percent(share) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.995, "99.5 %"), (0.999, "99.9 %"), (0.975, "97.5 %"), (0.07, "7 %"), (0.9999999, "99.99999 %")],
)  # fmt: skip
def test_what_was_asked_is_shown_as_asked(share: float, shown: str) -> None:
    assert exactly(share) == shown


def test_a_sentence_never_says_more_than_is_known() -> None:
    sure = escape_claim("dent", [0.9] * 700, list(range(700)), Targets(confidence=0.995))
    assert "at 99.5 % confidence" in escape_sentence(sure.as_dict(), 0.995, "en")
    nearly = escape_claim("dent", [0.9] * 298, list(range(298)), Targets())
    assert not nearly.met
    assert nearly.supported is not None
    assert 0.01 < nearly.supported < 0.0101
    assert "at best 1.1 % escape" in escape_sentence(nearly.as_dict(), 0.95, "en")
    assert at_most(0.1241, 0.125) == "12.5 %", "what is proven is not shown as over its target"
    assert at_most(0.1141, 0.125) == "12 %"


# ---------------------------------------------------------------------- the two files


def test_numbers_of_recipes() -> None:
    given_recipe = RecipeConfig(number=4, part="plate", release=1)
    cases: list[tuple[str, RecipeConfig | None, int | None, int]] = [
        ("7.yaml", None, None, 7),
        ("7.yaml", given_recipe, None, 4),
        ("7.yaml", given_recipe, 9, 9),
        ("plate.yaml", None, None, 1),
        ("0.yaml", None, None, 1),
        ("65536.yaml", None, None, 1),
        ("٧.yaml", None, None, 1),
    ]
    for name, recipe, asked, number in cases:
        assert number_for(Path("recipes") / name, recipe, asked) == number, name


def test_a_number_is_given_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("number: 7\npart: plate\nrelease: 1\n")
    (tmp_path / "b.yaml").write_text("not a recipe")
    with pytest.raises(ConfigError, match=r"a\.yaml is recipe 7 already.*--number"):
        check_place(tmp_path / "new.yaml", 7)
    check_place(tmp_path / "new.yaml", 8)
    check_place(tmp_path / "elsewhere" / "new.yaml", 7)
    with pytest.raises(ConfigError, match=r"end in \.yaml"):
        check_place(tmp_path / "new.yml", 8)


def test_what_is_not_met_stands_in_both_files(tmp_path: Path) -> None:
    run = made({"scratch": ClassLimits(0.25, 0.5)}, scratches(20))
    proposal = propose_limits(run, run.recipe, Targets(), pooled=False)
    file = tmp_path / "1.yaml"
    claim = json.loads(write_limits(file, proposal, run, PLAIN).read_text())
    assert claim["not_met"] == proposal.not_met("en")
    assert len(claim["not_met"]) == 1
    assert not_met_sentences(claim, "en") == claim["not_met"], "the file's own values say the same"
    assert limit_sentences(claim, "en") == claim["words"]
    (korean,) = not_met_sentences(claim, "ko")
    assert korean.startswith(
        "scratch: 1 % 보증 불가. 부품 20개로는 신뢰수준 95 %에서 미검률 14 %까지만"
    )
    assert [x["code"] for x in claim["warning_codes"]] == ["few_groups"][: len(claim["warnings"])]
    assert file.read_text().startswith("# not every target is proven: see the claim file\n")
    assert read_yaml(file, RecipeConfig).number == 1


def _long_name(folder: Path) -> Path:
    """Return a name that is short enough for the recipe, and too long for its claim."""
    spare = len(f"..{os.getpid()}.tmp") + len(".yaml")
    return folder / ("r" * (os.pathconf(folder, "PC_NAME_MAX") - spare) + ".yaml")


def _full(_: Path) -> Path:
    """Return a file of a device that is always full; there, not even a folder can be made."""
    return Path("/dev/full/recipes/1.yaml")


@pytest.mark.parametrize("name", [_long_name, _full])
def test_both_files_or_neither(tmp_path: Path, name: Callable[[Path], Path]) -> None:
    run = made({"scratch": ClassLimits(0.25, 0.5)}, scratches(20))
    proposal = propose_limits(run, run.recipe, Targets(), pooled=False)
    with pytest.raises(ConfigError, match="cannot be written"):
        write_limits(name(tmp_path), proposal, run, PLAIN)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_second_file_takes_the_first_with_it(tmp_path: Path) -> None:
    recipe = tmp_path / "1.yaml"
    recipe.mkdir()  # no file can be put in its place
    with pytest.raises(OSError, match=r"1\.yaml"):
        write_all({tmp_path / "1.claim.json": b"claim", recipe: b"recipe"})
    assert list(tmp_path.iterdir()) == [recipe]


def test_a_met_target_has_no_complaint(tmp_path: Path) -> None:
    run = made({"scratch": ClassLimits(0.25, 0.5)}, scratches(300))
    proposal = propose_limits(run, run.recipe, Targets(), pooled=False)
    assert proposal.met
    assert proposal.not_met("en") == []
    claim = json.loads(write_limits(tmp_path / "1.yaml", proposal, run, PLAIN).read_text())
    assert (claim["met"], claim["not_met"]) == (True, [])
    assert not (tmp_path / "1.yaml").read_text().startswith("#")
    assert not math.isnan(claim["overkill"]["t2"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.claim.json", "1.yaml"]


OWN: dict[str, object] = {
    "number": 3, "part": "plate", "release": 1, "limits": {"scratch": {"t1": 0.3, "t2": 0.6, "min_size": 4}},
    "regions": [{"box": [0, 0, 90.5, 80], "classes": ["scratch"], "expected": {"scratch": 0}}],
    "frame": {"size": [100, 100], "views": ["top", "side"], "min_mean": 5, "max_mean": 240, "min_std": 1},
    "deadline": 2.5,
    "code": {
        "source": "scanner", "formats": ["qr_code"], "box": [1, 2, 30, 40], "pattern": "B-[0-9]+",
        "same_as_plc": True, "missing": "REVIEW",
    },
}  # fmt: skip


def test_the_written_recipe_keeps_all_that_it_was_given(tmp_path: Path) -> None:
    config = RecipeConfig.model_validate(OWN)
    assert set(OWN) == set(RecipeConfig.model_fields), "a field is new: set it here"
    for inner, value in ((FrameConfig, OWN["frame"]), (CodeConfig, OWN["code"])):
        assert set(value) == set(inner.model_fields), "a field is new: set it here"  # type: ignore[call-overload]
    run = made({"scratch": ClassLimits(0.25, 0.5)}, scratches(20))
    recipe = replace(config.recipe(run.release, ""), number=9)
    proposal = propose_limits(run, recipe, Targets(), pooled=False)
    write_limits(tmp_path / "9.yaml", proposal, run, config)
    written = read_yaml(tmp_path / "9.yaml", RecipeConfig)
    for name in set(RecipeConfig.model_fields) - {"number", "limits"}:
        assert getattr(written, name) == getattr(config, name), name
    assert written.number == 9
    assert {n: x.limits() for n, x in written.limits.items()} == proposal.recipe.limits
    assert written.limits["scratch"].min_size == 4
