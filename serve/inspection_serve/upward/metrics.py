"""Numbers of the upward process for Prometheus; docs/metrics.md lists them."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Gauge, start_http_server

from inspection.store.outbox_standing import Standing

_LABELS = ["station", "destination"]


class UpwardMetrics:
    """How the destinations of a station stand."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._waiting = self._gauge("waiting", "messages that a destination does not have yet")
        self._oldest = self._gauge(
            "oldest_seconds", "age of the oldest waiting message; 0 without one"
        )
        self._quarantined = self._gauge("quarantined", "messages that a destination refused")
        self._attempts = self._gauge(
            "attempts", "failed attempts in a row; 0: the destination is there"
        )

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"inspection_upward_{name}", text, _LABELS, registry=self.registry)

    def show(self, standings: Sequence[Standing]) -> None:
        """Show how each destination stands now."""
        for one in standings:
            labels = (one.station, one.destination)
            self._waiting.labels(*labels).set(one.waiting)
            self._oldest.labels(*labels).set(one.oldest_age or 0.0)
            self._quarantined.labels(*labels).set(one.quarantined)
            self._attempts.labels(*labels).set(one.attempts)

    def serve(self, port: int) -> None:
        """Serve `/metrics` on this host only."""
        start_http_server(port, addr="127.0.0.1", registry=self.registry)
