"""What passes between the stages of the line: plain frozen data, standard library and numpy only.

    Trigger ─▶ Frame ─▶ Detections ─▶ Result        (one Part in flight; one row in the store)

Clocks: every `*_mono` is seconds of `time.monotonic()` of this host, for intervals and ordering.
Every `*_at` is UTC, a label for people. Pixels are (x right, y down), origin top left.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""uint8 [H, W, 3], RGB."""
CoarseView = tuple[Image, tuple[float, float]]
"""Few pixels of an image, C-contiguous, and their mean and standard deviation."""
Outline = tuple[tuple[float, float], ...]
"""Corners (x, y) of a closed polygon, image pixels."""
Task = Literal["detect", "segment", "anomaly"]
"""What a release gives: boxes; boxes with outlines; one score for the part."""
OUTPUTS: dict[Task, tuple[str, ...]] = {
    "detect": ("detections",),
    "segment": ("detections", "masks"),
    "anomaly": ("anomaly_map", "anomaly_score"),
}
"""Names of the network's outputs, in the order of the contract; `inspection.release` describes them."""
MASK_STRIDE = 4
"""Network pixels, each way, of one place of a mask."""


class Decision(enum.StrEnum):
    """The answer for one part. Only PASS lets it through."""

    PASS = "PASS"  # noqa: S105
    FAIL = "FAIL"
    REVIEW = "REVIEW"
    NOT_INSPECTED = "NOT_INSPECTED"

    @property
    def code(self) -> int:
        """RESULT_CODE of the line protocol: 1 PASS, 2 FAIL, 3 REVIEW, 4 NOT INSPECTED; never 0."""
        return _DECISION_CODES[self]


_DECISION_CODES = {
    Decision.PASS: 1,
    Decision.FAIL: 2,
    Decision.REVIEW: 3,
    Decision.NOT_INSPECTED: 4,
}


class Reason(enum.IntEnum):
    """Why a decision is not PASS, or why READY is off: the number for the PLC, the name for the store.

    1..99 were found on the part; from 100 it was not inspected. docs/reasons.md explains each.
    """

    NONE = 0
    # found on the part
    DEFECT = 1
    BORDERLINE = 2
    TOO_MANY = 3
    TOO_FEW = 4
    ANOMALY = 5
    CODE_MISSING = 6
    CODE_WRONG = 7
    # the trigger
    OVERRUN = 100
    NOT_READY = 101
    DEADLINE = 102
    SUPERSEDED = 103
    RESTART = 104
    STOPPED = 105
    MISSED = 106
    # the camera and its frame
    CAMERA_TIMEOUT = 110
    CAMERA_LOST = 111
    FRAME_STALE = 112
    FRAME_REPEATED = 113
    FRAME_IDENTICAL = 114
    FRAME_SIZE = 115
    FRAME_DARK = 116
    FRAME_BRIGHT = 117
    FRAME_FLAT = 118
    FRAME_INVALID = 119
    # the model
    INFERENCE_FAILED = 120
    INFERENCE_TIMEOUT = 121
    MODEL_OUTPUT = 122
    MODEL_MISMATCH = 123
    MODEL_LOADING = 124
    RELEASE_INVALID = 125
    # the store
    STORE_FAILED = 130
    PICTURES_LOST = 131  # an alarm, never a decision: parts are judged, but pictures are not kept
    # the recipe
    RECIPE_UNKNOWN = 140
    RECIPE_INVALID = 141
    RECIPE_NONE = 142
    # the link
    PLC_HEARTBEAT = 150
    PLC_LINK = 151
    MAP_VERSION = 152
    PLC_NO_ACK = 153
    PLC_DISABLED = 154
    PLC_SHARED = 155
    # the part's own code
    SCANNER_LOST = 160
    SERIAL_NONE = 161
    # the way upward: alarms, never a decision
    UPWARD_LATE = 170
    UPWARD_REFUSED = 171
    # us
    INTERNAL = 190


class PartState(enum.StrEnum):
    """How far the row of a part has come. It only moves forward."""

    TRIGGERED = "triggered"
    DECIDED = "decided"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"


