"""Keys of machines without a browser: made, used, refused, revoked; and the messages they read."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from station_rig import until
from store_samples import FAILED, inspected, not_inspected, store_config, trigger
from web_inside import Inside
from web_process import PASSWORD, WebProcess

from inspection.errors import StoreError
from inspection.store.outbox import Outbox, register
from inspection.store.outbox_standing import read_standings
from inspection.store.queries import StoreReader
from inspection.store.sql import SqlStore
from inspection.store.tables import parts
from inspection.store.web import audit
from inspection.store.web.tables import machine_keys
from inspection.types import Reason, Verdict
from inspection_serve.upward.pull import PullConfig
from inspection_serve.upward.sender import Sender
from inspection_serve.upward.state import StateReader
from inspection_serve.web import machine, seen
from inspection_serve.web.machine import Machines

ROOT = Path(__file__).parents[2]
JSON = {"accept": "application/json"}


@pytest.fixture
def inside(tmp_path: Path, shift_folder: Path) -> Iterator[Inside]:
    shutil.copytree(shift_folder, tmp_path, dirs_exist_ok=True)
    with Inside(store_config(tmp_path)) as found:
        yield found


def make(inside: Inside, name: str = "mes", **body: Any) -> dict[str, Any]:
    admin = inside.session("administrator")
    answer = inside.ask("POST", "/api/v1/keys", admin, JSON, json={"name": name, **body})
    assert answer.status_code == 201, answer.text
    return answer.json()


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def get(inside: Inside, key: str, path: str, **headers: str) -> Any:
    return inside.ask("GET", path, headers={**bearer(key), **headers})


def code(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def rows(inside: Inside, action: str = "key") -> list[tuple[str, str, str, dict[str, Any]]]:
    """What the audit says of keys, oldest first."""
    with inside.site.store.read("the audit") as connection:
        assert audit.breaches(connection) == []
        found = audit.rows(connection, audit.Filter(action=action))[::-1]
    return [(r["who"], r["action"], r["subject"], json.loads(r["detail"])) for r in found]


def test_made_used_and_revoked(inside: Inside) -> None:
    made = make(inside)
    key, shown = made["secret"], made["key"]
    assert (shown["name"], shown["state"], shown["pictures"]) == ("mes", "active", False)
    admin = inside.session("administrator")
    listed = inside.ask("GET", "/api/v1/keys", admin)
    assert listed.json() == [shown]
    for told in (listed.text, inside.ask("GET", "/people", admin).text):
        assert key not in told
    assert get(inside, key, "/api/v1/results?serial=S3").json()["number"] == 1
    assert get(inside, key, "/api/v1/results/3").json()["part"]["serial"] == "S3"
    assert get(inside, key, "/api/v1/quality/summary").status_code == 200
    assert code(get(inside, key, "/pictures/1/0")) == (403, "key_pictures")
    seeing = make(inside, "qms", pictures=True)["secret"]
    assert get(inside, seeing, "/pictures/1/0").headers["content-type"] == "image/jpeg"
    assert code(get(inside, seeing, "/pictures/1/heat")) == (403, "key")
    revoked = inside.ask("POST", f"/api/v1/keys/{shown['id']}/revoke", admin, JSON).json()
    assert (revoked["state"], revoked["revoked_by"]) == ("revoked", "administrator")
    assert inside.ask("POST", f"/api/v1/keys/{shown['id']}/revoke", admin).json() == revoked
    answer = get(inside, key, "/api/v1/results")
    assert code(answer) == (401, "key_revoked")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert [row[:3] for row in rows(inside)] == [
        ("administrator", "key.made", "key:mes"),
        ("system", "key.refused", "key:mes"),
        ("administrator", "key.made", "key:qms"),
        ("system", "key.refused", "key:qms"),
        ("administrator", "key.revoked", "key:mes"),
        ("system", "key.refused", "key:mes"),
    ]
    assert rows(inside)[1][3] == {
        "at": "10.0.0.7", "why": "key_pictures", "route": "/pictures/{record}/{index}",
    }  # fmt: skip
    assert key not in json.dumps(rows(inside))


def test_names_and_last_days(inside: Inside) -> None:
    admin = inside.session("administrator")

    def tried(**body: Any) -> tuple[int, str]:
        return code(inside.ask("POST", "/api/v1/keys", admin, JSON, json=body))

    today = datetime.now().astimezone().date()
    key = make(inside, last_day=today.isoformat())
    ends = datetime.fromisoformat(key["key"]["ends_at"])
    assert timedelta() < ends - datetime.now(UTC) <= timedelta(hours=25)
    assert ends.astimezone().hour == 0
    assert tried(name="MES") == (409, "taken")
    yesterday = (today - timedelta(days=1)).isoformat()
    for day in (yesterday, "0001-01-01", "9999-12-31", "3000-01-01"):
        assert tried(name="next", last_day=day) == (400, "past"), day
    for wrong in ("", "x", "a b", "키", "a" * 33, "<b>", None):
        assert tried(name=wrong)[0] == 422, wrong
    assert tried(name="next", role="administrator")[0] == 422
    inside.ask("POST", f"/api/v1/keys/{key['key']['id']}/revoke", admin)
    assert tried(name="mes") == (409, "taken"), "the audit names it"
    assert code(inside.ask("POST", "/api/v1/keys/99/revoke", admin, JSON)) == (404, "no_key")
    with inside.site.store.write("a day later") as connection:
        later = {"ends_at": "2026-01-01T00:00:00.000000+00:00", "revoked_at": None}
        connection.execute(sa.update(machine_keys).values(**later))
    assert code(get(inside, key["secret"], "/api/v1/results")) == (401, "key_ended")


def test_nothing_but_the_key_counts(inside: Inside) -> None:
    key, admin = make(inside)["secret"], inside.session("administrator")
    for header in (
        f"Bearer {key}x", f"Bearer {key[:-1]}", "Bearer", "Bearer ", "bearer null", f"Bearer {key} {key}",
        f"Bearer\t{key}", f"Bearer {'ik_' * 3000}", "BEARER ik_é", "Bearer ' OR 1=1 --", f"Bearer {key},",
    ):  # fmt: skip
        told = {**admin.headers, "authorization": header.encode()}
        answer = inside.ask("GET", "/api/v1/results", headers=told)
        expected = {(401, "key_unknown"), (429, "limited")}
        if header.startswith("Bearer\t"):  # another scheme: a person with a cookie
            assert answer.status_code == 200
            continue
        assert code(answer) in expected, header
    for scheme in ("bearer", "BEARER", "Bearer   "):
        told = {"authorization": f"{scheme} {key}"}
        assert inside.ask("GET", "/api/v1/results", headers=told).status_code == 200
    twice = [("authorization", f"Bearer {key}"), ("authorization", f"Bearer {key}")]
    (answer,) = inside.run(inside.sending("GET", "/api/v1/results", twice))  # type: ignore[arg-type]
    assert code(answer) == (401, "key_unknown")
    hidden = {"cookie": f"inspection_session={key}"}
    assert code(inside.ask("GET", "/api/v1/results", headers=hidden)) == (401, "not_signed_in")
    asked = inside.ask("GET", f"/api/v1/results?access_token={key}", headers=JSON)
    assert code(asked) == (401, "not_signed_in")
    basic = {**admin.headers, "authorization": "Basic a2ltOmtpbQ=="}
    assert inside.ask("GET", "/api/v1/me", headers=basic).status_code == 200


def test_cookies_beside_a_key_count_for_nothing(inside: Inside) -> None:
    key, admin = make(inside)["secret"], inside.session("administrator")
    told = {**admin.headers, "cookie": f"{admin.headers['cookie']}; inspection_language=ko"}
    english = get(inside, key, "/api/v1/results/1", **told, **{"accept-language": "en"}).json()
    assert english["why"].startswith("It passed"), "the language that was asked for"
    assert code(get(inside, key, "/people", **told)) == (403, "key")
    assert code(get(inside, key, "/no/such/page", **told)) == (404, "http_404")
    sent = inside.ask("POST", "/sign-out", headers={**told, **bearer(key)})
    assert code(sent) == (403, "key")
    assert inside.ask("GET", "/api/v1/me", admin).status_code == 200


def test_refusals_do_not_fill_the_store(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make(inside)["secret"]
    for _ in range(machine.WRONG_OF_ADDRESS):
        assert code(get(inside, "ik_wrong", "/api/v1/results")) == (401, "key_unknown")
    limited = get(inside, "ik_wrong", "/api/v1/results")
    assert code(limited) == (429, "limited")
    assert 1 <= int(limited.headers["retry-after"]) <= machine.WINDOW
    assert get(inside, key, "/api/v1/results").status_code == 200, "a right key is not shut out"
    assert [row[1:3] for row in rows(inside, "key.refused")] == [("key.refused", "key:?")]
    monkeypatch.setattr(machine, "NOTED", 4)
    for number in range(10):
        inside.address = f"10.0.1.{number}"
        assert code(get(inside, "ik_wrong", "/api/v1/results")) == (401, "key_unknown")
    found = rows(inside)
    assert [row[1] for row in found] == ["key.made", *["key.refused"] * 4, "key.limited"]
    assert found[2][3]["unnoted"] == machine.WRONG_OF_ADDRESS
    monkeypatch.setattr(machine, "WINDOW", 0.0)
    inside.address = "10.0.2.1"
    assert code(get(inside, "ik_wrong", "/api/v1/results")) == (401, "key_unknown")
    assert rows(inside)[-1][3]["unnoted"] == 7


def test_a_refusal_that_cannot_be_kept_lets_nobody_in(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make(inside)["secret"]

    def full(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(inside.site.store, "write", full)
        assert code(get(inside, "ik_wrong", "/api/v1/results")) == (503, "store_failed")
        assert get(inside, key, "/api/v1/results").status_code == 200, "reading goes on"
    assert code(get(inside, "ik_wrong", "/api/v1/results")) == (401, "key_unknown")
    assert [row[1] for row in rows(inside)] == ["key.made", "key.refused"]


def test_a_key_is_answered_so_often(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "RATE", 0.001)
    monkeypatch.setattr(machine, "BURST", 3.0)
    first, second = make(inside)["secret"], make(inside, "qms")["secret"]
    got = [get(inside, first, "/api/v1/results").status_code for _ in range(5)]
    assert got == [200, 200, 200, 429, 429]
    assert get(inside, first, "/api/v1/results").headers["retry-after"] == "1"
    assert get(inside, second, "/api/v1/results").status_code == 200
    assert [row[1] for row in rows(inside)] == ["key.made", "key.made"], "no refusal of the key"


def test_last_used_is_written_once_a_minute(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make(inside)["secret"]
    written = []
    noting = Machines(inside.site.store)
    monkeypatch.setattr(noting.seen, "_note", lambda connection, sha: written.append(sha))
    inside.app.state.machines = noting
    for _ in range(5):
        assert get(inside, key, "/api/v1/results").status_code == 200
    noting.seen.close()
    assert len(written) == 1
    monkeypatch.undo()
    inside.app.state.machines = Machines(inside.site.store)
    assert seen.EVERY >= 60
    get(inside, key, "/api/v1/results")
    inside.app.state.machines.seen.close()
    admin = inside.session("administrator")
    used = inside.ask("GET", "/api/v1/keys", admin).json()[0]["used_at"]
    age = datetime.now(UTC) - datetime.fromisoformat(used)
    assert age < timedelta(seconds=60)


def test_only_an_administrator_handles_keys(inside: Inside) -> None:
    key = make(inside)["secret"]
    engineer = inside.session("engineer")
    body = {"json": {"name": "x1"}}
    assert code(inside.ask("POST", "/api/v1/keys", engineer, JSON, **body)) == (403, "role")
    assert code(inside.ask("GET", "/api/v1/keys", engineer, JSON)) == (403, "role")
    assert code(inside.ask("POST", "/api/v1/keys", headers=bearer(key), **body)) == (403, "key")
    without = {"cookie": inside.session("administrator").headers["cookie"], **JSON}
    assert code(inside.ask("POST", "/api/v1/keys", headers=without, **body)) == (403, "csrf")


# ---------------------------------------------------------------------- messages


@pytest.fixture
def told(inside: Inside) -> Inside:
    """The shop, and a station `press7` that is told upward: replaced decision, verdict, alarm."""
    config = inside.site.store.config
    line = SqlStore(store_config(Path(config.sqlite_path or "").parent))
    line.tell_upward("press7", {"mes": 600})
    line.begin_epoch("press7", "start")
    first = trigger(1, station="press7")
    line.decided(inspected(first))
    line.decided(not_inspected(first, Reason.DEADLINE))
    record = line.decided(inspected(trigger(2, station="press7"), FAILED))
    line.alarm("press7", Reason.CAMERA_LOST, "gone", True)
    line.close()
    with StoreReader(config) as reader:
        reader.add_verdict(record, Verdict.REAL_DEFECT, "kim", version_seen=0)
    return inside


def test_messages_page_by_page(told: Inside) -> None:
    key = make(told)["secret"]
    place, found, more = "0", [], True
    while more:
        page = get(told, key, f"/api/v1/messages?after={place}&limit=2").json()
        found += page["messages"]
        place, more = page["next"], page["more"]
    assert [m["id"].partition("/alarm/")[0] for m in found] == [
        "press7/1/1/part/1", "press7/1/1/part/2", "press7/1/2/part/1", "press7", "press7/1/2/verdict/1",
    ]  # fmt: skip
    assert found[1]["evaluatedCriterionResult"] == "NOT_INSPECTED"
    assert found[4]["disposition"] == "real_defect"
    assert get(told, key, "/api/v1/messages?after=newest").json()["next"] == place
    after = get(told, key, f"/api/v1/messages?after={place}").json()
    assert after == {"messages": [], "next": place, "more": False, "unreadable": []}
    lot = get(told, key, "/api/v1/messages?serial=S2&kind=part&kind=verdict").json()["messages"]
    assert [m["kind"] for m in lot] == ["part", "verdict"]
    assert get(told, key, "/api/v1/messages?part=1001&station=").json()["messages"] == found[:2]


def test_a_person_is_not_told_verdicts(told: Inside) -> None:
    """They might have to judge without knowing the first one."""
    operator = told.session("operator")
    for asked in ("", "?kind=verdict", "?serial=S2"):
        page = told.ask("GET", f"/api/v1/messages{asked}", operator).json()
        assert "verdict" not in [m["kind"] for m in page["messages"]], asked


def test_places_that_are_none(told: Inside) -> None:
    key = make(told)["secret"]
    place = get(told, key, "/api/v1/messages").json()["next"]
    number, mark = place.split("-")
    for wrong in (f"{number}-{mark}0", "1", "-1", "x", "1-", f"{number}-{mark.upper()}g"):
        assert code(get(told, key, f"/api/v1/messages?after={wrong}"))[0] == 422, wrong
    beyond = f"{10**17}-{mark}"
    assert code(get(told, key, f"/api/v1/messages?after={beyond}")) == (409, "other_store")
    assert len(get(told, key, "/api/v1/messages?after=").json()["messages"]) == 5
    assert code(get(told, key, "/api/v1/messages?lot=1"))[0] == 422, "a misspelt wish is no wish"
    for wish in ("limit=0", "limit=1001", "kind=state", "part=-1", "part=x"):
        assert code(get(told, key, f"/api/v1/messages?{wish}"))[0] == 422, wish


def test_a_plant_store_says_that_it_tells_nothing(
    told: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an MES would wait there for ever."""
    key = make(told)["secret"]
    monkeypatch.setattr(told.site.store, "is_plant", True)
    for asked in ("", "?after=newest"):
        assert code(get(told, key, f"/api/v1/messages{asked}")) == (409, "plant_store")
    assert get(told, key, "/api/v1/results").status_code == 200


