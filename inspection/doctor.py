"""`inspection doctor`: what is missing or misbuilt on this PC, each with what to do about it."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from inspection.errors import InspectionError, StoreError

if TYPE_CHECKING:
    from inspection.config import StationConfig

app = typer.Typer(add_completion=False)

_MIN_FREE_GB = 5.0
_MIN_STORE_GB = 1.0
_BUILT = datetime(2026, 11, 1, tzinfo=UTC)
_PAIR_TEST = (
    "import torch, torchvision; "
    "torchvision.ops.nms(torch.tensor([[0.,0.,1.,1.]]), torch.tensor([1.]), 0.5); "
    "print(torch.__version__, torchvision.__version__, torch.cuda.is_available())"
)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what was looked at.
        state: ok, warn (it runs, but…) or fail.
        found: what is there.
        todo: what to do; empty when ok.
    """

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    todo: str = ""


@app.command()
def doctor(
    station: Path | None = typer.Argument(
        None, help="also check this station", metavar="[STATION.yaml]"
    ),
    as_json: bool = typer.Option(False, "--json", help="print one JSON object"),
) -> None:
    """Check this PC, and a station's camera, PLC, store and releases. Exit code 1 when one fails."""
    checks = list(check_pc())
    if station is not None:
        checks += check_station(station)
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], ensure_ascii=False))
    else:
        _print(checks)
    raise typer.Exit(1 if any(check.state == "fail" for check in checks) else 0)


def check_pc() -> Generator[Check]:
    """Look at what every station needs of its PC."""
    yield _python()
    yield _opencv()
    yield _openvino()
    yield _onnxruntime()
    yield _torch_pair()
    yield _disk(Path.cwd())
    yield _clock()


def check_station(path: Path) -> Generator[Check]:
    """Look at one station: its file, releases, store, camera, PLC and service."""
    from inspection.config import load_station

    try:
        config = load_station(path)
    except InspectionError as error:
        yield Check("station file", "fail", str(error), "correct the file")
        return
    yield Check("station file", "ok", f"{path}, station {config.station}")
    yield from _releases(config)
    yield _guarded("recipe in force", lambda: _recipe(config))
    yield _guarded("recipes", lambda: _recipes(config))
    yield _guarded("results store", lambda: _store(config))
    yield _guarded("disk of the store", lambda: _store_disk(config))
    yield _guarded("disk of the pictures", lambda: _pictures_disk(config))
    yield _guarded("pictures", lambda: _pictures(config))
    yield _guarded("camera", lambda: _camera(config))
    yield _guarded("PLC", lambda: _plc(config))
    yield _guarded("runtime", lambda: _runtime(config))
    yield _guarded("tuned", lambda: _tuned(config))
    if config.web is not None:
        yield _guarded("certificate", lambda: _certificate(config))
    if config.upward:
        yield _guarded("upward", lambda: _upward(config))


def _guarded(name: str, look: Callable[[], Check]) -> Check:
    """A check that fails is a finding, never the end of the examination."""
    try:
        return look()
    except InspectionError as error:
        return Check(name, "fail", str(error), "see the message")
    except Exception as error:  # whatever a driver throws is what the user must see
        return Check(name, "fail", f"{type(error).__name__}: {error}", "check driver and cable")


def _python() -> Check:
    return Check("Python", "ok", sys.version.split()[0])


def _opencv() -> Check:
    versions = {name: _version(name) for name in ("opencv-python", "opencv-python-headless")}
    found = {name: version for name, version in versions.items() if version}
    text = ", ".join(f"{name} {version}" for name, version in found.items())
    try:
        import cv2
    except ImportError as error:
        return Check("OpenCV", "fail", f"{text}: {error}", "apt-get install libgl1 libglib2.0-0")
    if len(set(found.values())) > 1:
        todo = "both write the same folder: install one version of both, see constraints.txt"
        return Check("OpenCV", "fail", f"{text}; {cv2.__version__} is the one loaded", todo)
    return Check("OpenCV", "ok", text)


