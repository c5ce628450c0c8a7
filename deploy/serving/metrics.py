"""What a server counts, in Prometheus's form."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from .waiting import Sizes

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The figures of one model; may be told from many threads."""

    def __init__(self, model: str, waiting: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)

        def histogram(name: str, text: str, buckets: Sequence[float]) -> Histogram:
            made = Histogram(f"lc2fer_{name}", text, ["model"], registry=self._registry, buckets=buckets)
            return made.labels(model)

        self._requests = Counter(
            "lc2fer_requests", "Requests for inference by HTTP status.", ["model", "status"], registry=self._registry
        )
        self._request = histogram("request_seconds", "From a request's body to its answer.", _SECONDS)
        self._waited = histogram("queue_seconds", "How long a request waited for the session.", _SECONDS)
        self._run = histogram("run_seconds", "How long the session took for a batch.", _SECONDS)
        self._batch = histogram("batch_images", "Images that were run together.", _IMAGES)
        self._images = Counter("lc2fer_images", "Images that were answered.", ["model"], registry=self._registry)
        gauge = Gauge("lc2fer_queue_images", "Images that wait.", ["model"], registry=self._registry)
        gauge.labels(model).set_function(waiting)
        self._model = model

    def ran(self, sizes: Sizes) -> None:
        """A batch was run."""
        self._images.labels(self._model).inc(sizes.images)
        self._batch.observe(sizes.images)
        self._run.observe(sizes.seconds)
        for waited_s in sizes.waited_s:
            self._waited.observe(waited_s)

    def answered(self, status: int, seconds: float) -> None:
        """A request was answered, or refused."""
        self._requests.labels(self._model, status).inc()
        self._request.observe(seconds)

    def document(self) -> dict[str, object]:
        """Requests by their HTTP status, and the images that were answered."""
        requests = {
            sample.labels["status"]: int(sample.value)
            for family in self._requests.collect()
            for sample in family.samples
            if sample.name.endswith("_total")
        }
        images = sum(
            sample.value
            for family in self._images.collect()
            for sample in family.samples
            if sample.name.endswith("_total")
        )
        return {"requests": requests, "images": int(images)}

    def text(self) -> bytes:
        """All figures as Prometheus reads them."""
        return bytes(generate_latest(self._registry))
