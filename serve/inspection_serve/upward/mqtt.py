"""MQTT 5: one message after the other, each taken when the broker has acknowledged it (QoS 1).

    PREFIX/STATION/part, verdict, alarm    the messages
    PREFIX/STATION/state                   retained; the broker itself says "offline" when we are gone

The library keeps nothing for us: after any fault the client is thrown away, and the outbox is sent again from
the first message that was not acknowledged.
"""

from __future__ import annotations

import json
import logging
import ssl
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from inspection.errors import ConfigError
from inspection_serve.upward.destination import Chosen
from inspection_serve.upward.link import AwayError, RefusedError, secret
from inspection_serve.upward.messages import SCHEMA, Message
from inspection_serve.upward.state import StationState

if TYPE_CHECKING:
    from paho.mqtt.client import Client
    from paho.mqtt.properties import Properties

log = logging.getLogger("inspection.upward")
_QUOTA = 0x97
_OVERHEAD = 64
"""Bytes of a packet beside topic, body and id."""


class MqttConfig(Chosen):
    """A broker, MQTT 5. One retained topic says how the station stands; messages go out with QoS 1."""

    PATHS: ClassVar[tuple[str, ...]] = ("password_file", "ca", "certificate", "key")

    type: Literal["mqtt"] = "mqtt"
    host: str = Field(min_length=1, description="name or address of the broker")
    port: int = Field(1883, ge=1, le=65535, description="TCP port; with TLS usually 8883")
    prefix: str = Field(
        "inspection",
        pattern=r"^[^+#\x00]+$",
        max_length=200,
        description="topics are PREFIX/STATION/part, verdict, alarm and state",
    )
    keepalive: int = Field(
        10, ge=1, le=3600, description="seconds; a broker that says nothing for longer is gone"
    )
    timeout: float = Field(
        5.0, gt=0, le=120, description="seconds for connecting and for one acknowledgement"
    )
    username: str | None = Field(None, description="name at the broker")
    password_file: Path | None = Field(
        None, description="file with the password, nothing else in it"
    )
    tls: bool = Field(False, description="encrypt, and check the broker's certificate")
    ca: Path | None = Field(None, description="certificates to trust (PEM); none: those of this PC")
    certificate: Path | None = Field(
        None, description="our certificate (PEM), where the broker asks"
    )
    key: Path | None = Field(None, description="key of our certificate (PEM)")

    def open(self, station: str) -> MqttLink:
        """Connect. Raises AwayError, or ConfigError."""
        return MqttLink(self, station)


