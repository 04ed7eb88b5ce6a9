"""`inspection dataset check`: every kind of trouble is found, told in words, and nothing is made up."""

from __future__ import annotations

import json
import os
import re
import string
from pathlib import Path

import cv2
import numpy as np
import pytest
from release_builder import paint, write_release
from typer.testing import CliRunner

from inspection.errors import DatasetError, ReleaseError
from inspection_datasets.check import check_dataset
from inspection_datasets.check_report import MOST_PICTURES, write_report
from inspection_datasets.claims import Claim, best_bound, check_counts, parts_needed, read_share
from inspection_datasets.cli import app
from inspection_datasets.duplicates import ENOUGH, join, looks_of, near_pairs
from inspection_datasets.finding_texts import TEXTS
from inspection_datasets.findings import Finding, counts, exit_code
from inspection_datasets.manifest import (
    DatasetVersion,
    Sample,
    load_version,
    sha256_of,
    write_version,
)
from inspection_datasets.suspects import label_suspects

SHARED = Path(os.environ.get("INSPECTION_SHARED", Path(__file__).resolve().parents[3] / "shared"))
DENT = [("dent", 5.0, 5.0, 25.0, 25.0)]


def picture(seed: int, size: tuple[int, int] = (64, 80)) -> np.ndarray:
    """A picture that looks like no other one: coarse random spots."""
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 10, 3), np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


def add(folder: Path, name: str, image: np.ndarray, **changes: object) -> Sample:
    path = folder / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image[..., ::-1])[1].tobytes())
    values: dict[str, object] = {
        "image": f"images/{name}",
        "sha256": sha256_of(path),
        "width": image.shape[1],
        "height": image.shape[0],
        "split": "train",
        "group": name,
        "boxes": DENT,
        "origin": "test",
        **changes,
    }
    values.setdefault("state", "labelled" if values["boxes"] else "good")
    return Sample.model_validate(values)


def clean(folder: Path) -> list[Sample]:
    """Six pictures with nothing wrong."""
    splits = ["train", "train", "val", "val", "test", "test"]
    return [
        add(folder, f"{'ab'[i % 2]}{i}x.png", picture(i), split=s, boxes=DENT if i % 2 else [])
        for i, s in enumerate(splits)
    ]


def write(folder: Path, samples: list[Sample], classes: tuple[str, ...] = ("dent",)):
    return write_version(folder, "plate", list(classes), samples)


def codes(found: list[Finding]) -> dict[str, int]:
    names = [finding.code for finding in found]
    return {name: names.count(name) for name in sorted(set(names)) if name != "claim"}


def test_a_clean_dataset_gets_notes_only(tmp_path):
    found = check_dataset(write(tmp_path, clean(tmp_path)))
    assert codes(found) == {}
    assert exit_code(found) == 0
    # 1 - 0.05 ** (1 / 3) = 63.2 %: a bound is shown rounded up
    assert "3 parts with dent support at best 64 % escape at 95 %" in found[0].text()


def test_broken_pictures_are_all_listed(tmp_path):
    samples = clean(tmp_path)
    wrong = samples[5].model_copy(update={"width": 40, "height": 32})
    version = write(tmp_path, [*samples[:5], wrong])
    (tmp_path / samples[0].image).unlink()
    (tmp_path / samples[1].image).write_bytes(b"no picture")
    altered = tmp_path / samples[2].image
    altered.write_bytes(altered.read_bytes() + b"\0")
    found = check_dataset(version)
    assert codes(found) == {
        "image_altered": 2,
        "image_missing": 1,
        "image_unreadable": 1,
        "size_differs": 1,
    }
    assert exit_code(found) == 2


def test_doubled_and_tiny_boxes(tmp_path):
    boxes = [*DENT, ("dent", 5.0, 5.0, 25.0, 25.1), ("burr", 5.0, 5.0, 25.0, 25.0)]
    tiny = ("burr", 40.0, 40.0, 60.0, 42.0)
    samples = [*clean(tmp_path), add(tmp_path, "w.png", picture(9), boxes=[*boxes, tiny])]
    samples.append(add(tmp_path, "y.png", picture(10), split="test", boxes=[boxes[2]]))
    found = check_dataset(write(tmp_path, samples, ("dent", "burr")))
    assert codes(found) == {"double_box": 1, "tiny_box": 1}
    assert exit_code(found) == 1


