"""Intake and verdicts, on SQLite and PostgreSQL: nothing passed by, nothing doubled or told too early."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from release_builder import write_release
from store_samples import PASSED, inspected, store_config, trigger
from web_shift import RECIPE, judged, write_shift

from inspection.store.config import StoreConfig
from inspection.store.queries import StoreReader, VersionConflictError
from inspection.store.sql import SqlStore
from inspection.store.tables import parts
from inspection.store.web import alarms, audit, review, review_queue, settings
from inspection.store.web.access import WebStore
from inspection.store.web.counts import Wanted
from inspection.store.web.intake import PASS_SHARE, Intake, insert, is_drawn, read_mark, row_of
from inspection.store.web.people import Person, Role
from inspection.store.web.review import RefusedVerdictError, Rules, Saved, Word
from inspection.store.web.review_queue import QueueFilter
from inspection.store.web.tables import reviews
from inspection.store.web.tallies import judged as judged_reviews
from inspection.store.web.tallies import tally_step
from inspection.types import ClassLimits, StoredImage, Verdict
from inspection_serve.web.quality.answers import Estimate
from inspection_serve.web.quality.estimates import group
from inspection_serve.web.review.middles import middles
from inspection_serve.web.site import open_site

FREE = Rules(frozenset({"dust"}), frozenset())
TWICE = Rules(frozenset({"dust"}), frozenset({"dent", "burr", "missing_hole"}))


@pytest.fixture
def store(config: StoreConfig) -> Iterator[WebStore]:
    """A shift of 24 parts without pictures' files, taken in."""
    line = SqlStore(config)
    epoch = line.begin_epoch("st1", "start")
    for sequence in range(1, 25):
        part = judged(sequence, epoch)
        key = part.trigger.key
        line.triggered(part.trigger, RECIPE.number)
        line.decided(part)
        line.sent(key, part.decided_mono, part.decided_at)
        if part.frame is not None:
            line.images(
                key, "saved", [StoredImage(f"{sequence}.jpg", f"{sequence:064d}", 320, 256)]
            )
    line.close()
    found = WebStore(config)
    with found.write("no passed part is drawn by chance") as connection:
        settings.change(connection, PASS_SHARE, 0.0, "test")
    Intake(found).take_all()
    yield found
    found.close()


def person(name: str, role: Role = Role.OPERATOR) -> Person:
    return Person(1, name, name, role, "ko", False, {}, "", "", "")


KIM, LEE, CHOI = person("kim"), person("lee"), person("choi", Role.ENGINEER)


def say(
    store: WebStore, record: int, verdict: Verdict, version: int = 0, *, who: Person = KIM,
    rules: Rules = FREE, **changes,
) -> Saved:  # fmt: skip
    seen = {"image_sha256": f"{record:064d}"}
    client = changes.pop("client", f"{who.name}-{record}-{version}-{verdict}")
    word = Word(verdict, version, client, **{"seen": seen, **changes})
    with store.write("a test") as connection:
        return review.decide(connection, record, word, who, rules)


def test_flagged_parts_are_taken_in_once(store: WebStore) -> None:
    with store.read("a test") as connection:
        found = review_queue.waiting(connection, QueueFilter(), KIM)
        assert [row["record"] for row in found] == [3, 6, 9, 15, 18, 21], (
            "12 and 24 have no picture"
        )
        assert {row["why"] for row in found} == {"flagged"}
    assert Intake(store).take_all() == 0
    with store.write("a code") as connection:
        connection.execute(sa.update(parts).where(parts.c.id == 12).values(code="P-8812"))
    with store.read("a test") as connection:
        assert review_queue.counts(connection, KIM) == {"open": 6, "second": 0, "engineer": 0}
        assert review_queue.came(connection, QueueFilter(), KIM, 15) == 2
        page = review_queue.waiting(connection, QueueFilter(decision="FAIL"), KIM, after=3, limit=2)
        assert [row["record"] for row in page] == [9, 15]
        first = review_queue.waiting(connection, QueueFilter(), KIM, order="uncertain", limit=2)
        assert [row["record"] for row in first] == [6, 18], "0.45 is nearest to the middle"
        high = {(1, row["defect_class"]): 0.9 for row in found} | {(2, "dent"): 0.45}
        first = review_queue.waiting(
            connection, QueueFilter(), KIM, order="uncertain", limit=2, middles=high
        )
        assert [row["record"] for row in first] == [3, 9], (
            "0.91 is nearest where T1 and T2 are high"
        )
        assert review_queue.scanned(connection, "s9") == 9
        assert review_queue.scanned(connection, "P-8812") == 12
        assert review_queue.scanned(connection, "1015") == 15


