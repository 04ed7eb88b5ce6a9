"""`verify` is clean for an honest store, and finds each invariant broken on purpose."""

from __future__ import annotations

import copy
import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from store_samples import (
    FAILED,
    PASSED,
    REVIEWED,
    inspected,
    not_inspected,
    store_config,
    trigger,
    utc_now,
)
from typer.testing import CliRunner

from inspection.errors import StoreError
from inspection.store.config import StoreConfig
from inspection.store.images import ImageWriter
from inspection.store.queries import StoreReader
from inspection.store.sql import SqlStore
from inspection.store.verify import CHECKS, Report, verify
from inspection.store.verify_cli import app
from inspection.store.web import audit
from inspection.store.web.access import WebStore
from inspection.types import PartKey, Reason, Result, StoredImage, Verdict

CAUSE = {"PASS": "pass", "FAIL": "fail", "REVIEW": "review", "NOT_INSPECTED": "not_inspected"}


class Run:
    """A short run of a line: store, pictures and PLC log, all in agreement."""

    def __init__(self, folder: Path) -> None:
        self.config: StoreConfig = store_config(folder)
        self.log = folder / "plc.log"
        self.events: list[dict[str, Any]] = []
        store = SqlStore(self.config)
        store.tell_upward("st1", {"mes": 600})
        epoch = store.begin_epoch("st1", "start")
        done: list[tuple[PartKey, str, list[StoredImage]]] = []
        images = ImageWriter(self.config, lambda *told: done.append(told))
        self._tell("start", resumed=False, next_seq=1)
        results = [PASSED, FAILED, PASSED, REVIEWED, Result.not_inspected(Reason.DEADLINE), PASSED]
        for sequence, result in enumerate(results, 1):
            self._tell("trigger", seq=sequence, part_id=1000 + sequence, serial="S")
            asked = trigger(sequence, epoch=epoch)
            record = store.triggered(asked, 1)
            is_seen = result.reason is not Reason.DEADLINE
            part = inspected(asked, result) if is_seen else not_inspected(asked, Reason.DEADLINE)
            store.decided(part)
            store.sent(asked.key, time.monotonic(), utc_now())
            self._tell(
                "outcome", seq=sequence, part_id=1000 + sequence, cause=CAUSE[result.decision],
                code=result.decision.code, record=record, passed=result == PASSED,
            )  # fmt: skip
            state = images.offer(part)
            if state is not None:
                store.images(asked.key, state, [])
        self._tell(
            "trigger", seq=7, part_id=1007, serial="S"
        )  # dropped again before the station saw it
        self._tell("outcome", seq=7, part_id=1007, cause="no_ack", code=0, record=0, passed=False)
        self._tell("reject", cause="not_ready")
        self._tell("stop", counters={"triggers": 7, "passes": 3})
        images.close()
        for told in done:
            store.images(*told)
        store.close()
        self.write_log()

    def copy_to(self, folder: Path) -> Run:
        shutil.copytree(self.log.parent, folder)
        run = copy.deepcopy(self)
        run.config, run.log = store_config(folder), folder / self.log.name
        return run

    def _tell(self, event: str, **fields: Any) -> None:
        self.events.append({"event": event, **fields, "mono": time.monotonic(), "at": utc_now()})

    def write_log(self, tail: str = "") -> None:
        self.log.write_text("".join(json.dumps(e) + "\n" for e in self.events) + tail)

    def outcome(self, seq: int) -> dict[str, Any]:
        return next(e for e in self.events if e["event"] == "outcome" and e["seq"] == seq)

    def sql(self, statement: str) -> None:
        """Change the database behind the program's back, past its own checks."""
        connection = sqlite3.connect(self.config.url, isolation_level=None)
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(statement)
        connection.close()

    def verify(self) -> Report:
        return verify(self.config, [self.log], self.config.images.folder)

    def broken(self) -> set[str]:
        return {finding.code for finding in self.verify().findings if finding.breaches}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("honest"))


