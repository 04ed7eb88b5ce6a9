"""Who the station is to an OPC UA server: certificate, key, user and password from their files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncua

from inspection.errors import ConfigError

if TYPE_CHECKING:
    from inspection.plc.opcua import OpcUaConfig

ua: Any = asyncua.ua  # pyright: ignore[reportAttributeAccessIssue]
"""The library's own type hints do not fit its own constants."""

_APPLICATION_URI = "urn:inspection:station"
"""Of a station without a certificate."""


@dataclass(frozen=True)
class Credentials:
    """Who the station is to the PLC.

    Attributes:
        policy: returns a fresh security policy of asyncua; it keeps keys of one channel.
        application_uri: as in the station's certificate, where it has one.
        user: name, or None for anonymous.
        password: of the user.
    """

    policy: Callable[[], Any]
    application_uri: str
    user: str | None = None
    password: str = ""


def load_credentials(config: OpcUaConfig) -> Credentials:
    """Read the files that a config names. Raises ConfigError: one cannot be used."""
    from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256, SecurityPolicyNone

    password = ""
    if config.password_file is not None:
        lines = _read(config.password_file).decode("utf-8", "replace").splitlines()
        password = lines[0] if lines else ""
    certificate, key, server = config.certificate, config.key, config.server_certificate
    if certificate is None or key is None or server is None:
        return Credentials(SecurityPolicyNone, _APPLICATION_URI, config.user, password)
    own = _certificate(certificate)
    policy = partial(
        SecurityPolicyBasic256Sha256,
        _certificate(server),
        own,
        _key(key),
        ua.MessageSecurityMode.SignAndEncrypt,
    )
    return Credentials(policy, _uri(certificate, own), config.user, password)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); check the path") from error


def _certificate(path: Path) -> Any:
    from cryptography import x509

    data = _read(path)
    try:
        if data.startswith(b"-----"):
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(data)
    except ValueError as error:
        raise ConfigError(f"{path} is no certificate ({error}); give PEM or DER") from error


def _key(path: Path) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(_read(path), None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is no private key in PEM without password") from error


def _uri(path: Path, certificate: Any) -> str:
    """Return the application URI of a certificate: the standard wants it in there."""
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = None
    found: list[str] = (
        [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)
    )
    if not found:
        raise ConfigError(
            f"{path} has no application URI; make it with a URI as subject alternative name"
        )
    return found[0]
