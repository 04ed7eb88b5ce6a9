"""OPC UA beyond what every driver must do: nodes, types, sessions, keys and users."""

from __future__ import annotations

import datetime
import json
import logging
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from plc_links.link import CTRL, STAT, ProgramPeer, config
from plc_links.opcua import SERVER, NodePeer, node_command

from inspection.errors import ConfigError, PlcError
from inspection.plc.opcua import OpcUaConfig
from inspection.plc.simulated import SimulatedPlc

NODES = {"ctrl_node": "ns=1;s=CTRL", "stat_node": "ns=1;s=STAT"}
WORDS = [0, 65535, 32768, 32767, *range(100, 112)]
CLIENT = Path(__file__).parent.parent / "plc_links" / "node_opcua_client.js"
SECURE = {"security": "basic256sha256"}


def settings(port: int, **fields: Any) -> OpcUaConfig:
    url = f"opc.tcp://127.0.0.1:{port}"
    return OpcUaConfig(**{"url": url, **NODES, "timeout": 5.0, **fields})


@pytest.fixture
def simulated() -> Iterator[SimulatedPlc]:
    with SimulatedPlc(config(protocol="opcua", takt=3600.0, recipe=0)) as plc:
        yield plc


@pytest.fixture
def peer() -> Iterator[NodePeer]:
    made = NodePeer.take()
    yield made
    made.stop()


def test_request_numbers_begin_again_after_the_last(simulated: SimulatedPlc) -> None:
    plc = settings(simulated.port).open()
    plc.connect()
    plc._session._number = 2**32 - 3  # as after some months; reading so often would take as long
    plc.write_words(STAT, WORDS)
    for _ in range(4):
        assert plc.read_words(STAT, 16) == WORDS
    plc.close()