@pytest.fixture
def run(honest: Run, tmp_path: Path) -> Run:
    return honest.copy_to(tmp_path / "run")


def test_an_honest_store_is_clean(run: Run) -> None:
    report = run.verify()
    assert report.is_clean, report.as_dict()
    by_code = {finding.code: finding for finding in report.findings}
    assert list(by_code) == ["STORE", *(f"I{n}" for n in range(1, 13)), "AUDIT", "OUTBOX"]
    assert {code for code, finding in by_code.items() if finding.unchecked} == {
        "I4",
        "I6",
        "I7",
        "I8",
        "I11",
    }
    assert by_code["I3"].checked == 6
    assert by_code["I12"].notes == ["plc.log: triggers the station never saw: no_ack 1"]
    assert report.table["plc.log: pass / PASS"] == 3
    assert report.table["rows NOT_INSPECTED"] == 1


def test_without_a_log_the_log_s_invariants_are_not_checkable(run: Run) -> None:
    report = verify(run.config)
    assert report.is_clean
    unchecked = {finding.code for finding in report.findings if finding.unchecked}
    assert {"I3", "I10", "I12"} <= unchecked


def _open_old_row(run: Run) -> None:
    run.sql(
        "UPDATE parts SET state = 'triggered', decision = NULL, reason = NULL WHERE sequence = 2"
    )


def _picture(run: Run, sequence: int) -> Path:
    with StoreReader(run.config) as reader:
        row = next(r for r in reader.page() if r["sequence"] == sequence)
    return run.config.images.folder / row["images"][0]["path"]


def _sql(statement: str) -> Callable[[Run], None]:
    return lambda run: run.sql(statement)


def _event(seq: int, **changes: Any) -> Callable[[Run], None]:
    return lambda run: run.outcome(seq).update(changes)


def _drop_events(seq: int) -> Callable[[Run], None]:
    def drop(run: Run) -> None:
        run.events = [event for event in run.events if event.get("seq") != seq]
        run.events[-1]["counters"] = {}

    return drop


def _lose_a_verdict(run: Run) -> None:
    with StoreReader(run.config) as reader:
        reader.add_verdict(1, Verdict.FALSE_CALL, "kim", version_seen=0)
        reader.add_verdict(1, Verdict.REAL_DEFECT, "lee", version_seen=1)
    run.sql("DROP TRIGGER verdicts_no_delete")
    run.sql("DELETE FROM verdicts WHERE version = 1")


def _audited(*statements: str) -> Callable[[Run], None]:
    """Write four rows of the audit, then break it behind the program's back."""

    def breach(run: Run) -> None:
        store = WebStore(run.config)
        for number in range(4):
            with store.write("rows for a test") as connection:
                audit.append(connection, "kim", "setting.changed", "setting:x", value=number)
        store.close()
        for statement in statements:
            run.sql(statement)

    return breach


def _cut_audit(number: int) -> tuple[str, str]:
    return "DROP TRIGGER audit_no_delete", f"DELETE FROM audit WHERE id = {number}"


def _alter_audit(change: str) -> tuple[str, str]:
    return "DROP TRIGGER audit_no_update", f"UPDATE audit SET {change} WHERE id = 2"


_AGAIN = "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'x'); END"
PASS_1 = "WHERE sequence = 1"

