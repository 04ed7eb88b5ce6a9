"""The Open Inference Protocol on the wire: JSON, and the binary tensor extension.

Parsing never trusts a number that came from outside: every size is compared with what is there
before anything is allocated for it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspection.errors import InspectionError

HEADER_LENGTH = "inference-header-content-length"
MAX_BODY = 64 << 20
"""Largest request body, bytes."""
MAX_JSON = 1 << 20
"""Most JSON of a request, bytes. While Python reads it, no other request gets on."""
MAX_TENSORS = 8
MAX_ID = 256
MAX_BATCH = 64


class RequestError(InspectionError):
    """A request cannot be answered as asked.

    Attributes:
        status: HTTP status for the client.
        code: one word for programs: `bad_request`, `not_found`, `too_large`, `busy`, `loading`,
            `release_refused`, `timeout`, `failed`, `forbidden`.
    """

    def __init__(self, message: str, status: int = 400, code: str = "bad_request") -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def body(self) -> bytes:
        """The answer: what happened, and a code."""
        return json.dumps({"error": str(self), "code": self.code}).encode()


@dataclass(frozen=True, slots=True)
class MemorySlice:
    """A piece of a registered shared memory region."""

    region: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class OutputWish:
    """How the client wants one output: binary or JSON in the body, or in shared memory."""

    name: str
    binary: bool
    memory: MemorySlice | None = None


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A parsed request.

    Attributes:
        id: echoed in the answer; may be empty.
        shape: of `images`.
        images: uint8 of that shape, or None when they are in shared memory.
        memory: where they are, or None.
        outputs: what the client asked for; empty: everything, as `binary_default` says.
        binary_default: binary when an output says nothing else.
        timeout: seconds after which nobody waits for the answer any more; None: not told.
    """

    id: str
    shape: tuple[int, int, int, int]
    images: NDArray[np.uint8] | None
    memory: MemorySlice | None
    outputs: tuple[OutputWish, ...]
    binary_default: bool
    timeout: float | None = None

    @property
    def names_memory(self) -> bool:
        """True when images or outputs are to travel in shared memory."""
        return self.memory is not None or any(wish.memory is not None for wish in self.outputs)


def parse_infer(body: bytes, headers: Mapping[str, str]) -> InferRequest:
    """Parse the body of an infer request.

    Args:
        body: all of it.
        headers: names in lower case.

    Raises:
        RequestError: anything is not as the protocol or the contract of a release says.
    """
    if len(body) > MAX_BODY:
        raise RequestError(f"the body is larger than {MAX_BODY} bytes", 413, "too_large")
    if headers.get("content-encoding", "identity") != "identity":
        raise RequestError("compressed bodies are not taken; send them plain", 415)
    length = _header_length(headers.get(HEADER_LENGTH), len(body))
    head = _json_object(body[:length])
    parameters = _parameters(head)
    inputs = head.get("inputs")
    if not isinstance(inputs, list) or not 1 <= len(inputs) <= MAX_TENSORS:
        raise RequestError(f"`inputs` must be a list of 1..{MAX_TENSORS} tensors")
    entry = inputs[0]
    if len(inputs) != 1 or not isinstance(entry, dict) or entry.get("name") != "images":
        raise RequestError("a release has exactly one input, `images`")
    if entry.get("datatype") != "UINT8":
        raise RequestError(f"`images` is UINT8, got {str(entry.get('datatype'))[:20]!r}")
    shape = _shape(entry.get("shape"))
    images, memory = _images(entry, shape, memoryview(body)[length:])
    return InferRequest(
        id=_text(head.get("id", ""), "id", MAX_ID),
        shape=shape,
        images=images,
        memory=memory,
        outputs=_wishes(head.get("outputs"), parameters),
        binary_default=parameters.get("binary_data_output") is True,
        timeout=_timeout(parameters.get("timeout")),
    )


