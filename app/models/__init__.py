"""The tables. One aggregate, the interview; the rest are facts about it, and the tenants that it belongs to."""

from app.models.counts import CountChange, InterviewCount
from app.models.facts import Connection, JoinRequest, Report, Room, WrongTry
from app.models.interview import Interview
from app.models.outgoing import Delivery, DeliveryAttempt, WebhookEndpoint
from app.models.rooms import PROBE_ROOM, RoomName, parse_room_name, room_name
from app.models.tenants import ApiKey, Organization
from app.models.told import Change, TimelineEntry
from app.models.upkeep import IdempotencyKey, Probe, Tick

__all__ = [
    "PROBE_ROOM",
    "ApiKey",
    "Change",
    "Connection",
    "CountChange",
    "Delivery",
    "DeliveryAttempt",
    "IdempotencyKey",
    "Interview",
    "InterviewCount",
    "JoinRequest",
    "Organization",
    "Probe",
    "Report",
    "Room",
    "RoomName",
    "Tick",
    "TimelineEntry",
    "WebhookEndpoint",
    "WrongTry",
    "parse_room_name",
    "room_name",
]
