"""`inspection train` with gates and `inspection release`: refused, made, compared, rolled back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from release_builder import write_release
from typer.testing import CliRunner

from inspection.errors import ConfigError, DatasetError, ReleaseError
from inspection.release import (
    current_number,
    load_release,
    read_card,
    set_current,
    sha256_file,
)
from inspection_datasets.manifest import (
    DatasetVersion,
    Sample,
    load_version,
    sha256_of,
    write_version,
)
from inspection_training import release as release_module
from inspection_training.candidate import Override, make_release
from inspection_training.card_text import describe
from inspection_training.claims import Targets
from inspection_training.cli import evaluate_app, train_app
from inspection_training.evaluation import inspect_split, refuse_known_pictures
from inspection_training.experiment import Experiment
from inspection_training.gates import RefusedError
from inspection_training.recipe_limits import propose_limits
from inspection_training.release import not_in_force
from inspection_training.release_cli import app
from inspection_training.release_diff import _compare_decisions, compare_releases
from inspection_training.run import Outcome, train_release
from inspection_training.run_card import read_run, resume_run

SETTINGS = {"family": "template", "imgsz": 64, "threads": 1, "max_overkill": 0.2, "max_review": 0.0}
MISSED = "images/bad-05.png"  # a defect that nobody could see: it is drawn in the plate's own grey


def plate(seed: int, spot: int | None = None) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = np.full((80, 80), 130.0) + rng.normal(0, 4, (80, 80))
    cv2.circle(image, (20, 40), 8, 40, -1)
    if spot is not None:
        cv2.circle(image, (55, 20 + 8 * (seed % 5)), 6, spot, -1)
    return np.clip(image, 0, 255).astype(np.uint8)


def write_plates(folder: Path) -> DatasetVersion:
    (folder / "images").mkdir(parents=True)
    plan = [(f"good-{n:02d}", split, None) for n, split in enumerate(["train"] * 8 + ["val"] * 12)]
    plan += [(f"good-{n:02d}", "test", None) for n in range(20, 28)]
    plan += [(f"bad-{n:02d}", "test", 230 if n != 5 else 130) for n in range(6)]
    rows = []
    for seed, (name, split, spot) in enumerate(plan):
        path = folder / "images" / f"{name}.png"
        cv2.imwrite(str(path), plate(seed, spot))
        boxes = [("spot", 45, 10, 65, 70)] if spot is not None else []
        rows.append(
            Sample(
                image=f"images/{name}.png", sha256=sha256_of(path), width=80, height=80,
                split=split, group=name, boxes=boxes, state="labelled" if boxes else "good",
                origin="test",
            )
        )  # fmt: skip
    return write_version(folder, "plate", ["spot"], rows)


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    return write_plates(tmp_path_factory.mktemp("plates") / "data")


@pytest.fixture(scope="module")
def refused(version: DatasetVersion, tmp_path_factory) -> tuple[RefusedError, Path]:
    """A training whose candidate misses a part that must be caught; its folder."""
    folder = tmp_path_factory.mktemp("refused")
    gates = {"max_escape": 0.05, "max_overkill": 0.5, "must_catch": [MISSED, "images/bad-00.png"]}
    with pytest.raises(RefusedError) as caught:
        train(version, folder, gates=gates)
    return caught.value, folder


@pytest.fixture
def house(refused: tuple[RefusedError, Path], tmp_path: Path) -> Path:
    """A copy of the refused run, to release from: runs/RUN and an empty releases folder."""
    shutil.copytree(refused[1] / "runs", tmp_path / "runs")
    return tmp_path


def train(version: DatasetVersion, folder: Path, **settings) -> Outcome:
    return train_release(
        Experiment.model_validate({**SETTINGS, **settings}),
        version,
        part="plate",
        weights=None,
        releases=folder / "releases",
        runs=folder / "runs",
    )


def run_of(folder: Path) -> Path:
    return next((folder / "runs").iterdir())


def call(*args: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [*(str(x) for x in args), "--language", "en"])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_a_refused_candidate_stays_with_its_card_and_nothing_is_published(refused):
    error, folder = refused
    assert [x.name for x in error.results if not x.passed] == ["escape", "must_catch"]
    assert MISSED in str(error)
    assert "53 more defective parts" not in str(
        error
    )  # one was missed: more are needed than for none
    assert not (folder / "releases").exists()
    candidate = run_of(folder) / "candidate" / "plate" / "1"
    card = read_card(candidate)
    load_release(candidate)
    told = {x["gate"]: x for x in card.metrics["gates"]["results"]}
    assert told["must_catch"]["found"]["passed"] == [MISSED]
    assert told["dataset"]["passed"]
    assert told["parity"]["passed"]
    assert told["escape"]["found"]["missed"] == 1
    text = (candidate / "card.md").read_text()
    assert text.startswith("# plate: candidate, not released")
    assert "| must_catch | NO | 1 of 2 parts" in text
    assert "Not asked: latency." in text
    assert "# plate: 후보, 릴리스되지 않음" in text, "the card is in both languages"
    assert "반드시 잡을 부품 2개 중 1개가 합격합니다" in text
    rows = json.loads((candidate / "decisions.json").read_text())
    assert rows["test"][MISSED][1:] == [True, "PASS", "bad-05"]


def test_the_train_verb_ends_with_code_1_and_names_the_gate(version: DatasetVersion, tmp_path):
    experiment = {**SETTINGS, "gates": {"max_latency_ms": 0.0001}}
    (tmp_path / "plate.yaml").write_text(json.dumps(experiment))
    arguments = [tmp_path / "plate.yaml", "--data", version.folder, "--json"]
    arguments += ["--language", "en"]
    arguments += ["--releases", tmp_path / "releases", "--out", tmp_path / "runs"]
    result = CliRunner().invoke(train_app, [str(x) for x in arguments])
    assert result.exit_code == 1, result.output
    told = json.loads(result.stdout.strip().splitlines()[-1])
    assert told["refused"] == ["latency"]
    assert "gate latency: 99 of 100 images take at most" in result.stderr
    assert Path(told["candidate"]).is_dir()
    assert not (tmp_path / "releases").exists()


def test_a_leak_is_refused_before_anything_is_trained(version: DatasetVersion, tmp_path: Path):
    shutil.copytree(version.folder, tmp_path / "data")
    twin = version.samples[0].model_copy(
        update={"image": "images/twin.png", "split": "test", "group": "twin"}
    )
    shutil.copy(version.path(version.samples[0]), tmp_path / "data" / twin.image)
    leaky = write_version(tmp_path / "data", "plate", ["spot"], [*version.samples, twin])
    with pytest.raises(RefusedError, match=r"gate dataset: .* 1 errors") as caught:
        train(leaky, tmp_path)
    assert caught.value.candidate is None
    assert "nothing was trained" in str(caught.value)
    assert not (tmp_path / "runs").exists()
    known = train(leaky, tmp_path, gates={"clean_dataset": False})
    assert "dataset" in known.card.metrics["gates"]["not_asked"]


def test_an_unknown_part_that_must_be_caught_is_told_before_training(version, tmp_path):
    with pytest.raises(ConfigError, match=r"no-such\.png is not an image"):
        train(version, tmp_path, gates={"must_catch": ["no-such.png"]})
    assert not (tmp_path / "runs").exists()


def test_a_variant_that_cannot_be_made_leaves_the_release_standing(
    version: DatasetVersion, tmp_path: Path
):
    outcome = train(version, tmp_path, variants=["bf16"])
    assert list(outcome.variants) == ["bf16"]
    made = (outcome.release.folder / "variants" / "bf16").is_dir()
    assert made is (outcome.variants["bf16"] == ""), outcome.variants
    load_release(outcome.release.folder)


def test_gates_are_asked_again_and_stay_refused(house: Path):
    code, _out, error = call("make", run_of(house), "--releases", house / "releases")
    assert code == 1
    assert "not passed: escape, must_catch" in error
    assert not (house / "releases").exists()


def test_whoever_changes_a_gate_is_named(house: Path):
    asked = ["make", run_of(house), "--releases", house / "releases", "--max-escape", "off"]
    asked += ["--must-catch", "off", "--must-catch", "images/bad-00.png"]
    with pytest.raises(ConfigError, match=r"max_escape, must_catch differ.*--by NAME"):
        call(*asked)
    code, out, _error = call(*asked, "--by", "김 품질", "--json")
    assert code == 0
    assert json.loads(out.splitlines()[-1])["release"] == "plate/1"
    card = read_card(house / "releases" / "plate" / "1")
    gates = card.metrics["gates"]
    assert gates["by"] == "김 품질"
    assert {x["gate"]: (x["before"], x["after"]) for x in gates["overridden"]} == {
        "max_escape": (0.05, None),
        "must_catch": ([MISSED, "images/bad-00.png"], ["images/bad-00.png"]),
    }
    folder = house / "releases" / "plate" / "1"
    text = (folder / "card.md").read_text()
    assert text.startswith("# plate/1\n")
    assert "김 품질 changed max_escape" in text
    for words in (
        card.dataset.sha256,
        card.files["model.onnx"],
        card.licence,
        "rollback",
        "Limits",
    ):
        assert words in text
    assert card.files["card.md"] == sha256_file(folder / "card.md")
    with pytest.raises(ReleaseError, match="released already, as plate/1"):
        call(*asked, "--by", "Kim")


def test_a_part_that_must_be_caught_is_added_to_those_of_the_experiment(house: Path):
    asked = ["make", run_of(house), "--releases", house / "releases", "--max-escape", "off"]
    code, _out, error = call(*asked, "--must-catch", "images/bad-01.png", "--by", "Kim")
    assert code == 1
    assert f"1 of 3 parts that must be caught pass: {MISSED}" in error


def content(folder: Path) -> dict[str, str]:
    return {x.name: sha256_file(x) for x in folder.iterdir()}


def test_limits_are_chosen_again_when_a_person_asks(house: Path):
    """T1 comes lower when more good parts may be REVIEW; the card says who asked."""
    asked = ["make", run_of(house), "--releases", house / "releases", "--max-escape", "off"]
    asked += ["--must-catch", "off", "--limits-review", "30%"]
    before = read_card(run_of(house) / "candidate" / "plate" / "1")
    with pytest.raises(ConfigError, match=r"limits max_review differ.*--by NAME"):
        call(*asked)
    with pytest.raises(ConfigError, match="limits cannot be chosen again with max_review"):
        call(*asked[:-1], "70%", "--by", "Kim")
    assert call(*asked, "--by", "Kim")[0] == 0
    card = read_card(house / "releases" / "plate" / "1")
    assert card.limits["anomaly"].t1 < before.limits["anomaly"].t1
    assert card.limits["anomaly"].t2 == before.limits["anomaly"].t2
    assert card.experiment["max_review"] == 0.3
    changes = {x["gate"]: (x["before"], x["after"]) for x in card.metrics["gates"]["overridden"]}
    assert changes["limits max_review"] == (0.0, 0.3)


def test_a_release_is_shown_in_korean_and_one_of_old_as_it_stands(house: Path):
    override = Override({"max_escape": None, "must_catch": ()}, "김 품질")
    folder = make_release(run_of(house), override=override, releases=house / "releases").folder
    card = read_card(folder)
    said = describe(card, "ko")
    for words in ("보증 한도: ", "2개가 더 필요합니다", "미검은 보증할 수 없습니다", "일치 검증 (parity)",
                  "이미지 16장에서 내보낸", "변경한 사람 김 품질",
                  "max_escape: 실험 설정은 5 %, 적용한 값은 묻지 않음"):  # fmt: skip
        assert words in said
    assert "No escape claim" not in said
    old = {k: v for k, v in card.metrics.items() if k != "claims"}
    for result in old["gates"]["results"]:
        for name in ("suspicions", "first_finding", "copies", "pictures"):
            result["found"].pop(name, None)
    said = describe(card.model_copy(update={"metrics": old}), "ko")
    assert "No escape claim is possible" in said, "an older card has its sentence only"
    assert "이미지 16장에서 내보낸" in said


def test_latency_is_measured_over_different_pictures(house: Path):
    override = Override({"max_escape": None, "must_catch": (), "max_latency_ms": 1e5}, "Kim")
    card = read_card(make_release(run_of(house), None, house / "releases", override).folder)
    # 14 of test, 12 of val; of 26 different pictures, each is run once or twice
    assert card.latency["openvino"]["pictures"] == 26
    assert card.latency["openvino"]["runs"] == 50
    gates = {x["gate"]: x["found"] for x in card.metrics["gates"]["results"]}
    assert gates["latency"]["pictures"] == 26


def test_release_make_only_reads_the_candidate(house: Path, monkeypatch: pytest.MonkeyPatch):
    candidate = run_of(house) / "candidate" / "plate" / "1"
    before = content(candidate)
    override = Override({"max_escape": None, "must_catch": ()}, "Kim")

    def power_cut(*_args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr(release_module, "write_card", power_cut)
        with pytest.raises(KeyboardInterrupt):
            make_release(run_of(house), override=override, releases=house / "releases")
    assert content(candidate) == before
    release = make_release(run_of(house), override=override, releases=house / "releases")
    assert (release.name, content(candidate)) == ("plate/1", before)
    rows = json.loads((release.folder / "decisions.json").read_text())
    assert rows["test"][MISSED][1:] == [True, "PASS", "bad-05"]


def test_a_picture_altered_since_it_was_labelled_is_not_measured(version, house: Path, tmp_path):
    data = tmp_path / "altered"
    shutil.copytree(version.folder, data)
    shutil.copy(data / "images" / "bad-00.png", data / MISSED)
    override = Override({"max_escape": None, "must_catch": (), "clean_dataset": False}, "Kim")
    with pytest.raises(DatasetError, match=r"bad-05\.png was altered since plate v0001"):
        make_release(run_of(house), data, house / "releases", override)
    release = make_release(run_of(house), version.folder, house / "releases", override)
    with pytest.raises(DatasetError, match=r"bad-05\.png was altered since plate v0001"):
        inspect_split(release.folder, load_version(data), "test")


def test_nothing_held_back_is_refused_before_training(version: DatasetVersion, tmp_path: Path):
    shutil.copytree(version.folder, tmp_path / "data")
    learned = [x for x in version.samples if x.split == "train"]
    whole = write_version(tmp_path / "data", "plate", ["spot"], learned)
    with pytest.raises(DatasetError, match="holds nothing back: no image of val or test"):
        train(whole, tmp_path)
    assert not (tmp_path / "runs").exists()


def test_a_test_picture_that_is_gone_is_told_before_training(version, tmp_path: Path):
    shutil.copytree(version.folder, tmp_path / "data")
    (tmp_path / "data" / MISSED).unlink()
    with pytest.raises(DatasetError, match=r"bad-05\.png cannot be read"):
        train(load_version(tmp_path / "data"), tmp_path)
    assert not (tmp_path / "runs").exists()


def test_a_run_cut_off_after_publishing_does_not_publish_again(version, tmp_path: Path):
    outcome = train(version, tmp_path)
    card = read_run(outcome.run)
    unaware = card.model_copy(update={"released": None})
    (outcome.run / "run.json").write_text(unaware.model_dump_json())
    with pytest.raises(ConfigError, match="is finished: it released plate/1"):
        resume_run(outcome.run)
    assert read_run(outcome.run) == card


def test_after_a_rollback_a_new_release_says_that_it_is_not_in_force(version, tmp_path: Path):
    releases = tmp_path / "releases"
    assert not_in_force(train(version, tmp_path).release) == ""
    set_current(releases, "plate", 1)
    (tmp_path / "plate.yaml").write_text(json.dumps(SETTINGS))
    arguments = [tmp_path / "plate.yaml", "--data", version.folder, "--part", "plate"]
    arguments += ["--language", "en"]
    arguments += ["--releases", releases, "--out", tmp_path / "runs"]
    result = CliRunner().invoke(train_app, [str(x) for x in arguments])
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    assert "! plate/2 is not in force: a rollback put plate/1 in force" in said
    assert f"`inspection release rollback {releases} plate --to 2`" in said
    set_current(releases, "plate", 2)
    assert not_in_force(load_release(releases / "plate" / "2")) == ""


def test_numbers_of_parts_that_were_trained_on_are_called_flattered(version, tmp_path: Path):
    data = tmp_path / "data"
    shutil.copytree(version.folder, data)
    release = train(load_version(data), tmp_path).release
    assert inspect_split(release.folder, load_version(data), "test").warnings == ()
    swap = {"train": "test", "test": "train", "val": "val"}
    rows = [x.model_copy(update={"split": swap[x.split]}) for x in version.samples]
    write_version(data, "plate", ["spot"], rows)
    asked = [release.folder, "--data", data, "--html", tmp_path / "r.html", "--language", "en"]
    result = CliRunner().invoke(evaluate_app, [str(x) for x in [*asked, "--json"]])
    assert result.exit_code == 0, result.output
    assert "! plate/1 was trained on 8 of 8 pictures of plate v0002 test" in result.stderr
    assert "was trained on 8 of 8" in json.loads(result.stdout.splitlines()[-1])["warnings"][0]
    assert "plate/1 was trained on 8 of 8" in (tmp_path / "r.html").read_text()


def test_groups_of_another_dataset_name_are_a_warning(version: DatasetVersion, tmp_path: Path):
    release = train(version, tmp_path).release
    data = tmp_path / "night"
    shutil.copytree(version.folder / "images", data / "images")
    train_group = next(x.group for x in version.samples if x.split == "train")
    rows = [x for x in version.samples if x.split == "test"]
    rows[0] = rows[0].model_copy(update={"group": train_group})
    night = write_version(data, "plate-night", ["spot"], rows)
    run = inspect_split(release.folder, night, "test", trained_on=version.folder)
    assert "1 of 14 pictures of plate-night bear the group names" in str(run.warnings[0])
    assert "promise nothing" in str(run.warnings[0])
    assert "1장의 그룹 이름이 plate 학습 이미지의 것과 같습니다" in run.warnings[0].told("ko")
    refuse_known_pictures(run, version.folder)
    found = propose_limits(run, run.recipe, Targets(), pooled=False)
    assert found.warnings[0] == run.warnings[0], "who signs the limits reads it too"
    unknown = inspect_split(release.folder, night, "test")
    assert "nobody can tell whether it saw these pictures" in str(unknown.warnings[0])


def test_limits_are_those_of_the_candidate(house: Path, version: DatasetVersion):
    before = read_card(run_of(house) / "candidate" / "plate" / "1")
    override = Override({"max_escape": None, "must_catch": ()}, "Kim")
    release = make_release(run_of(house), version.folder, house / "releases", override)
    after = read_card(release.folder)
    assert (after.limits, after.claim, after.parity) == (before.limits, before.claim, before.parity)
    old, new = (card.metrics["evaluations"] for card in (before, after))
    assert old == new


def test_a_candidate_that_was_altered_or_lost_its_data_is_refused(house, version, tmp_path_factory):
    other = write_plates(tmp_path_factory.mktemp("other") / "data")
    changed = write_version(other.folder, "plate", ["spot"], other.samples[:-1])
    (changed.folder / "v0001.jsonl").unlink()
    (changed.folder / "v0002.jsonl").rename(changed.folder / "v0001.jsonl")
    with pytest.raises(DatasetError, match="is not what the candidate learned from"):
        make_release(run_of(house), changed.folder, house / "releases")
    model = run_of(house) / "candidate" / "plate" / "1" / "model.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    with pytest.raises(ReleaseError, match="was altered"):
        make_release(run_of(house), version.folder, house / "releases")
    with pytest.raises(ReleaseError, match="holds 0 candidates"):
        make_release(house / "nowhere", version.folder, house / "releases")
    assert not (house / "releases").exists()


def test_a_wrong_gate_is_named(house: Path):
    with pytest.raises(ConfigError, match="gate max_latency_ms"):
        call("make", run_of(house), "--max-latency-ms", "fast", "--by", "Kim")
    with pytest.raises(ConfigError, match="--max-escape 'x' is no share"):
        call("make", run_of(house), "--max-escape", "x", "--by", "Kim")


def test_two_releases_are_compared_part_by_part(version: DatasetVersion, tmp_path: Path):
    first = train(version, tmp_path, gates={"max_overkill": 0.9})
    fewer = write_version(
        tmp_path / "fewer", "plate", ["spot"], _copied(version, tmp_path / "fewer")
    )
    second = train(fewer, tmp_path, max_overkill=0.5, edge=2)
    found = compare_releases(first.release.folder, second.release.folder)
    assert found["releases"] == ("plate/1", "plate/2")
    assert found["settings"]["edge"] == (1, 2)
    assert found["settings"]["gates.max_overkill"] == (0.9, None)
    assert found["dataset"]["train_images"] == (8, 7)
    test = found["comparison"]["test"]
    assert test["images"] == 14
    assert test["escape"]["parts"] == 6
    assert 0 <= test["escape"]["p"] <= 1
    code, out, _error = call("diff", "plate/1", "plate/2", "--releases", tmp_path / "releases")
    assert code == 0
    for words in ("edge", "escape", "McNemar", "libraries", "the same", "median"):
        assert words in out
    code, out, _error = call(
        "diff", first.release.folder, second.release.folder, "--json",
    )  # fmt: skip
    assert json.loads(out)["comparison"]["test"]["images"] == 14
    with pytest.raises(DatasetError, match="is not the version that"):
        call("diff", first.release.folder, second.release.folder, "--data", version.folder)


def test_two_releases_are_compared_by_parts_where_pictures_are_more(version, tmp_path):
    """Two pictures of a part: the part is missed when either is, and counts once in McNemar's test."""
    rows = list(version.samples)
    bad = [i for i, x in enumerate(rows) if x.split == "test" and x.boxes]
    for number, place in enumerate(bad):
        rows[place] = rows[place].model_copy(update={"group": f"part {number // 2}"})
    paired = write_version(version.folder, "plate", ["spot"], rows)
    first, second = (train(paired, tmp_path, edge=edge) for edge in (1, 2))
    found = compare_releases(first.release.folder, second.release.folder)["comparison"]["test"]
    assert found["images"] == 14
    assert found["escape"]["parts"] == 3 < len(bad)
    kept = json.loads((first.release.folder / "decisions.json").read_bytes())["test"]
    assert {row[3] for row in kept.values()} >= {"part 0", "part 1", "part 2"}
    older = {"test": {name: row[:3] for name, row in kept.items()}}  # of a release made before
    for a, b in ((older, {"test": kept}), ({"test": kept}, older)):
        assert _compare_decisions(a, b)["test"]["escape"]["parts"] == 3
    assert _compare_decisions(older, older)["test"]["escape"]["parts"] == len(bad)