def encode_infer(
    request: InferRequest,
    outputs: Mapping[str, NDArray[np.float32]],
    head: Mapping[str, Any],
    written: Mapping[str, MemorySlice],
) -> tuple[bytes, int | None]:
    """Encode an answer.

    Args:
        request: what was asked.
        outputs: by name, in the order to send them.
        head: model_name, model_version, parameters.
        written: outputs that were put into shared memory already.

    Returns:
        The body, and the length of its JSON part when binary tensors follow.

    Raises:
        RequestError: a value cannot be said in JSON (NaN, infinity).
    """
    wishes = {wish.name: wish for wish in request.outputs}
    listed: list[dict[str, Any]] = []
    binary: list[bytes] = []
    for name, value in outputs.items():
        entry: dict[str, Any] = {"name": name, "datatype": "FP32", "shape": list(value.shape)}
        wish = wishes.get(name)
        if name in written:
            entry["parameters"] = {
                "shared_memory_region": written[name].region,
                "shared_memory_byte_size": value.nbytes,
            }
        elif wish.binary if wish else request.binary_default:
            binary.append(np.ascontiguousarray(value, "<f4").tobytes())
            entry["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            entry["data"] = value.reshape(-1).tolist()
        listed.append(entry)
    answer: dict[str, Any] = {**head, "outputs": listed}
    if request.id:
        answer["id"] = request.id
    try:
        text = json.dumps(answer, allow_nan=False, separators=(",", ":")).encode()
    except ValueError as error:
        raise RequestError(
            "the model gave NaN or infinity, which JSON cannot say; its answer is not usable",
            500,
            "failed",
        ) from error
    if not binary:
        return text, None
    return b"".join([text, *binary]), len(text)


def _header_length(told: str | None, size: int) -> int:
    length = size
    if told is not None:
        if not told.isascii() or not told.isdigit() or len(told) > 10:
            raise RequestError("Inference-Header-Content-Length is not a number")
        length = int(told)
    if length > size:
        raise RequestError(f"the JSON part is said to be {length} bytes, the body has {size}")
    if length > MAX_JSON:
        raise RequestError(
            f"{length} bytes of JSON, at most {MAX_JSON} are taken; send the images as binary tensor data "
            "(Inference-Header-Content-Length), or in shared memory",
            413,
            "too_large",
        )
    return length


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the request is not JSON: {str(error)[:100]}") from error
    if not isinstance(value, dict):
        raise RequestError("the request must be a JSON object")
    return value


def _parameters(entry: Mapping[str, Any]) -> dict[str, Any]:
    value = entry.get("parameters")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RequestError("`parameters` must be an object")
    return value


def _integer(value: Any, name: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise RequestError(f"`{name}` must be a whole number, {low}..{high}")
    return value


def _text(value: Any, name: str, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise RequestError(f"`{name}` must be text of at most {longest} characters")
    return value


def _timeout(value: Any) -> float | None:
    """Microseconds on the wire, as Triton has it."""
    if value is None or value == 0:
        return None
    return _integer(value, "timeout", 1, 3_600_000_000) / 1e6


def _shape(value: Any) -> tuple[int, int, int, int]:
    if not isinstance(value, list) or len(value) != 4:
        raise RequestError("`images` has shape [batch, height, width, 3]")
    batch = _integer(value[0], "shape", 1, MAX_BATCH)
    height = _integer(value[1], "shape", 1, 1 << 14)
    width = _integer(value[2], "shape", 1, 1 << 14)
    colours = _integer(value[3], "shape", 3, 3)
    if batch * height * width * colours > MAX_BODY:
        raise RequestError("the images are too large together", 413, "too_large")
    return batch, height, width, colours


def _images(
    entry: dict[str, Any], shape: tuple[int, int, int, int], rest: memoryview
) -> tuple[NDArray[np.uint8] | None, MemorySlice | None]:
    size = math.prod(shape)
    parameters = _parameters(entry)
    memory = _memory(parameters)
    told = parameters.get("binary_data_size")
    if sum((memory is not None, told is not None, "data" in entry)) != 1:
        raise RequestError(
            "`images` needs exactly one of data, binary_data_size, shared_memory_region"
        )
    if told is None and len(rest):
        raise RequestError(f"{len(rest)} bytes follow the JSON part, no tensor claims them")
    if memory is not None:
        if memory.size != size:
            raise RequestError(f"shape {list(shape)} has {size} bytes, {memory.size} are named")
        return None, memory
    if told is not None:
        if _integer(told, "binary_data_size", 0, MAX_BODY) != size or len(rest) != size:
            raise RequestError(
                f"shape {list(shape)} has {size} bytes, {told} are announced, {len(rest)} came"
            )
        return np.frombuffer(rest, np.uint8).reshape(shape), None
    return _json_images(entry["data"], shape), None


def _json_images(data: Any, shape: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    try:
        values = np.array(data)
    except (ValueError, TypeError, OverflowError) as error:
        raise RequestError(f"`data` is not a tensor: {str(error)[:100]}") from error
    if values.dtype.kind not in "iu" or values.size != math.prod(shape):
        raise RequestError(f"`data` must be {math.prod(shape)} whole numbers")
    if values.min() < 0 or values.max() > 255:
        raise RequestError("`data` must be 0..255")
    return values.astype(np.uint8).reshape(shape)


def _memory(parameters: Mapping[str, Any]) -> MemorySlice | None:
    region = parameters.get("shared_memory_region")
    if region is None:
        return None
    return MemorySlice(
        _text(region, "shared_memory_region", 256),
        _integer(parameters.get("shared_memory_offset", 0), "shared_memory_offset", 0, 1 << 40),
        _integer(parameters.get("shared_memory_byte_size"), "shared_memory_byte_size", 0, 1 << 40),
    )


def _wishes(value: Any, parameters: Mapping[str, Any]) -> tuple[OutputWish, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_TENSORS:
        raise RequestError(f"`outputs` must be a list of at most {MAX_TENSORS}")
    wishes: list[OutputWish] = []
    for entry in value:
        if not isinstance(entry, dict):
            raise RequestError("`outputs` must be a list of objects")
        own = _parameters(entry)
        if "classification" in own:
            raise RequestError("the classification extension is not served")
        binary = own.get("binary_data", parameters.get("binary_data_output", False))
        name = _text(entry.get("name"), "name", 64)
        if any(wish.name == name for wish in wishes):
            raise RequestError(f"output {name!r} is asked for twice")
        wishes.append(OutputWish(name, binary is True, _memory(own)))
    return tuple(wishes)
