"""What people said, counted by half hour: whatever happens, it is what a count of the reviews says."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from postgres_server import NoServerError, PostgresServer
from store_samples import store_config
from web_shift import RECIPE, judged

from inspection.errors import StoreError
from inspection.store.config import StoreConfig
from inspection.store.sql import SqlStore
from inspection.store.web import intake, review, settings, tallies
from inspection.store.web.access import VersionConflictError, WebStore
from inspection.store.web.counts import Wanted, same_state
from inspection.store.web.intake import PASS_SHARE, Intake
from inspection.store.web.people import Person, Role
from inspection.store.web.review import ALLOWED, RefusedVerdictError, Rules, Word
from inspection.store.web.tables import changes, reviews, tally_days
from inspection.store.web.tallies import TALLIED, tally_step
from inspection.types import Inspected, StoredImage, Verdict

PARTS = 36
TWICE = Rules(frozenset({"dust"}), frozenset({"dent", "burr"}))


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer | None]:
    try:
        running = PostgresServer()
    except NoServerError:
        yield None
        return
    yield running
    running.close()


@cache
def rendered(epoch: int) -> list[Inspected]:
    """Return the parts; their pictures are made once."""
    return [judged(sequence, epoch) for sequence in range(1, PARTS + 1)]


@pytest.fixture(params=["sqlite", "postgresql"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, server: PostgresServer | None
) -> Iterator[WebStore]:
    """Parts of five days, some hours apart, none taken in yet."""
    if request.param == "postgresql" and server is None:
        pytest.skip("no PostgreSQL server installed (Debian package postgresql)")
    config: StoreConfig = store_config(tmp_path)
    if request.param == "postgresql" and server is not None:
        name = "".join(c for c in request.node.name.lower() if c.isalnum())[:50]
        config = store_config(tmp_path, url=server.url(name))
    line = SqlStore(config)
    epoch = line.begin_epoch("st1", "start")
    for sequence, part in enumerate(rendered(epoch), start=1):
        at = datetime.now(UTC) - timedelta(hours=sequence % 7 * 19, minutes=sequence % 3 * 30)
        seen = at.isoformat(timespec="microseconds")
        key = part.trigger.key
        line.triggered(replace(part.trigger, seen_at=seen), RECIPE.number)
        line.decided(replace(part, trigger=replace(part.trigger, seen_at=seen)))
        line.sent(key, part.decided_mono, part.decided_at)
        if part.frame is not None:
            picture = StoredImage(f"{sequence}.jpg", f"{sequence:064d}", 320, 256)
            line.images(key, "saved", [picture])
    line.close()
    found = WebStore(config)
    with found.write("half of the passed parts are drawn") as connection:
        settings.change(connection, PASS_SHARE, 0.5, "test")
    yield found
    found.close()


def person(name: str, role: Role = Role.ENGINEER) -> Person:
    return Person(1, name, name, role, "ko", False, {}, "", "", "")


PEOPLE = (person("kim"), person("lee"), person("choi", Role.OPERATOR))


def same(store: WebStore) -> Counter[tuple[Any, ...]]:
    """Return what the reviews hold, after checking that every kind of question is answered so."""
    with store.read("checking tallies") as connection:
        same_state(connection)
        rows = connection.execute(sa.select(reviews)).mappings().all()
        halves = sorted({half(row["triggered_at"]) for row in rows}) or ["2026-01-01T00:00"]
        middle = halves[len(halves) // 2]
        for wanted in (
            Wanted(),
            Wanted(since=middle),
            Wanted(until=middle),
            Wanted(since=halves[0][:10] + "T00:00", until=halves[-1][:10] + "T00:00"),
            Wanted(since=halves[0], until=halves[-1], station="st1", release="plate/1"),
            Wanted(station="x"),
            Wanted(decisions=("PASS", "FAIL")),
        ):
            for keys in ((), ("slot",), ("recipe_number", "part_name", "release"), TALLIED[:5]):
                found = tallies.judged(connection, wanted, *keys)
                names = (*keys, "decision", "why", "state", "verdict", "probability")
                got = {tuple(row[name] for name in names): row["number"] for row in found}
                assert got == directly(rows, wanted, names), (wanted, keys)
        first, last = halves[0][:10] + "T00:00", "2999-01-01T00:00"
        wanted, buckets = Wanted(since=first), [(first, middle), (middle, last)]
        by_bucket: Counter[str] = Counter()
        for row in tallies.judged(connection, wanted, "slot", buckets=buckets):
            by_bucket[first if row["slot"] < middle else middle] += row["number"]
        assert by_bucket == Counter(
            first if half(r["triggered_at"]) < middle else middle for r in rows
        )
    return directly(rows, Wanted(), ("decision", "state", "verdict"))


def half(at: str) -> str:
    return at[:14] + ("00" if at[14:16] < "30" else "30")


def directly(rows: Any, wanted: Wanted, names: tuple[str, ...]) -> Counter[tuple[Any, ...]]:
    """Count reviews one by one."""
    found: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        at = row["triggered_at"]
        if (wanted.since is not None and at < wanted.since) or (
            wanted.until is not None and at >= wanted.until
        ):
            continue
        if wanted.station not in (None, row["station"]):
            continue
        if wanted.release not in (None, row["release"] or ""):
            continue
        if wanted.decisions is not None and row["decision"] not in wanted.decisions:
            continue
        instead = {"slot": half(at), "recipe_number": -1 if row["recipe_number"] is None else None}
        found[tuple(instead.get(n) or ("" if row.get(n) is None else row[n]) for n in names)] += 1
    return found


def judge(store: WebStore, dice: random.Random) -> None:
    """Let somebody say something of some part, or take it back; who may not is refused."""
    record, who = dice.randint(1, PARTS), dice.choice(PEOPLE)
    with store.read("a part") as connection:
        found = review.find_review(connection, record)
    if found is None:
        return
    version, client = found[0]["version"], str(dice.random())
    try:
        with store.write("a test") as connection:
            if dice.random() < 0.35:
                review.undo(connection, record, version, client, who)
                return
            verdict = dice.choice(ALLOWED[found[1]["decision"]])
            word = Word(
                verdict, version, client, "dust", "dent" if verdict is Verdict.MISSED else None,
                seen={"image_sha256": f"{record:064d}"},
            )  # fmt: skip
            review.decide(connection, record, word, who, TWICE)
    except (VersionConflictError, RefusedVerdictError):
        pass


def ask(store: WebStore, dice: random.Random) -> None:
    """Put some part into review by hand."""
    with store.write("a test") as connection:
        row = intake.row_of(connection, dice.randint(1, PARTS))
        assert row is not None
        intake.insert(connection, [row], intake.seed_of(connection), 0.5, why="asked")


@pytest.mark.parametrize("seed", [1, 2])
def test_any_order_of_verdicts_undo_second_persons_and_counting(store: WebStore, seed: int) -> None:
    dice = random.Random(seed)
    states: set[tuple[Any, ...]] = set()
    for step in range(90):
        action = dice.random()
        if step == 5:
            Intake(store).take_all()
        elif action < 0.75:
            judge(store, dice)
        elif action < 0.8:
            ask(store, dice)
        else:
            tally_step(store)
        if step % 5 == 0:
            states |= set(same(store))
    assert {state for _, state, _ in states} == {"open", "done", "second", "engineer"}
    while tally_step(store):
        pass
    same(store)
    with store.read("nothing is left to be counted") as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(changes)).scalar() == 0
        days = connection.execute(sa.select(sa.func.sum(tally_days.c.number))).scalar()
        assert days == connection.execute(sa.select(sa.func.count(reviews.c.record))).scalar()


def test_a_verdict_while_its_half_hour_is_counted(
    store: WebStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counting has read the reviews, and one changes before its numbers are kept."""
    Intake(store).take_all()
    plain, dice = tallies._counted, random.Random(4)

    def meanwhile(*arguments: Any) -> Any:
        found = plain(*arguments)
        monkeypatch.setattr(tallies, "_counted", plain)
        for _ in range(30):
            judge(store, dice)
        return found

    monkeypatch.setattr(tallies, "_counted", meanwhile)
    assert tally_step(store)
    same(store)
    while tally_step(store):
        pass
    same(store)


