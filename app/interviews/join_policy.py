"""Admission: what the join policy says of somebody who wants to join.

A right invite is let in whatever happened before: it can't be guessed. A phone number can: so the tries of an interview
are put in an order, by a lock, and the limits hold for the right number as for the wrong ones (docs/decisions/0007).
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
    PhoneNumberUnusable,
    WrongPhoneNumber,
)
from app.core.phone_numbers import is_same_number, parse_international
from app.core.policy import JoinPolicy, stricter
from app.interviews.invites import is_invited
from app.interviews.join_queries import JoinSnapshot

NETWORK = 64  # bits of an IPv6 address: whoever has one has all that share them


class JoinCredentials(NamedTuple):
    """What somebody who wants to join shows. `address` is the client's IP address."""

    address: str
    phone_number: str | None = None
    invite: str | None = None


class PolicyDecision(NamedTuple):
    """What the policy says of who knocks; refusal None: let in, if not too much was tried."""

    policy: JoinPolicy
    refusal: AppError | None
    counts_as_try: bool = False
    """Whether the limits decide: it was a wrong try, or one of what can be guessed."""
    is_guess: bool = False
    """Whether a phone number was compared: such tries are put in an order."""


def hash_address(address: str, *, interview_id: uuid.UUID, key: bytes) -> bytes:
    """Return what is stored of a client's address: nobody without the key can tell it, or find it elsewhere again."""
    said = f"join from {network_of(address)} to {interview_id}"
    return hmac.digest(key, said.encode("utf-8", "surrogateescape"), "sha256")[:16]


def network_of(address: str) -> str:
    """Return the address, without what a person could change at will; what is none, as it is."""
    return _network_of_ipv6(address) if ":" in address else address  # IPv4 has one spelling only


@lru_cache(maxsize=16_384)
def _network_of_ipv6(address: str) -> str:
    """Kept in mind, as each call of a person asks for it: parsing takes some 20 µs."""
    try:
        found = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found), NETWORK), strict=False))


def check_phone_number(written: str, *, policy: JoinPolicy, field: str = "phoneNumber") -> None:
    """Raise PayloadInvalid if the policy compares numbers, and this one can't be compared."""
    if policy is JoinPolicy.PHONE and parse_international(written) is None:
        message = "must be a whole number with its country code: candidates join by it"
        raise PayloadInvalid(errors=[{"field": field, "message": message}])


def check_join_policy(
    snapshot: JoinSnapshot, credentials: JoinCredentials, *, deployment: JoinPolicy, now: datetime
) -> PolicyDecision:
    """Judge by the stricter of the deployment's and the organization's policies. A refusal is to be recorded."""
    policy = stricter(deployment, JoinPolicy(snapshot.join_policy) if snapshot.join_policy else None)
    if policy is JoinPolicy.OPEN or (credentials.invite and is_invited(snapshot, invite=credentials.invite, now=now)):
        return PolicyDecision(policy, None)
    if policy is JoinPolicy.PHONE and credentials.phone_number is not None:
        return _check_phone_number(snapshot, credentials.phone_number)
    if credentials.invite:
        return PolicyDecision(policy, InviteInvalid(), counts_as_try=True)
    return PolicyDecision(policy, PhoneNumberRequired() if policy is JoinPolicy.PHONE else InviteRequired())


def _check_phone_number(snapshot: JoinSnapshot, said: str) -> PolicyDecision:
    on_file = parse_international(snapshot.phone_number)
    if on_file is None:
        return PolicyDecision(JoinPolicy.PHONE, PhoneNumberUnusable())
    refusal = None if is_same_number(on_file, said) else WrongPhoneNumber()
    return PolicyDecision(JoinPolicy.PHONE, refusal, counts_as_try=True, is_guess=True)
