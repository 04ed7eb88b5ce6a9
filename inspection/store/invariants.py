"""The invariants that the store itself can show, one function each: facts in, finding out."""

from __future__ import annotations

import hashlib
import json
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from inspection.errors import StoreError
from inspection.store.facts import Facts, Finding
from inspection.store.plc_log import Moment
from inspection.store.rows import stored_images
from inspection.store.tables import HEAD, alarms, parts, verdicts
from inspection.store.web import audit
from inspection.types import Decision, PartState, Reason

_PASSED = parts.c.decision == Decision.PASS.value
_JUDGED = parts.c.decision.in_([d.value for d in (Decision.PASS, Decision.FAIL, Decision.REVIEW)])
_KEY = (parts.c.station, parts.c.epoch, parts.c.sequence)
_REOPENED = (
    Reason.CAMERA_LOST,
    Reason.CAMERA_TIMEOUT,
    Reason.FRAME_STALE,
    Reason.FRAME_REPEATED,
    Reason.FRAME_IDENTICAL,
)
"""After these the camera is opened again and counts its frames anew."""
_SETTLED = {"saved", "sampled_out", "shed", "disk_full", "failed", "none", "lost", "expired"}
_UNSETTLED = {"pending", "expiring"}


def check_store(facts: Facts) -> Finding:
    """The file is sound and of this program's migration, or of one that it can bring there."""
    finding = Finding("STORE", "the database is sound and of this program's version")
    with facts.reading() as connection:
        if connection.dialect.name == "sqlite":
            answers = connection.execute(sa.text("PRAGMA integrity_check(10)")).scalars().all()
            for answer in answers:
                if answer != "ok":
                    finding.breach(str(answer))
    found = facts.revision
    if facts.is_older:
        finding.notes.append(
            f"the tables are at migration {found}, of an older program; this one brings them to {HEAD} "
            "when it first writes"
        )
    elif found != HEAD:
        finding.breach(f"the tables are at migration {found}, this program reads {HEAD}")
    waiting = facts.waiting_in_journal()
    if waiting:
        finding.notes.append(f"{waiting} parts wait in the journal; start the line once")
    path = facts.config.sqlite_path
    aside = [] if path is None else sorted(path.parent.glob(f"{path.name}.corrupt.*Z"))
    if aside:
        finding.notes.append(f"put aside as corrupt: {', '.join(p.name for p in aside)}")
    finding.checked = 1
    return finding


def check_one_final_row(facts: Facts) -> Finding:
    """I1 in the store: one row for each key, a final and known decision in it."""
    finding = Finding("I1", "each trigger has exactly one row with a final decision")
    finding.checked = facts.count()
    doubled = (
        sa.select(*_KEY, sa.func.count().label("n")).group_by(*_KEY).having(sa.func.count() > 1)
    )
    for row in facts.find(doubled):
        finding.breach(f"{row.station}/{row.epoch}/{row.sequence}: {row.n} rows")
    newest = _latest_records(facts)
    open_rows = parts.c.state == PartState.TRIGGERED.value
    for row in facts.each(*_KEY, where=[open_rows | parts.c.decision.is_(None)]):
        if row.id in newest:
            finding.notes.append(f"{_name(row)} is still open: the station's latest part")
        else:
            finding.breach(f"{_name(row)}: no decision")
    known = parts.c.decision.in_([d.value for d in Decision]) & parts.c.reason.in_(
        [r.name for r in Reason]
    )
    sequence = parts.c.sequence.between(1, 65535) & parts.c.state.in_([s.value for s in PartState])
    wrong = parts.c.decision.is_not(None) & sa.not_(known & sequence)
    unexplained = _not_passed() & (parts.c.reason == Reason.NONE.name)
    for row in facts.each(*_KEY, parts.c.decision, parts.c.reason, where=[wrong | unexplained]):
        finding.breach(f"{_name(row)}: {row.decision} for {row.reason} is no final decision")
    for log in facts.logs:
        for text in log.wrong_repeats:
            finding.breach(f"{log.path.name}: {text} was answered differently when repeated")
    return finding


