"""The station as an OPC UA server, seen by node-opcua: who may come in, states, results, recipes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import asyncua
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from opcua_client import Client
from opcua_site import (
    AUTOMATIC,
    MACHINE,
    NODE,
    PASSWORD,
    PRODUCT_ID,
    RECIPE_EXTERNAL,
    RECIPE_INTERNAL,
    RECIPES,
    RESULT_ID,
    RESULTS,
    SYSTEM,
    Site,
    add_people,
    names,
    ready_events,
    state,
)
from own_loop import in_own_loop
from station_rig import until

pytestmark = pytest.mark.skipif(not NODE.is_dir(), reason="node-opcua is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A station that has run once, so that there is a store, and its server."""
    made = Site(tmp_path_factory.mktemp("opcua"))
    with made.rig.plc_running(parts=1) as plc, made.rig.line():
        assert plc.wait(60)
    add_people(made.rig)
    with made.server():
        yield made


def test_who_may_come_in(site: Site) -> None:
    with site.client("-", policy="None") as peer:
        told = peer.first()["endpoints"]
    assert sorted(told) == [["Aes256_Sha256_RsaPss", 3], ["Basic256Sha256", 3]]
    with site.client() as peer:
        assert "error" in peer.first()  # its certificate is not trusted
    [kept] = site.rejected.iterdir()
    site.trusted.mkdir(exist_ok=True)
    kept.rename(site.trusted / kept.name)
    for policy in ("Basic256Sha256", "Aes256_Sha256_RsaPss"):
        with site.client(policy=policy) as peer:
            assert peer.first() == {"ready": True}
            assert state(peer) == "Halted"
            said = peer.ask("write", fails=True, names=[*SYSTEM, "SystemState"], value="x")
            assert "BadUserAccessDenied" in said["failed"]
    for user, password, why in (
        ("viewer1", "wrong", "BadUserAccessDenied"),
        ("nobody", PASSWORD, "BadUserAccessDenied"),
        ("", "", "ANONYMOUS"),
    ):
        with site.client(user, password=password) as peer:
            assert why in peer.first()["error"]
    with site.client(policy="None") as peer:
        assert "error" in peer.first()


def test_a_channel_without_security_is_for_endpoints_alone(site: Site) -> None:
    """Even with a trusted certificate that somebody copied: who asks is not proven there."""
    site.trust()
    certificate = load_pem_x509_certificate((site.identity / "client.pem").read_bytes())

    async def attack() -> None:
        peer = asyncua.Client(f"opc.tcp://127.0.0.1:{site.port}/", timeout=20)
        peer.security_policy.host_certificate = certificate.public_bytes(Encoding.DER)
        await peer.connect_socket()
        try:
            await peer.send_hello()
            await peer.open_secure_channel()
            assert len(await peer.get_endpoints()) == 2
            with contextlib.suppress(asyncua.ua.UaError):
                await peer.create_session()
            with pytest.raises(asyncua.ua.uaerrors.BadUserAccessDenied):
                await peer.nodes.server_state.read_value()
            peer.set_user("viewer1")
            peer.set_password(PASSWORD)
            with pytest.raises(asyncua.ua.UaError):
                await peer.activate_session(username="viewer1", password=PASSWORD)
            with pytest.raises(asyncua.ua.uaerrors.BadUserAccessDenied):
                await peer.nodes.server_state.read_value()
            await peer.close_secure_channel()
        finally:
            peer.disconnect_socket()

    in_own_loop(attack())


def test_state_results_and_recipes_follow_the_station(site: Site) -> None:
    site.trust()
    rig = site.rig
    with site.client("engineer1") as peer:
        assert peer.first() == {"ready": True}
        assert state(peer) == "Halted"
        assert state(peer, AUTOMATIC) == "BadStateNotActive"
        peer.ask("subscribe")
        with rig.plc_running(parts=12, takt=0.2, recipe=0) as plc, rig.line() as line:
            until(lambda: state(peer, AUTOMATIC) == "ContinuousExecution", 30, "execution")
            assert state(peer) == "Operational"
            for owner, method, given in (
                (AUTOMATIC, "StartSingleJob", []),
                (AUTOMATIC, "Stop", []),
                (MACHINE, "Halt", []),
            ):
                assert peer.ask("call", owner=owner, method=method, given=given)["status"] == (
                    "BadInvalidState"
                )
            assert plc.wait(60)
            rows = rig.rows("id > 1")
            until(lambda: len(ready_events(peer)) >= len(rows), 20, "every result")
            check_recipes(peer)
            line.kill()
            until(lambda: state(peer) == "Error", 1.5, "the error")
        check_results(peer, rows)
    with site.client("viewer1") as peer:
        assert peer.first() == {"ready": True}
        assert prepare(peer, "2")["status"] == "BadUserAccessDenied"


