"""A station in which every text that people, PLC, camera or files can set would like to be a script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from release_builder import write_release
from web_process import add_people
from web_shift import write_shift

from inspection.release import DatasetCard, read_card, write_card
from inspection.store.config import StoreConfig
from inspection.store.tables import metadata
from inspection.store.web import audit, jobs, people
from inspection.store.web import tables as web_tables
from inspection.store.web.access import WebStore

MARKS = (
    "<script>window.hit=1</script>",
    '"><img src=x onerror=window.hit=1>',
    "'-window.hit=1-'",
    "</title></script></textarea></style><svg onload=window.hit=1>",
    "javascript:window.hit=1",
    "{{ 7*7 }}${7*7}<%= 7*7 %>",
    "</script><!--<script>",
)
"""One payload for each way out: text, attribute, script, other elements, address, template, comment."""
EVIL = "".join(MARKS)
SHORT = MARKS[1]
"""For what is held to 64 characters, and for names of files: no slash in it."""
TINY = SHORT[2:]
"""For what is held to 32 characters."""
HELD = "window.hit=1"
"""What stands in every one of them."""

FILLED: dict[str, set[str]] = {
    "alarms": {"detail"},
    "alarm_acks": {"who", "note"},
    "approvals": {"who", "comment"},
    "audit": {"who", "action", "subject", "detail"},
    "book": {"part_name", "defect_class", "path", "note", "who"},
    "commands": {"value", "who", "detail"},
    "controls": {"who"},
    "epochs": {"cause", "host"},
    "jobs": {"arguments", "folder", "host", "who", "process"},
    "parts": {
        "serial", "code", "part_name", "release", "detail", "defect_class", "detections", "camera", "source",
        "truth", "images", "late", "timings", "reasons",
    },
    "machine_keys": {"made_by", "revoked_by"},
    "outbox_delivery": {"destination", "detail"},
    "outbox_quarantine": {"destination", "why"},
    "people": {"display", "options"},
    "reviews": {"part_name", "release", "defect_class", "who", "first_who"},
    "sessions": {"terminal"},
    "settings": {"value", "who"},
    "sign_ins": {"name", "address"},
    "terminals": {"name", "trusted_by"},
    "verdicts": {"who", "reason_code", "comment", "defect_class", "boxes", "seen"},
}  # fmt: skip
"""Table to the columns that hold the corpus: `held` looks into the store for each."""
CODES = {
    "action", "at", "boot_id", "card_sha256", "created_at", "csrf", "decision", "first_verdict", "kind",
    "language", "model_sha256", "name", "outcome", "part", "password", "pin", "previous", "reason",
    "recipe_sha256", "role", "session", "sha256", "slot", "state", "station", "step", "subject",
    "token_sha256", "verdict", "why", "image_state", "address", "value",
}  # fmt: skip
"""Columns for codes, hashes, times (`*_at`, `*_until`) and checked names: no free text comes in."""
DERIVED = ("slots", "days", "tall", "changes", "marks", "kinds", "alembic")
"""Beginnings of tables that the pages count together from the others."""


def columns() -> dict[str, set[str]]:
    """Return the text columns of each table of the store that somebody or something fills."""
    assert web_tables.people.name in metadata.tables
    found: dict[str, set[str]] = {}
    for table in metadata.sorted_tables:
        if not table.name.startswith(DERIVED):
            texts = {c.name for c in table.c if isinstance(c.type, sa.Text | sa.JSON)}
            found[table.name] = {n for n in texts if not n.endswith(("_at", "_until"))}
    return found


def held(config: StoreConfig) -> dict[str, set[str]]:
    """Return which columns hold the corpus, as the store says."""
    store, found = WebStore(config), dict[str, set[str]]()
    with store.read("what the store holds") as connection:
        for name, texts in columns().items():
            for row in connection.execute(sa.select(metadata.tables[name])).mappings():
                full = {n for n in texts if HELD in json.dumps(row[n], default=str)}
                found[name] = found.get(name, set()) | full
    store.close()
    return found


def write_station(folder: Path) -> tuple[StoreConfig, list[str | Path]]:
    """Write store, releases, recipes and datasets; return the store and the options of the pages."""
    config = write_shift(folder, 12)
    add_people(config)
    made = write_release(folder / "releases", "plate", 1, (SHORT, "dent"))
    told = read_card(made).model_copy(
        update={
            "family": EVIL, "claim": EVIL, "base_weights": EVIL, "licence": EVIL,
            "created_at": "2026-01-01T00:00:00+00:00",
            "libraries": {SHORT: EVIL}, "experiment": {SHORT: EVIL}, "metrics": {"note": EVIL},
            "dataset": DatasetCard(name=EVIL, version=EVIL, sha256="0" * 64, train_images=1, val_images=1),
        }
    )  # fmt: skip
    write_card(made, told)
    write_card(
        write_release(folder / "releases", "plate", 2, (SHORT, "dent")),
        told.model_copy(update={"number": 2, "licence": EVIL + "2"}),
    )
    for name in ("recipes", "datasets", "datasets/weights", f"datasets/{SHORT}"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "recipes" / f"{SHORT}.yaml").write_text(f"number: 1\npart: plate\n{EVIL!r}: 1\n")
    (folder / "recipes" / "1.yaml").write_text("number: 1\npart: plate\nrelease: 1\n")
    card = {"format": 1, "name": SHORT, "classes": [SHORT]}
    (folder / "datasets" / SHORT / "card.yaml").write_text(json.dumps(card))
    (folder / "datasets" / f"{SHORT}.yaml").write_text("family: template\n")
    (folder / "datasets" / "weights" / f"{SHORT}.pt").write_text("")
    job = folder / "web" / "jobs" / "1"
    job.mkdir(parents=True)
    (job / "log.txt").write_text(EVIL)
    fill_store(config)
    options: list[str | Path] = []
    for name in ("releases", "recipes", "datasets"):
        options += [f"--{name}", folder / name]
    return config, [*options, "--work", folder / "web"]


def fill_store(config: StoreConfig) -> None:
    """Put the corpus into every column of `FILLED` but those of `reviews`; see `fill_reviews`."""
    store, at = WebStore(config), people.after(-60)

    def add(table: str, **values: Any) -> None:
        connection.execute(sa.insert(metadata.tables[table]), values)

    with store.write("evil texts") as connection:
        audit.append(connection, EVIL, EVIL, EVIL, detail=EVIL)
        for kind in ("golden", "limit_ng"):
            add(
                "book", part_name=SHORT, recipe_number=1, kind=kind, defect_class=SHORT, path=EVIL,
                sha256="0" * 64, note=EVIL, record=3, who=EVIL, at=at, active=True,
            )  # fmt: skip
        add("outbox_stations", station="st1", first_record=1, since_at=at)
        add(
            "outbox_delivery", station="st1", destination=EVIL, active=True, delivered=0, attempts=3,
            patience=60.0, detail=EVIL, changed_at=at,
        )  # fmt: skip
        add(
            "outbox_quarantine", station="st1", destination=EVIL, message=1, why=EVIL, at=at,
            again=False,
        )  # fmt: skip
        add(
            "machine_keys",
            name=SHORT,
            token_sha256="1" * 64,
            pictures=False,
            made_by=EVIL,
            made_at=at,
            revoked_by=EVIL,
            revoked_at=at,
        )
        add("terminals", token_sha256="0" * 64, name=EVIL, trusted_by=EVIL, at=at)
        add(
            "alarms",
            id=1,
            station="st1",
            reason="CAMERA_LOST",
            detail=EVIL,
            on=True,
            at=at,
            mono=1.0,
        )
        add("alarm_acks", alarm=1, who=EVIL, at=at, note=EVIL)
        add(
            "commands", station="st1", kind="recipe", value={"number": 1, "text": EVIL}, who=EVIL, at=at,
            state="refused", answered_at=at, detail=EVIL,
        )  # fmt: skip
        add(
            "controls",
            station="st1",
            who=EVIL,
            session="x",
            since_at=at,
            until_at=people.after(600),
        )
        add("sign_ins", name=EVIL, address=EVIL, outcome="wrong", at=at)
        for step in ("asked", "approved"):
            add(
                "approvals", part="plate", number=1, card_sha256="0" * 64, step=step, who=EVIL, at=at,
                comment=EVIL,
            )  # fmt: skip
        told = {
            "step": EVIL,
            "said": EVIL,
            "harvest": {
                "added": {EVIL: 1},
                "corrected": {EVIL: 1},
                "look_at": [EVIL],
                "written": EVIL,
            },
            "release": EVIL,
        }
        counts = {f"{SHORT} -> {SHORT}": 1}
        number = 0
        for state, host in (("failed", ""), ("done", EVIL)):  # here, and on another PC
            for kind, names in (
                ("train", {"dataset": EVIL, "experiment": EVIL, "start": EVIL, "part": EVIL}),
                ("replay", {"part": "plate", "number": 1, "recipe": EVIL, "text": EVIL}),
            ):
                number += 1
                add(
                    "jobs", id=number, kind=kind, arguments=names, host=host, who=EVIL, at=at,
                    folder=host or jobs.folder_of("", number), state=state,
                    ended_at=at, exit_code=1, process={"outcome": {**told, "counts": counts}},
                )  # fmt: skip
        reasons = {"default": [{"code": "other", "ko": SHORT, "en": SHORT}]}
        for name, value in {
            "review.reasons": reasons,
            "review.second_classes": [SHORT],
            "classes.names": {SHORT: {"ko": SHORT, "en": SHORT}, "dent": {"ko": EVIL, "en": EVIL}},
            "shifts": [{"name": TINY, "start": "08:00"}, {"name": "B", "start": "20:00"}],
        }.items():
            add("settings", name=name, value=value, who=EVIL, at=at)
        for record, said in ((3, "false_call"), (6, "real_defect")):
            add(
                "verdicts", record=record, version=1, verdict=said, who=EVIL, at=at, reason_code=EVIL,
                comment=EVIL, defect_class=SHORT, seen={"text": EVIL},
                boxes=[{"class": SHORT, "box": [1.0, 1.0, 9.0, 9.0], "by": EVIL}],
            )  # fmt: skip
        fill_parts(connection)
        every = metadata.tables["people"]
        connection.execute(sa.update(every).values(display=EVIL[:64], options={"text": EVIL}))
        connection.execute(sa.update(metadata.tables["epochs"]).values(cause=EVIL, host=EVIL))
        row = people.find(connection, "viewer")
        assert row is not None
        people.start_session(connection, row["id"], EVIL, 600.0)
    store.close()


def fill_parts(connection: sa.Connection) -> None:
    """Put the corpus into what PLC, camera and model tell of a part."""
    parts = metadata.tables["parts"]
    flagged = sa.update(parts).where(parts.c.decision.in_(("FAIL", "REVIEW")))
    connection.execute(
        flagged.values(
            serial=EVIL, code=EVIL, defect_class=SHORT, detail=EVIL, part_name=SHORT,
            release=f"{SHORT}/1", camera=EVIL, source=EVIL, truth={"text": EVIL}, reasons=[EVIL],
            timings={"grab": 0.01, SHORT: 0.02},
            detections=[{"class": SHORT, "score": 0.9, "box": [10.0, 10.0, 60.0, 60.0]}],
        )
    )  # fmt: skip
    missing = [{"path": EVIL, "sha256": "0" * 64, "width": 320, "height": 256}]
    told = sa.update(parts).where(parts.c.id == 9)
    connection.execute(told.values(images=missing, late={"decision": EVIL, "text": EVIL}))


def fill_reviews(config: StoreConfig) -> int:
    """Put the corpus into what people said of the parts that the pages have taken in; return how many."""
    store, reviews = WebStore(config), metadata.tables["reviews"]
    with store.write("evil reviews") as connection:
        told = sa.update(reviews).where(reviews.c.record == 3).values(who=EVIL, first_who=EVIL)
        found = connection.execute(told).rowcount
    store.close()
    return found