class Verdict(enum.StrEnum):
    """What a person said of a part; append-only.

    FALSE_CALL says that the part is good, whatever the machine said. UNSURE asks the engineer.
    NOT_REVIEWED takes the verdict before it back.
    """

    REAL_DEFECT = "real_defect"
    FALSE_CALL = "false_call"
    MISSED = "missed"
    BORDERLINE = "borderline"
    ABORTED = "aborted"
    NOT_REVIEWED = "not_reviewed"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Command:
    """What a signed-in engineer asks of the line, as the store keeps it.

    Attributes:
        id: of its row.
        recipe: the recipe number asked for, 1..65535.
        who: login name.
    """

    id: int
    recipe: int
    who: str


class CommandState(enum.StrEnum):
    """How far a command has come. `asked` and `taken` are open, the others final."""

    ASKED = "asked"
    TAKEN = "taken"
    DONE = "done"
    REFUSED = "refused"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class PartKey:
    """Identity of one trigger: unique for ever in a store.

    Attributes:
        station: name of the station.
        epoch: counts starts of the station, sequence wraps and PLC restarts; given by the store.
        sequence: TRIG_SEQ of the line protocol, 1..65535.
    """

    station: str
    epoch: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.station}/{self.epoch}/{self.sequence}"


@dataclass(frozen=True, slots=True)
class Trigger:
    """The PLC asks for one part.

    Attributes:
        key: identity of this trigger.
        part_id: u32 given by the PLC; 0 when it gives none.
        serial: part serial or lot, at most 16 ASCII characters; may be empty.
        seen_mono: when the station read the trigger. A frame exposed before is refused.
        seen_at: the same as UTC, ISO 8601 with microseconds.
        deadline_mono: after this moment no decision of this part is published.
    """

    key: PartKey
    part_id: int
    serial: str
    seen_mono: float
    seen_at: str
    deadline_mono: float


@dataclass(frozen=True, slots=True)
class FrameView:
    """One camera's picture within an image that joins several.

    Attributes:
        camera: name of the camera.
        box: x1 y1 x2 y2 in image pixels, far edges exclusive.
        frame_id: as `Frame.frame_id`, of this camera.
        exposed_mono: as `Frame.exposed_mono`, of this camera.
        live: as `protocols.Camera.live`, of this camera.
    """

    camera: str
    box: tuple[int, int, int, int]
    frame_id: int
    exposed_mono: float
    live: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of one exposure, or of one exposure of each camera of a part.

    Attributes:
        image: uint8 [H, W, 3] RGB, owned by the frame: no driver writes to it again.
        frame_id: the camera's own count of exposures; never one made by our loop for a live sensor.
        exposed_mono: start of exposure on the host's monotonic clock, from the camera's time stamp
            where it has one.
        camera: name of the camera.
        source: where the image came from, a file name for the folder camera; may be empty.
        truth: what a simulator knows of the part: defect class to count; None from real cameras.
        views: where each camera's picture lies, when several are joined; each is checked by itself.
            `frame_id` is then that of the first, `exposed_mono` that of the earliest.
        coarse: where `frame_check` keeps the image that it looked at, and what it saw of it or each view.
    """

    image: Image
    frame_id: int
    exposed_mono: float
    camera: str
    source: str = ""
    truth: dict[str, int] | None = None
    views: tuple[FrameView, ...] = ()
    coarse: list[tuple[Image, tuple[CoarseView, ...]]] = field(
        default_factory=list[tuple[Image, tuple[CoarseView, ...]]], repr=False, compare=False
    )


@dataclass(frozen=True, slots=True)
class Detections:
    """What the model found in one frame, after letterbox and padding were undone.

    Attributes:
        boxes: float32 [N, 4], x1 y1 x2 y2 in image pixels, clipped to the image.
        scores: float32 [N], 0..1, descending.
        classes: int64 [N], index into `class_names`.
        class_names: names of the release, in its order.
        release: `PART/NUMBER` that answered.
        model_sha256: hash of the model file that answered; `PRECISION:` stands before it for a variant.
        anomaly_score: for task `anomaly`, else None.
        outlines: for task `segment`, one polygon for each row: its largest piece; else None.
        areas: for task `segment`, float32 [N], square image pixels of all pieces; else None.
        full_from: the lowest score of an answer that used every row it has: weaker detections may be
            missing. None: nothing is missing.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    class_names: tuple[str, ...]
    release: str
    model_sha256: str
    anomaly_score: float | None = None
    outlines: tuple[Outline, ...] | None = None
    areas: NDArray[np.float32] | None = None
    full_from: float | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: NDArray[np.intp]) -> Detections:
        """Return these rows, in this order; everything else stays."""
        outlines, areas = self.outlines, self.areas
        return replace(
            self,
            boxes=self.boxes[rows],
            scores=self.scores[rows],
            classes=self.classes[rows],
            outlines=None if outlines is None else tuple(outlines[i] for i in rows.tolist()),
            areas=None if areas is None else areas[rows],
        )

    def as_rows(self, counted: Sequence[int] = ()) -> list[dict[str, Any]]:
        """One plain dictionary for each detection: class, score, box (rounded to 0.1 pixel).

        Task `segment` adds `outline`, [[x, y], …], and `area`, rounded alike. Those at the places `counted`
        have `counted`, true; no other has it.
        """
        rows: list[dict[str, Any]] = [
            {
                "class": self.class_names[int(c)],
                "score": round(float(s), 5),
                "box": [round(float(v), 1) for v in b],
            }
            for b, s, c in zip(self.boxes, self.scores, self.classes, strict=True)
        ]
        if self.outlines is not None and self.areas is not None:
            for row, outline, area in zip(rows, self.outlines, self.areas, strict=True):
                row["outline"] = [[round(float(x), 1), round(float(y), 1)] for x, y in outline]
                row["area"] = round(float(area), 1)
        for place in counted:
            rows[place]["counted"] = True
        return rows