def test_node_opcua_reads_and_writes_the_simulated_plc(simulated: SimulatedPlc) -> None:
    done = subprocess.run(
        [*node_command(CLIENT), f"opc.tcp://127.0.0.1:{simulated.port}"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if "not installed" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    words = [0, 65535, 7, 65534, *[1] * 12]
    assert {"Server", "CTRL", "STAT"} <= set(told["browsed"])
    assert told["ctrl"][0] == "Good"
    assert told["ctrl"][1][0] & 1, "ENABLE"
    assert told["ctrl"][1][7] == 1, "map version"
    assert told["written"] == "Good"
    assert told["stat"] == ["Good", words]
    assert told["unknown"] == ["BadNodeIdUnknown", None]
    assert told["to_ctrl"] == "BadUserAccessDenied", "only the PLC writes CTRL"
    assert told["short"] == told["signed"] == "BadTypeMismatch"
    assert told["after"] == ["Good", words]


def test_a_part_of_stat_is_written_over_what_stands_there(peer: NodePeer) -> None:
    one, other = settings(peer.port).open(), settings(peer.port).open()
    one.connect()
    one.write_words(STAT, WORDS)
    other.connect()
    other.write_words(STAT + 3, [1, 2])
    assert one.read_words(STAT, 16) == [*WORDS[:3], 1, 2, *WORDS[5:]]
    one.close()
    other.close()


def test_wrong_nodes_types_and_rights_say_what_to_do(
    peer: NodePeer, simulated: SimulatedPlc
) -> None:
    for port in (peer.port, simulated.port):
        for fields, said in (
            (
                {"ctrl_node": "ns=1;s=NONE"},
                r"read of ns=1;s=NONE was refused with BadNodeIdUnknown",
            ),
            ({"element": "Int16"}, r"is array of UInt16, not an array of Int16; check element"),
            ({"ctrl_node": "i=2259"}, r"not an array of UInt16"),
            ({"ctrl_node": "i=2255"}, r"not an array of UInt16"),
        ):
            driver = settings(port, **fields).open()
            driver.connect()
            with pytest.raises(PlcError, match=said):
                driver.read_words(CTRL, 16)
            with pytest.raises(PlcError, match="connect"):
                driver.read_words(STAT, 16)
            driver.close()
        driver = settings(port, ctrl_node="ns=1;s=STAT", stat_node="ns=1;s=CTRL").open()
        driver.connect()
        with pytest.raises(PlcError, match=r"refused with Bad(UserAccessDenied|NotWritable)"):
            driver.write_words(STAT, WORDS)
        driver.close()


def test_lost_connections_do_not_use_up_the_sessions_of_a_plc(peer: NodePeer) -> None:
    """node-opcua has ten; each lost connection would hold one for ten seconds."""
    driver = settings(peer.port).open()
    for count in range(25):
        driver.connect()
        driver.write_words(STAT, [count] * 16)
        driver._asker.close()
    driver.connect()
    assert driver.read_words(STAT, 1) == [24]
    driver.close()


def test_the_channel_is_renewed_in_time(peer: NodePeer, simulated: SimulatedPlc) -> None:
    for port in (peer.port, simulated.port):
        driver = settings(port).open()
        driver.connect()
        session = driver._session
        tokens = set()
        for count in range(6):
            driver.write_words(STAT, [count] * 16)
            assert driver.read_words(STAT, 16) == [count] * 16
            tokens.add(session._channel.security_token.TokenId)
            assert session._renew_at > time.monotonic() + 10
            session._renew_at = 0.0
        assert len(tokens) == 6
        driver.close()


def test_settings_that_cannot_be_are_refused(tmp_path: Path, monkeypatch: Any) -> None:
    for fields, said in (
        ({"url": "http://plc"}, "url"),
        ({"url": "opc.tcp://:4840"}, "host"),
        ({"url": "opc.tcp://plc:99999"}, "[Pp]ort"),
        ({"ctrl_node": "CTRL"}, "ctrl_node"),
        ({"ctrl_node": "ns=1;s=STAT"}, "a node of its own"),
        (SECURE, "certificate, key and server_certificate"),
        ({"key": "key.pem"}, "of no use"),
        ({"user": "line"}, "belong together"),
    ):
        with pytest.raises(ValueError, match=said):
            settings(4840, **fields)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="cannot be read"):
        settings(4840, user="line", password_file=tmp_path / "none").open()
    paths = {"user": "line", "password_file": "password.txt"}
    assert settings(1, **paths).beside(tmp_path).password_file == tmp_path / "password.txt"
    monkeypatch.setitem(sys.modules, "asyncua", None)
    with pytest.raises(ConfigError, match=r"pip install .*\.\[opcua\]"):
        settings(4840).open()
    monkeypatch.setitem(sys.modules, "asyncua.common.connection", None)
    with pytest.raises(PlcError, match=r"pip install .*\.\[opcua\]"):
        SimulatedPlc(config(protocol="opcua", takt=3600.0)).start()


def test_noise_neither_ends_the_server_nor_touches_ctrl(simulated: SimulatedPlc) -> None:
    chance = random.Random("noise to OPC UA")
    hello = b"HELF" + (59).to_bytes(4, "little") + bytes(4) + b"\xff\xff\0\0" * 2 + bytes(8)
    hello += (27).to_bytes(4, "little") + b"opc.tcp://127.0.0.1:4840/xx"
    before = simulated.memory.words[:16].copy()
    for _ in range(100):
        data = bytearray(hello + chance.choice([b"", b"OPNF", b"MSGF"]) + chance.randbytes(60))
        for _ in range(chance.randint(0, 3)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        with socket.create_connection(("127.0.0.1", simulated.port), 5.0) as link:
            link.sendall(data if chance.random() < 0.8 else chance.randbytes(80))
    after = simulated.memory.words[:16].copy()
    before[1] = after[1]  # the PLC's heartbeat
    assert (before == after).all()
    driver = settings(simulated.port).open()
    driver.connect()
    driver.write_words(STAT, WORDS)
    assert driver.read_words(STAT, 16) == WORDS
    driver.close()
    assert not simulated.wait(0), "its program runs on"


# ------------------------------------------------------------------ keys and users


def make_certificate(folder: Path, name: str, uri: str | None) -> tuple[Path, Path]:
    """Write a self-signed certificate (DER) and its key (PEM)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, content_commitment=True, key_encipherment=True,
                data_encipherment=True, key_agreement=False, key_cert_sign=True, crl_sign=False,
                encipher_only=False, decipher_only=False,
            ),
            critical=True,
        )
    )  # fmt: skip
    if uri is not None:
        names = [x509.UniformResourceIdentifier(uri), x509.DNSName("localhost")]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    der, pem = folder / f"{name}.der", folder / f"{name}.pem"
    der.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return der, pem


def test_encrypted_with_a_user_and_nobody_else(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "station", "urn:factory:station-1")
    stranger, stranger_key = make_certificate(tmp_path, "stranger", "urn:factory:stranger")
    nameless, nameless_key = make_certificate(tmp_path, "nameless", None)
    trusted = tmp_path / "server" / "trusted" / "certs"
    trusted.mkdir(parents=True)
    (trusted / "station.der").write_bytes(certificate.read_bytes())
    password, wrong = tmp_path / "password.txt", tmp_path / "wrong.txt"
    password.write_text("let me in\n")
    wrong.write_text("let me out\n")
    command = node_command(SERVER)

    class Secure(ProgramPeer):
        def _start(self, port: int) -> Any:
            process = subprocess.Popen(
                [*command, str(port), str(tmp_path)], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ},
            )  # fmt: skip
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                pytest.skip(f"node-opcua did not start: {process.communicate()[1]}")
            return process, int(line)

    peer = Secure(SERVER)
    try:
        server = tmp_path / "server" / "own" / "certs" / "certificate.pem"
        right: dict[str, Any] = {
            **SECURE, "certificate": certificate, "key": key, "server_certificate": server,
            "user": "line", "password_file": password,
        }  # fmt: skip
        driver = settings(peer.port, **right).open()
        driver.connect()
        driver.write_words(STAT, WORDS)
        assert driver.read_words(STAT, 16) == WORDS
        driver._session._renew_at = 0.0
        assert driver.read_words(STAT, 16) == WORDS, "under renewed keys"
        driver._asker.close()
        driver.connect()
        assert driver.read_words(STAT, 16) == WORDS, "the session taken up again"
        driver.close()
        anonymous = settings(peer.port, **{**right, "user": None, "password_file": None}).open()
        anonymous.connect()
        assert anonymous.read_words(STAT, 16) == WORDS
        anonymous.close()
        for change, said in (
            ({"password_file": wrong}, "BadUserAccessDenied|BadIdentityTokenRejected"),
            ({"user": "else"}, "BadUserAccessDenied|BadIdentityTokenRejected"),
            ({"certificate": stranger, "key": stranger_key}, "trust the station's certificate"),
            ({"server_certificate": stranger}, "socket was closed"),
            ({"key": stranger_key}, "socket was closed"),
        ):
            refused = settings(peer.port, **{**right, **change}).open()
            with pytest.raises(PlcError, match=said):
                refused.connect()
            with pytest.raises(PlcError, match="connect"):
                refused.read_words(CTRL, 16)
            refused.close()
        plain = settings(peer.port, user="line", password_file=password).open()
        plain.connect()  # the server wants the password encrypted with its certificate, and gets it so
        plain.close()
    finally:
        peer.stop()
    for fields, said in (
        ({"certificate": nameless, "key": nameless_key}, "no application URI"),
        ({"key": certificate}, "no private key"),
        ({"server_certificate": key}, "no certificate"),
        ({"certificate": tmp_path / "none.der"}, "cannot be read"),
    ):
        with pytest.raises(ConfigError, match=said):
            settings(1, **{**right, **fields}).open()
    assert logging.getLogger("asyncua").level == logging.CRITICAL