class MqttLink:
    """A connected client. Satisfies `link.Link`."""

    def __init__(self, config: MqttConfig, station: str) -> None:
        self._config, self._station = config, station
        self._shown: StationState | None = None
        self._turn = threading.Condition()
        self._acknowledged: dict[int, int] = {}
        self._connected = False
        self._ended = ""
        self._largest = 0
        self._client = self._connect()

    def send(self, messages: Sequence[Message]) -> None:
        """See `link.Link`."""
        for message in messages:
            self._publish(message.kind, message.body, message.id)

    def keep(self, state: StationState) -> None:
        """See `link.Link`: the retained topic is written when the state has changed."""
        if state != self._shown:
            try:
                self._publish("state", self._state(state), retain=True)
            except RefusedError as error:  # the messages are allowed to go on
                log.warning("%s: the state is not shown: %s", self._config.name, error)
            self._shown = state
        with self._turn:
            if not self._connected:
                raise AwayError(f"{self._where}: {self._ended}")

    def close(self) -> None:
        """See `link.Link`. The broker says "offline" for us."""
        _leave(self._client)

    @property
    def _where(self) -> str:
        return f"broker {self._config.host}:{self._config.port}"

    def _topic(self, what: str) -> str:
        return f"{self._config.prefix}/{self._station}/{what}"

    def _state(self, state: StationState) -> bytes:
        said = {
            "schema": SCHEMA,
            "kind": "state",
            "equipmentId": self._station,
            "effectiveTimestamp": datetime.now(UTC).isoformat(timespec="microseconds"),
            "state": state.state,
            "cause": state.cause,
            "recipeNumber": state.recipe,
            "testSpecificationId": state.release,
        }
        return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()

    def _connect(self) -> Client:
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion

        config = self._config
        name = f"inspection-{self._station}-{config.name}"
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=name,
            protocol=MQTTv5,
            reconnect_on_failure=False,  # it would send what it holds, out of our order
        )
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_publish = self._on_publish
        client.connect_timeout = config.timeout
        if config.username is not None:
            given = config.password_file
            password = (
                None if given is None else secret(given, f"upward {config.name}: password_file")
            )
            client.username_pw_set(config.username, None if password is None else password.decode())
        if config.tls:
            client.tls_set_context(self._tls())
        client.will_set(
            self._topic("state"), self._state(StationState("offline")), qos=1, retain=True
        )
        try:
            client.connect(config.host, config.port, config.keepalive, clean_start=True)
        except (OSError, ValueError) as error:
            raise AwayError(f"{self._where}: {error}") from error
        client.loop_start()
        with self._turn:
            self._turn.wait_for(lambda: self._connected or self._ended, config.timeout)
            if self._connected:
                return client
        _leave(client)
        raise AwayError(f"{self._where}: {self._ended or 'it does not answer'}")

    def _tls(self) -> ssl.SSLContext:
        config = self._config
        try:
            context = ssl.create_default_context(cafile=config.ca)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if config.certificate is not None:
                context.load_cert_chain(config.certificate, config.key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"upward {config.name}: certificates cannot be used: {error}"
            ) from error
        return context

    def _publish(self, what: str, body: bytes, name: str = "", *, retain: bool = False) -> None:
        """Return when the broker has acknowledged. Raises AwayError and RefusedError."""
        topic = self._topic(what)
        size = len(body) + len(topic) + 2 * len(name) + _OVERHEAD
        if self._largest and size > self._largest:
            raise RefusedError(f"{size} bytes, the broker takes {self._largest}")
        info = self._client.publish(topic, body, qos=1, retain=retain, properties=_properties(name))
        with self._turn:
            self._turn.wait_for(
                lambda: info.mid in self._acknowledged or not self._connected, self._config.timeout
            )
            code = self._acknowledged.pop(info.mid, None)
        if code is None:
            raise AwayError(f"{self._where}: {self._ended or 'it does not acknowledge'}")
        if code == _QUOTA:
            raise AwayError(f"{self._where}: quota exceeded")
        if code >= 0x80:
            raise RefusedError(f"the broker says reason code 0x{code:02x} to {topic}")

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: Any, said: Any) -> None:
        with self._turn:
            if code.is_failure:
                self._ended = f"refused: {code}"
            elif not self._ended:
                self._connected = True
                self._largest = int(getattr(said, "MaximumPacketSize", 0) or 0)
            self._turn.notify_all()

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, code: Any, _said: Any) -> None:
        with self._turn:
            self._connected = False
            self._ended = self._ended or f"connection lost: {code}"
            self._turn.notify_all()

    def _on_publish(self, _client: Any, _data: Any, number: int, code: Any, _said: Any) -> None:
        with self._turn:
            self._acknowledged[number] = int(code.value)
            self._turn.notify_all()


def _leave(client: Client) -> None:
    """Go, and have the broker tell our last will; ends the library's thread and closes the socket."""
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.reasoncodes import ReasonCode

    client.disconnect(ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message"))
    client.loop_stop()


def _properties(name: str) -> Properties:
    """Return what goes with a message: its id twice, as receivers look for it in different places."""
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    said = Properties(PacketTypes.PUBLISH)
    said.ContentType = "application/json"
    if name:
        said.CorrelationData = name.encode()
        said.UserProperty = [("id", name)]
    return said
