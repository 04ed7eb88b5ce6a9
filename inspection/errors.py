"""Every error the system raises on purpose.

    InspectionError
    ├── ConfigError            a file a person wrote is wrong: station, recipe, dataset card
    ├── CameraError            carries the Reason that the part gets
    │   ├── CameraTimeoutError     no frame in time
    │   └── CameraLostError        not there, or went away
    ├── ScannerError           the code scanner is not there, or went away
    ├── FrameError             a frame came but cannot be trusted; carries the Reason
    ├── InferenceError         carries the Reason
    │   ├── InferenceTimeoutError  no answer in time
    │   └── ModelOutputError       an answer that cannot be trusted: NaN, wrong shape, wrong model
    ├── ReleaseError           a release is missing, altered, or not to the contract
    ├── PlcError               the link to the PLC failed: the socket is closed already
    ├── StoreError             a row could not be made durable
    └── DatasetError           labelled images are missing, unreadable or contradictory

Messages say what happened, to what, and what to do. Errors are caught at stage boundaries only,
where a part becomes NOT_INSPECTED with the error's reason.
"""

from inspection.types import Reason


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra of this project, for an error's message.

    Never by the project's name alone: no registry has it, or a stranger's.
    """
    return f"in the project's folder run .venv/bin/pip install -c constraints.txt '.[{extra}]'"


class InspectionError(Exception):
    """Root of all errors raised on purpose."""


class ConfigError(InspectionError):
    """A file that a person wrote is wrong; the message names path, value, line and remedy."""


class CameraError(InspectionError):
    """The camera failed to deliver the frame of a trigger."""

    reason: Reason = Reason.CAMERA_LOST


class CameraTimeoutError(CameraError):
    """No frame arrived in time."""

    reason = Reason.CAMERA_TIMEOUT


class CameraLostError(CameraError):
    """The camera is not there, or went away."""

    reason = Reason.CAMERA_LOST


class FrameError(InspectionError):
    """A frame arrived that cannot be trusted to show this part."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ScannerError(InspectionError):
    """The code scanner is not there, or went away; its parts are not inspected."""

    reason: Reason = Reason.SCANNER_LOST


class InferenceError(InspectionError):
    """The runtime could not answer."""

    reason: Reason = Reason.INFERENCE_FAILED


class InferenceTimeoutError(InferenceError):
    """The runtime did not answer in time."""

    reason = Reason.INFERENCE_TIMEOUT


class ModelOutputError(InferenceError):
    """The runtime answered with something that is not an answer: NaN, wrong shape, wrong model."""

    reason = Reason.MODEL_OUTPUT


class ReleaseError(InspectionError):
    """A release is missing, altered, or not to the contract."""


class PlcError(InspectionError):
    """The link to the PLC failed. The driver has closed its socket; call `connect` again."""


class PlcSharedError(PlcError):
    """Another station writes to the same PLC. The link stays open; close it."""


class StoreError(InspectionError):
    """A row could not be made durable."""


class SupersededError(StoreError):
    """A decision was taken back while it waited for its turn to be written; what replaced it follows."""


class DatasetError(InspectionError):
    """Labelled images are missing, unreadable or contradictory."""
