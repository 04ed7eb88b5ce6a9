"""What the service counts, for Prometheus at `/metrics`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Metrics:
    """One registry for each service, so that several can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        model = ["model", "version"]
        self.requests = Counter(
            "inspection_service_requests",
            "Inference requests answered, by outcome code",
            [*model, "code"],
            registry=self.registry,
        )
        self.images = Counter(
            "inspection_service_images", "Images inferred", model, registry=self.registry
        )
        self.batch = Histogram(
            "inspection_service_batch_size",
            "Images run together",
            model,
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self.queue = Histogram(
            "inspection_service_queue_seconds",
            "Wait from request to start of its inference, seconds",
            model,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.infer = Histogram(
            "inspection_service_infer_seconds",
            "Run time of one batch, seconds",
            model,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.faults = Counter(
            "inspection_service_faults",
            "Failures of the runtime that were not the request's fault",
            model,
            registry=self.registry,
        )
        self.loads = Counter(
            "inspection_service_loads",
            "Releases loaded or refused",
            ["model", "outcome"],
            registry=self.registry,
        )
        self.loaded = Gauge(
            "inspection_service_versions_loaded",
            "Versions loaded and warm",
            ["model"],
            registry=self.registry,
        )

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)
