"""GigE Vision and USB3 Vision cameras of any maker, through Debian's libaravis.

    find ─▶ take control ─▶ settings, each read back ─▶ packet size ─▶ stream ─▶ acquire

Rules of frames are in `device_frames`; the calls of the library in `aravis_library`. One config object
remembers its camera's address, so that a camera that was off for a moment is found again at once.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from inspection.cameras.aravis_library import Aravis, Listed, aravis
from inspection.cameras.device_config import DeviceConfig, PacketSize
from inspection.cameras.device_frames import RawFrame
from inspection.cameras.device_settings import apply_settings, exposure_seconds, refuse_setting
from inspection.cameras.found import FoundCamera
from inspection.cameras.gige_register import CONTROL_PRIVILEGE, control_of, own_address
from inspection.cameras.pixel_formats import NUMBERS
from inspection.errors import CameraError, CameraLostError

log = logging.getLogger(__name__)

_STATUS = {
    0: "",
    1: "cleared",
    2: "no answer",
    3: "packets are missing",
    4: "a packet has a wrong number",
    5: "its size differs from the settings",
    6: "it was still being filled",
    7: "aborted",
    8: "the payload is not supported",
}
_NEVER = 0  # packet size adjustment: ours is set, and a wrong one must be seen
_NO_PACKET_SOCKET = (
    1  # as root, it would take other programs' packets for pictures until it filters
)
_RECEIVE_MAX = Path("/proc/sys/net/core/rmem_max")
_OLDEST_ARRIVAL = 5.0  # seconds


class AravisCameraConfig(DeviceConfig):
    """A GigE Vision or USB3 Vision camera through Aravis."""

    type: Literal["aravis"] = "aravis"
    device: str = Field(
        "",
        max_length=128,
        description="IP address, serial number or id as `inspection cameras list` shows it; empty:"
        " the only camera there is",
    )
    packet_size: PacketSize = 1400

    _address: str = PrivateAttr("")
    _serial: str = PrivateAttr("")

    def _open_device(self) -> AravisDevice:
        device = AravisDevice(self, self._address)
        serial, self._address = self._serial or device.serial, device.address
        if serial != device.serial and not _is_address(self.device):
            self._address = ""
            device.release()
            raise CameraLostError(
                f"camera {self.name}: {device.serial} answers where {serial} was; searching again"
            )
        self._serial = serial
        return device


class AravisDevice:
    """The library's calls for one camera; see `device_frames.Device`.

    Attributes:
        address: IP address; empty for USB3.
        facts: maker, model, serial and settings as read back, for people.
        exposure: seconds, as the camera says; 0 when it does not say.
    """

    def __init__(self, config: AravisCameraConfig, known_address: str = "") -> None:
        self._config = config
        self._library = aravis()
        self._stream: int | None = None
        self._camera, self.address = _connect(self._library, config, known_address)
        self._device: int = self._call("arv_camera_get_device", self._camera)
        self._gige = bool(self._call("arv_camera_is_gv_device", self._camera))
        self.facts: dict[str, str] = {}
        self.exposure = 0.0
        try:
            self._prepare()
        except BaseException:
            self._free()
            raise

    @property
    def serial(self) -> str:
        """Serial number."""
        return self.facts["serial"]

    def next(self, timeout: float) -> RawFrame | None:
        """Return the oldest buffer that came; see `Device`."""
        stream = self._stream
        buffer = self._call("arv_stream_timeout_pop_buffer", stream, round(timeout * 1e6))
        if not buffer:
            return None
        try:
            return self._raw(buffer)
        finally:
            self._call("arv_stream_push_buffer", stream, buffer)

    def fire(self) -> None:
        """Give a software trigger."""
        self._call("arv_device_execute_command", self._device, "TriggerSoftware")

    def clock(self) -> int | None:
        """Latch the camera's clock, by the names of SFNC 2 or of GigE Vision 1."""
        for latch, value, in_ticks in (
            ("TimestampLatch", "TimestampLatchValue", False),
            ("GevTimestampControlLatch", "GevTimestampValue", True),
        ):
            if self.has(latch) and self.has(value):
                self._call("arv_device_execute_command", self._device, latch)
                ticks = self._integer(value)
                rate = self._integer("GevTimestampTickFrequency") if in_ticks else 10**9
                return ticks * 10**9 // rate if rate else None
        return None

    def check(self) -> None:
        """Ask for the register of control. Raises when it does not answer, or forgot us."""
        value = self._library.register(self._device, CONTROL_PRIVILEGE if self._gige else 0)
        if self._gige and not value:
            raise CameraLostError("it was restarted, or another program took it")

    def release(self) -> None:
        """Stop and give the camera back; blocks for seconds when it is gone."""
        self._free()

    def _prepare(self) -> None:
        config, call, camera = self._config, self._call, self._camera
        if self._gige and not call("arv_gv_device_is_controller", self._device):
            raise CameraLostError(
                f"camera {config.name}: another program controls {self.address}; stop that program"
                " (the line, a viewer) first"
            )
        names = {"maker": "vendor_name", "model": "model_name", "serial": "device_serial_number"}
        for fact, name in names.items():
            self.facts[fact] = str(call(f"arv_camera_get_{name}", camera) or "")
        call("arv_device_set_range_check_policy", self._device, 1)
        self.facts |= apply_settings(config, self)
        self.exposure = exposure_seconds(self)
        if self._gige:
            self._set_packet_size()
        self._stream = call("arv_camera_create_stream", camera, None, None)
        if not self._stream:
            raise CameraLostError(f"camera {config.name}: no stream could be opened; try again")
        size = int(call("arv_camera_get_payload", camera))
        if self._gige:
            self._make_room(size)
        for _ in range(config.buffers):
            call("arv_stream_push_buffer", self._stream, call("arv_buffer_new_allocate", size))
        call("arv_camera_start_acquisition", camera)

    def _make_room(self, picture: int) -> None:
        """Let a whole picture wait in the kernel: the reading thread may be late by that much."""
        wanted = 2 * picture
        ours = own_address(self.address)
        self._library.set_socket_buffer(self._stream or 0, min(wanted, 2**30), ours)
        try:
            most = int(_RECEIVE_MAX.read_text())
        except (OSError, ValueError):
            return
        if most < wanted:
            log.warning(
                "camera %s: the kernel holds %d bytes of a network stream, two pictures have %d;"
                " packets may be lost: sysctl -w net.core.rmem_max=%d",
                *(self._config.name, most, wanted, max(wanted, 2**25)),
            )

    def _set_packet_size(self) -> None:
        wanted = self._config.packet_size
        self._call("arv_camera_gv_set_packet_size_adjustment", self._camera, _NEVER)
        self._call("arv_camera_gv_set_stream_options", self._camera, _NO_PACKET_SOCKET)
        self._call("arv_camera_gv_set_packet_size", self._camera, wanted)
        got = self._call("arv_camera_gv_get_packet_size", self._camera)
        if got != wanted:
            raise refuse_setting(self._config.name, "packet_size", str(wanted), str(got))
        self.facts["packet_size"] = f"{got} bytes"

    def has(self, feature: str) -> bool:
        """Tell whether a feature is there and available; see `device_settings.Features`."""
        if not self._call("arv_device_get_feature", self._device, feature):
            return False
        return bool(self._call("arv_device_is_feature_available", self._device, feature))

    def read(self, feature: str) -> str:
        """Return a feature as text."""
        node = self._call("arv_device_get_feature", self._device, feature)
        return str(self._call("arv_gc_feature_node_get_value_as_string", node) or "")

    def write(self, feature: str, value: str) -> None:
        """Set a feature from text."""
        node = self._call("arv_device_get_feature", self._device, feature)
        self._call("arv_gc_feature_node_set_value_from_string", node, value)

    def _integer(self, feature: str) -> int:
        return int(self._call("arv_device_get_integer_feature_value", self._device, feature))

    def _raw(self, buffer: int) -> RawFrame:
        call = self._call
        status = call("arv_buffer_get_status", buffer)
        fault = _STATUS.get(status, f"status {status}")
        now = time.monotonic()
        system = call("arv_buffer_get_system_timestamp", buffer)
        ago = (time.time_ns() - system) / 1e9
        arrived = now - ago if 0 <= ago < _OLDEST_ARRIVAL else now
        frame_id = call("arv_buffer_get_frame_id", buffer)
        stamp = call("arv_buffer_get_timestamp", buffer)
        if fault:
            return RawFrame(b"", 0, 0, "", frame_id, stamp, arrived, fault)
        number = call("arv_buffer_get_image_pixel_format", buffer)
        return RawFrame(
            self._library.pixels(buffer),
            call("arv_buffer_get_image_width", buffer),
            call("arv_buffer_get_image_height", buffer),
            NUMBERS.get(number, f"0x{number:08x}"),
            frame_id,
            stamp,
            arrived,
            padding=self._library.padding(buffer),
        )

    def _free(self) -> None:
        stream, self._stream = self._stream, None
        try:
            if stream is not None:
                self._call("arv_camera_stop_acquisition", self._camera)
        except CameraError:
            pass  # it is gone: nothing to stop
        finally:
            self._library.unref(stream)
            self._library.unref(self._camera)

    def _call(self, name: str, *arguments: object) -> Any:
        return self._library.call(name, *arguments)