def test_two_processes_count_the_same_notes(
    store: WebStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second has read the notes before the first took them: it keeps nothing."""
    Intake(store).take_all()
    plain = tallies._counted

    def meanwhile(*arguments: Any) -> Any:
        found = plain(*arguments)
        monkeypatch.setattr(tallies, "_counted", plain)
        while tally_step(store):
            pass
        with store.write("a change that brings a note of its own") as connection:
            changed = sa.update(reviews).where(reviews.c.record == 3)
            connection.execute(changed.values(state="done", verdict="real_defect"))
        while tally_step(store):
            pass
        return found

    monkeypatch.setattr(tallies, "_counted", meanwhile)
    assert tally_step(store)
    same(store)


def test_a_transaction_that_fails_leaves_no_note(store: WebStore) -> None:
    Intake(store).take_all()
    while tally_step(store):
        pass

    def fail() -> None:
        with store.write("fails") as connection:
            connection.execute(sa.update(reviews).values(state="done"))
            connection.execute(sa.text("SELECT * FROM nowhere"))

    with pytest.raises(StoreError):
        fail()
    assert not tally_step(store)
    same(store)
    with store.write("reviews are taken away") as connection:
        connection.execute(sa.delete(reviews).where(reviews.c.record > 20))
    same(store)
    tally_step(store)
    same(store)


def test_verdicts_come_from_several_threads(store: WebStore) -> None:
    Intake(store).take_all()
    stop, troubles = threading.Event(), []

    def counting() -> None:
        while not stop.is_set():
            try:
                tally_step(store)
            except Exception as error:
                troubles.append(error)
            stop.wait(0.002)

    def judging(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(20):
            try:
                judge(store, dice)
            except Exception as error:
                troubles.append(error)

    counters = [threading.Thread(target=counting) for _ in range(2)]
    judges = [threading.Thread(target=judging, args=(seed,)) for seed in (7, 8, 9)]
    for thread in (*counters, *judges):
        thread.start()
    try:
        for _ in range(6):
            same(store)
    finally:
        for thread in judges:
            thread.join(60)
        stop.set()
        for thread in counters:
            thread.join(20)
    assert not troubles, troubles[:2]
    while tally_step(store):
        pass
    same(store)
