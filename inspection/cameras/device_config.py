"""What the drivers of GenICam cameras share in the station file, and how they hand out the camera."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from inspection.cameras.device_frames import Device, DeviceCamera, TriggerMode
from inspection.errors import CameraLostError

Line = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_]{1,32}$",
        description="GenICam name of the input of the hardware trigger",
    ),
]
PacketSize = Annotated[
    int,
    Field(
        ge=576,
        le=16000,
        description="GigE: bytes of a packet with its headers; 1400 fits every network, 8000 needs"
        " jumbo frames (MTU 9000) on camera, switch and PC",
    ),
]
_Size = Annotated[
    int | None, Field(ge=1, le=65535, description="pixels; none: as the camera has it")
]
_Offset = Annotated[
    int | None,
    Field(ge=0, le=65535, description="left or top edge on the sensor, pixels; none: as it has it"),
]


class DeviceConfig(BaseModel):
    """A camera that speaks GenICam. A driver gives `type`, `device` and `_open_device`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("camera", min_length=1, max_length=64, description="name in rows and logs")
    device: str
    trigger: TriggerMode = Field(
        "hardware",
        description="hardware: a pulse on `line` exposes; software: this PC exposes; free_running:"
        " the camera exposes all the time, for parts that stand still",
    )
    line: Line = "Line0"
    edge: Literal["RisingEdge", "FallingEdge"] = Field(
        "RisingEdge", description="edge of the pulse that exposes"
    )
    pixel_format: Literal[
        "Mono8", "RGB8", "BGR8", "RGBa8", "BGRa8", "BayerRG8", "BayerBG8", "BayerGR8", "BayerGB8"
    ] = Field("Mono8", description="what the camera sends; grey and Bayer become RGB")
    exposure_us: float | None = Field(
        None,
        gt=0,
        le=10_000_000,
        description="exposure, microseconds; none: as the camera has it",
    )
    gain: float | None = Field(
        None,
        ge=0,
        le=1000,
        description="gain, the camera's unit (mostly dB); none: as it has it",
    )
    width: _Size = None
    height: _Size = None
    offset_x: _Offset = None
    offset_y: _Offset = None
    buffers: int = Field(8, ge=2, le=64, description="pictures that the library may hold")
    frame_timeout: float = Field(
        1.0, ge=0.05, le=30, description="seconds after which a triggered frame counts as lost"
    )
    transfer: float | None = Field(
        None,
        ge=0.001,
        le=10,
        description="for cameras whose clock cannot be read, with trigger hardware or free_running:"
        " the longest time from the end of an exposure until its whole frame is here, seconds; a frame"
        " that comes earlier after the trigger is not taken; none: such a camera is refused",
    )
    settings: dict[str, bool | int | float | str] = Field(
        {},
        description="further GenICam features with their values, set in this order, before all",
    )

    _camera: DeviceCamera | None = PrivateAttr(None)

    def open(self) -> DeviceCamera:
        """Return the camera, set and acquiring.

        Raises:
            CameraLostError: not there, several and none named, or another program has it.
            CameraError: it did not take a setting, or its clock cannot be read and `transfer` is
                not given.
        """
        if self._camera is not None and not self._camera.released:
            raise CameraLostError(
                f"camera {self.name}: its last connection is still being closed; try again"
            )
        self._camera = DeviceCamera(
            self.name,
            self._open_device(),
            trigger=self.trigger,
            frame_timeout=self.frame_timeout,
            transfer=self.transfer,
        )
        return self._camera

    @abstractmethod
    def _open_device(self) -> Device:
        """Return the device, set and acquiring. Raises as `open`."""
