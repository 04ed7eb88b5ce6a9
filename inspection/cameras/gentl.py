"""Cameras through a GenTL producer: the .cti file of the camera's maker, read by harvesters.

    producer (.cti) ─▶ device ─▶ settings, each read back ─▶ acquire

For cameras and frame grabbers (CoaXPress, Camera Link) that Aravis does not reach. Rules of frames are
in `device_frames`. harvesters throws incomplete buffers away and tells it by a callback: each becomes a
frame with a fault here, never a missing one.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from inspection.cameras.device_config import DeviceConfig
from inspection.cameras.device_frames import RawFrame
from inspection.cameras.device_settings import apply_settings, exposure_seconds
from inspection.cameras.found import FoundCamera
from inspection.errors import CameraError, CameraLostError, how_to_install

_PATHS = "GENICAM_GENTL64_PATH"  # where makers' installers say that their producers lie
_AT_LEAST = 0.001  # seconds: harvesters takes 0 for ever


class GenTlCameraConfig(DeviceConfig):
    """A camera through a GenTL producer. Needs the extra `genicam`."""

    type: Literal["gentl"] = "gentl"
    producer: Path = Field(
        description="the maker's GenTL producer, a .cti file; relative to the station file"
    )
    device: str = Field(
        "",
        max_length=256,
        description="serial number or id of the camera; empty: the only one of the producer",
    )

    def beside(self, base: Path) -> GenTlCameraConfig:
        """Return the same with a relative producer taken from the folder `base`."""
        changed = self.model_copy(update={"producer": base / self.producer})
        changed._camera = None
        return changed

    def _open_device(self) -> GenTlDevice:
        return GenTlDevice(self)


class GenTlDevice:
    """The calls of harvesters for one camera; see `device_frames.Device`.

    Attributes:
        facts: maker, model, serial number and settings as read back.
        exposure: seconds, as the camera says; 0 when it does not say.
    """

    def __init__(self, config: GenTlCameraConfig) -> None:
        self._config = config
        self._acquirer: Any = None
        self._incomplete = 0
        self._last_id = 0
        self._harvester = _producer(config.producer)
        try:
            info = self._choose()
            try:
                self._acquirer = self._harvester.create({"id_": info.id_})
            except Exception as error:  # the producer's own kinds of error
                raise CameraLostError(
                    f"camera {config.name}: {info.id_} cannot be opened ({error}); another program"
                    " (the line, a viewer) may hold it"
                ) from error
            self._nodes: Any = self._acquirer.remote_device.node_map
            self.facts = {"maker": info.vendor, "model": info.model, "serial": info.serial_number}
            self.facts |= apply_settings(config, self)
            self.exposure = exposure_seconds(self)
            self._start()
        except BaseException:
            self.release()
            raise

    def next(self, timeout: float) -> RawFrame | None:
        """Return the oldest buffer that came; see `Device`."""
        end = time.monotonic() + max(timeout, _AT_LEAST)
        while True:
            try:
                buffer = self._acquirer.try_fetch(timeout=_Until(end))
            except Exception as error:  # the producer's own kinds of error
                raise _lost(self._config.name, error) from error
            if buffer is not None:
                try:
                    return self._raw(buffer)
                finally:
                    buffer.queue()
            if self._incomplete:
                self._incomplete -= 1
                return RawFrame(
                    b"", 0, 0, "", self._last_id + 1, 0, time.monotonic(), "lost on the way"
                )
            if time.monotonic() >= end:
                return None

    def fire(self) -> None:
        """Give a software trigger."""
        self._execute("TriggerSoftware")

    def clock(self) -> int | None:
        """Latch the camera's clock, where it can."""
        if not (self.has("TimestampLatch") and self.has("TimestampLatchValue")):
            return None
        self._execute("TimestampLatch")
        return int(self.read("TimestampLatchValue"))

    def check(self) -> None:
        """Read a feature that every camera has, from the camera itself."""
        self._nodes.get_node("Width").node.invalidate_node()
        self.read("Width")

    def release(self) -> None:
        """Stop and give the camera and the producer back."""
        acquirer, self._acquirer = self._acquirer, None
        try:
            if acquirer is not None:
                acquirer.destroy()
        finally:
            self._harvester.reset()

    def has(self, feature: str) -> bool:
        """Tell whether a feature is there and available; see `device_settings.Features`."""
        if not self._nodes.has_node(feature):
            return False
        from genicam.genapi import EAccessMode

        mode = self._nodes.get_node(feature).get_access_mode()
        return mode not in {EAccessMode.NI, EAccessMode.NA}

    def read(self, feature: str) -> str:
        """Return a feature as text."""
        try:
            return str(self._nodes.get_node(feature).to_string())
        except Exception as error:  # the producer's own kinds of error
            raise _lost(self._config.name, error) from error

    def write(self, feature: str, value: str) -> None:
        """Set a feature from text."""
        try:
            self._nodes.get_node(feature).from_string(value)
        except Exception as error:  # refused, or out of bounds
            raise CameraError(str(error)) from error

    def _execute(self, command: str) -> None:
        try:
            self._nodes.get_node(command).execute()
        except Exception as error:  # the producer's own kinds of error
            raise _lost(self._config.name, error) from error

    def _choose(self) -> Any:
        wanted = self._config.device
        found = list(self._harvester.device_info_list)
        fitting = [each for each in found if wanted in {"", each.id_, each.serial_number}]
        if len(fitting) == 1:
            return fitting[0]
        there = ", ".join(f"{each.id_} (serial {each.serial_number})" for each in found)
        there = there or "none (a program can open a producer once)"
        raise CameraLostError(
            f"camera {self._config.name}: {len(fitting)} cameras of {self._config.producer.name} fit"
            f" `device: {wanted or 'none given'}`; found: {there}"
        )

    def _start(self) -> None:
        acquirer = self._acquirer
        acquirer.num_buffers = self._config.buffers
        acquirer.add_callback(acquirer.Events.INCOMPLETE_BUFFER, _counting(self))
        try:
            acquirer.start()
        except Exception as error:  # the producer's own kinds of error
            raise _lost(self._config.name, error) from error

    def incomplete(self) -> None:
        """Note that a buffer was thrown away."""
        self._incomplete += 1

    def _raw(self, buffer: Any) -> RawFrame:
        picture = buffer.payload.components[0]
        self._last_id = int(buffer.frame_id)
        return RawFrame(
            picture.data.tobytes(),
            int(picture.width),
            int(picture.height),
            str(picture.data_format),
            self._last_id,
            _stamp(buffer),
            time.monotonic(),
            padding=int(picture.x_padding),  # harvesters leaves it in the data
        )