def test_leaks_by_equal_and_nearly_equal_pictures(tmp_path):
    samples = clean(tmp_path)
    again = cv2.GaussianBlur(picture(0), (3, 3), 0)
    samples.append(add(tmp_path, "again.jpg", again, split="test", boxes=[]))
    samples.append(add(tmp_path, "equal.bmp", picture(1), split="val"))
    samples.append(add(tmp_path, "twice.bmp", picture(2), split="val", boxes=[]))
    samples.append(add(tmp_path, "other.bmp", picture(3), split="val", boxes=[]))
    samples.append(add(tmp_path, "open.bmp", picture(5), boxes=[], state="unlabelled"))
    found = check_dataset(write(tmp_path, samples))
    assert codes(found) == {
        "duplicate": 2,
        "duplicate_labels": 1,
        "duplicate_leak": 1,
        "near_duplicate_leak": 1,
        "unlabelled_twin": 1,
    }
    leak = next(f for f in found if f.code == "near_duplicate_leak")
    assert {shown.sample.image for shown in leak.pictures} == {samples[0].image, "images/again.jpg"}


def test_a_label_of_the_whole_picture_counts(tmp_path):
    samples = clean(tmp_path)
    whole = {"boxes": [], "state": "unlabelled", "label": "burr"}
    samples.append(add(tmp_path, "p.png", picture(20), **whole))
    samples.append(add(tmp_path, "q.bmp", picture(20), split="test", **whole))
    found = check_dataset(write(tmp_path, samples, ("dent", "burr")))
    assert codes(found) == {"duplicate_leak": 1}
    assert "2 parts with burr support" in " ".join(finding.text() for finding in found)


def test_pictures_of_one_group_may_look_alike(tmp_path):
    samples = clean(tmp_path)
    noisy = np.clip(picture(0).astype(int) + 2, 0, 255).astype(np.uint8)
    samples.append(add(tmp_path, "again.png", noisy, boxes=[], group=samples[0].group))
    found = check_dataset(write(tmp_path, samples))
    assert codes(found) == {"counted_once": 1}
    assert exit_code(found) == 0


def test_pictures_of_one_part_support_no_more_than_the_part(tmp_path):
    """300 pictures of 20 parts: 1 - 0.05 ** (1 / 20) = 13.9 %, and not the 1 % of 300 parts."""
    one = add(tmp_path, "0.png", picture(0), split="test", boxes=DENT)
    samples = [
        one.model_copy(
            update={"image": f"{i}.png", "group": f"part{i % 20}", "sha256": f"{i:064x}"}
        )
        for i in range(300)
    ]
    version = DatasetVersion(tmp_path, "demo", "v0001", "0" * 64, ("dent",), tuple(samples))
    found = {x.code: x for x in check_counts(version, Claim(max_escape=0.01))}
    assert found["few_defects"].text().startswith("20 parts with dent support at best 14 % escape")
    assert "300 labelled and good pictures are of 20 parts" in found["counted_once"].text()
    assert "부품 20개" in found["counted_once"].text("ko")


