"""`inspection cameras list | show | tune`: which cameras are there, what one sees, and how well."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from inspection.errors import CameraError, CameraLostError, ConfigError, FrameError

if TYPE_CHECKING:
    from inspection.cameras.found import FoundCamera
    from inspection.protocols import Camera
    from inspection.types import Frame

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Find, look at and set cameras.")

_VIDEO = Path("/sys/class/video4linux")
_ALIVE = 3.0  # seconds: the line writes its state twice a second
_GRAB = 5.0
_TRIES = 5
_TRANSFER = 0.5  # seconds, for a look at a camera whose clock cannot be read


@app.command("list")
def list_cameras(
    as_json: bool = typer.Option(False, "--json", help="print one JSON array"),
) -> None:
    """List the cameras that each installed driver finds, and whether they are free."""
    found: list[FoundCamera] = []
    for name, search in _searches():
        try:
            found += search()
        except Exception as error:  # one driver that cannot search hides no other's cameras
            typer.echo(f"{name}: {error}", err=True)
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], ensure_ascii=False))
        return
    if not found:
        typer.echo("no camera found; check power, cable and the PC's network address")
        raise typer.Exit(1)
    _print_table(found)


@app.command()
def show(
    what: str = typer.Argument(
        help="a station file, or a device as `list` shows it", metavar="DEVICE|STATION.yaml"
    ),
    out: Path | None = typer.Option(None, "--out", help="save one picture here (PNG or JPEG)"),
    as_json: bool = typer.Option(False, "--json", help="print one JSON object"),
) -> None:
    """Open a camera, print its facts and settings and what its picture is like, close it.

    A camera with hardware trigger runs freely meanwhile; the line sets its trigger again. A device
    alone is opened with the driver's own settings.
    """
    from inspection.cameras.measures import measure

    camera = open_for_people(what)
    try:
        frame = _whole_picture(camera)
        facts = {"camera": camera.name, **getattr(camera, "facts", {})}
    finally:
        camera.close()
    height, width = frame.image.shape[:2]
    found = measure(frame.image)
    facts |= {
        "picture": f"{width} x {height} pixels",
        "focus": f"{found.focus:.1f}",
        "mean": f"{found.mean:.1f} of 255",
        "bright": f"{found.bright:.2%} of the pixels have no room left",
        "dark": f"{found.dark:.2%} of the pixels are black",
    }
    if out is not None:
        save(frame, out)
        facts["saved"] = str(out)
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    for name, value in facts.items():
        typer.echo(f"{name:24} {value}")


@app.command()
def tune(
    what: str = typer.Argument(
        help="a station file, or a device as `list` shows it", metavar="DEVICE|STATION.yaml"
    ),
    region: str = typer.Option(
        "", "--region", help="where to measure: x,y,width,height in pixels; default: the middle"
    ),
    port: int = typer.Option(
        8089, "--port", min=0, max=65535, help="TCP port of the page on this host; 0: a free one"
    ),
) -> None:
    """Show the live picture with focus and exposure on a page of this host, until Ctrl+C.

    The line must not run: it holds the camera. A camera with hardware trigger runs freely meanwhile.
    """
    from inspection.cameras.tune import Tuning, serve

    config = _config_of(what)
    tuning = Tuning(config.open, take_picture, _region(region))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        server = serve(tuning, port, config.name)
    except OSError as error:
        raise ConfigError(f"port {port} cannot be used: {error}; take another --port") from error
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    typer.echo(f"open {address} in a browser on this PC; Ctrl+C ends")
    try:
        tuning.run(stop, typer.echo)
    finally:
        server.shutdown()
        server.server_close()


def _region(text: str) -> tuple[int, int, int, int] | None:
    if not text:
        return None
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--region {text}: write x,y,width,height in pixels") from error
    if min(x, y) < 0 or min(width, height) < 1:
        raise ConfigError(f"--region {text}: x and y from 0, width and height from 1")
    return x, y, width, height


def open_for_people(what: str) -> Camera:
    """Open the camera of a station file, or a device; never one that the line holds.

    Raises:
        CameraLostError: the line holds it, or no such camera.
        ConfigError: the station file is wrong.
    """
    return _config_of(what).open()


def take_picture(camera: Camera) -> Frame:
    """Grab one frame that was exposed from now on."""
    from inspection.types import PartKey, Trigger

    now = time.monotonic()
    return camera.grab(Trigger(PartKey("people", 1, 1), 0, "", now, "", now + _GRAB), _GRAB)


def _whole_picture(camera: Camera) -> Frame:
    for _ in range(_TRIES - 1):
        try:
            return take_picture(camera)
        except FrameError as error:
            typer.echo(f"one frame was refused: {error}", err=True)
    return take_picture(camera)


def save(frame: Frame, path: Path) -> None:
    """Write a frame as a picture file. Raises ConfigError when it cannot be written."""
    import cv2

    try:
        done, data = cv2.imencode(path.suffix, cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
    except cv2.error as error:
        raise ConfigError(f"{path}: no such kind of picture; use .png or .jpg") from error
    if not done:
        raise ConfigError(f"{path}: the picture cannot be encoded; use .png or .jpg")
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}") from error


def _config_of(what: str) -> Any:
    if Path(what).suffix in {".yaml", ".yml"}:
        from inspection.config import load_station

        station = load_station(Path(what))
        _refuse_while_the_line_runs(station.live_folder, station.station)
        return _for_people(station.camera)
    for name, search in _searches():
        try:
            fitting = [
                each for each in search() if what in {each.device, each.serial, each.address}
            ]
        except CameraError:
            continue
        if fitting:
            point = next(p for p in entry_points(group="inspection.cameras") if p.name == name)
            return point.load().model_validate(_fields(fitting[0]))
    raise CameraLostError(
        f"no camera {what!r} was found; `inspection cameras list` shows which there are"
    )


def _for_people(config: Any) -> Any:
    """Return a camera's config without what needs the PLC: nobody gives it a pulse now."""
    if hasattr(config, "each"):
        return config.each(_for_people)
    update: dict[str, object] = {}
    if getattr(config, "trigger", "") == "hardware":
        update["trigger"] = "free_running"
    if getattr(config, "transfer", 0) is None:
        update["transfer"] = _TRANSFER
    return config.model_copy(update=update) if update else config


