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
from app.interviews.join_queries import Seat

NETWORK = 64  # bits of an IPv6 address: whoever has one has all that share them


class Knock(NamedTuple):
    """What somebody who wants to join shows. `address` is the client's IP address."""

    address: str
    phone_number: str | None = None
    invite: str | None = None


class Admission(NamedTuple):
    """What the policy says of who knocks; refusal None: let in, if not too much was tried."""

    policy: JoinPolicy
    refusal: AppError | None
    is_limited: bool = False
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


def admit(seat: Seat, knock: Knock, *, deployment: JoinPolicy, now: datetime) -> Admission:
    """Judge by the stricter of the deployment's and the organization's policies. A refusal is to be recorded."""
    policy = stricter(deployment, JoinPolicy(seat.join_policy) if seat.join_policy else None)
    if policy is JoinPolicy.OPEN or (knock.invite and is_invited(seat, invite=knock.invite, now=now)):
        return Admission(policy, None)
    if policy is JoinPolicy.PHONE and knock.phone_number is not None:
        return _judge_number(seat, knock.phone_number)
    if knock.invite:
        return Admission(policy, InviteInvalid(), is_limited=True)
    return Admission(policy, PhoneNumberRequired() if policy is JoinPolicy.PHONE else InviteRequired())


def _judge_number(seat: Seat, said: str) -> Admission:
    on_file = parse_international(seat.phone_number)
    if on_file is None:
        return Admission(JoinPolicy.PHONE, PhoneNumberUnusable())
    refusal = None if is_same_number(on_file, said) else WrongPhoneNumber()
    return Admission(JoinPolicy.PHONE, refusal, is_limited=True, is_guess=True)
