"""What is counted, for Prometheus. Each process counts its own; GET /metrics shows those of the one that answers."""

from prometheus_client import Counter, Gauge

DECISIONS = Counter("interviews_decisions", "Attempts that ended, by the cause that decided it", ["cause"])
PUT_OFF = Counter("interviews_put_off", "Due interviews that had to wait, because LiveKit did not answer")
ROOMS_DELETED = Counter(
    "interviews_rooms_deleted", "Rooms of ended attempts deleted: ended, came back, frozen", ["why"]
)
AGENTS_DISPATCHED = Counter("interviews_agents_dispatched", "Agents dispatched because none was there")
AUDIT_DIFFERENCES = Counter("interviews_audit_differences", "Fields that the audit found to be other than derived")
WORKER_ERRORS = Counter("interviews_worker_errors", "Unexpected errors in the worker")
PERSONAL_DATA_ERASED = Counter(
    "interviews_personal_data_erased",
    "Interviews whose personal data was erased: asked for, or retention over",
    ["why"],
)
STREAM_LISTENERS = Gauge("interviews_stream_listeners", "Streams of changes that are open")
STREAMS_DROPPED = Counter("interviews_streams_dropped", "Streams of changes ended because their listener was too slow")
WEBHOOKS_SENT = Counter(
    "interviews_webhooks_sent",
    "Webhooks sent, by what became of them: delivered, tried (again later), failed",
    ["became"],
)
WEBHOOK_ENDPOINTS_DISABLED = Counter(
    "interviews_webhook_endpoints_disabled", "Webhook endpoints disabled by the worker", ["reason"]
)
WEBHOOKS_WAITING = Gauge("interviews_webhooks_waiting", "Webhooks that are due and wait to be sent, over all processes")
WEBHOOKS_OLDEST = Gauge("interviews_webhooks_oldest_seconds", "How long the oldest of them has been due")
