"""Metrics of the line process for Prometheus; docs/metrics.md lists them."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from inspection.part import PartInFlight
from inspection.types import Decision, Reason

_BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)


class LineMetrics:
    """Counts answers and shows why READY is off."""

    def __init__(self, station: str, registry: CollectorRegistry | None = None) -> None:
        """Create the metrics in their own registry unless one is given."""
        self.registry = registry or CollectorRegistry()
        self._station = station
        self._parts = Counter(
            "inspection_parts",
            "answered parts",
            ["station", "decision", "reason"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "inspection_stage_seconds", "seconds from trigger to the end of a stage", ["station", "stage"],
            buckets=_BUCKETS, registry=self.registry,
        )  # fmt: skip
        self._inference = Histogram(
            "inspection_inference_seconds", "seconds that the model took for one part", ["station"],
            buckets=_BUCKETS, registry=self.registry,
        )  # fmt: skip
        self._ready = Gauge(
            "inspection_ready", "1 while READY can be shown", ["station"], registry=self.registry
        )
        self._cause = Gauge(
            "inspection_not_ready_reason", "reason code while READY is off, else 0", ["station"],
            registry=self.registry,
        )  # fmt: skip
        self._pictures = Counter(
            "inspection_pictures", "parts by what became of their picture", ["station", "state"],
            registry=self.registry,
        )  # fmt: skip
        self._waiting = Gauge(
            "inspection_waiting", "what waits to be written: rows (store down) or pictures (disk slow)",
            ["station", "what"], registry=self.registry,
        )  # fmt: skip
        for reason in Reason:  # from 0 on, so that a first event is seen as an increase
            if reason >= Reason.OVERRUN:
                self._parts.labels(station, Decision.NOT_INSPECTED, reason.name)

    def answered(self, part: PartInFlight) -> None:
        """Count one published answer."""
        if part.recorded is not None:
            self._parts.labels(
                self._station, part.recorded.decision, part.recorded.reason.name
            ).inc()
        for stage, seconds in dict(part.timings).items():  # a late stage may add its own meanwhile
            if stage == "inference":
                self._inference.labels(self._station).observe(seconds)
            else:
                self._seconds.labels(self._station, stage).observe(seconds)

    def readiness(self, cause: Reason | None) -> None:
        """Show READY, or why it is off."""
        self._ready.labels(self._station).set(cause is None)
        self._cause.labels(self._station).set(int(cause or 0))

    def pictured(self, state: str) -> None:
        """Count what became of one part's picture: saved, sampled_out, shed, disk_full, failed, none."""
        self._pictures.labels(self._station, state).inc()

    def watch(self, what: str, count: Callable[[], int]) -> None:
        """Show how many of `what` wait, asked at each scrape from another thread."""
        self._waiting.labels(self._station, what).set_function(count)

    def serve(self, port: int) -> None:
        """Serve `/metrics` on this host only."""
        start_http_server(port, addr="127.0.0.1", registry=self.registry)
