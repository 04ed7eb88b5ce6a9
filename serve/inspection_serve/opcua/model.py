"""The VisionSystem in the address space: what of the model is there, and nothing that does nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asyncua import ua

from inspection_serve.opcua.nodeset import load_nodeset

VISION_SYSTEM_TYPE, RESULT_MANAGEMENT_TYPE, RECIPE_MANAGEMENT_TYPE = 1003, 1007, 1004
AUTOMATIC_TYPE, SYSTEM_STATE_DATA = 1021, 3024
"""Numbers of the nodeset's types, in its namespace."""


@dataclass(frozen=True, slots=True)
class Model:
    """Nodes of the instance.

    Attributes:
        server: asyncua's.
        namespace: index of the Machine Vision namespace.
        system: the VisionSystem object, which gives the events.
        vision: its state machine.
        automatic: the state machine of the automatic mode.
        system_state: the SystemState variable.
        results: ResultManagement.
        recipes: RecipeManagement.
    """

    server: Any
    namespace: int
    system: Any
    vision: Any
    automatic: Any
    system_state: Any
    results: Any
    recipes: Any

    def type_node(self, number: int) -> Any:
        """Return a node of the nodeset by its number."""
        return self.server.get_node(ua.NodeId(number, self.namespace))

    async def send(self, generator: Any, message: str) -> None:
        """Send an event from the VisionSystem, and from the Server: asyncua does not pass it up.

        `generator`: made by `get_event_generator` for the VisionSystem.
        """
        event = generator.event
        event.emitting_node = self.system.nodeid
        await generator.trigger(message=message)
        event.emitting_node = self.server.nodes.server.nodeid
        await generator.isession.subscription_service.trigger_event(event)

    async def method(self, owner: Any, name: str) -> Any:
        """Return a method of an object of the model."""
        return await owner.get_child(f"{self.namespace}:{name}")


async def make_model(server: Any, station: str) -> Model:
    """Load the nodeset into a server that is not started, and make the instance `Objects/VisionSystem`."""
    namespace = await load_nodeset(server)
    own = await server.register_namespace(f"urn:inspection:{station}:nodes")

    def typed(number: int) -> Any:
        return ua.NodeId(number, namespace)

    async def add(parent: Any, name: str, number: int) -> Any:
        return await parent.add_object(
            ua.NodeId(f"{station}/{name}", own),
            ua.QualifiedName(name, namespace),
            typed(number),
            instantiate_optional=False,
        )

    system = await server.nodes.objects.add_object(
        ua.NodeId(f"{station}", own),
        ua.QualifiedName("VisionSystem", own),
        typed(VISION_SYSTEM_TYPE),
        instantiate_optional=False,
    )
    await system.write_attribute(
        ua.AttributeIds.DisplayName, ua.DataValue(ua.Variant(ua.LocalizedText(station)))
    )
    vision = await system.get_child(f"{namespace}:VisionStateMachine")
    automatic = await add(vision, "AutomaticModeStateMachine", AUTOMATIC_TYPE)
    state: Any = ua
    system_state = await system.add_variable(
        ua.NodeId(f"{station}/SystemState", own),
        ua.QualifiedName("SystemState", namespace),
        ua.Variant(state.SystemStateDescriptionDataType(), ua.VariantType.ExtensionObject),
        datatype=typed(SYSTEM_STATE_DATA),
    )
    results = await add(system, "ResultManagement", RESULT_MANAGEMENT_TYPE)
    recipes = await add(system, "RecipeManagement", RECIPE_MANAGEMENT_TYPE)
    await system.set_event_notifier([ua.EventNotifier.SubscribeToEvents])
    await server.nodes.server.add_reference(
        system, ua.ObjectIds.HasNotifier, forward=True, bidirectional=True
    )
    return Model(server, namespace, system, vision, automatic, system_state, results, recipes)
