"""How each family of PLCs writes the address of a word and of a bit in it.

`Area` says where the blocks lie, in word numbers as in the station file; everything here is text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeGuard, get_args

from inspection.commission.map.words import WORDS, Word
from inspection.errors import ConfigError
from inspection.plc.words import BLOCK_WORDS

Family = Literal["melsec", "xgt", "s7", "modbus", "opcua", "ethernet_ip"]
FAMILIES: tuple[Family, ...] = get_args(Family)

_OF_DRIVER: dict[str, Family] = {
    "slmp": "melsec",
    "xgt": "xgt",
    "s7": "s7",
    "modbus": "modbus",
    "opcua": "opcua",
    "ethernet_ip": "ethernet_ip",
}
_DEFAULT: dict[Family, tuple[int, int]] = {
    "melsec": (100, 200),
    "xgt": (100, 200),
    "s7": (0, 100),
    "modbus": (0, 100),
    "opcua": (0, 100),
    "ethernet_ip": (0, 100),
}
_BY_NAME: tuple[Family, ...] = ("opcua", "ethernet_ip")
"""Their blocks are two arrays with names; word numbers are the driver's own."""
_WORDS: dict[Family, int] = {
    "melsec": 0x1000000,
    "xgt": 524288,
    "s7": 32768,
    "modbus": 65536,
    "opcua": 116,
    "ethernet_ip": 116,
}
"""Word numbers that a family can have; what a CPU has is often less."""
_DEVICES: dict[Family, tuple[str, ...]] = {"melsec": ("D", "W", "R", "ZR"), "xgt": ("M", "D")}
_SCOPE = re.compile(r"(Program:\w+)?")
_IEC_CPUS = {"xgi", "xgr", "xgb-iec"}


@dataclass(frozen=True, slots=True)
class Area:
    """Where the exchange lies in one PLC.

    Attributes:
        family: whose notation.
        ctrl: word number of the first word of CTRL.
        stat: of STAT.
        device: letters of the device area: D, W, R, ZR (MELSEC), M or D (XGT); else empty.
        db: number of the data block (S7); else not used.
        iec: an XGT CPU that is programmed by IEC addresses (XGI, XGR); else as XGK.
        names: of the arrays CTRL and STAT (OPC UA, EtherNet/IP); else not used.
        nodes: node ids of both arrays (OPC UA); empty: not known yet.
    """

    family: Family
    ctrl: int
    stat: int
    device: str
    db: int
    iec: bool
    names: tuple[str, str] = ("CTRL", "STAT")
    nodes: tuple[str, str] = ("", "")

    def number(self, word: Word) -> int:
        """Return the word number in the PLC."""
        return (self.ctrl if word.block == "CTRL" else self.stat) + word.offset

    def word(self, word: Word) -> str:
        """Return the address of a word as the maker's tool writes it."""
        n = self.number(word)
        match self.family:
            case "melsec":
                return f"{self.device}{_device_number(self.device, n)}"
            case "xgt" if self.iec:
                return f"%MW{n}"
            case "xgt":
                return f"M{n:04d}" if self.device == "M" else f"D{n:05d}"
            case "s7":
                return f"DB{self.db}.DBW{2 * n}"
            case "modbus":
                return str(40001 + n) if n < 9999 else str(400001 + n)
            case "opcua" | "ethernet_ip":
                return f"{self.names[word.block == 'STAT']}[{word.offset}]"

    def bit(self, word: Word, bit: int) -> str:
        """Return the address of one bit of a word; bit 0 is the lowest.

        A data block of an S7 has the upper byte first: bit 0 of DBW0 is DBX1.0.
        """
        match self.family:
            case "s7":
                byte = 2 * self.number(word) + (1 if bit < 8 else 0)
                return f"DB{self.db}.DBX{byte}.{bit % 8}"
            case "melsec":
                return f"{self.word(word)}.{bit:X}"
            case "xgt" if not self.iec:
                return f"{self.word(word)}{'' if self.device == 'M' else '.'}{bit:X}"
            case "modbus" | "xgt" | "opcua" | "ethernet_ip":
                return f"{self.word(word)}.{bit}"


