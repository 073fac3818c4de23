"""The tables."""

from app.models.events import Change, ChangeType, TimelineEntry
from app.models.facts import Connection, JoinRequest, RefusedJoins, Report, Room, WrongTry
from app.models.interview import CountChange, Interview, InterviewCount
from app.models.operations import IdempotencyKey, Probe, Tick
from app.models.organizations import ApiKey, Organization, RejoinAfterFailure
from app.models.transcript import Checkpoint, TranscriptLine
from app.models.webhooks import Delivery, DeliveryAttempt, WebhookEndpoint
