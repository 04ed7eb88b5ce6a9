"""The trials of a search for people and for scripts, the best one first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from inspection.sentences.language import phrase
from inspection_training.search.trial import Trial, best_of

_WORDS = {
    "trial": ("시험", "trial"),
    "escape": ("val 놓침", "val escape"),
    "review": ("val 불량 재검", "bad, reviewed"),
    "overkill": ("val 과검", "val overkill"),
    "good_review": ("val 양품 재검", "good, reviewed"),
    "point": ("AP50:95", "AP50:95"),
    "minutes": ("학습 분", "minutes"),
    "of": ("{count}/{of}", "{count} of {of}"),
    "stopped": ("중단: 뒤처짐", "stopped: behind"),
    "failed": ("실패: {why}", "failed: {why}"),
    "title": (
        "val 이미지로 정렬했습니다. test 이미지는 고르는 데 쓰지 않았습니다",
        "in the order of the val images; the test images chose nothing",
    ),
    "best": (
        "가장 좋은 시험 {number}. 실행 폴더 {run}. 출시: inspection release make {run}",
        "the best is trial {number}, its run is {run}. To release it: inspection release make {run}",
    ),
    "none": (
        "끝난 시험이 없습니다. 실패한 까닭을 보십시오",
        "no trial came to its end; look at why they failed",
    ),
    "flattered": (
        "{count}개 가운데 고른 것이므로 val 수치는 실제보다 좋아 보입니다. test 수치는 출시할 때 봅니다",
        "as the best of {count}, its val numbers are flattered; the test numbers come with the release",
    ),
}


def print_trials(trials: Sequence[Trial], language: str) -> None:
    """Print a table of all trials, the best first, and how to release it."""
    from rich.console import Console
    from rich.table import Table

    def say(code: str, **values: object) -> str:
        return phrase(_WORDS, code, language, **values)

    names = list(trials[0].tried)
    columns = ["escape", "review", "overkill", "good_review", "point", "minutes"]
    table = Table(title=say("title"))
    for column in (say("trial"), *names, *map(say, columns)):
        table.add_column(column)
    for trial in sorted(trials, key=lambda one: one.order):
        tried = [_value(trial.tried[name]) for name in names]
        table.add_row(str(trial.number), *tried, *_cells(trial, say))
    console = Console()
    console.print(table)
    for why in dict.fromkeys(trial.why for trial in trials if trial.state == "failed"):
        numbers = ", ".join(str(trial.number) for trial in trials if trial.why == why)
        words = f"{numbers}: {say('failed', why=why)}"
        console.print(words, highlight=False, soft_wrap=True)
    best = best_of(trials)
    if best is None:
        console.print(say("none"))
        return
    console.print(say("best", number=best.number, run=best.run), highlight=False, soft_wrap=True)
    if len(trials) > 1:
        console.print(say("flattered", count=len(trials)), soft_wrap=True)


def _cells(trial: Trial, say: Any) -> list[str]:
    score = trial.score
    if trial.state != "done":
        point = "" if trial.map50 is None else f"mAP50 {trial.map50:.3f}"
        words = say("stopped") if trial.state == "stopped" else say("failed", why="↓")
        return [words, "", "", "", point, ""]
    return [
        say("of", count=score["escape"], of=score["bad"]),
        say("of", count=score["review"], of=score["bad"]),
        say("of", count=score["overkill"], of=score["good"]),
        say("of", count=score["good_review"], of=score["good"]),
        f"{score['point']:.3f}" if "point" in score else "",
        f"{trial.seconds / 60:.1f}",
    ]


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def as_json(trials: Sequence[Trial]) -> dict[str, Any]:
    """Return all trials, the best first, for a script."""
    best = best_of(trials)
    return {
        "best": None if best is None else best.number,
        "run": None if best is None else best.run,
        "trials": [asdict(trial) for trial in sorted(trials, key=lambda one: one.order)],
    }
