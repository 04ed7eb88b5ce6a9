"""`nameplate.yaml` beside the station file: what a nameplate must say and no program can know."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from inspection.errors import ConfigError
from inspection.yaml_file import read_yaml

PLAIN = r"^[^\x00-\x1f\x7f]+$"
URI = r"^(https?://|urn:)[^\s#?]+[^\s#?/]$"


class NameplateFile(BaseModel):
    """Who made the station and the software in it. No person's name belongs here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri_of_the_product: str = Field(
        pattern=URI,
        max_length=500,
        description="URI of this very station, below a domain of yours, or urn:; every id begins with it",
    )
    manufacturer_name: str = Field(
        max_length=200, pattern=PLAIN, description="company that built the station"
    )
    manufacturer_product_designation: str = Field(
        max_length=200, pattern=PLAIN, description="short description of the station"
    )
    order_code_of_manufacturer: str = Field(
        max_length=100, pattern=PLAIN, description="code by which the manufacturer sells it"
    )
    street: str = Field(max_length=200, pattern=PLAIN, description="of the manufacturer's address")
    zipcode: str = Field(max_length=20, pattern=PLAIN, description="of the manufacturer's address")
    city_town: str = Field(
        max_length=100, pattern=PLAIN, description="of the manufacturer's address"
    )
    national_code: str = Field(
        pattern=r"^[A-Z]{2}$", description="country of the address, ISO 3166-1, as KR"
    )
    software_manufacturer: str = Field(
        max_length=200, pattern=PLAIN, description="company that supplied the inspection software"
    )
    software_release_date: date = Field(
        description="day on which the installed version of the software was released"
    )
    software_build_date: date = Field(
        description="day on which the installed version of the software was built"
    )
    software_installation_date: date = Field(
        description="day on which the software was installed on this station"
    )
    model_manufacturer: str | None = Field(
        None,
        max_length=200,
        pattern=PLAIN,
        description="company that trained the models; default: the station's manufacturer",
    )
    product_root: str | None = Field(
        None, max_length=200, pattern=PLAIN, description="top level of the manufacturer's products"
    )
    product_family: str | None = Field(
        None, max_length=200, pattern=PLAIN, description="second level of the products"
    )
    product_type: str | None = Field(
        None, max_length=200, pattern=PLAIN, description="type within the family"
    )
    article_number: str | None = Field(
        None, max_length=100, pattern=PLAIN, description="product article number"
    )
    serial_number: str | None = Field(
        None, max_length=100, pattern=PLAIN, description="serial number of the station"
    )
    year_of_construction: int | None = Field(
        None, ge=1990, le=2200, description="year in which the station was finished"
    )
    date_of_manufacture: date | None = Field(
        None, description="day on which the station was finished"
    )
    hardware_version: str | None = Field(
        None, max_length=100, pattern=PLAIN, description="version of the hardware"
    )
    country_of_origin: str | None = Field(
        None, pattern=r"^[A-Z]{2}$", description="where it was built, ISO 3166-1, as KR"
    )
    language: Literal["ko", "en"] = Field("ko", description="language of the texts in this file")


def read_nameplate(path: Path) -> NameplateFile:
    """Read the file.

    Raises:
        ConfigError: it is missing or not valid; the message lists every field that must be written.
    """
    if not path.is_file():
        needed = [
            f"  {name}: {field.description}"
            for name, field in NameplateFile.model_fields.items()
            if field.is_required()
        ]
        raise ConfigError(
            f"there is no {path}. The shell needs what no program can know; write this file with\n"
            + "\n".join(needed)
        )
    return read_yaml(path, NameplateFile)
