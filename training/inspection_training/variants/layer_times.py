"""How long each layer of a graph takes, measured by OpenVINO itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from inspection.runtimes.contract import GREY
from inspection.runtimes.libraries import openvino_core

RUNS = 15
_WARM = 3


def layer_times(
    path: Path, layers: Collection[str], input_size: tuple[int, int], floats: str
) -> dict[str, float]:
    """Return milliseconds of each layer in one inference, median of `RUNS`; 0 for one not found.

    Layers that OpenVINO joined into one step share its time alike.

    Args:
        path: model.xml.
        layers: names of its nodes.
        input_size: height, width of one image.
        floats: arithmetic of what is not in eight bits, f32 or bf16.
    """
    core = openvino_core()
    model = core.read_model(path)
    model.reshape([1, *input_size, 3])
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": floats,
        "PERF_COUNT": True,
    }
    compiled = core.compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    image = np.full((1, *input_size, 3), GREY, np.uint8)
    spent: dict[str, list[float]] = defaultdict(list)
    for run in range(_WARM + RUNS):
        request.infer({0: image}, share_inputs=True)
        for step in request.profiling_info if run >= _WARM else ():
            spent[step.node_name].append(step.real_time.total_seconds() * 1e3)
    return _by_layer(compiled.get_runtime_model(), spent, set(layers))


def _by_layer(
    executed: Any, spent: Mapping[str, list[float]], layers: set[str]
) -> dict[str, float]:
    times = dict.fromkeys(sorted(layers), 0.0)
    for op in executed.get_ops():
        name = op.get_friendly_name()
        information = op.get_rt_info()
        if name not in spent or "originalLayersNames" not in information:
            continue
        joined = set(information["originalLayersNames"].astype(str).split(",")) & layers
        for layer in joined:
            times[layer] += median(spent[name]) / len(joined)
    return times
