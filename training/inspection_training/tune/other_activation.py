"""What a release would take if trained with `activation: hardswish`: measured, with its own weights.

    model.onnx ─▶ x · sigmoid(x) becomes hardswish(x) ─▶ a copy, timed where the release is; never released

How long a network takes does not depend on what its weights say, so nothing need be trained to know it. What
it would find does: that is for a training and its gate.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspection.errors import InspectionError
from inspection.plugin import plugin
from inspection.protocols import Runtime
from inspection.release import MODEL, read_card
from inspection.runtimes.onnxruntime import has_cuda_provider
from inspection.tuned import block
from inspection.types import Release
from inspection.variants import FLOAT
from inspection_training.tune.rounds import Runner

if TYPE_CHECKING:
    import onnx

FAMILY = "ultralytics"
"""The one family whose experiments can say `activation: hardswish`."""
_log = logging.getLogger(__name__)
_FEWEST = 8
"""A graph with fewer of them has its time elsewhere."""


def hardswish_runner(
    release: Release, runtime: dict[str, Any], folder: Path
) -> tuple[Runner, dict[str, Any]] | None:
    """Return the release with hardswish in the place of SiLU, loaded and warm.

    Args:
        release: to be measured; it stays as it is.
        runtime: block of a station file, without a url; of a service, its OpenVINO is measured here.
        folder: for the copy; it must outlive the runner.

    Returns:
        It, and the block of the runtime that it is in. None: it has no SiLU, its family cannot be trained
        so, or this runtime cannot run the copy: INT8 chooses its layers for one network only.
    """
    import onnx

    precision = str(runtime.get("precision", FLOAT))
    family = read_card(release.folder).family
    if family.partition("/")[0] != FAMILY or precision == "int8":
        return None
    fields = dict(runtime)
    if fields.get("type") == "service":
        if has_cuda_provider():
            return None  # it runs there
        fields = {"type": "openvino", "precision": precision}
    try:
        model = onnx.load(release.folder / MODEL)
        if _swap(model.graph) < _FEWEST:
            return None
        path = folder / MODEL
        onnx.save(model, path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        prefix = "" if precision == FLOAT else f"{precision}:"
        other = replace(release, model=path, model_sha256=prefix + sha256)
        opened: Runtime = plugin("inspection.runtimes", fields).open()
    except (InspectionError, ImportError, ValueError, OSError) as error:
        _log.warning("what hardswish would take was not measured: %s", error)
        return None
    try:
        opened.load(other, 60.0)
    except (InspectionError, ImportError, ValueError) as error:
        _log.warning("what hardswish would take was not measured: %s", error)
        opened.close()
        return None
    return Runner(block(fields), other, opened, kept=True), fields


def _swap(graph: onnx.GraphProto) -> int:
    """Put HardSwish in the place of each x · sigmoid(x); return how many there were."""
    import onnx

    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    kept: list[onnx.NodeProto] = []
    gone: set[str] = set()
    for node in graph.node:
        after = readers.get(node.output[0], []) if node.op_type == "Sigmoid" else []
        if len(after) == 1 and _is_silu(node, after[0]):
            gone.add(node.output[0])
            continue
        if node.op_type == "Mul" and gone & set(node.input):
            source = next(name for name in node.input if name not in gone)
            kept.append(onnx.helper.make_node("HardSwish", [source], list(node.output)))
            continue
        kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    return len(gone)


def _is_silu(sigmoid: onnx.NodeProto, product: onnx.NodeProto) -> bool:
    wanted = sorted([sigmoid.input[0], sigmoid.output[0]])
    return product.op_type == "Mul" and sorted(product.input) == wanted