def test_images_of_both_versions_are_compared_where_they_are_at_hand(
    version: DatasetVersion, tmp_path: Path
):
    folder = tmp_path / "data"
    shutil.copytree(version.folder, folder)
    train(load_version(folder), tmp_path)
    second = write_version(folder, "plate", ["spot"], list(version.samples[1:]))
    train(second, tmp_path)
    releases = tmp_path / "releases"
    code, out, _error = call("diff", "plate/1", "plate/2", "--releases", releases, "--data", folder)
    assert code == 0
    assert "images removed: 1 (images/good-00.png)" in " ".join(out.split())
    asked = ["diff", "plate/1", "plate/2", "--releases", releases, "--data", folder]
    out = CliRunner().invoke(app, [str(x) for x in asked]).stdout
    assert "이미지 삭제: 1 (images/good-00.png)" in " ".join(out.split())
    assert "정확 McNemar p" in out


def _copied(version: DatasetVersion, folder: Path) -> list[Sample]:
    shutil.copytree(version.folder / "images", folder / "images")
    return list(version.samples[1:])


def test_releases_without_kept_decisions_say_so(tmp_path: Path):
    for number in (1, 2):
        write_release(tmp_path, "demo", number)
    found = compare_releases(tmp_path / "demo" / "1", tmp_path / "demo" / "2")
    assert "evaluate --against" in found["comparison"]["why_not"]
    code, out, _error = call("diff", "demo/1", "demo/2", "--releases", tmp_path)
    assert code == 0
    assert "no comparison part by part" in out
    with pytest.raises(ConfigError, match="neither a release folder"):
        call("diff", "demo/1", "demo/7", "--releases", tmp_path)


