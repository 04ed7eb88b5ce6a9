"""The nodeset of OPC 40100-1, as the OPC Foundation publishes it, into asyncua's server.

Three of its data types have an empty definition and take their fields from BinaryIdBaseDataType. asyncua
does not give them the fields of their base, so no client could read a result. They get them here; the
file stays as it was published.
"""

from __future__ import annotations

import copy
from importlib.resources import files
from typing import Any
from xml.etree import ElementTree

MACHINE_VISION = "http://opcfoundation.org/UA/MachineVision"
_FILE = "Opc.Ua.MachineVision.NodeSet2.xml"
_XML = "http://opcfoundation.org/UA/2011/03/UANodeSet.xsd"
_SUBTYPE = ("HasSubtype", "i=45")


def nodeset_text() -> str:
    """Return the nodeset as XML, every structure with the fields of its base."""
    text = (files("inspection_serve.opcua") / "nodesets" / _FILE).read_text(encoding="utf-8-sig")
    ElementTree.register_namespace("", _XML)
    root = ElementTree.fromstring(text)  # noqa: S314  our own file, its hash is tested
    types = {str(found.get("NodeId")): found for found in root.iter(f"{{{_XML}}}UADataType")}
    for found in types.values():
        definition = found.find(f"{{{_XML}}}Definition")
        base = types.get(_base(found))
        inherited = None if base is None else base.find(f"{{{_XML}}}Definition")
        if definition is not None and len(definition) == 0 and inherited is not None:
            definition.extend(copy.deepcopy(field) for field in inherited)
    return ElementTree.tostring(root, encoding="unicode")


def _base(data_type: ElementTree.Element) -> str:
    """Return the node id of what a data type inherits from; empty when it is not told."""
    for reference in data_type.iter(f"{{{_XML}}}Reference"):
        if reference.get("ReferenceType") in _SUBTYPE and reference.get("IsForward") == "false":
            return reference.text or ""
    return ""


async def load_nodeset(server: Any) -> int:
    """Load the model into a server that is not started; return the index of its namespace."""
    await server.import_xml(xmlstring=nodeset_text())
    return int(await server.get_namespace_index(MACHINE_VISION))
