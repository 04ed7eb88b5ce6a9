"""What the quality pages and their API tell: the models, with what every number means."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from inspection.quality.intervals import Share, round_down, round_up
from inspection.types import Decision
from inspection_serve.web.quality.estimates import ENOUGH, Group, Judged

Measure = Literal["fail", "flagged", "not_inspected"]
Kind = Literal["laney", "p"]
_DIGITS = 6


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Numbers(_Answer):
    """Parts by the machine's decision."""

    PASS: int = Field(0, description="passed")
    FAIL: int = Field(0, description="failed")
    REVIEW: int = Field(0, description="between the limits")
    NOT_INSPECTED: int = Field(0, description="rejected without a judgement")
    OPEN: int = Field(0, description="triggered, not decided yet")

    @property
    def all(self) -> int:
        """Every part."""
        return self.decided + self.OPEN

    @property
    def decided(self) -> int:
        """Parts with a decision."""
        return self.PASS + self.FAIL + self.REVIEW + self.NOT_INSPECTED


class Point(Numbers):
    """Parts of one half hour, hour, shift or day."""

    start: str = Field(description="UTC, 2026-11-21T08:30")
    end: str = Field(description="UTC; not part of it")
    shift: str = Field(description="name of the shift; empty where points are no shifts")


class Bar(_Answer):
    """One bar of a Pareto chart, largest first."""

    name: str = Field(description="defect class, or name of the reason; empty: no class was named")
    number: int = Field(description="parts")
    share: float = Field(description="of all parts of the chart")
    cumulative: float = Field(description="share of this bar and all before it")
    decisions: Numbers = Field(description="the same parts by decision")


class ShareAnswer(_Answer):
    """A share as far as reviewed parts can tell; limits take parts in doubt as is worse, rounded outwards."""

    reviewed: int = Field(description="parts that people judged")
    found: int = Field(description="of those, the ones that count")
    enough: bool = Field(
        description=f"at least {ENOUGH} were judged; fewer could not show even 5 %"
    )
    estimate: float | None = Field(description="weighted share; null when not enough was reviewed")
    low: float = Field(description="lower end of the 95 % interval")
    high: float = Field(description="upper end of the 95 % interval")
    upper: float = Field(description="with 95 % confidence the share is no higher")
    effective: float = Field(description="effective number of reviewed parts")
    unjudged: int = Field(
        description="parts put before people that nobody can judge: not in the estimate"
    )

    @classmethod
    def of(cls, share: Share, unjudged: int) -> ShareAnswer:
        """Return what may be told of a share, beside so many parts that nobody can judge."""
        enough = share.reviewed >= ENOUGH
        return cls(
            reviewed=share.reviewed,
            found=share.found,
            enough=enough,
            estimate=share.estimate if enough else None,
            low=round_down(share.low, _DIGITS),
            high=round_up(share.high, _DIGITS),
            upper=round_up(share.upper, _DIGITS),
            effective=share.effective,
            unjudged=unjudged,
        )


class Estimate(_Answer):
    """Escapes and overkill of one group of parts."""

    group: Literal["all", "shift", "recipe", "release"] = Field(description="what is grouped by")
    name: str = Field(description="of the group")
    start: str = Field("", description="UTC, of a shift")
    end: str = Field("", description="UTC, of a shift")
    recipe: int | None = Field(None, description="recipe number, of a recipe")
    passed: int = Field(description="parts passed")
    failed: int = Field(description="parts failed")
    escape: ShareAnswer = Field(description="share of the passed parts that are defective")
    overkill: ShareAnswer = Field(description="share of the failed parts that are good")

    @classmethod
    def of(cls, found: Group, **named: object) -> Estimate:
        """Return what may be told of a group."""
        escape = ShareAnswer.of(found.escape(), found.by[Decision.PASS].other)
        overkill = ShareAnswer.of(found.overkill(), found.by[Decision.FAIL].other)
        return cls.model_validate(
            {
                **named,
                "passed": found.passed,
                "failed": found.failed,
                "escape": escape,
                "overkill": overkill,
            }
        )


