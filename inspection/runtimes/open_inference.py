"""Messages of the Open Inference Protocol, as a client writes and reads them. Pure: no connection here.

images ─▶ request (header, then bytes, or the name of shared memory)
answer ─▶ who answered what? ─▶ every byte spoken for ─▶ outputs by name
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspection.errors import InferenceError, InferenceTimeoutError, ModelOutputError
from inspection.runtimes.contract import check_outputs, output_names
from inspection.runtimes.http_bytes import whole_number
from inspection.runtimes.link import Answer, read_json
from inspection.types import Reason, Release

HEADER_LENGTH = "inference-header-content-length"


@dataclass(frozen=True, slots=True)
class Asked:
    """One inference that was asked for; its answer must name all of it again.

    Attributes:
        url: of the service, for messages.
        release: which model and version.
        request_id: ours alone.
        batch: images sent.
        proves_hash: the service told the model's hash before, so every answer must.
    """

    url: str
    release: Release
    request_id: str
    batch: int
    proves_hash: bool


def model_path(release: Release) -> str:
    """Return the path of this very version."""
    return f"/v2/models/{release.part}/versions/{release.number}"


def infer_header(
    asked: Asked, shape: tuple[int, ...], where: dict[str, Any], timeout: float
) -> bytes:
    """Return the JSON before the bytes of an inference request.

    Args:
        asked: what is asked for.
        shape: of the images, uint8.
        where: parameters that tell where the images are: in the body, or in shared memory.
        timeout: seconds for the service.
    """
    return json.dumps(
        {
            "id": asked.request_id,
            "parameters": {"timeout": max(int(timeout * 1e6), 1)},
            "inputs": [
                {"name": "images", "shape": list(shape), "datatype": "UINT8", "parameters": where}
            ],
            "outputs": [
                {"name": name, "parameters": {"binary_data": True}}
                for name in output_names(asked.release)
            ],
        }
    ).encode()


def read_inference(asked: Asked, answer: Answer) -> dict[str, NDArray[np.float32]]:
    """Check who answered what, and return the outputs.

    Raises:
        InferenceTimeoutError, InferenceError: the service gave up, or failed.
        ModelOutputError: somebody else answered (MODEL_MISMATCH), or the answer is malformed.
    """
    url, release = asked.url, asked.release
    if answer.status in {408, 504}:
        raise InferenceTimeoutError(f"{url} gave up on a part: {answer.error()}")
    if answer.status != 200:
        error = InferenceError(f"{url} failed on {release.name}: {answer.error()}")
        raise with_reason(error, reason_of(answer, error))
    length = answer.headers.get(HEADER_LENGTH, str(len(answer.body)))
    end = whole_number(length)
    if end is None or end > len(answer.body):
        raise ModelOutputError(f"{url} announced a header of {length[:40]!r} bytes")
    header = read_json(answer.body[:end])
    who = (header.get("id"), header.get("model_name"), header.get("model_version"))
    if who != (asked.request_id, release.part, str(release.number)):
        raise mismatch(release, f"answered as id {who[0]!r}, model {who[1]!r}, version {who[2]!r}")
    parameters: Any = header.get("parameters")
    told: Any = parameters.get("sha256") if isinstance(parameters, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    if (told is not None or asked.proves_hash) and told != release.model_sha256:
        raise mismatch(release, f"answered with the model {str(told)[:12]}…")
    outputs = _outputs(header.get("outputs"), memoryview(answer.body)[end:])
    return check_outputs(release, outputs, asked.batch)


def _outputs(listed: Any, data: memoryview) -> dict[str, NDArray[np.float32]]:
    """Return the binary outputs; every byte must be spoken for. Raises ModelOutputError."""
    found: dict[str, NDArray[np.float32]] = {}
    start = 0
    try:
        for entry in listed:
            shape = [int(n) for n in entry["shape"]]
            size = int(entry["parameters"]["binary_data_size"])
            if entry["datatype"] != "FP32" or min(shape) < 0 or int(np.prod(shape)) * 4 != size:
                raise ValueError(f"{entry} does not add up")
            part = data[start : start + size]
            found[str(entry["name"])] = np.frombuffer(part, "<f4").reshape(shape).astype("f4")
            start += size
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise ModelOutputError(f"the service's outputs are malformed: {error!r}") from error
    if start != len(data):
        raise ModelOutputError(f"the service sent {len(data)} bytes of outputs, announced {start}")
    return found


def config_parameter(config: dict[str, Any], name: str) -> str:
    """Return a parameter of a model's configuration, as Triton writes it; empty: there is none."""
    parameters: Any = config.get("parameters")
    entry: Any = parameters.get(name) if isinstance(parameters, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    value: Any = entry.get("string_value") if isinstance(entry, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return value if isinstance(value, str) else ""


def refused(answer: Answer) -> bool:
    """True when our own service says that waiting does not help."""
    try:
        return answer.json().get("code") == "release_refused"
    except ModelOutputError:
        return False


def mismatch(release: Release, what: str) -> InferenceError:
    """Return the error that another model than the one asked for is there, or answered."""
    text = f"the service {what} when {release.name} ({release.model_sha256[:12]}…) was asked for"
    return with_reason(ModelOutputError(f"{text}; let it load that release"), Reason.MODEL_MISMATCH)


def reason_of(answer: Answer, error: InferenceError) -> Reason:
    """Return the reason of a refusal: what is not there yet is loading."""
    return Reason.MODEL_LOADING if answer.status in {404, 503} else error.reason


def with_reason(error: InferenceError, reason: Reason) -> InferenceError:
    """Return the error with this reason in place of its kind's."""
    error.reason = reason
    return error
