"""An eight-bit form of a release's graph, in which any layer can be put back to float.

    training images ─▶ what the network sees ─▶ NNCF: ranges, weights, biases ─▶ int8 graph
                                                  int8 graph + names ─▶ those layers as they were

Two things are settled before NNCF sees the graph. What OpenVINO puts together when it runs a graph is put
together first, above all the activation behind a convolution: eight bits between its parts would keep them
apart, and cost more than the convolution gains. And what stands behind the last layer with weights stays in
float: boxes in 256 steps are no boxes, and a range hides what is no number.

The graph is OpenVINO's own (model.xml, model.bin): OpenVINO 2026.4 computes the same network wrongly when
it comes as ONNX with QuantizeLinear, and ONNX Runtime computes that slower than float (decision 0011). A
layer that stays in float gets its own weights, bias and inputs back; that costs no new calibration, so
that many sets of layers can be tried. Float is bfloat16 where the processor has it.
"""

from __future__ import annotations

import logging
import os
import random
import warnings
from collections.abc import Collection, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspection.errors import ReleaseError
from inspection.protocols import Runtime
from inspection.runtimes.libraries import import_openvino, in_own_thread, openvino_core
from inspection.types import Release
from inspection.variants import FLOAT_ARITHMETIC, IR_MODEL

Tensor = NDArray[np.uint8]
"""uint8 [1, H, W, 3]: what the network gets."""
_QUANTISE = "FakeQuantize"
_MOVES = {
    *("Transpose", "Reshape", "MaxPool", "Concat", "Split", "VariadicSplit", "StridedSlice"),
    *("Slice", "Squeeze", "Unsqueeze", "Interpolate", "Gather", "Pad", "Tile", "Broadcast"),
    "DepthToSpace",
}
"""Operators that only move numbers: they compute in whatever they are given."""
_WEIGHTED = {"Convolution", "GroupConvolution", "ConvolutionBackpropData"}


class Recorder:
    """A runtime that keeps some of the inputs and outputs that pass through it.

    Args:
        runtime: answers.
        limit: inferences to keep, chosen evenly from all by chance with a fixed seed.
    """

    def __init__(self, runtime: Runtime, limit: int) -> None:
        self._runtime = runtime
        self._limit = limit
        self._seen = 0
        self._random = random.Random(0)
        self.kept: list[tuple[Tensor, dict[str, NDArray[np.float32]]]] = []

    def load(self, release: Release, timeout: float) -> None:
        """Load the release in the runtime behind."""
        self._runtime.load(release, timeout)

    def infer(self, images: Tensor, timeout: float) -> dict[str, NDArray[np.float32]]:
        """Return the runtime's answer; perhaps keep it."""
        outputs = self._runtime.infer(images, timeout)
        for i in range(len(images)):
            # a copy: the caller writes the next picture into the same memory
            entry = (images[i : i + 1].copy(), {k: v[i : i + 1] for k, v in outputs.items()})
            self._seen += 1
            if len(self.kept) < self._limit:
                self.kept.append(entry)
            elif (place := self._random.randrange(self._seen)) < self._limit:
                self.kept[place] = entry
        return outputs

    def alive(self, timeout: float) -> bool:
        """Tell whether the runtime behind could answer."""
        return self._runtime.alive(timeout)

    def close(self) -> None:
        """Close the runtime behind."""
        self._runtime.close()


@dataclass(frozen=True, slots=True)
class Int8Graph:
    """A graph in eight bits and the one it was made of.

    Attributes:
        original: OpenVINO model in float32.
        quantised: OpenVINO model with every layer in eight bits that can be.
        layers: names of those layers, from the input on.
    """

    original: Any
    quantised: Any
    layers: tuple[str, ...]

    def write(self, kept: Collection[str], folder: Path, floats: str) -> None:
        """Write model.xml and model.bin, in which the named layers compute in float as they were.

        Args:
            kept: names of layers.
            folder: where the files go; those that are there are replaced.
            floats: what they compute in, f32 or bf16; the graph says it to who runs it.

        Raises:
            ValueError: a name is no layer.
            OSError: the files cannot be written.
        """
        unknown = sorted(set(kept) - set(self.layers))
        if unknown:
            raise ValueError(f"{unknown} are no layers in eight bits")
        openvino = import_openvino()
        from openvino._offline_transformations import compress_quantize_weights_transformation

        model = self.quantised.clone()
        before = {op.get_friendly_name(): op for op in self.original.get_ops()}
        for op in _float_ops(model, set(kept), set(self.layers)):
            for place in op.inputs():
                source = place.get_source_output().get_node()
                if source.get_type_name() == _QUANTISE:
                    place.replace_source_output(source.input_value(0))
            _restore_bias(op, before)
        compress_quantize_weights_transformation(model)
        model.set_rt_info(floats, list(FLOAT_ARITHMETIC))
        try:
            openvino.save_model(model, folder / IR_MODEL, compress_to_fp16=False)
            openvino_core().read_model(folder / IR_MODEL)  # a full disk may have cut it off
        except RuntimeError as error:
            raise OSError(f"{folder / IR_MODEL} was not written whole ({error})") from error


