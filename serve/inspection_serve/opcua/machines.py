"""The state machines and SystemState: written when the station's state changes, with an event each time."""

from __future__ import annotations

import logging
from typing import Any

from asyncua import ua

from inspection_serve.opcua.model import Model
from inspection_serve.opcua.state import Automatic, StationState, Vision

log = logging.getLogger("inspection.opcua")
_STATES: dict[Vision | Automatic, tuple[int, str]] = {
    Vision.PREOPERATIONAL: (5028, "Preoperational"),
    Vision.HALTED: (5029, "Halted"),
    Vision.ERROR: (5030, "Error"),
    Vision.OPERATIONAL: (5031, "Operational"),
    Automatic.INITIALIZED: (5056, "Initialized"),
    Automatic.READY: (5057, "Ready"),
    Automatic.SINGLE_EXECUTION: (5058, "SingleExecution"),
    Automatic.CONTINUOUS_EXECUTION: (5059, "ContinuousExecution"),
}
"""Each state's node in the nodeset, and its name."""
_SYSTEM = ("", "PRD", "SBY", "ENG", "SDT", "UDT", "NST")
STATE_CHANGED, ERROR, ERROR_RESOLVED = 1018, 1019, 1020
JOB_STARTED, READY, ACQUISITION_DONE = 1013, 1023, 1025
_SEVERE, _PLAIN = 800, 100
REFUSED = {
    "vision": ("Halt", "Reset"),
    "automatic": ("StartSingleJob", "StartContinuous", "Stop", "Abort"),
}
"""Methods that drive the station; where its PLC does that, they answer BadInvalidState."""
_EXECUTION = (Automatic.SINGLE_EXECUTION, Automatic.CONTINUOUS_EXECUTION)


class Machines:
    """Shows one station's state. Used in the server's one thread."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._shown: StationState | None = None
        self._events: dict[int, Any] = {}

    @property
    def shown(self) -> StationState | None:
        """What clients see now; None before the first time."""
        return self._shown

    async def prepare(self, *, driven: bool) -> None:
        """Make the events, and bind the methods unless the station is driven; before the server starts."""
        model = self._model
        for number in (STATE_CHANGED, ERROR, ERROR_RESOLVED, JOB_STARTED, READY, ACQUISITION_DONE):
            self._events[number] = await model.server.get_event_generator(
                model.type_node(number), model.system
            )
        if driven:
            return
        for owner, names in (
            (model.vision, REFUSED["vision"]),
            (model.automatic, REFUSED["automatic"]),
        ):
            for name in names:
                model.server.link_method(await model.method(owner, name), _refuse)

    async def tell_job(self, kind: int, job: str) -> None:
        """Send an event about a job: JOB_STARTED, READY or ACQUISITION_DONE."""
        given: Any = ua
        generator = self._events[kind]
        generator.event.Severity = _PLAIN
        generator.event.JobId = ua.Variant(
            given.JobIdDataType(Id=job), ua.VariantType.ExtensionObject
        )
        await self._model.send(generator, job)

    async def show(self, state: StationState, ended: str = "Auto") -> None:
        """Write what changed since the last time; the first time, everything.

        `ended`: how the last job ended: Auto, Stop or Abort.
        """
        before = self._shown
        if state == before:
            return
        self._shown = state
        if before is None or (state.vision, state.cause) != (before.vision, before.cause):
            log.info("%s %s", _name(state.vision), state.cause)
        await self._show_machine(self._model.vision, state.vision)
        await self._show_machine(self._model.automatic, state.automatic)
        given: Any = ua
        said = given.SystemStateDescriptionDataType()
        said.State = given.SystemStateDataType(int(state.system))
        said.StateDescription = " ".join(
            part for part in (_SYSTEM[state.system], state.cause) if part
        )
        await self._model.system_state.write_value(ua.Variant(said, ua.VariantType.ExtensionObject))
        if before is not None:
            await self._tell(before, state, ended)

    async def _show_machine(self, machine: Any, state: Vision | Automatic | None) -> None:
        current = await machine.get_child("0:CurrentState")
        identity = await current.get_child("0:Id")
        if state is None:
            inactive = ua.StatusCode(ua.StatusCodes.BadStateNotActive)
            for node, nothing in (
                (current, ua.Variant(ua.LocalizedText(""), ua.VariantType.LocalizedText)),
                (identity, ua.Variant(ua.NodeId(), ua.VariantType.NodeId)),
            ):
                await node.write_value(ua.DataValue(nothing, inactive))
            return
        number, name = _STATES[state]
        await identity.write_value(
            ua.Variant(ua.NodeId(number, self._model.namespace), ua.VariantType.NodeId)
        )
        await current.write_value(ua.Variant(ua.LocalizedText(name), ua.VariantType.LocalizedText))

    async def _tell(self, before: StationState, now: StationState, ended: str) -> None:
        old, new = _full(before), _full(now)
        if old == new:
            return
        kinds = [STATE_CHANGED]
        if now.vision is Vision.ERROR:
            kinds.append(ERROR)
        elif before.vision is Vision.ERROR:
            kinds.append(ERROR_RESOLVED)
        for kind in kinds:
            generator = self._events[kind]
            event = generator.event
            event.Severity = _SEVERE if kind == ERROR else _PLAIN
            for end, states in (("FromState", old), ("ToState", new)):
                number, name = _STATES[states[-1]]
                setattr(event, end, ua.LocalizedText(name))
                setattr(
                    event,
                    f"{end}/Id",
                    ua.Variant(ua.NodeId(number, self._model.namespace), ua.VariantType.NodeId),
                )
            event.Transition = ua.LocalizedText(_transition(old[-1], new[-1], ended))
            setattr(event, "Transition/Id", ua.Variant(ua.NodeId(), ua.VariantType.NodeId))
            await self._model.send(generator, now.cause or _name(new[-1]))


def _full(state: StationState) -> list[Vision | Automatic]:
    return [state.vision] if state.automatic is None else [state.vision, state.automatic]


def _transition(old: Vision | Automatic, new: Vision | Automatic, ended: str) -> str:
    cause = "Auto"
    if old is Automatic.READY and new in _EXECUTION:
        cause = ""  # a method
    elif new is Automatic.READY and old in _EXECUTION:
        cause = ended
    return f"{_name(old)}To{_name(new)}{cause}"


def _name(state: Vision | Automatic) -> str:
    return _STATES[state][1]


def _refuse(_parent: Any, *_arguments: Any) -> Any:
    return ua.StatusCode(ua.StatusCodes.BadInvalidState)