class Promise(_Answer):
    """What the limits of a recipe promise, beside what was measured in the time."""

    what: Literal["escape", "overkill"] = Field(
        description="escape: passed ones among the defective parts; overkill: failed ones among the good"
    )
    recipe: int = Field(description="recipe number")
    release: str = Field(description="PART/NUMBER")
    claimed: float | None = Field(description="promised share at most; null: no promise")
    confidence: float = Field(description="of the promise")
    why_none: str = Field(
        description="no_claim, changed (the recipe was changed after it), unread; empty: there is one"
    )
    older: bool = Field(description="the recipe's file is younger than the first parts of the time")
    state: Literal["kept", "open", "broken", "none"] = Field(
        description="shown with 95 % confidence; open: not shown yet; none: no promise"
    )
    estimate: float | None = Field(description="measured share; null when not enough was reviewed")
    low: float = Field(description="with 95 % confidence the measured share is no lower")
    upper: float = Field(description="with 95 % confidence the measured share is no higher")
    more: int | None = Field(
        description="parts to be judged until it is shown, if none of them counts; null: see missing"
    )
    missing: str = Field(
        description="defects: no NG part is known to be defective; passed: too few passed parts were "
        "judged; doubts: parts in doubt must be settled first; never: more would be needed than there "
        "are in the time"
    )


class Confusion(_Answer):
    """What people said of the parts with one decision of the machine."""

    decision: str = Field(description="of the machine")
    parts: int = Field(description="all parts with this decision")
    drawn: int = Field(description="put before people; of passed parts those drawn at random")
    defective: int = Field(description="judged defective")
    good: int = Field(description="judged good")
    borderline: int = Field(description="judged borderline")
    doubted: int = Field(
        description="a second person or an engineer is asked, or was when the picture was lost"
    )
    other: int = Field(description="no judgement possible")
    waiting: int = Field(description="not judged yet")

    @classmethod
    def of(cls, decision: str, parts: int, judged: Judged) -> Confusion:
        """Return one row."""
        names = ("drawn", "defective", "good", "borderline", "doubted", "other", "waiting")
        return cls.model_validate(
            {"decision": decision, "parts": parts} | {name: getattr(judged, name) for name in names}
        )


class ControlPoint(_Answer):
    """One sample of a control chart."""

    start: str = Field(description="UTC")
    end: str = Field(description="UTC")
    shift: str = Field(description="name of the shift; empty where points are no shifts")
    size: int = Field(description="parts")
    count: int = Field(description="of those, the ones that count")
    share: float = Field(description="count by size")
    lower: float = Field(description="lower limit at three sigma")
    upper: float = Field(description="upper limit at three sigma")
    rules: tuple[int, ...] = Field(description="Western Electric rules that this point completes")


class Control(_Answer):
    """A control chart; without points when fewer than two samples have parts."""

    kind: Kind = Field(description="laney: Laney p'; p: plain p chart")
    measure: Measure = Field(description="what is counted")
    centre: float = Field(description="centre line")
    sigma_z: float = Field(description="Laney's factor: over 1 samples vary more than by chance")
    points: tuple[ControlPoint, ...] = Field(description="samples that have parts, oldest first")


class Summary(_Answer):
    """Everything of the quality page but the places of defects."""

    at: str = Field(description="UTC; when it was counted, at most some seconds ago")
    since: str = Field(description="UTC, start of the first point")
    until: str = Field(description="UTC, end of the last point")
    per: str = Field(description="half_hour, hour, shift or day")
    totals: Numbers = Field(description="all parts of the time")
    points: tuple[Point, ...] = Field(description="parts over time, without gaps")
    defects: tuple[Bar, ...] = Field(description="FAIL and REVIEW by class")
    reasons: tuple[Bar, ...] = Field(description="every part not passed, by reason")
    estimates: tuple[Estimate, ...] = Field(description="escapes and overkill: all, then by group")
    unkept: bool = Field(
        description="in part of the time no pictures of passed parts were kept (`ok_every: 0`): none of "
        "those was judged, and the estimates take them to be like the others"
    )
    missed: float | None = Field(
        description="estimate: passed ones among all defective parts; null when not enough was reviewed"
    )
    missed_upper: float = Field(description="upper limit of that, rounded up")
    promises: tuple[Promise, ...] = Field(
        description="by recipe, for those that have parts in the time"
    )
    confusion: tuple[Confusion, ...] = Field(description="machine against people")
    control: Control = Field(description="control chart")


class Positions(_Answer):
    """Where counted boxes of the latest flagged parts lie."""

    parts: int = Field(description="flagged parts looked at")
    most: int = Field(description="at most so many of the latest flagged parts are looked at")
    boxes: int = Field(description="boxes counted, by their centre")
    columns: int = Field(description="cells across")
    rows: int = Field(description="cells down")
    cells: tuple[tuple[int, int, int, int], ...] = Field(
        description="column, row, boxes, newest record with one there; only over 0"
    )
    classes: tuple[str, ...] = Field(description="classes of those boxes")
    width: int = Field(description="of the background, pixels; 0 without one")
    height: int = Field(description="of the background, pixels")
    background: int | None = Field(description="record of a passed part whose picture lies behind")