def _not_passed() -> sa.ColumnElement[bool]:
    return parts.c.decision.is_not(None) & sa.not_(_PASSED)


def _latest_records(facts: Facts) -> set[int]:
    """Return the record ids that may be open while a station runs: the latest of each station."""
    newest = sa.select(sa.func.max(parts.c.id)).group_by(parts.c.station)
    return {int(row[0]) for row in facts.find(newest)}


def check_pass_is_proven(facts: Facts) -> Finding:
    """I2 as far as rows tell: frame, model, scores, time, reasons of every PASS."""
    finding = Finding("I2", "PASS only for a fresh frame, a released model, scores, in time")
    names = (
        "reason", "reasons", "release", "release_number", "part_name", "model_sha256", "frame_id",
        "frame_mono", "triggered_mono", "decided_mono", "deadline_mono", "anomaly_score",
    )  # fmt: skip
    texts = [
        sa.cast(parts.c[name], sa.Text).label(f"{name}_text") for name in ("detections", "timings")
    ]
    columns = [parts.c[name] for name in names if name != "reasons"]
    reasons = sa.cast(parts.c.reasons, sa.Text).label("reasons")
    hashes: dict[str, str] = {}
    for row in facts.each(*_KEY, *columns, reasons, *texts, where=[_PASSED]):
        finding.checked += 1
        for problem in _unproven(row, hashes):
            finding.breach(f"{_name(row)}: PASS {problem}")
    _check_repeated_frames(facts, finding)
    return finding


def _unproven(row: Any, hashes: dict[str, str]) -> list[str]:
    found: list[str] = []
    if row.reason != Reason.NONE.name or row.reasons not in (None, "[]", "null"):
        found.append(f"with reasons {row.reason} {row.reasons}")
    if row.frame_id is None or row.frame_mono is None:
        found.append("without a frame")
    elif not row.frame_mono >= row.triggered_mono:
        found.append(
            f"of a frame {row.triggered_mono - row.frame_mono:.6f} s older than the trigger"
        )
    if not re.fullmatch(r"\S+", row.model_sha256 or ""):
        found.append("without a model hash")
    if row.release_number is None or row.release != f"{row.part_name}/{row.release_number}":
        found.append(f"by {row.release}, the recipe asks for {row.part_name}/{row.release_number}")
    elif hashes.setdefault(_form(row), row.model_sha256) != row.model_sha256:
        found.append(f"by another model file of release {row.release} than before")
    if row.decided_mono is None or not row.decided_mono <= row.deadline_mono:
        found.append("after its deadline")
    if not _is_finite_json(row.detections_text, list):
        found.append("without detections that are finite numbers")
    if row.timings_text is not None and not _is_finite_json(row.timings_text, dict):
        found.append("with timings that are no numbers")
    return found


def _form(row: Any) -> str:
    """Return release and precision: a variant has a file of its own, named `PRECISION:` hash."""
    return f"{row.release} {(row.model_sha256 or '').rpartition(':')[0]}"


def _is_finite_json(text: str | None, kind: type) -> bool:
    def refuse(word: str) -> float:
        raise ValueError(word)

    try:
        value = json.loads(text or "", parse_constant=refuse)
    except ValueError:
        return False
    if not isinstance(value, kind):
        return False
    if kind is dict:
        return all(isinstance(v, int | float) and math.isfinite(v) for v in value.values())
    return all(
        isinstance(one, dict) and isinstance(one.get("score"), int | float) and _finite_box(one)
        for one in value
    )


def _finite_box(one: dict[str, Any]) -> bool:
    box = one.get("box")
    return isinstance(box, list) and len(box) == 4 and all(isinstance(v, int | float) for v in box)


