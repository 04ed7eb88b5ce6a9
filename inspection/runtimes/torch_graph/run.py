"""Runs a network for any number of images, as often as asked.

    images ─▶ staging ─▶ device ─▶ early steps (on a GPU: one recorded CUDA graph) ─▶ late steps ─▶ outputs

A plan is made for a number of images and for each power of two below it, so that a smaller number finds one
nearly as small, and no part waits until one is made. Places that are left over are grey.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inspection.runtimes.contract import GREY
from inspection.runtimes.torch_graph.plan import CPU, Planner, Values, run_steps
from inspection.runtimes.torch_graph.read import INPUT, Network
from inspection.runtimes.torch_graph.record import Recorded, Recorder


class RunningNetwork:
    """A network on a device. One thread at a time."""

    def __init__(self, network: Network, size: tuple[int, int], device: torch.device) -> None:
        """Compute nothing yet; size is the input's (height, width)."""
        self._planner = Planner(network, device)
        self._size, self._device = size, device
        self._prepared: dict[int, _Prepared] = {}
        self._recorder = Recorder(device) if device != CPU else None

    def run(self, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Return the outputs of uint8 [B, H, W, 3] by name, in memory of their own.

        The first call with more images than any before makes plans, which takes a while.

        Raises:
            InferenceError: a step of the graph cannot be computed.
            Exception: PyTorch's own, RuntimeError mostly.
        """
        count = len(images)
        with torch.inference_mode(), self._current():
            if count > max(self._prepared, default=0):
                self._prepare(count)
            room = min(size for size in self._prepared if size >= count)
            found = self._prepared[room].run(images)
        return {name: value[:count] for name, value in found.items()}

    def _prepare(self, count: int) -> None:
        """Make plans for so many images and the powers of two below; the largest first, for its memory."""
        smaller = [1 << n for n in range(count.bit_length()) if 1 << n < count]
        made = {
            size: _Prepared(self._planner, (size, *self._size, 3), self._device, self._recorder)
            for size in (count, *reversed(smaller))
            if size not in self._prepared
        }
        self._prepared |= made

    def _current(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._device == CPU else torch.cuda.device(self._device)


class _Prepared:
    """A network for one number of images: memory for them, and the steps."""

    def __init__(
        self,
        planner: Planner,
        shape: tuple[int, ...],
        device: torch.device,
        recorder: Recorder | None,
    ) -> None:
        self._device = device
        pinned = device != CPU
        self._staging = torch.full(shape, GREY, dtype=torch.uint8, pin_memory=pinned)
        self._images = self._staging.to(device)
        self._plan = planner.plan(self._images)
        self._recorded: Recorded | None = None
        if recorder is not None and self._plan.early:
            self._recorded = recorder.record(self._plan, self._images)

    def run(self, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Return the outputs of these images and of grey ones in the places left over."""
        staging = self._staging.numpy()
        staging[: len(images)] = images
        staging[len(images) :] = GREY
        if self._images is not self._staging:
            self._images.copy_(self._staging, non_blocking=True)
        values = self._early()
        run_steps(self._plan.late, values, self._device)
        found = {
            name: np.array(values[name].cpu().numpy(), order="C") for name in self._plan.outputs
        }
        if self._device != CPU:
            torch.cuda.current_stream().synchronize()  # the staging memory is free again
        return found

    def _early(self) -> Values:
        """Return the values that the early steps leave, and those that are known."""
        values = dict(self._plan.known)
        if self._recorded is not None:
            self._recorded.graph.replay()
            return values | self._recorded.values
        values[INPUT] = self._images
        run_steps(self._plan.early, values, self._device)
        return values
