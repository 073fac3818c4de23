"""Statuses, facts and derive(): the rules of an interview's life, without I/O. The table is in docs/status.md."""

from app.lifecycle.derive import AnnounceTimeLeft, DeleteRoom, Derived, DispatchAgent, Effect, derive
from app.lifecycle.end_rules import ends_at
from app.lifecycle.facts import (
    CONNECTION_TIMEOUT,
    UNKNOWN,
    Connection,
    Decision,
    Facts,
    Outcome,
    Report,
    Role,
    Room,
    Timeouts,
)
from app.lifecycle.presence import ParticipantSession, participant_sessions
from app.lifecycle.status import LIVE_STATUSES, EndReason, PublicStatus, Status, public_status