BREACHES: list[tuple[str, str, Callable[[Run], None]]] = [
    ("STORE", "other migration", _sql("UPDATE alembic_version SET version_num = '0000'")),
    ("I1", "open old row", _open_old_row),
    ("I1", "unknown decision", _sql(f"UPDATE parts SET decision = 'GOOD' {PASS_1}")),
    ("I1", "unknown reason", _sql("UPDATE parts SET reason = 'BECAUSE' WHERE sequence = 2")),
    ("I1", "fail for no reason", _sql("UPDATE parts SET reason = 'NONE' WHERE sequence = 2")),
    ("I1", "sequence zero", _sql(f"UPDATE parts SET sequence = 0 {PASS_1}")),
    ("I1", "repeat answered differently", lambda run: run.events.append(
        {"event": "repeat_answer", "seq": 6, "part_id": 1006, "same": False, "mono": 1.0, "at": utc_now()}
    )),
    ("I2", "no frame", _sql(f"UPDATE parts SET frame_id = NULL {PASS_1}")),
    ("I2", "old frame", _sql(f"UPDATE parts SET frame_mono = triggered_mono - 0.001 {PASS_1}")),
    ("I2", "frame of another part", _sql(f"UPDATE parts SET frame_id = 2 {PASS_1}")),
    ("I2", "same exposure twice", _sql(
        "UPDATE parts SET (frame_id, frame_mono) ="
        " (SELECT frame_id, triggered_mono + 99 FROM parts WHERE sequence = 1) WHERE sequence IN (1, 3)"
    )),
    ("I2", "no model hash", _sql(f"UPDATE parts SET model_sha256 = '' {PASS_1}")),
    ("I2", "two models of one release", _sql(f"UPDATE parts SET model_sha256 = 'ff' {PASS_1}")),
    ("I2", "another release", _sql(f"UPDATE parts SET release = 'bottle/4' {PASS_1}")),
    ("I2", "no release", _sql(f"UPDATE parts SET release_number = NULL {PASS_1}")),
    ("I2", "no scores", _sql(f"UPDATE parts SET detections = NULL {PASS_1}")),
    ("I2", "NaN score", _sql(
        f"UPDATE parts SET detections = '[{{\"score\": NaN, \"box\": [1,2,3,4]}}]' {PASS_1}"
    )),
    ("I2", "torn JSON", _sql(f"UPDATE parts SET detections = '[{{' {PASS_1}")),
    ("I2", "NaN time", _sql(f"UPDATE parts SET timings = '{{\"grab\": Infinity}}' {PASS_1}")),
    ("I2", "after the deadline", _sql(f"UPDATE parts SET decided_mono = deadline_mono + 1 {PASS_1}")),
    ("I2", "pass with a reason", _sql(f"UPDATE parts SET reason = 'DEFECT' {PASS_1}")),
    ("I2", "pass with reasons", _sql(f"UPDATE parts SET reasons = '[\"DEFECT\"]' {PASS_1}")),
    ("I3", "another value", _sql("UPDATE parts SET decision = 'REVIEW' WHERE sequence = 2")),
    ("I3", "the PLC passed a failed part", _event(2, cause="pass", code=1)),
    ("I3", "another code", _event(1, code=2)),
    ("I3", "row gone", _sql("DELETE FROM parts WHERE sequence = 2")),
    ("I3", "another record", _event(1, record=4242)),
    ("I3", "committed after", _sql(f"UPDATE parts SET committed_mono = committed_mono + 60 {PASS_1}")),
    ("I5", "late and sent", _sql("UPDATE parts SET decided_mono = deadline_mono + 1 WHERE sequence = 2")),
    ("I5", "sent before the commit", _sql(f"UPDATE parts SET sent_mono = committed_mono - 0.001 {PASS_1}")),
    ("I5", "answer of another part", _event(1, record=2, code=1)),
    ("I9", "no recipe", _sql("UPDATE parts SET recipe_sha256 = NULL WHERE sequence = 2")),
    ("I9", "verdict deleted", _lose_a_verdict),
    ("I9", "triggers gone", _sql("DROP TRIGGER verdicts_no_update")),
    ("I10", "picture gone", lambda run: _picture(run, 2).unlink()),
    ("I10", "picture altered", lambda run: _picture(run, 2).write_bytes(b"x")),
    ("I10", "saved, no name", _sql("UPDATE parts SET images = NULL WHERE sequence = 2")),
    ("I10", "path outside", _sql(
        "UPDATE parts SET images = '[{\"path\": \"../../etc/passwd\", \"sha256\": \"\","
        " \"width\": 1, \"height\": 1}]' WHERE sequence = 2"
    )),
    ("I10", "malformed list", _sql("UPDATE parts SET images = '[1]' WHERE sequence = 2")),
    ("I10", "unknown state", _sql("UPDATE parts SET image_state = 'somewhere' WHERE sequence = 2")),
    ("I12", "trigger without row", _sql("DELETE FROM parts WHERE sequence = 5")),
    ("I12", "row without trigger", _drop_events(4)),
    ("I12", "doubled in another epoch", _sql(
        "INSERT INTO parts (station, epoch, sequence, state, part_id, serial, decision, reason, simulated,"
        " triggered_mono, triggered_at, deadline_mono, image_state)"
        " SELECT station, 9, sequence, state, part_id, serial, 'FAIL', 'DEFECT', 0,"
        " triggered_mono, triggered_at, deadline_mono, 'none' FROM parts WHERE sequence = 2"
    )),
    ("AUDIT", "row altered", _audited(*_alter_audit("who = 'lee'"))),
    ("AUDIT", "row altered to no text", _audited(*_alter_audit("detail = x'ff00'"))),
    ("AUDIT", "row removed", _audited(*_cut_audit(2), _AGAIN)),
    ("AUDIT", "first row removed", _audited(*_cut_audit(1), _AGAIN)),
    ("AUDIT", "row put in", _audited(
        "INSERT INTO audit SELECT 0, at, who, action, subject, detail, previous, sha256"
        " FROM audit WHERE id = 1"
    )),
    ("AUDIT", "row added unsealed", _audited(
        "INSERT INTO audit SELECT 5, at, who, action, subject, detail, sha256, sha256 FROM audit WHERE id = 4"
    )),
    ("AUDIT", "triggers gone", _audited("DROP TRIGGER audit_no_delete")),
    ("AUDIT", "trigger that lets everything through", _audited(
        "DROP TRIGGER audit_no_delete",
        "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT 1; END",
    )),
    ("OUTBOX", "a part is missing", _sql("DELETE FROM outbox WHERE subject = 2")),
    ("OUTBOX", "triggers gone", _sql("DROP TRIGGER outbox_alarm")),
    ("I12", "wrong counters", lambda run: run.events[-1]["counters"].update(passes=4)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "how", "breach"), BREACHES, ids=[f"{b[0]} {b[1]}" for b in BREACHES]
)
def test_each_breach_is_found(run: Run, code: str, how: str, breach: Callable[[Run], None]) -> None:
    breach(run)
    run.write_log()
    assert code in run.broken(), how


