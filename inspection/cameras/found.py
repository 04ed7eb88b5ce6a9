"""What a search for cameras finds: one entry a camera, whichever way it was found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FoundCamera:
    """One camera that somebody could open.

    Attributes:
        type: the driver's name in a station file.
        device: what to write as `device` there.
        maker: name of the maker.
        model: name of the model.
        serial: serial number.
        address: IP address, or the place on the bus.
        state: free, taken (a program controls it), or unknown.
    """

    type: str
    device: str
    maker: str
    model: str
    serial: str
    address: str
    state: str
