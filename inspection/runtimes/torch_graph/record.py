"""Records the early steps of a plan as one CUDA graph: they start with one call, not with hundreds.

    two runs aside ─▶ recorded ─▶ the same image by steps and by the record ─▶ equal bits, or not used

A record holds addresses: images come in where they came, and results lie where they lay. What cannot be
recorded, or gives other bits, is run step by step and said in the log: slower, never different.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inspection.errors import InferenceError
from inspection.runtimes.torch_graph.plan import Plan, Values, run_steps
from inspection.runtimes.torch_graph.read import INPUT

_WARM_RUNS = 2
"""Before recording, so that every library has chosen its kernels and taken its memory."""
_one_at_a_time = threading.Lock()
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded run.

    Attributes:
        graph: `torch.cuda.CUDAGraph`; a replay fills the values.
        values: `Plan.kept`, in memory that stays theirs.
    """

    graph: Any
    values: Values


class Recorder:
    """Records the plans of one network. Their graphs share memory: one runs at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, plan: Plan, images: Tensor) -> Recorded | None:
        """Return the early steps recorded; None: they must be run one by one.

        Args:
            plan: whose early steps.
            images: uint8 [B, H, W, 3] on the device, where all later images come in; noise is put there.
        """
        images.copy_(torch.randint(0, 256, images.shape, dtype=torch.uint8))
        with _one_at_a_time:
            try:
                recorded = self._recorded(plan, images)
                recorded.graph.replay()
                torch.cuda.synchronize(self._device)
            except (InferenceError, RuntimeError) as error:  # a broken device fails again later
                _log.warning("no CUDA graph could be recorded, so steps start singly: %s", error)
                return None
        values = _by_steps(plan, images)
        if not all(_alike(values[name], recorded.values[name]) for name in plan.kept):
            _log.warning("the CUDA graph gave other values than its steps, so steps start singly")
            return None
        return recorded

    def _recorded(self, plan: Plan, images: Tensor) -> Recorded:
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            for _ in range(_WARM_RUNS):
                _by_steps(plan, images)
        current.wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        # thread_local: another release may be serving meanwhile, in a thread of its own
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            values = _by_steps(plan, images)
        return Recorded(graph, values)


def _by_steps(plan: Plan, images: Tensor) -> Values:
    """Return `Plan.kept`, computed step by step."""
    values = {INPUT: images}
    run_steps(plan.early, values, images.device)
    return {name: values[name] for name in plan.kept}


def _alike(one: Tensor, other: Tensor) -> bool:
    """Tell whether both hold the same values; none is like none."""
    if not one.is_floating_point():
        return torch.equal(one, other)
    return torch.allclose(one, other, rtol=0.0, atol=0.0, equal_nan=True)
