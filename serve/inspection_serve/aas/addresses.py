"""The addresses by which programs reach a station: REST, MQTT. Taken from the station file, where set."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from inspection.config import PagesConfig, StationConfig
from inspection_serve.upward.mqtt import MqttConfig

_EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104  (compared with, not listened on)


def rest(pages: PagesConfig) -> str:
    """Return the base address of the pages' API, by the name under which others call this PC."""
    scheme = "http" if pages.certificate is None else "https"
    host = pages.host
    if pages.names:
        host = pages.names[0]
    elif host in _EVERYWHERE:
        host = socket.gethostname()
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{pages.port}"


def brokers(station: StationConfig) -> Iterator[tuple[MqttConfig, str]]:
    """Return the MQTT destinations and the addresses of their brokers."""
    for link in station.upward:
        if isinstance(link, MqttConfig):
            scheme = "mqtts" if link.tls else "mqtt"
            yield link, f"{scheme}://{link.host}:{link.port}"