def _check_repeated_frames(facts: Facts, finding: Finding) -> None:
    """A frame judged twice is a breach, unless the camera was lost in between and counts anew."""
    where = (parts.c.station, parts.c.epoch, parts.c.camera, parts.c.frame_id)
    repeated = sa.select(*where).where(_JUDGED, parts.c.frame_id.is_not(None)).group_by(*where)
    for group in facts.find(repeated.having(sa.func.count() > 1)):
        same = [column == value for column, value in zip(where, group, strict=True)]
        rows = facts.find(
            sa.select(
                *_KEY, parts.c.id, parts.c.decision, parts.c.triggered_mono, parts.c.frame_mono
            )
            .where(_JUDGED, *same)
            .order_by(parts.c.triggered_mono)
        )
        for first, second in pairwise(rows):
            passed = Decision.PASS.value in (first.decision, second.decision)
            if passed and not _camera_lost_between(facts, first, second):
                finding.breach(
                    f"{_name(second)}: frame {group.frame_id} was judged before, in {_name(first)}"
                )


def _camera_lost_between(facts: Facts, first: Any, second: Any) -> bool:
    if first.frame_mono == second.frame_mono:
        return False
    lost = [reason.name for reason in _REOPENED]
    times = (first.triggered_mono, second.triggered_mono)
    same = (parts.c.station == first.station, parts.c.epoch == first.epoch)
    if facts.count(*same, parts.c.triggered_mono.between(*times), parts.c.reason.in_(lost)):
        return True
    told = sa.select(alarms.c.id).where(
        alarms.c.station == first.station,
        alarms.c.reason.in_(lost),
        alarms.c.mono.between(*times),
    )
    return bool(facts.find(told.limit(1)))


def check_late_never_sent(facts: Facts) -> Finding:
    """I5 in the store: what was sent was in time, and never before it was committed."""
    finding = Finding("I5", "a decision reaches only its own trigger, in time and after its row")
    names = (
        "decision",
        "decided_mono",
        "decided_at",
        "deadline_mono",
        "committed_mono",
        "sent_mono",
        "sent_at",
    )
    sent = parts.c.state.in_([PartState.SENT.value, PartState.ACKNOWLEDGED.value])
    for row in facts.each(*_KEY, *(parts.c[name] for name in names), where=[sent]):
        finding.checked += 1
        judged = row.decision != Decision.NOT_INSPECTED.value
        if judged and (row.decided_mono is None or not row.decided_mono <= row.deadline_mono):
            finding.breach(f"{_name(row)}: {row.decision} was decided after its deadline, and sent")
        decided, told = (
            Moment.of(row.decided_mono, row.decided_at),
            Moment.of(row.sent_mono, row.sent_at),
        )
        if decided is None or row.committed_mono is None:
            finding.breach(f"{_name(row)}: was sent without a committed decision")
        elif (
            judged
            and told is not None
            and told.on_the_clock_of(decided)
            and told.mono < row.committed_mono
        ):
            finding.breach(f"{_name(row)}: was sent before it was committed")
    for found in facts.matched:
        for trigger, _row in found.pairs:
            _check_echo(facts, finding, trigger)
    return finding


def _check_echo(facts: Facts, finding: Finding, trigger: Any) -> None:
    """The record the PLC was told of must be this trigger's: same sequence, same part id."""
    if not trigger.record:
        return
    told = facts.record_names.get(trigger.record)
    finding.checked += 1
    if told is not None and told != (trigger.seq, trigger.part_id):
        finding.breach(
            f"{trigger} was answered with record {trigger.record} of sequence {told[0]} part {told[1]}"
        )


def check_lineage(facts: Facts) -> Finding:
    """I9 as far as rows tell: what judged a part can be named, verdicts are complete."""
    finding = Finding(
        "I9", "recipe, release and model of every judgement are recorded; verdicts whole"
    )
    names = ("recipe_sha256", "release", "model_sha256")
    missing = sa.or_(
        parts.c.recipe_number.is_(None),
        *(sa.func.coalesce(parts.c[name], "") == "" for name in names),
    )
    finding.checked = facts.count(_JUDGED)
    for row in facts.each(*_KEY, parts.c.decision, where=[_JUDGED, missing]):
        finding.breach(f"{_name(row)}: {row.decision} without recipe, release or model hash")
    gaps = (
        sa.select(verdicts.c.record, sa.func.count().label("n"))
        .group_by(verdicts.c.record)
        .having(
            (sa.func.count() != sa.func.max(verdicts.c.version))
            | (sa.func.min(verdicts.c.version) != 1)
        )
    )
    for row in facts.find(gaps):
        finding.breach(f"record {row.record}: a verdict is missing among {row.n}")
    with facts.reading() as connection:
        if not _verdicts_protected(connection):
            finding.breach("the triggers that keep verdicts append-only are gone")
    return finding


