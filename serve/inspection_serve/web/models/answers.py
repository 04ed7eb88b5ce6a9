"""What the API says of releases and recipes, and what it is asked."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
LINES = r"^[^\x00-\x09\x0b-\x1f\x7f]*$"
MAX_COMMENT = 1000


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class GateAnswer(BaseModel):
    """A gate of a release."""

    name: str = Field(description="in the language of who asks")
    passed: bool
    sentence: str = Field(description="what was found against what was asked")


class StepAnswer(BaseModel):
    """A row of a release's approval; rows are never changed."""

    step: str = Field(description="asked, approved, declined or in_force")
    who: str = Field(description="login name")
    at: str = Field(description="UTC")
    comment: str = Field(description="of the person; of in_force: recipe:NUMBER")
    card_sha256: str = Field(description="hash of the card it was about")
    this_card: bool = Field(description="false: the card is another one now")


class VariantAnswer(BaseModel):
    """A faster form of a release."""

    name: str = Field(description="bf16 or int8")
    runtimes: list[str] = Field(
        description="with which it was proven to decide as its release does"
    )
    problem: str = Field(description="why it cannot be read; empty: it can")


class ReleaseAnswer(BaseModel):
    """A release."""

    part: str
    number: int
    created_at: str | None = Field(description="UTC; null: the card cannot be read")
    task: str | None = Field(description="detect, segment or anomaly")
    family: str | None = Field(description="architecture")
    dataset: str | None = Field(description="name and version")
    card_sha256: str = Field(description="hash of release.json; empty: it cannot be read")
    problem: str = Field(description="what is wrong with it; empty: every file is as released")
    claim: str = Field(description="what its limits support, in words; empty: no claim is made")
    note: str = Field(description="what must be known of its numbers")
    metrics: list[dict[str, Any]] = Field(description="a row for each measured split")
    gates: list[GateAnswer]
    not_asked: list[str] = Field(description="gates that were not asked")
    variants: list[VariantAnswer]
    reports: list[str] = Field(description="HTML files beside the card")
    current: bool = Field(description="clients that name no number get it")
    recipes: list[int] = Field(description="numbers of the recipes that name it")
    state: str | None = Field(description="asked, approved, declined; null: nobody asked")
    trained_by: list[str] = Field(description="whose jobs trained it: they cannot approve it")


class RecipeAnswer(BaseModel):
    """A recipe file."""

    file: str = Field(description="name of the file")
    number: int | None = Field(description="null: it cannot be read")
    part: str | None
    release: int | None
    sha256: str = Field(description="hash of the file")
    limits: bool = Field(description="it has limits of its own")
    problem: str = Field(description="why it cannot be read; empty: it can")
    back: int | None = Field(description="release that a roll back would go to; null: none")


class ModelsAnswer(BaseModel):
    """All releases and recipes."""

    parts: dict[str, list[ReleaseAnswer]] = Field(description="newest first")
    recipes: list[RecipeAnswer]


class Approval(_Body):
    """A step of an approval."""

    step: Literal["asked", "approved", "declined"] = Field(description="what the person says")
    card_sha256: Sha256 = Field(description="hash of the card that the person saw")
    comment: str = Field("", max_length=MAX_COMMENT, pattern=LINES, description="why")


class Switch(_Body):
    """Put a release into a recipe."""

    recipe: int = Field(ge=1, le=65535, description="number of the recipe")
    recipe_sha256: Sha256 = Field(description="hash of its file that the person saw")
    card_sha256: Sha256 = Field(description="hash of the card that the person saw")
    limits: Literal["keep", "release"] | None = Field(
        None, description="needed where the recipe has limits: keep them, or take the release's own"
    )


class NewRecipe(_Body):
    """Make a recipe that names this release, with the release's limits and no regions."""

    recipe: int = Field(ge=1, le=65535, description="number that the PLC asks for; not in use yet")
    card_sha256: Sha256 = Field(description="hash of the card that the person saw")
    deadline: float = Field(
        1.0, gt=0, le=60, allow_inf_nan=False, description="seconds from trigger to decision"
    )


class Back(_Body):
    """Put the release before into a recipe again."""

    number: int = Field(ge=1, le=65535, description="release that shall be in force again")
    recipe_sha256: Sha256 = Field(description="hash of the recipe file that the person saw")


class SwitchAnswer(BaseModel):
    """What a switch did. The line takes it at its next recipe request."""

    recipe: RecipeAnswer
    kept: str = Field(description="the file as it was, in the folder `history`")
