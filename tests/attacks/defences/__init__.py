"""The defences of the threat model: for each its code, the code without it, and the tests that then fail.

`take_out.py` proves it. A test name without [case] means that at least one of its cases fails.
"""

from tests.attacks.defences.api import KEYS, TENANTS
from tests.attacks.defences.defence import Defence
from tests.attacks.defences.people import LIMITS, LOG, PERSONAL_DATA
from tests.attacks.defences.seat import DOORS, SEAT, START
from tests.attacks.defences.together import MAX_BATCH
from tests.attacks.defences.webhooks import SOCKETS, WEBHOOKS
from tests.attacks.defences.words import TARGETED, WORDS

DEFENCES: tuple[Defence, ...] = (
    *(*WEBHOOKS, *SOCKETS, *DOORS, *MAX_BATCH, *KEYS, *TENANTS, *LIMITS, *WORDS, *TARGETED),
    *(*SEAT, *PERSONAL_DATA, *LOG, *START),
)