@dataclass(frozen=True, slots=True)
class ClassLimits:
    """Limits of one class in one recipe.

    Attributes:
        t1: a score below passes; the REVIEW band is t1 <= score < t2.
        t2: a score at or above fails.
        min_size: boxes whose longer side is shorter (pixels) are not counted.
        allowed: this many counted detections at or over t1 are tolerated.
        expected: for things that must be there (a screw): exactly this many at or over t2, else
            FAIL; None for defect classes.
        min_area: detections with a smaller area (square pixels) are not counted. The area is that of
            the outline, or of the box where the release gives no outlines.
    """

    t1: float
    t2: float
    min_size: float = 0.0
    allowed: int = 0
    expected: int | None = None
    min_area: float = 0.0


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of the image in which a recipe looks, in image pixels.

    Attributes:
        box: x1 y1 x2 y2.
        classes: classes judged here; empty means all.
        ignore: True: a detection whose box lies wholly here is not judged. In a region that is looked at
            every detection is judged whose box meets it.
        expected: class name to the exact count whose centres must lie here: a screw in its place.
    """

    box: tuple[float, float, float, float]
    classes: tuple[str, ...] = ()
    ignore: bool = False
    expected: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Code:
    """A code that was read from the part.

    Attributes:
        text: what it says.
        format: `data_matrix`, `qr_code`, `code_128` …; `scanner` where a scanner read it.
        box: x1 y1 x2 y2 in image pixels; None where no picture shows it.
    """

    text: str
    format: str
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class CodeRule:
    """The code that every part of a recipe must carry.

    Attributes:
        source: `picture` or `scanner`.
        formats: kinds of codes that are looked for in the picture.
        box: x1 y1 x2 y2 in image pixels in which it is looked for; None: the whole image.
        pattern: regular expression that the whole text must match; empty: any text.
        matches: tells whether a text does; in time that grows with its length alone.
        same_as_plc: it must be the serial that the PLC gave with the trigger.
        missing: FAIL or REVIEW: what becomes of a part without a readable code.
    """

    source: str
    formats: tuple[str, ...]
    box: tuple[float, float, float, float] | None = None
    pattern: str = ""
    matches: Callable[[str], bool] = bool
    same_as_plc: bool = False
    missing: Decision = Decision.FAIL


@dataclass(frozen=True, slots=True)
class FrameLimits:
    """What an image must look like to be judged at all.

    Attributes:
        size: (width, height) the recipe was made for, or None for any.
        views: names of the cameras, in the order in which their pictures are joined; empty for any.
        min_mean: darker frames (mean over a grid of pixels, 0..255) are refused.
        max_mean: brighter frames are refused.
        min_std: frames with less contrast (standard deviation) are refused.
    """

    size: tuple[int, int] | None = None
    views: tuple[str, ...] = ()
    min_mean: float = 4.0
    max_mean: float = 251.0
    min_std: float = 2.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one kind of part is judged.

    Attributes:
        number: the recipe number the PLC asks for, 1..65535.
        part: name of the part; the folder below `releases/`.
        release: release number in force.
        limits: class name to limits; every class of the release has an entry.
        regions: where to look; empty means the whole image.
        frame: what an image must look like.
        deadline: seconds from trigger to decision; the PLC may set a shorter or longer one.
        sha256: hash of the recipe file, for the row.
        card_sha256: `Release.card_sha256` of the release that filled in the limits, for the row.
        code: the code that the part must carry; None: none is looked for.
    """

    number: int
    part: str
    release: int
    limits: dict[str, ClassLimits]
    regions: tuple[Region, ...] = ()
    frame: FrameLimits = field(default_factory=FrameLimits)
    deadline: float = 1.0
    sha256: str = ""
    code: CodeRule | None = None
    card_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a release looks at a frame in pieces.

    Attributes:
        size: (height, width) of a tile, image pixels; scaled to the network input.
        overlap: share by which neighbours overlap, 0..0.5.
        iou: boxes of one class from different tiles that overlap more are one.
    """

    size: tuple[int, int]
    overlap: float
    iou: float = 0.5


@dataclass(frozen=True, slots=True)
class Release:
    """A released model whose files were checked against their hashes.

    Attributes:
        part: name of the part.
        number: 1, 2, 3 … within the part.
        folder: where its files are.
        model: path of the model file.
        model_sha256: hash of the model file, as checked.
        task: what it gives, see `Task`.
        classes: class names, in the model's order.
        input_size: (height, width) of the network input.
        limits: class name to the limits the release supports.
        tiling: how a frame is cut; None: it is looked at as a whole.
        card_sha256: hash of its card, as it was read: limits, classes and tiling are the card's.
    """

    part: str
    number: int
    folder: Path
    model: Path
    model_sha256: str
    task: Task
    classes: tuple[str, ...]
    input_size: tuple[int, int]
    limits: dict[str, ClassLimits]
    tiling: Tiling | None = None
    card_sha256: str = ""

    @property
    def name(self) -> str:
        """`PART/NUMBER`."""
        return f"{self.part}/{self.number}"


@dataclass(frozen=True, slots=True)
class Result:
    """What was decided for one part, ready to be recorded and then published.

    Attributes:
        decision: the answer.
        reason: the deciding reason; NONE exactly when the decision is PASS.
        reasons: every reason found, the deciding one first.
        deciding_class: 1-based class index of the deciding detection; 0 when there is none.
        deciding_score: its score 0..1.
        over_t1: number of counted detections at or over T1.
        counted: their places among the detections.
        detail: a short English text for the log and the engineer, never parsed.
    """

    decision: Decision
    reason: Reason
    reasons: tuple[Reason, ...] = ()
    deciding_class: int = 0
    deciding_score: float = 0.0
    over_t1: int = 0
    detail: str = ""
    counted: tuple[int, ...] = ()

    @classmethod
    def not_inspected(cls, reason: Reason, detail: str = "") -> Result:
        """The answer for every part that could not be proven good or bad."""
        return cls(Decision.NOT_INSPECTED, reason, (reason,), detail=detail)


@dataclass(frozen=True, slots=True)
class Inspected:
    """Everything known about a part when it is decided; what the store writes.

    Attributes:
        trigger: the part's trigger.
        result: the decision.
        recipe: recipe in force, or None.
        frame: the frame, or None when none came.
        detections: what the model found, or None when it did not answer.
        timings: stage name to seconds since the trigger was seen.
        decided_mono: when it was decided.
        decided_at: the same as UTC.
        codes: what was read from the part; None where nothing was looked for.
    """

    trigger: Trigger
    result: Result
    recipe: Recipe | None
    frame: Frame | None
    detections: Detections | None
    timings: dict[str, float]
    decided_mono: float
    decided_at: str
    codes: tuple[Code, ...] | None = None


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What the store holds of one trigger; for repeats of a sequence and for restarts.

    Attributes:
        key: identity of the trigger.
        part_id: as given by the PLC.
        serial: as given by the PLC.
        state: how far the row came.
        record_id: the row's id, told to the PLC.
        result: the decision, or None while the row is only triggered.
    """

    key: PartKey
    part_id: int
    serial: str
    state: PartState
    record_id: int
    result: Result | None


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One picture file of a part.

    Attributes:
        path: relative to the store's image folder, with forward slashes.
        sha256: hash of the file's bytes.
        width: pixels.
        height: pixels.
    """

    path: str
    sha256: str
    width: int
    height: int