def test_where_nobody_knows_what_is_in_force_a_person_says_it(tmp_path: Path):
    for number in (1, 2):
        write_release(tmp_path, "demo", number)
    release = load_release(tmp_path / "demo" / "2")
    (tmp_path / "demo" / "current").write_bytes(b"\0")
    assert "nobody knows which release is in force" in not_in_force(release)
    assert call("list", tmp_path)[1] == "demo: 1, 2\n"
    assert json.loads(call("list", tmp_path, "--json")[1])["demo"]["current"] is None
    with pytest.raises(ReleaseError, match=r"rollback .* demo --to NUMBER"):
        call("rollback", tmp_path, "demo")
    assert call("rollback", tmp_path, "demo", "--to", "1")[0] == 0
    assert call("list", tmp_path)[1] == "demo: 1 (in force), 2\n"


def test_rollback_checks_its_target_and_tells_what_it_does_not_do(tmp_path: Path):
    for number in (1, 2, 4):
        write_release(tmp_path, "demo", number)
    assert current_number(tmp_path, "demo") == 4
    code, out, _error = call("rollback", tmp_path, "demo")
    assert code == 0
    assert current_number(tmp_path, "demo") == 2
    assert "in force was demo/4; now demo/2" in out
    assert "where a recipe says `release: 4`, write `release: 2`" in out
    assert call("list", tmp_path)[1] == "demo: 1, 2 (in force), 4\n"
    write_release(tmp_path, "demo", 1, variant="flipped")
    with pytest.raises(ReleaseError, match="was altered"):
        call("rollback", tmp_path, "demo")
    assert current_number(tmp_path, "demo") == 2
    code, out, _error = call("rollback", tmp_path, "demo", "--to", "4", "--json")
    assert json.loads(out) == {"part": "demo", "before": 2, "current": 4}
    with pytest.raises(ReleaseError, match="holds no release of lamp"):
        call("rollback", tmp_path, "lamp")
    with pytest.raises(ReleaseError, match=r"no readable release\.json"):
        call("rollback", tmp_path, "demo", "--to", "9")
    write_release(tmp_path, "lone", 3)
    with pytest.raises(ReleaseError, match="no older release"):
        call("rollback", tmp_path, "lone")
