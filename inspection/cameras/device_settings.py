"""Settings of a GenICam camera: what is set, in which order, and read back before any part is judged.

    `settings` of the file ─▶ pixel format, region ─▶ exposure, gain ─▶ trigger ─▶ all read once more
         (each is read back at once: the camera must say what was set)

The fields are those of `device_config`; a driver gives `Features`: has, read, write.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from inspection.cameras.device_config import DeviceConfig
from inspection.errors import CameraError

EXPOSURE = ("ExposureTime", "ExposureTimeAbs")
_GAIN = ("Gain", "GainRaw")
_REGION = {"Width", "Height", "OffsetX", "OffsetY"}
_ROUNDED = {*EXPOSURE, "Gain", "AcquisitionFrameRate", "AcquisitionFrameRateAbs"}
_PACKED = {"RGB8": "RGB8Packed", "BGR8": "BGR8Packed", "BGRa8": "BGRA8Packed"}


class Features(Protocol):
    """GenICam features of an open camera, by name, as text."""

    def has(self, feature: str) -> bool:
        """Tell whether it is there and available now."""
        ...

    def read(self, feature: str) -> str:
        """Return its value. Raises CameraError."""
        ...

    def write(self, feature: str, value: str) -> None:
        """Set it. Raises CameraError when the camera or its description refuses."""
        ...


class _Wish(NamedTuple):
    names: tuple[str, ...]
    value: str
    optional: bool = False  # a camera without the feature is as wished already


def apply_settings(settings: DeviceConfig, features: Features) -> dict[str, str]:
    """Set everything, and return each feature with what the camera says of it.

    Raises:
        CameraError: it did not take a setting; names the feature, what was wanted and what it is.
    """
    said: dict[str, str] = {}
    for feature, value in settings.settings.items():
        said[feature] = _set(settings.name, features, feature, setting_text(value))
    last: dict[str, str] = {}
    for wish in _wishes(settings):
        feature = next((name for name in wish.names if features.has(name)), None)
        if feature is None:
            if wish.optional:
                continue
            raise CameraError(
                f"camera {settings.name} has no feature {' or '.join(wish.names)}; leave the field"
                " out, or set what it has under `settings`"
            )
        last[feature] = _set_spelled(settings.name, features, feature, wish.value)
    for feature, value in last.items():  # one setting may have moved another
        said[feature] = _compare(settings.name, features, feature, value)
    return said


def exposure_seconds(features: Features) -> float:
    """Return the exposure that the camera says; 0 when it says none."""
    feature = next((name for name in EXPOSURE if features.has(name)), None)
    return float(features.read(feature)) / 1e6 if feature else 0.0


def setting_text(value: bool | int | float | str) -> str:
    """Return a setting as GenICam writes it; a whole number has no point, for integer features."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def same_setting(feature: str, wanted: str, got: str) -> bool:
    """Compare a setting with what was read back; the camera may round by 1 %, but no whole numbers.

    Exposure, gain and frame rate may be rounded though they are written without a point.
    """
    if wanted.strip().lower() == got.strip().lower():
        return True
    try:
        number, read = float(_number(wanted)), float(_number(got))
    except ValueError:
        return False
    whole = number.is_integer() and read.is_integer()
    if feature in _REGION or (whole and feature not in _ROUNDED):
        return number == read
    return abs(number - read) <= 0.01 * abs(number)


def refuse_setting(camera: str, feature: str, wanted: str, got: str) -> CameraError:
    """Return the error of a setting that the camera did not take."""
    return CameraError(
        f"camera {camera}: {feature} was set to {wanted}, the camera says {got};"
        " choose a value that it offers"
    )


def _wishes(settings: DeviceConfig) -> Iterator[_Wish]:
    if settings.offset_x is not None:
        yield _Wish(("OffsetX",), "0")  # makes room for any width
    if settings.offset_y is not None:
        yield _Wish(("OffsetY",), "0")
    yield _Wish(("PixelFormat",), settings.pixel_format)
    region = {
        "Width": settings.width,
        "Height": settings.height,
        "OffsetX": settings.offset_x,
        "OffsetY": settings.offset_y,
    }
    yield from (_Wish((name,), str(value)) for name, value in region.items() if value is not None)
    if settings.exposure_us is not None:
        yield _Wish(("ExposureAuto",), "Off", optional=True)
        yield _Wish(EXPOSURE, setting_text(settings.exposure_us))
    if settings.gain is not None:
        yield _Wish(("GainAuto",), "Off", optional=True)
        yield _Wish(_GAIN, setting_text(settings.gain))
    free = settings.trigger == "free_running"
    yield _Wish(("TriggerSelector",), "FrameStart", optional=free)
    if not free:
        yield _Wish(
            ("TriggerSource",), "Software" if settings.trigger == "software" else settings.line
        )
    if settings.trigger == "hardware":
        yield _Wish(("TriggerActivation",), settings.edge)
    yield _Wish(("TriggerMode",), "Off" if free else "On", optional=free)


def _set_spelled(camera: str, features: Features, feature: str, value: str) -> str:
    """Set it and return the value as it is spelled there: older cameras write RGB8Packed for RGB8."""
    try:
        _set(camera, features, feature, value)
    except CameraError as error:
        if feature != "PixelFormat" or value not in _PACKED or type(error) is not CameraError:
            raise
        try:
            _set(camera, features, feature, _PACKED[value])
        except CameraError:
            raise error from None
        return _PACKED[value]
    return value


def _set(camera: str, features: Features, feature: str, value: str) -> str:
    if not features.has(feature):
        raise CameraError(
            f"camera {camera} has no feature {feature} now; see its GenICam description"
        )
    try:
        features.write(feature, value)
    except CameraError as error:
        if type(error) is not CameraError:
            raise  # it went away
        raise CameraError(
            f"camera {camera}: {feature} cannot be set to {value}: {error}"
        ) from error
    return _compare(camera, features, feature, value)


def _compare(camera: str, features: Features, feature: str, wanted: str) -> str:
    got = features.read(feature)
    if not same_setting(feature, wanted, got):
        raise refuse_setting(camera, feature, wanted, got)
    return got


def _number(text: str) -> str:
    return {"true": "1", "false": "0"}.get(text.strip().lower(), text)
