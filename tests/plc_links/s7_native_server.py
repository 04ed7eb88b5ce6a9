"""An S7 server of another author: libsnap7 through ctypes.

`python s7_native_server.py [PORT]` prints the port it listens on, then serves DB1 with 400 words on
127.0.0.1 until it is killed. The library is in the wheel of python-snap7 2 (the driver's version 3 has
none); `make setup` puts it beside the virtual environment's packages.
"""

from __future__ import annotations

import ctypes
import signal
import socket
import sys
from pathlib import Path

WORDS = 400
DB_AREA = 5
LOCAL_PORT = 1
LIBRARY = Path(sys.prefix) / "peers" / "snap7" / "snap7" / "lib" / "libsnap7.so"


def load() -> ctypes.CDLL:
    if not LIBRARY.is_file():
        sys.exit("libsnap7 is not installed; run make setup")
    return ctypes.CDLL(str(LIBRARY))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    port = port or free_port()
    snap7 = load()
    snap7.Srv_Create.restype = ctypes.c_void_p
    server = ctypes.c_void_p(snap7.Srv_Create())
    block = (ctypes.c_uint8 * (2 * WORDS))()
    number = ctypes.c_uint16(port)
    steps = [
        snap7.Srv_RegisterArea(server, DB_AREA, 1, block, ctypes.sizeof(block)),
        snap7.Srv_SetParam(server, LOCAL_PORT, ctypes.byref(number)),
        snap7.Srv_StartTo(server, b"127.0.0.1"),
    ]
    if any(steps):
        sys.exit(f"libsnap7 cannot listen on port {port}: {steps}")
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main()
