"""What every runtime checks: the model's bytes, the images going in, the outputs coming out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspection.errors import InferenceError, ModelOutputError
from inspection.tiles import tiles_together
from inspection.types import MASK_STRIDE, OUTPUTS, Release
from inspection.variants import IR_MODEL, IR_WEIGHTS, file_sha256, how_to_make, precision_of

GREY = 114
"""Value of the image that warms a model."""


def read_model(release: Release) -> tuple[bytes, bytes]:
    """Return the bytes of the model file, which are the ones that were hashed, and of its weights.

    An ONNX file holds its weights itself: they are empty then.

    The hash is taken of what is handed to the library, so that no change of the file between check
    and load goes unseen.

    Raises:
        InferenceError: the file cannot be read, or is not the released one any more.
    """
    try:
        data = release.model.read_bytes()
        is_ir = release.model.name == IR_MODEL
        weights = release.model.with_name(IR_WEIGHTS).read_bytes() if is_ir else b""
    except OSError as error:
        raise InferenceError(
            f"{release.name}: {release.model} cannot be read ({error}); restore the release"
        ) from error
    if hashlib.sha256(data + weights).hexdigest() != file_sha256(release):
        raise InferenceError(
            f"{release.name}: {release.model} changed since the release was checked; restore it"
        )
    return data, weights


def check_precision(release: Release, configured: str) -> None:
    """Raise InferenceError unless the release was found in the precision that is configured.

    A variant decides a little differently, so it runs only where `inspection.variants` has checked
    that it was compared with its release.
    """
    given = precision_of(release)
    if given != configured:
        raise InferenceError(
            f"{release.name} was loaded as {given}, the runtime computes in {configured}; set the "
            "same precision for both. A variant is made with: "
            f"{how_to_make(release, configured if configured != 'f32' else given)}"
        )


def warm_images(release: Release, batch: int | None = None) -> NDArray[np.uint8]:
    """Return grey images uint8 [batch, H, W, 3] of the release's input size.

    Without a number there are as many as the line will send together: several for a release that
    looks at tiles.
    """
    count = tiles_together(release) if batch is None else batch
    return np.full((count, *release.input_size, 3), GREY, np.uint8)


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
    return OUTPUTS[release.task]


def check_outputs(
    release: Release, outputs: Mapping[str, NDArray[Any]], batch: int
) -> dict[str, NDArray[np.float32]]:
    """Return the outputs of the contract: there, float32, with the right dimensions.

    Values (NaN, ranges) are the detector's to judge.

    Raises:
        ModelOutputError: an output is missing or of another type or shape.
    """
    height, width = release.input_size
    shapes: dict[str, tuple[int | None, ...]] = {
        "detections": (batch, None, 6),
        "masks": (batch, None, height // MASK_STRIDE, width // MASK_STRIDE),
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
    if "masks" in checked and checked["masks"].shape[1] != checked["detections"].shape[1]:
        raise ModelOutputError(
            f"{release.name} gave {checked['masks'].shape[1]} masks for "
            f"{checked['detections'].shape[1]} detections; release the model again"
        )
    return checked


def join_outputs(parts: Sequence[dict[str, NDArray[np.float32]]]) -> dict[str, NDArray[np.float32]]:
    """Join the checked outputs of several batches; those with fewer rows get rows of zeros.

    A row of score 0 is padding by the contract, so nothing is added.
    """
    if len(parts) == 1:
        return parts[0]
    joined: dict[str, NDArray[np.float32]] = {}
    for name in parts[0]:
        values = [part[name] for part in parts]
        if name in {"detections", "masks"}:
            most = max(value.shape[1] for value in values)
            values = [_with_rows(value, most) for value in values]
        joined[name] = np.concatenate(values)
    return joined


def _with_rows(value: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    padding = [(0, 0)] * value.ndim
    padding[1] = (0, rows - value.shape[1])
    return np.pad(value, padding)
