"""What a search tries, how trials are compared, and what a person is told."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from inspection.errors import ConfigError
from inspection_training.experiment import Experiment, check_settings
from inspection_training.progress import silent
from inspection_training.search.space import read_space
from inspection_training.search.table import as_json, print_trials
from inspection_training.search.trial import Job, Trial, best_of, run_trial, score_of


def space(folder: Path, text: str) -> Path:
    (folder / "base.yaml").write_text("model: yolov8n\nepochs: 7\nimgsz: 320\n")
    (folder / "search.yaml").write_text(text)
    return folder / "search.yaml"


def test_all_combinations_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        "experiment: base.yaml\nvary:\n  imgsz: [96, 128, 160]\n  augment: [metal, [blur, noise]]\n"
    )
    plan = read_space(space(tmp_path, text))
    expected = itertools.product([96, 128, 160], ["metal", ["blur", "noise"]])
    assert [tuple(tried.values()) for tried, _ in plan] == list(expected)
    for tried, experiment in plan:
        assert (experiment.model, experiment.epochs) == ("yolov8n", 7)
        assert experiment.imgsz == tried["imgsz"]
    assert plan[1][1].augment == ("blur", "noise")


def test_so_many_are_drawn_and_none_twice(tmp_path: Path) -> None:
    def drawn(seed: int, trials: int) -> list[tuple[int, ...]]:
        text = f"vary: {{seed: [{', '.join(map(str, range(30)))}], imgsz: [96, 128]}}\n"
        plan = read_space(space(tmp_path, f"{text}trials: {trials}\nseed: {seed}\n"))
        return [tuple(tried.values()) for tried, _ in plan]

    first = drawn(1, 10)
    assert len(set(first)) == 10
    assert first == drawn(1, 10)
    assert first != drawn(2, 10)
    assert len(drawn(1, 500)) == 60  # there are no more


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vary: {}\n", "vary"),
        ("trials: 3\n", "vary"),
        ("vary: {size: [1]}\n", "size is no setting of an experiment; known are: activation"),
        ("vary: {gates: [1]}\n", "cannot be compared"),
        ("vary: {max_overkill: [0.1, 0.2]}\n", "cannot be compared"),
        ("vary: {imgsz: []}\n", "imgsz has no values"),
        ("vary: {imgsz: [96, 96]}\n", "a value twice"),
        ("vary: {imgsz: 96}\n", "vary.imgsz"),
        ("vary: {imgsz: [96]}\ntrials: 0\n", "trials"),
        ("vary: {imgsz: [96, 1]}\n", "trial 2: imgsz"),
        ("vary: {imgsz: [96]}\nexperiment: nothing.yaml\n", "nothing.yaml cannot be read"),
        ("vary: {seed: [1]}\nmore: 1\n", "more"),
        ("- 1\n", "search"),
        ("vary: {lr: [0.1, 0.2]}\n", "trial 1: lr 0.1 would not be used: optimizer auto"),
        ("vary: [\n", "cannot be read"),
        (f"vary: {{seed: {list(range(1001))}}}\n", "1001 combinations"),
    ],
)
def test_a_wrong_file_says_what_to_do(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_space(space(tmp_path, text))
    assert said in str(error.value)


def done(number: int, escape: int, review: int, waste: int, point: float) -> Trial:
    score = {
        "escape": escape, "review": review, "bad": 20,
        "overkill": waste, "good_review": 0, "good": 30, "point": point,
    }  # fmt: skip
    return Trial(number, {"imgsz": 96 + number}, "done", run=f"/runs/{number}", score=score)


def test_escapes_count_before_reviews_before_overkill_before_the_figure() -> None:
    best = [
        done(7, 0, 1, 2, 0.1),
        done(6, 0, 2, 0, 0.2),
        done(5, 0, 2, 1, 0.9),
        done(4, 0, 2, 1, 0.8),
        done(3, 1, 0, 0, 0.99),
        Trial(2, {"imgsz": 2}, "stopped", map50=0.9),
        Trial(1, {"imgsz": 1}, "failed", why="memory"),
    ]
    assert sorted([*best[3:], *best[:3]], key=lambda trial: trial.order) == best
    assert best_of(best[::-1]) is best[0]
    assert best_of(best[5:]) is None
    told = as_json(best[::-1])
    assert (told["best"], told["run"]) == (7, "/runs/7")
    assert [trial["number"] for trial in told["trials"]] == [7, 6, 5, 4, 3, 2, 1]


def test_only_val_is_looked_at() -> None:
    def found(split: str, escape: int, **more: object) -> dict[str, object]:
        rate = {"count": escape, "of": 9}
        bad, good = {"escape": rate, "review": rate}, {"overkill": rate, "review": rate}
        return {"split": split, "defective": bad, "good": good, "map50_95": None, **more}

    metrics = {"evaluations": [found("test", 0), found("val", 4, auroc=0.5)]}
    score = score_of(metrics)
    assert (score["escape"], score["bad"], score["point"]) == (4, 9, 0.5)
    with pytest.raises(ConfigError, match="no val images"):
        score_of({"evaluations": [found("test", 0)]})


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["1 of 20", "stopped: behind", "mAP50 0.900", "/runs/3", "flattered", "2, 4: failed"]),
        ("ko", ["1/20", "중단", "출시: inspection release make /runs/3", "2, 4: 실패: memory"]),
    ],
)  # fmt: skip
def test_the_table_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    language: str,
    words: list[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    trials = [
        Trial(1, {"imgsz": 1}, "stopped", map50=0.9),
        Trial(2, {"imgsz": 2}, "failed", why="memory"),
        done(3, 1, 0, 0, 0.99),
        Trial(4, {"imgsz": 4}, "failed", why="memory"),
    ]
    print_trials(trials, language)
    told = capsys.readouterr().out
    for word in words:
        assert word in told
    print_trials(trials[:2], language)
    assert ("끝난 시험이 없습니다" if language == "ko" else "no trial came to its end") in (
        capsys.readouterr().out
    )


def test_whatever_a_library_throws_ends_its_own_trial_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = read_space(space(tmp_path, "vary: {seed: [1]}\n"))
    job = Job(tmp_path, "v0001", "", "plate", None, tmp_path, tmp_path)

    def fails(_: Job) -> None:
        raise KeyError("blob")

    monkeypatch.setattr(Job, "version", fails)
    trial = run_trial(job, 1, *plan[0], silent)
    assert (trial.state, trial.why) == ("failed", "KeyError: 'blob'")


def test_a_run_that_was_begun_with_a_rate_that_is_not_used_is_still_read() -> None:
    old = Experiment.model_validate({"lr": 0.01, "optimizer": "auto"})
    with pytest.raises(ConfigError, match="name the optimizer"):
        check_settings(old.model_dump(exclude_unset=True), "here")