def _connect(library: Aravis, config: AravisCameraConfig, known: str) -> tuple[int, str]:
    """Return the library's camera and its IP address (empty: USB3)."""
    address = config.device if _is_address(config.device) else known
    state = control_of(address) if address else "silent"
    if state == "silent" and _is_address(config.device):
        raise CameraLostError(
            f"camera {config.name}: {config.device} does not answer; check power, cable and that the"
            " PC's network port has an address of the same subnet"
        )
    if state == "silent":
        found = choose(library.devices(), config.device, config.name)
        address = found.address if found.protocol == "GigEVision" else ""
        if not address:
            return int(library.call("arv_camera_new", found.id)), ""
        state = control_of(address)
    if state == "taken":
        raise CameraLostError(
            f"camera {config.name}: another program controls {address}; stop that program (the line,"
            " a viewer) first"
        )
    return library.open_gige(own_address(address), address), address


def choose(found: list[Listed], device: str, camera: str) -> Listed:
    """Return the one that `device` names. Raises CameraLostError: none, or several."""
    fitting = [each for each in found if device in {"", each.id, each.address, each.serial}]
    if len(fitting) == 1:
        return fitting[0]
    there = ", ".join(f"{each.id} at {each.address}" for each in found) or "none"
    wish = f"`device: {device}`" if device else "no `device`"
    raise CameraLostError(
        f"camera {camera}: {wish} fits {len(fitting)} cameras; found: {there}."
        " Name one by its address, serial number or id"
    )


def find_cameras() -> list[FoundCamera]:
    """Search all networks and USB; takes about a second. Raises CameraLostError without the library."""
    states = {"free": "free", "taken": "taken", "silent": "unknown"}
    return [
        FoundCamera(
            "aravis",
            each.id,
            each.maker,
            each.model,
            each.serial,
            each.address,
            states[control_of(each.address)] if each.protocol == "GigEVision" else "unknown",
        )
        for each in aravis().devices()
    ]


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
