"""One run of the probe over a station's configured PLC."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspection.commission.probe.finding import Finding, WrongError
from inspection.commission.probe.handshake import Ask, Handshake, Manner
from inspection.commission.probe.link import Link, clear_stat, measure
from inspection.errors import PlcError, StoreError
from inspection.plc.exchange import Exchange

if TYPE_CHECKING:
    from inspection.config import StationConfig
    from inspection.protocols import Plc


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be looked at.

    Attributes:
        count: round trips to measure.
        write: patterns are written to STAT.
        handshake: how the handshake is gone through; None: it is not. It also writes.
        watch: seconds for which the PLC's heartbeat is watched, at least.
    """

    count: int
    write: bool
    handshake: Manner | None
    watch: float = 2.5


def probe(
    config: StationConfig, wanted: Wanted, ask: Ask, note: Callable[[Finding], None]
) -> list[Finding]:
    """Look at the PLC of a station while no line runs on it.

    Args:
        config: the station.
        wanted: what to look at.
        ask: tells the person at the PLC what to do.
        note: takes each finding as it is made.

    Returns:
        All findings.

    Raises:
        StoreError: a line process of this station runs, or that cannot be told: nothing was asked.
    """
    found: list[Finding] = []

    def keep(finding: Finding) -> None:
        found.append(finding)
        note(finding)

    with _alone(config):
        plc: Plc = config.plc.open()
        try:
            plc.connect()
        except PlcError as error:
            keep(Finding("no_connection", "fail", {"error": str(error)}))
            return found
        writes = wanted.write or wanted.handshake is not None
        link = Link(
            plc,
            config.plc.ctrl_address,
            config.plc.stat_address,
            config.timing.plc_dead_after,
            wanted.count,
            wanted.watch,
        )
        with contextlib.closing(plc), _boundary(keep):
            measure(link, write=writes, note=keep)
            if wanted.handshake is not None:
                _walk(config, link, wanted.handshake, ask, keep, found)
    return found


@contextlib.contextmanager
def _alone(config: StationConfig) -> Generator[None]:
    from inspection.store.alone import no_line_runs

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(no_line_runs(config.store, config.station))
        except StoreError as error:
            raise StoreError(f"the PLC of a line that runs is not probed: {error}") from error
        yield


@contextlib.contextmanager
def _boundary(keep: Callable[[Finding], None]) -> Generator[None]:
    """What ends the probe is a finding."""
    try:
        yield
    except WrongError as error:
        keep(error.finding)
    except PlcError as error:
        keep(Finding("link_lost", "fail", {"error": str(error)}))
    except KeyboardInterrupt:
        keep(Finding("interrupted", "fail"))


def _walk(
    config: StationConfig,
    link: Link,
    manner: Manner,
    ask: Ask,
    keep: Callable[[Finding], None],
    found: list[Finding],
) -> None:
    if any(finding.state == "fail" for finding in found):
        keep(Finding("handshake_skipped", "fail"))
        return
    exchange = Exchange(
        link.plc,
        ctrl_address=link.ctrl,
        stat_address=link.stat,
        heartbeat=config.timing.heartbeat,
        plc_dead_after=config.timing.plc_dead_after,
    )
    try:
        Handshake(exchange, manner, ask, keep).run()
    finally:
        _clear(link, keep)
    keep(Finding("handshake_done", values={"parts": manner.parts}))


def _clear(link: Link, keep: Callable[[Finding], None]) -> None:
    """Leave no flag and no answer standing, over a new connection where the old one is gone.

    A link fault or Ctrl+C in a request has closed the connection. Where STAT could not be cleared it is told.
    """
    with contextlib.suppress(PlcError, KeyboardInterrupt):
        clear_stat(link.plc, link.stat)
        return
    try:
        link.plc.close()
        link.plc.connect()
        clear_stat(link.plc, link.stat)
    except (PlcError, KeyboardInterrupt) as error:
        text = str(error) or "interrupted"
        keep(Finding("stat_left", "fail", {"address": link.stat, "error": text}))
