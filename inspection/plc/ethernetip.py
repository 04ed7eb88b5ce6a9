"""EtherNet/IP: the words of the exchange as two array tags of the PLC (Rockwell, Omron).

CTRL is INT[16] or UINT[16] and STAT is another. Tags have names, not numbers; so that the exchange can
speak of words, CTRL is words 0..15 here and STAT is words 100..115, whatever the PLC's memory is like:

    read_words(0, 16)        ─▶ read of CTRL[0], 16 elements  ─▶ answer checked ─▶ unsigned words
    write_words(103, 13 w.)  ─▶ write of STAT[3], 13 elements ─▶ confirmed
                                   └─▶ timeout, short answer, refusal, other request's answer
                                            └─▶ socket closed ─▶ PlcError
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from inspection.errors import PlcError
from inspection.plc.asking import Asker, short
from inspection.plc.words import BLOCK_WORDS

if TYPE_CHECKING:
    from pylogix import PLC

    from inspection.plc.ethernetip_session import Session

CTRL_ADDRESS = 0
STAT_ADDRESS = 100
"""Where the blocks lie in this driver's own numbering."""

_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_TAG = f"^{_NAME}([:.]{_NAME})*$"
_TYPES = {"INT": 0xC3, "UINT": 0xC7}


class EtherNetIpConfig(BaseModel):
    """Which tags of a PLC are the exchange."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ctrl_address: ClassVar[int] = CTRL_ADDRESS
    stat_address: ClassVar[int] = STAT_ADDRESS

    type: Literal["ethernet_ip"] = Field("ethernet_ip", description="Selects this driver.")
    host: str = Field(
        min_length=1,
        description="IP address of the PLC or its network module; a name costs a look-up at each "
        "connect.",
    )
    port: int = Field(44818, ge=1, le=65535, description="TCP port of the PLC.")
    slot: int | None = Field(
        0,
        ge=0,
        le=31,
        description="Slot of the controller in its rack; null where there is no rack (Micro800, Omron).",
    )
    ctrl_tag: str = Field(
        "CTRL",
        max_length=100,
        pattern=_TAG,
        description="Tag that the PLC writes, an array of 16 elements.",
    )
    stat_tag: str = Field(
        "STAT",
        max_length=100,
        pattern=_TAG,
        description="Tag that the station writes, an array of 16 elements.",
    )
    element: Literal["INT", "UINT"] = Field(
        "INT", description="Type of the elements; the words are the same 16 bits in both."
    )
    timeout: float = Field(
        0.3, ge=0.01, le=10.0, description="Longest wait for a connection or an answer, in seconds."
    )

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.ctrl_tag.lower() == self.stat_tag.lower():
            raise ValueError(f"CTRL and STAT are both {self.ctrl_tag}; each needs a tag of its own")
        return self

    def open(self) -> EtherNetIpPlc:
        """Return the driver, not yet connected."""
        return EtherNetIpPlc(self)


class EtherNetIpPlc:
    """A PLC with tags; see `inspection.protocols.Plc`. One thread at a time."""

    def __init__(self, config: EtherNetIpConfig) -> None:
        self._config = config
        self._where = f"PLC {config.host}:{config.port}"
        self._type = _TYPES[config.element]
        self._asker = Asker(self._where, (config.host, config.port), config.timeout)
        self._plc: PLC | None = None
        self._session: Session | None = None

    def connect(self) -> None:
        """Open a fresh socket, session and CIP connection; open ones are closed first. Raises PlcError."""
        from pylogix import PLC

        from inspection.plc.ethernetip_session import Session, forget_sockets

        self.close()
        config = self._config
        plc = PLC(
            config.host, slot=config.slot or 0, Micro800=config.slot is None, port=config.port
        )
        forget_sockets(plc.conn)
        session = Session(plc, self._asker, self._type, self._refused)
        plc.conn = session
        session.open("that nothing blocks its port")
        self._plc, self._session = plc, session

    def read_words(self, address: int, count: int) -> list[int]:
        """Read elements of a tag with one request.

        Args:
            address: first word: 0..15 in CTRL, 100..115 in STAT.
            count: words, all of one tag.

        Returns:
            `count` unsigned 16-bit words.

        Raises:
            PlcError: no whole and right answer in time; the socket is closed.
            ValueError: the words are outside the tags; nothing was sent.
        """
        tag = self._tag(address, count)
        what = f"read of {count} elements at {tag}"
        found = self._ask(what, lambda plc: plc.Read(tag, count, self._type))
        values: list[int] = found if isinstance(found, list) else [found]  # one is told bare
        return [value & 0xFFFF for value in values]

    def write_words(self, address: int, words: list[int]) -> None:
        """Write elements of a tag with one request.

        Args:
            address: first word: 0..15 in CTRL, 100..115 in STAT.
            words: unsigned 16-bit words, all of one tag.

        Raises:
            PlcError: the PLC did not confirm this write in time; the socket is closed, and nobody
                knows whether the words were written.
            ValueError: the words are outside the tags, or not 16 bits; nothing was sent.
        """
        tag = self._tag(address, len(words))
        if not all(0 <= word <= 0xFFFF for word in words):
            raise ValueError(f"words to write must be 0..65535, got {words}")
        values = _signed(words) if self._config.element == "INT" else words
        what = f"write of {len(words)} elements at {tag}"
        self._ask(what, lambda plc: plc.Write(tag, values, self._type))

    def close(self) -> None:
        """End the CIP connection, where it is whole, and close the socket."""
        session, self._plc, self._session = self._session, None, None
        if session is not None:
            session.close()

    def _tag(self, address: int, count: int) -> str:
        """Return the first element's name."""
        for first, tag in (
            (CTRL_ADDRESS, self._config.ctrl_tag),
            (STAT_ADDRESS, self._config.stat_tag),
        ):
            if count >= 1 and first <= address <= first + BLOCK_WORDS - count:
                return f"{tag}[{address - first}]"
        raise ValueError(
            f"{count} words at {address} are outside the tags: CTRL is 0..15, STAT is 100..115"
        )

    def _ask(self, what: str, request: Callable[[PLC], Any]) -> Any:
        if self._plc is None or self._session is None:
            raise PlcError(f"{self._where}: {what} without a connection; call connect first")
        self._session.what = what
        try:
            return request(self._plc).Value
        except PlcError:
            raise
        except Exception as error:  # the library cannot decode what the session let through
            self._asker.close()
            raise PlcError(f"{self._where}: {what} failed ({short(error)})") from error

    def _refused(self, what: str, status: str) -> PlcError:
        config = self._config
        return PlcError(
            f"{self._where}: {what} was refused with {status}; check that {config.ctrl_tag} and "
            f"{config.stat_tag} are there as {config.element}[16], that external access to them is "
            "Read/Write, and the slot; the socket was closed"
        )


def _signed(words: list[int]) -> list[int]:
    return [word - 0x10000 if word > 0x7FFF else word for word in words]
