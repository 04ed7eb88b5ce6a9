"""Plant: the rows themselves, into the plant's store on PostgreSQL; see `inspection.store.plant`.

pictures of a part ─▶ the site's folder          then
messages ─▶ rows and mark, one transaction       and twice a second
what happened to parts since ─▶ rows
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from inspection_serve.upward.destination import Destination
from inspection_serve.upward.link import KINDS, AwayError, Kind, RefusedError
from inspection_serve.upward.messages import Message
from inspection_serve.upward.state import StationState

if TYPE_CHECKING:
    from inspection.store.plant.life import Life
    from inspection.store.plant.source import Source
    from inspection.store.plant.writer import Writer

_LOOK_EVERY = 1.0
"""Seconds between two looks at what happened to parts that were told."""


class PlantConfig(Destination):
    """The plant's results store: every part with all its columns, verdicts, reviews and alarms."""

    PATHS: ClassVar[tuple[str, ...]] = ("pictures",)

    type: Literal["plant"] = "plant"
    url: str = Field(
        max_length=2000,
        description="postgresql+psycopg://USER@HOST/DATABASE of a store that `inspection plant init` made "
        "(password in ~/.pgpass)",
    )
    pictures: Path | None = Field(
        None,
        description="folder of the site, on a network disk, that pictures are copied to; it must exist; "
        "none: pictures stay at the station",
    )

    @field_validator("url")
    @classmethod
    def _known(cls, url: str) -> str:
        if not url.startswith(("postgresql+psycopg://", "postgresql://")):
            raise ValueError("give postgresql+psycopg://USER@HOST/DATABASE")
        place = url.partition("://")[2].partition("/")[0].rpartition("@")[0]
        if ":" in place or "password=" in url:
            raise ValueError("leave the password out; write it into ~/.pgpass, mode 600")
        return url

    @property
    def tell(self) -> list[Kind]:
        """All kinds: a store without parts can hold no verdicts."""
        return list(KINDS)

    @property
    def batch(self) -> int:
        """Messages of one transaction."""
        from inspection.store.plant.writer import BATCH

        return BATCH

    def open(self, station: str) -> PlantLink:
        """Return the link; the plant is asked by `resume`."""
        return PlantLink(self, station)


class PlantLink:
    """Writes into the plant's store. Satisfies `link.Link` and `link.OwnMark`."""

    def __init__(self, config: PlantConfig, station: str) -> None:
        from inspection.store.plant.database import Plant, plant_config

        self._config, self._station = config, station
        self._plant = Plant(plant_config(config.url))
        self._writer: Writer | None = None
        self._life: Life | None = None
        self._next_look = 0.0

    def resume(self, source: Source) -> int:
        """See `link.OwnMark`."""
        from inspection.store.plant.database import PlantError
        from inspection.store.plant.life import Life
        from inspection.store.plant.writer import Writer
        from inspection_serve.upward.plant_pictures import Pictures

        pictures = Pictures(source.pictures, self._config.pictures)
        writer = Writer(self._plant, source, pictures.carry)
        try:
            mark = writer.resume()
        except PlantError as error:
            raise AwayError(str(error)) from error
        self._writer, self._life = writer, Life(self._plant, source, writer, pictures.carry)
        return mark

    def send(self, messages: Sequence[Message]) -> None:
        """See `link.Link`: all in one transaction."""
        from inspection.store.plant.database import PlantError
        from inspection.store.plant.writer import Order, RowRefusedError

        if self._writer is None:
            raise AwayError(f"plant {self._config.name} was not asked how far it is")
        orders = [Order(m.number, m.kind, m.subject, m.version) for m in messages]
        try:
            self._writer.take(orders)
        except RowRefusedError as error:
            raise RefusedError(str(error), error.number) from error
        except PlantError as error:
            raise AwayError(str(error)) from error

    def keep(self, state: StationState) -> None:  # noqa: ARG002  the plant has no state of lines
        """See `link.Link`: once a second, what happened to parts since they were told."""
        from inspection.store.plant.database import PlantError

        if self._life is None or time.monotonic() < self._next_look:
            return
        try:
            self._life.look()
        except PlantError as error:
            raise AwayError(str(error)) from error
        self._next_look = time.monotonic() + _LOOK_EVERY

    def close(self) -> None:
        """See `link.Link`."""
        self._plant.close()
