"""What a result depends on beside the pictures: asked of every node before it works for another machine.

A node that would compute in another way is refused, not averaged in.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, field, fields
from importlib.metadata import version

import inspection
from inspection.errors import ConfigError
from inspection.variants import processor

_LIBRARIES = ("numpy", "opencv-python", "onnxruntime", "openvino", "ray")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the result depends on beside the pictures.

    Attributes:
        software: name to version.
        processor: its name: another kind may round in another way.
        model_sha256: of the release that is run.
        releases: part to the numbers in the releases folder; empty where only one release matters.
    """

    software: dict[str, str]
    processor: str
    model_sha256: str
    releases: dict[str, list[int]] = field(default_factory=dict[str, list[int]])


def surroundings(model_sha256: str, releases: dict[str, list[int]] | None = None) -> Surroundings:
    """Return what the result depends on, as it is on this machine."""
    software = {name: version(name) for name in _LIBRARIES}
    software["inspection"] = inspection.__version__
    return Surroundings(software, processor(), model_sha256, releases or {})


def check_shared(runtime: str) -> None:
    """Make sure that every node would compute alike with a runtime.

    Raises:
        ConfigError: it would not.
    """
    if runtime == "pytorch":
        raise ConfigError(
            "runtime pytorch takes a GPU where a node has one, and nodes would differ; use --runtime "
            "openvino or onnxruntime with --ray, or leave --ray out"
        )


def check_alike(asked: Surroundings, here: Surroundings) -> None:
    """Make sure that this node gives the same result as the machine that asked.

    Raises:
        ConfigError: it would not; the message names what differs.
    """
    for name in (x.name for x in fields(Surroundings)):
        wanted, own = getattr(asked, name), getattr(here, name)
        if wanted != own:
            raise ConfigError(
                f"{this_node()} would not give the same result: {name} is {own} there, {wanted} where it "
                "was asked. Make the nodes alike, or leave this one out"
            )


def this_node() -> str:
    """Return the name of this machine, for a message."""
    return f"node {platform.node()}"
