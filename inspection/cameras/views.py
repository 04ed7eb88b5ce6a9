"""Several cameras that look at one part, joined into one image: one part, one decision, one row.

    trigger ─┬▶ camera top  ─▶ its cell ─┐
             ├▶ camera side ─▶ its cell ─┼▶ one image ─▶ check of each view ─▶ detect ─▶ decide
             └▶ camera back ─▶ its cell ─┘

All cameras are triggered at once, each in a thread of its own, which copies its picture into its cell. The
part has an image only when every camera delivered; otherwise the first failure is the part's reason. Cells
are equal: the largest picture and a grey border right and below, so that nothing a detector finds runs from
one view into the next. A release whose tiles are these cells (`tile` of the camera's facts, no overlap) sees
each view by itself, and all of them in one batch.
"""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    model_validator,
)

from inspection.errors import CameraLostError, CameraTimeoutError, FrameError
from inspection.frame_check import same_image
from inspection.letterbox import PAD
from inspection.plugin import plugin, resolve
from inspection.protocols import Camera
from inspection.types import Frame, FrameView, Image, Reason, Trigger

_SLACK = 0.1  # seconds beyond its timeout that a camera's thread may need to give up


def _camera(value: Any) -> Any:
    if isinstance(value, dict) and value.get("type") == "views":
        raise ValueError("views cannot hold views; list all cameras in one")
    return plugin("inspection.cameras", value)


class ViewsConfig(BaseModel):
    """Several cameras as one."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    type: Literal["views"] = "views"
    name: str = Field("camera", min_length=1, max_length=64, description="name in rows and logs")
    cameras: list[Annotated[Any, BeforeValidator(_camera)]] = Field(
        min_length=2,
        max_length=8,
        description="the cameras, each as it would stand alone; their `name` names the view",
    )
    size: tuple[int, int] = Field(description="width and height of their pictures, pixels")
    sizes: dict[str, tuple[int, int]] = Field(
        {}, description="camera to width and height, where it differs from `size`"
    )
    columns: int = Field(
        0,
        ge=0,
        le=8,
        description="pictures beside each other; 0: as square as it goes without an empty place",
    )
    border: int | None = Field(
        None,
        ge=8,
        le=1024,
        description="grey pixels right of and below each picture, at least 2 % of the longest side; none: "
        "32, or that where it is more",
    )

    _unseen: dict[str, Frame] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> ViewsConfig:
        names = [camera.name for camera in self.cameras]
        if len(set(names)) < len(names):
            raise ValueError(f"cameras {names} need different names; set `name` of each")
        devices = [_device_of(camera) for camera in self.cameras]
        twice = [one for one in devices if any(one[1:]) and devices.count(one) > 1]
        if twice:
            raise ValueError(
                f"two views are one camera ({' '.join(one for one in twice[0] if one)}): a side of the part "
                "would never be seen; give each view its own"
            )
        unknown = sorted(set(self.sizes) - set(names))
        if unknown:
            raise ValueError(f"sizes names {unknown}; the cameras are {names}")
        for width, height in (self.size, *self.sizes.values()):
            if not (16 <= width <= 32768 and 16 <= height <= 32768):
                raise ValueError(f"a picture of {width} x {height} is out of 16..32768 pixels")
        if self.border is not None and self.border < self._least:
            raise ValueError(
                f"a border of {self.border} is too narrow for these pictures: defects at two facing edges "
                f"could count as one; leave it out, or write {self._least} or more, and train with that"
            )
        return self

    @property
    def _least(self) -> int:
        """Least border: boxes within 1 % of a tile's edge may be joined with those beyond it.

        The same again is for boxes that a model draws over the edge of a picture. See `inspection.tiles`.
        """
        longest = max(side for size in (self.size, *self.sizes.values()) for side in size)
        return max(8, math.ceil(0.02 * longest))

    @property
    def grey(self) -> int:
        """Grey pixels right of and below each picture."""
        return max(32, self._least) if self.border is None else self.border

    def size_of(self, camera: str) -> tuple[int, int]:
        """Return (width, height) of a camera's pictures."""
        return self.sizes.get(camera, self.size)

    @property
    def unseen(self) -> dict[str, Frame]:
        """Camera to the picture that it gave when another one failed: no part's image shows it.

        It outlives an opening, as the cameras do; the next picture must differ from it.
        """
        return self._unseen

    @property
    def cell(self) -> tuple[int, int]:
        """(height, width) of each picture's place, border included: the tile to train with."""
        sizes = [self.size_of(camera.name) for camera in self.cameras]
        return (
            max(height for _, height in sizes) + self.grey,
            max(width for width, _ in sizes) + self.grey,
        )

    def beside(self, base: Path) -> ViewsConfig:
        """Return the same with the cameras' relative paths taken from the folder `base`."""
        return self.model_copy(update={"cameras": [resolve(one, base) for one in self.cameras]})

    def each(self, change: Callable[[Any], Any]) -> ViewsConfig:
        """Return the same with every camera's config changed."""
        return self.model_copy(update={"cameras": [change(one) for one in self.cameras]})

    def open(self) -> Views:
        """Open all cameras at once.

        Raises:
            CameraError: of the first that cannot be opened; the others are closed again.
        """
        return Views(self)


