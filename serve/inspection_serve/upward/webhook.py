"""Webhook: one POST a message, signed, over one connection that is kept while the receiver keeps it."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from inspection.errors import ConfigError
from inspection_serve.upward.destination import Chosen
from inspection_serve.upward.link import AwayError, RefusedError, secret
from inspection_serve.upward.messages import Message
from inspection_serve.upward.state import StationState

_NOT_THE_MESSAGE = {401, 403, 404, 405, 407, 408, 429}
"""Refusals of whoever asks, or of everything: each message would meet the same one, so the first waits."""
_READ = 64 << 10


class WebhookConfig(Chosen):
    """An HTTP server of ours or of a partner. It is asked at this address only: no redirect is followed."""

    PATHS: ClassVar[tuple[str, ...]] = ("secret_file", "token_file", "ca")

    type: Literal["webhook"] = "webhook"
    url: str = Field(max_length=2000, description="http:// or https:// address that takes a POST")
    timeout: float = Field(
        10.0, gt=0, le=120, description="seconds for connecting, and for each step of the answer"
    )
    secret_file: Path | None = Field(
        None, description="file with the key of the signature; none: not signed"
    )
    token_file: Path | None = Field(
        None, description="file with a bearer token for the header Authorization"
    )
    ca: Path | None = Field(None, description="certificates to trust (PEM); none: those of this PC")

    @field_validator("url")
    @classmethod
    def _known(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("give an http:// or https:// address with a host")
        if parts.username or parts.password:
            raise ValueError("no password in the address: use token_file")
        if any(ord(char) <= 32 or ord(char) > 126 for char in url):
            raise ValueError("write what is not plain ASCII as %XX")
        return url

    def open(self, station: str) -> WebhookLink:
        """Read the secrets; the connection is made with the first message. Raises ConfigError."""
        del station
        return WebhookLink(self)


class WebhookLink:
    """A connection to one server. Satisfies `link.Link`."""

    def __init__(self, config: WebhookConfig) -> None:
        what = f"upward {config.name}"
        self._config, self._parts = config, urlsplit(config.url)
        self._secret = config.secret_file and secret(config.secret_file, f"{what}: secret_file")
        self._token = config.token_file and secret(config.token_file, f"{what}: token_file")
        self._connection: http.client.HTTPConnection | None = None
        self._context: ssl.SSLContext | None = None
        if self._parts.scheme == "https":
            try:
                self._context = ssl.create_default_context(cafile=config.ca)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(f"{what}: ca: {config.ca} cannot be used: {error}") from error
            self._context.minimum_version = ssl.TLSVersion.TLSv1_2

    def send(self, messages: Sequence[Message]) -> None:
        """See `link.Link`."""
        for message in messages:
            self._post(message)

    def keep(self, state: StationState) -> None:
        """See `link.Link`: nobody is asked without a message."""

    def close(self) -> None:
        """See `link.Link`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def _where(self) -> str:
        """Scheme and host: the rest of the address may hold a key."""
        return f"{self._parts.scheme}://{self._parts.netloc}"

    def _post(self, message: Message) -> None:
        try:
            status, text = self._ask(message)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise AwayError(f"{self._where}: {type(error).__name__}: {error}") from error
        if 200 <= status < 300:
            return
        said = f"{self._where} answers {status} {text}".strip()
        if 400 <= status < 500 and status not in _NOT_THE_MESSAGE:
            raise RefusedError(said)
        if 300 <= status < 400:
            said += "; redirects are not followed: give the address it names"
        raise AwayError(said)

    def _ask(self, message: Message) -> tuple[int, str]:
        """Post once; on a kept connection that the server has closed meanwhile, once more on a new one."""
        kept = self._connection is not None
        try:
            return self._exchange(message)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self.close()
            if not kept:
                raise
            return self._exchange(message)

    def _exchange(self, message: Message) -> tuple[int, str]:
        connection = self._connection or self._open()
        path = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
        connection.request("POST", path, message.body, self._headers(message))
        answer = connection.getresponse()
        text = answer.read(_READ)
        if not answer.isclosed() or answer.will_close:  # longer than we read
            self.close()
        line = text.decode("utf-8", "replace").strip().splitlines()
        return answer.status, (line[0] if line else "")[:200]

    def _open(self) -> http.client.HTTPConnection:
        host, port, timeout = self._parts.hostname or "", self._parts.port, self._config.timeout
        if self._context is None:
            self._connection = http.client.HTTPConnection(host, port, timeout=timeout)
        else:
            self._connection = http.client.HTTPSConnection(
                host, port, timeout=timeout, context=self._context
            )
        return self._connection

    def _headers(self, message: Message) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": message.id,
            "User-Agent": "inspection-upward",
        }
        if self._token:
            headers["Authorization"] = f"Bearer {self._token.decode()}"
        if self._secret:
            now = str(int(time.time()))
            headers["X-Inspection-Timestamp"] = now
            headers["X-Inspection-Signature"] = signature(self._secret, now, message.body)
        return headers


def signature(key: bytes, timestamp: str, body: bytes) -> str:
    """Return `sha256=` and the HMAC-SHA256 of `TIMESTAMP.BODY`, as the receiver must find it."""
    return "sha256=" + hmac.new(key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
