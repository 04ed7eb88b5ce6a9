"""Runs a release with OpenVINO, in this process."""

from __future__ import annotations

import itertools
import os
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from inspection.errors import InferenceError
from inspection.runtimes.contract import (
    check_images,
    check_outputs,
    check_precision,
    join_outputs,
    read_model,
    warm_images,
)
from inspection.runtimes.libraries import openvino_core
from inspection.tiles import MOST_TOGETHER
from inspection.types import Release
from inspection.variants import FLOAT, FLOAT_ARITHMETIC


class OpenVinoConfig(BaseModel):
    """Settings of the `openvino` runtime."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["openvino"] = Field("openvino", description="this runtime")
    device: str = Field(
        "CPU",
        pattern=r"^[A-Za-z0-9_.:,()-]{1,64}$",
        description="OpenVINO's name of the device: CPU, GPU, GPU.1, NPU",
    )
    threads: int = Field(
        0, ge=0, le=256, description="threads for one inference; 0 lets the library choose"
    )
    precision: Literal["f32", "bf16", "int8"] = Field(
        "f32",
        description="arithmetic of the network; bf16 and int8 are faster, and run only for a release "
        "whose variant passed on this device: inspection variant make",
    )
    hint: Literal["latency", "throughput"] = Field(
        "latency", description="what OpenVINO optimises: one answer soon, or many answers"
    )

    def open(self) -> OpenVino:
        """Return the driver. The library is imported by the first `load`."""
        return OpenVino(self)


@dataclass(slots=True)
class _Loaded:
    """A release compiled for single images, and for batches once one was asked for.

    `floats` is what layers compute in that are not in eight bits: f32 or bf16. `many` are requests that run
    at the same time, each on its share of the threads.
    """

    release: Release
    model: Any
    single: Any
    names: list[str]
    floats: str
    many: list[Any] | None = None


class OpenVino:
    """OpenVINO in this process; cannot be interrupted, so `timeout` is not kept.

    A single image gets all threads. The images of a batch run side by side, each on its share of
    the threads: that is faster together, and gives the same bits as one after the other, which a
    network compiled for batches does not. The first batch compiles the network once more.
    """

    def __init__(self, config: OpenVinoConfig) -> None:
        self._config = config
        self._core: Any = None
        self._loaded: _Loaded | None = None

    def load(self, release: Release, timeout: float) -> None:  # noqa: ARG002
        """Load, warm, then replace. Raises InferenceError; the previous release stays loaded."""
        check_precision(release, self._config.precision)
        data, weights = read_model(release)
        try:
            if self._core is None:
                self._core = openvino_core()
            model = self._core.read_model(model=data, weights=weights)
            floats = self._float_arithmetic(release, model)
            names = [output.get_any_name() for output in model.outputs]
            model.reshape([1, *release.input_size, 3])
            single = self._compile(model, floats).create_infer_request()
            loaded = _Loaded(release, model, single, names, floats)
        except InferenceError:
            raise
        except Exception as error:  # the library raises RuntimeError and others
            raise InferenceError(
                f"OpenVINO cannot load {release.name} on {self._config.device}: {error}"
            ) from error
        self._run(loaded, warm_images(release))
        self._loaded = loaded

    def infer(self, images: NDArray[np.uint8], timeout: float) -> dict[str, NDArray[np.float32]]:  # noqa: ARG002
        """Run the loaded release; see `protocols.Runtime.infer`."""
        loaded = self._loaded
        if loaded is None:
            raise InferenceError("no release is loaded in OpenVINO; call load first")
        check_images(loaded.release, images)
        try:
            return self._run(loaded, images)
        except InferenceError:
            self._loaded = None  # never served on after a fault
            raise

    def alive(self, timeout: float) -> bool:  # noqa: ARG002
        """Tell whether a release is loaded."""
        return self._loaded is not None

    def close(self) -> None:
        """Let go of the compiled network."""
        self._loaded = None
        self._core = None

    def _float_arithmetic(self, release: Release, model: Any) -> str:
        """Return what the release was compared in; an int8 graph says it of its float layers.

        Raises:
            InferenceError: the device would compute in something else.
        """
        floats = self._config.precision
        if floats == "int8":
            path = list(FLOAT_ARITHMETIC)
            floats = model.get_rt_info(path).astype(str) if model.has_rt_info(path) else FLOAT
        if floats == "bf16" and not has_bf16(self._core, self._config.device):
            raise InferenceError(
                f"{release.name} in {self._config.precision} computes in bf16, which "
                f"{self._config.device} of this machine has not; set precision to f32, or make the "
                "variant on a machine like this one"
            )
        return str(floats)

    def _compile(self, model: Any, floats: str, *, side_by_side: bool = False) -> Any:
        """Return the network, compiled for one image at a time."""
        hint = "throughput" if side_by_side else self._config.hint
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": hint.upper(),
            "INFERENCE_PRECISION_HINT": floats,  # of all that the graph does not put in eight bits
        }
        if self._config.threads:
            settings["INFERENCE_NUM_THREADS"] = self._config.threads
        if side_by_side and self._config.device.startswith("CPU"):
            threads = self._config.threads or len(os.sched_getaffinity(0))
            streams = min(threads, MOST_TOGETHER)  # as many as tiles come together
            settings |= {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": threads}
        return self._core.compile_model(model, self._config.device, settings)

    def _run(self, loaded: _Loaded, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        try:
            if len(images) == 1:
                loaded.single.infer({0: images}, share_inputs=True)
                found = [_copy(loaded.single, len(loaded.names))]
            else:
                found = self._run_many(loaded, images)
        except Exception as error:  # as in load
            raise InferenceError(
                f"OpenVINO failed on {loaded.release.name}: {error}; load the release again"
            ) from error
        each = [dict(zip(loaded.names, values, strict=True)) for values in found]
        return join_outputs([check_outputs(loaded.release, outputs, 1) for outputs in each])

    def _run_many(
        self, loaded: _Loaded, images: NDArray[np.uint8]
    ) -> list[list[NDArray[np.float32]]]:
        """Return the outputs of each image, in order."""
        if loaded.many is None:
            compiled = self._compile(loaded.model, loaded.floats, side_by_side=True)
            number = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
            loaded.many = [compiled.create_infer_request() for _ in range(number)]
        found: list[list[NDArray[np.float32]]] = []
        running: deque[Any] = deque()
        try:
            for index, request in zip(
                range(len(images)), itertools.cycle(loaded.many), strict=False
            ):
                if request in running:
                    found.append(_finish(running.popleft(), len(loaded.names)))
                request.start_async({0: images[index : index + 1]}, share_inputs=True)
                running.append(request)
            while running:
                found.append(_finish(running.popleft(), len(loaded.names)))
        except BaseException:
            for request in running:  # they still read the images
                with suppress(Exception):
                    request.wait()
            raise
        return found


def _finish(request: Any, outputs: int) -> list[NDArray[np.float32]]:
    request.wait()
    return _copy(request, outputs)


def _copy(request: Any, outputs: int) -> list[NDArray[np.float32]]:
    """Return so many outputs; asked for one by one, since the library's list of them is slow to make."""
    return [request.get_output_tensor(index).data.copy() for index in range(outputs)]


def has_bf16(core: Any, device: str = "CPU") -> bool:
    """Tell whether OpenVINO computes bfloat16 on a device by itself, not by imitating it."""
    return "BF16" in core.get_property(device, "OPTIMIZATION_CAPABILITIES")
