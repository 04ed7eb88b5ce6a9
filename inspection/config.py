"""What a person writes in YAML, read strictly: unknown keys, wrong units and typos are refused by line.

station.yaml ─▶ StationConfig ─▶ plug-ins: cameras, runtimes, PLC drivers by their `type`
recipes/*.yaml ─▶ recipe.RecipeBook
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Protocol, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from inspection.errors import ConfigError
from inspection.opcua_server_config import OpcUaServerConfig
from inspection.plc.exchange import Exchange
from inspection.plugin import plugin, resolve
from inspection.protocols import Camera, Plc, Runtime, Scanner
from inspection.recipe import RecipeBook
from inspection.station import Timing
from inspection.store.config import StoreConfig
from inspection.variants import find_for
from inspection.yaml_file import read_yaml


class CameraConfig(Protocol):
    """What a camera's entry point gives."""

    def open(self) -> Camera:
        """Open the camera. Raises CameraError."""
        ...


class RuntimeConfig(Protocol):
    """What a runtime's entry point gives."""

    def open(self) -> Runtime:
        """Return a runtime with nothing loaded."""
        ...


class PlcConfig(Protocol):
    """What a PLC driver's entry point gives.

    A driver that counts readings, such as to debounce an input, says so by a class attribute
    `counts_readings = True`: it is always read as often as the station file says.
    """

    ctrl_address: int
    stat_address: int

    def open(self) -> Plc:
        """Return a driver that is not connected."""
        ...


class UpwardConfig(Protocol):
    """What the entry point of a way upward gives, as far as the line needs it."""

    name: str

    @property
    def patience(self) -> float:
        """Seconds that a message may wait before people are to be told."""
        ...


def _plugin(group: str) -> BeforeValidator:
    return BeforeValidator(lambda value: plugin(group, value))


class ScannerConfig(Protocol):
    """What a code scanner's entry point gives."""

    def open(self) -> Scanner:
        """Return the scanner; it connects in the background."""
        ...


class LineTiming(BaseModel):
    """Times of the line process, in seconds. The defaults are the commissioning values of the protocol."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    poll: float = Field(
        0.002,
        gt=0,
        le=0.1,
        description="seconds between two readings of CTRL; 0.01 at least while the model works, a quarter "
        "of it while the next part of an even takt is due",
    )
    heartbeat: float = Field(0.1, gt=0, le=0.5, description="seconds between heartbeat increments")
    plc_dead_after: float = Field(
        1.0, gt=0, le=10, description="seconds without a PLC heartbeat before READY goes off"
    )
    ack_timeout: float = Field(
        2.0,
        gt=0,
        le=60,
        description="seconds to wait for RESULT_ACK before RESULT_VALID is dropped",
    )
    camera_timeout: float = Field(0.5, gt=0, le=60, description="seconds a frame may take")
    inference_timeout: float = Field(1.0, gt=0, le=60, description="seconds one inference may take")

    def timing(self, plc: PlcConfig) -> Timing:
        """Return the part of it that the station's loop uses, with this driver."""
        steady = bool(getattr(plc, "counts_readings", False))
        return Timing(poll=self.poll, ack_timeout=self.ack_timeout, steady=steady)