def test_a_fixed_camera_makes_no_duplicates():
    """Parts that differ by little detail only: alike for the hash, not after the median is taken away."""
    base = picture(1, (128, 128)).astype(int)
    looks = {}
    for seed in range(ENOUGH + 4):
        detail = np.random.default_rng(seed).integers(-25, 25, (128, 128, 3))
        looks[str(seed)] = looks_of(np.clip(base + detail, 0, 255).astype(np.uint8))
    assert near_pairs(looks) == []
    first = np.clip(base + np.random.default_rng(0).integers(-25, 25, (128, 128, 3)), 0, 255)
    data = cv2.imencode(".jpg", first.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    looks["again"] = looks_of(cv2.imdecode(data, cv2.IMREAD_COLOR))
    assert near_pairs(looks) == [("0", "again")]


def test_flat_pictures_are_equal_or_not_alike_at_all():
    grey = {str(v): looks_of(np.full((40, 40, 3), v, np.uint8)) for v in (0, 100, 101)}
    grey["same"] = grey["100"]
    assert near_pairs(grey) == [("100", "same")]


def test_join_is_transitive():
    assert join([(1, 2), (3, 4), (2, 3), (5, 6)]) == [[1, 2, 3, 4], [5, 6]]


def test_a_group_in_two_splits(tmp_path):
    version = write(tmp_path, clean(tmp_path))
    path = tmp_path / "v0001.jsonl"
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    lines[0]["group"] = lines[5]["group"] = "part 7"
    (tmp_path / "v0002.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    assert version.version == "v0001"
    found = check_dataset(load_version(tmp_path, "v0002"))
    assert codes(found) == {"group_leak": 1}
    assert "part 7 is in train, test (2 pictures)" in found[0].text()


def test_names_that_differ_by_a_running_number(tmp_path):
    samples = [
        add(
            tmp_path,
            f"{part}_{shot:02d}.png",
            picture(100 + 10 * i + shot),
            split=split,
            boxes=boxes,
        )
        for i, part in enumerate(("북A", "B", "C", "D"))
        for shot, split, boxes in ((1, "train", DENT), (2, "val" if i else "test", []))
    ]
    samples += clean(tmp_path)
    version = write(tmp_path, samples)
    assert codes(check_dataset(version)) == {"name_leak": 4}
    assert codes(check_dataset(version, group=r"images/(\w+)_\d")) == {
        "group_leak": 4,
        "name_unmatched": 1,
    }
    with pytest.raises(DatasetError, match="not valid"):
        check_dataset(version, group="(")


def test_plain_numbering_is_no_leak(tmp_path):
    samples = [
        add(tmp_path, f"img_{i:04d}.png", picture(i), split=s, boxes=DENT)
        for i, s in enumerate(["train", "val", "test"] * 3)
    ]
    assert codes(check_dataset(write(tmp_path, samples))) == {}


def test_splits_and_classes_without_examples(tmp_path):
    burr, hole = [("burr", 1.0, 1.0, 20.0, 20.0)], [("hole", 1.0, 1.0, 20.0, 20.0)]
    samples = [
        add(tmp_path, "a.png", picture(1), split="val", boxes=burr),
        add(tmp_path, "b.png", picture(2), boxes=hole),
    ]
    found = check_dataset(write(tmp_path, samples, ("dent", "burr", "hole")))
    expected = {"class_empty": 1, "class_untested": 1, "class_untrained": 1, "split_empty": 1}
    assert codes(found) == expected
    unused = tmp_path / "unused"
    only = [add(unused, "a.png", picture(1), boxes=[], state="unlabelled")]
    expected = {"class_empty": 1, "split_empty": 2, "train_empty": 1}
    assert codes(check_dataset(write(unused, only))) == expected


# quality-methods B1: zero failures, C = 95 %; B6: 37 scratches
@pytest.mark.parametrize(
    ("rate", "parts"),
    [(0.1, 29), (0.05, 59), (0.02, 149), (0.01, 299), (0.005, 598), (0.001, 2995)],
)
def test_parts_needed_for_a_claim(rate, parts):
    assert parts_needed(rate) == parts
    assert best_bound(parts) <= rate < best_bound(parts - 1)


def test_the_best_claim_of_37_scratches(tmp_path):
    assert best_bound(37) == pytest.approx(0.0778, abs=5e-5)
    assert best_bound(300) == pytest.approx(0.009936, abs=5e-7)
    assert best_bound(59) == pytest.approx(0.049508, abs=5e-7)
    boxes = [("scratch", 5.0, 5.0, 25.0, 25.0)]
    samples = [
        add(tmp_path, f"{i}.png", picture(i), split=("train", "val", "test")[i % 3], boxes=boxes)
        for i in range(37)
    ]
    version = write(tmp_path, samples, ("scratch",))
    (found,) = check_dataset(version, Claim(max_escape=0.01))
    assert found.code == "few_defects"
    assert found.text().startswith(
        "37 parts with scratch support at best 7.8 % escape at 95 %; for 1 % 299 are needed"
    )
    assert codes(check_dataset(version, Claim(max_escape=0.08, max_overkill=0.05))) == {
        "few_good": 1
    }


@pytest.mark.parametrize(
    ("parts", "shown"), [(3, "64 %"), (8, "32 %"), (298, "1.1 %"), (299, "1 %")]
)
def test_what_is_supported_is_never_shown_lower_than_it_is(tmp_path, parts, shown):
    box = [("scratch", 5.0, 5.0, 25.0, 25.0)]
    one = add(tmp_path, "0.png", picture(0), split="test", boxes=box)
    samples = [
        one.model_copy(update={"image": f"{i}.png", "group": f"{i}", "sha256": f"{i:064x}"})
        for i in range(parts)
    ]
    version = DatasetVersion(tmp_path, "demo", "v0001", "0" * 64, ("scratch",), tuple(samples))
    bound = next(x.values["bound"] for x in check_counts(version, Claim()) if x.code == "claim")
    assert bound == shown
    assert best_bound(parts) <= float(bound.removesuffix(" %")) / 100


@pytest.mark.parametrize("text", ["", "x", "0", "100%", "1", "-1%", "nan", "5 percent"])
def test_a_wrong_share_is_refused(text):
    with pytest.raises(DatasetError, match="--max-escape"):
        read_share(text, "--max-escape")


def test_a_share_is_read():
    assert read_share("1%", "x") == read_share("0.01", "x") == read_share(" 1 % ", "x") == 0.01


def test_every_kind_has_the_same_fields_in_both_languages():
    for code, kind in TEXTS.items():
        fields = [
            {name for _, name, _, _ in string.Formatter().parse(words.text) if name}
            for words in (kind.en, kind.ko)
        ]
        assert fields[0] == fields[1], code
        assert re.search("[가-힣]", kind.ko.title + kind.ko.text), code


@pytest.mark.parametrize(("language", "word"), [("en", "What to do"), ("ko", "조치")])
def test_the_report_is_one_file(tmp_path, language, word):
    samples = [*clean(tmp_path), add(tmp_path, "<b>&.bmp", picture(1), split="val", group="<i>")]
    version = write(tmp_path, samples)
    found = check_dataset(version)
    write_report(version, found, tmp_path / "out" / "r.html", language)
    text = (tmp_path / "out" / "r.html").read_text("utf-8")
    assert word in text
    assert "data:image/jpeg;base64," in text
    assert "<script" not in text
    assert "http" not in text
    assert "<b>&.bmp" not in text
    assert "&lt;b&gt;&amp;.bmp" in text
    assert counts(found)["error"] == 1
    (tmp_path / samples[-1].image).unlink()
    write_report(version, found, tmp_path / "r2.html", language)
    with pytest.raises(DatasetError, match="cannot be written"):
        write_report(version, found, tmp_path / "out" / "r.html" / "x.html", language)


def test_the_report_holds_so_many_pictures(tmp_path):
    version = write(tmp_path, clean(tmp_path))
    shown = Finding("claim", check_dataset(version)[0].values, check_pictures(version))
    write_report(version, [shown] * (MOST_PICTURES // 3), tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text("utf-8").count("data:image") == MOST_PICTURES


def check_pictures(version):
    from inspection_datasets.findings import shown

    return shown(version.samples)


def test_label_suspects_are_ranked(tmp_path):
    release = write_release(tmp_path / "releases", size=(64, 64))
    mark = (0, (8, 8, 24, 24))
    box = ("scratch", 8.0, 8.0, 24.0, 24.0)
    samples = [
        add(tmp_path, "right.png", paint((64, 64), mark), boxes=[box]),
        add(tmp_path, "class.png", paint((64, 64), mark, grey=90), boxes=[("dent", *box[1:])]),
        add(tmp_path, "missing.png", paint((64, 64), mark, grey=100), boxes=[], split="val"),
        add(tmp_path, "nothing.png", paint((64, 64), grey=80), boxes=[box], split="test"),
        add(tmp_path, "good.png", paint((64, 64), grey=70), boxes=[]),
        add(tmp_path, "open.png", paint((64, 64), mark, grey=60), boxes=[], state="unlabelled"),
    ]
    version = write(tmp_path, samples, ("scratch", "dent"))
    found = label_suspects(version, release)
    told = {finding.code: finding.values["image"] for finding in found}
    # the doubtful class: also nobody sees its dent, which is as strong
    assert told.pop("suspect_not_seen") == "images/nothing.png"
    assert set(told.values()) == {"images/class.png", "images/missing.png"}
    scores = [float(finding.values["score"]) for finding in found]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= 0.6
    assert any(mark.by_model for f in found for s in f.pictures for mark in s.marks)
    with pytest.raises(ReleaseError, match="cannot be compared"):
        label_suspects(version, write_release(tmp_path / "r2", variant="anomaly", size=(64, 64)))


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_the_command(tmp_path):
    samples = clean(tmp_path)
    write(tmp_path, samples)
    code, text = run("check", tmp_path, "--language", "en")
    assert (code, text.splitlines()[-1]) == (0, "0 errors, 0 warnings, 1 notes")
    code, text = run("check", tmp_path, "--max-escape", "1%")
    assert code == 1
    assert "불량" in text
    (tmp_path / samples[0].image).unlink()
    code, text = run("check", tmp_path, "--json", "--html", tmp_path / "r.html")
    told = json.loads(text)
    assert (code, told["error"], told["findings"][0]["code"]) == (2, 1, "image_missing")
    assert (tmp_path / "r.html").is_file()
    release = write_release(tmp_path / "releases", size=(64, 64), classes=("dent",))
    assert run("check", tmp_path, "--release", release)[0] == 2
    with pytest.raises(DatasetError, match="is no dataset"):
        run("check", tmp_path / "nowhere")


@pytest.mark.shared
def test_deeppcb_has_no_leak(tmp_path):
    source = SHARED / "data" / "deeppcb_mini"
    if not source.is_dir():
        pytest.skip("the real labelled parts are not here; set INSPECTION_SHARED")
    assert run("import", source, "--to", tmp_path / "pcb")[0] == 0
    code, text = run("check", tmp_path / "pcb", "--json")
    found = json.loads(text)
    assert (code, found["error"], found["warning"]) == (0, 0, 0)
