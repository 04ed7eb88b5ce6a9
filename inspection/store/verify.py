"""Verify a store against the invariants: read only, while the line runs or after it.

    STORE, PLC logs, pictures ─▶ Facts ─▶ one Finding for each invariant ─▶ Report

Invariants that need more than the store and the PLC's log are listed as not checkable here, with
the test that shows them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspection.errors import StoreError
from inspection.store.config import StoreConfig
from inspection.store.facts import Facts, Finding
from inspection.store.invariants import (
    check_audit,
    check_images,
    check_late_never_sent,
    check_lineage,
    check_one_final_row,
    check_pass_is_proven,
    check_store,
)
from inspection.store.outbox_invariant import check_outbox
from inspection.store.plant.invariant import check_plant, count_stations
from inspection.store.plc_log import ACCEPTED, NEVER_SEEN, PlcTrigger
from inspection.store.plc_match import Matched, RowFact
from inspection.types import Decision

_NOT_YET = ("no such column", "no such table", "UndefinedColumn", "UndefinedTable")
"""So SQLite says it, and PostgreSQL's driver in whatever language the server speaks."""
_NO_LOG = "give the PLC's log with --plc-log"


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one run.

    Attributes:
        findings: STORE, then I1 to I12.
        table: counts that must agree, by name; for reading.
    """

    findings: list[Finding]
    table: dict[str, int]

    @property
    def is_clean(self) -> bool:
        """No invariant is broken; some may not have been checkable."""
        return not any(finding.breaches for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        findings = [finding.as_dict() for finding in self.findings]
        return {"clean": self.is_clean, "findings": findings, "counts": self.table}


def verify(
    config: StoreConfig,
    plc_logs: Sequence[Path] = (),
    images: Path | None = None,
    progress: Callable[[str], None] = lambda _code: None,
) -> Report:
    """Check every invariant.

    Args:
        config: which store; only its address is used.
        plc_logs: logs of the PLC, may be none.
        images: folder of the pictures; None leaves them unchecked.
        progress: told the invariant that is looked at.

    Raises:
        StoreError: the store or a log cannot be read.
    """
    facts = Facts.gather(config, plc_logs, images)
    try:
        findings: list[Finding] = []
        for code, check in PLANT_CHECKS if facts.is_plant else CHECKS:
            progress(code)
            findings.append(_check(facts, code, check))
        return Report(findings, count_table(facts))
    finally:
        facts.close()


def _check(facts: Facts, code: str, check: Callable[[Facts], Finding]) -> Finding:
    """Look at one invariant; what an older program did not write yet cannot be checked."""
    try:
        return check(facts)
    except StoreError as error:
        if not facts.is_older or not any(word in str(error) for word in _NOT_YET):
            raise
        why = f"an older program wrote the store ({facts.revision}); start the line once"
        return Finding(code, "needs columns that the store does not have yet", unchecked=why)


def check_row_before_answer(facts: Facts) -> Finding:
    """I3: every answer the PLC took is in the store, the same, committed before."""
    finding = Finding("I3", "every answer the PLC took was committed before, with the same value")
    if not facts.logs:
        finding.unchecked = _NO_LOG
        return finding
    compared = 0
    for found in facts.matched:
        for trigger, row in found.pairs:
            if trigger.cause in ACCEPTED:
                finding.checked += 1
                compared += _check_answer(finding, trigger, row)
    skipped = finding.checked - compared
    if skipped and not finding.breaches:
        finding.notes.append(
            f"{skipped} answers of another boot or host: their times were not compared"
        )
    return finding


def _check_answer(finding: Finding, trigger: PlcTrigger, row: RowFact | None) -> int:
    """Return 1 when the times could be compared."""
    if row is None:
        finding.breach(f"{trigger}: the store has no row of it (record {trigger.record})")
        return 0
    judged = row.decision != Decision.NOT_INSPECTED
    if row.id != trigger.record and (judged or trigger.record):
        finding.breach(f"{trigger}: was told record {trigger.record}, its row is {row}")
    if row.decision != ACCEPTED[trigger.cause] or trigger.code != ACCEPTED[trigger.cause].code:
        finding.breach(f"{trigger}: code {trigger.code}, but the row says {row}")
    ended, decided = trigger.ended, row.decided
    if row.committed is None or decided is None:
        finding.breach(f"{trigger}: its row {row} has no commit time")
    elif ended is not None and ended.on_the_clock_of(decided):
        if judged and not row.committed < ended.mono:
            finding.breach(
                f"{trigger}: answered {row.committed - ended.mono:.6f} s before the commit"
            )
        return 1
    return 0


def check_conservation(facts: Facts) -> Finding:
    """I12: PLC parts and rows agree one to one, and the PLC's counters with its own log."""
    finding = Finding("I12", "every trigger has one row, every row its trigger; counters agree")
    if not facts.logs:
        finding.unchecked = _NO_LOG
        return finding
    for found in facts.matched:
        unseen: Counter[str] = Counter()
        for number, (trigger, row) in enumerate(found.pairs, 1):
            finding.checked += 1
            if row is not None:
                continue
            outstanding = not trigger.cause and number == len(found.pairs)
            if trigger.cause in NEVER_SEEN or outstanding:
                unseen[trigger.cause or "outstanding"] += 1
            else:
                finding.breach(f"{found.log.path.name}: {trigger} has no row")
        for row in found.extra:
            finding.breach(f"row {row} has no trigger in {found.log.path.name}")
        if unseen:
            told = ", ".join(f"{cause} {number}" for cause, number in sorted(unseen.items()))
            finding.notes.append(f"{found.log.path.name}: triggers the station never saw: {told}")
        if found.log.torn:
            finding.notes.append(f"{found.log.path.name}: the last line is torn")
        _check_counters(finding, found)
    return finding


