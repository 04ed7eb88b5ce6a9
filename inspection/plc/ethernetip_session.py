"""An EtherNet/IP session whose answers are checked: pylogix builds the messages, the socket is ours.

pylogix' own connection swallows errors, takes any answer for the answer, and spins when the PLC closes
in the middle of one. This session stands in its place and asks through `asking.Asker`:

    PLC.Read / PLC.Write (pylogix) ─▶ send ─▶ Asker ─▶ header, session, connection, sequence, service,
                                                        status checked ─▶ pylogix decodes the words
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NoReturn

from pylogix.lgx_comm import Connection
from pylogix.lgx_response import Response

from inspection.errors import PlcError
from inspection.plc.asking import Asker

CONNECTION_SIZE = 504
"""Bytes of one message: the standard Forward Open, which every controller takes."""

_HEAD = 24
_LONGEST = 1024
_REGISTER, _UNCONNECTED, _CONNECTED = 0x65, 0x6F, 0x70
_OPEN, _READ, _REPLY = 0x54, 0x4C, 0x80
_UNCONNECTED_ITEMS = struct.pack("<HHH", 2, 0, 0)
_CONNECTED_ITEMS = struct.pack("<HHH", 2, 0xA1, 4)


class Session(Connection):
    """Registered session and CIP connection of one pylogix `PLC`; every fault closes the socket.

    Attributes:
        what: names the next request in messages.
    """

    def __init__(
        self, parent: Any, asker: Asker, element: int, refused: Callable[[str, str], PlcError]
    ) -> None:
        """Nothing is opened before `open`.

        Args:
            parent: the pylogix `PLC` that this session is for.
            asker: asks over the socket.
            element: CIP type of the elements, of two bytes, that answers must have.
            refused: takes a request's name and a status in words, returns the error to raise.
        """
        super().__init__(parent)
        forget_sockets(self)
        self.ConnectionSize = CONNECTION_SIZE
        self.what = ""
        self._asker = asker
        self._element = element
        self._refused = refused
        self._ours: list[bytes] = []
        self._is_open = False

    def open(self, advice: str) -> None:
        """Open a fresh socket, register a session, and open a CIP connection. Raises PlcError."""
        self._asker.connect(advice)
        self._ask("registration of a session", self._build_register_session(), self._take_session)
        request = self._build_forward_open_packet()
        self._ask("opening of a connection", request, self._take_connection)

    def connect(self, connected: bool = True) -> list[Any]:  # noqa: ARG002  pylogix asks before each request
        """Tell pylogix that there is a connection; without one `send` raises."""
        return [True, "Success"]

    def send(self, request: bytes, connected: bool = True, slot: Any = None) -> tuple[int, bytes]:  # noqa: ARG002
        """Send a CIP request; returns status 0 and the whole answer. Raises PlcError."""
        frame: bytes = self._build_eip_header(request)
        return 0, self._ask(self.what, frame, self._take_answer)

    def close(self) -> None:
        """Tell the PLC that the connection ends, where it is whole, and close the socket."""
        was_open, self._is_open = self._is_open, False
        try:
            if was_open:
                self._ask("end", self._build_forward_close_packet(), self._checked_head)
        except PlcError:
            return  # the socket is closed: that is all that was wanted
        finally:
            self._asker.close()

    def _ask(self, what: str, frame: bytes, decode: Callable[[str, bytes, bytes], bytes]) -> bytes:
        return self._asker.ask(what, frame, _HEAD, _rest, lambda reply: decode(what, frame, reply))

    def _checked_head(self, _what: str, frame: bytes, reply: bytes) -> bytes:
        """Return an answer whose header fits its request."""
        command, _, session, status = struct.unpack_from("<HHII", reply)
        if command != struct.unpack_from("<H", frame)[0] or status:
            raise ValueError(f"it was command 0x{command:02X} with status {status}")
        if session != self._session_handle and command != _REGISTER:
            raise ValueError("it was for another session")
        if command != _CONNECTED and reply[12:20] != frame[12:20]:
            raise ValueError("it was for another request")
        return reply

    def _take_session(self, what: str, frame: bytes, reply: bytes) -> bytes:
        self._checked_head(what, frame, reply)
        handle = struct.unpack_from("<I", reply, 4)[0]
        if not handle or len(reply) != len(frame):
            raise ValueError("no session was given")
        self._session_handle = handle
        return reply

    def _take_connection(self, what: str, frame: bytes, reply: bytes) -> bytes:
        self._checked_head(what, frame, reply)
        cip = _item(reply, [_UNCONNECTED_ITEMS], 0xB2)
        if cip[0] != _OPEN | _REPLY:
            raise ValueError(f"it was of service 0x{cip[0]:02X}")
        if cip[2]:
            self._raise_refused(what, cip)
        to_plc, serial = struct.unpack_from("<I4xH", cip, 4)
        if serial != self._serial_number:
            raise ValueError("it was for another connection")
        self._ot_connection_id = to_plc
        # The answers carry the id of their own direction; cpppo's carry the other.
        self._ours = [_CONNECTED_ITEMS + cip[8:12], _CONNECTED_ITEMS + cip[4:8]]
        self._is_open = True
        return reply

    def _take_answer(self, what: str, frame: bytes, reply: bytes) -> bytes:
        """Return the answer to a read or a write of a tag, of status 0."""
        self._checked_head(what, frame, reply)
        data = _item(reply, self._ours, 0xB1)
        if data[:2] != frame[44:46]:
            raise ValueError("it was the answer to another request")
        cip = data[2:]
        if cip[0] != frame[46] | _REPLY:
            raise ValueError(f"it was of service 0x{cip[0]:02X}")
        if cip[2]:
            self._raise_refused(what, cip)
        if frame[46] == _READ:
            count = struct.unpack("<H", frame[-2:])[0]
            found = struct.unpack_from("<H", cip, 4)[0]
            if found != self._element:
                raise ValueError(
                    f"the elements are {self._type(found)}, not {self._type(self._element)}"
                )
            if len(cip) != 6 + 2 * count:
                raise ValueError(f"it carries {len(cip)} bytes for {count} elements")
        elif len(cip) != 4:
            raise ValueError(f"a confirmation carries {len(cip)} bytes")
        return reply

    def _type(self, code: int) -> str:
        known: dict[int, tuple[int, str, str]] = self.parent.CIPTypes
        return known[code][1] if code in known else f"0x{code:02X}"

    def _raise_refused(self, what: str, cip: bytes) -> NoReturn:
        extended = struct.unpack_from(f"<{cip[3]}H", cip, 4)
        codes = " ".join([f"0x{cip[2]:02X}", *(f"0x{word:04X}" for word in extended)])
        raise self._refused(what, f"status {codes}, {Response.get_error_code(cip[2])}")


def forget_sockets(connection: Connection) -> None:
    """Close the sockets that pylogix makes and that are never used here."""
    connection.Socket.close()
    connection.msg_socket.close()


def _rest(head: bytes) -> int:
    length = struct.unpack_from("<H", head, 2)[0]
    if length > _LONGEST:
        raise ValueError(f"an answer of {length} bytes")
    return length


def _item(reply: bytes, before: list[bytes], kind: int) -> bytes:
    """Return what the second item of an answer carries: at least a service and a status.

    Args:
        reply: the whole answer.
        before: what may stand before that item: the number of items and the first one.
        kind: of the second item.
    """
    at = _HEAD + 6 + len(before[0])
    if reply[_HEAD + 6 : at] not in before:
        raise ValueError("it has other items, or is for another connection")
    found, length = struct.unpack_from("<HH", reply, at)
    least = 6 if kind == 0xB1 else 4
    if found != kind or length != len(reply) - at - 4 or length < least:
        raise ValueError(f"it carries {length} bytes of kind 0x{found:02X}")
    return reply[at + 4 :]
