"""The service's routes.

    a program? (Programs) ─▶ …/infer ─▶ InferRoute (plain ASGI: the line waits for it)
                           └▶ all else ─▶ FastAPI
    LocalDoor ─▶ inferences of this host

All raise RequestError, which becomes a JSON body with `error` and `code`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Hashable
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile as StarletteUpload
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import inspection
from inspection.detector import merge_views, read_views
from inspection.errors import InferenceError
from inspection.letterbox import fill, plan_views
from inspection.tiles import tiles_together
from inspection.types import Detections, Image
from inspection_serve.inference.apart import Apart
from inspection_serve.inference.callers import Programs, is_local
from inspection_serve.inference.health import Health
from inspection_serve.inference.infer import Inferences, InferRoute
from inspection_serve.inference.local_door import LocalDoor
from inspection_serve.inference.metrics import Metrics
from inspection_serve.inference.models import Models, Served, configure_model, describe_model
from inspection_serve.inference.picture import MAX_BYTES, decode_picture
from inspection_serve.inference.protocol import MAX_JSON, RequestError
from inspection_serve.inference.shared_memory import SharedMemory

EXTENSIONS = [
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "system_shared_memory",
]
T = TypeVar("T")
CLOSE = 4.0
"""Longest wait, seconds, for what is served to end."""
WATCH = 1.0
"""Longest time, seconds, between two looks for an inference that hangs."""
_log = logging.getLogger(__name__)


def build_app(
    models: Models,
    metrics: Metrics,
    health: Health,
    *,
    stall: float,
    on_fault: Callable[[str], None],
    on_loaded: Callable[[], None],
    names: Collection[str] = (),
) -> ASGIApp:
    """Return the ASGI application.

    Args:
        models: what is served; the releases in force are loaded when the application starts.
        metrics: shown at `/metrics`.
        health: shown at `/v2/health/ready`.
        stall: an inference that runs for longer, in seconds, is a fault.
        on_fault: called when an inference hangs.
        on_loaded: called when the first load is done.
        names: of this host that requests may call it by, see `callers.Programs`; empty: any.
    """
    memory = SharedMemory()
    inferences = Inferences(models, memory, metrics, health)
    door = LocalDoor(inferences)
    apart = Apart()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        tasks = [
            asyncio.create_task(_load_first(apart, models, health, on_loaded)),
            asyncio.create_task(_watch(models, stall, on_fault)),
        ]
        door.open()
        yield
        for task in tasks:
            task.cancel()
        apart.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE):
                await Apart().run("close", models.close)
        door.close()
        memory.close()

    app = FastAPI(
        title="Inspection inference service",
        version=inspection.__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    _add_errors(app)
    _add_health(app, models, health)
    _add_models(app, models, inferences, door)
    _add_changes(app, models, inferences, apart)
    _add_memory(app, memory)
    _add_inspect(app, inferences, models.max_batch)

    @app.get("/metrics")
    async def show_metrics() -> Response:
        """Counters in Prometheus' text format."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return Programs(InferRoute(_BodyLimit(app), inferences), names)


async def _load_first(
    apart: Apart, models: Models, health: Health, on_loaded: Callable[[], None]
) -> None:
    try:
        await apart.run("first", models.load_current)
    except Exception:
        _log.exception("the releases could not be read")
    health.loaded = True
    on_loaded()


