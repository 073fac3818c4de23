"""Which X-Request-Id of a caller may be used: it is logged as it was sent, so it must not be what is never logged."""

import re

REQUEST_ID = re.compile(rb"[A-Za-z0-9_.-]{1,64}")

# What other programs make: a UUID, a trace id, an id like ours. By chance they contain a number that could be dialled.
# Not with eleven digits in a row: that would be a rare chance, and a whole number with its country code has as many.
GENERATED = re.compile(
    rb"(?!.*[0-9]{11})(?=[0-9-]*[a-f])(?:[0-9a-f]{16}|[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.I
)

# An API key, an invite, a webhook's secret, a JSON web token, a phone number in any spelling that fits.
NEVER_LOGGED = re.compile(rb"(?:ik|inv|whsec)_|eyj|[0-9](?:[._-]*[0-9]){6}", re.I)


def may_be_used(request_id: bytes) -> bool:
    """Return whether this is a plain identifier, and reads as neither a secret nor a phone number."""
    if REQUEST_ID.fullmatch(request_id) is None:
        return False
    return GENERATED.fullmatch(request_id) is not None or NEVER_LOGGED.search(request_id) is None