def _openvino() -> Check:
    from inspection.runtimes.libraries import openvino_core

    try:
        core = openvino_core()
    except ImportError as error:
        return Check("OpenVINO", "fail", str(error), "pip install -c constraints.txt openvino")
    devices = [
        f"{name} ({core.get_property(name, 'FULL_DEVICE_NAME')})" for name in core.available_devices
    ]
    return Check("OpenVINO", "ok", f"{_version('openvino')}: {', '.join(devices)}")


def _onnxruntime() -> Check:
    from inspection.runtimes.libraries import import_onnxruntime

    try:
        onnxruntime = import_onnxruntime()
    except ImportError as error:
        return Check(
            "ONNX Runtime", "fail", str(error), "pip install -c constraints.txt onnxruntime"
        )
    return Check(
        "ONNX Runtime",
        "ok",
        f"{onnxruntime.__version__}: {', '.join(onnxruntime.get_available_providers())}",
    )


def _torch_pair() -> Check:
    """In a process of its own: a misbuilt pair can fail in ways that no `except` catches."""
    name = "torch and torchvision"
    if _version("torch") is None:
        return Check(name, "ok", "not installed; only training needs them")
    done = subprocess.run(
        [sys.executable, "-c", _PAIR_TEST], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        todo = "install the pair named in constraints.txt from one source"
        return Check(
            name, "fail", f"{_version('torch')} with {_version('torchvision')}: {last}", todo
        )
    torch, torchvision, cuda = done.stdout.split()
    return Check(name, "ok", f"{torch} with {torchvision}, GPU {'yes' if cuda == 'True' else 'no'}")


def _disk(folder: Path) -> Check:
    usage = shutil.disk_usage(folder)
    text = f"{usage.free / 1e9:.0f} of {usage.total / 1e9:.0f} GB free at {folder}"
    if usage.free < _MIN_FREE_GB * 1e9:
        return Check("disk", "warn", text, "free some space: pictures are shed when it runs out")
    return Check("disk", "ok", text)


def _clock() -> Check:
    now = datetime.now(UTC)
    zone = time.strftime("%Z %z")
    if now < _BUILT:
        return Check(
            "clock",
            "fail",
            f"{now:%Y-%m-%d %H:%M} UTC is in the past",
            "set the clock; switch NTP on",
        )
    return Check("clock", "ok", f"{now:%Y-%m-%d %H:%M} UTC, local zone {zone}")


def _releases(config: StationConfig) -> Generator[Check]:
    from inspection.release import find_release, list_releases
    from inspection.variants import FLOAT, FOLDER, doubts

    precision = str(getattr(config.runtime, "precision", FLOAT))
    found = list_releases(config.releases)
    if not found:
        yield Check("releases", "fail", f"none in {config.releases}", "train one: inspection train")
    for part, numbers in found.items():
        for number in numbers:
            name = f"release {part}/{number}"
            try:
                release = find_release(config.releases, part, number)
                there = (release.folder / FOLDER / precision).is_dir()
                told = doubts(release, precision) if there else []
            except InspectionError as error:
                yield Check(name, "fail", str(error), "restore it from its backup or release again")
            else:
                text = f"hashes agree, {release.task}, classes {', '.join(release.classes)}"
                if told:
                    todo = f"evaluate it here, or make the variant here: {precision}"
                    yield Check(name, "warn", "; ".join([text, *told]), todo)
                else:
                    yield Check(name, "ok", text)


def _recipe(config: StationConfig) -> Check:
    if config.recipe == 0:
        return Check("recipe in force", "ok", "the PLC asks for one")
    book = config.recipe_book()
    recipe, release = book.get(config.recipe)
    text = f"{recipe.number}: {release.name}, deadline {recipe.deadline} s"
    if config.joined and not recipe.frame.views:
        said = f"{text}; it does not name the cameras in their order"
        return Check(
            "recipe in force", "warn", said, f"write frame: views: [{', '.join(config.joined)}]"
        )
    return Check("recipe in force", "ok", text)


def _recipes(config: StationConfig) -> Check:
    """Look at all that the PLC may ask for: one that an update refuses shows itself here, not mid-shift."""
    faults = config.recipe_book().faults()
    if faults:
        todo = "correct it, or READY goes off when the PLC asks for it"
        return Check("recipes", "warn", "; ".join(faults), todo)
    count = len(list(config.recipes.glob("*.yaml")))
    return Check("recipes", "ok", f"{count} in {config.recipes}")


def _store(config: StationConfig) -> Check:
    from inspection.store.config import StoreConfig
    from inspection.store.queries import StoreReader

    store: StoreConfig = config.store
    path = store.sqlite_path
    if path is not None and not path.exists():
        if not path.parent.is_dir():
            return Check("results store", "fail", f"{path.parent} is no folder", "create it")
        return Check("results store", "ok", f"{path} will be made at the first start")
    with StoreReader(store) as reader:
        counts = reader.counts()
    return Check("results store", "ok", f"{sum(counts.values())} parts in {store.url}")


def _store_disk(config: StationConfig) -> Check:
    from inspection.store.disks import check_store, free_bytes

    check_store(config.store)
    folder = (config.store.sqlite_path or config.store.journal_path).parent
    free, total = free_bytes(folder)
    text = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free at {folder}, writable"
    if config.store.sqlite_path is not None and free < _MIN_STORE_GB * 1e9:
        return Check("disk of the store", "warn", text, "free some space: full, the line stops")
    return Check("disk of the store", "ok", text)


def _pictures_disk(config: StationConfig) -> Check:
    from inspection.store.disks import check_folder, free_bytes, wanted_free

    images, name = config.store.images, "disk of the pictures"
    folder = check_folder(images.folder)
    free, total = free_bytes(folder)
    wanted = wanted_free(images, total)
    text = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free at {folder}, {wanted / 1e9:.1f} are to stay free"
    if free < wanted:
        todo = (
            "pictures of passed parts go for each new one, and with none left no picture is kept: free some "
            "space, or lower store.images.min_free_gb and min_free_percent"
        )
        return Check(name, "warn", text, todo)
    return Check(name, "ok", text)


def _pictures(config: StationConfig) -> Check:
    from inspection.store.strangers import find_strangers

    path = config.store.sqlite_path
    if path is not None and not path.exists():
        return Check("pictures", "ok", "not looked at: there is no store yet")
    found = find_strangers(config.store, config.station)
    if found is None:
        return Check("pictures", "ok", "all in folders that the store knows")
    todo = "nothing deletes them: see docs/how-to/back-up-and-verify.md, pictures without a store"
    return Check("pictures", "warn", str(found), todo)


def _camera(config: StationConfig) -> Check:
    camera = config.camera.open()
    try:
        camera.probe(config.timing.camera_timeout + 2.0)
    finally:
        camera.close()
    return Check("camera", "ok", f"{camera.name} delivers")


def _plc(config: StationConfig) -> Check:
    """Look at the PLC while no line of this station runs: a second connection can drop a line's outputs."""
    from inspection.store.alone import no_line_runs

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(no_line_runs(config.store, config.station))
        except StoreError as error:
            text = "not asked: a line of this station runs, or that cannot be told"
            todo = "stop the line to look at the PLC, or see its link in the line's log"
            return Check("PLC", "warn", f"{text} ({error})", todo)
        return _ask_plc(config)


def _ask_plc(config: StationConfig) -> Check:
    plc = config.plc.open()
    pause = threading.Event()
    try:
        plc.connect()
        first = plc.read_words(config.plc.ctrl_address, 16)
        started = time.monotonic()
        plc.read_words(config.plc.ctrl_address, 16)
        trip = time.monotonic() - started
        pause.wait(0.5)
        second = plc.read_words(config.plc.ctrl_address, 16)
    finally:
        plc.close()
    text = f"answers in {trip * 1e3:.1f} ms"
    if first[1] == second[1]:
        return Check(
            "PLC", "warn", f"{text}, but its heartbeat (CTRL word 1) stands still",
            "start the PLC's program; check ctrl_address",
        )  # fmt: skip
    return Check("PLC", "ok", f"{text}, heartbeat moves")


def _runtime(config: StationConfig) -> Check:
    if config.recipe == 0:
        return Check("runtime", "ok", "not tried: no recipe at start")
    book = config.recipe_book()
    _, release = book.get(config.recipe)
    runtime = config.runtime.open()
    try:
        started = time.monotonic()
        runtime.load(release, 30.0)
    finally:
        runtime.close()
    return Check(
        "runtime", "ok", f"{release.name} loaded and run once in {time.monotonic() - started:.1f} s"
    )


def _tuned(config: StationConfig) -> Check:
    """Compare the station's runtime with what was fastest on this kind of PC."""
    from inspection.plugin import plugin
    from inspection.release import MODEL, read_card
    from inspection.tuned import block, chosen_fields, read_tune

    if config.recipe == 0:
        return Check("tuned", "ok", "not looked at: no recipe at start")
    book = config.recipe_book()
    recipe, release = book.get(config.recipe)
    card = read_tune(release.folder)
    if card is None:
        return Check("tuned", "ok", f"{release.name} was not tuned on this kind of PC")
    again = f"inspection tune {release.folder} --deadline SECONDS"
    if read_card(release.folder).files[MODEL] != card.base_sha256:
        return Check("tuned", "warn", f"{release.name}: another model was tuned here", again)
    if card.chosen is None:
        text = f"nothing kept {card.deadline:g} s for {release.name} here"
        return Check("tuned", "warn", text, "see what would: " + again)
    best = plugin("inspection.runtimes", card.chosen.runtime)
    text = f"{release.name}: {block(card.chosen.runtime)} on {card.created_at[:10]}"
    if chosen_fields(best) != chosen_fields(config.runtime):
        todo = "set the station's runtime to it, or tune again: " + again
        now = block(chosen_fields(config.runtime))
        return Check("tuned", "warn", f"{text}; the station runs {now}", todo)
    times = card.chosen.times
    if times is not None and times.worst_ms > 1e3 * recipe.deadline:
        text += (
            f" took up to {times.worst_ms:.0f} ms, the recipe's deadline is {recipe.deadline:g} s"
        )
        return Check("tuned", "warn", text, "give the recipe more time, or take a smaller model")
    return Check("tuned", "ok", text)


def _certificate(config: StationConfig) -> Check:
    from inspection.tls import read_tls

    web = config.web
    tls = None if web is None else read_tls(web.certificate, web.key)
    if tls is None:
        return Check("certificate", "ok", "none: the pages are without TLS")
    if tls.warning:
        return Check("certificate", "warn", tls.warning, "get a new certificate")
    end = "" if tls.ends is None else f", until {tls.ends:%Y-%m-%d}"
    return Check("certificate", "ok", f"{tls.certificate}{end}")


def _upward(config: StationConfig) -> Check:
    from inspection.store.outbox_standing import Standing, read_standings

    def told(one: Standing) -> str:
        text = f"{one.destination}: {one.waiting} waiting"
        if one.oldest_age is not None:
            text += f", the oldest for {one.oldest_age:.0f} s"
        if one.quarantined:
            text += f", {one.quarantined} refused"
        return f"{text}, away: {one.detail}" if one.attempts else text

    found = read_standings(config.store, config.station)
    missing = {link.name for link in config.upward} - {one.destination for one in found}
    text = "; ".join(told(one) for one in found)
    if missing:
        names = ", ".join(sorted(missing))
        return Check("upward", "warn", f"not entered yet: {names}. {text}", "start the line once")
    if any(one.quarantined for one in found):
        todo = "see docs/how-to/upward.md, quarantine"
        return Check("upward", "warn", text, todo)
    if any(one.late or one.attempts for one in found):
        return Check("upward", "warn", text, "check the receiver, then inspection upward --status")
    return Check("upward", "ok", text)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _print(checks: list[Check]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        "", "what", "found", "what to do", title="inspection doctor", title_justify="left"
    )
    marks = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[bold red]FAIL[/]"}
    for check in checks:
        said = (check.name, check.found, check.todo)
        table.add_row(marks[check.state], *(escape(text) for text in said))
    Console().print(table)
