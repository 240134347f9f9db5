"""What the server counts and times, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Metrics:
    """Counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        ProcessCollector(registry=own)
        self.requests = Counter("evsam_requests", "Requests answered", ["path", "status"], registry=own)
        self.seconds = Histogram(
            "evsam_request_seconds", "From first byte to answer", ["path"], buckets=_SECONDS, registry=own
        )
        self.waiting = Gauge("evsam_waiting_jobs", "Jobs in the queue", registry=own)
        self.wait = Histogram("evsam_wait_seconds", "In the queue", ["kind"], buckets=_SECONDS, registry=own)
        self.work = Histogram("evsam_work_seconds", "Of the model", ["kind"], buckets=_SECONDS, registry=own)
        self.together = Histogram(
            "evsam_jobs_together", "Of one call of the model", ["kind"], buckets=(1, 2, 4, 8, 16, 32, 64), registry=own
        )
        self.refused = Counter("evsam_refused", "Requests refused before any work", ["code"], registry=own)
        self.cached = Counter("evsam_cache", "Photos asked for, by whether they were encoded", ["found"], registry=own)
        self.cache_bytes = Gauge("evsam_cache_bytes", "Of embeddings that are kept", registry=own)
        self.cache_photos = Gauge("evsam_cache_photos", "Embeddings that are kept", registry=own)
        self.prewarmed = Counter("evsam_prewarmed", "Photos encoded ahead, from a folder", ["how"], registry=own)
        self.sessions = Gauge("evsam_sessions", "Sessions of tracking in memory", registry=own)
        self.clips = Gauge("evsam_clips", "Sequences of frames in memory", registry=own)
        self.clip_bytes = Gauge("evsam_clip_bytes", "Of sequences of frames and what was found in them", registry=own)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self.registry)
