"""Join policies: what a candidate must show to be let in."""

from enum import StrEnum


class JoinPolicy(StrEnum):
    """From the least strict to the strictest. Under PHONE a valid invite is taken as well: it is harder to guess."""

    OPEN = "open"
    PHONE = "phone"
    INVITE = "invite"


STRICTNESS = tuple(JoinPolicy)


def stricter(deployment: JoinPolicy, organization: JoinPolicy | None) -> JoinPolicy:
    """Return the policy that holds: an organization may ask for more than the deployment does, never for less."""
    return deployment if organization is None else max(deployment, organization, key=STRICTNESS.index)
