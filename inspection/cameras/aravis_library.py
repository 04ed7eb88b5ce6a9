"""Debian's libaravis by ctypes: the functions that the driver needs, errors as ours, nothing more.

The library is looked for when a camera opens, never before. Pointers are plain integers; whoever gets
one from `call` of a function that gives a new object hands it to `unref`. A GError becomes
CameraLostError where the camera does not answer or another program controls it, else CameraError.
"""

from __future__ import annotations

import ctypes
import socket
import threading
import time
from ctypes import POINTER, byref, c_bool, c_char_p, c_double, c_int, c_size_t, c_uint, c_uint64
from functools import cache
from typing import Any, NamedTuple

from inspection.errors import CameraError, CameraLostError

LIBRARY = "libaravis-0.8.so.0"
_POINTER = ctypes.c_void_p
_WAKE = 0.5  # seconds that the stream's thread may take to see the empty packet
_GONE = {2, 3, 4, 5, 6, 10}  # not connected, protocol, transfer, timeout, not found, not controller

_PLAIN: dict[str, tuple[Any, list[Any]]] = {
    "arv_update_device_list": (None, []),
    "arv_get_n_devices": (c_uint, []),
    "arv_get_device_id": (c_char_p, [c_uint]),
    "arv_get_device_address": (c_char_p, [c_uint]),
    "arv_get_device_vendor": (c_char_p, [c_uint]),
    "arv_get_device_model": (c_char_p, [c_uint]),
    "arv_get_device_serial_nbr": (c_char_p, [c_uint]),
    "arv_get_device_protocol": (c_char_p, [c_uint]),
    "arv_device_error_quark": (c_uint, []),
    "arv_device_get_feature": (_POINTER, [_POINTER, c_char_p]),
    "arv_device_set_range_check_policy": (None, [_POINTER, c_int]),
    "arv_camera_get_device": (_POINTER, [_POINTER]),
    "arv_camera_is_gv_device": (c_int, [_POINTER]),
    "arv_camera_gv_set_packet_size_adjustment": (None, [_POINTER, c_int]),
    "arv_camera_gv_set_stream_options": (None, [_POINTER, c_int]),
    "arv_gv_device_is_controller": (c_int, [_POINTER]),
    "arv_stream_get_info_uint64_by_name": (c_uint64, [_POINTER, c_char_p]),
    "arv_gv_stream_get_port": (ctypes.c_uint16, [_POINTER]),
    "arv_stream_push_buffer": (None, [_POINTER, _POINTER]),
    "arv_stream_timeout_pop_buffer": (_POINTER, [_POINTER, c_uint64]),
    "arv_buffer_new_allocate": (_POINTER, [c_size_t]),
    "arv_buffer_get_status": (c_int, [_POINTER]),
    "arv_buffer_get_frame_id": (c_uint64, [_POINTER]),
    "arv_buffer_get_timestamp": (c_uint64, [_POINTER]),
    "arv_buffer_get_system_timestamp": (c_uint64, [_POINTER]),
    "arv_buffer_get_image_width": (c_int, [_POINTER]),
    "arv_buffer_get_image_height": (c_int, [_POINTER]),
    "arv_buffer_get_image_pixel_format": (c_uint, [_POINTER]),
    "arv_buffer_get_image_padding": (None, [_POINTER, POINTER(c_int), POINTER(c_int)]),
    "arv_buffer_get_image_data": (_POINTER, [_POINTER, POINTER(c_size_t)]),
}
_FAILING: dict[str, tuple[Any, list[Any]]] = {
    "arv_camera_new": (_POINTER, [c_char_p]),
    "arv_camera_new_with_device": (_POINTER, [_POINTER]),
    "arv_gv_device_new": (_POINTER, [_POINTER, _POINTER]),
    "arv_camera_get_vendor_name": (c_char_p, [_POINTER]),
    "arv_camera_get_model_name": (c_char_p, [_POINTER]),
    "arv_camera_get_device_serial_number": (c_char_p, [_POINTER]),
    "arv_camera_get_payload": (c_uint, [_POINTER]),
    "arv_camera_gv_set_packet_size": (None, [_POINTER, c_int]),
    "arv_camera_gv_get_packet_size": (c_uint, [_POINTER]),
    "arv_camera_create_stream": (_POINTER, [_POINTER, _POINTER, _POINTER]),
    "arv_camera_start_acquisition": (None, [_POINTER]),
    "arv_camera_stop_acquisition": (None, [_POINTER]),
    "arv_device_is_feature_available": (c_bool, [_POINTER, c_char_p]),
    "arv_device_execute_command": (None, [_POINTER, c_char_p]),
    "arv_device_get_integer_feature_value": (ctypes.c_int64, [_POINTER, c_char_p]),
    "arv_device_get_float_feature_value": (c_double, [_POINTER, c_char_p]),
    "arv_device_read_register": (c_bool, [_POINTER, ctypes.c_uint64, POINTER(ctypes.c_uint32)]),
    "arv_gc_feature_node_get_value_as_string": (c_char_p, [_POINTER]),
    "arv_gc_feature_node_set_value_from_string": (None, [_POINTER, c_char_p]),
}