async def _watch(models: Models, stall: float, on_fault: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(min(WATCH, stall / 2))
        name = models.stalled(stall)
        if name is not None:
            on_fault(f"{name}: an inference has been running for over {stall:g} s")
            return


class _BodyLimit:
    """Refuses bodies that are larger than a picture may be, before they are kept."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        left = MAX_BYTES + 65536

        async def limited() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, f"the body is larger than {MAX_BYTES} bytes")
            return message

        await self._app(scope, limited, send)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> Response:
        return Response(error.body(), error.status, media_type="application/json")

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> Response:
        codes = {404: "not_found", 413: "too_large"}
        body = {"error": str(error.detail), "code": codes.get(error.status_code, "bad_request")}
        return JSONResponse(body, error.status_code)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return JSONResponse({"error": f"{where}: {first['msg']}", "code": "bad_request"}, 400)

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": f"internal error: {error}", "code": "failed"}, 500)


def _add_health(app: FastAPI, models: Models, health: Health) -> None:
    @app.get("/v2")
    async def server() -> dict[str, Any]:
        """Name, version, extensions."""
        return {
            "name": "inspection",
            "version": inspection.__version__,
            "extensions": EXTENSIONS,
        }

    @app.get("/v2/health/live")
    async def live() -> Response:
        """200 while the process answers and has no fault."""
        return Response(status_code=503 if health.fault else 200)

    @app.get("/v2/health/ready")
    async def ready() -> Response:
        """200 when the first load is done and there is no fault; each model has its own ready."""
        return Response(status_code=200 if health.ready else 503)

    @app.post("/v2/repository/index")
    async def index() -> list[dict[str, Any]]:
        """Every release on disk with its state."""
        return await asyncio.to_thread(models.index)


def _both(app: FastAPI, tail: str) -> Callable[[Callable[..., Coroutine[Any, Any, Any]]], None]:
    """Register a GET route with and without `/versions/{version}`."""

    def add(endpoint: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        app.get(f"/v2/models/{{model}}{tail}")(endpoint)
        app.get(f"/v2/models/{{model}}/versions/{{version}}{tail}")(endpoint)

    return add


def _add_models(app: FastAPI, models: Models, inferences: Inferences, door: LocalDoor) -> None:
    @_both(app, "")
    async def metadata(model: str, version: str | None = None) -> dict[str, Any]:
        """Inputs and outputs of a release."""
        return describe_model(models.find(model, version), models.versions(model))

    @_both(app, "/ready")
    async def ready(model: str, version: str | None = None) -> Response:
        """200 when this release answers."""
        inferences.find(model, version)
        return Response(status_code=200)

    @_both(app, "/config")
    async def config(model: str, version: str | None = None) -> dict[str, Any]:
        """Configuration as Triton writes it."""
        return configure_model(models.find(model, version), models.max_batch, door.name)


def _add_changes(app: FastAPI, models: Models, inferences: Inferences, apart: Apart) -> None:
    async def change(key: Hashable, work: Callable[[], T]) -> T:
        inferences.check_health()
        try:
            return await apart.run(key, work)
        except asyncio.CancelledError:  # the server hangs up on who still waits when it stops
            raise RequestError("the service stops", 503, "loading") from None

    @app.post("/v2/repository/models/{model}/load")
    async def load(model: str, request: Request) -> dict[str, Any]:
        """Load and warm a release beside the others; it then becomes the default."""
        given = await _parameters(request)
        version, default = _version(given), given.get("default") is not False
        inferences.check_health()
        wanted = await asyncio.to_thread(models.wanted, model, version)
        number = await change(
            ("load", model, version, wanted, default),
            lambda: models.load(model, version, make_default=default),
        )
        return {"name": model, "version": str(number), "state": "READY"}

    @app.post("/v2/repository/models/{model}/unload")
    async def unload(model: str, request: Request) -> dict[str, Any]:
        """Stop serving one version, or all of a part."""
        version = _version(await _parameters(request))
        await change(("unload", model, version), lambda: models.unload(model, version))
        return {"name": model, "state": "UNAVAILABLE"}

    @app.post("/v2/repository/models/{model}/rollback")
    async def rollback(model: str) -> dict[str, Any]:
        """Serve the version that was the default before."""
        number = await change(("rollback", model), lambda: models.rollback(model))
        return {"name": model, "version": str(number), "state": "READY"}


async def _body(request: Request) -> dict[str, Any]:
    """Return a JSON object, or an empty one for an empty body."""
    data = await request.body()
    if len(data) > MAX_JSON:
        raise RequestError(f"the JSON is larger than {MAX_JSON} bytes", 413, "too_large")
    try:
        value = json.loads(data) if data.strip() else {}
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the request is not JSON: {str(error)[:100]}") from error
    if not isinstance(value, dict):
        raise RequestError("the request must be a JSON object")
    return value


async def _parameters(request: Request) -> dict[str, Any]:
    given = (await _body(request)).get("parameters") or {}
    if not isinstance(given, dict):
        raise RequestError("`parameters` must be an object")
    return given


def _version(given: dict[str, Any]) -> str | None:
    value = given.get("version")
    return None if value is None else str(value)


def _add_memory(app: FastAPI, memory: SharedMemory) -> None:
    base = "/v2/systemsharedmemory"

    def only_local(request: Request) -> None:
        if not is_local(request.scope):
            raise RequestError("shared memory is for clients on this host", 403, "forbidden")

    @app.get(f"{base}/status")
    async def all_status(request: Request) -> list[dict[str, Any]]:
        """Describe every region."""
        only_local(request)
        return memory.status()

    @app.get(f"{base}/region/{{name}}/status")
    async def status(name: str, request: Request) -> list[dict[str, Any]]:
        """Describe one region."""
        only_local(request)
        return memory.status(name)

    @app.post(f"{base}/region/{{name}}/register")
    async def register(name: str, request: Request) -> dict[str, Any]:
        """Make a client's memory known under a name."""
        only_local(request)
        given = await _body(request)
        memory.register(name, given.get("key"), given.get("offset", 0), given.get("byte_size"))
        return {}

    @app.post(f"{base}/region/{{name}}/unregister")
    async def unregister(name: str, request: Request) -> dict[str, Any]:
        """Forget one region."""
        only_local(request)
        memory.unregister(name)
        return {}

    @app.post(f"{base}/unregister")
    async def unregister_all(request: Request) -> dict[str, Any]:
        """Forget every region."""
        only_local(request)
        memory.unregister()
        return {}


def _add_inspect(app: FastAPI, inferences: Inferences, max_batch: int) -> None:
    @app.post("/api/v1/inspect")
    async def inspect(request: Request, part: str, version: str | None = None) -> dict[str, Any]:
        """Find what a release knows in a JPEG or PNG: the body itself, or the form field `file`.

        Boxes are x1 y1 x2 y2 in pixels of the upright picture (EXIF orientation applied). This
        gives detections, never a decision: that needs the recipe, and is the line's.
        """
        served = inferences.find(part, version)
        data = await _picture_bytes(request)
        image = await asyncio.to_thread(decode_picture, data)
        try:
            found = await _find(served, image, max_batch)
        except InferenceError as error:
            raise RequestError(str(error), 500, "failed") from error
        inferences.check_health()
        return {
            "part": part,
            "version": str(served.release.number),
            "model_sha256": served.release.model_sha256,
            "image": {"width": image.shape[1], "height": image.shape[0]},
            "detections": found.as_rows(),
            "anomaly_score": found.anomaly_score,
        }


async def _find(served: Served, image: Image, max_batch: int) -> Detections:
    """Return what a release finds in a picture, as the line's detector does, tile by tile."""
    release = served.release
    image_size = (image.shape[0], image.shape[1])
    views = plan_views(image_size, release.input_size, release.tiling)
    together = min(tiles_together(release), max_batch)
    found: list[Detections] = []
    for start in range(0, len(views), together):
        some = views[start : start + together]
        images = await asyncio.to_thread(fill, image, some, release.input_size)
        outputs = await asyncio.wrap_future(served.batcher.submit(images))
        found += await asyncio.to_thread(read_views, release, outputs, some)
    return await asyncio.to_thread(merge_views, release, found, views, image_size)


async def _picture_bytes(request: Request) -> bytes:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        data = await request.body()
    else:
        async with request.form(max_files=1, max_fields=8) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile | StarletteUpload):
                raise RequestError("the form needs a field `file` with the picture")
            data = await file.read()
    if not data:
        raise RequestError("no picture came; send a JPEG or PNG as the body or as field `file`")
    return data
