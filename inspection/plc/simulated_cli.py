"""`inspection plc-sim`: the simulated PLC as a process of its own."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inspection.plc.servers import PROTOCOLS

if TYPE_CHECKING:
    from inspection.plc.simulated import SimulatedPlc
    from inspection.plc.simulated_config import SimulatedPlcConfig

app = typer.Typer(add_completion=False)

_POLL = 0.2
"""Seconds between two looks at the counters."""


@app.command()
def plc_sim(
    *,
    protocol: Annotated[
        str, typer.Option(help=f"How its words are served: {', '.join(PROTOCOLS)}.")
    ] = "modbus",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port; 0 takes a free one.")] = 1502,
    unit: Annotated[int, typer.Option(help="Modbus: unit id; S7: number of the DB.")] = 1,
    ctrl_address: Annotated[int, typer.Option(help="First word of CTRL.")] = 0,
    stat_address: Annotated[int, typer.Option(help="First word of STAT.")] = 100,
    parts: Annotated[int, typer.Option(help="Parts to run; 0 for no end.")] = 0,
    takt: Annotated[float, typer.Option(help="Seconds from part to part.")] = 1.0,
    scan: Annotated[float, typer.Option(help="Cycle of the PLC program, seconds.")] = 0.005,
    recipe: Annotated[int, typer.Option(help="Recipe requested at start; 0 for none.")] = 1,
    lot: Annotated[str, typer.Option(help="Serial or lot, at most 16 ASCII characters.")] = "",
    first_part_id: Annotated[int, typer.Option(help="Part id of the first part.")] = 1,
    part_id: Annotated[
        list[int] | None, typer.Option(help="Part ids in their order; repeat the option.")
    ] = None,
    first_sequence: Annotated[int, typer.Option(help="TRIG_SEQ of a new log.")] = 1,
    deadline: Annotated[float, typer.Option(help="Seconds for each part; 0: the recipe's.")] = 0.0,
    wait_ready: Annotated[
        bool,
        typer.Option(help="The conveyor waits for the station; else early parts are rejected."),
    ] = True,
    ready_timeout: Annotated[float, typer.Option(help="Longest such wait, seconds.")] = 60.0,
    ack_timeout: Annotated[float, typer.Option(help="Wait for TRIG_ACK, seconds.")] = 0.5,
    result_timeout: Annotated[float, typer.Option(help="Wait for the result, seconds.")] = 2.0,
    stop_after_rejects: Annotated[
        int, typer.Option(help="Rejects in a row that stop the line; 0: never.")
    ] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="KIND@N for the n-th trigger, or wrap: lost_trigger wrong_sequence late_result "
            "frozen_heartbeat[:SECONDS] repeat overrun restart. Repeat the option."
        ),
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="Log, one JSON object a line; a restart goes on from it.")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end.")
    ] = False,
) -> None:
    """Play the PLC's side of the line protocol, with a conveyor and switchable faults.

    Ctrl+C or SIGTERM lets the present part end; twice stops at once. Exit code: 0 all parts were
    run, 1 stopped before, 2 it could not run.
    """
    faults = fault or []
    fields: dict[str, Any] = {
        "protocol": protocol, "host": host, "port": port, "unit": unit,
        "ctrl_address": ctrl_address, "stat_address": stat_address,
        "parts": parts, "takt": takt, "scan": scan, "recipe": recipe, "lot": lot,
        "first_part_id": first_part_id, "part_ids": tuple(part_id or ()),
        "first_sequence": first_sequence, "deadline": deadline,
        "wait_ready": wait_ready, "ready_timeout": ready_timeout,
        "ack_timeout": ack_timeout, "result_timeout": result_timeout,
        "stop_after_rejects": stop_after_rejects, "log": log,
        "faults": tuple(text for text in faults if text != "wrap"),
    }  # fmt: skip
    if "wrap" in faults:
        from inspection.plc.simulated_config import WRAP_SEQUENCE

        fields["first_sequence"] = WRAP_SEQUENCE
    raise typer.Exit(_main(fields, json_output))


def _main(fields: dict[str, Any], json_output: bool) -> int:
    from pydantic import ValidationError

    from inspection.errors import ConfigError, PlcError
    from inspection.plc.simulated import SimulatedPlc
    from inspection.plc.simulated_config import SimulatedPlcConfig

    try:
        config = SimulatedPlcConfig(**fields)
    except ValidationError as error:
        for problem in error.errors():
            where = ".".join(str(step) for step in problem["loc"]) or "options"
            _say(f"{where}: {problem['msg']}")
        return 2
    plc = SimulatedPlc(config)
    signals = _Signals()
    try:
        with signals.caught(), plc:
            _say(f"simulated PLC listens on {config.host}:{plc.port}")
            _follow(plc, config, signals)
    except (ConfigError, PlcError) as error:
        _say(str(error))
        return 2
    return _report(plc, config, json_output)


class _Signals:
    """Counts Ctrl+C and SIGTERM instead of dying of them."""

    def __init__(self) -> None:
        self.count = 0

    @contextlib.contextmanager
    def caught(self) -> Generator[None]:
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, self._seen)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _seen(self, _number: int, _frame: object) -> None:
        self.count += 1


def _follow(plc: SimulatedPlc, config: SimulatedPlcConfig, signals: _Signals) -> None:
    """Wait for the end, showing progress on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    patience = config.ack_timeout + config.result_timeout + 1.0
    stop_at: float | None = None
    with Progress(
        TextColumn("parts"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"),
        console=console, disable=not console.is_terminal, transient=True,
    ) as progress:  # fmt: skip
        task = progress.add_task("", total=config.total or None)
        while not plc.wait(_POLL):
            counters = plc.counters
            progress.update(
                task,
                completed=counters.parts,
                description=f"passed {counters.passes}, rejected {counters.rejected}",
            )
            if signals.count and stop_at is None:
                plc.finish()
                stop_at = time.monotonic() + patience
            if signals.count > 1 or (stop_at is not None and time.monotonic() > stop_at):
                return


def _report(plc: SimulatedPlc, config: SimulatedPlcConfig, json_output: bool) -> int:
    counters = plc.counters
    complete = counters.parts >= config.total and not plc.line_stopped
    if plc.line_stopped:
        _say(f"the line was stopped after {config.stop_after_rejects} rejects in a row")
    elif not complete:
        _say(f"stopped after {counters.parts} of {config.total} parts")
    if json_output:
        told = {**counters.as_dict(), "complete": complete, "line_stopped": plc.line_stopped}
        sys.stdout.write(json.dumps(told) + "\n")
    else:
        _print_table(counters.as_dict())
    return 0 if complete else 1


def _print_table(counters: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("count", "value", title="simulated PLC")
    for name, value in counters.items():
        if isinstance(value, dict):
            for cause, number in value.items():
                table.add_row(escape(f"{name}: {cause}"), str(number))
        else:
            table.add_row(name, str(value))
    Console().print(table)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