def _device_of(config: Any) -> tuple[str, ...]:
    """Return what tells one camera from another; empty strings where a driver has no such field."""
    fields = ("producer", "device", "source", "path")
    return (config.type, *(str(getattr(config, name, None) or "") for name in fields))


@dataclass(slots=True)
class _Job:
    """What one camera is to do, and what came of it."""

    work: Callable[[Camera], Any]
    done: threading.Event
    result: Any = None
    error: Exception | None = None


class _Worker:
    """One camera and the thread that uses it."""

    def __init__(self, config: Any) -> None:
        self.name: str = config.name
        self.camera: Camera | None = None
        self._config = config
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name=f"camera {self.name}", daemon=True).start()

    def begin(self, work: Callable[[Camera], Any]) -> _Job:
        job = _Job(work, threading.Event())
        self._jobs.put(job)
        return job

    def close(self) -> None:
        """Close the camera from this thread; one that opens still is closed by its own."""
        with self._lock:
            self._closed = True
            camera = self.camera
        self._jobs.put(None)
        if camera is not None:
            camera.close()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job.result = job.work(self._open())
            except Exception as error:  # whatever a driver throws; the caller raises it
                job.error = error
            job.done.set()

    def _open(self) -> Camera:
        with self._lock:
            if self.camera is not None:
                return self.camera
            if self._closed:
                raise CameraLostError(f"camera {self.name} is closed; open it again")
        camera: Camera = self._config.open()
        with self._lock:
            self.camera = camera
            closed = self._closed
        if closed:
            camera.close()
        return camera