def _check_counters(finding: Finding, found: Matched) -> None:
    """The counters the PLC told at its last stop must be those of the triggers before it."""
    log = found.log
    if log.counters is None:
        return
    before = log.triggers[: log.counted]
    passes = sum(1 for trigger in before if trigger.cause == "pass")
    for name, counted in (("triggers", len(before)), ("passes", passes)):
        told = log.counters.get(name)
        if told is not None and int(told) != counted:
            finding.breach(
                f"{log.path.name}: the PLC counted {told} {name}, its log shows {counted}"
            )


def count_table(facts: Facts) -> dict[str, int]:
    """Return the counts side by side: rows by decision, the PLC's outcomes, and pairs of both."""
    from inspection.store.tables import parts

    table = {f"rows {d.value}": facts.count(parts.c.decision == d.value) for d in Decision}
    table["rows open"] = facts.count(parts.c.decision.is_(None))
    if facts.is_plant:
        table |= count_stations(facts)
    for found in facts.matched:
        name = found.log.path.name
        table[f"{name}: triggers"] = len(found.pairs)
        for cause, number in sorted(found.log.causes.items()):
            table[f"{name}: outcome {cause}"] = number
        pairs = Counter(
            f"{trigger.cause or 'outstanding'} / {row.decision if row else 'no row'}"
            for trigger, row in found.pairs
        )
        table |= {f"{name}: {pair}": number for pair, number in sorted(pairs.items())}
        table[f"{name}: rows without trigger"] = len(found.extra)
        table[f"{name}: rejected untriggered"] = found.log.untriggered.total()
    return table


def _elsewhere(code: str, title: str, why: str) -> tuple[str, Callable[[Facts], Finding]]:
    return code, lambda _facts: Finding(code, title, unchecked=why)


CHECKS: tuple[tuple[str, Callable[[Facts], Finding]], ...] = (
    ("STORE", check_store),
    ("I1", check_one_final_row),
    ("I2", check_pass_is_proven),
    ("I3", check_row_before_answer),
    _elsewhere(
        "I4",
        "committed rows survive kill and power loss",
        "a store cannot show what it lost; the kill tests do",
    ),
    ("I5", check_late_never_sent),
    _elsewhere("I6", "every resource is bounded", "the soak watches memory; the store cannot"),
    _elsewhere(
        "I7",
        "READY again soon after a fault clears",
        "the store does not know when a fault cleared",
    ),
    _elsewhere(
        "I8",
        "every fault raises an alarm within two seconds",
        "the store knows only alarms that came",
    ),
    ("I9", check_lineage),
    ("I10", check_images),
    _elsewhere(
        "I11", "no peer outside the allow-list is contacted", "the no-network test shows it"
    ),
    ("I12", check_conservation),
    ("AUDIT", check_audit),
    ("OUTBOX", check_outbox),
)
"""Every invariant, in the order of the report."""

PLANT_CHECKS = (*(one for one in CHECKS if one[0] != "OUTBOX"), ("PLANT", check_plant))
"""Those of a plant store, which tells nobody upward."""
