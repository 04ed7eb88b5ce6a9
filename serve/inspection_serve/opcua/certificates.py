"""The server's own certificate, made at the first start, and the list of client certificates it trusts."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import os
import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from inspection.errors import ConfigError

log = logging.getLogger("inspection.opcua")
_YEARS = 10
_KEY_BITS = 2048
_REJECTED = 16
"""So many refused certificates are kept at most: a stranger must not fill the disk."""


def application_uri(station: str) -> str:
    """Return the name of the server among all OPC UA applications."""
    return f"urn:inspection:{station}"


def ensure_certificate(folder: Path, station: str, names: Sequence[str]) -> tuple[Path, Path]:
    """Return certificate (DER) and key (PEM) of the server; both are made where there are none.

    Raises:
        ConfigError: they cannot be read or made, or one of the two is missing.
    """
    certificate, key = folder / "certificate.der", folder / "key.pem"
    try:
        for below in ("trusted", "rejected"):
            (folder / below).mkdir(mode=0o750, parents=True, exist_ok=True)
        if certificate.is_file() != key.is_file():
            raise ConfigError(
                f"{folder}: of certificate.der and key.pem one is missing; give both, or remove both"
            )
        if not key.is_file():
            _make(certificate, key, station, names)
            log.info("made the server's certificate %s", certificate)
        read = x509.load_der_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder}: no usable certificate: {error}; check the folder") from error
    left = read.not_valid_after_utc - datetime.now(UTC)
    if left < timedelta(days=60):
        log.warning("%s ends in %d days; remove it and its key for a new one, and give it to the clients",
                    certificate, left.days)  # fmt: skip
    return certificate, key


def _make(certificate: Path, key: Path, station: str, names: Sequence[str]) -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"inspection {station}")])
    now = datetime.now(UTC)
    others: list[x509.GeneralName] = [x509.UniformResourceIdentifier(application_uri(station))]
    for one in dict.fromkeys([*names, socket.gethostname(), "localhost", "127.0.0.1"]):
        others.append(_general_name(one))
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=True, key_encipherment=True,
        data_encipherment=True, key_agreement=False, key_cert_sign=True, crl_sign=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    roles = x509.ExtendedKeyUsage(
        [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(roles, critical=False)
        .add_extension(x509.SubjectAlternativeName(others), critical=False)
        .sign(private, hashes.SHA256())
    )
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(key, pem, 0o600)
    _write(certificate, built.public_bytes(Encoding.DER), 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file as a whole: a crash in between leaves none of that name."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class TrustList:
    """The certificates in `trusted`, each a file in DER or PEM; read anew at each question."""

    def __init__(self, folder: Path) -> None:
        self._trusted, self._rejected = folder / "trusted", folder / "rejected"

    def refusal(self, certificate: bytes | None) -> str:
        """Return why a client's certificate (DER) is refused; empty when it is trusted.

        A refused one is kept in `rejected`, so that somebody can move it to `trusted`.
        """
        if not certificate:
            return "it gave no certificate"
        try:
            given = x509.load_der_x509_certificate(certificate)
        except ValueError:
            return "its certificate cannot be read"
        if not given.not_valid_before_utc <= datetime.now(UTC) <= given.not_valid_after_utc:
            return f"its certificate {given.subject.rfc4514_string()} is not valid at this time"
        if certificate in self._read():
            return ""
        return (
            f"its certificate {given.subject.rfc4514_string()} is not trusted; "
            f"if it is right, move {self._keep(certificate)} to {self._trusted}"
        )

    def _read(self) -> set[bytes]:
        found: set[bytes] = set()
        for path in sorted(self._trusted.iterdir()) if self._trusted.is_dir() else ():
            try:
                content = path.read_bytes()
                if content.startswith(b"-----"):
                    read = x509.load_pem_x509_certificate(content)
                else:
                    read = x509.load_der_x509_certificate(content)
            except (OSError, ValueError) as error:
                log.warning("%s is no certificate: %s", path, error)
                continue
            found.add(read.public_bytes(Encoding.DER))
        return found

    def _keep(self, certificate: bytes) -> Path:
        path = self._rejected / f"{hashlib.sha256(certificate).hexdigest()[:40]}.der"
        try:
            if not path.is_file() and len(list(self._rejected.iterdir())) < _REJECTED:
                _write(path, certificate, 0o640)
        except OSError as error:
            log.warning("%s cannot be written: %s", path, error)
        return path
