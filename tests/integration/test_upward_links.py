"""The ways upward, each against a real receiver: what is taken, refused, or waits."""

from __future__ import annotations

import csv
import gc
import io
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from station_rig import free_port, until
from upward_peers import Broker, Listener, Receiver

from inspection.errors import ConfigError
from inspection.store.outbox import Told
from inspection_serve.upward.csv_drop import CsvConfig
from inspection_serve.upward.link import AwayError, Link, RefusedError
from inspection_serve.upward.messages import COLUMNS, Message, message_of
from inspection_serve.upward.mqtt import MqttConfig
from inspection_serve.upward.sender import Backoff
from inspection_serve.upward.state import StateReader, StationState
from inspection_serve.upward.webhook import WebhookConfig, signature

PART: dict[str, Any] = {
    "id": 7, "station": "st1", "epoch": 2, "sequence": 9, "part_id": 4711, "serial": "LOT-부품", "code": None,
    "recipe_number": 1, "recipe_sha256": "ab", "part_name": "plate", "release": "plate/1",
    "model_sha256": "cd", "decision": "FAIL", "reason": "DEFECT", "reasons": ["DEFECT"],
    "defect_class": "scratch", "deciding_score": 0.91, "over_t1": 2, "anomaly_score": None,
    "simulated": True, "triggered_at": "2026-11-21T10:00:00.000001+00:00",
    "decided_at": "2026-11-21T10:00:00.100001+00:00",
}  # fmt: skip


def part(number: int = 7, **changes: Any) -> Message:
    row = {**PART, "id": number, "sequence": number, **changes}
    return message_of(Told(number, "st1", "part", 1, number, row))


def alarm(number: int, detail: str = "") -> Message:
    row = {"id": number, "at": PART["decided_at"], "on": True, "reason": "CAMERA_LOST"}
    return message_of(Told(number, "st1", "alarm", 1, number, {**row, "detail": detail}))


# ---------------------------------------------------------------------- what is said


def test_the_message_of_a_part() -> None:
    message = part()
    assert message.id == "st1/2/7/part/1"
    assert message.fields == {
        "schema": "inspection.upward/1", "id": "st1/2/7/part/1", "kind": "part", "version": 1,
        "equipmentId": "st1", "effectiveTimestamp": PART["decided_at"], "epoch": 2, "sequence": 7,
        "recordId": 7, "partId": 4711, "materialLotId": "LOT-부품", "materialCode": None,
        "materialDefinitionId": "plate",
        "evaluatedCriterionResult": "FAIL", "reason": "DEFECT", "reasons": ["DEFECT"],
        "defectClass": "scratch", "defectScore": 0.91, "findings": 2, "anomalyScore": None,
        "testSpecificationId": "plate/1", "modelSha256": "cd", "recipeNumber": 1,
        "recipeSha256": "ab", "triggeredAt": PART["triggered_at"], "simulated": True,
    }  # fmt: skip
    assert list(message.fields) == list(COLUMNS["part"])
    assert "부품" in message.body.decode()


def test_what_cannot_be_said() -> None:
    with pytest.raises(ValueError, match="not in the store any more"):
        message_of(Told(1, "st1", "part", 1, 7, None))
    with pytest.raises(ValueError, match="not JSON compliant"):
        part(deciding_score=float("nan"))


def test_the_wait_doubles_up_to_a_minute_by_chance() -> None:
    backoff = Backoff()
    for attempts, base in ((1, 1.0), (2, 2.0), (5, 16.0)):
        waits = {backoff.seconds(attempts) for _ in range(50)}
        assert all(base - 1e-9 <= one <= 1.5 * base for one in waits)
        assert len(waits) > 10
    waits = {backoff.seconds(n) for n in (7, 99, 10**6) for _ in range(50)}
    assert all(40.0 - 1e-9 <= one <= 60.0 for one in waits)
    assert len(waits) > 10


def test_the_state_of_a_station(tmp_path: Path) -> None:
    reader = StateReader(tmp_path, "st1")
    assert reader.read() == StationState("silent")
    file = tmp_path / "st1.json"
    for text, state in (
        ("{", StationState("silent")),
        ("[]", StationState("silent")),
        ('{"running": false}', StationState("stopped")),
        (
            '{"running": true, "ready": true, "cause": null, "recipe": 1, "release": "plate/1"}',
            StationState("ready", None, 1, "plate/1"),
        ),
        (
            '{"running": true, "ready": false, "cause": "CAMERA_LOST", "recipe": 0}',
            StationState("not_ready", "CAMERA_LOST"),
        ),
    ):
        file.write_text(text)
        assert reader.read() == state


# ---------------------------------------------------------------------- webhook


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


