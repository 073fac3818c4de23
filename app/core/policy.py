"""Join policies: what a candidate must send to join."""

from enum import StrEnum


class JoinPolicy(StrEnum):
    """From the least strict to the strictest. PHONE accepts a valid invite too, as that is harder to guess."""

    OPEN = "open"
    PHONE = "phone"
    INVITE = "invite"


STRICTNESS = tuple(JoinPolicy)


def stricter(deployment: JoinPolicy, organization: JoinPolicy | None) -> JoinPolicy:
    """Return the stricter policy: an organization can tighten the deployment's policy, never loosen it."""
    return deployment if organization is None else max(deployment, organization, key=STRICTNESS.index)
