"""Settings of the results store and its pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from inspection.types import PartKey, StoredImage

Done = Callable[[PartKey, str, list[StoredImage]], None]
"""Called with a part's final image state (`saved`, `shed`, `disk_full`, `failed`) and its files."""

_SQLITE = "sqlite:///"
_POSTGRES = "postgresql+psycopg://"


class ImagesConfig(BaseModel):
    """Pictures of parts: where they go, which are kept and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path = Field(
        Path("images"), description="folder of the picture files; relative to the station file"
    )
    format: Literal["jpg", "png", "bmp"] = Field("jpg", description="file format of the pictures")
    quality: int = Field(90, ge=1, le=100, description="JPEG quality, 1 to 100; jpg only")
    ok_every: int = Field(
        1,
        ge=0,
        description="keep one of this many pictures of passed parts, drawn at random: 1 all, 0 none",
    )
    queue: int = Field(
        16, ge=1, le=1024, description="pictures that may wait in memory to be written"
    )
    min_free_gb: float = Field(
        2.0,
        ge=0,
        le=100_000,
        description="free disk space to keep, gigabytes (10^9 bytes); below it pictures of passed parts go, "
        "those that people need last",
    )
    min_free_percent: float = Field(
        5.0, ge=0, le=90, description="free disk space to keep, percent of the volume"
    )
    keep_ok_days: float = Field(
        30.0,
        gt=0,
        le=36_500,
        description="days a picture of a passed part is kept; one that waits for a person, or on which a "
        "person found a defect, as long as any other part's",
    )
    keep_ng_days: float = Field(
        365.0, gt=0, le=36_500, description="days a picture of any other part is kept, at least"
    )


class StoreConfig(BaseModel):
    """The results store: a SQLite file on the station, or a PostgreSQL database of the plant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(
        "results.db",
        min_length=1,
        description="path of a SQLite file, relative to the station file, "
        "or postgresql+psycopg://USER@HOST/DATABASE (password in ~/.pgpass)",
    )
    busy_timeout: float = Field(
        1.0,
        ge=0.01,
        le=30,
        description="seconds to wait for another writer of the database; it may be longer than a part's "
        "deadline: the part is then answered NOT_INSPECTED in time",
    )
    journal: Path | None = Field(
        None,
        description="file that keeps parts while the database cannot be written (2 MiB); "
        "one for each station; default: beside the database",
    )
    images: ImagesConfig = Field(
        default_factory=lambda: ImagesConfig.model_validate({}), description="pictures of parts"
    )

    @field_validator("url")
    @classmethod
    def _known(cls, url: str) -> str:
        if url.startswith("postgresql://"):
            return _POSTGRES + url.removeprefix("postgresql://")
        if "://" in url and not url.startswith((_SQLITE, _POSTGRES)):
            raise ValueError(
                "give the path of a SQLite file or postgresql+psycopg://USER@HOST/DATABASE"
            )
        if ":memory:" in url or url == _SQLITE:
            raise ValueError("a store in memory forgets; give the path of a file")
        return url

    @property
    def sqlite_path(self) -> Path | None:
        """The SQLite file, or None for PostgreSQL."""
        return None if self.url.startswith(_POSTGRES) else Path(self.url.removeprefix(_SQLITE))

    @property
    def database_url(self) -> str:
        """The address as SQLAlchemy takes it."""
        path = self.sqlite_path
        return self.url if path is None else f"{_SQLITE}{path}"

    @property
    def journal_path(self) -> Path:
        """Where the journal is: as set, else beside the SQLite file, else beside the pictures."""
        if self.journal is not None:
            return self.journal
        path = self.sqlite_path
        return (
            self.images.folder.parent / "results.journal"
            if path is None
            else path.with_suffix(".journal")
        )

    def beside(self, folder: Path) -> StoreConfig:
        """Return these settings with every relative path taken from `folder`."""
        path = self.sqlite_path
        return self.model_copy(
            update={
                "url": self.url if path is None else str(folder / path),
                "journal": None if self.journal is None else folder / self.journal,
                "images": self.images.model_copy(update={"folder": folder / self.images.folder}),
            }
        )