def webhook(receiver: Receiver, **changes: Any) -> Link:
    given = {"name": "mes", "url": receiver.url, "timeout": 2.0, **changes}
    return WebhookConfig.model_validate(given).open("st1")


def test_webhook_posts_signed(receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"hush\n")
    (tmp_path / "token").write_text("t0k")
    link = webhook(receiver, secret_file=tmp_path / "key", token_file=tmp_path / "token")
    link.send([part(1)])
    link.send([part(2)])
    link.keep(StationState("ready"))
    link.close()
    link.close()
    headers, body, _ = receiver.posts[0]
    assert body == part(1).body
    assert headers["Idempotency-Key"] == "st1/2/1/part/1"
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer t0k"
    stamp = headers["X-Inspection-Timestamp"]
    assert headers["X-Inspection-Signature"] == signature(b"hush", stamp, body)
    assert [said["sequence"] for said in receiver.taken()] == [1, 2]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (200, None), (201, None), (204, None), (301, AwayError), (307, AwayError), (400, RefusedError),
        (401, AwayError), (403, AwayError), (404, AwayError), (408, AwayError), (409, RefusedError),
        (413, RefusedError), (422, RefusedError), (429, AwayError), (500, AwayError), (503, AwayError),
    ],
)  # fmt: skip
def test_webhook_answers(receiver: Receiver, code: int, error: type[Exception] | None) -> None:
    with Receiver() as elsewhere:
        receiver.headers["Location"] = elsewhere.url
        receiver.answers = lambda _: code
        link = webhook(receiver)
        if error is None:
            link.send([part()])
        else:
            with pytest.raises(error, match=str(code)):
                link.send([part()])
        assert elsewhere.posts == []
        receiver.answers = lambda _: 204  # the connection is still good, or made anew
        link.send([part()])
        link.close()


def test_webhook_server_away_slow_and_back(receiver: Receiver) -> None:
    link = webhook(receiver, timeout=1.0)
    link.send([part(1)])
    receiver.stop()
    with pytest.raises(AwayError):
        link.send([part(2)])
    receiver.start()
    link.send([part(2)])
    hang = threading.Event()
    receiver.answers = lambda _: 204 + hang.wait(5) * 0
    with pytest.raises(AwayError, match="timed out"):
        link.send([part(3)])
    hang.set()
    link.close()


@pytest.mark.parametrize(
    "url", ["ftp://x/", "http://", "http://u:p@x/", "http://x/ a", "http://x/\r\nY: z", "x"]
)
def test_webhook_refuses_other_addresses(url: str) -> None:
    with pytest.raises(ValidationError):
        WebhookConfig.model_validate({"name": "mes", "url": url})


def test_a_secret_that_is_not_there(receiver: Receiver, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="check the file"):
        webhook(receiver, secret_file=tmp_path / "none")
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        webhook(receiver, token_file=tmp_path / "empty")


# ---------------------------------------------------------------------- MQTT


def mqtt(port: int, **changes: Any) -> MqttConfig:
    given = {"name": "plant", "host": "127.0.0.1", "port": port, "timeout": 2.0, **changes}
    return MqttConfig.model_validate(given)


