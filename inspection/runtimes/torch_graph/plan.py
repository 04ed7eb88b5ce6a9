"""A network for one number of images: which steps are left, and where each of their values lies.

    nodes ─▶ known: depends on no pixel (weights, shapes) ─▶ computed here, once
          ─▶ early: the rest, up to where shapes depend on pixels ─▶ can be recorded
          ─▶ late: suppression and all that needs it

Shapes are known once the number of images is, so the arithmetic on them runs on the processor while the plan
is made, and never waits for a GPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inspection.errors import InferenceError
from inspection.runtimes.torch_graph.operator import not_known
from inspection.runtimes.torch_graph.read import INPUT, Network, Node

CPU = torch.device("cpu")
Values = dict[str, Tensor]


@dataclass(slots=True)
class Step:
    """One node that is computed for each picture.

    Attributes:
        node: what.
        arguments: a tensor that is known, the name of a value, or None where there is none.
        to_device: positions of values on the processor that the device needs.
        to_cpu: positions of values on the device that the program reads: waits for the device.
        late: see the module.
        done: names of values that nobody needs afterwards.
    """

    node: Node
    arguments: list[Tensor | str | None]
    to_device: list[int]
    to_cpu: list[int]
    late: bool
    done: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps for one number of images.

    Attributes:
        early: those before suppression.
        late: the others.
        known: outputs that depend on no pixel.
        kept: names of early values that the late steps, or the caller, need.
        outputs: names of the outputs.
    """

    early: tuple[Step, ...]
    late: tuple[Step, ...]
    known: Values
    kept: tuple[str, ...]
    outputs: tuple[str, ...]


class Planner:
    """Makes the plans of a network on a device; its weights are there once for all of them."""

    def __init__(self, network: Network, device: torch.device) -> None:
        self._network = network
        self._device = device
        self._weights: Values = {}

    def plan(self, images: Tensor) -> Plan:
        """Return the plan for this number of images; computes the network once.

        Args:
            images: uint8 [B, H, W, 3] on the device.

        Raises:
            InferenceError: a step cannot be computed.
        """
        return _Making(self._network, self._device, self._weights).plan(images)


class _Making:
    """One plan while it is made.

    `values` holds all that is known, on the processor, and the values of this run that are still needed.
    """

    def __init__(self, network: Network, device: torch.device, weights: Values) -> None:
        self._network, self._device, self._weights = network, device, weights
        self._values: Values = dict(network.constants)
        self._known = set(network.constants)
        self._fixed = set(network.constants)
        """What is known for any number of images."""
        self._moved: Values = {}
        self._late: set[str] = set()
        self._on_cpu: set[str] = set()
        """Values of steps that stay on the processor: shapes of what is late, and sums with them."""

    def plan(self, images: Tensor) -> Plan:
        self._values[INPUT] = images
        needed_last = _last_uses(self._network)
        steps: list[Step] = []
        for number, node in enumerate(self._network.nodes):
            step = self._take(node)
            if step is not None:
                steps.append(step)
            for name in needed_last.get(number, ()):
                self._values.pop(name, None)
        early = [step for step in steps if not step.late]
        late = [step for step in steps if step.late]
        outputs = self._network.outputs
        known = {name: self._values[name] for name in outputs if name in self._known}
        given = {name for step in early for name in step.node.outputs} | {INPUT}
        used = {name for step in late for name in step.arguments if isinstance(name, str)}
        kept = tuple(sorted(given & (used | set(outputs))))
        _set_done([*early, *late], outputs)
        return Plan(tuple(early), tuple(late), known, kept, outputs)

    def _take(self, node: Node) -> Step | None:
        """Compute a node; return its step unless it is known now."""
        names = [name for name in node.inputs if name]
        by_shape = node.operator.of_shape and not self._late.intersection(names)
        if by_shape or self._known.issuperset(names):
            given = [self._values[name] if name else None for name in node.inputs]
            self._keep(node, compute(node, given))
            self._known.update(filter(None, node.outputs))
            if self._fixed.issuperset(names):
                self._fixed.update(filter(None, node.outputs))
            return None
        step = self._step(node)
        given = [self._values[x] if isinstance(x, str) else x for x in step.arguments]
        self._keep(node, run_one(step, given, self._device))
        if step.late:
            self._late.update(node.outputs)
        return step

    def _keep(self, node: Node, found: Sequence[Tensor]) -> None:
        self._values.update(zip(node.outputs, found, strict=False))

    def _step(self, node: Node) -> Step:
        read = {i for i in node.operator.read if i < len(node.inputs)}
        open_ = {i for i, name in enumerate(node.inputs) if name and name not in self._known}
        data = open_ - read
        on_cpu = node.operator.of_shape or all(node.inputs[i] in self._on_cpu for i in data)
        here = {i for i in open_ if node.inputs[i] in self._on_cpu}
        late = (
            node.operator.unsettled
            or bool(open_ & read)
            or any(node.inputs[i] in self._late for i in open_)
        )
        arguments: list[Tensor | str | None] = [
            self._argument(name, on_cpu or i in read) for i, name in enumerate(node.inputs)
        ]
        if on_cpu:
            self._on_cpu.update(node.outputs)
        if self._device == CPU:
            return Step(node, arguments, [], [], late)
        to_device = [] if on_cpu else sorted(data & here)
        to_cpu = sorted((open_ & read) - here)
        return Step(node, arguments, to_device, to_cpu, late)

    def _argument(self, name: str, on_cpu: bool) -> Tensor | str | None:
        if name not in self._known:
            return name or None
        if on_cpu or self._device == CPU:
            return self._values[name]
        there = self._weights if name in self._fixed else self._moved
        if name not in there:
            there[name] = self._values[name].to(self._device)
        return there[name]


