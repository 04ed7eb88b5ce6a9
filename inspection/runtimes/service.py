"""Runs a release in an inference service: a client of the Open Inference Protocol.

    infer ─▶ images into shared memory ─▶ POST …/versions/N/infer ─▶ check who answered what ─▶ outputs

The release's exact version is asked for by name, and every answer must name it again, together with
our request id and, from our own service, the hash of the model file with the precision that it runs in.
A server that tells no hash, in its configuration or in an answer, is taken to run the release as it is,
f32; nothing else is asked of it. An error where the configuration was asked for tells nothing and refuses the
load. Only the standard v2 endpoints are needed; shared memory, model repository and hash are used where
the service has them.
Outputs always come in the body: memory shared for output could hold the previous answer.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from inspection.errors import InferenceError, InferenceTimeoutError, ModelOutputError
from inspection.runtimes.contract import (
    check_images,
    check_outputs,
    check_precision,
    join_outputs,
    output_names,
    warm_images,
)
from inspection.runtimes.link import Answer, Link, read_json
from inspection.runtimes.shared_memory import Segment, remove_leftovers
from inspection.types import Reason, Release
from inspection.variants import FLOAT

HEADER_LENGTH = "inference-header-content-length"
POLL = 0.1
"""Seconds between two questions whether a model is ready."""
UNREACHABLE = 10.0
"""A service that has not answered at all for so many seconds is a fault, no longer a start."""
_NO_SUCH_ENDPOINT = frozenset({400, 404, 405, 501})
"""Answers of a server that has no model configuration to tell; any other error says nothing about it."""
_log = logging.getLogger(__name__)


class ServiceConfig(BaseModel):
    """Settings of the `service` runtime."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["service"] = Field("service", description="this runtime")
    url: str = Field(
        "http://127.0.0.1:8500", description="where the service listens: http://HOST:PORT"
    )
    precision: Literal["f32", "bf16", "int8"] = Field(
        "f32",
        description="arithmetic that the service must run the release in; anything else is refused. "
        "Start it alike: inspection serve --precision. bf16 and int8 need the variant: inspection "
        "variant make",
    )
    timeout: float = Field(
        5.0,
        gt=0,
        le=600,
        description="longest wait for one inference, seconds; a deadline is shorter",
    )
    shared_memory: Literal["auto", "on", "off"] = Field(
        "auto",
        description="images travel in shared memory: auto, when the service is on this host and "
        "takes it; on, or it is an error; off, always in the request",
    )

    @field_validator("url")
    @classmethod
    def _plain_http(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme != "http" or not parts.hostname or parts.path not in {"", "/"}:
            raise ValueError(f"{value!r} is not http://HOST:PORT")
        _ = parts.port  # raises ValueError when it is no port number
        return value.rstrip("/")

    def open(self) -> Service:
        """Return the driver. Connects when it first loads a release."""
        return Service(self)


class Service:
    """Client of an inference service. One thread at a time, except `close`."""

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._link = Link(config.url)
        self._release: Release | None = None
        self._proves_hash = False
        self._max_batch: int | None = None
        self._segment: Segment | None = None
        self._use_memory = config.shared_memory == "on" or (
            config.shared_memory == "auto" and self._link.local
        )
        self._registered_on = 0
        self._session = secrets.token_hex(4)
        self._count = 0
        self._pause = threading.Event()
        if self._use_memory:
            remove_leftovers()

    @property
    def shared_memory(self) -> bool:
        """True when images go through shared memory."""
        return self._use_memory and self._registered_on > 0

    def load(self, release: Release, timeout: float) -> None:
        """Wait until the service has the release ready, prove that it is the one, and run it once.

        Asks the service to load it when it has not. Raises InferenceError (reason MODEL_LOADING,
        MODEL_MISMATCH, RELEASE_INVALID …); the previous release stays the one asked for.
        """
        check_precision(release, self._config.precision)
        deadline = time.monotonic() + timeout
        self._await_ready(release, deadline)
        previous = self._release, self._proves_hash, self._max_batch
        self._proves_hash, self._max_batch = self._read_config(release, deadline)
        self._release = release
        try:
            self._infer_all(release, warm_images(release), deadline)
        except InferenceError:
            self._release, self._proves_hash, self._max_batch = previous
            raise

    def infer(self, images: NDArray[np.uint8], timeout: float) -> dict[str, NDArray[np.float32]]:
        """Run the loaded release; see `protocols.Runtime.infer`."""
        release = self._release
        if release is None:
            raise InferenceError(f"no release is loaded from {self._config.url}; call load first")
        check_images(release, images)
        wait = min(timeout, self._config.timeout)
        return self._infer_all(release, images, time.monotonic() + wait)

    def alive(self, timeout: float) -> bool:
        """Ask whether this very version is ready."""
        release = self._release
        if release is None:
            return False
        try:
            path = f"{_path(release)}/ready"
            return self._get(path, time.monotonic() + timeout).status == 200
        except InferenceError:
            return False

    def close(self) -> None:
        """Hang up and remove our shared memory."""
        self._pause.set()
        self._release = None
        self._link.close()
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()

    def _get(self, path: str, deadline: float) -> Answer:
        return self._link.exchange("GET", path, deadline=deadline)

    def _post(self, path: str, value: dict[str, Any], deadline: float) -> Answer:
        headers = {"Content-Type": "application/json"}
        body = json.dumps(value).encode()
        return self._link.exchange("POST", path, body, headers, deadline=deadline)

    def _await_ready(self, release: Release, deadline: float) -> None:
        """Return when this version is ready; ask the service to load it until then."""
        problem, answered = "it did not answer", False
        unreachable = min(deadline, time.monotonic() + UNREACHABLE)
        while True:
            try:
                if self._get(f"{_path(release)}/ready", deadline).status == 200:
                    return
                answered = True
                answer = self._post(
                    f"/v2/repository/models/{release.part}/load",
                    {"parameters": {"version": str(release.number), "default": False}},
                    deadline,
                )
                problem = answer.error()
                if answer.status == 200:
                    problem = "it is loading"
                elif _refused(answer):
                    raise _with_reason(
                        InferenceError(f"{self._config.url} refused {release.name}: {problem}"),
                        Reason.RELEASE_INVALID,
                    )
            except InferenceTimeoutError:
                pass  # decided below
            except InferenceError as error:
                if error.reason == Reason.RELEASE_INVALID:
                    raise
                problem = str(error)
            end = deadline if answered else unreachable
            if time.monotonic() + POLL >= end or self._pause.wait(POLL):
                raise _with_reason(
                    InferenceError(f"{release.name} is not ready at {self._config.url}: {problem}"),
                    Reason.MODEL_LOADING if answered else Reason.INFERENCE_FAILED,
                )

    def _read_config(self, release: Release, deadline: float) -> tuple[bool, int | None]:
        """Compare the served model's precision and hash with the release's.

        Returns:
            Whether a hash was told, and the most images of one request; None: not told.

        Raises:
            InferenceError: it runs another precision or model (MODEL_MISMATCH), does not tell the
                precision though it is not f32, or failed to answer: then nothing is known of it.
        """
        answer = self._get(f"{_path(release)}/config", deadline)
        told, precision, most = "", "", None
        if answer.status == 200:
            config = answer.json()
            size = config.get("max_batch_size")
            most = size if isinstance(size, int) and size > 0 else None  # 0: Triton says no limit
            told = _parameter(config, "sha256")
            precision = _parameter(config, "precision")
        elif answer.status not in _NO_SUCH_ENDPOINT:
            error = InferenceError(
                f"{self._config.url} did not tell which model {release.name} is (status "
                f"{answer.status}: {answer.error()}); look at the service, and at a proxy before it"
            )
            raise _with_reason(error, _reason_of(answer, error))
        self._check_precision(release, told, precision)
        if not told:
            _log.warning(
                "%s does not tell the hash of %s; only its name and version are checked",
                self._config.url,
                release.name,
            )
            return False, most
        if told != release.model_sha256:
            raise _mismatch(release, f"serves the model {told[:12]}…")
        return True, most

    def _check_precision(self, release: Release, sha256: str, precision: str) -> None:
        """Raise InferenceError unless the service proves that it runs the precision asked for.

        Args:
            release: asked for.
            sha256: the hash that it told, with the precision before a colon; empty: not told.
            precision: what it told by that name; empty: not told.
        """
        asked = self._config.precision
        runs = precision or ((sha256.rpartition(":")[0] or FLOAT) if sha256 else "")
        if runs == asked or (not runs and asked == FLOAT):
            if sha256 or asked == FLOAT:
                return
            runs = ""  # a name without a hash proves nothing
        problem = f"runs it in {runs}" if runs else "does not prove what precision it runs it in"
        advice = (
            f"start it with inspection serve --precision {asked}, or set the station's precision to {runs}"
            if runs
            else "use inspection serve, or set the station's precision to f32"
        )
        raise _with_reason(
            ModelOutputError(
                f"{release.name} is to run in {asked}, but {self._config.url} {problem}; {advice}"
            ),
            Reason.MODEL_MISMATCH,
        )

    def _infer_all(
        self, release: Release, images: NDArray[np.uint8], deadline: float
    ) -> dict[str, NDArray[np.float32]]:
        """Send the images, in several requests where the service takes fewer at once."""
        most = self._max_batch or len(images)
        return join_outputs(
            [
                self._infer(release, images[start : start + most], deadline)
                for start in range(0, len(images), most)
            ]
        )

    def _infer(
        self, release: Release, images: NDArray[np.uint8], deadline: float
    ) -> dict[str, NDArray[np.float32]]:
        self._count += 1
        request_id = f"{self._session}-{self._count}"
        self._link.connect(deadline)
        image: dict[str, Any] = {
            "name": "images",
            "shape": list(images.shape),
            "datatype": "UINT8",
        }
        if self._use_memory and self._place(images, deadline) and self._segment is not None:
            body = b""
            image["parameters"] = {
                "shared_memory_region": self._segment.name,
                "shared_memory_byte_size": images.nbytes,
            }
        else:
            body = images.tobytes()
            image["parameters"] = {"binary_data_size": len(body)}
        header = json.dumps(
            {
                "id": request_id,
                "parameters": {"timeout": max(int((deadline - time.monotonic()) * 1e6), 1)},
                "inputs": [image],
                "outputs": [
                    {"name": name, "parameters": {"binary_data": True}}
                    for name in output_names(release)
                ],
            }
        ).encode()
        answer = self._link.exchange(
            "POST",
            f"{_path(release)}/infer",
            header + body,
            {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(header))},
            deadline=deadline,
        )
        try:
            return self._read(release, answer, request_id, len(images))
        except InferenceError:
            self._link.close()
            raise

    def _place(self, images: NDArray[np.uint8], deadline: float) -> bool:
        """Put the images into memory that the service knows. Returns False to send them instead."""
        try:
            if self._segment is None or self._segment.size < images.nbytes:
                if self._segment is not None:
                    self._segment.close()
                self._registered_on = 0
                self._segment = Segment(images.nbytes)
        except OSError as error:
            return self._no_memory(f"shared memory cannot be made: {error}")
        self._segment.write(images)
        if self._registered_on != self._link.connections:  # maybe another process by now
            answer = self._post(
                f"/v2/systemsharedmemory/region/{self._segment.name}/register",
                {"key": self._segment.key, "offset": 0, "byte_size": self._segment.size},
                deadline,
            )
            if answer.status != 200 and not self._knows_region(deadline):
                return self._no_memory(f"the service refused it: {answer.error()}")
            self._registered_on = self._link.connections
        return True

    def _knows_region(self, deadline: float) -> bool:
        """Tell whether the service still holds our region from an earlier connection."""
        if self._segment is None:
            return False
        path = f"/v2/systemsharedmemory/region/{self._segment.name}/status"
        answer = self._get(path, deadline)
        try:
            regions: Any = json.loads(answer.body) if answer.status == 200 else []
        except ValueError:
            return False
        wanted = (self._segment.name, self._segment.key, self._segment.size)
        return isinstance(regions, list) and any(
            isinstance(r, dict) and (r.get("name"), r.get("key"), r.get("byte_size")) == wanted
            for r in regions  # pyright: ignore[reportUnknownVariableType]
        )

    def _no_memory(self, why: str) -> bool:
        if self._config.shared_memory == "on":
            raise InferenceError(
                f"shared_memory is on, but {self._config.url} cannot use it ({why}); "
                "run the service on this host as the same user, or set shared_memory to auto"
            )
        _log.warning("images go to %s in the request, which is slower: %s", self._config.url, why)
        self._use_memory = False
        return False

    def _read(
        self, release: Release, answer: Answer, request_id: str, batch: int
    ) -> dict[str, NDArray[np.float32]]:
        """Check who answered what, and return the outputs."""
        if answer.status in {408, 504}:
            raise InferenceTimeoutError(f"{self._config.url} gave up on a part: {answer.error()}")
        if answer.status != 200:
            error = InferenceError(f"{self._config.url} failed on {release.name}: {answer.error()}")
            raise _with_reason(error, _reason_of(answer, error))
        length = answer.headers.get(HEADER_LENGTH, str(len(answer.body)))
        if not length.isdigit() or int(length) > len(answer.body):
            raise ModelOutputError(f"{self._config.url} announced a header of {length!r} bytes")
        header = read_json(answer.body[: int(length)])
        who = (header.get("id"), header.get("model_name"), header.get("model_version"))
        if who != (request_id, release.part, str(release.number)):
            raise _mismatch(
                release, f"answered as id {who[0]!r}, model {who[1]!r}, version {who[2]!r}"
            )
        parameters: Any = header.get("parameters")
        told: Any = parameters.get("sha256") if isinstance(parameters, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        if (told is not None or self._proves_hash) and told != release.model_sha256:
            raise _mismatch(release, f"answered with the model {str(told)[:12]}…")
        outputs = _outputs(header.get("outputs"), memoryview(answer.body)[int(length) :])
        return check_outputs(release, outputs, batch)


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


def _parameter(config: dict[str, Any], name: str) -> str:
    """Return a parameter of a model's configuration, as Triton writes it; empty: there is none."""
    parameters: Any = config.get("parameters")
    entry: Any = parameters.get(name) if isinstance(parameters, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    value: Any = entry.get("string_value") if isinstance(entry, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return value if isinstance(value, str) else ""


def _path(release: Release) -> str:
    return f"/v2/models/{release.part}/versions/{release.number}"


def _refused(answer: Answer) -> bool:
    """True when our own service says that waiting does not help."""
    try:
        return answer.json().get("code") == "release_refused"
    except ModelOutputError:
        return False


def _mismatch(release: Release, what: str) -> InferenceError:
    text = f"the service {what} when {release.name} ({release.model_sha256[:12]}…) was asked for"
    return _with_reason(
        ModelOutputError(f"{text}; let it load that release"), Reason.MODEL_MISMATCH
    )


def _reason_of(answer: Answer, error: InferenceError) -> Reason:
    """Return the reason of a refusal: what is not there yet is loading."""
    return Reason.MODEL_LOADING if answer.status in {404, 503} else error.reason


def _with_reason(error: InferenceError, reason: Reason) -> InferenceError:
    error.reason = reason
    return error
