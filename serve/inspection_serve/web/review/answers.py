"""What the API of the review says and takes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from inspection.types import Verdict

NO_NUL = r"^[^\x00]*$"
"""PostgreSQL, and so the plant, holds no text with one."""

Text = Annotated[str, Field(max_length=500, pattern=NO_NUL)]


class Item(BaseModel):
    """One part of the queue."""

    record: int = Field(description="record id")
    state: str = Field(description="open, second or engineer")
    version: int = Field(description="of the review; a verdict repeats it")
    why: str = Field(
        description="flagged; sample: drawn from the passed; asked: somebody wants it judged"
    )
    station: str = Field(description="name of the station")
    part_name: str | None = Field(description="kind of part")
    recipe_number: int | None = Field(description="recipe in force")
    decision: str = Field(description="the machine's decision")
    reason: str = Field(description="the machine's reason")
    defect_class: str | None = Field(description="class that decided")
    score: float | None = Field(description="its score, 0..1")
    triggered_at: str = Field(description="UTC")


class Queue(BaseModel):
    """A page of the queue."""

    items: list[Item] = Field(description="parts, in the order asked for")
    left: int = Field(description="parts that wait with this filter; 10001 means over 10000")
    counts: dict[str, int] = Field(description="parts that wait, by state")
    newest: int = Field(description="highest record in review; `news` counts from here")


class Passed(BaseModel):
    """One part of the strip of the last parts."""

    record: int = Field(description="record id")
    decision: str = Field(description="the machine's decision")
    defect_class: str | None = Field(description="class that decided")
    serial: str = Field(description="serial or lot")
    triggered_at: str = Field(description="UTC")
    seconds: float | None = Field(description="from trigger to decision")
    picture: bool = Field(description="its picture is kept")


class News(BaseModel):
    """What happened beside the part on the screen."""

    came: int = Field(description="parts that came since `newest`")
    left: int = Field(description="parts that wait with this filter")
    counts: dict[str, int] = Field(description="parts that wait, by state")
    state: str | None = Field(description="state of the part on the screen")
    version: int | None = Field(description="version of the part on the screen")
    who: str | None = Field(
        description="who judged it last; hidden while a second person must look"
    )
    strip: list[Passed] = Field(description="the last parts of the station, newest first")


class Box(BaseModel):
    """One detection."""

    model_config = ConfigDict(populate_by_name=True)
    name: str = Field(serialization_alias="class", description="defect class")
    score: float = Field(description="0..1")
    box: list[float] = Field(description="x1 y1 x2 y2, image pixels")
    outline: list[list[float]] | None = Field(description="corners, where the release gives them")
    counted: bool | None = Field(description="it counted for the decision; none: not told")


class Picture(BaseModel):
    """One picture of the part."""

    url: str = Field(description="where it is")
    sha256: str = Field(description="hash of the file; a verdict repeats it")
    width: int = Field(description="pixels")
    height: int = Field(description="pixels")


class Said(BaseModel):
    """What a person said of the part."""

    version: int = Field(description="1, 2, …")
    verdict: str = Field(description="what they said")
    who: str = Field(description="login name")
    at: str = Field(description="UTC")
    reason_code: str = Field(description="why")
    defect_class: str | None = Field(description="which defect")
    comment: str = Field(description="free text")
    boxes: list[dict[str, Any]] | None = Field(description="boxes they drew; null: as found")


class ReasonChoice(BaseModel):
    """A reason to overrule the machine."""

    code: str = Field(description="given back with the verdict")
    name: str = Field(description="in the language of who asks")


class Part(Item):
    """Everything that a person needs to judge a part."""

    part_id: int = Field(description="as the PLC gave it")
    serial: str = Field(description="serial or lot")
    release: str | None = Field(description="model that judged")
    reason_text: str = Field(description="the machine's reason, in the language of who asks")
    detail: str = Field(description="short English text of the machine")
    anomaly_score: float | None = Field(description="of a model trained on good parts")
    t1: float | None = Field(description="below it passes; null where it is not known any more")
    t2: float | None = Field(description="at or above it fails")
    image_state: str = Field(description="saved, or why there is no picture")
    picture_text: str = Field(
        description="why there is no picture, in the language of who asks; empty: there is one"
    )
    pictures: list[Picture] = Field(description="may be empty")
    boxes: list[Box] = Field(description="what the model found")
    classes: list[str] = Field(description="classes that can be chosen")
    reasons: list[ReasonChoice] = Field(description="in the order of the keys 1 to 9")
    allowed: list[str] = Field(description="verdicts that can be given")
    unseen: list[str] = Field(
        description="verdicts that can be given when the picture is named here and cannot be shown"
    )
    blind: bool = Field(description="a first person judged; their word is not told")
    said: list[Said] = Field(description="what was said before, oldest first")
    who: str | None = Field(description="who judged it last")
    answered: bool = Field(description="the PLC was told the machine's decision")


class SeenBox(BaseModel):
    """A box that a person drew or kept."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(
        alias="class", min_length=1, max_length=64, pattern=NO_NUL, description="defect class"
    )
    box: tuple[float, float, float, float] = Field(description="x1 y1 x2 y2, image pixels")


class WordIn(BaseModel):
    """A verdict."""

    model_config = ConfigDict(extra="forbid")
    verdict: Verdict = Field(description="one of the part's `allowed`")
    version: int = Field(ge=0, le=2**31 - 1, description="of the review, as it was seen")
    client: str = Field(
        pattern=r"^[A-Za-z0-9-]{8,64}$",
        description="new for every press; the same when it is sent again",
    )
    image_sha256: str = Field(
        default="", max_length=64, pattern=NO_NUL, description="hash of the picture that was seen"
    )
    shown: float = Field(default=0, ge=0, le=1e6, description="seconds for which it was seen")
    reason_code: str = Field(
        default="", max_length=32, pattern=NO_NUL, description="needed to overrule a FAIL"
    )
    defect_class: str | None = Field(
        default=None, max_length=64, pattern=NO_NUL, description="needed for missed"
    )
    comment: Text = Field(default="", description="free text")
    boxes: Annotated[list[SeenBox], Field(max_length=200)] | None = Field(
        default=None, description="all boxes, corrected; null: as found"
    )


class UndoIn(BaseModel):
    """Take the last verdict of a part back."""

    model_config = ConfigDict(extra="forbid")
    version: int = Field(ge=1, le=2**31 - 1, description="of the review, as it was seen")
    client: str = Field(pattern=r"^[A-Za-z0-9-]{8,64}$", description="as of a verdict")


class SavedOut(BaseModel):
    """A verdict is on the disk."""

    record: int = Field(description="record id")
    version: int = Field(description="of the review now")
    state: str = Field(description="done, second, engineer or open")
    repeated: bool = Field(description="the same press was saved before")
    told: str | None = Field(
        description="what the PLC was told of the part; a verdict does not change it"
    )


class Own(BaseModel):
    """One of the own last verdicts that can be taken back."""

    record: int = Field(description="record id")
    version: int = Field(description="of the review")
    verdict: str = Field(description="what was said")
    at: str = Field(description="UTC")


class Found(BaseModel):
    """A scanned part."""

    record: int = Field(description="record id of the latest part with this serial or part id")
    in_review: bool = Field(description="it can be judged here")


class Keys(BaseModel):
    """Keys of the review page."""

    keys: dict[str, str] = Field(
        description="action to the code of its key; others are as delivered"
    )
