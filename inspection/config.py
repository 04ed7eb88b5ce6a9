"""What a person writes in YAML, read strictly: unknown keys, wrong units and typos are refused by line.

station.yaml ─▶ StationConfig ─▶ plug-ins: cameras, runtimes, PLC drivers by their `type`
recipes/*.yaml ─▶ recipe.RecipeBook
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from inspection.errors import ConfigError
from inspection.plc.exchange import Exchange
from inspection.protocols import Camera, Plc, Runtime
from inspection.station import Timing
from inspection.store.config import StoreConfig
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
    """What a PLC driver's entry point gives."""

    ctrl_address: int
    stat_address: int

    def open(self) -> Plc:
        """Return a driver that is not connected."""
        ...


def plugin(group: str, value: Any) -> Any:
    """Turn `{type: NAME, …}` into the config class that the entry point NAME of `group` gives.

    Raises:
        ValueError: no such type (the known ones are listed), or it cannot be loaded.
    """
    if not isinstance(value, dict):
        return value
    known: dict[str, EntryPoint] = {point.name: point for point in entry_points(group=group)}
    name = value.get("type")
    if name not in known:
        raise ValueError(f"type {name!r} is not known; installed: {', '.join(sorted(known))}")
    try:
        config_class = known[name].load()
    except ImportError as error:
        raise ValueError(f"type {name!r} needs a package that is not installed: {error}") from error
    return config_class.model_validate(value)


def _plugin(group: str) -> BeforeValidator:
    return BeforeValidator(lambda value: plugin(group, value))


class LineTiming(BaseModel):
    """Times of the line process, in seconds. The defaults are the commissioning values of the protocol."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    poll: float = Field(0.002, gt=0, le=0.1, description="seconds between two readings of CTRL")
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

    def timing(self) -> Timing:
        """Return the part of it that the station's loop uses."""
        return Timing(poll=self.poll, ack_timeout=self.ack_timeout)


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
    certificate: Path | None = Field(None, description="TLS certificate (PEM)")
    key: Path | None = Field(None, description="TLS key (PEM)")

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
    metrics_port: int = Field(
        0, ge=0, le=65535, description="port of the metrics page on this host; 0 is off"
    )
    live: Path | None = Field(
        None,
        description="folder of the state and the latest picture that the pages show, best in memory "
        "(tmpfs); default: live beside the folder of the pictures",
    )

    @property
    def live_folder(self) -> Path:
        """Where the line publishes what people look at."""
        return self.store.images.folder.parent / "live" if self.live is None else self.live

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
            "camera": _resolve(config.camera, base),
            "live": None if config.live is None else base / config.live,
            "web": None if config.web is None else config.web.beside(base),
        }
    )


def _resolve(config: Any, base: Path) -> Any:
    """Make a plug-in's own paths absolute, where it has any."""
    beside = getattr(config, "beside", None)
    return beside(base) if beside else config