def test_the_middles_are_those_of_the_recipes_in_force(tmp_path: Path) -> None:
    """The release's limits, changed by the recipe; what cannot be read is left out."""
    config = store_config(tmp_path)
    SqlStore(config).close()
    releases, recipes = tmp_path / "releases", tmp_path / "recipes"
    limits = {name: ClassLimits(0.05, 0.2) for name in ("scratch", "dent")}
    write_release(releases, "plate", 1, ("scratch", "dent"), limits=limits)
    recipes.mkdir()
    recipe = "number: {}\npart: plate\nrelease: {}\ndeadline: 1.0\n"
    own = "limits: {scratch: {t1: 0.6, t2: 0.8}}\n"
    (recipes / "a.yaml").write_text(recipe.format(1, 1) + own)
    (recipes / "b.yaml").write_text(recipe.format(2, 9) + own)
    (recipes / "c.yaml").write_text("number: three\n")
    site = open_site(config.url, releases=releases, recipes=recipes)
    try:
        assert middles(site) == pytest.approx(
            {(1, "scratch"): 0.7, (1, "dent"): 0.125, (2, "scratch"): 0.7}
        )
    finally:
        site.close()


def test_the_alarm_of_false_calls_counts_last_words_on_failed_parts(store: WebStore) -> None:
    say(store, 3, Verdict.FALSE_CALL, reason_code="dust")
    say(store, 6, Verdict.FALSE_CALL)  # the machine was not sure either
    say(store, 9, Verdict.REAL_DEFECT)
    say(store, 15, Verdict.UNSURE)
    say(store, 21, Verdict.FALSE_CALL, rules=TWICE, reason_code="dust")  # a second person must look
    with store.read("a test") as connection:
        found = alarms.latest_judged(connection, "st1", 50)
        assert [(row["id"], row["verdict"]) for row in found] == [
            (9, "real_defect"),
            (3, "false_call"),
        ]
        assert alarms.latest_judged(connection, "st2", 50) == []


def test_a_part_still_open_is_not_passed_by(config: StoreConfig) -> None:
    line = SqlStore(config)
    epoch = line.begin_epoch("st1", "start")
    waiting = judged(3, epoch)
    first = line.triggered(waiting.trigger, 1)
    later = judged(9, epoch)
    line.triggered(later.trigger, 1)
    line.decided(later)
    line.sent(later.trigger.key, later.decided_mono, later.decided_at)
    store = WebStore(config)
    intake = Intake(store)
    assert intake.take_all() == 1
    assert Intake(store).take_all() == 0
    line.decided(waiting)
    line.sent(waiting.trigger.key, waiting.decided_mono, waiting.decided_at)
    assert Intake(store).take_all() == 1
    with store.read("a test") as connection:
        assert review_queue.state_of(connection, first) is not None
        mark = read_mark(connection)
        assert first > mark["record"] or mark["open"] == [] or first in mark["open"]
    line.close()
    store.close()


def test_the_sample_of_passed_parts(config: StoreConfig) -> None:
    """The share is kept in the row; the draw can be repeated; parts without a picture are not drawn."""
    line = SqlStore(config)
    epoch = line.begin_epoch("st1", "start")
    for sequence in range(1, 121):
        part = inspected(trigger(sequence, epoch=epoch), PASSED)
        line.triggered(part.trigger, 1)
        line.decided(part)
        line.sent(part.trigger.key, part.decided_mono, part.decided_at)
        state = "sampled_out" if sequence > 100 else "saved"
        line.images(part.trigger.key, state, [])
    line.close()
    store = WebStore(config)
    with store.write("a test") as connection:
        settings.change(connection, PASS_SHARE, 0.25, "choi")
    taken = Intake(store).take_all()
    assert 8 <= taken <= 45
    with store.read("a test") as connection:
        rows = connection.execute(sa.select(reviews)).mappings().all()
        assert {(row["why"], row["probability"]) for row in rows} == {("sample", 0.25)}
        seed = bytes.fromhex(settings.read(connection, "review.seed", ""))
        kept = {"decision": "PASS", "image_state": "saved"}
        drawn = [i for i in range(1, 101) if is_drawn({"id": i, **kept}, seed, 0.25)]
        assert [row["record"] for row in rows] == drawn
        assert not any(seed.hex() in row["detail"] for row in audit.rows(connection))
    record = rows[0]["record"]
    with pytest.raises(RefusedVerdictError, match="cannot be judged"):
        say(store, record, Verdict.FALSE_CALL)
    assert say(store, record, Verdict.UNSURE).state == "engineer"
    store.close()


