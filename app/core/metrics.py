"""What is counted, for Prometheus. `serve --workers` sums its processes; otherwise each process shows its own."""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own switch, read when it is imported: no setting of ours

DECISIONS = Counter("interviews_decisions", "Attempts that ended, by the cause that decided it", ["cause"])
POSTPONED = Counter("interviews_put_off", "Due interviews that had to wait, because LiveKit did not answer")
ROOMS_DELETED = Counter(
    "interviews_rooms_deleted", "Rooms of ended attempts deleted: ended, came back, frozen", ["why"]
)
AGENTS_DISPATCHED = Counter("interviews_agents_dispatched", "Agents dispatched because none was there")
RATE_LIMITS_UNCHECKED = Counter(
    "interviews_rate_limits_unchecked", "Calls that went on uncounted, because the rate limits' storage did not answer"
)
AUDIT_DIFFERENCES = Counter(
    "interviews_audit_differences", "Fields and counts that the audit found to be other than they should be"
)
WORKER_ERRORS = Counter("interviews_worker_errors", "Unexpected errors in the worker")
STREAM_LISTENERS = Gauge("interviews_stream_listeners", "Streams of changes that are open", multiprocess_mode="livesum")
PERSONAL_DATA_ERASED = Counter(
    "interviews_personal_data_erased",
    "Interviews whose personal data was erased: asked for, or retention over",
    ["why"],
)
STREAMS_DROPPED = Counter("interviews_streams_dropped", "Streams of changes ended because their listener was too slow")
WEBHOOKS_SENT = Counter(
    "interviews_webhooks_sent",
    "Webhooks sent, by what became of them: delivered, tried (again later), failed",
    ["became"],
)
WEBHOOK_ENDPOINTS_DISABLED = Counter(
    "interviews_webhook_endpoints_disabled", "Webhook endpoints disabled by the worker", ["reason"]
)
WEBHOOKS_WAITING = Gauge(
    "interviews_webhooks_waiting",
    "Webhooks that are due and wait to be sent, over all processes",
    multiprocess_mode="livemostrecent",
)
WEBHOOKS_OLDEST = Gauge(
    "interviews_webhooks_oldest_seconds",
    "How long the oldest of them has been due",
    multiprocess_mode="livemostrecent",
)


def exposition() -> bytes:
    """Return all figures, as Prometheus reads them."""
    if FOLDER not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # it registers itself
    return generate_latest(registry)
