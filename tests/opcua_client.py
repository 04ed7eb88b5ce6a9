"""node-opcua's client as a process: another author's eyes on our OPC UA server."""

from __future__ import annotations

import contextlib
import datetime
import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PROGRAM = Path(__file__).with_name("node") / "opcua_client.js"


def write_identity(folder: Path) -> x509.Certificate:
    """Make a client's certificate and key: client.pem and key.pem."""
    folder.mkdir(parents=True, exist_ok=True)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test client")])
    now = datetime.datetime.now(datetime.UTC)
    usage = dict.fromkeys(
        ["key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"], False
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier("urn:test:client")]),
            critical=False,
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=True,
                key_encipherment=True,
                data_encipherment=True,
                **usage,
            ),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "client.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    return certificate


class Client:
    """One connection of node-opcua."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self.events: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def first(self) -> dict[str, Any]:
        """What it said when it had connected, or why it did not."""
        return self._answers.get(timeout=40)

    def ask(self, name: str, *, fails: bool = False, **rest: Any) -> dict[str, Any]:
        self.send(name, **rest)
        return self.answer(fails=fails)

    def send(self, name: str, **rest: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"name": name, **rest}) + "\n")
        self._process.stdin.flush()

    def answer(self, *, fails: bool = False) -> dict[str, Any]:
        answer = self._answers.get(timeout=60)["answer"]
        assert ("failed" in answer) is fails, answer
        return answer

    def kill(self) -> None:
        """Vanish without a word."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if "event" in said:
                self.events.append(said["event"])
            else:
                self._answers.put(said)


@contextlib.contextmanager
def client(
    port: int,
    folder: Path,
    user: str = "",
    password: str = "",
    policy: str = "Basic256Sha256",
) -> Iterator[Client]:
    """Connect with the identity in a folder; user `-` only asks for the endpoints."""
    from plc_links.opcua import node_command

    arguments = [f"opc.tcp://127.0.0.1:{port}/", str(folder), policy, user, password]
    process = subprocess.Popen(
        [*node_command(PROGRAM), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    found = Client(process)
    try:
        yield found
    finally:
        found.end()
