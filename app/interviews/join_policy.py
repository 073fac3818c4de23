"""The join policy: who may join an interview.

A valid invite always may, because it can't be guessed. A phone number can: so a lock serializes the guesses at an
interview, and the limits on tries hold for the right number as for wrong ones (docs/decisions/0007).
"""

import hmac
import ipaddress
import uuid
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from app.core.errors import (
    AppError,
    InviteInvalid,
    InviteRequired,
    PayloadInvalid,
    PhoneNumberRequired,
    PhoneNumberUnreadable,
    PhoneNumberUnusable,
    WrongPhoneNumber,
)
from app.core.phone_numbers import (
    UnreadablePhoneNumber,
    is_same_number,
    is_whole_number,
    parse_on_file,
    read_phone_number,
)
from app.core.settings import JoinPolicy, stricter
from app.interviews.invites import is_invited
from app.interviews.join_queries import JoinSnapshot

NETWORK = 64  # bits: a client of IPv6 usually has the whole /64


class JoinCredentials(NamedTuple):
    """What a caller shows to join. `address` is its IP address."""

    address: str
    phone_number: str | None = None
    invite: str | None = None


class PolicyDecision(NamedTuple):
    """The policy that was applied, and its refusal. None: the caller may join, if the limits on tries allow it."""

    policy: JoinPolicy
    refusal: AppError | None
    counts_as_try: bool = False
    """Whether the limits on tries apply: it was a guess, or a wrong invite."""
    is_guess: bool = False
    """Whether a phone number was compared. Guesses are counted one after the other."""


def hash_address(address: str, *, interview_id: uuid.UUID, key: bytes) -> bytes:
    """Return the stored hash of a client's address. It differs per interview, and can't be reversed without the key."""
    text = f"join from {network_of(address)} to {interview_id}"
    return hmac.digest(key, text.encode("utf-8", "surrogateescape"), "sha256")[:16]


def network_of(address: str) -> str:
    """Return an IPv6 address's network, which a client can't change at will; any other text unchanged."""
    return _network_of_ipv6(address) if ":" in address else address  # IPv4 has one spelling only


@lru_cache(maxsize=16_384)
def _network_of_ipv6(address: str) -> str:
    # cached, because every call needs it and parsing takes some 20 µs
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), NETWORK), strict=False))


def check_phone_number(phone_number: str, *, policy: JoinPolicy, field: str = "phoneNumber") -> None:
    """Raise PayloadInvalid if the policy compares phone numbers, and this one is not whole."""
    if policy is JoinPolicy.PHONE and not is_whole_number(phone_number):
        message = "must be a whole number with its country code: candidates join by it"
        raise PayloadInvalid(errors=[{"field": field, "message": message}])


def check_join_policy(
    snapshot: JoinSnapshot, credentials: JoinCredentials, *, deployment: JoinPolicy, now: datetime
) -> PolicyDecision:
    """Apply the stricter of the deployment's and the organization's policies."""
    policy = stricter(deployment, JoinPolicy(snapshot.join_policy) if snapshot.join_policy else None)
    if policy is JoinPolicy.OPEN or (credentials.invite and is_invited(snapshot, invite=credentials.invite, now=now)):
        return PolicyDecision(policy, None)
    if policy is JoinPolicy.PHONE and credentials.phone_number is not None:
        return _compare_phone_number(snapshot, credentials.phone_number)
    if credentials.invite:
        return PolicyDecision(policy, InviteInvalid(), counts_as_try=True)
    return PolicyDecision(policy, PhoneNumberRequired() if policy is JoinPolicy.PHONE else InviteRequired())


def _compare_phone_number(snapshot: JoinSnapshot, phone_number: str) -> PolicyDecision:
    try:
        read_phone_number(phone_number)
    except UnreadablePhoneNumber as error:  # whatever is on file: it is no guess, and reveals nothing
        return PolicyDecision(JoinPolicy.PHONE, PhoneNumberUnreadable(error.reason))
    on_file = parse_on_file(snapshot.phone_number)
    if on_file is None:
        return PolicyDecision(JoinPolicy.PHONE, PhoneNumberUnusable())
    refusal = None if is_same_number(on_file, phone_number) else WrongPhoneNumber()
    return PolicyDecision(JoinPolicy.PHONE, refusal, counts_as_try=True, is_guess=True)