def test_what_cannot_be_told_does_not_stop_the_rest(told: Inside) -> None:
    key = make(told)["secret"]
    with told.site.store.write("a score that JSON does not know") as connection:
        broken = sa.update(parts).where(parts.c.station == "press7", parts.c.sequence == 2)
        connection.execute(broken.values(deciding_score=float("inf")))
    page = get(told, key, "/api/v1/messages").json()
    assert len(page["messages"]) == 4
    assert page["unreadable"] == [3]
    assert not page["more"]


def test_a_station_with_pull_alone_is_told_and_nothing_waits(told: Inside) -> None:
    config, store = PullConfig(name="ask"), told.site.store
    with store.write("entering") as connection:
        register(connection, "st1", {"ask": config.patience})
    line = SqlStore(store_config(Path(store.config.sqlite_path or "").parent))
    line.decided(inspected(trigger(99)))
    line.close()
    stop, state = threading.Event(), StateReader(told.site.live, "st1")
    sender = Sender(config, "st1", Outbox(store, "st1", "ask"), lambda: None, state.read)
    thread = threading.Thread(target=sender.run, args=(stop,))
    thread.start()
    try:
        until(lambda: not read_standings(store.config, "st1")[0].waiting, 60.0, "nothing waits")
    finally:
        stop.set()
        thread.join(20)
    key = make(told)["secret"]
    page = get(told, key, "/api/v1/messages?station=st1").json()
    assert [m["sequence"] for m in page["messages"]] == [99]