def test_every_checkable_invariant_is_breached_above(run: Run) -> None:
    checkable = {finding.code for finding in run.verify().findings if not finding.unchecked}
    assert checkable == {code for code, _how, _breach in BREACHES}
    assert [code for code, _check in CHECKS] == [f.code for f in run.verify().findings]


def test_the_audit_s_number_and_head_are_told(run: Run) -> None:
    _audited()(run)
    with WebStore(run.config).read("the head") as connection:
        number, head = audit.head(connection)
    finding = next(f for f in run.verify().findings if f.code == "AUDIT")
    assert (finding.status, finding.checked) == ("ok", 4)
    assert finding.notes == [f"4 rows, head {head}"]
    _audited(*_cut_audit(number + 4), _AGAIN)(run)  # the newest row: the chain cannot show it
    cut = next(f for f in run.verify().findings if f.code == "AUDIT")
    assert cut.status == "ok"
    assert cut.notes != [f"8 rows, head {head}"]


def test_a_store_from_before_the_audit(run: Run) -> None:
    run.sql("DROP TABLE audit")
    finding = next(f for f in run.verify().findings if f.code == "AUDIT")
    assert finding.status == "not checkable here"


def test_a_damaged_file_is_found(run: Run) -> None:
    data = bytearray(Path(run.config.url).read_bytes())
    page = data.index(b"2.png")
    data[page - 600 : page + 600] = b"\xff" * 1200
    Path(run.config.url).write_bytes(data)
    answer = CliRunner().invoke(app, [run.config.url])
    assert (answer.exit_code, "corrupt" in answer.output) == (
        2,
        True,
    ) or "STORE BREACH" in answer.output


