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


def record(plan: Plan, images: Tensor, pool: Any) -> Recorded | None:
    """Return the early steps recorded; None: they must be run one by one.

    Args:
        plan: whose early steps.
        images: uint8 [B, H, W, 3] on the device, where all later images come in; noise is put there.
        pool: memory of a network's records. They share it, as one runs at a time.
    """
    noise = torch.randint(0, 256, images.shape, dtype=torch.uint8)
    with _one_at_a_time:
        images.copy_(noise)
        try:
            recorded = _recorded(plan, images, pool)
            recorded.graph.replay()
            torch.cuda.synchronize(images.device)
        except (
            RuntimeError
        ) as error:  # CUDA's own; a device that is broken fails in the next step too
            _log.warning("no CUDA graph could be recorded, so steps start one by one: %s", error)
            return None
    values = _by_steps(plan, images)
    if not all(torch.equal(values[name], recorded.values[name]) for name in plan.kept):
        _log.warning("the CUDA graph gave other values than its steps, so steps start one by one")
        return None
    return recorded


def _recorded(plan: Plan, images: Tensor, pool: Any) -> Recorded:
    aside = torch.cuda.Stream(images.device)
    aside.wait_stream(torch.cuda.current_stream(images.device))
    with torch.cuda.stream(aside):
        for _ in range(_WARM_RUNS):
            _by_steps(plan, images)
    torch.cuda.current_stream(images.device).wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # thread_local: another release may be serving meanwhile, in a thread of its own
    with torch.cuda.graph(graph, pool=pool, stream=aside, capture_error_mode="thread_local"):
        values = _by_steps(plan, images)
    return Recorded(graph, values)


def _by_steps(plan: Plan, images: Tensor) -> Values:
    """Return `Plan.kept`, computed step by step."""
    values = {INPUT: images}
    run_steps(plan.early, values, images.device)
    return {name: values[name] for name in plan.kept}
