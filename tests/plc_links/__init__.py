"""Every PLC driver with what the contract tests must know of it: one file a protocol, one line here.

A link names its driver, the servers it is tried against (the simulated PLC's and those of other
authors), how its requests look on the wire, and the answers that no honest PLC gives.
"""

from __future__ import annotations

from plc_links.ethernetip import ETHERNET_IP
from plc_links.link import Link
from plc_links.modbus import MODBUS
from plc_links.opcua import OPCUA
from plc_links.s7 import S7
from plc_links.slmp import SLMP_3E, SLMP_4E
from plc_links.xgt import XGT

LINKS: list[Link] = [MODBUS, S7, SLMP_4E, SLMP_3E, XGT, ETHERNET_IP, OPCUA]