def test_the_latest_part_of_a_running_station_may_be_open(run: Run) -> None:
    store = SqlStore(run.config)
    store.triggered(trigger(8, epoch=store.begin_epoch("st1", "start")), 1)
    report = verify(run.config, [run.log], run.config.images.folder)
    store.close()
    assert report.is_clean, report.as_dict()


def test_a_torn_last_line_is_tolerated_and_others_are_not(run: Run) -> None:
    run.write_log(tail='{"event": "trig')
    report = run.verify()
    assert report.is_clean
    run.write_log(tail="garbage\n")
    with pytest.raises(StoreError, match="line"):
        run.verify()


def test_times_across_boots_are_not_compared(run: Run) -> None:
    for event in run.events:
        event["mono"] -= 1e6
    run.write_log()
    report = run.verify()
    assert report.is_clean, report.as_dict()
    notes = next(f.notes for f in report.findings if f.code == "I3")
    assert "not compared" in notes[0]


def test_a_wrapped_sequence_is_matched_by_record_then_by_time(run: Run) -> None:
    store = SqlStore(run.config)
    epoch = store.begin_epoch("st1", "wrap")
    run.events.pop()
    for cause in ("fail", "no_result"):  # the second is matched without a record id
        asked = trigger(1 if cause == "fail" else 2, epoch=epoch)
        run._tell("trigger", seq=asked.key.sequence, part_id=asked.part_id, serial="")
        record = store.decided(inspected(asked, FAILED))
        told = (2, record) if cause == "fail" else (0, 0)
        run._tell(
            "outcome",
            seq=asked.key.sequence,
            part_id=asked.part_id,
            cause=cause,
            code=told[0],
            record=told[1],
        )
        store.images(asked.key, "shed", [])
    store.close()
    run.write_log()
    report = run.verify()
    # frame ids 1 and 2 are used again, but in another epoch
    assert report.is_clean, report.as_dict()


def test_a_camera_that_was_lost_may_count_anew(run: Run) -> None:
    run.sql("UPDATE parts SET frame_id = 1 WHERE sequence = 3")
    assert "I2" in run.broken()
    run.sql(
        "UPDATE parts SET decision = 'NOT_INSPECTED', reason = 'CAMERA_LOST' WHERE sequence = 2"
    )
    assert "I2" not in run.broken()


def test_command(run: Run, tmp_path: Path) -> None:
    runner = CliRunner()
    clean = runner.invoke(app, [run.config.url, "--plc-log", str(run.log)])
    assert clean.exit_code == 0, clean.output
    assert "I12   ok" in clean.output
    assert "I6    not checkable here" in clean.output
    run.sql("UPDATE parts SET reasons = '[\"DEFECT\"]' WHERE sequence = 1")
    broken = runner.invoke(app, [run.config.url, "--json"])
    assert broken.exit_code == 1
    told = json.loads(broken.stdout)
    assert told["clean"] is False
    assert [f["status"] for f in told["findings"] if f["code"] == "I2"] == ["BREACH"]
    for arguments in (
        [str(tmp_path / "absent.db")],
        [run.config.url, "--plc-log", str(tmp_path / "absent.log")],
        [run.config.url, "--images", str(tmp_path / "absent")],
        ["mysql://x/y"],
        ["postgresql://nobody@127.0.0.1:1/none"],
    ):
        assert runner.invoke(app, arguments).exit_code == 2, arguments
    (tmp_path / "text.db").write_text("hello, this is no database at all" * 100)
    assert runner.invoke(app, [str(tmp_path / "text.db")]).exit_code == 2
    sqlite3.connect(tmp_path / "empty.db").close()
    assert runner.invoke(app, [str(tmp_path / "empty.db")]).exit_code == 2