def is_family(name: str) -> TypeGuard[Family]:
    """Tell whether a name is one of `FAMILIES`."""
    return name in FAMILIES


def open_area(
    family: Family,
    ctrl: int | None = None,
    stat: int | None = None,
    *,
    device: str = "",
    db: int = 1,
    iec: bool | None = None,
) -> Area:
    """Return the area with its defaults filled in.

    Args:
        family: whose notation.
        ctrl: first word of CTRL; None for the family's default.
        stat: of STAT.
        device: device area; empty for the family's first.
        db: number of the data block.
        iec: whether an XGT CPU has IEC addresses; None: it has where the area is M.

    Raises:
        ConfigError: the blocks overlap or do not fit, or there is no such device area.
    """
    if family in _BY_NAME and (ctrl, stat) != (None, None):
        raise ConfigError(f"{family} has arrays with names, no addresses: leave ctrl and stat out")
    first_ctrl, first_stat = _DEFAULT[family]
    ctrl = first_ctrl if ctrl is None else ctrl
    stat = first_stat if stat is None else stat
    most = _WORDS[family] - BLOCK_WORDS
    for name, first in (("CTRL", ctrl), ("STAT", stat)):
        if not 0 <= first <= most:
            raise ConfigError(f"{name} at word {first} is outside 0..{most}")
    if abs(ctrl - stat) < BLOCK_WORDS:
        raise ConfigError(
            f"CTRL at {ctrl} and STAT at {stat} overlap; each needs {BLOCK_WORDS} words"
        )
    if not 1 <= db <= 65535:
        raise ConfigError(f"data block {db} is outside 1..65535")
    known = _DEVICES.get(family, ("",))
    device = device.upper() or known[0]
    if device not in known:
        raise ConfigError(
            f"device area {device!r}: {family} has {', '.join(known) or 'none to choose'}"
        )
    return Area(family, ctrl, stat, device, db, device == "M" if iec is None else iec)


def area_of(plc: Any) -> Area:
    """Return the area of a station's PLC configuration.

    Raises:
        ConfigError: no map is made for this type.
    """
    family = _OF_DRIVER.get(plc.type)
    if family is None:
        raise ConfigError(
            f"no map is made for a PLC of type {plc.type!r}, only for {', '.join(_OF_DRIVER)}; "
            "the words are in docs/line-protocol.md"
        )
    if family in _BY_NAME:
        return _named(family, plc)
    device = {"melsec": "device", "xgt": "area"}.get(family, "")
    return open_area(
        family,
        plc.ctrl_address,
        plc.stat_address,
        device=str(getattr(plc, device, "")) if device else "",
        db=int(getattr(plc, "db", 1)),
        iec=str(getattr(plc, "cpu", "")) in _IEC_CPUS if family == "xgt" else None,
    )


def _named(family: Family, plc: Any) -> Area:
    """Return the area of two arrays. Raises ConfigError where our program does not fit them."""
    area = open_area(family)
    if family == "opcua":
        if plc.element != "UInt16":
            raise ConfigError("the map is for arrays of UINT or WORD: set element to UInt16")
        return replace(area, nodes=(plc.ctrl_node, plc.stat_node))
    if plc.element != "INT":
        raise ConfigError(
            "the map for ethernet_ip is for Logix, whose arrays are INT; for UINT (Omron) take the "
            "program of --for opcua: it is plain IEC 61131-3 over the same two arrays"
        )
    names = (plc.ctrl_tag, plc.stat_tag)
    scopes = {name.rpartition(".")[0] for name in names}
    if len(scopes) > 1 or not _SCOPE.fullmatch(scopes.pop()):
        raise ConfigError(
            f"{names[0]} and {names[1]}: name tags of the controller, or of one program as "
            "Program:NAME.TAG, not members of a structure"
        )
    return replace(area, names=names)


def addresses(area: Area) -> dict[str, str]:
    """Return label name to address, of every word and bit, words before their bits."""
    found: dict[str, str] = {}
    for word in WORDS:
        found[word.name] = area.word(word)
        for bit in word.bits:
            found[bit.name] = area.bit(word, bit.number)
    return found


def _device_number(device: str, number: int) -> str:
    return f"{number:X}" if device == "W" else str(number)