def put_in_sample(store: WebStore, record: int) -> None:
    """Put a passed part into the sample, as the draw would have."""
    with store.write("a draw") as connection:
        row = row_of(connection, record)
        assert row is not None
        insert(connection, [row], b"", 0.0, why="sample")


def lose_picture(store: WebStore, record: int, state: str, **changes) -> None:
    with store.write("a picture is gone") as connection:
        change = sa.update(parts).where(parts.c.id == record)
        connection.execute(change.values(image_state=state, **changes))


GONE = ("lost", "shed", "disk_full", "failed", "sampled_out", "expiring", "expired")


@pytest.mark.parametrize("state", GONE)
def test_a_part_whose_picture_is_gone_can_be_ended_and_not_judged(
    store: WebStore, state: str
) -> None:
    """A row may still name the deleted picture; its hash proves no sight."""
    put_in_sample(store, 1)
    for record, verdicts in {
        1: (Verdict.FALSE_CALL, Verdict.MISSED, Verdict.BORDERLINE),
        3: (Verdict.REAL_DEFECT, Verdict.FALSE_CALL, Verdict.BORDERLINE),
        6: (Verdict.REAL_DEFECT, Verdict.FALSE_CALL),
    }.items():
        lose_picture(store, record, state)
        for verdict in verdicts:
            with pytest.raises(RefusedVerdictError) as caught:
                say(store, record, verdict, reason_code="dust", defect_class="dent")
            assert caught.value.code == "gone"
        assert say(store, record, Verdict.ABORTED).state == "done"
        with StoreReader(store.config) as reader:
            found = reader.part(record)
        assert found is not None
        assert found[1][0]["seen"]["picture"] == state


def test_the_engineer_ends_what_operators_left_without_a_picture(store: WebStore) -> None:
    put_in_sample(store, 1)
    lose_picture(store, 1, "lost", images=None)
    assert say(store, 1, Verdict.UNSURE, seen={"image_sha256": ""}).state == "engineer"
    assert say(store, 1, Verdict.ABORTED, 1, who=CHOI, seen={"image_sha256": ""}).state == "done"


def test_the_engineer_ends_all_drawn_parts_whose_picture_is_gone(store: WebStore) -> None:
    """As one by one; not what somebody has seen, nor what still has its picture."""
    with store.read("passed parts") as connection:
        query = sa.select(parts.c.id).where(parts.c.decision == "PASS").order_by(parts.c.id)
        passed = [int(record) for record in connection.execute(query).scalars()][:5]
    for record in passed:
        put_in_sample(store, record)
    full, shed, seen, kept, coming = passed
    lose_picture(store, full, "disk_full")
    lose_picture(store, shed, "shed")
    lose_picture(store, coming, "pending")
    say(store, seen, Verdict.UNSURE)
    lose_picture(store, seen, "lost")
    with store.read("looking") as connection:
        assert review.gone(connection, 1) == [full]
        assert review.gone(connection, 10) == [full, shed]
    with store.write("all at once, and others that changed meanwhile") as connection:
        assert review.end_gone(connection, [full, shed, seen, kept, coming], CHOI) == 2
        assert review.end_gone(connection, [full, shed], CHOI) == 0
    with store.read("how they stand") as connection:
        query = sa.select(reviews.c.record, reviews.c.state, reviews.c.verdict, reviews.c.who)
        stand = {row.record: (row.state, row.verdict, row.who) for row in connection.execute(query)}
        assert stand[full] == stand[shed] == ("done", "aborted", "choi")
        assert [stand[record][0] for record in (seen, kept, coming)] == ["engineer", "open", "open"]
        assert len(audit.rows(connection, subject=f"part:{full}")) == 1


def test_a_passed_part_with_a_picture_cannot_be_left_unjudged(store: WebStore) -> None:
    """Nor while it may still come, nor by an engineer; who alone ends a part whose file is away."""
    for record in (1, 2, 4):
        put_in_sample(store, record)
    lose_picture(store, 2, "pending", images=None)
    for record, who in ((1, KIM), (1, CHOI), (2, KIM), (2, CHOI)):
        with pytest.raises(RefusedVerdictError) as caught:
            say(store, record, Verdict.ABORTED, who=who)
        assert caught.value.code == "verdict"
    with pytest.raises(RefusedVerdictError) as caught:
        say(store, 4, Verdict.ABORTED, unreadable="file_missing")
    assert caught.value.code == "verdict"
    with pytest.raises(RefusedVerdictError) as caught:
        say(store, 4, Verdict.FALSE_CALL, who=CHOI, unreadable="file_missing")
    assert caught.value.code == "gone"
    assert say(store, 4, Verdict.ABORTED, who=CHOI, unreadable="file_missing").state == "done"


