"""Runs a release with PyTorch, in this process.

The released ONNX file is read and computed with PyTorch's operators (`torch_graph`), so what runs is what was
released. PyTorch brings its own CUDA: a PC that trains on its GPU inspects on it too.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from inspection.errors import InferenceError, how_to_install
from inspection.runtimes.contract import (
    check_images,
    check_outputs,
    check_precision,
    read_model,
    warm_images,
)
from inspection.types import Release

if TYPE_CHECKING:
    from inspection.runtimes.torch_graph.run import RunningNetwork

_log = logging.getLogger(__name__)


class PyTorchConfig(BaseModel):
    """Settings of the `pytorch` runtime."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["pytorch"] = Field("pytorch", description="this runtime")
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda|cuda:[0-9]{1,2})$",
        description="where the network runs: auto, cpu, cuda, cuda:1; auto takes the first GPU, and the "
        "processor where PyTorch sees none: a line is then ready only if that is fast enough for the recipe; "
        "cuda never falls back to the processor",
    )
    threads: int = Field(
        0,
        ge=0,
        le=256,
        description="threads for one inference on the processor; 0 lets the library choose",
    )

    def open(self) -> PyTorch:
        """Return the driver. The library is imported by the first `load`."""
        return PyTorch(self)


class PyTorch:
    """PyTorch in this process; cannot be interrupted, so `timeout` is not kept.

    TF32 is off and cuDNN takes deterministic kernels, in the whole process: limits were chosen in float32.

    Attributes:
        fell_back: see `protocols.FallsBack`.
    """

    def __init__(self, config: PyTorchConfig) -> None:
        self._config = config
        self._loaded: tuple[Release, RunningNetwork] | None = None
        self.fell_back: float | None = None

    def load(self, release: Release, timeout: float) -> None:  # noqa: ARG002
        """Load, warm, then replace. Raises InferenceError; the previous release stays loaded."""
        check_precision(release, "f32")
        data, _ = read_model(release)
        torch = _import_torch()
        device = _find_device(torch, self._config.device)
        try:
            from inspection.runtimes.torch_graph.read import read_network
            from inspection.runtimes.torch_graph.run import RunningNetwork

            network = RunningNetwork(read_network(data), release.input_size, device)
        except InferenceError as error:
            raise InferenceError(f"{release.name}: {error}") from error
        except Exception as error:  # onnx and protobuf raise their own kinds
            raise InferenceError(
                f"PyTorch cannot load {release.name}: {error}; release the model again"
            ) from error
        self._run(release, network, warm_images(release))
        stands_in = self._config.device == "auto" and device.type == "cpu" and torch.version.cuda
        fell_back = self._time(release, network) if stands_in else None
        self._loaded, self.fell_back = (release, network), fell_back

    def infer(self, images: NDArray[np.uint8], timeout: float) -> dict[str, NDArray[np.float32]]:  # noqa: ARG002
        """Run the loaded release; see `protocols.Runtime.infer`."""
        loaded = self._loaded
        if loaded is None:
            raise InferenceError("no release is loaded in PyTorch; call load first")
        check_images(loaded[0], images)
        try:
            return self._run(*loaded, images)
        except InferenceError:
            self._loaded = None  # never served on after a fault
            raise

    def alive(self, timeout: float) -> bool:  # noqa: ARG002
        """Tell whether a release is loaded."""
        return self._loaded is not None

    def close(self) -> None:
        """Let go of the network."""
        self._loaded = None

    def _run(
        self, release: Release, network: RunningNetwork, images: NDArray[np.uint8]
    ) -> dict[str, NDArray[np.float32]]:
        _use_threads(self._config.threads)
        try:
            outputs = network.run(images)
        except Exception as error:  # as in load
            if isinstance(error, InferenceError) and error.__cause__ is None:  # it is refused
                raise InferenceError(f"{release.name}: {error}") from error
            raise InferenceError(
                f"PyTorch failed on {release.name}: {error}; load the release again"
            ) from (error.__cause__ or error)  # the library's own words
        return check_outputs(release, outputs, len(images))

    def _time(self, release: Release, network: RunningNetwork) -> float:
        """Return the seconds of one warm inference, and say that the processor stands in."""
        started = time.monotonic()
        self._run(release, network, warm_images(release))
        took = time.monotonic() - started
        _log.warning(
            "PyTorch, built for CUDA, sees no GPU: it runs %s on the processor, %.0f ms each",
            release.name,
            took * 1e3,
        )
        return took


def _import_torch() -> Any:
    try:
        import torch
        import torchvision  # its operators cut regions and suppress
    except (ImportError, OSError, RuntimeError) as error:  # the last: two that do not fit together
        raise InferenceError(
            f"the runtime pytorch needs PyTorch and torchvision ({error}); "
            f"{how_to_install('train')}, or use the runtime onnxruntime"
        ) from error
    del torchvision
    return torch


def _find_device(torch: Any, asked: str) -> Any:
    """Return what `device` asks for, never less.

    Raises:
        InferenceError: PyTorch has no such GPU here.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "cpu" or (asked == "auto" and not count):
        return torch.device("cpu")
    number = int(asked.partition(":")[2] or 0)
    if number >= count:
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the processor only"
        raise InferenceError(
            f"device is {asked}, but PyTorch, built for {built}, sees {count} GPUs; "
            "check the GPU driver, or set device to cpu"
        )
    torch.backends.cuda.matmul.allow_tf32 = False  # TF32 is no float32
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False  # what is fastest by chance may round differently
    torch.backends.cudnn.deterministic = True
    return torch.device("cuda", number)


def _use_threads(wanted: int) -> None:
    """Set how many threads PyTorch takes; it keeps that for each of ours, and load may run in another."""
    import torch

    if wanted and torch.get_num_threads() != wanted:
        torch.set_num_threads(wanted)


def built_for_cuda() -> bool:
    """Tell whether PyTorch is installed here and was built for GPUs."""
    try:
        torch = _import_torch()
    except InferenceError:
        return False
    return torch.version.cuda is not None


def has_cuda() -> bool:
    """Tell whether PyTorch is installed here and sees a GPU."""
    try:
        torch = _import_torch()
    except InferenceError:
        return False
    return bool(torch.cuda.is_available())
