"""One question to a GigE Vision camera, beside whoever controls it: is it there, and is it taken?

Reading a register needs no control of the camera, so this disturbs nobody. The frame is that of GVCP:
key 0x42, flag 1 (answer wanted), command READREG, length, request number, address of the register.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import Literal

PORT = 3956
CONTROL_PRIVILEGE = 0x0A00
_READ, _READ_ANSWER = 0x0080, 0x0081
_REQUEST = 0x5A17


def control_of(address: str, timeout: float = 0.3) -> Literal["free", "taken", "silent"]:
    """Tell whether a program controls the camera at an IP address; silent: it does not answer."""
    question = struct.pack(">BBHHHI", 0x42, 1, _READ, 4, _REQUEST, CONTROL_PRIVILEGE)
    end = time.monotonic() + timeout
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        try:
            link.connect((address, PORT))
            link.send(question)
            while (left := end - time.monotonic()) > 0:
                link.settimeout(left)
                answer = link.recv(64)
                if len(answer) < 8:
                    continue
                status, command, _, request = struct.unpack(">HHHH", answer[:8])
                if (command, request) != (_READ_ANSWER, _REQUEST):
                    continue
                if status or len(answer) < 12:
                    return "taken"  # it answers, but only to its owner
                return "taken" if struct.unpack(">I", answer[8:12])[0] else "free"
        except OSError:
            return "silent"
    return "silent"


def own_address(towards: str) -> str:
    """Return the address of the network port of this PC that leads to a camera."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.connect((towards, PORT))
        return str(link.getsockname()[0])
