"""Gates: each one passes and fails for its own reason, in values and in words."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from inspection.errors import ConfigError
from inspection.types import Decision
from inspection_datasets.findings import Finding, shown
from inspection_datasets.manifest import Box, DatasetVersion, Sample
from inspection_training.experiment import Gates
from inspection_training.gates import (
    GateResult,
    RefusedError,
    candidate_gates,
    check_asked,
    dataset_gate,
    for_card,
)
from inspection_training.measure import Measured

PARITY = {
    "images": ["a", "b"],
    "results": [{"runtime": "onnxruntime"}, {"runtime": "openvino"}],
}


def rows(escape: tuple[int, int], overkill: tuple[int, int]) -> dict[str, tuple[str, bool, str]]:
    """Return one row a picture: the first defective ones PASS, the first good ones FAIL."""
    bad = [("PASS" if i < escape[0] else "FAIL") for i in range(escape[1])]
    good = [("FAIL" if i < overkill[0] else "PASS") for i in range(overkill[1])]
    found = {f"bad{i}": (f"b{i:063d}", True, made) for i, made in enumerate(bad)}
    return found | {f"good{i}": (f"a{i:063d}", False, made) for i, made in enumerate(good)}


def measured(
    escape: tuple[int, int] = (0, 300),
    overkill: tuple[int, int] = (1, 100),
    p99: Any = 9.5,
    decisions: dict[str, Decision] | None = None,
    split: str = "test",
    copies: dict[str, tuple[str, bool, str]] | None = None,
    pictures: int = 50,
    groups: dict[str, str] | None = None,
) -> Measured:
    latency = {"machine": "a PC", "openvino": {"p50_ms": 8.0, "p99_ms": p99, "pictures": pictures}}
    own = {split: {**rows(escape, overkill), **(copies or {})}}
    parts = {image: (groups or {}).get(image, image) for image in own[split]}
    return Measured({}, (), {"evaluations": []}, latency, decisions or {}, own, parts)


def gate(name: str, gates: Gates, parity: Any = PARITY, **found: Any) -> GateResult:
    return next(x for x in candidate_gates(gates, parity, measured(**found)) if x.name == name)


def sample(name: str, split: str = "train", boxes: list[Box] | None = None) -> Sample:
    return Sample.model_validate(
        {
            "image": name, "sha256": "0" * 64, "width": 100, "height": 100, "split": split,
            "group": name, "boxes": boxes or [], "state": "labelled" if boxes else "good",
            "origin": "test",
        }
    )  # fmt: skip


def version(*samples: Sample) -> DatasetVersion:
    return DatasetVersion(Path("data"), "plate", "v0001", "1" * 64, ("scratch",), samples)


def test_only_what_is_asked_is_asked_and_parity_always_is():
    assert [x.name for x in candidate_gates(Gates(), PARITY, measured())] == ["parity"]
    told = for_card(Gates(), candidate_gates(Gates(), PARITY, measured()))
    assert told["not_asked"] == ["dataset", "escape", "overkill", "must_catch", "latency"]


def test_the_escape_gate_is_the_exact_one_sided_bound():
    # 299 parts without a miss support 1 % at 95 %: ln(0.05) / ln(0.99) = 298.07
    gates = Gates(max_escape=0.01)
    assert gate("escape", gates, escape=(0, 299)).passed
    refused = gate("escape", gates, escape=(0, 298))
    assert not refused.passed
    assert refused.found["more_parts_needed"] == 1
    assert "the bound at 95 % confidence is 1.001 %, asked at most 1 %" in refused.told("en")
    assert "1 more defective parts, none of them missed" in refused.told("en")
    assert not gate("escape", gates, escape=(1, 299)).passed
    assert gate("escape", Gates(max_escape=0.01, confidence=0.9), escape=(0, 230)).passed


@pytest.mark.parametrize("found", [{"escape": (0, 0)}, {"split": "val"}])
def test_without_defective_parts_no_escape_gate_is_passed(found: dict[str, Any]):
    refused = gate("escape", Gates(max_escape=0.5), **found)
    assert not refused.passed
    assert (
        refused.told("en") == "there are no defective test parts, so nothing is known; 5 are needed"
    )


def test_overkill_is_taken_as_counted_and_its_interval_is_shown():
    gates = Gates(max_overkill=0.05)
    passed = gate("overkill", gates, overkill=(3, 60))
    assert passed.passed
    assert "3 of 60 good test parts failed = 5.00 % (95 % interval 1.04..13.92 %)" in passed.told(
        "en"
    )
    assert not gate("overkill", gates, overkill=(4, 60)).passed
    assert not gate("overkill", gates, overkill=(0, 0)).passed


def test_each_part_that_must_be_caught_is_named_when_it_passes():
    gates = Gates(must_catch=("a.png", "b.png", "c.png"))
    made = {"a.png": Decision.FAIL, "b.png": Decision.REVIEW, "c.png": Decision.PASS}
    refused = gate("must_catch", gates, decisions=made)
    assert not refused.passed
    assert refused.told("en") == "1 of 3 parts that must be caught pass: c.png"
    assert gate("must_catch", gates, decisions={**made, "c.png": Decision.FAIL}).passed
    assert not gate("must_catch", gates, decisions={"a.png": Decision.FAIL}).passed


@pytest.mark.parametrize("p99", [10.01, None, math.nan, math.inf])
def test_latency_that_is_over_or_unknown_is_refused(p99: float | None):
    assert not gate("latency", Gates(max_latency_ms=10), p99=p99).passed


def test_latency_names_runtime_and_machine():
    words = gate("latency", Gates(max_latency_ms=10)).told("en")
    assert "9.5 ms with openvino on a PC (50 different pictures), asked at most 10 ms" in words


@pytest.mark.parametrize(
    "parity",
    [
        {},
        {"images": [], "results": PARITY["results"]},
        {"images": ["a"], "results": [{"runtime": "onnxruntime"}]},
        {**PARITY, "refused": "the exported model differs"},
    ],
)
def test_no_parity_is_no_release(parity: dict[str, Any]):
    assert not gate("parity", Gates(), parity).passed
    assert gate("parity", Gates(), parity).told("en")


def test_parity_that_compared_nothing_is_not_proven():
    results = [{**x, "detections": 0} for x in PARITY["results"]]
    refused = gate("parity", Gates(), {**PARITY, "results": results})
    assert not refused.passed
    assert refused.told("en").startswith("the model finds nothing in any of the 2 images")
    assert "train longer" in refused.remedy(Path("data"), "en")
    results = [{**x, "detections": 3} for x in PARITY["results"]]
    assert gate("parity", Gates(), {**PARITY, "results": results}).passed


def test_an_unknown_part_that_must_be_caught_is_a_mistake_in_the_experiment():
    found = version(sample("images/scratch01.png"))
    check_asked(Gates(must_catch=("images/scratch01.png",)), found)
    with pytest.raises(ConfigError, match=r"did you mean images/scratch01\.png"):
        check_asked(Gates(must_catch=("images/scratch1.png",)), found)


def test_errors_of_the_dataset_refuse_and_warnings_do_not():
    found = version(sample("a"))
    warning = Finding("tiny_box", {"image": "a", "name": "scratch", "size": "2"})
    error = Finding("image_altered", {"image": "a", "version": "v0001"})
    assert dataset_gate(found, [warning], good_only=False).passed
    refused = dataset_gate(found, [warning, error], good_only=False)
    assert not refused.passed
    assert (refused.found["errors"], refused.found["warnings"]) == (1, 1)
    assert "a" in refused.told("en")
    untrained = Finding("class_untrained", {"name": "scratch"})
    assert dataset_gate(found, [untrained], good_only=True).passed
    assert not dataset_gate(found, [untrained], good_only=False).passed


def near(*samples: Sample) -> Finding:
    return Finding(
        "near_duplicate_leak", {"count": 2, "splits": "train, test", "images": "…"}, shown(samples)
    )


def test_nearly_equal_pictures_are_an_error_only_with_the_same_defects():
    good = near(sample("a"), sample("b", "test"))
    elsewhere = near(
        sample("a", boxes=[("scratch", 1, 1, 20, 20)]),
        sample("b", "test", [("scratch", 60, 60, 80, 80)]),
    )
    same = near(
        sample("a", boxes=[("scratch", 1, 1, 20, 20)]),
        sample("b", "test", [("scratch", 1, 1, 21, 20)]),
    )
    passed = dataset_gate(version(sample("a")), [good, elsewhere], good_only=False)
    assert passed.passed
    assert "2 sets of nearly equal pictures" in passed.told("en")
    kept = [(x["code"], x["images"]) for x in passed.found["suspicions"]]
    assert kept == [("near_duplicate_leak", ["a", "b"])] * 2, "each is named with its images"
    assert not dataset_gate(version(sample("a")), [same], good_only=False).passed


def test_a_refusal_names_every_gate_what_was_found_and_what_to_do():
    gates = Gates(max_escape=0.01, max_overkill=0.01, max_latency_ms=100)
    results = candidate_gates(gates, PARITY, measured(escape=(5, 50), overkill=(9, 10)))
    words = str(RefusedError("plate", results, Path("data"), Path("runs/x/candidate/plate/1")))
    assert words.startswith("plate was not released; not passed: escape, overkill\n")
    assert words.count("to do:") == 2
    assert "runs/x/candidate/plate/1" in words
    assert "latency" not in words


def test_copies_of_a_picture_are_one_part():
    """298 copies prove no more than the one picture that they are of."""
    copies = {f"copy{i}": ("c" * 64, True, "FAIL") for i in range(299)}
    gates = Gates(max_escape=0.01, max_overkill=0.5)
    refused = gate("escape", gates, escape=(0, 0), copies=copies)
    assert not refused.passed
    assert (refused.found["parts"], refused.found["copies"]) == (1, 298)
    assert "298 copies of a picture were not counted" in refused.told("en")
    assert gate("escape", gates, escape=(0, 299), copies=copies).found["parts"] == 300
    good = {f"copy{i}": ("c" * 64, False, "PASS") for i in range(98)}
    overkill = gate("overkill", Gates(max_overkill=0.05), overkill=(1, 2), copies=good)
    assert (overkill.found["parts"], overkill.passed) == (3, False), "copies do not dilute overkill"


def of_parts(pictures: int, parts: int, kind: str) -> dict[str, str]:
    """Return image to part: so many pictures, evenly of so many parts."""
    return {f"{kind}{i}": f"{kind} part {i % parts}" for i in range(pictures)}


def test_pictures_of_one_part_are_one_part():
    """300 pictures of 20 parts without a miss: 1 - 0.05 ** (1 / 20) = 13.911 %, rounded up."""
    gates = Gates(max_escape=0.01)
    refused = gate("escape", gates, escape=(0, 300), groups=of_parts(300, 20, "bad"))
    assert not refused.passed
    assert (refused.found["parts"], refused.found["pictures"]) == (20, 300)
    assert refused.found["bound"] == pytest.approx(1 - 0.05 ** (1 / 20))
    assert refused.found["more_parts_needed"] == 279
    words = refused.told("en")
    assert "0 of 20 defective test parts passed: the bound at 95 % confidence is 13.911 %" in words
    assert words.endswith(
        "; 300 pictures of 20 parts: counted as 20, each part by its worst picture"
    )
    assert "부품 20개의 이미지 300장" in refused.told("ko")
    one_each = gate("escape", gates, escape=(0, 300), groups=of_parts(300, 300, "bad"))
    assert one_each.passed
    assert "pictures" not in one_each.told("en")


def test_a_part_is_as_bad_as_its_worst_picture():
    gates = Gates(max_escape=0.5, max_overkill=0.05)
    groups = {**of_parts(300, 20, "bad"), **of_parts(300, 20, "good")}
    missed = gate("escape", gates, escape=(2, 300), groups=groups)
    assert (missed.found["missed"], missed.found["parts"]) == (2, 20), "two pictures of two parts"
    same = {f"bad{i}": f"bad part {i // 15}" for i in range(300)}
    assert gate("escape", gates, escape=(15, 300), groups=same).found["missed"] == 1
    failed = gate("overkill", gates, overkill=(2, 300), groups=groups)
    assert (failed.found["failed"], failed.found["parts"], failed.passed) == (2, 20, False)
    assert "2 of 20 good test parts failed = 10.00 %" in failed.told("en")
    assert "300 pictures of 20 parts: counted as 20" in failed.told("en")


def test_a_part_with_good_and_defective_pictures_is_one_of_each():
    groups = {f"{kind}{i}": f"pair {i}" for kind in ("bad", "good") for i in range(100)}
    found = measured(escape=(0, 100), overkill=(1, 100), groups=groups)
    results = candidate_gates(Gates(max_escape=0.05, max_overkill=0.05), PARITY, found)
    assert [x.found["parts"] for x in results if "parts" in x.found] == [100, 100]


def test_of_copies_that_are_labelled_in_two_ways_the_worse_counts():
    torn = {"a": ("c" * 64, False, "PASS"), "b": ("c" * 64, True, "PASS")}
    found = measured(escape=(0, 10), overkill=(0, 10), copies=torn)
    results = candidate_gates(Gates(max_escape=0.9, max_overkill=0.9), PARITY, found)
    told = {x.name: x.found for x in results}
    assert (told["escape"]["missed"], told["escape"]["parts"]) == (1, 11)
    assert told["overkill"]["parts"] == 10


def test_nobody_is_told_to_lower_t1_by_hand():
    for language in ("ko", "en"):
        for name in ("escape", "must_catch"):
            asked = GateResult(name, False, {"split": "test"}, {})
            words = asked.remedy(Path("data"), language)
            assert "max_review" in words
            assert "--limits-review" in words
            assert "lower T1" not in words


def test_a_refusal_is_told_in_korean():
    gates = Gates(max_escape=0.01, max_latency_ms=1)
    results = candidate_gates(gates, PARITY, measured(escape=(5, 50)))
    error = RefusedError("plate", results, Path("data"), Path("runs/x"))
    words = error.told("ko")
    assert "통과하지 못한 합격 기준: 미검 상한 (escape), 처리 시간 (latency)" in words
    assert "test 불량 부품 50개 중 5개가 합격했습니다" in words
    assert words.count("조치:") == 2
    assert str(error) == error.told("en"), "a log is in one language"
