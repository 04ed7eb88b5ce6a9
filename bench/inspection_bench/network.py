"""The network that every pipeline of a run looks with: trained once, kept in the work folder.

    rendered, labelled parts ─▶ `inspection train` from the given weights ─▶ release, with its variants
                                        └─▶ the same weights as an ultralytics file ─▶ peer's exports

The network is a yolo nano with the four classes of the simulated plates. Its input is the static
rectangle of the camera's aspect ratio. A variant that the gate refuses is not there, and not measured.
Networks with another activation are another training, and the peers look with the same one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspection.errors import ConfigError, InspectionError
from inspection.release import find_release
from inspection.types import Release
from inspection.variants import FLOAT, list_variants

FRAME = (2048, 2448)
"""Height and width of a frame: five megapixels."""
SIDE = 640
STRIDE = 32
PART = "plate"
WEIGHTS = "yolov8n_from_int8.pt"
PEER = "peer.pt"


@dataclass(frozen=True, slots=True)
class Training:
    """How much is spent on the network; a longer one decides better, and runs as fast.

    Attributes:
        parts: rendered parts, a sixth each for val and test.
        epochs: passes over them.
        search: minutes that int8 may look for layers that must stay in float.
    """

    parts: int = 360
    epochs: int = 8
    search: float = 3.0


REVISION = 2
"""Raised when releases or variants are made in another way: a network made before is made anew."""
OWN = "own"
"""The activation that the given weights have."""


@dataclass(frozen=True, slots=True)
class Network:
    """A trained network, for us and for the peers.

    Attributes:
        release: ours, in float32.
        precisions: f32 and the variants that passed the gate.
        weights: the same network as an ultralytics file.
        data: the labelled parts, as a dataset.
        activation: what follows each convolution: `own`, as in the given weights, or `hardswish`.
    """

    release: Release
    precisions: tuple[str, ...]
    weights: Path
    data: Path
    activation: str = OWN

    @property
    def told(self) -> dict[str, Any]:
        """What a benchmark says of it."""
        size = list(self.release.input_size)
        return {"input": size, "release": self.release.name, "activation": self.activation}

    @property
    def releases(self) -> Path:
        """The folder of all releases."""
        return self.release.folder.parent.parent


def input_size(frame: tuple[int, int], side: int = SIDE) -> tuple[int, int]:
    """Return (height, width) of the network's input: the longer side is `side`, the other fits the frame."""
    height, width = frame
    longer = max(height, width)
    return (_up(height * side / longer), _up(width * side / longer))


def _up(pixels: float) -> int:
    return max(1, -int(-pixels // STRIDE)) * STRIDE


def find_weights(given: Path | None) -> Path:
    """Return the weights to begin with: those given, else those beside the shared parts.

    Raises:
        ConfigError: there are none.
    """
    shared = Path(os.environ.get("INSPECTION_SHARED", "../shared")) / "weights" / WEIGHTS
    path = given or shared
    if not path.is_file():
        raise ConfigError(
            f"{path} is no weight file; name an ultralytics one of a yolov8n: --weights FILE.pt"
        )
    return path


def open_network(
    work: Path,
    weights: Path | None = None,
    training: Training = Training(),
    activation: str = OWN,
) -> Network:
    """Return the network of a work folder with this activation; train it first where it is not there yet.

    Raises:
        ConfigError: no weights to begin with.
        InspectionError: the training failed.
    """
    folder = work / ("network" if activation == OWN else f"network-{activation}")
    done = folder / "done.json"
    if not done.exists() or json.loads(done.read_text()).get("revision") != REVISION:
        start = find_weights(weights)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _train(folder, start, training, activation)
        done.write_text(json.dumps({"weights": start.name, "revision": REVISION}))
    release = find_release(folder / "releases", PART, 1)
    made = tuple(card.name for card in list_variants(release.folder))
    return Network(release, (FLOAT, *made), folder / PEER, folder / "data", activation)


def _train(folder: Path, weights: Path, training: Training, activation: str) -> None:
    from inspection.demo.labelled_set import write_labelled_set

    size = (FRAME[1] // 4, FRAME[0] // 4)
    write_labelled_set(folder / "labelled", training.parts, 7, size, 0.5)
    _inspection("dataset", "import", folder / "labelled", "--to", folder / "data", "--name", PART)
    experiment: dict[str, Any] = {
        "model": "yolov8n", "imgsz": SIDE, "input_size": list(input_size(FRAME)), "batch": 16,
        "epochs": training.epochs, "augment": "none", "validations": 0, "optimizer": "AdamW",
        "lr": 0.001, "warmup_epochs": 1.0, "gates": {"clean_dataset": False}, "activation": activation,
    }  # fmt: skip
    (folder / "experiment.yaml").write_text(json.dumps(experiment))
    _inspection(
        "train", folder / "experiment.yaml", "--data", folder / "data", "--weights", weights,
        "--part", PART, "--releases", folder / "releases", "--out", folder / "runs",
        "--language", "en",
    )  # fmt: skip
    shutil.copy(next((folder / "runs").glob("*/ultralytics/weights/last.pt")), folder / PEER)
    for precision in ("bf16", "int8"):
        _make_variant(folder, precision, training.search)


def _make_variant(folder: Path, precision: str, minutes: float) -> None:
    """Make a variant where the gate lets it through; a refusal is said and is no error."""
    release = folder / "releases" / PART / "1"
    try:
        _inspection(
            "variant", "make", release, "--precision", precision, "--data", folder / "data",
            "--minutes", str(minutes),
        )  # fmt: skip
    except InspectionError as error:
        print(f"{precision} is not measured: {error}", file=sys.stderr, flush=True)


def _inspection(*arguments: str | Path) -> None:
    """Run a verb; what it says goes to standard error."""
    command = [sys.executable, "-m", "inspection", *map(str, arguments)]
    done = subprocess.run(command, stdout=sys.stderr, check=False)
    if done.returncode:
        raise InspectionError(f"`inspection {arguments[0]}` failed; its message is above")
