"""Runs a release in an inference service: a client of the Open Inference Protocol.

    infer ─▶ images into shared memory ─▶ POST …/versions/N/infer ─▶ check who answered what ─▶ outputs

The release's exact version is asked for by name, and every answer must name it again, together with
our request id and, from our own service, the hash of the model file with the precision that it runs in.
Our own service on this host also names its local socket, which takes inferences alone and sooner; where
that is gone, they go over TCP.
A server that tells no hash, in its configuration or in an answer, is taken to run the release as it is,
f32; nothing else is asked of it. An error where the configuration was asked for tells nothing and refuses the
load. Only the standard v2 endpoints are needed; shared memory, model repository and hash are used where
the service has them.
Outputs always come in the body: memory shared for output could hold the previous answer.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from inspection.errors import InferenceError, InferenceTimeoutError, ModelOutputError
from inspection.runtimes.contract import (
    check_images,
    check_precision,
    join_outputs,
    warm_images,
)
from inspection.runtimes.link import Answer, Link
from inspection.runtimes.open_inference import (
    HEADER_LENGTH,
    Asked,
    config_parameter,
    infer_header,
    mismatch,
    model_path,
    read_inference,
    reason_of,
    refused,
    with_reason,
)
from inspection.runtimes.shared_memory import Segment, remove_leftovers
from inspection.types import Reason, Release
from inspection.variants import FLOAT

POLL = 0.1
"""Seconds between two questions whether a model is ready."""
UNREACHABLE = 10.0
"""A service that has not answered at all for so many seconds is a fault, no longer a start."""
_GOODBYE = 0.3
"""Seconds, at most, for telling the service that our memory goes."""
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


@dataclass(frozen=True, slots=True)
class _Told:
    """What a service tells of a release that it has loaded.

    Attributes:
        proves_hash: it told the hash of the model.
        max_batch: most images of one request; None: not told.
        door: name of its local socket for inferences; empty: it has none.
    """

    proves_hash: bool = False
    max_batch: int | None = None
    door: str = ""


class Service:
    """Client of an inference service. One thread at a time, except `close`."""

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._link = Link(config.url)
        self._release: Release | None = None
        self._told = _Told()
        self._door: Link | None = None
        self._segment: Segment | None = None
        self._use_memory = config.shared_memory == "on" or (
            config.shared_memory == "auto" and self._link.local
        )
        self._registered_on = (0, 0)
        """Connections made, over TCP and the local socket, when the service learned of our memory."""
        self._session = secrets.token_hex(4)
        self._count = 0
        self._pause = threading.Event()
        if self._use_memory:
            remove_leftovers()

    @property
    def shared_memory(self) -> bool:
        """True when images go through shared memory."""
        return self._use_memory and self._registered_on != (0, 0)

    def load(self, release: Release, timeout: float) -> None:
        """Wait until the service has the release ready, prove that it is the one, and run it once.

        Asks the service to load it when it has not. Raises InferenceError (reason MODEL_LOADING,
        MODEL_MISMATCH, RELEASE_INVALID …); the previous release stays the one asked for.
        """
        check_precision(release, self._config.precision)
        deadline = time.monotonic() + timeout
        self._await_ready(release, deadline)
        previous = self._release, self._told
        self._told = self._read_config(release, deadline)
        self._release = release
        self._close_door()
        if self._told.door and self._link.local:
            self._door = Link(self._config.url, self._told.door)
        try:
            self._warm(release, deadline)
        except InferenceError:
            self._release, self._told = previous
            self._close_door()
            raise

    def room(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return memory for images that need not be copied: shared with the service, where it takes that."""
        size = math.prod(shape)
        if self.shared_memory and self._segment is not None and self._segment.size >= size:
            return self._segment.room(shape)
        return np.empty(shape, np.uint8)

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
            path = f"{model_path(release)}/ready"
            return self._get(path, time.monotonic() + timeout).status == 200
        except InferenceError:
            return False

    def close(self) -> None:
        """Hang up and remove our shared memory."""
        self._pause.set()
        self._release = None
        self._link.close()
        self._close_door()
        segment, self._segment = self._segment, None
        if segment is not None:
            self._give_back(segment, time.monotonic() + _GOODBYE)

    def _close_door(self) -> None:
        door, self._door = self._door, None
        if door is not None:
            door.close()

    def _warm(self, release: Release, deadline: float) -> None:
        """Run the release once; a local socket that cannot do it within half of the time is not used.

        Raises:
            InferenceError: it cannot be run over TCP either.
        """
        if self._door is not None:
            try:
                half = (time.monotonic() + deadline) / 2
                self._infer_all(release, warm_images(release), half)
            except InferenceError as error:
                _log.info("%s: its local socket is not used: %s", self._config.url, error)
                self._close_door()
            else:
                return
        self._infer_all(release, warm_images(release), deadline)

    def _give_back(self, segment: Segment, deadline: float) -> None:
        """Remove our memory, and tell the service: it keeps it, and has room for few, until it is told."""
        if self._registered_on != (0, 0):
            link = Link(self._config.url)  # ours may be in use by a thread that waits
            path = f"/v2/systemsharedmemory/region/{segment.name}/unregister"
            with contextlib.suppress(InferenceError):
                link.exchange("POST", path, b"{}", deadline=deadline)
            link.close()
        segment.close()

    def _connections(self) -> tuple[int, int]:
        """Tell how many connections were made; another one may lead to another process."""
        door = self._door
        return self._link.connections, door.connections if door is not None else 0

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
                if self._get(f"{model_path(release)}/ready", deadline).status == 200:
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
                elif refused(answer):
                    raise with_reason(
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
                raise with_reason(
                    InferenceError(f"{release.name} is not ready at {self._config.url}: {problem}"),
                    Reason.MODEL_LOADING if answered else Reason.INFERENCE_FAILED,
                )

    def _read_config(self, release: Release, deadline: float) -> _Told:
        """Compare the served model's precision and hash with the release's.

        Raises:
            InferenceError: it runs another precision or model (MODEL_MISMATCH), does not tell the
                precision though it is not f32, or failed to answer: then nothing is known of it.
        """
        answer = self._get(f"{model_path(release)}/config", deadline)
        told, precision, most, door = "", "", None, ""
        if answer.status == 200:
            config = answer.json()
            size = config.get("max_batch_size")
            most = size if isinstance(size, int) and size > 0 else None  # 0: Triton says no limit
            told = config_parameter(config, "sha256")
            precision = config_parameter(config, "precision")
            door = config_parameter(config, "local_socket")
        elif answer.status not in _NO_SUCH_ENDPOINT:
            error = InferenceError(
                f"{self._config.url} did not tell which model {release.name} is (status "
                f"{answer.status}: {answer.error()}); look at the service, and at a proxy before it"
            )
            raise with_reason(error, reason_of(answer, error))
        self._check_precision(release, told, precision)
        if not told:
            _log.warning(
                "%s does not tell the hash of %s; only its name and version are checked",
                self._config.url,
                release.name,
            )
            return _Told(max_batch=most, door=door)
        if told != release.model_sha256:
            raise mismatch(release, f"serves the model {told[:12]}…")
        return _Told(proves_hash=True, max_batch=most, door=door)

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
        raise with_reason(
            ModelOutputError(
                f"{release.name} is to run in {asked}, but {self._config.url} {problem}; {advice}"
            ),
            Reason.MODEL_MISMATCH,
        )

    def _infer_all(
        self, release: Release, images: NDArray[np.uint8], deadline: float
    ) -> dict[str, NDArray[np.float32]]:
        """Send the images, in several requests where the service takes fewer at once."""
        most = self._told.max_batch or len(images)
        return join_outputs(
            [
                self._infer(release, images[start : start + most], deadline)
                for start in range(0, len(images), most)
            ]
        )

    def _infer(
        self, release: Release, images: NDArray[np.uint8], deadline: float
    ) -> dict[str, NDArray[np.float32]]:
        """Ask over the local socket, or over TCP where that is not there or breaks.

        A request that broke may have been computed: nobody has its answer, and the next has an id of its own.
        """
        link = self._door or self._link
        try:
            asked, answer = self._ask(link, release, images, deadline)
        except (InferenceTimeoutError, ModelOutputError):
            raise
        except InferenceError as error:
            if link is self._link or self._pause.is_set():
                raise
            _log.info("%s: its local socket is not used: %s", self._config.url, error)
            self._close_door()
            link = self._link
            asked, answer = self._ask(link, release, images, deadline)
        try:
            return read_inference(asked, answer)
        except InferenceError:
            link.close()
            raise

    def _ask(
        self, link: Link, release: Release, images: NDArray[np.uint8], deadline: float
    ) -> tuple[Asked, Answer]:
        """Send one request and return it with its answer, whatever that says. Raises InferenceError."""
        self._count += 1
        request_id = f"{self._session}-{self._count}"
        asked = Asked(self._config.url, release, request_id, len(images), self._told.proves_hash)
        link.connect(deadline)
        if self._use_memory and self._place(images, deadline) and self._segment is not None:
            body, where = (
                b"",
                {
                    "shared_memory_region": self._segment.name,
                    "shared_memory_byte_size": images.nbytes,
                },
            )
        else:
            body = images.tobytes()
            where = {"binary_data_size": len(body)}
        header = infer_header(asked, images.shape, where, deadline - time.monotonic())
        answer = link.exchange(
            "POST",
            f"{model_path(release)}/infer",
            header + body,
            {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(header))},
            deadline=deadline,
        )
        return asked, answer

    def _place(self, images: NDArray[np.uint8], deadline: float) -> bool:
        """Put the images into memory that the service knows. Returns False to send them instead."""
        try:
            if self._segment is None or self._segment.size < images.nbytes:
                outgrown, self._segment = self._segment, None
                if outgrown is not None:
                    self._give_back(outgrown, min(deadline, time.monotonic() + _GOODBYE))
                self._registered_on = (0, 0)
                self._segment = Segment(images.nbytes)
        except OSError as error:
            return self._no_memory(f"shared memory cannot be made: {error}")
        self._segment.write(images)
        if self._registered_on != self._connections():  # maybe another process by now
            answer = self._post(
                f"/v2/systemsharedmemory/region/{self._segment.name}/register",
                {"key": self._segment.key, "offset": 0, "byte_size": self._segment.size},
                deadline,
            )
            if answer.status != 200 and not self._knows_region(deadline):
                return self._no_memory(f"the service refused it: {answer.error()}")
            self._registered_on = self._connections()
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
