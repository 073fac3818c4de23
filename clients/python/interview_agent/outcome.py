"""The attribute by which an agent tells the service, through LiveKit's webhooks, how it went."""

ATTRIBUTE = "interview.outcome"
PENDING = "pending"
