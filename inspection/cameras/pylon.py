"""Basler cameras through Basler's own pylon library. Needs the extra `pylon` (Basler's licence).

    device ─▶ settings, each read back ─▶ grab one by one, never the latest only

Rules of frames are in `device_frames`. Aravis reaches most Basler cameras as well, without this.
"""

from __future__ import annotations

import time
import warnings
from typing import Any, Literal

from pydantic import Field

from inspection.cameras.device_config import DeviceConfig, Line, PacketSize
from inspection.cameras.device_frames import RawFrame
from inspection.cameras.device_settings import apply_settings, exposure_seconds, refuse_setting
from inspection.cameras.found import FoundCamera
from inspection.cameras.pixel_formats import NUMBERS
from inspection.errors import CameraError, CameraLostError, how_to_install

_READY = 300  # milliseconds that a camera may take until it can be triggered again


class PylonCameraConfig(DeviceConfig):
    """A Basler camera through pylon. Needs the extra `pylon`."""

    type: Literal["pylon"] = "pylon"
    device: str = Field(
        "", max_length=128, description="serial number or IP address; empty: the only Basler camera"
    )
    line: Line = "Line1"
    packet_size: PacketSize = 1400

    def _open_device(self) -> PylonDevice:
        return PylonDevice(self)


class PylonDevice:
    """The calls of pylon for one camera; see `device_frames.Device`.

    Attributes:
        facts: maker, model, serial number and settings as read back.
        exposure: seconds, as the camera says; 0 when it does not say.
    """

    def __init__(self, config: PylonCameraConfig) -> None:
        self._config = config
        self._pylon, self._genicam = _library()
        factory = self._pylon.TlFactory.GetInstance()
        info = self._choose(list(factory.EnumerateDevices()))
        try:
            self._camera: Any = self._pylon.InstantCamera(factory.CreateDevice(info))
            self._camera.Open()
        except Exception as error:  # pylon's own kinds of error
            raise CameraLostError(
                f"camera {config.name}: {info.GetSerialNumber()} cannot be opened ({error}); another"
                " program (the line, a viewer) may hold it"
            ) from error
        self._nodes: Any = self._camera.GetNodeMap()
        self.facts = {
            "maker": info.GetVendorName(),
            "model": info.GetModelName(),
            "serial": info.GetSerialNumber(),
        }
        try:
            self.facts |= apply_settings(config, self)
            self.exposure = exposure_seconds(self)
            self._set_packet_size()
            self._camera.MaxNumBuffer.Value = config.buffers
            self._camera.StartGrabbing(self._pylon.GrabStrategy_OneByOne)
        except BaseException:
            self.release()
            raise

    def next(self, timeout: float) -> RawFrame | None:
        """Return the oldest buffer that came; see `Device`."""
        wait, handling = round(timeout * 1000), self._pylon.TimeoutHandling_Return
        try:
            result = self._camera.RetrieveResult(wait, handling)
            if not result.IsValid():
                return None
            with result:
                return self._raw(result)
        except Exception as error:  # pylon's own kinds of error
            raise self._lost(error) from error

    def fire(self) -> None:
        """Give a software trigger, as soon as the camera can take one."""
        handling = self._pylon.TimeoutHandling_Return
        try:
            if self._camera.CanWaitForFrameTriggerReady():
                self._camera.WaitForFrameTriggerReady(_READY, handling)
            self._camera.ExecuteSoftwareTrigger()
        except Exception as error:  # pylon's own kinds of error
            raise self._lost(error) from error

    def clock(self) -> int | None:
        """Latch the camera's clock, by the names of SFNC 2 or of GigE Vision 1."""
        for latch, value, in_ticks in (
            ("TimestampLatch", "TimestampLatchValue", False),
            ("GevTimestampControlLatch", "GevTimestampValue", True),
        ):
            if self.has(latch) and self.has(value):
                self._nodes.GetNode(latch).Execute()
                ticks = int(self.read(value))
                rate = int(self.read("GevTimestampTickFrequency")) if in_ticks else 10**9
                return ticks * 10**9 // rate if rate else None
        return None

    def check(self) -> None:
        """Ask whether the camera was taken away, and read a feature from it."""
        if self._camera.IsCameraDeviceRemoved():
            raise CameraLostError("it was taken away or restarted")
        self._nodes.InvalidateNodes()
        self.read("Width")

    def release(self) -> None:
        """Stop and give the camera back."""
        try:
            self._camera.StopGrabbing()
        finally:
            self._camera.Close()
            self._camera.DestroyDevice()

    def has(self, feature: str) -> bool:
        """Tell whether a feature is there and available; see `device_settings.Features`."""
        node = self._nodes.GetNode(feature)
        return node is not None and bool(self._genicam.IsAvailable(node))

    def read(self, feature: str) -> str:
        """Return a feature as text."""
        try:
            return str(self._nodes.GetNode(feature).ToString())
        except Exception as error:  # pylon's own kinds of error
            raise self._lost(error) from error

    def write(self, feature: str, value: str) -> None:
        """Set a feature from text."""
        try:
            self._nodes.GetNode(feature).FromString(value)
        except Exception as error:  # refused, or out of bounds
            raise CameraError(str(error)) from error

    def _choose(self, found: list[Any]) -> Any:
        wanted = self._config.device
        fitting = [each for each in found if wanted in {"", each.GetSerialNumber(), _address(each)}]
        if len(fitting) == 1:
            return fitting[0]
        there = ", ".join(f"{each.GetModelName()} {each.GetSerialNumber()}" for each in found)
        raise CameraLostError(
            f"camera {self._config.name}: {len(fitting)} Basler cameras fit"
            f" `device: {wanted or 'none given'}`; found: {there or 'none'}"
        )

    def _set_packet_size(self) -> None:
        if not self.has("GevSCPSPacketSize"):
            return
        wanted = str(self._config.packet_size)
        self.write("GevSCPSPacketSize", wanted)
        got = self.read("GevSCPSPacketSize")
        if got != wanted:
            raise refuse_setting(self._config.name, "packet_size", wanted, got)
        self.facts["packet_size"] = f"{got} bytes"

    def _raw(self, result: Any) -> RawFrame:
        frame_id, stamp, now = int(result.BlockID), int(result.TimeStamp), time.monotonic()
        if not result.GrabSucceeded():
            fault = str(result.GetErrorDescription()) or "incomplete"
            return RawFrame(b"", 0, 0, "", frame_id, 0, now, fault)
        number = int(result.PixelType)
        return RawFrame(
            bytes(result.GetBuffer()),
            int(result.Width),
            int(result.Height),
            NUMBERS.get(number & 0xFFFFFFFF, f"0x{number & 0xFFFFFFFF:08x}"),
            frame_id,
            stamp,
            now,
            padding=int(result.PaddingX),
        )

    def _lost(self, error: Exception) -> CameraLostError:
        return CameraLostError(f"camera {self._config.name}: {error}")


def find_cameras() -> list[FoundCamera]:
    """List Basler cameras. Nothing without the extra `pylon`."""
    try:
        pylon, _ = _library()
    except CameraLostError:
        return []
    factory = pylon.TlFactory.GetInstance()
    return [
        FoundCamera(
            "pylon",
            each.GetSerialNumber(),
            each.GetVendorName(),
            each.GetModelName(),
            each.GetSerialNumber(),
            _address(each),
            "free" if factory.IsDeviceAccessible(each) else "taken",
        )
        for each in factory.EnumerateDevices()
    ]


def _address(info: Any) -> str:
    return str(info.GetIpAddress()) if info.IsIpAddressAvailable() else str(info.GetFullName())


def _library() -> tuple[Any, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the generated bindings; as errors they crash it
            from pypylon import genicam, pylon
    except ImportError as error:
        raise CameraLostError(
            f"Basler cameras need pypylon ({error}); {how_to_install('pylon')}"
        ) from error
    return pylon, genicam