def _fields(found: FoundCamera) -> dict[str, object]:
    """What opens a camera that was found, with the driver's own settings."""
    if found.type == "opencv":
        return {"type": found.type, "source": found.device}
    fields: dict[str, object] = {"type": found.type, "device": found.device}
    fields |= {"trigger": "free_running", "transfer": _TRANSFER}
    if found.type == "gentl":
        fields["producer"] = found.address
    return fields


def _refuse_while_the_line_runs(folder: Path, station: str) -> None:
    try:
        state = json.loads((folder / f"{station}.json").read_bytes())
        running = bool(state["running"]) and 0 <= time.monotonic() - state["mono"] < _ALIVE
    except (OSError, ValueError, KeyError, TypeError):
        return  # no line ever ran here; a camera that is taken says so itself
    if running:
        raise CameraLostError(
            f"the line of station {station} runs and holds its camera; stop it first"
            f" (systemctl stop inspection-line@{station})"
        )


def _searches() -> Iterator[tuple[str, Any]]:
    """Name of each driver that can search, and its search."""
    for point in sorted(entry_points(group="inspection.cameras"), key=lambda each: each.name):
        module = sys.modules[point.load().__module__]
        search = getattr(module, "find_cameras", None)
        if search is not None:
            yield point.name, search
    yield "opencv", _video_devices


def _video_devices() -> list[FoundCamera]:
    """USB cameras of Video4Linux."""
    from inspection.cameras.found import FoundCamera

    if not _VIDEO.is_dir():
        return []
    return [
        FoundCamera("opencv", f"/dev/{each.name}", "", name, "", f"/dev/{each.name}", "unknown")
        for each in sorted(_VIDEO.iterdir())
        for name in [(each / "name").read_text(encoding="utf-8").strip()]
    ]


def _print_table(found: list[FoundCamera]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("type", "device", "maker", "model", "serial", "address", "state")
    for each in found:
        table.add_row(*(escape(text) for text in asdict(each).values()))
    Console().print(table)
