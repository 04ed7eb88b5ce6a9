"""What every runtime checks: the model's bytes, the images going in, the outputs coming out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspection.errors import InferenceError, ModelOutputError
from inspection.types import Release

GREY = 114
"""Value of the image that warms a model."""


def read_model(release: Release) -> bytes:
    """Return the bytes of the model file, which are the ones that were hashed.

    The hash is taken of what is handed to the library, so that no change of the file between check
    and load goes unseen.

    Raises:
        InferenceError: the file cannot be read, or is not the released one any more.
    """
    try:
        data = release.model.read_bytes()
    except OSError as error:
        raise InferenceError(
            f"{release.name}: {release.model} cannot be read ({error}); restore the release"
        ) from error
    if hashlib.sha256(data).hexdigest() != release.model_sha256:
        raise InferenceError(
            f"{release.name}: {release.model} changed since the release was checked; restore it"
        )
    return data


def warm_images(release: Release, batch: int = 1) -> NDArray[np.uint8]:
    """Return grey images uint8 [batch, H, W, 3] of the release's input size."""
    return np.full((batch, *release.input_size, 3), GREY, np.uint8)


def check_images(release: Release, images: NDArray[np.uint8]) -> None:
    """Raise InferenceError unless images are uint8 [B, H, W, 3] of the input size, C-contiguous."""
    height, width = release.input_size
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[0] < 1
        or images.shape[1:] != (height, width, 3)
        or not images.flags.c_contiguous
    ):
        raise InferenceError(
            f"{release.name} takes C-contiguous uint8 [B, {height}, {width}, 3], got "
            f"{images.dtype} {list(images.shape)}"
        )


def output_names(release: Release) -> tuple[str, ...]:
    """Return the names of the outputs, in the order of the contract."""
    if release.task == "anomaly":
        return ("anomaly_map", "anomaly_score")
    return ("detections",)


def check_outputs(
    release: Release, outputs: Mapping[str, NDArray[Any]], batch: int
) -> dict[str, NDArray[np.float32]]:
    """Return the outputs of the contract: there, float32, with the right dimensions.

    Values (NaN, ranges) are the detector's to judge.

    Raises:
        ModelOutputError: an output is missing or of another type or shape.
    """
    shapes: dict[str, tuple[int | None, ...]] = {
        "detections": (batch, None, 6),
        "anomaly_map": (batch, None, None),
        "anomaly_score": (batch,),
    }
    checked: dict[str, NDArray[np.float32]] = {}
    for name in output_names(release):
        value = outputs.get(name)
        if value is None:
            raise ModelOutputError(
                f"{release.name} gave no output {name!r}, only {sorted(outputs)}; "
                "release the model again"
            )
        wanted = shapes[name]
        fits = value.ndim == len(wanted) and all(
            want is None or have == want for have, want in zip(value.shape, wanted, strict=True)
        )
        if value.dtype != np.float32 or not fits:
            text = ", ".join("any" if want is None else str(want) for want in wanted)
            raise ModelOutputError(
                f"{release.name} gave {name} as {value.dtype} {list(value.shape)}; "
                f"the contract is float32 [{text}]. Release the model again"
            )
        checked[name] = value
    return checked
