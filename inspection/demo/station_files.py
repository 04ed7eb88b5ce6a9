"""The files of the quick start's station, written into a folder that the user can look at and change."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

SIZE = (320, 256)
"""Width and height of the simulated camera's images, pixels."""


@dataclass(frozen=True, slots=True)
class StationFiles:
    """Where one station lives and which ports it uses on this host."""

    folder: Path
    plc_port: int
    service_port: int
    web_port: int

    @property
    def station(self) -> Path:
        """The station file."""
        return self.folder / "station.yaml"

    @property
    def releases(self) -> Path:
        """The folder of released models."""
        return self.folder / "releases"

    @property
    def database(self) -> Path:
        """The results store."""
        return self.folder / "results.db"

    @property
    def plc_log(self) -> Path:
        """The simulated PLC's own log."""
        return self.folder / "plc.log"


def write_station(folder: Path, *, seed: int, defect_rate: float, marks: bool) -> StationFiles:
    """Write `station.yaml` and `recipes/1.yaml`.

    Args:
        folder: made when missing.
        seed: which parts the simulated camera shows.
        defect_rate: share of parts with a defect, 0..1.
        marks: the camera paints defects for a marker release; nothing needs training.
    """
    found = StationFiles(folder, free_port(), free_port(), free_port())
    (folder / "recipes").mkdir(parents=True, exist_ok=True)
    found.releases.mkdir(exist_ok=True)
    values = {
        "plc_port": found.plc_port,
        "service_port": found.service_port,
        "web_port": found.web_port,
        "seed": seed,
        "defect_rate": defect_rate,
        "marks": str(marks).lower(),
    }
    ours = files("inspection.demo")
    text = Template(ours.joinpath("station.yaml").read_text(encoding="utf-8")).substitute(values)
    found.station.write_text(text, encoding="utf-8")
    recipe = ours.joinpath("recipe.yaml").read_text(encoding="utf-8")
    (folder / "recipes" / "1.yaml").write_text(recipe, encoding="utf-8")
    return found


def free_port() -> int:
    """Return a TCP port of this host that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
