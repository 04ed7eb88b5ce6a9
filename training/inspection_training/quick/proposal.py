"""What a quick start proposes: settings, each with its reason, and notes; as words, YAML or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from inspection_datasets.manifest import DatasetVersion
from inspection_training.experiment import Experiment
from inspection_training.quick.text import NOTES, TIMES, WHY


@dataclass(frozen=True, slots=True)
class Choice:
    """One setting that was chosen.

    Attributes:
        setting: field of `Experiment`.
        value: as written in the experiment file.
        reason: key of `text.WHY`.
        facts: the numbers it came from.
    """

    setting: str
    value: Any
    reason: str
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def why(self, language: str) -> str:
        """Return the reason in one sentence or two, `ko` or `en`."""
        return WHY[self.reason][language != "ko"].format(**_in(language, self.facts))


@dataclass(frozen=True, slots=True)
class Note:
    """What the data cannot give, or what to look at: key of `text.NOTES`, and its numbers."""

    code: str
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def text(self, language: str) -> str:
        """Return it in words, `ko` or `en`."""
        return NOTES[self.code][language != "ko"].format(**self.facts)


@dataclass(frozen=True, slots=True)
class Proposal:
    """An experiment and why it is so.

    Attributes:
        experiment: ready to train.
        choices: every setting that was chosen, in the order of the file.
        notes: what somebody should know before training.
    """

    experiment: Experiment
    choices: tuple[Choice, ...]
    notes: tuple[Note, ...]

    def in_words(self, language: str) -> str:
        """Return one line a choice, then the notes."""
        told = [f"{c.setting}: {_yaml(c.value)}\n    {c.why(language)}" for c in self.choices]
        return "\n".join([*told, *(f"! {note.text(language)}" for note in self.notes)])

    def as_yaml(self, version: DatasetVersion, language: str) -> str:
        """Return an experiment file with the reasons as comments."""
        head = f"# inspection train --quick; {version.name} {version.version} {version.sha256[:12]}"
        notes = [f"# ! {note.text(language)}" for note in self.notes]
        told = [f"# {c.why(language)}\n{c.setting}: {_yaml(c.value)}" for c in self.choices]
        return "\n".join([head, *notes, *told, ""])

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; sentences in English."""
        return {
            "experiment": self.experiment.model_dump(mode="json", exclude_unset=True),
            "choices": [
                {
                    "setting": c.setting, "value": c.value, "reason": c.reason,
                    "facts": dict(c.facts), "why": c.why("en"),
                }
                for c in self.choices
            ],
            "notes": [{"code": n.code, "facts": dict(n.facts), "text": n.text("en")} for n in self.notes],
        }  # fmt: skip


def _yaml(value: Any) -> str:
    return (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True).split("\n...")[0].strip()
    )


def _in(language: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    times = facts.get("times")
    return {**facts, **({"times": TIMES[times][language != "ko"]} if times else {})}
