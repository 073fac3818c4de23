"""The defences of the threat model: for each its code, the code without it, and the tests that then fail.

`take_out.py` proves it. A test name without [case] means that at least one of its cases fails.
"""

from tests.attacks.defences.api import KEYS, TENANTS
from tests.attacks.defences.batches import BATCHES
from tests.attacks.defences.defence import Defence
from tests.attacks.defences.joins import JOINING, SETTINGS, TOKENS
from tests.attacks.defences.limits_and_privacy import LIMITS, LOG, PERSONAL_DATA
from tests.attacks.defences.texts import MESSAGES, WEBHOOK_URLS
from tests.attacks.defences.webhooks import SOCKETS, WEBHOOKS

DEFENCES: tuple[Defence, ...] = (
    *(*WEBHOOKS, *SOCKETS, *JOINING, *BATCHES, *KEYS, *TENANTS, *LIMITS, *MESSAGES, *WEBHOOK_URLS),
    *(*TOKENS, *PERSONAL_DATA, *LOG, *SETTINGS),
)
