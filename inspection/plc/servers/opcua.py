"""OPC UA: asyncua's server over the memory, as the array variables CTRL and STAT.

asyncua's sessions and services run over an address space of a few nodes: loading the standard's whole
one takes seconds, and nothing of it is needed. Clients find the variables under Objects:

    Root ─▶ Objects ─▶ CTRL  ns=1;s=CTRL  UInt16[16], read
                    ─▶ STAT  ns=1;s=STAT  UInt16[16], read; written as a whole
                    ─▶ Server ─▶ NamespaceArray, ServerStatus/State: what clients ask for first

The words are read from the memory when they are asked for, so they are never older than the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from inspection.errors import PlcError, how_to_install
from inspection.plc.servers.listening import accept_no_more, turns
from inspection.plc.words import BLOCK_WORDS

if TYPE_CHECKING:
    from inspection.plc.memory import Memory

NAMESPACE = "urn:inspection:plc-sim"
_INDEX = 1


class OpcUaServer:
    """See `inspection.plc.memory.WordServer`. Security None, anonymous: for the loopback and the bench."""

    def __init__(self) -> None:
        self._internal: Any = None
        self._binary: Any = None
        self._memory: Memory | None = None

    async def start(self, memory: Memory, host: str, port: int) -> int:
        """Listen; returns the port. Raises PlcError: asyncua is not installed."""
        try:
            from asyncua.common.connection import TransportLimits
            from asyncua.server.binary_server_asyncio import BinaryServer
            from asyncua.server.internal_server import InternalServer
        except ImportError as error:
            raise PlcError(
                f"OPC UA needs asyncua, which is not installed ({error}); {how_to_install('opcua')}"
            ) from error

        logging.getLogger("asyncua").setLevel(logging.CRITICAL)
        self._memory = memory
        operators: Any = _Operators()
        internal: Any = InternalServer(operators)
        internal.add_endpoint(_endpoint(f"opc.tcp://{host}:{port}"))
        _add_standard_nodes(internal.aspace)
        self._add_block(internal.aspace, "CTRL", memory.ctrl_address, writable=False)
        self._add_block(internal.aspace, "STAT", memory.stat_address, writable=True)
        binary: Any = BinaryServer(internal, host, port, TransportLimits())
        await binary.start()
        self._internal, self._binary = internal, binary
        return int(binary.port)

    def drop_links(self) -> None:
        """Close every connection."""
        for transport in list(self._internal.asyncio_transports if self._internal else []):
            transport.abort()

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._binary is None:
            return
        await accept_no_more(asyncio.get_running_loop(), self._binary._server)
        self._binary._server.close()
        clients = list(self._binary.clients)
        sessions = list(self._internal._external_sessions.values())
        self.drop_links()
        await turns()
        self._binary.cleanup_task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._binary.cleanup_task
        await self._binary._close_tasks()
        for session in sessions:
            await session.close_session()
        tasks = [
            task for client in clients for task in (client._task, client._activation_watchdog_task)
        ]
        await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)
        self._internal.method_service.stop()
        await turns()

    def _add_block(self, space: Any, name: str, address: int, *, writable: bool) -> None:
        ua = _library()

        node = ua.NodeId(name, _INDEX)
        access = ua.AccessLevel.CurrentRead.mask
        if writable:
            access |= ua.AccessLevel.CurrentWrite.mask
        _add_variable(space, node, name, ua.ObjectIds.UInt16, [0] * BLOCK_WORDS, access)
        _refer(space, ua.NodeId(ua.ObjectIds.ObjectsFolder), node, name, ua.ObjectIds.Organizes)

        def read(_node: Any, _attribute: Any) -> Any:
            words = self._memory.read(address, BLOCK_WORDS) if self._memory is not None else []
            return ua.DataValue(ua.Variant(words, ua.VariantType.UInt16, is_array=True))

        def write(_data: Any, _attribute: Any, value: Any) -> None:
            told, words = value.Value, getattr(value.Value, "Value", None)
            right = told is not None and told.VariantType == ua.VariantType.UInt16
            if not right or not isinstance(words, list) or len(words) != BLOCK_WORDS:
                raise ua.UaStatusCodeError(ua.StatusCodes.BadTypeMismatch)
            if self._memory is None:
                raise ua.UaStatusCodeError(ua.StatusCodes.BadOutOfService)
            self._memory.write(address, words)

        space.set_attribute_value_callback(node, ua.AttributeIds.Value, read)
        space.set_attribute_value_setter(node, ua.AttributeIds.Value, write)


class _Operators:
    """Gives everybody the rights of an operator: no administration, no change of nodes."""

    def get_user(self, *_: Any, **__: Any) -> Any:
        from asyncua.crypto.permission_rules import User, UserRole

        return User(role=UserRole.User)


def _library() -> Any:
    """Return asyncua's types; the library's own hints do not fit its own constants."""
    from asyncua import ua

    return ua


def _endpoint(url: str) -> Any:
    ua = _library()

    endpoint: Any = ua.EndpointDescription()
    endpoint.EndpointUrl = url
    endpoint.Server.ApplicationUri = NAMESPACE
    endpoint.Server.ApplicationName = ua.LocalizedText("simulated PLC")
    endpoint.Server.ApplicationType = ua.ApplicationType.Server
    endpoint.Server.DiscoveryUrls = [url]
    endpoint.SecurityMode = ua.MessageSecurityMode.None_
    endpoint.SecurityPolicyUri = "http://opcfoundation.org/UA/SecurityPolicy#None"
    endpoint.TransportProfileUri = (
        "http://opcfoundation.org/UA-Profile/Transport/uatcp-uasc-uabinary"
    )
    token: Any = ua.UserTokenPolicy()
    token.PolicyId, token.TokenType = "anonymous", ua.UserTokenType.Anonymous
    endpoint.UserIdentityTokens = [token]
    return endpoint


def _add_standard_nodes(space: Any) -> None:
    ua = _library()

    ids = ua.ObjectIds
    for number, name in (
        (ids.RootFolder, "Root"),
        (ids.ObjectsFolder, "Objects"),
        (ids.Server, "Server"),
    ):
        _add(space, ua.NodeId(number), name, ua.NodeClass.Object, {})
    _refer(space, ua.NodeId(ids.RootFolder), ua.NodeId(ids.ObjectsFolder), "Objects", ids.Organizes)
    _refer(space, ua.NodeId(ids.ObjectsFolder), ua.NodeId(ids.Server), "Server", ids.Organizes)
    above = (  # so that a browse by a kind of reference finds the kinds below it
        (ids.References, ids.HierarchicalReferences, "HierarchicalReferences"),
        (ids.HierarchicalReferences, ids.Organizes, "Organizes"),
        (ids.HierarchicalReferences, ids.HasProperty, "HasProperty"),
    )
    _add(space, ua.NodeId(ids.References), "References", ua.NodeClass.ReferenceType, {})
    for parent, kind, name in above:
        _add(space, ua.NodeId(kind), name, ua.NodeClass.ReferenceType, {})
        _refer(space, ua.NodeId(parent), ua.NodeId(kind), name, ids.HasSubtype)
    standard = "http://opcfoundation.org/UA/"
    for number, name, kind, value in (
        (ids.Server_NamespaceArray, "NamespaceArray", ids.String, [standard, NAMESPACE]),
        (ids.Server_ServerArray, "ServerArray", ids.String, [NAMESPACE]),
        (ids.Server_ServerStatus_State, "State", ids.Int32, 0),
    ):
        node = ua.NodeId(number)
        _add_variable(space, node, name, kind, value, ua.AccessLevel.CurrentRead.mask)
        _refer(space, ua.NodeId(ids.Server), node, name, ids.HasProperty)


def _add_variable(space: Any, node: Any, name: str, kind: int, value: Any, access: int) -> None:
    ua = _library()

    at, number = ua.AttributeIds, ua.VariantType
    array = isinstance(value, list)
    attributes: dict[Any, tuple[Any, Any]] = {
        at.Value: (value, number(kind)),
        at.DataType: (ua.NodeId(kind), number.NodeId),
        at.ValueRank: (1 if array else -1, number.Int32),
        at.AccessLevel: (access, number.Byte),
        at.UserAccessLevel: (access, number.Byte),
        at.Historizing: (False, number.Boolean),
    }
    if array:
        attributes[at.ArrayDimensions] = ([len(value)], number.UInt32)
    _add(space, node, name, ua.NodeClass.Variable, attributes)


def _add(
    space: Any, node: Any, name: str, kind: Any, attributes: dict[Any, tuple[Any, Any]]
) -> None:
    ua = _library()
    from asyncua.server.address_space import AttributeValue, NodeData

    at, number = ua.AttributeIds, ua.VariantType
    named = {
        at.NodeId: (node, number.NodeId),
        at.NodeClass: (kind, number.Int32),
        at.BrowseName: (ua.QualifiedName(name, node.NamespaceIndex), number.QualifiedName),
        at.DisplayName: (ua.LocalizedText(name), number.LocalizedText),
    }
    data = NodeData(node)
    for attribute, (value, variant) in {**named, **attributes}.items():
        data.attributes[attribute] = AttributeValue(ua.DataValue(ua.Variant(value, variant)))
    space[node] = data


def _refer(space: Any, source: Any, target: Any, name: str, kind: int) -> None:
    ua = _library()

    to: Any = ua.ReferenceDescription()
    to.ReferenceTypeId, to.IsForward, to.NodeId = ua.NodeId(kind), True, target
    to.BrowseName = ua.QualifiedName(name, target.NamespaceIndex)
    to.DisplayName = ua.LocalizedText(name)
    to.NodeClass = space[target].attributes[ua.AttributeIds.NodeClass].value.Value.Value
    space[source].references.append(to)