def run_steps(steps: Iterable[Step], values: Values, device: torch.device) -> None:
    """Compute steps in order; values are added and, when nobody needs them any more, taken away."""
    for step in steps:
        given = [values[x] if isinstance(x, str) else x for x in step.arguments]
        values.update(zip(step.node.outputs, run_one(step, given, device), strict=False))
        for name in step.done:
            del values[name]


def run_one(step: Step, given: list[Tensor | None], device: torch.device) -> Sequence[Tensor]:
    """Compute one step."""
    for i in step.to_device:
        given[i] = _moved(given[i], device)
    for i in step.to_cpu:
        given[i] = _moved(given[i], CPU)
    return compute(step.node, given)


def compute(node: Node, given: Sequence[Tensor | None]) -> Sequence[Tensor]:
    """Return the outputs of a node.

    Raises:
        InferenceError: it is not known, or it failed: then the library's error is the cause.
    """
    try:
        found: Any = node.compute(*given)
    except InferenceError as error:
        raise InferenceError(f"{node.name}: {error}") from None
    except Exception as error:  # torch raises RuntimeError, IndexError and its own kinds
        raise InferenceError(f"{node.name}: {error}") from error
    found = (found,) if isinstance(found, Tensor) else found
    if len(found) < len(node.outputs):
        raise not_known(f"{node.name} with {len(node.outputs)} outputs")
    return found


def _moved(value: Tensor | None, device: torch.device) -> Tensor | None:
    return None if value is None else value.to(device)


def _last_uses(network: Network) -> dict[int, list[str]]:
    """Return, for each node, the values that are not needed behind it."""
    last = {name: number for number, node in enumerate(network.nodes) for name in node.outputs}
    last |= {name: number for number, node in enumerate(network.nodes) for name in node.inputs}
    found: dict[int, list[str]] = {}
    for name, number in last.items():
        if name not in network.outputs:
            found.setdefault(number, []).append(name)
    return found


def _set_done(steps: Sequence[Step], outputs: Sequence[str]) -> None:
    """Tell each step which values it is the last to need."""
    seen = set(outputs)
    for step in reversed(steps):
        names = {name for name in step.arguments if isinstance(name, str)}
        names.update(name for name in step.node.outputs if name)
        step.done = tuple(names - seen)
        seen |= names
