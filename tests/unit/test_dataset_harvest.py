"""`inspection dataset harvest`: verdicts become samples, once, and never a label that nobody gave."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from store_samples import FAILED, PASSED, frame, inspected, store_config, trigger
from typer.testing import CliRunner

from inspection.errors import DatasetError, StoreError
from inspection.store.images import write_picture
from inspection.store.queries import StoreReader
from inspection.store.rows import counted
from inspection.store.sql import SqlStore
from inspection.store.web import review
from inspection.store.web.access import WebStore
from inspection.store.web.intake import Intake, insert, row_of
from inspection.store.web.people import Person, Role
from inspection.types import Detections, Result, Verdict
from inspection_datasets.check import check_version
from inspection_datasets.cli import app
from inspection_datasets.harvest import harvest, read_since
from inspection_datasets.manifest import Sample, load_version, sha256_of, write_version


class Plant:
    """A results store with parts and verdicts, and a dataset beside it."""

    def __init__(self, folder: Path) -> None:
        self.dataset = folder / "set"
        self.config = store_config(folder, images={"format": "png"})
        self.folder = folder
        self._store = SqlStore(self.config)
        self._epoch = self._store.begin_epoch("st1", "start")

    def part(self, sequence: int, result: Result = FAILED, verdicts: tuple = (), **changes) -> int:
        """One decided part with a picture (unless `picture` is False) and its verdicts."""
        has_picture = changes.pop("picture", True)
        asked = trigger(sequence, epoch=self._epoch)
        record = self._store.triggered(asked, 1)
        changes.setdefault("detections", detections([0.9, 0.2]))
        part = inspected(asked, result, frame=frame(changes.pop("looks", sequence)), **changes)
        self._store.decided(part)
        files = [write_picture(self.config.images, part)] if has_picture else []
        self._store.images(asked.key, "saved" if files else "shed", files)
        with StoreReader(self.config) as reader:
            for seen, verdict in enumerate(verdicts):
                reader.add_verdict(record, verdict, "kim", version_seen=seen)
        return record

    def word(self, record, verdict, boxes, *, second=(), who="kim", version=0) -> None:
        """What a person says on the pages."""
        store = WebStore(self.config)
        Intake(store).take_all()
        person = Person(1, who, who, Role.OPERATOR, "ko", False, {}, "", "", "")
        with store.write("a test") as connection:
            if review.find_review(connection, record) is None:
                insert(connection, [row_of(connection, record)], b"", 0.0, why="asked")
            _, part = review.find_review(connection, record)
            seen = {"image_sha256": part["images"][0]["sha256"]}
            word = review.Word(
                verdict, version, f"{who}-{record}", "", "scratch", boxes=boxes, seen=seen
            )
            rules = review.Rules(frozenset(), frozenset(second))
            review.decide(connection, record, word, person, rules)
        store.close()

    def labelled(self, *, with_good: bool = True, classes: tuple[str, ...] = ("scratch",)) -> None:
        """A first version of two pictures."""
        samples = []
        for name, boxes in (("a", [("scratch", 1.0, 1.0, 9.0, 9.0)]), ("b", [])):
            path = self.dataset / "images" / f"{name}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())
            values = {
                "image": f"images/{name}.bin", "sha256": sha256_of(path), "width": 10, "height": 10,
                "split": "test", "group": "serial:S7" if boxes else "b", "boxes": boxes,
                "state": "labelled" if boxes else "good", "origin": "test",
            }  # fmt: skip
            if boxes or with_good:
                samples.append(Sample.model_validate(values))
        write_version(self.dataset, "bottle", list(classes), samples)

    def close(self) -> None:
        self._store.close()


@pytest.fixture
def plant(tmp_path):
    made = Plant(tmp_path)
    yield made
    made.close()


def detections(scores: list[float], box: tuple[float, ...] = (1, 2, 30, 40)) -> Detections:
    return Detections(
        boxes=np.tile(np.array([box], np.float32), (len(scores), 1)),
        scores=np.array(scores, np.float32),
        classes=np.zeros(len(scores), np.int64),
        class_names=("scratch",),
        release="bottle/3",
        model_sha256="cd" * 32,
    )


def harvested(plant: Plant) -> dict[str, Sample]:
    samples = load_version(plant.dataset).samples
    return {s.origin: s for s in samples if s.origin.startswith("store:")}


def test_each_verdict_becomes_what_it_says(plant):
    plant.labelled()
    plant.part(1, FAILED, (Verdict.FALSE_CALL,))
    plant.part(2, FAILED, (Verdict.REAL_DEFECT,))
    plant.part(3, PASSED, (Verdict.MISSED,))
    plant.part(4, PASSED, (Verdict.REAL_DEFECT,))
    plant.part(5, FAILED, (Verdict.BORDERLINE,))
    plant.part(6, FAILED, (Verdict.ABORTED,))
    plant.part(7, FAILED, (Verdict.REAL_DEFECT, Verdict.FALSE_CALL))
    plant.part(8, FAILED)
    found = harvest(plant.config, plant.dataset)
    assert found.version is not None
    assert found.version.version == "v0002"
    assert found.added == {
        "good": 2,
        "labelled": 1,
        "unlabelled (missed)": 2,
        "unlabelled (borderline)": 1,
    }
    assert found.left_out == {"the review was aborted": 1}
    by_origin = harvested(plant)
    assert set(by_origin) == {
        "store:st1/1/1 record 1 (false call)",
        "store:st1/1/2 record 2 (boxes by model, confirmed)",
        "store:st1/1/3 record 3 (draw boxes: missed)",
        "store:st1/1/4 record 4 (draw boxes: missed)",
        "store:st1/1/5 record 5 (draw boxes: borderline)",
        "store:st1/1/7 record 7 (false call)",
    }
    confirmed = by_origin["store:st1/1/2 record 2 (boxes by model, confirmed)"]
    assert confirmed.boxes == [("scratch", 1.0, 2.0, 30.0, 40.0)], "the one that counted"
    assert (confirmed.split, confirmed.group) == ("train", "serial:S2")
    assert by_origin["store:st1/1/7 record 7 (false call)"].split == "test", "its serial is in test"
    check_version(found.version, decode=False)
    assert len(load_version(plant.dataset, "v0001").samples) == 2


def test_boxes_of_people_are_labels(plant):
    """Also where the machine missed it; an empty correction says nothing."""
    plant.labelled()
    drawn = [{"class": "scratch", "box": [3.0, 4.0, 20.0, 30.0]}]
    plant.word(plant.part(1, PASSED), Verdict.MISSED, drawn)
    plant.word(plant.part(2, FAILED), Verdict.BORDERLINE, drawn)
    plant.word(plant.part(3, FAILED), Verdict.REAL_DEFECT, drawn)
    plant.word(plant.part(4, PASSED), Verdict.MISSED, [])
    plant.word(plant.part(5, PASSED), Verdict.MISSED, [{**drawn[0], "class": "dent"}])
    found = harvest(plant.config, plant.dataset)
    assert found.added == {
        "labelled": 3,
        "unlabelled (missed)": 1,
        "unlabelled (unknown class)": 1,
    }
    by_origin = harvested(plant)
    for record in (1, 2, 3):
        sample = by_origin[f"store:st1/1/{record} record {record} (boxes by a person)"]
        assert sample.boxes == [("scratch", 3.0, 4.0, 20.0, 30.0)]


def test_what_still_waits_gives_no_sample(plant):
    plant.labelled()
    plant.part(1, FAILED, (Verdict.UNSURE,))
    plant.part(2, FAILED, (Verdict.REAL_DEFECT, Verdict.NOT_REVIEWED))
    record = plant.part(3, FAILED, ())
    plant.word(record, Verdict.REAL_DEFECT, None, second={"scratch"})
    found = harvest(plant.config, plant.dataset)
    assert found.version is None
    assert found.left_out == {
        "the person was not sure": 1,
        "the verdict was taken back": 1,
        "the review is not done": 1,
    }
    plant.word(record, Verdict.REAL_DEFECT, None, second={"scratch"}, who="lee", version=1)
    assert harvest(plant.config, plant.dataset).added == {"labelled": 1}


def test_no_picture_is_taken_twice(plant):
    plant.labelled()
    plant.part(1, FAILED, (Verdict.FALSE_CALL,))
    plant.part(2, FAILED, (Verdict.FALSE_CALL,), looks=1)
    found = harvest(plant.config, plant.dataset)
    assert (found.added, sum(found.left_out.values())) == ({"good": 1}, 1)
    removed = [s for s in load_version(plant.dataset).samples if s.origin == "test"]
    write_version(plant.dataset, "bottle", ["scratch"], removed)
    again = harvest(plant.config, plant.dataset)
    assert again.version is None
    assert again.left_out == {"the picture is in the dataset already": 2}
    assert load_version(plant.dataset).version == "v0003"


def test_pictures_that_are_gone_or_altered_are_left_out(plant):
    plant.labelled()
    for sequence in (1, 2, 3):
        plant.part(sequence, FAILED, (Verdict.FALSE_CALL,), picture=sequence != 3)
    first, second = sorted(plant.config.images.folder.rglob("*.png"))
    first.unlink()
    second.write_bytes(second.read_bytes() + b"\0")
    found = harvest(plant.config, plant.dataset)
    assert found.version is None
    assert found.left_out == {
        "no picture was kept": 1,
        "the picture is gone": 1,
        "the picture was altered": 1,
    }


def test_no_label_is_made_up(plant):
    """Nothing counted, an empty box, an unknown class, no good picture known: a person must look."""
    plant.labelled(with_good=False, classes=("scratch",))
    uncounted = Result(FAILED.decision, FAILED.reason, FAILED.reasons, over_t1=0)
    plant.part(1, uncounted, (Verdict.REAL_DEFECT,))
    plant.part(2, FAILED, (Verdict.REAL_DEFECT,), detections=detections([0.9], (5, 5, 5, 9)))
    plant.part(3, FAILED, (Verdict.REAL_DEFECT,), detections=None)
    plant.part(4, FAILED, (Verdict.FALSE_CALL,))
    found = harvest(plant.config, plant.dataset)
    assert found.added == {
        "unlabelled (no usable detection counted)": 3,
        "unlabelled (no good picture here)": 1,
    }
    other = plant.folder / "other"
    sample = load_version(plant.dataset, "v0001").samples[0]
    boxes = [("dent", *sample.boxes[0][1:])]
    write_version(other, "x", ["dent"], [sample.model_copy(update={"boxes": boxes})])
    plant.part(5, FAILED, (Verdict.REAL_DEFECT,))
    assert harvest(plant.config, other).added["unlabelled (unknown class)"] == 1


def test_the_boxes_are_those_that_counted_not_the_surest(plant):
    """The surest lay in an ignored region: it is no defect, and the one that failed the part is one."""
    plant.labelled()
    boxes = np.array([[1, 2, 30, 40], [3, 4, 20, 20]], np.float32)
    found = replace(detections([0.95, 0.6]), boxes=boxes)
    told = replace(FAILED, deciding_score=0.6, counted=(1,))
    plant.part(1, told, (Verdict.REAL_DEFECT,), detections=found)
    plant.part(2, replace(FAILED, counted=()), (Verdict.REAL_DEFECT,), detections=found)
    assert harvest(plant.config, plant.dataset).added == {
        "labelled": 1,
        "unlabelled (no usable detection counted)": 1,  # a row that tells only how many
    }
    by_origin = harvested(plant)
    assert by_origin["store:st1/1/1 record 1 (boxes by model, confirmed)"].boxes == [
        ("scratch", 3.0, 4.0, 20.0, 20.0)
    ]


def test_which_detections_of_a_row_counted():
    one, other = {"class": "a", "score": 0.9}, {"class": "b", "score": 0.5}
    told = other | {"counted": True}
    assert counted({"detections": [one, told], "over_t1": 1}) == [told]
    assert counted({"detections": [other, one], "over_t1": 2}) == [one, other], "all of them"
    assert counted({"detections": [one, other], "over_t1": 0}) == []
    assert counted({"detections": [one, other], "over_t1": 1}) is None
    assert counted({"detections": None, "over_t1": 1}) is None, "cut short"
    assert counted({"detections": None, "over_t1": None}) == []


def test_since_and_split(plant):
    plant.labelled()
    plant.part(1, FAILED, (Verdict.FALSE_CALL,))
    assert harvest(plant.config, plant.dataset, read_since("2999-01-01")).version is None
    found = harvest(plant.config, plant.dataset, read_since("2020-01-01T00:00+09:00"), "val")
    assert found.version is not None
    assert [s.split for s in harvested(plant).values()] == ["val"]
    assert read_since("2020-01-01T09:00:00+09:00") == "2020-01-01T00:00:00.000000+00:00"
    with pytest.raises(DatasetError, match="--since"):
        read_since("yesterday")


def test_the_command(plant):
    plant.labelled()
    plant.part(1, FAILED, (Verdict.FALSE_CALL,))
    store, to = str(plant.folder / "results.db"), str(plant.dataset)
    runner = CliRunner()
    done = runner.invoke(app, ["harvest", store, "--to", to, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"written": "v0002", "added": {"good": 1}, "left_out": {}}
    told = runner.invoke(app, ["harvest", store, "--to", to]).stdout
    assert "이미 데이터셋에 있는 이미지" in told
    assert "추가할 것이 없습니다" in told
    english = ["harvest", store, "--to", to, "--language", "en"]
    assert "nothing to add" in runner.invoke(app, english).stdout
    nowhere = runner.invoke(app, ["harvest", str(plant.folder / "no.db"), "--to", to])
    assert isinstance(nowhere.exception, StoreError)
    empty = runner.invoke(app, ["harvest", store, "--to", str(plant.folder / "none")])
    assert isinstance(empty.exception, DatasetError)


def test_everything_that_a_harvest_counts_can_be_told_in_korean() -> None:
    """The words are found in the module itself: a new one without Korean fails here."""
    from inspect import getsource

    from inspection_datasets import harvest as module
    from inspection_datasets.text import HARVEST, harvest_words

    said = set(re.findall(r'"((?:the|no|unknown) [a-z ]+)"', getsource(module)))
    assert said - {"the results store"} <= set(HARVEST), said
    assert harvest_words("unlabelled (missed)", "ko") == "라벨 없음, 상자를 그려야 함 (미검)"
    assert harvest_words("unlabelled (missed)", "en") == "unlabelled (missed)"
    assert harvest_words("what comes later", "ko") == "what comes later"
