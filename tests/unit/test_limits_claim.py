"""Limits with a claim: parts are scored as the line judges them, the guarantee holds, refusals are plain."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from release_builder import paint, write_release
from scipy.stats import beta, binom
from typer.testing import CliRunner

from inspection.decide import judge
from inspection.errors import ConfigError, DatasetError
from inspection.recipe import RecipeBook, RecipeConfig
from inspection.release import DatasetCard, read_card, write_card
from inspection.sentences.claims import escape_sentence
from inspection.types import ClassLimits, Decision, Detections, Recipe, Region
from inspection.yaml_file import read_yaml
from inspection_datasets.manifest import DatasetVersion, Sample, sha256_of, write_version
from inspection_training.claims import (
    FAILS_BY_COUNT,
    EscapeClaim,
    Targets,
    escape_claim,
    fixed_claim,
    overkill_limit,
)
from inspection_training.limits_cli import app, read_share
from inspection_training.scoring import (
    COUNT,
    count_decision,
    defects_of,
    must_be_there,
    part_score,
)

CLASSES = ("scratch", "dent", "hole")
ENGLISH = ("--language", "en")


# ---------------------------------------------------------------------- scoring is judging

scores = st.sampled_from([0.0, 0.05, 0.2, 0.35, 0.5, 0.75, 0.9, 1.0])
corners = st.tuples(st.integers(0, 90), st.integers(0, 90), st.integers(2, 20), st.integers(2, 20))


@st.composite
def detections(draw: st.DrawFn) -> Detections:
    rows = draw(st.lists(st.tuples(scores, st.integers(0, 2), corners), max_size=8))
    rows.sort(key=lambda row: -row[0])
    return Detections(
        boxes=np.array([(x, y, x + w, y + h) for *_, (x, y, w, h) in rows], np.float32).reshape(-1, 4),
        scores=np.array([row[0] for row in rows], np.float32),
        classes=np.array([row[1] for row in rows], np.int64),
        class_names=CLASSES,
        release="plate/1",
        model_sha256="0" * 64,
    )  # fmt: skip


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    limits: dict[str, ClassLimits] = {}
    for name in CLASSES:
        t1, t2 = sorted(draw(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1))))
        expected = draw(st.sampled_from([None, None, 1, 2]))
        size, allowed = draw(st.sampled_from([0.0, 10.0])), draw(st.integers(0, 2))
        limits[name] = ClassLimits(t1, t2, size, allowed, expected)
    regions = (
        Region((0, 0, 60, 60)),
        Region((30, 30, 100, 100), classes=("dent", "hole")),
        Region((20, 20, 50, 50), ignore=True),
        Region((0, 0, 50, 100), expected={"hole": 1}),
    )
    chosen = draw(st.lists(st.integers(0, 3), max_size=3, unique=True))
    return Recipe(1, "plate", 1, limits, tuple(regions[i] for i in chosen))


def test_a_region_that_counts_hides_no_defect_from_the_scores() -> None:
    """A scratch beside the region where a hole must be: the line stops the part, and so do the scores."""
    found = Detections(
        np.array([[51, 0, 53, 2], [0, 0, 2, 2]], np.float32), np.array([1.0, 0.2], np.float32),
        np.array([0, 2]), CLASSES, "plate/1", "0" * 64,
    )  # fmt: skip
    limits = {name: ClassLimits(0.125, 1.0) for name in CLASSES}
    counting = Region((0, 0, 50, 100), expected={"hole": 1})
    recipe = Recipe(1, "plate", 1, limits, (counting,))
    assert judge(found, recipe).decision is Decision.FAIL
    assert part_score(found, "scratch", recipe) == 1.0


@settings(max_examples=1000, deadline=None)
@given(found=detections(), recipe=recipes())
def test_scores_say_what_judge_decides(found: Detections, recipe: Recipe) -> None:
    defects = [name for name in CLASSES if name not in must_be_there(recipe)]
    own = {name: part_score(found, name, recipe) for name in defects}
    counted = count_decision(found, recipe)
    made = judge(found, recipe).decision
    stops = any(own[name] >= recipe.limits[name].t1 for name in defects)
    fails = any(own[name] >= recipe.limits[name].t2 for name in defects)
    assert (made is Decision.PASS) == (counted is Decision.PASS and not stops)
    assert (made is Decision.FAIL) == (counted is Decision.FAIL or fails)


def test_the_anomaly_score_is_a_part_s_score() -> None:
    none = np.zeros((0, 4), np.float32)
    found = Detections(
        none, none[:, 0], np.zeros(0, np.int64), ("anomaly",), "p/1", "0" * 64, anomaly_score=0.4
    )
    recipe = Recipe(1, "p", 1, {"anomaly": ClassLimits(0.3, 0.6)})
    assert part_score(found, "anomaly", recipe) == 0.4
    assert judge(found, recipe).decision is Decision.REVIEW


def sample(*boxes: tuple[str, float, float, float, float]) -> Sample:
    return Sample(
        image="a.png", sha256="0" * 64, width=100, height=100, split="test", group="a",
        boxes=list(boxes), state="labelled" if boxes else "good", origin="test",
    )  # fmt: skip


def test_labels_say_what_is_wrong() -> None:
    plain = Recipe(1, "p", 1, {name: ClassLimits(0.3, 0.6) for name in CLASSES})
    assert defects_of(sample(), plain) == set()
    assert defects_of(sample(("dent", 0, 0, 9, 9)), plain) == {"dent"}
    screw = replace(plain, limits={**plain.limits, "hole": ClassLimits(0.3, 0.3, expected=1)})
    assert defects_of(sample(), screw) == {COUNT}
    assert defects_of(sample(("hole", 0, 0, 9, 9)), screw) == set()
    there = replace(plain, regions=(Region((50, 50, 99, 99), expected={"hole": 1}),))
    assert defects_of(sample(("hole", 0, 0, 9, 9)), there) == {COUNT}
    assert defects_of(sample(("hole", 60, 60, 69, 69)), there) == set()
    away = replace(plain, regions=(Region((0, 0, 20, 20), ignore=True),))
    assert defects_of(sample(("dent", 0, 0, 9, 9)), away) == {"dent"}, "an ignored defect escapes"
    named = sample().model_copy(update={"label": "dent", "state": "unlabelled"})
    for recipe in (plain, away, screw):
        assert defects_of(named, recipe) == {"dent"}, "nobody drew it"
    missing = named.model_copy(update={"label": "hole"})
    assert defects_of(missing, screw) == {COUNT}


# ---------------------------------------------------------------------- the guarantee


@pytest.mark.parametrize(("n", "alpha"), [(59, 0.05), (200, 0.02), (300, 0.05), (40, 0.05)])
def test_the_guarantee_holds_over_many_draws(n: int, alpha: float) -> None:
    """Scores are uniform from 0.05, so that the true miss rate of a limit is known."""
    random = np.random.default_rng(n)
    targets, draws, wrong = Targets(escape=alpha), 2000, 0
    groups = list(range(n))
    for _ in range(draws):
        claim = escape_claim("dent", (0.05 + 0.95 * random.random(n)).tolist(), groups, targets)
        assert claim.t1 is not None
        assert claim.supported is not None
        true_rate = (claim.t1 - 0.05) / 0.95
        wrong += true_rate > claim.supported + 1e-12
    assert wrong <= 0.05 * draws + 3 * (0.05 * 0.95 * draws) ** 0.5
    assert (n >= 59) == claim.met


@pytest.mark.parametrize("blind", [0.01, 0.03, 0.06])
def test_it_holds_where_the_model_sees_nothing_of_some(blind: float) -> None:
    """A share of the defects has score 0: no limit finds them."""
    random, targets, wrong = np.random.default_rng(7), Targets(escape=0.03), 0
    for _ in range(2000):
        found = np.where(random.random(200) < blind, 0.0, 0.05 + 0.95 * random.random(200))
        claim = escape_claim("dent", found.tolist(), list(range(200)), targets)
        assert claim.t1 is not None
        true_rate = blind + (1 - blind) * max(0.0, (claim.t1 - 0.05) / 0.95)
        wrong += claim.supported is not None and true_rate > claim.supported + 1e-9
    assert wrong <= 130


def test_it_holds_where_a_part_has_many_pictures() -> None:
    """Fifteen pictures of each of 60 parts, with nearly the same score: 900 pictures, but 60 draws."""
    random, targets, wrong = np.random.default_rng(11), Targets(escape=0.05), 0
    parts = [i // 15 for i in range(900)]
    for _ in range(1000):
        of_part = 0.05 + 0.95 * random.random(60)
        claim = escape_claim("dent", np.repeat(of_part, 15).tolist(), parts, targets)
        assert claim.t1 is not None
        assert (claim.parts, claim.pictures, claim.allowed) == (60, 900, 0)
        wrong += (claim.t1 - 0.05) / 0.95 > 0.05
    assert wrong <= 0.05 * 1000 + 3 * (0.05 * 0.95 * 1000) ** 0.5


def test_a_part_counts_by_its_worst_picture() -> None:
    """300 pictures of 20 parts, each seen badly once: they support 13.9 %, as 20 parts do."""
    parts = [i % 20 for i in range(300)]
    scores = [0.3 + i / 100 if i < 20 else 0.9 for i in range(300)]
    claim = escape_claim("dent", scores, parts, Targets(escape=0.2))
    assert (claim.parts, claim.pictures, claim.largest_group) == (20, 300, 15)
    assert claim.t1 == pytest.approx(0.3), "the lowest of the lowest"
    few = escape_claim("dent", scores, parts, Targets())
    assert few.supported == pytest.approx(1 - 0.05 ** (1 / 20))
    assert few.missing == 279
    assert not few.met
    assert said(few) == (
        "dent: no claim of 1 %: 20 parts support at best 14 % escape at 95 %; 279 more are needed for 1 %; "
        "300 pictures of 20 parts: counted as 20, each part by its worst picture"
    )
    assert "부품 20개의 이미지 300장" in said(few, "ko")
    fixed = fixed_claim(
        "dent", [i < 3 for i in range(300)], [i // 15 for i in range(300)], Targets()
    )
    assert (fixed.missed, fixed.parts) == (1, 20), "three pictures of one part"
    limit = overkill_limit([1 - x for x in scores], parts, Targets())
    assert (limit.parts, limit.pictures, limit.allowed) == (20, 300, -1)
    assert 0.7 < limit.t2 < 0.71, "over the highest of the highest"
    assert limit.supported == pytest.approx(1 - 0.05 ** (1 / 20))
    counted = [FAILS_BY_COUNT if i < 20 else 0.1 for i in range(300)]
    assert overkill_limit(counted, [i // 10 for i in range(300)], Targets()).by_count == 2


def test_overkill_is_kept_over_many_draws() -> None:
    random, targets, wrong = np.random.default_rng(3), Targets(overkill=0.05), 0
    for _ in range(2000):
        limit = overkill_limit(random.random(150).tolist(), range(150), targets)
        assert limit.supported == 0.05
        wrong += 1 - limit.t2 > 0.05
    assert wrong <= 130


@pytest.mark.parametrize(
    ("n", "target"), [(10, 0.05), (40, 0.05), (59, 0.05), (93, 0.05), (200, 0.05), (473, 0.01)]
)
def test_overkill_is_kept_where_parts_fail_by_count(n: int, target: float) -> None:
    """Exact: the chance, over all numbers of parts that fail by count, that the claim is wrong."""
    targets = Targets(overkill=target)
    limits = [
        overkill_limit([FAILS_BY_COUNT] * k + [0.5] * (n - k), range(n), targets, counted=True)
        for k in range(n)
    ]
    allowed = limits[0].allowed
    assert all(x.supported == target for x in limits[: allowed + 1])
    for rate in np.array([0.1, 0.5, 0.9, 0.97, 1.0, 1.001, 1.02, 1.1, 1.5, 2.5, 5.0]) * target:
        wrong = 0.0
        for k, limit in enumerate(limits):
            assert limit.supported is not None
            # of the good parts that do not fail by count, so many may be over T2 as the claim leaves room
            room = (limit.supported - rate) / (1 - rate)
            over = max(allowed - k, 0) + 1  # T2 stands just over the score of this rank
            missed = 1.0 if room <= 0 else beta.sf(room, over, n - k - over + 1)
            wrong += binom.pmf(k, n, rate) * missed
        assert wrong <= 0.05, rate


def said(claim: EscapeClaim, language: str = "en") -> str:
    return escape_sentence(claim.as_dict(), 0.95, language)


def test_the_claim_in_words() -> None:
    few = escape_claim("scratch", [0.9] * 37, list(range(37)), Targets())
    assert said(few) == (
        "scratch: no claim of 1 %: 37 parts support at best 7.8 % escape at 95 %; "
        "262 more are needed for 1 %"
    )
    enough = escape_claim("scratch", [0.9] * 299, list(range(299)), Targets())
    assert enough.met
    assert "at most 1 % escape at 95 % confidence (299 defective parts from 299" in said(enough)
    none = escape_claim("scratch", [], [], Targets())
    assert (none.t1, none.supported, none.missing) == (None, None, 299)
    blind = escape_claim("scratch", [0.0] * 10 + [0.9] * 290, list(range(300)), Targets())
    assert not blind.met
    assert "does not see these" in said(blind)
    hopeless = escape_claim("scratch", [0.0] * 5, [1] * 5, Targets())
    assert hopeless.supported is None
    assert hopeless.few_groups
    fixed = fixed_claim(COUNT, [False] * 25, range(25), Targets(escape=0.15))
    assert fixed.met
    assert said(fixed).startswith("wrong counts: at most 12 % escape at 95 %")
    assert said(fixed, "ko").startswith("수량 불일치: 신뢰수준 95 %에서 미검률 12 % 이하")
    assert said(few, "ko") == (
        "scratch: 1 % 보증 불가. 부품 37개로는 신뢰수준 95 %에서 미검률 7.8 %까지만 보증할 수 있습니다. 1 "
        "% 보증에는 "
        "262개가 더 필요합니다"
    )


def test_good_parts_at_the_top_of_the_scale() -> None:
    limit = overkill_limit([1.0] * 100, range(100), Targets())
    assert limit.t2 == 1.0
    assert limit.supported == 1.0, "a score of 1 cannot be let through: say so"
    assert overkill_limit([], [], Targets()).supported is None
    few = overkill_limit([0.2] * 10, range(10), Targets())
    assert 0.2 < few.t2 < 0.21
    assert few.supported == pytest.approx(1 - 0.05 ** (1 / 10))


@pytest.mark.parametrize(("text", "share"), [("1%", 0.01), ("0.5 %", 0.005), ("0.02", 0.02)])
def test_shares(text: str, share: float) -> None:
    assert read_share("--max-escape", text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["0", "100%", "1", "-1%", "nan", "one", ""])
def test_no_shares(text: str) -> None:
    with pytest.raises(ConfigError, match="--max-escape"):
        read_share("--max-escape", text)


# ---------------------------------------------------------------------- the verb, on real files


def make_dataset(folder: Path, parts: int = 24) -> DatasetVersion:
    """Write painted parts: in each split every third is good, the others have a scratch or a dent."""
    (folder / "images").mkdir(parents=True)
    rows: list[Sample] = []
    for index in range(parts):
        split = "train" if index < 6 else "test"
        marks: list[tuple[int, tuple[int, int, int, int]]] = []
        boxes: list[tuple[str, float, float, float, float]] = []
        if index % 3:
            kind, x, y = index % 3 - 1, 20 + 4 * index, 30
            marks.append((kind, (x, y, x + 12, y + 12)))
            boxes.append((CLASSES[kind], x, y, x + 12, y + 12))
        image = paint((256, 256), *marks, grey=90 + index)
        path = folder / "images" / f"{index:02d}.png"
        cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        rows.append(
            Sample(
                image=f"images/{path.name}", sha256=sha256_of(path), width=256, height=256,
                split=split, group=f"lot{index}", boxes=boxes,
                state="labelled" if boxes else "good", origin="test",
            )
        )  # fmt: skip
    return write_version(folder, "demo", CLASSES, rows)


def learned_from(release: Path, version: DatasetVersion) -> None:
    card = DatasetCard(
        name=version.name, version=version.version, sha256=version.sha256,
        train_images=6, val_images=0,
    )  # fmt: skip
    write_card(release, read_card(release).model_copy(update={"dataset": card}))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("house")
    version = make_dataset(folder / "data")
    release = write_release(folder / "releases")
    learned_from(release, version)
    return release, folder / "data"


def run(*args: str | Path) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(app, [str(x) for x in args])
    return result.exit_code, result.stdout, result.exception


def test_limits_are_written_with_their_claim(house: tuple[Path, Path], tmp_path: Path) -> None:
    release, data = house
    before = {p: sha256_of(p) for p in release.iterdir()}
    file = tmp_path / "recipes" / "7.yaml"
    code, out, error = run(
        release,
        "--data",
        data,
        "--max-escape",
        "50%",
        "--max-overkill",
        "50%",
        "--write",
        file,
        "--json",
    )
    said = json.loads(out)
    by_class = {claim["class"]: claim for claim in said["claims"]}
    assert by_class["scratch"]["met"], (error, said)
    assert by_class["scratch"]["parts"] == by_class["dent"]["parts"] == 6
    assert not by_class["hole"]["met"]
    assert code == 1, "no hole was there: not every target is proven"
    assert said["measured"]["escape"]["count"] == 0
    recipe = read_yaml(file, RecipeConfig)
    assert recipe.limits["scratch"].t1 == pytest.approx(by_class["scratch"]["t1"])
    claim = json.loads((tmp_path / "recipes" / "7.claim.json").read_text())
    assert claim["recipe_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert claim["model_sha256"] == read_card(release).files["model.onnx"]
    assert {p: sha256_of(p) for p in release.iterdir()} == before, "a release is never changed"
    _, _, again = run(release, "--data", data, "--write", file)
    assert isinstance(again, ConfigError), "nothing is overwritten"


def test_a_written_recipe_has_a_number_of_its_own(house: tuple[Path, Path], tmp_path: Path) -> None:
    release, data = house
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "1.yaml").write_text(
        'number: 1\npart: demo\nrelease: 1\ncode: {pattern: "B-[0-9]+", missing: REVIEW}\n',
        encoding="utf-8",
    )
    code, out, _ = run(release, "--data", data, "--write", folder / "7.yaml", *ENGLISH)
    assert code == 1
    said = " ".join(out.split())
    assert "NOT MET: scratch: no claim of 1 %" in said
    assert "recipe 7 in" in said
    assert "its claim says what is not met" in said
    book = RecipeBook(folder, release.parent.parent)
    assert [book.get(number)[0].number for number in (1, 7)] == [1, 7], "the line reads both"
    given_recipe = ("--recipe", folder / "1.yaml")
    _, _, error = run(release, "--data", data, "--write", folder / "8.yaml", *given_recipe)
    assert isinstance(error, ConfigError)
    assert "1.yaml is recipe 1 already" in str(error)
    _, _, error = run(release, "--data", data, "--write", folder / "8.yaml", "--number", "7")
    assert isinstance(error, ConfigError)
    _, _, error = run(release, "--data", data, "--number", "7")
    assert isinstance(error, ConfigError), "a number without a file"
    run(release, "--data", data, "--write", folder / "8.yaml", *given_recipe, "--number", "8")
    assert book.get(8)[0].number == 8
    rule = book.get(8)[0].code
    assert rule, "the code that every part must carry is still asked for"
    assert (rule.pattern, rule.missing) == ("B-[0-9]+", Decision.REVIEW)


def test_one_limit_for_the_mix(house: tuple[Path, Path]) -> None:
    release, data = house
    code, out, error = run(
        release,
        "--data",
        data,
        "--pooled",
        "--max-escape",
        "30%",
        "--max-overkill",
        "50%",
        "--json",
    )
    assert code == 0, (out, error)
    assert json.loads(out)["claims_in_force"] == ["all defects"]


def test_too_few_defects_are_said_plainly(house: tuple[Path, Path]) -> None:
    code, out, _ = run(house[0], "--data", house[1], *ENGLISH)
    assert code == 1
    text = " ".join(out.split())
    assert "scratch: no claim of 1 %: 6 parts support at best 40 % escape at 95 %; 293 more" in text
    assert "come from 6 groups" in text
    code, out, _ = run(house[0], "--data", house[1])
    assert code == 1
    text = " ".join(out.split())
    assert "scratch: 1 % 보증 불가. 부품 6개로는" in text
    assert "목표 미달: scratch: 1 % 보증 불가" in text
    assert "그룹 6개에서 나왔고" in text
    assert "no claim" not in text
    _, _, error = run(house[0], "--data", house[1], "--language", "de")
    assert isinstance(error, ConfigError)


def test_a_recipe_s_regions_count(house: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(
        "number: 4\npart: demo\nrelease: 1\nframe: {size: [256, 256]}\n"
        "regions:\n  - box: [0, 200, 256, 256]\n",
        encoding="utf-8",
    )
    _, out, _ = run(house[0], "--data", house[1], "--recipe", file, "--json")
    claims = {claim["class"]: claim for claim in json.loads(out)["claims"]}
    assert claims["dent"]["missed"] == claims["dent"]["parts"], (
        "the recipe looks away from all of them"
    )
    file.write_text("number: 4\npart: demo\nrelease: 2\n", encoding="utf-8")
    _, _, error = run(house[0], "--data", house[1], "--recipe", file)
    assert isinstance(error, ConfigError)


def test_parts_that_were_learned_are_refused(house: tuple[Path, Path], tmp_path: Path) -> None:
    release, data = house
    _, _, error = run(release, "--data", data, "--split", "train")
    assert isinstance(error, ConfigError)
    version = make_dataset(tmp_path / "other", parts=30)  # begins with the same pictures
    moved = [s.model_copy(update={"split": "test"}) for s in version.samples]
    write_version(tmp_path / "other", "demo", CLASSES, moved)
    _, _, error = run(release, "--data", tmp_path / "other", "--trained-on", data)
    assert isinstance(error, DatasetError)
    assert "were trained on" in str(error)
    _, _, error = run(release, "--data", tmp_path / "other")
    assert isinstance(error, DatasetError)
    assert "--trained-on" in str(error), "the version learned from is not there: nobody can tell"


def test_a_split_without_looked_at_parts(house: tuple[Path, Path]) -> None:
    _, _, error = run(house[0], "--data", house[1], "--split", "val")
    assert isinstance(error, DatasetError)
    assert "no labelled" in str(error)
