"""What a dataset's card says for those outside: `sharing` in `card.yaml`.

sharing:
  licence: CC-BY-4.0
  holder: Example Co.
  private_regions:
    - {images: "*", box: [0, 0, 200, 40]}
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

PLAIN = r"^[^\x00-\x1f\x7f]*$"
"""One line, nothing invisible."""


class PrivateRegion(BaseModel):
    """A rectangle that nobody outside may see."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    images: str = Field(
        "*", min_length=1, description="pattern on the image path, as `images/cam1/*`; * is any"
    )
    box: tuple[float, float, float, float] = Field(
        description="x1, y1, x2, y2 in pixels, inside every image that it is for"
    )

    @model_validator(mode="after")
    def _ordered(self) -> PrivateRegion:
        x1, y1, x2, y2 = self.box
        if not (x1 < x2 and y1 < y2):
            raise ValueError(f"box {list(self.box)} is empty; write x1 < x2 and y1 < y2")
        return self


class SharingCard(BaseModel):
    """What others are told of a dataset, and what they must not see. No person's name belongs here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    licence: str = Field(
        min_length=1,
        max_length=100,
        pattern=PLAIN,
        description="licence of the images and labels, best its SPDX name, as CC-BY-4.0",
    )
    licence_file: str = Field(
        "",
        description="full text of the licence, a path in the dataset folder; empty: its name only",
    )
    holder: str = Field(
        min_length=1, max_length=200, pattern=PLAIN, description="company that holds the rights"
    )
    contact: str = Field(
        "", max_length=200, pattern=PLAIN, description="address of a department, never of a person"
    )
    uri: str = Field(
        "", max_length=500, pattern=r"^[^\s]*$", description="where the dataset is known by, a URI"
    )
    about_ko: str = Field("", max_length=4000, description="what the images show, in Korean")
    about_en: str = Field("", max_length=4000, description="what the images show, in English")
    collector: str = Field(
        "", max_length=200, pattern=PLAIN, description="camera or device that took the images"
    )
    environment: dict[str, str] = Field(
        {}, description="conditions under which they were taken: name to value, as light: dome"
    )
    data: Literal["real", "synthetic", "mixed"] | None = Field(
        None, description="real, synthetic or mixed images; none: nobody said"
    )
    private_regions: list[PrivateRegion] = Field(
        [], description="painted out in what is published, whatever is there"
    )
    private_classes: list[str] = Field(
        [],
        description="classes whose boxes mark what nobody may see: painted out, and not published",
    )