def test_mqtt_messages_state_and_will(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        listener = Listener(broker, "inspection/#")
        link = mqtt(broker.port).open("st1")
        link.keep(StationState("ready", None, 1, "plate/1"))
        for number in range(1, 30):
            link.send([part(number)])
        link.send([alarm(3, "gone")])
        until(lambda: len(listener.of("part")) == 29 and listener.of("alarm"), 10, "messages")
        assert [said["sequence"] for said in listener.of("part")] == list(range(1, 30))
        topic, said, properties, retained = next(m for m in listener.messages if "part" in m[0])
        assert (topic, retained) == ("inspection/st1/part", False)
        assert said == part(1).fields
        assert dict(properties.UserProperty)["id"] == said["id"]
        assert properties.CorrelationData == said["id"].encode()
        assert properties.ContentType == "application/json"
        link.keep(StationState("ready", None, 1, "plate/1"))  # not told twice
        link.keep(StationState("not_ready", "CAMERA_LOST", 1, "plate/1"))
        until(lambda: len(listener.states()) == 2, 10, "two states")
        late = Listener(broker, "inspection/st1/state")  # what is retained
        until(late.states, 10, "the retained state")
        assert late.messages[0][1]["cause"] == "CAMERA_LOST"
        link.close()
        until(lambda: listener.states()[-1] == "offline", 10, "a word of parting")
        link.close()
        for one in (listener, late):
            one.close()


def test_mqtt_refuses_what_is_too_big_and_topics_that_are_not_ours(tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite inspection/st1/part\n")
    rules.chmod(0o600)
    with Broker(tmp_path, "max_packet_size 2000", f"acl_file {rules}") as broker:
        link = mqtt(broker.port).open("st1")
        with pytest.raises(RefusedError, match="2000"):
            link.send([part(1, serial="x" * 3000)])
        with pytest.raises(RefusedError, match="0x87"):
            link.send([alarm(1)])
        link.keep(StationState("ready"))  # not allowed either, and holds up nothing
        link.send([part(2)])
        link.close()


def test_mqtt_broker_away_and_back(tmp_path: Path) -> None:
    with pytest.raises(AwayError):
        mqtt(free_port()).open("st1")
    with Broker(tmp_path) as broker:
        link = mqtt(broker.port).open("st1")
        link.send([part(1)])
        broker.stop()
        with pytest.raises(AwayError):
            link.send([part(2)])
        with pytest.raises(AwayError):
            link.keep(StationState("ready"))
        link.close()
        broker.start()
        link = mqtt(broker.port).open("st1")
        link.send([part(2)])
        link.close()


def test_mqtt_server_that_says_nothing() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as deaf, pytest.raises(AwayError):
        mqtt(deaf.getsockname()[1], timeout=0.3).open("st1")


# the library leaves the socket of a failed handshake to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_mqtt_with_tls_and_password(tmp_path: Path) -> None:
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=x",
    ]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    subprocess.run([*make, *names, *files], check=True, capture_output=True)
    passwords = tmp_path / "passwords"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(passwords), "line", "hush"],
        check=True,
        capture_output=True,
    )
    broker = Broker(tmp_path, "listener 0")
    text = broker._file.read_text().replace(
        "listener 0",
        f"listener {broker.port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n"
        f"certfile {tmp_path}/cert.pem\nkeyfile {tmp_path}/key.pem",
    )
    broker._file.write_text(text)
    (tmp_path / "password").write_text("hush\n")
    (tmp_path / "wrong").write_text("hash\n")
    with broker:
        given = {"tls": True, "ca": tmp_path / "cert.pem", "username": "line"}
        link = mqtt(broker.port, **given, password_file=tmp_path / "password").open("st1")
        link.send([part(1)])
        link.close()
        with pytest.raises(AwayError, match="Not authorized"):
            mqtt(broker.port, **given, password_file=tmp_path / "wrong").open("st1")
        with pytest.raises(AwayError, match="certificate"):
            mqtt(broker.port, tls=True, username="line").open("st1")
        gc.collect()


# ---------------------------------------------------------------------- CSV


def test_csv_files(tmp_path: Path) -> None:
    link = CsvConfig.model_validate({"name": "drop", "folder": tmp_path}).open("st1")
    evil = part(2, serial='=HYPERLINK("x")', part_name="a;@b")
    link.send([part(1), alarm(3, "-1,\n2"), evil])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["st1_alarm_drop_0_000000000003.csv", "st1_part_drop_0_000000000001.csv"]
    content = (tmp_path / names[1]).read_bytes()
    assert content.startswith(b"\xef\xbb\xbfschema,id,kind")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert [row["id"] for row in rows] == ["st1/2/1/part/1", "st1/2/2/part/1"]
    assert rows[0]["materialLotId"] == "LOT-부품"
    assert rows[1]["materialLotId"] == '\'=HYPERLINK("x")'
    assert rows[1]["materialDefinitionId"] == "a;'@b"
    assert (rows[0]["simulated"], rows[0]["anomalyScore"]) == ("1", "")
    [row] = csv.DictReader(io.StringIO((tmp_path / names[0]).read_text("utf-8-sig")))
    assert row["detail"] == "'-1,\n2"
    link.send([part(1), alarm(3, "-1,\n2"), evil])  # again after a kill: the same files
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_csv_on_a_full_disk_waits_and_leaves_nothing_half(tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine does not allow mounting a tmpfs")
    try:
        link = CsvConfig.model_validate({"name": "drop", "folder": folder}).open("st1")
        link.send([part(1)])
        many = [part(n) for n in range(2, 400)]
        with pytest.raises(AwayError, match="No space left"):
            link.send(many)
        assert [path.name for path in folder.iterdir()] == ["st1_part_drop_0_000000000001.csv"]
        subprocess.run(["mount", "-o", "remount,size=1m", str(folder)], check=True)
        link.send(many)
        text = (folder / "st1_part_drop_0_000000000002.csv").read_text("utf-8-sig")
        assert len(text.splitlines()) == 399
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_csv_folder_that_is_not_there(tmp_path: Path) -> None:
    config = CsvConfig.model_validate({"name": "drop", "folder": "none"}).beside(tmp_path)
    with pytest.raises(AwayError, match=str(tmp_path / "none")):
        config.open("st1").send([part()])
    assert not os.listdir(tmp_path)