def test_what_nobody_can_judge_is_left_out_and_what_was_seen_stays_in_doubt(
    store: WebStore,
) -> None:
    """Nobody takes an escape out of the sample by waiting until its picture is gone."""
    good, lost, unsure, missed, blind, taken_back = 1, 2, 4, 5, 7, 8
    for record in (good, lost, unsure, missed, blind, taken_back):
        put_in_sample(store, record)
    say(store, good, Verdict.FALSE_CALL)
    say(store, unsure, Verdict.UNSURE)
    say(store, missed, Verdict.MISSED, rules=TWICE, defect_class="dent")
    say(store, taken_back, Verdict.MISSED, defect_class="dent")
    with store.write("taken back") as connection:
        review.undo(connection, taken_back, 1, "undo-one", KIM)
    for record in (lost, unsure, missed, blind, taken_back):
        lose_picture(store, record, "expired")
    say(store, blind, Verdict.UNSURE, seen={"image_sha256": ""})
    say(store, lost, Verdict.ABORTED, seen={"image_sha256": ""})
    assert say(store, missed, Verdict.ABORTED, 1, who=LEE).state == "engineer"
    for record, version in ((unsure, 1), (blind, 1), (missed, 2), (taken_back, 2)):
        gone = {"seen": {"image_sha256": ""}}
        assert say(store, record, Verdict.ABORTED, version, who=CHOI, **gone).state == "done"
    for counted in (False, True):
        while counted and tally_step(store):
            pass
        with store.read("the estimate") as connection:
            rows = judged_reviews(connection, Wanted())
        found = group(((), row) for row in rows)[()]
        told = found.by["PASS"]
        assert (told.good, told.doubted, told.other, told.waiting) == (1, 3, 2, 0)
        found.passed, found.failed = 100, 8
        escape = Estimate.of(found, group="all", name="").escape
        assert (escape.reviewed, escape.found, escape.unjudged) == (1, 0, 2)
        assert found.escape().high > 0.98, "the upper limit takes what was seen as defective"


def test_a_verdict_is_written_once(store: WebStore) -> None:
    first = say(store, 3, Verdict.REAL_DEFECT, client="press-one")
    assert (first.state, first.version, first.repeated, first.told) == ("done", 1, False, "FAIL")
    again = say(store, 3, Verdict.REAL_DEFECT, client="press-one")
    assert (again.version, again.repeated) == (1, True)
    with pytest.raises(VersionConflictError):
        say(store, 3, Verdict.FALSE_CALL, reason_code="dust", who=LEE)
    with pytest.raises(VersionConflictError):
        say(store, 3, Verdict.FALSE_CALL, 1, reason_code="dust", who=LEE)
    with StoreReader(store.config) as reader:
        found = reader.part(3)
    assert found is not None
    assert [row["verdict"] for row in found[1]] == ["real_defect"]
    with store.read("a test") as connection:
        assert not list(audit.breaches(connection))
        assert [row["action"] for row in audit.rows(connection, subject="part:3")] == [
            "review.verdict"
        ]


def test_what_cannot_be_said(store: WebStore) -> None:
    def refused(record: int, verdict: Verdict, **changes) -> str:
        with pytest.raises(RefusedVerdictError) as caught:
            say(store, record, verdict, **changes)
        return caught.value.code

    assert refused(3, Verdict.FALSE_CALL) == "reason"
    assert refused(3, Verdict.FALSE_CALL, reason_code="nonsense") == "reason"
    assert refused(3, Verdict.MISSED, defect_class="dent") == "verdict"
    assert refused(3, Verdict.NOT_REVIEWED) == "verdict"
    assert refused(3, Verdict.REAL_DEFECT, seen={"image_sha256": "0" * 64}) == "unseen"
    assert refused(1, Verdict.FALSE_CALL) == "not_in_review"
    assert say(store, 6, Verdict.UNSURE).state == "engineer"
    assert refused(6, Verdict.REAL_DEFECT, version=1) == "engineer"
    assert say(store, 6, Verdict.BORDERLINE, 1, who=CHOI).state == "done"


