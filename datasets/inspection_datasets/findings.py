"""What a check can find: one finding is one fact, with its pictures, in English and Korean.

    Kind (severity, title, text, what to do)  +  values, pictures  =  Finding

Severities: an error makes training or its numbers wrong; a warning deserves a look; a note is for
information. `exit_code` is 2 with an error, 1 with warnings only, else 0.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from inspection_datasets.finding_texts import TEXTS
from inspection_datasets.manifest import Sample

Language = Literal["en", "ko"]


class Severity(enum.StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Mark:
    """A box to draw on a picture.

    Attributes:
        name: class, with the score for a detection.
        box: x1 y1 x2 y2 in pixels of the picture.
        by_model: a model said so; else a label.
    """

    name: str
    box: tuple[float, float, float, float]
    by_model: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture that belongs to a finding.

    Attributes:
        sample: the sample.
        marks: boxes to draw.
    """

    sample: Sample
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about a dataset version.

    Attributes:
        code: a key of `finding_texts.TEXTS`.
        values: what its text names.
        pictures: the pictures it is about, the most telling first.
    """

    code: str
    values: dict[str, Any] = field(default_factory=dict)
    pictures: tuple[Shown, ...] = ()

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return Severity(TEXTS[self.code].severity)

    def text(self, language: Language = "en") -> str:
        """Return the fact in words."""
        return TEXTS[self.code].words(language).text.format(**self.values)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "text": self.text(),
            "values": self.values,
            "images": [shown.sample.image for shown in self.pictures],
        }


def labels(sample: Sample) -> tuple[Mark, ...]:
    """Return a sample's boxes as marks."""
    return tuple(Mark(name, (x1, y1, x2, y2)) for name, x1, y1, x2, y2 in sample.boxes)


def shown(samples: Iterable[Sample]) -> tuple[Shown, ...]:
    """Return samples as pictures with their labels drawn."""
    return tuple(Shown(sample, labels(sample)) for sample in samples)


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """Return severity to number of findings, every severity named."""
    found = Counter(finding.severity for finding in findings)
    return {severity.value: found[severity] for severity in Severity}


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 2 with an error, 1 with warnings only, else 0."""
    found = counts(findings)
    return 2 if found["error"] else 1 if found["warning"] else 0