def examples(name: str) -> list[str]:
    """Return the shell examples of a page of the documents."""
    text = (ROOT / "docs/how-to" / name).read_text(encoding="utf-8")
    return re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.skipif(not shutil.which("jq") or not shutil.which("curl"), reason="needs curl and jq")
def test_the_examples_of_the_documents(told: Inside, tmp_path: Path) -> None:
    """Each runs as it stands, in a folder of its own, against the pages as a process."""
    work = tmp_path / "example"
    work.mkdir()
    (work / "password.txt").write_text(PASSWORD, encoding="utf-8")
    scripts = examples("keys-for-machines.md") + examples("upward.md")
    assert len(scripts) == 5
    with WebProcess(told.site.store.config.url, log=tmp_path / "web.log") as web:
        shell = {**os.environ, "PAGES": web.address, "NAME": "administrator"}
        done = [
            subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=work, env=shell, capture_output=True, text=True, timeout=60, check=False,
            )
            for script in scripts
        ]  # fmt: skip
    for script, run in zip(scripts, done, strict=True):
        assert run.returncode == 0, (script, run.stderr)
    assert (work / "key").stat().st_mode & 0o077 == 0
    kept = [json.loads(line) for line in (work / "kept.jsonl").read_text().splitlines()]
    assert len(kept) == 5
    assert (work / "place").read_text().startswith("5-")
    assert json.loads((work / "part.json").read_text())["messages"] == []
    assert "key.made" in [row[1] for row in rows(told)]
