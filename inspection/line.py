"""`inspection line STATION.yaml`: put one station together from its file and run it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from inspection.errors import InspectionError

if TYPE_CHECKING:
    from inspection.acquire import Acquire
    from inspection.codes import CodeReader
    from inspection.config import StationConfig
    from inspection.detect import DetectStage
    from inspection.metrics import LineMetrics
    from inspection.part import PartInFlight, Setup
    from inspection.types import Frame, Result

app = typer.Typer(add_completion=False)
log = logging.getLogger("inspection.line")
_STAGES = {"acquire", "detect", "record", "images"}
"""Names of the threads that a driver or a disk can hold up."""


@app.command()
def line(
    station: Path = typer.Argument(help="the station file", metavar="STATION.yaml"),
    check: bool = typer.Option(
        False, "--check", help="read the station file and its recipe, then leave"
    ),
    verbose: bool = typer.Option(False, "--verbose", help="log what libraries say as well"),
) -> None:
    """Inspect the parts that the PLC triggers, until SIGTERM or Ctrl+C.

    Exit code 0 after a stop, 1 when only a restart helps (the supervisor restarts it), 2 for a wrong
    station file.
    """
    from inspection.config import load_station

    config = load_station(station)
    if check:
        logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
        if config.recipe:
            book = config.recipe_book()
            recipe, release = book.get(config.recipe)
            typer.echo(
                f"recipe {recipe.number}: {release.name}, classes {', '.join(release.classes)}"
            )
        typer.echo(f"{station} is valid")
        return
    start_logging(verbose)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    code = 0
    try:
        run_station(config, stop)
    except InspectionError as error:
        log.critical("the line process ends: %s", error)
        code = 1
    _leave_drivers(code)
    raise typer.Exit(code)


def _leave_drivers(code: int) -> None:
    """End the process at once when a stage is still inside a driver, which the interpreter's end would abort.

    Everything is closed by now; what the driver still delivers is used by nobody.
    """
    busy = [thread.name for thread in threading.enumerate() if thread.name in _STAGES]
    if busy:
        log.warning("the process ends while %s still waits for its driver", " and ".join(busy))
        logging.shutdown()
        os._exit(code)


def start_logging(verbose: bool) -> None:
    """Log as one JSON object a line on standard error; third-party loggers come along."""
    import structlog

    shared = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO if verbose else logging.WARNING)
    logging.getLogger("inspection").setLevel(logging.INFO)
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)


def run_station(config: StationConfig, stop: threading.Event) -> None:
    """Open the store, wire the stages, and inspect until `stop` is set."""
    from inspection.codes import CodeReader
    from inspection.live import Live
    from inspection.metrics import LineMetrics
    from inspection.record import Record
    from inspection.station import Station
    from inspection.store.images import ImageWriter
    from inspection.store.sql import SqlStore
    from inspection.types import PartKey, Reason, StoredImage

    metrics = LineMetrics(config.station)
    live = Live(config.live_folder, config.station)
    _serve_metrics(metrics, config.metrics_port)
    destinations = {link.name: link.patience for link in config.upward}
    store = SqlStore(config.store, upward={config.station: destinations})
    closed = store.close_open_parts(config.station, Reason.RESTART)
    if closed:
        log.warning("%d parts were open when the line stopped: NOT_INSPECTED", closed)
    last = store.last_part(config.station)
    epoch = store.begin_epoch(config.station, "start")
    scanner = config.scanner.open() if config.scanner else None
    codes = CodeReader(scanner)
    record: list[Record] = []

    def image_done(key: PartKey, state: str, files: list[StoredImage]) -> None:
        record[0].images(key, state, files)

    images = ImageWriter(config.store, image_done)
    metrics.watch("rows", lambda: store.waiting)
    metrics.watch("pictures", lambda: images.waiting)

    def open_record(wake: Callable[[], None]) -> Record:
        record.append(Record(store, images, config.station, wake, metrics.pictured))
        return record[0]

    def answered(part: PartInFlight) -> None:
        metrics.answered(part)
        live.answered(part)

    station = Station(
        config.station,
        exchange=config.exchange(),
        open_acquire=_open_acquire(config),
        open_detect=_open_detect(config, codes),
        open_record=open_record,
        recipes=_setups(config, codes),
        first_recipe=config.recipe,
        epoch=epoch,
        last=last,
        timing=config.timing.timing(config.plc),
        answered=answered,
        readiness=metrics.readiness,
    )
    log.info("station %s, epoch %d", config.station, epoch)
    live.start(station.status)
    try:
        station.run(stop)
    finally:
        if scanner is not None:
            scanner.close()
        live.close()
        images.close()
        store.close()


def _serve_metrics(metrics: LineMetrics, port: int) -> None:
    """Serve the metrics page, where one is asked for; a line without it inspects as well."""
    if port == 0:
        return
    try:
        metrics.serve(port)
    except OSError as error:
        log.warning("no metrics page: port %d: %s; set another metrics_port", port, error)


def _open_acquire(config: StationConfig) -> Callable[..., Acquire]:
    """Return what makes an acquire stage."""
    from inspection.acquire import Acquire

    def opened(
        wake: Callable[[], None], deliver: Callable[[PartInFlight], None], last: Frame | None
    ) -> Acquire:
        timeout = config.timing.camera_timeout
        return Acquire(config.camera.open, deliver, wake, timeout=timeout, previous=last)

    return opened


def _open_detect(config: StationConfig, codes: CodeReader) -> Callable[..., DetectStage]:
    """Return what makes a detect stage."""
    from inspection.detect import DetectStage
    from inspection.detector import Detector

    def opened(
        wake: Callable[[], None], late: Callable[[PartInFlight, Result], None]
    ) -> DetectStage:
        return DetectStage(
            config.runtime.open,
            lambda setup, runtime: Detector(setup.release, runtime),
            wake,
            late,
            timeout=config.timing.inference_timeout,
            read_codes=codes.read,
            code_fault=codes.fault,
        )

    return opened


def _setups(config: StationConfig, codes: CodeReader) -> Callable[[int], Setup]:
    """Return what finds the recipe of a number and its release; raises ConfigError or ReleaseError."""
    from inspection.part import Setup

    book = config.recipe_book()

    def found(number: int) -> Setup:
        recipe, release = book.get(number)
        codes.check(recipe)
        return Setup(recipe, release)

    return found
