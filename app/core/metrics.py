"""Prometheus metrics. `serve --workers` sums its processes; otherwise each process shows its own."""

import os
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client reads it when it is imported, so it is not one of our settings

DECISIONS = Counter("interviews_decisions", "Attempts that ended, by the rule that ended them", ["cause"])
POSTPONED = Counter("interviews_put_off", "Due interviews postponed because LiveKit did not answer")
ROOMS_DELETED = Counter("interviews_rooms_deleted", "Rooms of ended attempts deleted, by reason", ["why"])
AGENTS_DISPATCHED = Counter("interviews_agents_dispatched", "Agents dispatched because the candidate waited for one")
RATE_LIMITS_UNCHECKED = Counter("interviews_rate_limits_unchecked", "Calls allowed while the limits had no storage")
AUDIT_DIFFERENCES = Counter("interviews_audit_differences", "Fields and counts that the audit found to be wrong")
WORKER_ERRORS = Counter("interviews_worker_errors", "Unexpected errors in the worker")
STREAM_LISTENERS = Gauge("interviews_stream_listeners", "Open event streams", multiprocess_mode="livesum")
PERSONAL_DATA_ERASED = Counter("interviews_personal_data_erased", "Interviews whose personal data was erased", ["why"])
STREAMS_DROPPED = Counter("interviews_streams_dropped", "Event streams closed because the client was too slow")
WEBHOOKS_SENT = Counter("interviews_webhooks_sent", "Webhooks sent: delivered, tried, failed", ["became"])
WEBHOOK_ENDPOINTS_DISABLED = Counter("interviews_webhook_endpoints_disabled", "Endpoints disabled", ["reason"])
LATEST: Final = "livemostrecent"  # each process measures the whole queue
WEBHOOKS_WAITING = Gauge("interviews_webhooks_waiting", "Webhooks due and not sent yet", multiprocess_mode=LATEST)
WEBHOOKS_OLDEST = Gauge("interviews_webhooks_oldest_seconds", "Age of the oldest due webhook", multiprocess_mode=LATEST)


def exposition() -> bytes:
    """Return all metrics in Prometheus' text format."""
    if FOLDER not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # it registers itself
    return generate_latest(registry)
