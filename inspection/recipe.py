"""Recipes: how one kind of part is judged, one YAML file for each recipe number.

    number: 1
    part: plate
    release: 3
    limits:
      scratch: {t1: 0.25, t2: 0.5, min_size: 6}
    regions:
      - box: [0, 0, 640, 480]
    frame:
      size: [1280, 960]

Limits that the file does not give are the release's own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from inspection.errors import ConfigError, InspectionError
from inspection.release import PART_NAME, LimitsCard, find_release
from inspection.types import (
    CodeRule,
    Decision,
    FrameLimits,
    Reason,
    Recipe,
    Region,
    Release,
)
from inspection.yaml_file import read_hashed

CodeFormat = Literal[
    "data_matrix", "qr_code", "micro_qr_code", "rmqr_code", "aztec", "pdf_417", "code_128", "code_39",
    "code_93", "codabar", "itf", "ean_13", "ean_8", "upc_a", "upc_e", "data_bar",
]  # fmt: skip

AS_IT_WAS = "as it was"
"""Context of a recipe that judged parts before: read as it was in force then, not to judge by it again."""


class RecipeError(ConfigError):
    """A recipe is missing or wrong; carries the reason that the PLC gets."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RegionConfig(_Model):
    """A rectangle in which the recipe looks, or does not."""

    box: tuple[float, float, float, float] = Field(description="x1, y1, x2, y2 in image pixels")
    classes: list[str] = Field(
        [],
        description="classes judged here, wherever their box meets it; empty means all. A class that no "
        "region is for is judged in the whole image",
    )
    ignore: bool = Field(
        False,
        description="true: what lies here with its whole box is not judged; draw it with a margin",
    )
    expected: dict[str, int] = Field(
        {},
        description="class to the exact count that must have its centre here; such a region hides "
        "nothing beside it",
    )

    @model_validator(mode="after")
    def _ordered(self) -> RegionConfig:
        x1, y1, x2, y2 = self.box
        if not (x1 < x2 and y1 < y2):
            raise ValueError(f"box {list(self.box)} is empty; write x1 < x2 and y1 < y2")
        if self.ignore and self.expected:
            raise ValueError("a region cannot both ignore and expect; make two regions")
        if any(count < 0 for count in self.expected.values()):
            raise ValueError("an expected count cannot be negative")
        return self


class FrameConfig(_Model):
    """What an image must look like to be judged at all."""

    size: tuple[int, int] | None = Field(
        None, description="width, height in pixels; none: any, and then the recipe has no regions"
    )
    views: tuple[str, ...] = Field(
        (),
        max_length=8,
        description="names of the cameras of `type: views`, in the order in which their pictures are joined; "
        "none: any",
    )
    min_mean: float = Field(
        4.0, ge=0, le=255, description="mean brightness (0..255) below which it is too dark"
    )
    max_mean: float = Field(
        251.0, ge=0, le=255, description="mean brightness above which it is too bright"
    )
    min_std: float = Field(
        2.0, ge=0, le=128, description="standard deviation below which it is flat"
    )


