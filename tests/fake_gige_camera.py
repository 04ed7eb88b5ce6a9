"""Aravis' own simulated GigE Vision camera as a process on loopback: real GVCP and GVSP packets.

with FakeGigeCamera() as device:        127.0.0.1, port 3956; one at a time on a PC (a lock waits)
    device.pulse(17)                    an edge on Line0: one frame that shows the number 17
    device.loss(0.005)                  share of packets that are lost
    device.kill(); device.start()       the camera's power

A software trigger shows the count of frames since the start. The number is in the first four pixels.
"""

from __future__ import annotations

import ctypes
import fcntl
import sys
import tempfile
import threading
import time
from ctypes import c_double, c_size_t, c_uint32, c_void_p
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import numpy as np

ADDRESS = "127.0.0.1"
_LOCK = Path(tempfile.gettempdir()) / "inspection-tests-gige-3956.lock"
_MODE, _SOURCE, _FIRE = 0x300, 0x304, 0x30C
_WIDTH, _HEIGHT, _FORMAT = 0x100, 0x104, 0x128
_RGB8 = 0x02180014
_DOUBLE = 15 << 2  # G_TYPE_DOUBLE


def installed() -> bool:
    try:
        ctypes.CDLL("libaravis-0.8.so.0")
    except OSError:
        return False
    return True


class FakeGigeCamera:
    """The camera's process, seen from a test."""

    def __init__(self, serial: str = "GV01", rate: float = 200.0) -> None:
        self._serial, self._rate = serial, rate
        self._process: Popen[str] | None = None
        self._told = 0

    def __enter__(self) -> FakeGigeCamera:
        self._lock = _LOCK.open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._lock.close()

    def start(self) -> None:
        arguments = [sys.executable, __file__, self._serial, str(self._rate)]
        self._process = Popen(arguments, stdin=PIPE, stdout=PIPE, text=True, bufsize=1)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", "the simulated camera did not start"

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def pulse(self, number: int) -> None:
        """Give an edge on Line0; returns when the frame was sent."""
        self.tell(f"pulse {number}")

    def loss(self, share: float) -> None:
        self.tell(f"loss {share}")

    def mute(self) -> None:
        """Answer, but send no triggered frame any more."""
        self.tell("mute")

    def register(self, address: int) -> int:
        return int(self.tell(f"read {address}"))

    def write(self, address: int, value: int) -> None:
        self.tell(f"write {address} {value}")

    def skip(self) -> None:
        """Expose one frame of which no packet arrives."""
        self.tell("skip")

    def tell(self, line: str) -> str:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line + "\n")
        return process.stdout.readline().strip()


class _GValue(ctypes.Structure):
    _fields_ = (("type", c_size_t), ("number", c_double), ("rest", c_double))