def check_results(peer: Client, rows: list[dict[str, Any]]) -> None:
    told = ready_events(peer)
    wanted = [f"test/{row['epoch']}/{row['sequence']}" for row in rows]
    assert [names(event) for event in told] == wanted
    for event, row in zip(told, rows, strict=True):
        judged = row["decision"] != "NOT_INSPECTED"
        assert event["IsPartial"] is False
        assert event["IsSimulated"] is True
        assert event["ResultState"] == (1 if judged else 3)
        assert event["PartId"]["id"] == str(row["part_id"])
        assert event["MeasId"]["id"] == str(row["id"])
        assert event["JobId"]["id"] == f"test/{row['epoch']}"
        assert event["InternalRecipeId"]["id"] == "1"
        assert event["InternalRecipeId"]["hash"] == row["recipe_sha256"]
        assert event["InternalConfigurationId"]["id"] == row["release"]
        assert event["CreationTime"][:19] == row["decided_at"][:19]
        assert event["ProcessingTimes"]["startTime"][:19] == row["triggered_at"][:19]
        content = [entry["value"] for entry in event["ResultContent"]]
        assert content[:2] == [row["decision"], row["reason"]]
        assert json.loads(content[5]) == json.loads(row["detections"] or "[]")
        given = [{"kind": RESULT_ID, "value": {"id": names(event)}}, {"kind": "Int32", "value": 0}]
        found = peer.ask("call", owner=RESULTS, method="GetResultById", given=given)
        assert found["status"] == "Good"
        handle, result, error = found["outputs"]
        assert (handle, error) == (0, 0)
        for name in ("ResultId", "ResultState", "MeasId", "PartId", "InternalRecipeId", "JobId"):
            assert result[name[0].lower() + name[1:]] == event[name], name
        again = [entry["value"] for entry in result["resultContent"]]
        assert again[:6] == content[:6]
        assert len(again[6]) == 64  # by now the picture is there
    given[0]["value"]["id"] = "test/1/65535"
    assert peer.ask("call", owner=RESULTS, method="GetResultById", given=given)["outputs"][2] == -1
    check_lists(peer, rows)
    changed = [e["ToState"]["text"] for e in peer.events if e["ToState"] and e["ToState"]["text"]]
    assert "ContinuousExecution" in changed
    assert changed[-1] == "Error"


def check_lists(peer: Client, rows: list[dict[str, Any]]) -> None:
    def found(state: int = 0, part: str = "", job: str = "", most: int = 50) -> tuple[Any, ...]:
        nothing = {"id": ""}
        given = [{"kind": "Int32", "value": state}, {"kind": 3015, "value": nothing}]
        given.append({"kind": 3004, "value": {"id": part}})
        given += [{"kind": kind, "value": nothing} for kind in (3002, 3013, 3008, 3008, 3003)]
        given.append({"kind": 3016, "value": {"id": job}})
        given += [{"kind": "UInt32", "value": most}, {"kind": "UInt32", "value": 0}]
        given.append({"kind": "Int32", "value": 0})
        said = peer.ask("call", owner=RESULTS, method="GetResultListFiltered", given=given)
        assert said["status"] == "Good", said
        complete, count, _, results, error = said["outputs"]
        assert (count, error) == (len(results or []), 0)
        return complete, [one["resultId"]["id"] for one in results or []]

    newest = [f"test/{row['epoch']}/{row['sequence']}" for row in reversed(rows)]
    job = f"test/{rows[0]['epoch']}"
    assert found(job=job) == (True, newest)
    assert found(job=job, most=2) == (False, newest[:2])
    assert found(job=job, part=str(rows[0]["part_id"])) == (True, newest[-1:])
    assert found(job="other/1") == (True, [])
    assert found(job=job, part="no number") == (True, [])
    given = [{"kind": RESULT_ID, "value": {"id": newest[0]}}, {"kind": "Int32", "value": 0}]
    said = peer.ask("call", owner=RESULTS, method="GetResultComponentsById", given=given)
    assert said["status"] == "Good", said
    assert said["outputs"][5]["id"] == str(rows[-1]["id"])
    assert said["outputs"][-2][0]["value"] == rows[-1]["decision"]
    assert said["outputs"][-1] == 0


def prepare(peer: Client, number: str) -> dict[str, Any]:
    given = [
        {"kind": RECIPE_EXTERNAL, "value": {"id": ""}},
        {"kind": RECIPE_INTERNAL, "value": {"id": number}},
    ]
    return peer.ask("call", owner=RECIPES, method="PrepareRecipe", given=given)


def listed(peer: Client, prepared: int) -> list[str]:
    given = [
        {"kind": RECIPE_EXTERNAL, "value": {"id": ""}},
        {"kind": PRODUCT_ID, "value": {"id": ""}},
        {"kind": "Int32", "value": prepared},
        {"kind": "UInt32", "value": 10},
        {"kind": "UInt32", "value": 0},
        {"kind": "Int32", "value": 0},
    ]
    found = peer.ask("call", owner=RECIPES, method="GetRecipeListFiltered", given=given)
    assert found["status"] == "Good"
    return [one["id"] for one in found["outputs"][3]]


def check_recipes(peer: Client) -> None:
    assert listed(peer, 2) == ["1", "2"]
    assert listed(peer, 1) == ["1"]
    assert prepare(peer, "7")["outputs"][1:] == [False, -1]
    found = prepare(peer, "2")
    assert found["status"] == "Good"
    assert found["outputs"][0]["id"] == "2"
    assert found["outputs"][1:] == [True, 0]
    until(lambda: listed(peer, 1) == ["2"], 10, "the recipe in force")
    until(
        lambda: [e for e in peer.events if (e["InternalId"] or {}).get("id") == "2"],
        10,
        "the event of the recipe",
    )