class CodeConfig(_Model):
    """The code that every part must carry; the row keeps it in its column `code`."""

    source: Literal["picture", "scanner"] = Field(
        "picture", description="who reads it: the camera's picture, or the station's code scanner"
    )
    formats: list[CodeFormat] = Field(
        ["data_matrix"], min_length=1, description="kinds of codes looked for in the picture"
    )
    box: tuple[float, float, float, float] | None = Field(
        None,
        description="x1, y1, x2, y2 in image pixels in which it lies; none: the whole image, which "
        "takes longer",
    )
    pattern: str = Field(
        "",
        max_length=200,
        description="regular expression that the whole text must match; empty: any text",
    )
    same_as_plc: bool = Field(
        False, description="true: it must be the serial that the PLC gives with the trigger"
    )
    missing: Literal["FAIL", "REVIEW"] = Field(
        "FAIL", description="decision for a part without a readable code"
    )

    @model_validator(mode="after")
    def _consistent(self) -> CodeConfig:
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError(f"box {list(self.box)} is empty; write x1 < x2 and y1 < y2")
        _matcher(self.pattern)
        return self

    def rule(self) -> CodeRule:
        """Return the plain form."""
        return CodeRule(
            source=self.source,
            formats=tuple(self.formats),
            box=self.box,
            pattern=self.pattern,
            matches=_matcher(self.pattern),
            same_as_plc=self.same_as_plc,
            missing=Decision(self.missing),
        )


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Return what tells whether a whole text matches; RE2 needs no more than a step a character.

    Raises:
        ValueError: no such expression; look-ahead and references to groups are not known.
    """
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError(f"pattern is no regular expression: {error}") from error
    return lambda text: compiled.fullmatch(text) is not None


class RecipeConfig(_Model):
    """One recipe file."""

    number: int = Field(ge=1, le=65535, description="number the PLC asks for")
    part: str = Field(pattern=PART_NAME, description="name of the part: the folder below releases")
    release: int = Field(ge=1, le=65535, description="release number in force")
    limits: dict[str, LimitsCard] = Field(
        {}, description="class to limits; others are the release's"
    )
    regions: list[RegionConfig] = Field(
        [], description="where to look; empty, or none for a class: the whole image"
    )
    frame: FrameConfig = Field(
        default_factory=lambda: FrameConfig.model_validate({}),
        description="what an image must look like",
    )
    deadline: float = Field(1.0, gt=0, le=60, description="seconds from trigger to decision")
    code: CodeConfig | None = Field(
        None, description="the code that every part must carry; none: none is looked for"
    )

    @model_validator(mode="after")
    def _regions_in_picture(self, info: ValidationInfo) -> RecipeConfig:
        """Refuse regions that may lie beside what they were drawn around: nothing there would be judged."""
        if not self.regions or info.context == AS_IT_WAS:
            return self
        if self.frame.size is None:
            raise ValueError(
                "regions are pixels of a picture of one size; write it as `frame: {size: [width, height]}`"
            )
        width, height = self.frame.size
        for region in self.regions:
            x1, y1, x2, y2 = region.box
            if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
                raise ValueError(
                    f"region {list(region.box)} lies outside the picture of {width} x {height} pixels; "
                    "draw it anew"
                )
        return self

    def recipe(self, release: Release, sha256: str) -> Recipe:
        """Return the plain form, limits filled in from the release.

        Raises:
            RecipeError: a class that the release does not know.
        """
        named = set(self.limits) | {c for r in self.regions for c in [*r.classes, *r.expected]}
        unknown = sorted(named - set(release.classes))
        if unknown:
            raise RecipeError(
                Reason.RECIPE_INVALID,
                f"recipe {self.number} names {unknown}; {release.name} knows {list(release.classes)}",
            )
        limits = {**release.limits, **{name: card.limits() for name, card in self.limits.items()}}
        return Recipe(
            number=self.number,
            part=self.part,
            release=self.release,
            limits=limits,
            regions=tuple(
                Region(r.box, tuple(r.classes), r.ignore, dict(r.expected)) for r in self.regions
            ),
            frame=FrameLimits(**self.frame.model_dump()),
            deadline=self.deadline,
            sha256=sha256,
            code=None if self.code is None else self.code.rule(),
            card_sha256=release.card_sha256,
        )


class RecipeBook:
    """The recipes of a folder, read afresh at each request: a file changed between parts is in force next."""

    def __init__(
        self,
        folder: Path,
        releases: Path,
        find: Callable[[Path, str, int], Release] = find_release,
        joined: tuple[str, ...] = (),
    ) -> None:
        """Read nothing yet.

        Args:
            folder: of the recipes.
            releases: folder of the releases.
            find: folder, part and number to the release, or to the variant of it that the station runs.
            joined: names of the station's cameras whose pictures are joined, in their order; empty for any.
        """
        self._folder = folder
        self._releases = releases
        self._find = find
        self._joined = joined

    def get(self, number: int) -> tuple[Recipe, Release]:
        """Return a recipe and its checked release.

        Raises:
            RecipeError: no such recipe, two files with this number, or a wrong one.
            ReleaseError: its release is missing or refused.
        """
        found: dict[Path, tuple[RecipeConfig, str]] = {}
        broken: list[str] = []
        for path in sorted(self._folder.glob("*.yaml")):
            try:
                config, sha256 = read_hashed(path, RecipeConfig)
            except ConfigError as error:
                broken.append(str(error))
                continue
            if config.number == number:
                found[path] = config, sha256
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise RecipeError(Reason.RECIPE_INVALID, f"recipe {number} is in {names}; keep one")
        if not found and broken:
            raise RecipeError(
                Reason.RECIPE_INVALID, f"recipe {number} was not found; unreadable: {broken[0]}"
            )
        if not found:
            raise RecipeError(
                Reason.RECIPE_UNKNOWN,
                f"there is no recipe {number} in {self._folder}; add a file for it",
            )
        ((config, sha256),) = found.values()
        self._refuse_other_views(config)
        release = self._find(self._releases, config.part, config.release)
        return config.recipe(release, sha256), release

    def _refuse_other_views(self, config: RecipeConfig) -> None:
        """Refuse a recipe whose regions may lie in another camera's picture."""
        if not self._joined or config.frame.views == self._joined:
            return
        todo = (
            f"write `frame: {{views: [{', '.join(self._joined)}]}}` and look where its regions lie"
        )
        if config.frame.views:
            raise RecipeError(
                Reason.RECIPE_INVALID,
                f"recipe {config.number} is for the cameras {', '.join(config.frame.views)}, the station has "
                f"{', '.join(self._joined)}; {todo}",
            )
        if config.regions:
            raise RecipeError(
                Reason.RECIPE_INVALID,
                f"recipe {config.number} has regions and does not say in which order the cameras' pictures "
                f"are joined; {todo}",
            )

    def faults(self) -> list[str]:
        """Return what is wrong with recipes that the PLC may ask for: each file, number and release once."""
        found: list[str] = []
        numbers: set[int] = set()
        for path in sorted(self._folder.glob("*.yaml")):
            try:
                numbers.add(read_hashed(path, RecipeConfig)[0].number)
            except ConfigError as error:
                found.append(str(error))
        for number in sorted(numbers):
            try:
                self.get(number)
            except InspectionError as error:
                found.append(str(error))
        return found