class _Host:
    """Inside the camera's process."""

    def __init__(self, serial: str, rate: float) -> None:
        self.aravis = _library()
        self.gobject = ctypes.CDLL("libgobject-2.0.so.0")
        self.number: int | None = None
        self.frames = 0
        self.rate = rate
        self.device = self.aravis.arv_gv_fake_camera_new(ADDRESS.encode(), serial.encode())
        assert self.aravis.arv_gv_fake_camera_is_running(self.device), "port 3956 is taken"
        self.camera = self.aravis.arv_gv_fake_camera_get_fake_camera(self.device)
        self.aravis.arv_fake_camera_set_trigger_frequency(self.camera, rate)
        self._fill = _FILL(self.fill)
        self.aravis.arv_fake_camera_set_fill_pattern(self.camera, self._fill, None)

    def fill(self, buffer: int, _data: Any, _exposure: int, _gain: int, _format: int) -> None:
        self.frames += 1
        number = self.frames if self.number is None else self.number
        width, height = self.read(_WIDTH), self.read(_HEIGHT)
        channels = 3 if self.read(_FORMAT) == _RGB8 else 1
        data = self.aravis.arv_buffer_get_data(buffer, ctypes.byref(c_size_t()))
        picture = paint(width, height, channels, number).tobytes()
        ctypes.memmove(data, picture, len(picture))

    def read(self, address: int) -> int:
        value = c_uint32()
        self.aravis.arv_fake_camera_read_register(self.camera, address, ctypes.byref(value))
        return value.value

    def write(self, address: int, value: int) -> None:
        self.aravis.arv_fake_camera_write_register(self.camera, address, value)

    def pulse(self, number: int | None) -> None:
        """The simulated camera knows software triggers only: switch for the time of one frame."""
        if self.read(_MODE) != 1 or self.read(_SOURCE) != 0:
            return
        self.number, before = number, self.frames
        self.write(_FIRE, 1)
        self.write(_SOURCE, 1)
        end = time.monotonic() + 2
        while self.frames == before and time.monotonic() < end:
            threading.Event().wait(0.0005)
        self.write(_SOURCE, 0)
        threading.Event().wait(0.5 / self.rate)
        self.number = None

    def loss(self, share: float) -> None:
        value = _GValue(0, 0, 0)
        self.gobject.g_value_init.argtypes = [c_void_p, c_size_t]
        self.gobject.g_object_set_property.argtypes = [c_void_p, ctypes.c_char_p, c_void_p]
        self.gobject.g_value_init(ctypes.byref(value), _DOUBLE)
        value.number = share
        self.gobject.g_object_set_property(self.device, b"gvsp-lost-ratio", ctypes.byref(value))

    def obey(self, line: str) -> Any:
        verb, *words = line.split()
        if verb == "pulse":
            return self.pulse(int(words[0]))
        if verb == "skip":
            self.loss(1.0)
            self.pulse(0)
            return self.loss(0.0)
        if verb == "loss":
            return self.loss(float(words[0]))
        if verb == "mute":
            return self.write(_SOURCE, 9)
        if verb == "write":
            return self.write(int(words[0]), int(words[1]))
        return self.read(int(words[0]))


def paint(width: int, height: int, channels: int, number: int) -> np.ndarray:
    """A picture that passes for a part: a ramp, with the number in its first four pixels."""
    ramp = np.add.outer(np.arange(height), np.arange(width) + number) % 200 + 20
    image = np.repeat(ramp.astype(np.uint8)[:, :, None], channels, axis=2)
    if channels == 3:
        image[:, :, 1:] = image[:, :, 1:] // 2  # red lies first
    image[0, :4] = np.frombuffer(number.to_bytes(4, "little"), np.uint8)[:, None]
    return image


def number_in(image: np.ndarray) -> int:
    """What `paint` wrote."""
    return int.from_bytes(image[0, :4, 0].tobytes(), "little")


_FILL = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_uint32, c_uint32, c_uint32)


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libaravis-0.8.so.0")
    library.arv_gv_fake_camera_new.restype = c_void_p
    library.arv_gv_fake_camera_new.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    library.arv_gv_fake_camera_is_running.argtypes = [c_void_p]
    library.arv_gv_fake_camera_get_fake_camera.restype = c_void_p
    library.arv_gv_fake_camera_get_fake_camera.argtypes = [c_void_p]
    library.arv_fake_camera_set_trigger_frequency.argtypes = [c_void_p, c_double]
    library.arv_fake_camera_set_fill_pattern.argtypes = [c_void_p, _FILL, c_void_p]
    library.arv_fake_camera_read_register.argtypes = [c_void_p, c_uint32, c_void_p]
    library.arv_fake_camera_write_register.argtypes = [c_void_p, c_uint32, c_uint32]
    library.arv_buffer_get_data.restype = c_void_p
    library.arv_buffer_get_data.argtypes = [c_void_p, c_void_p]
    return library


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG


def main() -> None:
    _die_with_parent()
    host = _Host(sys.argv[1], float(sys.argv[2]))
    print("ready", flush=True)
    for line in sys.stdin:
        print(host.obey(line), flush=True)


if __name__ == "__main__":
    main()