def find_cameras() -> list[FoundCamera]:
    """Search every producer that the makers' installers named. Raises CameraLostError."""
    found: list[FoundCamera] = []
    for path in producers():
        harvester = _producer(path)
        try:
            found += [
                FoundCamera(
                    "gentl",
                    each.id_,
                    each.vendor,
                    each.model,
                    each.serial_number,
                    str(path),
                    "unknown",
                )
                for each in harvester.device_info_list
            ]
        finally:
            harvester.reset()
    return found


def producers() -> list[Path]:
    """Return the .cti files in the folders of the environment variable GENICAM_GENTL64_PATH."""
    folders = [Path(each) for each in os.environ.get(_PATHS, "").split(os.pathsep) if each]
    return sorted(path for folder in folders for path in folder.glob("*.cti"))


def _producer(path: Path) -> Any:
    if not path.is_file():
        raise CameraLostError(
            f"{path} is no GenTL producer; install the camera maker's software and name its .cti"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the generated bindings
            from harvesters.core import Harvester
    except ImportError as error:
        raise CameraLostError(
            f"GenTL needs harvesters and genicam ({error}); {how_to_install('genicam')}"
        ) from error
    logging.getLogger("harvesters").setLevel(logging.ERROR)
    harvester: Any = Harvester()
    try:
        harvester.add_file(str(path))
        harvester.update()
    except Exception as error:  # the producer's own kinds of error
        harvester.reset()
        raise CameraLostError(f"{path} cannot be used as GenTL producer: {error}") from error
    return harvester


class _Until(float):
    """A time limit for harvesters, which counts by the wall clock: that may be set back by an hour.

    A float that is above 0, and that everything elapsed exceeds once the monotonic clock says so.
    """

    def __new__(cls, end: float) -> _Until:
        """Take a moment on the monotonic clock."""
        made = super().__new__(cls, max(_AT_LEAST, end - time.monotonic()))
        made._end = end
        return made

    _end: float

    def __lt__(self, elapsed: float) -> bool:
        """Called for `elapsed > limit`, before float's own comparison."""
        return time.monotonic() >= self._end


def _counting(device: GenTlDevice) -> Any:
    from harvesters.core import Callback

    class Incomplete(Callback):  # harvesters takes nothing else
        def emit(self, context: Any = None) -> None:  # noqa: ARG002
            device.incomplete()

    return Incomplete()


def _stamp(buffer: Any) -> int:
    try:
        return int(buffer.timestamp_ns)
    except Exception:  # a producer that knows no time says so by an error
        return 0


def _lost(camera: str, error: Exception) -> CameraLostError:
    return CameraLostError(f"camera {camera}: {error}")