class PagesConfig(BaseModel):
    """The pages for people: `inspection web`, which `inspection up` starts where this is set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(
        "127.0.0.1",
        description="address to listen on; 0.0.0.0 lets other PCs of the site in, then use TLS",
    )
    port: int = Field(8080, ge=0, le=65535, description="TCP port; 0 takes a free one")
    names: list[str] = Field([], description="names by which browsers may call this PC")
    datasets: Path | None = Field(
        None, description="folder of datasets, for harvest and training; none: no such pages"
    )
    work: Path = Field(Path("web"), description="folder for jobs, exports and small pictures")
    certificate: Path | None = Field(
        None,
        description="TLS certificate (PEM); none: no TLS, passwords go over the network as they are",
    )
    key: Path | None = Field(
        None, description="TLS key (PEM); none: it is in the file of the certificate"
    )

    def beside(self, folder: Path) -> PagesConfig:
        """Return these settings with every relative path taken from `folder`."""
        paths = {name: getattr(self, name) for name in ("datasets", "work", "certificate", "key")}
        return self.model_copy(
            update={name: folder / path for name, path in paths.items() if path is not None}
        )


class StationConfig(BaseModel):
    """One station: `station.yaml`. Relative paths count from the folder of that file."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    station: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$",
        description="name of the station, in every row",
    )
    plc: Annotated[Any, _plugin("inspection.plc")] = Field(description="PLC driver, by its type")
    camera: Annotated[Any, _plugin("inspection.cameras")] = Field(description="camera, by its type")
    runtime: Annotated[Any, _plugin("inspection.runtimes")] = Field(
        description="where the model runs, by its type"
    )
    scanner: Annotated[Any, _plugin("inspection.scanners")] = Field(
        None, description="code scanner, by its type; not set: none"
    )
    releases: Path = Field(Path("releases"), description="folder of released models")
    recipes: Path = Field(Path("recipes"), description="folder of recipe files")
    recipe: int = Field(
        0, ge=0, le=65535, description="recipe at start; 0 waits for the PLC's request"
    )
    store: StoreConfig = Field(description="results store and images")
    timing: LineTiming = Field(
        default_factory=lambda: LineTiming.model_validate({}),
        description="times of the line process",
    )
    web: PagesConfig | None = Field(
        None, description="the review station and the quality pages; not set: no pages"
    )
    opcua: OpcUaServerConfig | None = Field(
        None, description="the station as an OPC UA server after OPC 40100-1; not set: none"
    )
    upward: list[Annotated[Any, _plugin("inspection.upward")]] = Field(
        [],
        max_length=16,
        description="whom the station tells its decisions, verdicts and alarms, each by its type; "
        "`inspection upward` does it, which `inspection up` starts where this is set",
    )
    metrics_port: int = Field(
        0, ge=0, le=65535, description="port of the metrics page on this host; 0 is off"
    )
    upward_metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="port of the metrics page of `inspection upward` on this host; 0 is off",
    )
    live: Path | None = Field(
        None,
        description="folder of the state and the latest picture that the pages show, best in memory "
        "(tmpfs); default: live beside the folder of the pictures",
    )

    @field_validator("upward")
    @classmethod
    def _names_differ(cls, upward: list[UpwardConfig]) -> list[UpwardConfig]:
        names = [one.name for one in upward]
        if len(set(names)) < len(names):
            raise ValueError("two destinations have the same name; give each its own")
        given: list[Any] = [getattr(one, "folder", None) for one in upward]
        folders = [os.path.normpath(folder) for folder in given if folder is not None]
        if len(set(folders)) < len(folders):
            raise ValueError("two destinations have the same folder; give each its own")
        return upward

    @model_validator(mode="after")
    def _one_plc(self) -> Self:
        if self.opcua is not None:
            self.opcua.check_plc(self.plc)
        return self

    @property
    def live_folder(self) -> Path:
        """Where the line publishes what people look at."""
        return self.store.images.folder.parent / "live" if self.live is None else self.live

    @property
    def joined(self) -> tuple[str, ...]:
        """Names of the cameras whose pictures become one, in their order; empty where one camera sees all."""
        return tuple(camera.name for camera in getattr(self.camera, "cameras", ()))

    def recipe_book(self, runtime: Any = None) -> RecipeBook:
        """Return the recipes, as the station's cameras and its runtime, or another one, can run them."""
        find = find_for(self.runtime if runtime is None else runtime)
        return RecipeBook(self.recipes, self.releases, find, self.joined)

    def exchange(self) -> Exchange:
        """Return the handshake over the configured driver, not connected."""
        plc: PlcConfig = self.plc
        return Exchange(
            plc.open(),
            ctrl_address=plc.ctrl_address,
            stat_address=plc.stat_address,
            heartbeat=self.timing.heartbeat,
            plc_dead_after=self.timing.plc_dead_after,
        )


def load_station(path: Path) -> StationConfig:
    """Read a station file; relative paths in it become absolute.

    Raises:
        ConfigError: with path, line, value and what to do.
    """
    config = read_yaml(path, StationConfig)
    base = path.resolve().parent
    for name in ("releases", "recipes"):
        if not (base / getattr(config, name)).is_dir():
            raise ConfigError(
                f"{path}: {name}: {base / getattr(config, name)} is no folder; create it"
            )
    return config.model_copy(
        update={
            "releases": base / config.releases,
            "recipes": base / config.recipes,
            "store": config.store.beside(base),
            "plc": resolve(config.plc, base),
            "camera": resolve(config.camera, base),
            "upward": [resolve(one, base) for one in config.upward],
            "live": None if config.live is None else base / config.live,
            "web": None if config.web is None else config.web.beside(base),
            "opcua": None if config.opcua is None else config.opcua.beside(base),
        }
    )
