"""`inspection replay` on the store of a real line, and on stores with every kind of odd row."""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import yaml
from release_builder import paint, write_release
from station_rig import CLASSES, Rig
from store_samples import FAILED, PASSED, inspected, not_inspected, store_config, trigger
from typer.testing import CliRunner

from inspection.decide import judge
from inspection.detector import Detector
from inspection.errors import ConfigError, ReleaseError
from inspection.identity import identify, join
from inspection.recipe import RecipeConfig
from inspection.release import find_release, read_card, write_card
from inspection.store.images import write_picture
from inspection.store.queries import StoreReader
from inspection.store.sql import SqlStore
from inspection.types import ClassLimits, Code, Decision, Frame, Reason, Recipe, Result, Verdict
from inspection_datasets.manifest import DatasetVersion, Sample, sha256_of, write_version
from inspection_training.measure import open_runtime
from inspection_training.replay.cli import app
from inspection_training.replay.decide_again import Asked, Replay, replay
from inspection_training.replay.report import report_html
from inspection_training.replay.terminal import lines
from inspection_training.replay.text import LANGUAGES, texts
from inspection_training.variants.make import make_variant

DEMO = ["scratch", "dent", "hole"]
BLIND = {name: ClassLimits(1.0, 1.0) for name in CLASSES}