class Views:
    """Several cameras, opened; see `inspection.protocols.Camera` for the promises.

    Attributes:
        name: as configured.
        live: True when one of them is a sensor; each view tells its own.
        probe_every: the shortest of theirs.
        facts: what people are told of it.
    """

    def __init__(self, config: ViewsConfig) -> None:
        self.name = config.name
        self._config = config
        self._cell = config.cell
        count = len(config.cameras)
        self._columns = min(config.columns or _columns(count), count)
        self._rows = math.ceil(count / self._columns)
        self._unseen = config.unseen
        self._counted: set[str] = set()  # cameras whose unseen picture is of this opening
        self._closed = threading.Event()
        self._workers = [_Worker(one) for one in config.cameras]
        try:
            self._all([worker.begin(lambda _: None) for worker in self._workers], math.inf)
        except Exception:
            self.close()
            raise
        cameras = [worker.camera for worker in self._workers if worker.camera is not None]
        self.live = any(camera.live for camera in cameras)
        self.probe_every = min(camera.probe_every for camera in cameras)
        self.facts = {
            "views": ", ".join(worker.name for worker in self._workers),
            "tile": f"[{self._cell[0]}, {self._cell[1]}] (height, width), overlap 0",
        }

    def grab(self, trigger: Trigger, timeout: float) -> Frame:
        """Expose all cameras for this trigger and join what they give.

        Raises:
            CameraTimeoutError, CameraLostError, FrameError: of the first camera that failed; its name
                is in the text.
        """
        self._check_open()
        deadline = time.monotonic() + timeout
        height, width = self._rows * self._cell[0], self._columns * self._cell[1]
        image = np.empty((height, width, 3), np.uint8)
        places = [self._place(index) for index in range(self._rows * self._columns)]
        jobs = [
            worker.begin(_Take(trigger, timeout, self._config.size_of(worker.name), cell))
            for worker, cell in zip(self._workers, self._cells(image, places), strict=False)
        ]
        for cell in self._cells(image, places[len(jobs) :]):
            cell[:] = PAD
        try:
            frames: list[Frame] = self._all(jobs, deadline + _SLACK)
            self._compare(frames)
        except Exception:
            self._keep(jobs)
            raise
        self._unseen.clear()
        return self._joined(image, frames, places)

    def probe(self, timeout: float) -> None:
        """Return when every camera delivers."""
        self._check_open()
        deadline = time.monotonic() + timeout + _SLACK
        self._all(
            [worker.begin(lambda camera: camera.probe(timeout)) for worker in self._workers],
            deadline,
        )

    def close(self) -> None:
        """Close every camera; one that fails to close keeps no other open."""
        self._closed.set()
        for worker in self._workers:
            with contextlib.suppress(Exception):
                worker.close()

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise CameraLostError(f"camera {self.name} is closed; open it again")

    def _place(self, index: int) -> tuple[int, int]:
        row, column = divmod(index, self._columns)
        return column * self._cell[1], row * self._cell[0]

    def _cells(self, image: Image, places: list[tuple[int, int]]) -> list[Image]:
        height, width = self._cell
        return [image[y : y + height, x : x + width] for x, y in places]

    def _all(self, jobs: list[_Job], deadline: float) -> list[Any]:
        """Wait until every job is done, then return their results or raise the worst failure."""
        late: list[str] = []
        for worker, job in zip(self._workers, jobs, strict=True):
            left = None if math.isinf(deadline) else max(0.0, deadline - time.monotonic())
            if not job.done.wait(left):
                late.append(worker.name)
        errors = [job.error for job in jobs if job.error is not None]
        for error in errors:
            if not isinstance(error, FrameError):  # it must be opened again; that mends frames too
                raise error
        if late:
            raise CameraTimeoutError(
                f"camera {', '.join(late)} does not answer; see its cable and power"
            )
        if errors:
            raise errors[0]
        return [job.result for job in jobs]

    def _keep(self, jobs: list[_Job]) -> None:
        """Remember what single cameras gave for a part that gets no image; over a reopening, too."""
        for worker, job in zip(self._workers, jobs, strict=True):
            if isinstance(job.result, Frame):
                self._unseen[worker.name] = job.result
                self._counted.add(worker.name)

    def _compare(self, frames: list[Frame]) -> None:
        """Refuse a picture that a camera gave before, for a part that got no image."""
        for worker, frame in zip(self._workers, frames, strict=True):
            before = self._unseen.get(worker.name)
            if before is None or worker.camera is None:
                continue
            if worker.name in self._counted and frame.frame_id == before.frame_id:
                raise FrameError(
                    Reason.FRAME_REPEATED,
                    f"camera {worker.name}: frame id {frame.frame_id} was used before",
                )
            if worker.camera.live and same_image(frame.image, before.image):
                raise FrameError(
                    Reason.FRAME_IDENTICAL,
                    f"camera {worker.name}: byte-identical to the previous frame",
                )

    def _joined(self, image: Image, frames: list[Frame], places: list[tuple[int, int]]) -> Frame:
        views: list[FrameView] = []
        for worker, frame, (x, y) in zip(self._workers, frames, places, strict=False):
            height, width = frame.image.shape[:2]
            live = worker.camera is not None and worker.camera.live
            box = (x, y, x + width, y + height)
            views.append(FrameView(worker.name, box, frame.frame_id, frame.exposed_mono, live))
        sources = [
            f"{view.camera} {view.frame_id} {frame.source}".strip()
            for view, frame in zip(views, frames, strict=True)
        ]
        return Frame(
            image,
            views[0].frame_id,
            min(view.exposed_mono for view in views),
            self.name,
            source=", ".join(sources),
            truth=_truth(frames),
            views=tuple(views),
        )


def _columns(count: int) -> int:
    """Return how many cells lie beside each other: an empty one would cost an inference."""
    return next(n for n in range(math.ceil(math.sqrt(count)), count + 1) if count % n == 0)


def _truth(frames: list[Frame]) -> dict[str, int] | None:
    """Return what simulated cameras know of the part together; None when one does not know."""
    together: Counter[str] = Counter()
    for frame in frames:
        if frame.truth is None:
            return None
        together.update(frame.truth)
    return dict(together)


@dataclass(frozen=True, slots=True)
class _Take:
    """Grab one camera's frame and copy it into its cell; done in the camera's thread."""

    trigger: Trigger
    timeout: float
    size: tuple[int, int]
    cell: Image

    def __call__(self, camera: Camera) -> Frame:
        frame = camera.grab(self.trigger, self.timeout)
        width, height = self.size
        if frame.image.shape != (height, width, 3) or frame.image.dtype != np.uint8:
            shape = " x ".join(str(side) for side in frame.image.shape[1::-1])
            raise FrameError(
                Reason.FRAME_SIZE,
                f"camera {camera.name} gave {shape}, the station file says {width} x {height};"
                " set `size` or `sizes` of the views, or the camera",
            )
        self.cell[:height, :width] = frame.image
        self.cell[:height, width:] = PAD
        self.cell[height:] = PAD
        return frame
