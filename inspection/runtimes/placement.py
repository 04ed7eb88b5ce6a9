"""Where ONNX Runtime computes the nodes of a graph. What a device cannot do goes to the processor, silently.

    session with profiling on ─▶ one warm run ─▶ profile ─▶ nodes on the processor: the heavy ones are a fault

Small nodes (shapes, sorting, suppression) are quick on the processor and often belong there. A convolution
there means that the device does not carry the network, and that a deadline measured with it no longer holds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inspection.errors import InferenceError

CPU = "CPUExecutionProvider"
_HEAVY = ("Conv", "MatMul", "Gemm", "Pool", "Resize", "Upsample", "Einsum", "Attention")
_MOST_NAMED = 5


def nodes_on_cpu(profile: Path) -> list[str]:
    """Return the operators of the nodes that ran on the processor, one for each node, from a profile.

    Raises:
        InferenceError: the profile cannot be read, or holds no node: nobody knows where they ran.
    """
    try:
        events: list[dict[str, Any]] = json.loads(profile.read_bytes())
        nodes = [one["args"] for one in events if one.get("cat") == "Node"]
        ran = [one for one in nodes if "provider" in one]
        found = [str(one["op_name"]) for one in ran if one["provider"] == CPU]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InferenceError(
            f"ONNX Runtime did not tell where it runs the network ({error}); set providers to cpu"
        ) from error
    if not ran:
        raise InferenceError(
            "ONNX Runtime did not tell where it runs the network; set providers to cpu"
        )
    return found


def check_placement(release: str, device: str, on_cpu: Sequence[str]) -> None:
    """Raise InferenceError when heavy nodes ran on the processor though a device was asked for.

    Args:
        release: its name.
        device: what was asked for: cuda or tensorrt.
        on_cpu: as `nodes_on_cpu` returns them.
    """
    heavy = [name for name in on_cpu if any(kind in name for kind in _HEAVY)]
    if not heavy:
        return
    named = ", ".join(sorted(set(heavy))[:_MOST_NAMED])
    raise InferenceError(
        f"providers is {device}, but ONNX Runtime put {len(heavy)} heavy nodes of {release} on the "
        f"processor ({named}); use another version of onnxruntime-gpu, or set providers to cpu"
    )