def call(*args: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(x) for x in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def shift(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """Fourteen parts that a real line judged by plate/1; plate/2 sees the same and lets all pass."""
    folder = tmp_path_factory.mktemp("shift")
    camera = {"defect_rate": 0.6, "faults": ["black@3"]}
    rig = Rig(folder, camera=camera, store={"images": {"format": "png", "min_free_gb": 0}})
    plc = {"parts": 14, "ack_timeout": 20.0, "result_timeout": 20.0}
    with rig.line(), rig.plc_running(**plc) as running:
        assert running.wait(60), running.counters
    assert len(rig.rows("state = 'acknowledged'")) == 14
    write_release(rig.releases, "plate", 2, CLASSES, (128, 160), limits=BLIND)
    return rig


def test_the_release_that_decided_changes_nothing(shift: Rig):
    before = {path: sha256_of(path) for path in shift.folder.rglob("*") if path.is_file()}
    code, out, _error = call(shift.database, "--release", 1, "--releases", shift.releases, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["changes"] == 0
    assert found["decided_again"] == 13
    assert found["baseline"] == {"parts": 13, "differ": 0, "unknown": {}}
    assert found["lossy_pictures"] == 0
    assert list(found["left_out"]) == ["was not inspected (FRAME_DARK)"]
    assert {
        k: v for k, v in found["counts"].items() if k.split(" -> ")[0] != k.split(" -> ")[1]
    } == {}
    after = {path: sha256_of(path) for path in before if not path.name.endswith(("-wal", "-shm"))}
    assert after == {path: before[path] for path in after}, "nothing was written"


def test_another_release_lists_every_part_that_would_change(shift: Rig, tmp_path: Path):
    failed = shift.rows("decision in ('FAIL', 'REVIEW')")
    assert failed, "the shift has defective parts"
    report = tmp_path / "보고서" / "replay.html"
    arguments = [shift.database, "--release", 2, "--releases", shift.releases]
    code, out, _error = call(*arguments, "--html", report, "--language", "en")
    assert code == 1
    assert f"{len(failed)} of 13 decisions would change" in out
    for row in failed:
        key = f"test/{row['epoch']}/{row['sequence']}"
        assert re.search(rf"{key} .*: {row['decision']} -> PASS", out)
    korean = call(*arguments)[1]  # the default, as of every other command
    assert f"13개 중 {len(failed)}개의 판정이 바뀝니다" in korean
    assert "다시 판정할 수 없는 부품 1개: 당시 미검사 (FRAME_DARK)" in korean
    assert not {"PASS", "FAIL", "decisions", "then"} & set(re.findall(r"\w+", korean))
    page = report.read_text(encoding="utf-8")
    assert page.count("<figure>") == page.count("data:image/jpeg;base64,") == len(failed)
    assert not re.search(r"https?://|<script|@import|url\(", page)
    assert f'{failed[0]["decision"]} → <b class="PASS">PASS</b>' in page


def test_a_recipe_file_brings_its_limits_and_regions(shift: Rig, tmp_path: Path):
    recipe = tmp_path / "1.yaml"
    recipe.write_bytes((shift.folder / "recipes" / "1.yaml").read_bytes())
    arguments = [shift.database, "--release", 2, "--releases", shift.releases, "--recipe", recipe]
    code, out, _error = call(*arguments, "--json")
    found = json.loads(out)
    assert (code, found["limits_from"], found["other_recipe"]) == (1, "recipe", 0)
    limits = {name: {"t1": 0.3, "t2": 0.6} for name in CLASSES}
    recipe.write_text(
        yaml.safe_dump({"number": 1, "part": "plate", "release": 1, "limits": limits})
    )
    code, out, _error = call(*arguments, "--json")
    found = json.loads(out)
    assert (code, found["changes"], found["other_recipe"]) == (0, 0, 13)
    ignore = [{"box": [0, 0, 320, 256], "ignore": True}]
    asked = {"number": 1, "part": "plate", "release": 1, "regions": ignore}
    recipe.write_text(yaml.safe_dump({**asked, "frame": {"size": [320, 256]}}))
    code, out, _error = call(*arguments, "--json")
    assert code == 1
    assert {k.split(" -> ")[1] for k in json.loads(out)["counts"]} == {"PASS"}


def test_what_people_said_is_held_against_the_new_decisions(shift: Rig):
    failed = shift.rows("decision = 'FAIL'")
    passed = shift.rows("decision = 'PASS'")
    with StoreReader(store_config(shift.folder)) as reader:
        reader.add_verdict(failed[0]["id"], Verdict.REAL_DEFECT, "kim", version_seen=0)
        reader.add_verdict(failed[1]["id"], Verdict.REAL_DEFECT, "kim", version_seen=0)
        reader.add_verdict(failed[1]["id"], Verdict.FALSE_CALL, "lee", version_seen=1)
        reader.add_verdict(passed[0]["id"], Verdict.MISSED, "kim", version_seen=0)
        reader.add_verdict(passed[1]["id"], Verdict.BORDERLINE, "kim", version_seen=0)
    code, out, _error = call(shift.database, "--release", 2, "--releases", shift.releases, "--json")
    found = json.loads(out)
    assert code == 1
    assert found["reviewed"] == {
        "escape": {"parts": 2, "old": 1, "new": 2},
        "overkill": {"parts": 1, "old": 1, "new": 0},
    }
    by_record = {part["record"]: part for part in found["changed"]}
    assert by_record[failed[0]["id"]]["error_new"] == "escape"
    assert by_record[failed[1]["id"]]["error_old"] == "overkill"


def test_parts_of_a_time_and_the_newest_alone(shift: Rig):
    rows = shift.rows()
    middle = rows[7]["triggered_at"]
    arguments = [shift.database, "--release", 1, "--releases", shift.releases, "--json"]
    assert json.loads(call(*arguments, "--since", middle)[1])["decided_again"] == 7
    assert json.loads(call(*arguments, "--until", middle)[1])["decided_again"] == 6
    assert json.loads(call(*arguments, "--limit", 3)[1])["decided_again"] == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--release", "9"], "no readable release.json"),
        (["--release", "1", "--since", "2090-01-01"], "no part of plate could be decided again"),
        (["--release", "1", "--language", "fr"], "is not one of ko, en"),
        (["--release", "1", "--runtime", "abacus"], "is not known"),
        (["--release", "1", "--part", "lamp"], "no readable release.json"),
        (["--release", "1", "--images", "nowhere"], "no picture folder"),
    ],
)
def test_what_cannot_be_told_is_code_2(shift: Rig, arguments: list[str], words: str):
    code, _out, error = call(shift.database, "--releases", shift.releases, *arguments)
    assert code == 2
    assert words in error


def test_a_store_that_is_none_and_a_strange_recipe_are_code_2(shift: Rig, tmp_path: Path):
    (tmp_path / "images").mkdir()
    arguments = ["--release", 1, "--releases", shift.releases]
    code, _out, error = call(tmp_path / "none.db", *arguments)
    assert (code, "there is no store" in error) == (2, True)
    recipe = tmp_path / "recipe.yaml"
    for content, words in (
        ({"number": 1, "part": "lamp", "release": 1}, "the recipe is for lamp"),
        ({"number": 1, "part": "plate", "release": 1, "limits": {"rust": {"t1": 0, "t2": 1}}}, "rust"),
    ):  # fmt: skip
        recipe.write_text(yaml.safe_dump(content))
        code, _out, error = call(shift.database, *arguments, "--part", "plate", "--recipe", recipe)
        assert (code, words in error) == (2, True), error


class Plant:
    """A store whose parts are written one by one, each with the decision of a real release."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.config = store_config(folder, images={"format": kind})
        self.releases = folder / "releases"
        write_release(self.releases, "demo", 1)
        self.release = find_release(self.releases, "demo", 1)
        self.recipe = Recipe(1, "demo", 1, self.release.limits, sha256="ab" * 32)
        self._store = SqlStore(self.config)
        self._epoch = self._store.begin_epoch("st1", "start")
        self._runtime = open_runtime("onnxruntime", self.release)

    def part(self, sequence: int, side: int, *, picture: bool = True, **changes) -> int:
        """A part with a red mark of `side` x `side` pixels; 0: none."""
        asked = trigger(sequence, epoch=self._epoch)
        record = self._store.triggered(asked, 1)
        marks = [(0, (100, 100, 100 + side, 100 + side))] if side else []
        image = paint((256, 256), *marks, grey=100 + sequence)
        found = Detector(self.release, self._runtime).detect(image, 10.0)
        result = judge(found, self.recipe)
        frame = Frame(image, sequence, asked.seen_mono, "top")
        values = {"recipe": self.recipe, "frame": frame, "detections": found, **changes}
        done = inspected(asked, values.pop("result", result), **values)
        self._store.decided(done)
        files = [write_picture(self.config.images, done)] if picture else []
        self._store.images(asked.key, "saved" if files else "shed", files)
        return record

    def replay(self, number: int = 1, **changes) -> Replay:
        return replay(Asked(self.config, self.releases, "demo", number, **changes))

    def close(self) -> None:
        self._runtime.close()
        self._store.close()

    def sql(self, statement: str) -> None:
        with sqlite3.connect(self.folder / "results.db") as connection:
            connection.execute(statement)


@pytest.fixture
def plant(tmp_path: Path):
    made = Plant(tmp_path, "png")
    yield made
    made.close()


def test_parts_that_cannot_be_decided_again_are_counted_and_named(plant: Plant):
    kept = plant.part(1, 8)
    plant.part(2, 8, picture=False)
    plant.part(3, 0, recipe=Recipe(1, "lamp", 1, plant.release.limits))
    gone, altered, outside = (plant.part(n, 8) for n in (4, 5, 6))
    del altered, outside
    asked = trigger(7)
    plant._store.triggered(asked, 1)
    asked = trigger(8)
    plant._store.triggered(asked, 1)
    plant._store.decided(not_inspected(asked))
    files = sorted((plant.folder / "images").rglob("*.png"))
    named = {path.name: path for path in files}
    named["1-4.png"].unlink()
    named["1-5.png"].write_bytes(named["1-1.png"].read_bytes())
    plant.sql(
        """update parts set images = replace(images, 'st1/1/00/1-6.png', '../../etc/passwd')
        where sequence = 6"""
    )
    found = plant.replay()
    assert [part.record for part in found.parts] == [kept]
    assert gone != kept
    assert found.left_out == {
        "no picture was kept (shed)": ["st1/1/2"],
        "another part (lamp)": ["st1/1/3"],
        "the picture is gone": ["st1/1/4"],
        "the picture was altered": ["st1/1/5"],
        "the picture cannot be read": ["st1/1/6"],
        "not decided yet": ["st1/1/7"],
        "was not inspected (STORE_FAILED)": ["st1/1/8"],
    }
    for language in LANGUAGES:
        page = report_html(found, plant.config.images.folder, language)
        assert texts(language)["the picture was altered"] in page
        assert "st1/1/5" in page


def test_lossy_pictures_and_what_they_alone_change_are_told(tmp_path: Path):
    plant = Plant(tmp_path, "jpg")
    try:
        for sequence, side in enumerate((0, 3, 4, 5, 6, 7, 8, 12), 1):
            plant.part(sequence, side)
        found = plant.replay()
    finally:
        plant.close()
    assert found.lossy == len(found.parts) == len(found.baseline) == 8
    # the same release: all that changes is noise of the pictures, small marks lose pixels in JPEG
    assert found.changed
    assert all(part.noise for part in found.changed)
    page = report_html(found, plant.config.images.folder, "en")
    assert "8 pictures are lossy (JPEG)" in page
    assert f"decides {len(found.changed)} of 8 stored pictures otherwise" in page
    assert page.count(texts("en")["noise"]) == len(found.changed)


def test_without_the_old_release_or_its_limits_there_is_no_baseline(plant: Plant):
    plant.part(1, 8)
    plant.part(2, 5, result=PASSED)  # limits of that day let it pass
    write_release(plant.releases, "demo", 2)
    found = plant.replay(2)
    assert found.no_baseline == {"other limits were in force": 1}
    assert [part.baseline for part in found.parts] == [None, Decision.FAIL]
    assert [part.key.sequence for part in found.changed] == [2]
    write_release(plant.releases, "demo", 1, variant="constant")  # another model under this number
    assert plant.replay(2).no_baseline == {"the old release is not at hand": 2}


def test_a_release_that_gives_nonsense_never_passes_a_part(plant: Plant):
    for sequence in (1, 2):
        plant.part(sequence, 0)
    write_release(plant.releases, "demo", 2, variant="nan")
    found = plant.replay(2, runtime="onnxruntime")
    assert found.counts == {(Decision.PASS, Decision.NOT_INSPECTED): 2}
    assert {part.new.reason.name for part in found.changed} == {"MODEL_OUTPUT"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_code_of_a_part_is_that_of_its_row(plant: Plant, language: str):
    content = {
        "number": 1, "part": "demo", "release": 1, "frame": {"min_std": 0},
        "code": {"pattern": "B-[0-9]+"},
    }  # fmt: skip
    config = RecipeConfig.model_validate(content)
    recipe = replace(config.recipe(plant.release, "ab" * 32), number=1)

    def part(sequence: int, side: int, *texts: str, looked: bool = True) -> None:
        codes = tuple(Code(text, "data_matrix") for text in texts) if looked else None
        told = {"recipe": recipe if looked else plant.recipe, "codes": codes}
        seen = PASSED if not side else FAILED
        result = join(seen, identify(codes, recipe.code, "")) if codes is not None else seen
        plant.part(sequence, side, result=result, **told)

    part(1, 0, "B-1")
    part(2, 8, "B-2")
    part(3, 0)  # CODE_MISSING
    part(4, 0, "A-17")  # CODE_WRONG
    part(5, 0, looked=False)
    same = plant.replay(recipe=config, recipe_sha256="ab" * 32)
    assert [(p.old.value, p.new.decision.value) for p in same.parts] == [
        ("PASS", "PASS"), ("FAIL", "FAIL"), ("FAIL", "FAIL"), ("PASS", "PASS"),
    ][::-1]  # fmt: skip
    assert same.parts[1].new.reason is Reason.CODE_MISSING
    assert [p.baseline for p in same.parts] == [p.old for p in same.parts]
    assert same.left_out == {"its code was wrong, and what was read is not kept": ["st1/1/4"]}
    assert same.as_dict()["no_code"] == 1
    said = "\n".join(lines(same, language))
    for words in ("no_code", "its code was wrong, and what was read is not kept"):
        assert texts(language)[words].format(count=1) in said
    report = report_html(same, plant.config.images.folder, language)
    assert texts(language)["no_code"].format(count=1) in report
    other = RecipeConfig.model_validate(content | {"code": {"pattern": "C-.*"}})
    stricter = plant.replay(recipe=other, recipe_sha256="cd" * 32)
    assert [p.new.decision.value for p in stricter.parts] == ["PASS", "FAIL", "FAIL", "FAIL"]
    assert stricter.parts[-1].new.reason is Reason.CODE_WRONG


def test_rows_and_releases_in_another_precision(plant: Plant):
    """What decided in bf16 is compared in bf16, though float32 decides again, and the other way round."""
    folder = plant.release.folder
    version = painted(plant.folder / "data")
    card = read_card(folder)
    learned = card.dataset.model_copy(update={"sha256": version.sha256})
    write_card(folder, card.model_copy(update={"dataset": learned}))
    with pytest.raises(ReleaseError, match="never compared in bf16"):
        plant.replay(precision="bf16")
    make_variant(folder, "bf16", version)
    plant.part(1, 8)
    plant.sql(f"update parts set model_sha256 = 'bf16:{plant.release.model_sha256}'")
    plant.part(2, 8)
    plant.part(3, 8)
    plant.sql("update parts set model_sha256 = '../x:0' where sequence = 3")
    for precision in ("f32", "bf16"):
        found = plant.replay(precision=precision)
        told = found.as_dict()
        assert told["precision"] == precision
        assert told["model_sha256"].startswith("bf16:") is (precision == "bf16")
        assert told["baseline"] == {
            "parts": 2, "differ": 0, "unknown": {"the old release is not at hand": 1},
        }  # fmt: skip
        assert f"<code>{precision}</code>" in report_html(found, plant.folder / "images", "ko")
    with pytest.raises(ReleaseError, match="passed under openvino, not under onnxruntime"):
        plant.replay(precision="bf16", runtime="onnxruntime")
    with pytest.raises(ConfigError, match="'fp4' is not one of f32, bf16, int8"):
        plant.replay(precision="fp4")
    told = call(plant.folder / "results.db", "--release", 1, "--releases", plant.releases,
                "--precision", "bf16", "--json")  # fmt: skip
    assert json.loads(told[1])["precision"] == "bf16"


def painted(folder: Path) -> DatasetVersion:
    """Write parts for the release of `Plant`, every second with a mark; all but two are to judge."""
    (folder / "images").mkdir(parents=True)
    samples: list[Sample] = []
    for i in range(14):
        box, name = (20 + i, 30, 40 + i, 50), f"images/{i}.png"
        image = paint((256, 256), *([(0, box)] if i % 2 else []), grey=90 + i)
        cv2.imwrite(str(folder / name), image[:, :, ::-1])
        samples.append(
            Sample(
                image=name, sha256=sha256_of(folder / name), width=256, height=256,
                split="test" if i > 1 else "train", group=name, origin="test",
                state="labelled" if i % 2 else "good",
                boxes=[(DEMO[0], *map(float, box))] if i % 2 else [],
            )
        )  # fmt: skip
    return write_version(folder, "demo", DEMO, samples)


def test_frame_limits_of_the_recipe_are_kept(plant: Plant):
    plant.part(1, 0)
    config = RecipeConfig.model_validate(
        {"number": 1, "part": "demo", "release": 1, "frame": {"size": [640, 480]}}
    )
    found = plant.replay(recipe=config, recipe_sha256="cd" * 32)
    assert [part.new.reason.name for part in found.changed] == ["FRAME_SIZE"]
    assert found.recipe_differs == 1


def test_nothing_to_decide_is_an_error_and_never_a_yes(plant: Plant):
    plant.part(1, 0, picture=False)
    with pytest.raises(ConfigError, match=r"1: no picture was kept \(shed\)"):
        plant.replay()


def test_texts_of_both_languages_are_whole():
    for language in LANGUAGES:
        assert all(texts(language).values())
    assert Result(Decision.PASS, PASSED.reason).decision.value in texts("ko")
    with pytest.raises(ValueError, match="not one of"):
        texts("fr")
