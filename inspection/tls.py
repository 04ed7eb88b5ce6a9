"""Certificate and key of the pages, as `web.certificate` and `web.key` of a station file name them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from inspection.errors import ConfigError

SOON = timedelta(days=30)
"""A certificate that ends within this time is told."""


@dataclass(frozen=True, slots=True)
class Tls:
    """What a server with TLS shows, tried.

    Attributes:
        certificate: its file (PEM).
        key: file of its key; None: the certificate's file holds it, too.
        ends: when the certificate ends; None: that cannot be read here.
    """

    certificate: Path
    key: Path | None
    ends: datetime | None

    @property
    def warning(self) -> str:
        """What people are to be told of its end; empty: nothing."""
        if self.ends is None:
            return ""
        left = self.ends - datetime.now(UTC)
        if left >= SOON:
            return ""
        when = f"{self.ends:%Y-%m-%d}"
        said = f"ended on {when}" if left <= timedelta() else f"ends on {when}"
        return f"web.certificate {self.certificate} {said}; browsers refuse it then: get a new one"


def read_tls(certificate: Path | None, key: Path | None) -> Tls | None:
    """Try certificate and key together; None: neither is set.

    Raises:
        ConfigError: one is missing, cannot be read, or they do not belong together.
    """
    if certificate is None:
        if key is None:
            return None
        raise ConfigError(f"web.key is {key}, but web.certificate is not set; set both")
    for name, path in (("web.certificate", certificate), ("web.key", key)):
        if path is not None:
            _try_file(name, path)
    asked = False

    def no_password() -> str:
        nonlocal asked
        asked = True
        return ""

    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key, no_password)
    except (ssl.SSLError, ValueError) as error:
        if asked:
            todo = "the key has a password: write it without one, readable by this program's user alone"
        elif key is None:
            todo = "the file holds no key, or no certificate of it: set web.key"
        else:
            todo = f"web.key is {key}; give the PEM files of a certificate and of its own key"
        raise ConfigError(
            f"web.certificate {certificate} cannot be used ({error}); {todo}"
        ) from error
    return Tls(certificate, key, _end(certificate))


def _try_file(name: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(
            f"{name}: {path} cannot be read ({error.strerror}); check path and owner"
        ) from error


def _end(certificate: Path) -> datetime | None:
    try:
        from cryptography import x509
    except ImportError:
        return None
    try:
        return x509.load_pem_x509_certificates(certificate.read_bytes())[0].not_valid_after_utc
    except ValueError:
        return None