def test_two_people_unaware_of_each_other(store: WebStore) -> None:
    assert say(store, 3, Verdict.REAL_DEFECT, rules=TWICE).state == "second"
    assert say(store, 9, Verdict.REAL_DEFECT, rules=TWICE).state == "second"
    with pytest.raises(RefusedVerdictError, match="second person"):
        say(store, 3, Verdict.REAL_DEFECT, 1, rules=TWICE)
    with store.read("a test") as connection:
        wanted = QueueFilter("second")
        assert review_queue.waiting(connection, wanted, KIM) == []
        assert len(review_queue.waiting(connection, wanted, LEE)) == 2
        found = review.find_review(connection, 3)
        assert found is not None
        assert review.history(connection, 3, found[0], LEE) == []
        assert len(review.history(connection, 3, found[0], KIM)) == 1
        assert "real_defect" not in audit.rows(connection, subject="part:3")[0]["detail"]
    assert say(store, 3, Verdict.REAL_DEFECT, 1, who=LEE, rules=TWICE).state == "done"
    other = say(store, 9, Verdict.FALSE_CALL, 1, who=LEE, rules=TWICE, reason_code="dust")
    assert other.state == "engineer"
    assert say(store, 9, Verdict.REAL_DEFECT, 2, who=CHOI, rules=TWICE).state == "done"
    again = say(store, 9, Verdict.REAL_DEFECT, 0, rules=TWICE)
    assert again.repeated, "the first press sent again after everything else is still known"


def test_undo_goes_back_one_step(store: WebStore) -> None:
    def undo(record: int, version: int, who: Person = KIM, client: str = "undo-one") -> Saved:
        with store.write("a test") as connection:
            return review.undo(connection, record, version, client, who)

    say(store, 3, Verdict.REAL_DEFECT, rules=TWICE)
    assert undo(3, 1).state == "open"
    assert undo(3, 1).repeated
    with pytest.raises(RefusedVerdictError):
        undo(3, 2, client="undo-two")
    say(store, 3, Verdict.REAL_DEFECT, 2, rules=TWICE)
    say(store, 3, Verdict.REAL_DEFECT, 3, who=LEE, rules=TWICE)
    with pytest.raises(RefusedVerdictError):
        undo(3, 4, KIM, "undo-three")
    back = undo(3, 4, LEE, "undo-four")
    assert (back.state, back.told) == ("second", "FAIL")
    say(store, 6, Verdict.UNSURE)
    say(store, 6, Verdict.REAL_DEFECT, 1, who=CHOI)
    assert undo(6, 2, CHOI, "undo-five").state == "engineer"
    with store.read("a test") as connection:
        assert [row["record"] for row in review.mine(connection, KIM)] == []


def test_parts_judged_before_keep_their_word(tmp_path: Path) -> None:
    config = write_shift(tmp_path, 9)
    with StoreReader(config) as reader:
        reader.add_verdict(3, Verdict.REAL_DEFECT, "kim", version_seen=0)
        reader.add_verdict(1, Verdict.MISSED, "kim", version_seen=0)
    store = WebStore(config)
    Intake(store).take_all()
    with store.read("a test") as connection:
        query = sa.select(reviews.c.record, reviews.c.state, reviews.c.why, reviews.c.version)
        rows = {row.record: tuple(row)[1:] for row in connection.execute(query)}
        assert rows[3] == ("done", "flagged", 1)
        assert rows[1] in {("done", "asked", 1), ("done", "sample", 1)}
        assert rows[6][0] == "open"
        assert connection.execute(sa.select(sa.func.count()).select_from(parts)).scalar() == 9
    store.close()


def test_pages_alone_keep_the_log_between_their_transactions(tmp_path: Path) -> None:
    """Where no line runs SQLite would move its log into the store each time, tens of milliseconds a verdict.

    A store that was put aside is let go of, and nothing of the new one is written to the old.
    """
    config = write_shift(tmp_path, 3)
    path = config.sqlite_path
    assert path is not None
    log = path.with_name(path.name + "-wal")
    store = WebStore(config)
    for number in range(3):
        with store.write("a test") as connection:
            settings.change(connection, f"test.{number}", number, "kim")
        assert log.stat().st_size > 0
    for suffix in ("", "-wal", "-shm"):
        there = path.with_name(path.name + suffix)
        there.rename(there.with_name(there.name.replace("results", "aside")))
    SqlStore(config).close()
    with store.write("a test") as connection:
        settings.change(connection, "test.new", 1, "kim")
    assert log.stat().st_size > 0
    with store.read("a test") as connection:
        assert settings.read(connection, "test.0", None) is None
    store.close()
    assert not log.exists()