def quantise(path: Path, tensors: Sequence[Tensor], *, symmetric: bool) -> Int8Graph:
    """Return the graph with weights and activations in eight bits, weights by channel.

    Args:
        path: the release's ONNX file.
        tensors: training images as the network gets them; they set the ranges of the activations.
        symmetric: ranges of activations lie around 0.

    Raises:
        ReleaseError: NNCF cannot quantise this graph.
    """
    core = openvino_core()  # silent; nncf finds its telemetry switched off as well
    from openvino._offline_transformations import apply_moc_transformations

    original = core.read_model(path)
    apply_moc_transformations(original, cf=True)
    try:
        quantised = in_own_thread(lambda: _nncf(original.clone(), tensors, symmetric))
    except Exception as error:  # NNCF and OpenVINO raise their own kinds
        raise ReleaseError(
            f"{path} cannot be quantised: {error}; run this release in f32 or bf16"
        ) from error
    layers = tuple(
        op.get_friendly_name()
        for op in quantised.get_ordered_ops()
        if op.get_type_name() not in {_QUANTISE, *_MOVES} and _quantised_inputs(op)
    )
    if not layers:
        raise ReleaseError(f"{path} has no layer that can compute in eight bits; run it in f32")
    return Int8Graph(original, quantised, layers)


def _nncf(model: Any, tensors: Sequence[Tensor], symmetric: bool) -> Any:
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        warnings.catch_warnings(),
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
    ):
        warnings.simplefilter("ignore")
        loggers = logging.getLoggerClass()
        import nncf
        from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        logging.setLoggerClass(loggers)  # its own kind, which tells nobody above, was left in force
        speaker = logging.getLogger("nncf")  # set_log_level would also set the handlers of others
        speaker.handlers.clear()
        speaker.setLevel(logging.ERROR)
        return nncf.quantize(
            model,
            nncf.Dataset(list(tensors)),
            subset_size=len(tensors),
            preset=nncf.QuantizationPreset.PERFORMANCE
            if symmetric
            else nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU,
            ignored_scope=nncf.IgnoredScope(names=_behind_the_network(model), validate=False),
            advanced_parameters=AdvancedQuantizationParameters(
                # all that was seen: the mean over images, NNCF's own choice, is that of good parts
                # where defects are rare, and would cut the scores of defects off
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
                backend_params={"compress_weights": False},  # done when written
            ),
        )


def _behind_the_network(model: Any) -> list[str]:
    """Return the names of the operators from which no layer with weights is reached any more.

    None where no layer has weights.
    """
    before: set[str] = set()
    for op in reversed(model.get_ordered_ops()):
        reached = any(reader.get_friendly_name() in before for reader in _readers(op))
        if reached or _has_weights(op):
            before.add(op.get_friendly_name())
    passive = {"Constant", "Parameter", "Result"}
    if not before:
        return []
    return [
        op.get_friendly_name()
        for op in model.get_ordered_ops()
        if op.get_friendly_name() not in before and op.get_type_name() not in passive
    ]


def _has_weights(op: Any) -> bool:
    if op.get_type_name() in _WEIGHTED:
        return True
    sources = {place.get_source_output().get_node().get_type_name() for place in op.inputs()}
    return op.get_type_name() == "MatMul" and "Constant" in sources


def _quantised_inputs(op: Any) -> bool:
    return any(
        place.get_source_output().get_node().get_type_name() == _QUANTISE for place in op.inputs()
    )


def _readers(op: Any) -> list[Any]:
    return [place.get_node() for out in op.outputs() for place in out.get_target_inputs()]


def _float_ops(model: Any, kept: set[str], layers: set[str]) -> list[Any]:
    """Return the kept layers, and what only moves numbers into them and into no eight-bit layer."""
    in_float = set(kept)
    ordered = model.get_ordered_ops()
    for op in reversed(ordered):
        if op.get_type_name() not in _MOVES:
            continue
        readers = [x for reader in _readers(op) for x in _behind_range(reader)]
        names = {reader.get_friendly_name() for reader in readers}
        moving = {r.get_friendly_name() for r in readers if r.get_type_name() in _MOVES}
        if names & in_float and not names & (layers - in_float) and not moving - in_float:
            in_float.add(op.get_friendly_name())
    return [op for op in ordered if op.get_friendly_name() in in_float]


def _behind_range(op: Any) -> list[Any]:
    """Return the operator; of a range, which is taken away with its reader's, the readers."""
    return _readers(op) if op.get_type_name() == _QUANTISE else [op]


def _restore_bias(op: Any, before: dict[str, Any]) -> None:
    """Give the addition behind a layer the constant it had: NNCF moved it against rounding."""
    for reader in _readers(op):
        was = before.get(reader.get_friendly_name())
        if reader.get_type_name() != "Add" or was is None or was.get_type_name() != "Add":
            continue
        for place, old in zip(reader.inputs(), was.inputs(), strict=True):
            constant = old.get_source_output().get_node()
            now = place.get_source_output().get_node()
            if constant.get_type_name() == now.get_type_name() == "Constant":
                copied = import_openvino().op.Constant(constant.get_data().copy())
                place.replace_source_output(copied.output(0))