def _verdicts_protected(connection: sa.Connection) -> bool:
    if connection.dialect.name == "sqlite":
        query, wanted = (
            "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'verdicts'"
            " AND name IN ('verdicts_no_update', 'verdicts_no_delete')",
            2,
        )
    else:
        query = (
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'verdicts'::regclass "
            "AND NOT tgisinternal AND tgenabled <> 'D' AND tgname = 'verdicts_append_only'"
        )
        wanted = 1
    return int(connection.execute(sa.text(query)).scalar_one()) >= wanted


def check_images(facts: Facts) -> Finding:
    """I10: a picture that a row claims is there and unchanged, or the row says why not."""
    finding = Finding("I10", "every picture a row claims exists unchanged, or the row says why not")
    folder = facts.images
    columns = [*_KEY, parts.c.state, parts.c.image_state, parts.c.frame_id, parts.c.images]
    newest = _latest_records(facts)
    for row in facts.each(*columns):
        finding.checked += 1
        if row.image_state == "saved":
            if folder is None:
                finding.unchecked = "rows claim pictures; give their folder with --images"
            else:
                for problem in _picture_problems(folder, row):
                    finding.breach(f"{_name(row)}: {problem}")
        elif row.image_state in _UNSETTLED:
            if row.id not in newest:
                finding.notes.append(f"{_name(row)}: its picture is {row.image_state}")
        elif row.image_state not in _SETTLED:
            finding.breach(f"{_name(row)}: image state {row.image_state!r} is unknown")
    if len(finding.notes) > 3:
        finding.notes[:] = [
            f"{len(finding.notes)} pictures are pending or expiring, e.g. {finding.notes[0]}"
        ]
    return finding


def _picture_problems(folder: Path, row: Any) -> list[str]:
    try:
        images = stored_images(row.images)
    except (KeyError, TypeError, ValueError) as error:
        return [f"its list of pictures is malformed ({error!r})"]
    if not images:
        return ["saved, but no file is named"]
    found: list[str] = []
    top = folder.resolve()
    for image in images:
        path = (folder / image.path).resolve()
        if top not in path.parents:
            found.append(f"picture {image.path!r} lies outside the folder")
            continue
        try:
            with path.open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            found.append(f"picture {image.path} is missing")
        except OSError as error:
            raise StoreError(f"picture {path} cannot be read: {error}") from error
        else:
            if actual != image.sha256:
                found.append(f"picture {image.path} was altered")
    return found


def _name(row: Any) -> str:
    return f"{row.station}/{row.epoch}/{row.sequence}"


def check_audit(facts: Facts) -> Finding:
    """Nobody changed or removed a row of the audit, and nobody can without breaking this."""
    finding = Finding("AUDIT", "the audit is one unbroken chain, and the database keeps it so")
    with facts.reading() as connection:
        if not sa.inspect(connection).has_table("audit"):
            finding.unchecked = "this store has no audit yet; start the line or the pages once"
            return finding
    walk, is_left = audit.Walk(), True
    while is_left:
        with facts.reading() as connection:
            is_left = audit.walk_on(connection, walk)
    finding.checked = walk.number
    for sentence in walk.breaches:
        finding.breach(sentence)
    with facts.reading() as connection:
        if not audit.is_protected(connection):
            finding.breach("the triggers that keep the audit append-only are gone")
    finding.notes.append(f"{walk.number} rows, head {walk.previous}")
    return finding
