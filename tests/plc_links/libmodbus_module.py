"""A remote I/O module by another author: libmodbus (Debian package libmodbus5) in a thread of the test.

with Module() as module:
    module.set(trigger=True)            levels of its inputs, at once
    module.history                      (monotonic time, levels) of each change of its outputs
    module.functions                    function codes that it was asked for
    module.cut() / module.reboot()      the cable; the power: all outputs 0
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import itertools
import socket
import threading
import time
from typing import Any, Self

import pytest

LINES = 16
INPUTS = {"trigger": 0, "enable": 1, "reset": 2}
OUTPUTS = {"passed": 4, "reject": 5, "ready": 6, "busy": 7, "error": 8}


class _Mapping(ctypes.Structure):
    _fields_ = [
        *((f"number{at}", ctypes.c_int) for at in range(8)),
        ("coils", ctypes.POINTER(ctypes.c_uint8)),
        ("inputs", ctypes.POINTER(ctypes.c_uint8)),
    ]


class Module:
    """Its lines; `set` and the reading of outputs may be done in any thread."""

    def __init__(self, watchdog: float | None = None) -> None:
        name = ctypes.util.find_library("modbus")
        if name is None:
            pytest.skip("libmodbus is not installed; install the Debian package libmodbus5")
        self._library = ctypes.CDLL(name)
        self._library.modbus_new_tcp.restype = ctypes.c_void_p
        self._library.modbus_mapping_new.restype = ctypes.POINTER(_Mapping)
        self._mapping = self._library.modbus_mapping_new(LINES, LINES, 0, 0)
        self._watchdog = watchdog
        self.history: list[tuple[float, frozenset[str]]] = [(time.monotonic(), frozenset())]
        self.functions: list[int] = []
        self.port = 0
        self._start()

    def _start(self) -> None:
        context = ctypes.c_void_p(self._library.modbus_new_tcp(b"127.0.0.1", self.port))
        listener = self._library.modbus_tcp_listen(context, 5)
        assert listener >= 0, f"libmodbus cannot listen on port {self.port}"
        self._listener = socket.socket(fileno=listener)
        self.port = int(self._listener.getsockname()[1])
        self._context: Any = context
        self._leave = False
        self._thread = threading.Thread(target=self._serve, name="module", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        modbus, context = self._library, self._context
        query = ctypes.create_string_buffer(260)
        handle = ctypes.c_int(self._listener.fileno())
        if self._watchdog is not None:
            whole, part = divmod(self._watchdog, 1)
            modbus.modbus_set_indication_timeout(context, int(whole), int(part * 1e6))
        while modbus.modbus_tcp_accept(context, ctypes.byref(handle)) >= 0 and not self._leave:
            while (length := modbus.modbus_receive(context, query)) >= 0:
                if length > 0:
                    self.functions.append(query.raw[7])
                    modbus.modbus_reply(context, query, length, self._mapping)
                    self._note()
            if self._watchdog is not None:  # a timeout, or the connection has gone
                self._drop()
            modbus.modbus_close(context)

    def _note(self) -> None:
        coils = self._mapping.contents.coils
        on = frozenset(name for name, line in OUTPUTS.items() if coils[line])
        if on != self.history[-1][1]:
            self.history.append((time.monotonic(), on))

    def _drop(self) -> None:
        for line in range(LINES):
            self._mapping.contents.coils[line] = 0
        self._note()

    def set(self, **levels: bool) -> None:
        for name, level in levels.items():
            self._mapping.contents.inputs[INPUTS[name]] = int(level)

    @property
    def on(self) -> frozenset[str]:
        """Names of the outputs that are on."""
        return self.history[-1][1]

    def pulses(self, name: str) -> int:
        """How often an output went from off to on."""
        levels = [name in on for _, on in self.history]
        return sum(now and not before for before, now in itertools.pairwise(levels))

    def cut(self) -> None:
        """End the connection, as a pulled cable does; outputs stay as they are."""
        with contextlib.suppress(OSError):
            handle = socket.socket(
                fileno=socket.dup(self._library.modbus_get_socket(self._context))
            )
            with handle:
                handle.shutdown(socket.SHUT_RDWR)

    def reboot(self) -> None:
        """Lose power and come back on the same port: all outputs 0."""
        self.stop()
        self._drop()
        self._start()

    def stop(self) -> None:
        self._leave = True
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()
        self._library.modbus_free(self._context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