class _GError(ctypes.Structure):
    _fields_ = (("domain", ctypes.c_uint32), ("code", c_int), ("message", c_char_p))


class Listed(NamedTuple):
    """One camera that the library found.

    Attributes:
        id: what the library calls it.
        address: IP address; the USB place for USB3.
        maker: name of the maker.
        model: name of the model.
        serial: serial number.
        protocol: GigEVision or USB3Vision.
    """

    id: str
    address: str
    maker: str
    model: str
    serial: str
    protocol: str


class Aravis:
    """The loaded library. One object for the process: `aravis()`."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(LIBRARY)
            self._glib = ctypes.CDLL("libglib-2.0.so.0")
            self._gobject = ctypes.CDLL("libgobject-2.0.so.0")
            self._gio = ctypes.CDLL("libgio-2.0.so.0")
        except OSError as error:
            raise CameraLostError(
                f"{LIBRARY} cannot be loaded ({error}); install it: apt-get install libaravis-0.8-0"
            ) from error
        for name, (result, arguments) in _PLAIN.items():
            self._declare(name, result, arguments)
        for name, (result, arguments) in _FAILING.items():
            self._declare(name, result, [*arguments, POINTER(POINTER(_GError))])
        self._glib.g_error_free.argtypes = [_POINTER]
        self._gobject.g_object_unref.argtypes = [_POINTER]
        self._gobject.g_object_set.argtypes = [_POINTER, c_char_p, c_int, _POINTER]
        self._gobject.g_object_set.restype = None
        self._gio.g_inet_address_new_from_string.restype = _POINTER
        self._gio.g_inet_address_new_from_string.argtypes = [c_char_p]
        self._quark = int(self.call("arv_device_error_quark"))

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function of the library; text goes in and comes out as str.

        Raises:
            CameraLostError: the camera does not answer, or another program controls it.
            CameraError: the library refused.
        """
        values = [a.encode() if isinstance(a, str) else a for a in arguments]
        function = getattr(self._library, name)
        if name in _PLAIN:
            return _text(function(*values))
        error = POINTER(_GError)()
        result = function(*values, byref(error))
        if error:
            raise self._ours(name, error)
        return _text(result)

    def unref(self, pointer: int | None) -> None:
        """Give an object back."""
        if pointer:
            self._gobject.g_object_unref(pointer)

    def set_socket_buffer(self, stream: int, size: int, own_address: str) -> None:
        """Let so many bytes wait in the kernel for the stream; net.core.rmem_max is the most.

        The stream's thread does it when something arrives, which is too late for a first picture: an
        empty packet is sent to it, and this returns when it was seen. No buffer may be queued yet.
        """
        self._gobject.g_object_set(stream, b"socket-buffer-size", size, None)
        port = self.call("arv_gv_stream_get_port", stream)
        end, pause = time.monotonic() + _WAKE, threading.Event()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.sendto(b"", (own_address, port))
        while time.monotonic() < end:
            if self.call("arv_stream_get_info_uint64_by_name", stream, "n_ignored_packets"):
                return
            pause.wait(0.002)

    def devices(self) -> list[Listed]:
        """Ask every interface who is there; takes about a second."""
        self.call("arv_update_device_list")
        names = ("id", "address", "vendor", "model", "serial_nbr", "protocol")
        return [
            Listed(*(self.call(f"arv_get_device_{name}", number) or "" for name in names))
            for number in range(self.call("arv_get_n_devices"))
        ]

    def open_gige(self, interface: str, address: str) -> int:
        """Open the GigE Vision camera at an address, without asking the network who is there."""
        ours = self._gio.g_inet_address_new_from_string(interface.encode())
        theirs = self._gio.g_inet_address_new_from_string(address.encode())
        device = None
        try:
            device = self.call("arv_gv_device_new", ours, theirs)
            return int(self.call("arv_camera_new_with_device", device))
        finally:
            for pointer in (device, ours, theirs):
                self.unref(pointer)

    def pixels(self, buffer: int) -> bytes:
        """Return a copy of a buffer's picture."""
        size = c_size_t()
        data = self.call("arv_buffer_get_image_data", buffer, byref(size))
        return ctypes.string_at(data, size.value) if data else b""

    def padding(self, buffer: int) -> int:
        """Return how many bytes at the end of each line of a buffer's picture are no pixels."""
        x, y = c_int(), c_int()
        self.call("arv_buffer_get_image_padding", buffer, byref(x), byref(y))
        return x.value

    def register(self, device: int, address: int) -> int:
        """Read one register of the camera."""
        value = ctypes.c_uint32()
        self.call("arv_device_read_register", device, address, byref(value))
        return value.value

    def _declare(self, name: str, result: Any, arguments: list[Any]) -> None:
        function = getattr(self._library, name)
        function.restype, function.argtypes = result, arguments

    def _ours(self, name: str, error: Any) -> CameraError:
        content = error.contents
        message = (content.message or b"no message").decode(errors="replace")
        gone = content.domain == self._quark and content.code in _GONE
        self._glib.g_error_free(error)
        return (CameraLostError if gone else CameraError)(f"{message} ({name})")


def _text(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


@cache
def aravis() -> Aravis:
    """Return the library. Raises CameraLostError when it is not installed."""
    return Aravis()
