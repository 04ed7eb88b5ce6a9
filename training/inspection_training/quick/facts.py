"""What a quick start knows before it chooses: the pictures' look, this machine, the weight file.

Reads a few pictures and the names in a weight file; no network is loaded and nothing in the file is run.
"""

from __future__ import annotations

import importlib.util
import os
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from inspection.errors import ConfigError
from inspection_datasets.incoming import inside, read_image
from inspection_datasets.manifest import DatasetVersion, Sample

LOOKED_AT = 24
"""So many pictures are opened, spread over the training split."""
_NEAR_ENDS = 24
_BINARY_SHARE = 0.97
_SIDE = 96
_PICKLE_MOST = 1 << 26


@dataclass(frozen=True, slots=True)
class Looks:
    """How the training pictures look.

    Attributes:
        pictures: how many were opened.
        binary: how many of them are black and white: nearly every pixel at one of the ends.
        alignment: correlation, -1..1, of a good picture with the mean of the others, the tenth percentile:
            near 1 where parts lie in one place; None with fewer than four good pictures.
    """

    pictures: int
    binary: int
    alignment: float | None


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine trains with.

    Attributes:
        ultralytics: the package is installed.
        cores: processor cores.
        gpus: GPUs that torch sees.
        bf16: the processor computes bf16 in hardware.
    """

    ultralytics: bool
    cores: int
    gpus: int
    bf16: bool


@dataclass(frozen=True, slots=True)
class Weights:
    """A weight file.

    Attributes:
        name: file name.
        kind: whose it is, by the names in it.
        model: the ultralytics network in it, else empty.
    """

    name: str
    kind: Literal["ultralytics", "detector", "mobilenet_v2", "resnet"]
    model: str = ""


def look(version: DatasetVersion) -> Looks:
    """Open a few training pictures of a version.

    Raises:
        DatasetError: one cannot be read.
    """
    used = version.select("train") or [s for s in version.samples if s.split == "train"]
    pictures = [_open(version, sample) for sample in _spread(used)]
    good = [_open(version, sample) for sample in _spread(version.select("train", ["good"]))]
    return Looks(
        pictures=len(pictures),
        binary=sum(map(is_binary, pictures)),
        alignment=alignment(good) if len(good) >= 4 else None,
    )


def _spread(samples: Sequence[Sample]) -> list[Sample]:
    step = max(1.0, len(samples) / LOOKED_AT)
    return [samples[int(i * step)] for i in range(min(LOOKED_AT, len(samples)))]


def _open(version: DatasetVersion, sample: Sample) -> NDArray[np.uint8]:
    return read_image(inside(version.folder, sample.image, version.version))


def is_binary(image: NDArray[np.uint8]) -> bool:
    """Tell whether a picture is black and white, give or take the noise of JPEG."""
    ends = (image <= _NEAR_ENDS) | (image >= 255 - _NEAR_ENDS)
    both = (image <= _NEAR_ENDS).any() and (image >= 255 - _NEAR_ENDS).any()
    return bool(both and ends.mean() >= _BINARY_SHARE)


def alignment(images: Sequence[NDArray[np.uint8]]) -> float:
    """Return the tenth percentile of each picture's correlation with the mean of the others."""
    small = np.stack([_small(image) for image in images])
    total = small.sum(axis=0)
    return float(np.percentile([_correlation(own, total - own) for own in small], 10))


def _small(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum() / size) if size > 0 else 0.0


def this_machine() -> Machine:
    """Return what this machine has. torch is imported for it."""
    import torch

    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        flags = ""
    return Machine(
        ultralytics=importlib.util.find_spec("ultralytics") is not None,
        cores=os.cpu_count() or 1,
        gpus=torch.cuda.device_count() if torch.cuda.is_available() else 0,
        bf16=bool({"avx512_bf16", "amx_bf16", "bf16"} & set(re.findall(r"\w+", flags))),
    )


def read_weights(path: Path) -> Weights:
    """Tell what a weight file holds by the names in it. Nothing in it is run.

    Raises:
        ConfigError: it is not there, or no weight file that a family takes.
    """
    names = _names(path)
    network = re.search(rb"yolo(?:v8|11|26)[nsmlx](?:-p2)?(?:-seg)?(?=\.ya?ml)", names)
    if network:
        return Weights(path.name, "ultralytics", network.group().decode())
    if b"backbone." in names:
        return Weights(path.name, "detector")
    if b"features.18.0.weight" in names:
        return Weights(path.name, "mobilenet_v2")
    if b"layer4." in names:
        return Weights(path.name, "resnet")
    raise ConfigError(
        f"weight file {path} holds no network that is known here; use an ultralytics .pt of yolov8, yolo11 "
        "or yolo26, or a torchvision state dict (.pth)"
    )


def _names(path: Path) -> bytes:
    """Return the table of contents of a torch file: names and shapes, not the numbers."""
    try:
        with zipfile.ZipFile(path) as archive:
            inner = next(i for i in archive.infolist() if i.filename.endswith("data.pkl"))
            if inner.file_size > _PICKLE_MOST:
                raise ConfigError(
                    f"weight file {path} is damaged: its table of contents is too long"
                )
            return archive.read(inner)
    except FileNotFoundError as error:
        raise ConfigError(
            f"weight file {path} does not exist; name a file, or leave it out"
        ) from error
    except (OSError, zipfile.BadZipFile, StopIteration) as error:
        raise ConfigError(
            f"weight file {path} is no torch file of today ({error or 'no table of contents'}); "
            "save it again with torch.save"
        ) from error
