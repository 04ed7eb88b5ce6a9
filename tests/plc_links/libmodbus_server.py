"""A Modbus TCP server of another author: libmodbus (Debian package libmodbus5) through ctypes.

`python libmodbus_server.py [PORT]` prints the port it listens on, then serves 400 holding registers
on 127.0.0.1 to one client after the other until it is killed.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import socket
import sys

REGISTERS = 400
MAX_ADU = 260


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    library = ctypes.util.find_library("modbus")
    if library is None:
        sys.exit("libmodbus is not installed; install the Debian package libmodbus5")
    modbus = ctypes.CDLL(library)
    modbus.modbus_new_tcp.restype = ctypes.c_void_p
    modbus.modbus_mapping_new.restype = ctypes.c_void_p
    context = ctypes.c_void_p(modbus.modbus_new_tcp(b"127.0.0.1", port))
    mapping = ctypes.c_void_p(modbus.modbus_mapping_new(0, 0, REGISTERS, 0))
    listener = modbus.modbus_tcp_listen(context, 5)
    if listener < 0:
        sys.exit(f"libmodbus cannot listen on port {port}")
    with socket.socket(fileno=socket.dup(listener)) as same:
        sys.stdout.write(f"{same.getsockname()[1]}\n")
    sys.stdout.flush()
    query = ctypes.create_string_buffer(MAX_ADU)
    handle = ctypes.c_int(listener)
    while modbus.modbus_tcp_accept(context, ctypes.byref(handle)) >= 0:
        while (length := modbus.modbus_receive(context, query)) >= 0:
            if length > 0:
                modbus.modbus_reply(context, query, length, mapping)
        modbus.modbus_close(context)


if __name__ == "__main__":
    main()
