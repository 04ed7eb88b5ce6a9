"""`inspection dataset harvest`: verdicts become samples, once, and never a label that nobody gave."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from store_samples import (
    FAILED,
    PASSED,
    RECIPE,
    REVIEWED,
    frame,
    inspected,
    store_config,
    trigger,
)
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
from inspection.types import Code, CodeRule, Detections, Result, Verdict
from inspection_datasets.check import check_version
from inspection_datasets.cli import app
from inspection_datasets.difference import compare_versions
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
        asked = replace(asked, serial=changes.pop("serial", asked.serial))
        if code := changes.pop("code", ""):
            changes["recipe"] = replace(RECIPE, code=CodeRule("picture", ("data_matrix",)))
            changes["codes"] = (Code(code, "data_matrix"),)
        record = self._store.triggered(asked, 1)
        changes.setdefault("detections", detections([0.9, 0.2]))
        part = inspected(asked, result, frame=frame(changes.pop("looks", sequence)), **changes)
        self._store.decided(part)
        files = [write_picture(self.config.images, part)] if has_picture else []
        self._store.images(asked.key, "saved" if files else "shed", files)
        for verdict in verdicts:
            self.say(record, verdict)
        return record

    def say(self, record: int, verdict: Verdict) -> None:
        """One more verdict of a part, by a program."""
        with StoreReader(self.config) as reader:
            _, given = reader.part(record)
            reader.add_verdict(record, verdict, "kim", version_seen=len(given))

    def undo(self, record: int, version: int, *, who="kim") -> None:
        """What a person takes back on the pages."""
        store = WebStore(self.config)
        person = Person(1, who, who, Role.OPERATOR, "ko", False, {}, "", "", "")
        with store.write("a test") as connection:
            review.undo(connection, record, version, f"undo-{version}", person)
        store.close()

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
            client = f"{who}-{record}-{version}"
            word = review.Word(verdict, version, client, "", "scratch", boxes=boxes, seen=seen)
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


def sample_of(plant: Plant, record: int) -> Sample:
    (found,) = [s for o, s in harvested(plant).items() if f" record {record} " in o]
    return found


def sequence_of(sample: Sample) -> int:
    return int(sample.origin.split()[0].rpartition("/")[2])


def groups(plant: Plant) -> dict[int, str]:
    return {sequence_of(s): s.group for s in harvested(plant).values()}


def splits(plant: Plant) -> dict[int, str]:
    return {sequence_of(s): s.split for s in harvested(plant).values()}


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


def test_a_verdict_that_was_corrected_corrects_the_sample(plant):
    """False call, harvested, taken back, confirmed: a defect may not stay a good part."""
    plant.labelled()
    record = plant.part(7, replace(REVIEWED, counted=(0,)))
    plant.word(record, Verdict.FALSE_CALL, None)
    harvest(plant.config, plant.dataset)
    first = sample_of(plant, record)
    assert (first.state, first.split, first.group) == ("good", "test", "serial:S7")

    plant.undo(record, 1)
    taken_back = harvest(plant.config, plant.dataset)
    assert taken_back.corrected == {"good -> set aside (the verdict was taken back)": 1}
    assert (taken_back.added, taken_back.left_out) == ({}, {})
    assert sample_of(plant, record) == first.model_copy(
        update={
            "state": "unlabelled",
            "origin": "store:st1/1/7 record 1 "
            "(set aside: the verdict was taken back; corrected, until v0002: false call)",
        }
    )
    assert harvest(plant.config, plant.dataset).version is None, "once"

    plant.word(record, Verdict.REAL_DEFECT, None, version=2)
    confirmed = harvest(plant.config, plant.dataset)
    assert confirmed.corrected == {"set aside -> labelled": 1}
    assert sample_of(plant, record) == first.model_copy(
        update={
            "state": "labelled",
            "boxes": [("scratch", 1.0, 2.0, 30.0, 40.0)],
            "origin": "store:st1/1/7 record 1 (boxes by model, confirmed; "
            "corrected, until v0003: set aside: the verdict was taken back)",
        }
    )
    again = harvest(plant.config, plant.dataset)
    assert again.version is None
    assert again.left_out == {"the picture is in the dataset already": 1}
    old = [load_version(plant.dataset, f"v000{number}") for number in (2, 4)]
    check_version(old[1], decode=False)
    found = compare_versions(*old)
    assert (found.added, found.removed, found.split, found.group) == ([], [], {}, {})
    assert [one.state for one in found.relabelled] == [("good", "labelled")]


def test_every_change_of_a_verdict_is_told_once(plant):
    plant.labelled()
    records = {
        "to good": plant.part(1, FAILED, (Verdict.REAL_DEFECT,)),
        "to unlabelled": plant.part(2, FAILED, (Verdict.REAL_DEFECT,)),
        "to nothing": plant.part(3, PASSED, (Verdict.MISSED,)),
        "to other words": plant.part(4, PASSED, (Verdict.MISSED,)),
        "and back": plant.part(5, FAILED, (Verdict.FALSE_CALL,)),
        "waits": plant.part(6, REVIEWED, (Verdict.FALSE_CALL,)),
    }
    harvest(plant.config, plant.dataset)
    plant.say(records["to good"], Verdict.FALSE_CALL)
    plant.say(records["to unlabelled"], Verdict.BORDERLINE)
    plant.say(records["to nothing"], Verdict.ABORTED)
    plant.say(records["to other words"], Verdict.BORDERLINE)
    plant.say(records["and back"], Verdict.REAL_DEFECT)
    plant.say(records["and back"], Verdict.FALSE_CALL)
    plant.say(records["waits"], Verdict.UNSURE)
    found = harvest(plant.config, plant.dataset)
    assert found.corrected == {
        "labelled -> good": 1,
        "labelled -> unlabelled (borderline)": 1,
        "unlabelled -> set aside (the review was aborted)": 1,
        "good -> set aside (the person was not sure)": 1,
    }
    assert found.left_out == {"the picture is in the dataset already": 2}
    assert not [s for s in load_version(plant.dataset).samples if s.state != "labelled" and s.boxes]


def test_other_boxes_of_a_person_take_the_place_of_the_first(plant):
    plant.labelled()
    record = plant.part(1, REVIEWED)
    boxes = [{"class": "scratch", "box": [3.0, 4.0, 20.0, 30.0]}]
    plant.word(record, Verdict.REAL_DEFECT, boxes)
    harvest(plant.config, plant.dataset)
    plant.undo(record, 1)
    plant.word(
        record, Verdict.REAL_DEFECT, [{**boxes[0], "box": [5.0, 6.0, 20.0, 30.0]}], version=2
    )
    found = harvest(plant.config, plant.dataset)
    assert found.corrected == {"labelled -> labelled (other boxes)": 1}
    assert sample_of(plant, record).boxes == [("scratch", 5.0, 6.0, 20.0, 30.0)]


def test_a_correction_needs_neither_the_time_nor_the_picture_in_the_store(plant):
    plant.labelled()
    record = plant.part(1, FAILED, (Verdict.FALSE_CALL,))
    plant.part(2, FAILED, (Verdict.FALSE_CALL,))
    harvest(plant.config, plant.dataset)
    plant.say(record, Verdict.REAL_DEFECT)
    for picture in plant.config.images.folder.rglob("*.png"):
        picture.unlink()
    found = harvest(plant.config, plant.dataset, read_since("2999-01-01"))
    assert (found.corrected, found.left_out) == ({"good -> labelled": 1}, {})


def test_an_old_version_that_was_taken_up_again_is_corrected_as_well(plant):
    plant.labelled()
    record = plant.part(1, FAILED, (Verdict.FALSE_CALL,))
    harvest(plant.config, plant.dataset)
    plant.say(record, Verdict.REAL_DEFECT)
    harvest(plant.config, plant.dataset)
    write_version(
        plant.dataset, "bottle", ["scratch"], load_version(plant.dataset, "v0002").samples
    )
    assert harvest(plant.config, plant.dataset).corrected == {"good -> labelled": 1}
    assert sample_of(plant, record).state == "labelled"


@pytest.mark.parametrize(
    "edit",
    [
        {"state": "labelled", "boxes": [("scratch", 9.0, 9.0, 12.0, 12.0)]},
        {"origin": "coco:annotations.json"},
        {"origin": "store:st1/1/1 record 1 (looked at by lee)"},
    ],
    ids=["other boxes", "imported", "other words"],
)
def test_what_a_person_edited_is_left_and_told(plant, edit):
    plant.labelled()
    record = plant.part(1, FAILED, (Verdict.FALSE_CALL,))
    harvest(plant.config, plant.dataset)
    before = load_version(plant.dataset)
    edited = sample_of(plant, record).model_copy(update=edit)
    samples = [edited if s.image == edited.image else s for s in before.samples]
    write_version(plant.dataset, "bottle", ["scratch"], samples)
    assert harvest(plant.config, plant.dataset).look_at == [], "the verdict is what it was"
    plant.say(record, Verdict.REAL_DEFECT)
    found = harvest(plant.config, plant.dataset)
    assert (found.version, found.corrected, found.look_at) == (None, {}, [edited.image])
    assert found.left_out == {"the verdict changed, and the labels were edited by hand": 1}
    assert edited in load_version(plant.dataset).samples
    mended = edited.model_copy(
        update={"state": "labelled", "boxes": [("scratch", 1.0, 2.0, 30.0, 40.0)]}
    )
    samples = [mended if s.image == edited.image else s for s in before.samples]
    write_version(plant.dataset, "bottle", ["scratch"], samples)
    done = harvest(plant.config, plant.dataset)
    assert (done.look_at, done.version) == ([], None), "the person says what the verdict says"


def test_boxes_that_a_person_drew_are_no_correction(plant):
    """The harvest asked for them."""
    plant.labelled()
    record = plant.part(1, PASSED, (Verdict.MISSED,))
    harvest(plant.config, plant.dataset)
    asked = sample_of(plant, record)
    drawn = asked.model_copy(
        update={"state": "labelled", "boxes": [("scratch", 3.0, 3.0, 9.0, 9.0)], "origin": "cvat"}
    )
    samples = [drawn if s == asked else s for s in load_version(plant.dataset).samples]
    write_version(plant.dataset, "bottle", ["scratch"], samples)
    assert harvest(plant.config, plant.dataset).look_at == []
    plant.say(record, Verdict.NOT_REVIEWED)
    assert harvest(plant.config, plant.dataset).look_at == [asked.image]
    assert drawn in load_version(plant.dataset).samples


def test_boxes_that_were_confirmed_stay_while_the_verdict_does(plant):
    """An older program took boxes of a row that the program of today would not take."""
    plant.labelled()
    uncounted = Result(FAILED.decision, FAILED.reason, FAILED.reasons, over_t1=0)
    record = plant.part(1, uncounted, (Verdict.REAL_DEFECT,))
    harvest(plant.config, plant.dataset)
    asked = sample_of(plant, record)
    boxes = {"state": "labelled", "boxes": [("scratch", 1.0, 2.0, 30.0, 40.0)]}
    origin = "store:st1/1/1 record 1 (boxes by model, confirmed)"
    before = asked.model_copy(update={**boxes, "origin": origin})
    samples = [before if s == asked else s for s in load_version(plant.dataset).samples]
    write_version(plant.dataset, "bottle", ["scratch"], samples)
    assert harvest(plant.config, plant.dataset).version is None
    plant.say(record, Verdict.FALSE_CALL)
    assert harvest(plant.config, plant.dataset).corrected == {"labelled -> good": 1}


def test_what_was_removed_on_purpose_stays_away_whatever_is_said_of_it(plant):
    plant.labelled()
    record = plant.part(1, FAILED, (Verdict.FALSE_CALL,))
    harvest(plant.config, plant.dataset)
    rest = [s for s in load_version(plant.dataset).samples if s.origin == "test"]
    write_version(plant.dataset, "bottle", ["scratch"], rest)
    plant.say(record, Verdict.REAL_DEFECT)
    found = harvest(plant.config, plant.dataset)
    assert (found.version, found.corrected, found.look_at) == (None, {}, [])
    assert found.left_out == {"the picture is in the dataset already": 1}


def test_a_row_of_another_store_corrects_nothing(plant, tmp_path):
    """The same record and key, another picture: a store that was made anew."""
    plant.labelled()
    plant.part(1, FAILED, (Verdict.FALSE_CALL,))
    harvest(plant.config, plant.dataset)
    other = Plant(tmp_path / "other")
    other.part(1, FAILED, (Verdict.REAL_DEFECT,), looks=99)
    found = harvest(other.config, plant.dataset)
    other.close()
    assert (found.added, found.corrected) == ({"labelled": 1}, {})
    assert {s.state for s in harvested(plant).values()} == {"good", "labelled"}


def test_a_part_is_known_by_its_code_where_it_has_no_serial(plant):
    plant.labelled()
    told = {"serial": "", "code": "DM-1"}
    plant.part(1, FAILED, (Verdict.FALSE_CALL,), **told)
    plant.part(2, FAILED, (Verdict.REAL_DEFECT,), **told)
    plant.part(3, FAILED, (Verdict.FALSE_CALL,), serial="")
    plant.part(4, FAILED, (Verdict.FALSE_CALL,), code="DM-1")
    harvest(plant.config, plant.dataset, None, "test")
    assert groups(plant) == {1: "code:DM-1", 2: "code:DM-1", 3: "st1/1/3", 4: "serial:S4"}
    plant.part(5, FAILED, (Verdict.FALSE_CALL,), **told)
    harvest(plant.config, plant.dataset, None, "train")
    assert groups(plant)[5] == "code:DM-1"
    assert splits(plant) == dict.fromkeys(range(1, 6), "test")


def test_a_code_joins_the_group_that_an_earlier_harvest_named_by_the_key(plant):
    """Datasets of before codes were looked at; also where the picture was imported again since."""
    plant.labelled()
    told = {"serial": "", "code": "DM-1"}
    plant.part(1, FAILED, (Verdict.FALSE_CALL,), **told)
    harvest(plant.config, plant.dataset, None, "test")
    as_before = [
        s.model_copy(update={"group": "st1/1/1"}) if s.origin.startswith("store:") else s
        for s in load_version(plant.dataset).samples
    ]
    write_version(plant.dataset, "bottle", ["scratch"], as_before)
    plant.part(2, FAILED, (Verdict.REAL_DEFECT,), **told)
    harvest(plant.config, plant.dataset, None, "train")
    assert (groups(plant)[2], splits(plant)[2]) == ("st1/1/1", "test")
    imported = [
        s.model_copy(update={"origin": "yolo", "group": f"g{i}", "split": "val"})
        for i, s in enumerate(load_version(plant.dataset).samples)
    ]
    write_version(plant.dataset, "bottle", ["scratch"], imported)
    plant.part(3, FAILED, (Verdict.FALSE_CALL,), **told)
    harvest(plant.config, plant.dataset, None, "train")
    assert (groups(plant)[3], splits(plant)[3]) == ("g2", "val")


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
    assert json.loads(done.stdout) == {
        "written": "v0002",
        "added": {"good": 1},
        "corrected": {},
        "left_out": {},
        "look_at": [],
    }
    told = runner.invoke(app, ["harvest", store, "--to", to]).stdout
    assert "이미 데이터셋에 있는 이미지" in told
    assert "추가할 것이 없습니다" in told
    english = ["harvest", store, "--to", to, "--language", "en"]
    assert "nothing to add" in runner.invoke(app, english).stdout
    plant.say(1, Verdict.REAL_DEFECT)
    corrected = runner.invoke(app, ["harvest", store, "--to", to]).stdout
    assert "바로잡음 1건: 양품 -> 라벨 있음" in corrected
    edited = sample_of(plant, 1).model_copy(update={"boxes": [("scratch", 3.0, 3.0, 9.0, 9.0)]})
    samples = [
        edited if s.image == edited.image else s for s in load_version(plant.dataset).samples
    ]
    write_version(plant.dataset, "bottle", ["scratch"], samples)
    plant.say(1, Verdict.FALSE_CALL)
    left = runner.invoke(app, english).stdout
    assert f"look at\n    {edited.image}\n" in left
    nowhere = runner.invoke(app, ["harvest", str(plant.folder / "no.db"), "--to", to])
    assert isinstance(nowhere.exception, StoreError)
    empty = runner.invoke(app, ["harvest", store, "--to", str(plant.folder / "none")])
    assert isinstance(empty.exception, DatasetError)


def test_everything_that_a_harvest_counts_can_be_told_in_korean() -> None:
    """The words are found in the module itself: a new one without Korean fails here."""
    from inspect import getsource

    from inspection_datasets import harvest as module
    from inspection_datasets.text import HARVEST, harvest_words

    said = set(re.findall(r'"((?:the|no|unknown|other) [a-z ,]+)"', getsource(module)))
    assert said - {"the results store"} <= set(HARVEST), said
    assert harvest_words("unlabelled (missed)", "ko") == "라벨 없음, 상자를 그려야 함 (미검)"
    assert harvest_words("unlabelled (missed)", "en") == "unlabelled (missed)"
    changed = "unlabelled -> set aside (the review is not done)"
    assert harvest_words(changed, "en") == changed
    korean = "라벨 없음, 상자를 그려야 함 -> 라벨 없음, 재검 결과 없음 (재검이 끝나지 않음)"
    assert harvest_words(changed, "ko") == korean
    assert harvest_words("what comes later", "ko") == "what comes later"
