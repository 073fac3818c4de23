"""Admission: whether the join policy lets somebody in, and how often they may be wrong.

A right invite is let in whatever happened before: it can't be guessed. A phone number can: so the tries of an interview
are put in an order, by a lock, and the limits hold for the right number as for the wrong ones (docs/decisions/0007).
"""

import hashlib
import hmac
import ipaddress
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Self

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    LargeBinary,
    Select,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    insert,
    literal,
    null,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningInsert

from app.errors import (
    AppError,
    InterviewErased,
    InterviewNotFound,
    InviteInvalid,
    InviteRequired,
    PayloadInvalid,
    PhoneNumberRequired,
    PhoneNumberUnusable,
    TooManyTries,
    WrongPhoneNumber,
)
from app.interviews.facts import TOKEN_ISSUED
from app.interviews.invites import is_invited
from app.models import Interview, JoinRequest, Organization, WrongTry
from app.phones import is_same_number, parse_international
from app.policy import JoinPolicy, stricter

TRIES = 5  # of one address, within
TRIES_WITHIN = timedelta(minutes=10)
TRIES_IN_ALL = 50  # of all addresses, within
TRIES_IN_ALL_WITHIN = timedelta(hours=1)
REMEMBERED = timedelta(hours=24)  # an address that was let in is not kept out by what others try

NETWORK = 64  # bits of an IPv6 address: whoever has one has all that share them


@dataclass(frozen=True, slots=True)
class Knock:
    """What somebody who wants to join shows. `address` is as hash_address gives it."""

    address: bytes
    phone_number: str | None = None
    invite: str | None = None

    def saying(self, *, phone_number: str | None, invite: str | None) -> Self:
        """Return the knock with what the body says; an invite in the body comes before that of the header."""
        return replace(self, phone_number=phone_number or None, invite=invite or self.invite)


@dataclass(frozen=True, slots=True)
class Admission:
    """The interview, and what the policy says of who knocks; refusal None: let in, if not too much was tried."""

    interview: Interview
    knock: Knock
    policy: JoinPolicy
    refusal: AppError | None
    is_limited: bool
    """Whether it was a try of what can be guessed, or a wrong one: then the limits decide."""
    is_alone: bool
    """Whether this transaction holds the lock of the interview's tries."""


def hash_address(address: str, *, interview_id: uuid.UUID, key: bytes) -> bytes:
    """Return what is stored of a client's address: nobody without the key can tell it, or find it elsewhere again."""
    said = f"join from {_network(address)} to {interview_id}"
    return hmac.digest(key, said.encode("utf-8", "surrogateescape"), "sha256")[:16]


def _network(address: str) -> str:
    """Return the address, without what a person could change at will; what is none, as it is."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found), NETWORK), strict=False))


def check_phone_number(written: str, *, policy: JoinPolicy, field: str = "phoneNumber") -> None:
    """Raise PayloadInvalid if the policy compares numbers, and this one can't be compared."""
    if policy is JoinPolicy.PHONE and parse_international(written) is None:
        message = "must be a whole number with its country code: candidates join by it"
        raise PayloadInvalid(errors=[{"field": field, "message": message}])


async def admit(
    session: AsyncSession, *, interview_id: uuid.UUID, knock: Knock, deployment: JoinPolicy, now: datetime
) -> Admission:
    """Look the interview up, and judge by the stricter of the deployment's and the organization's policies.

    One statement. Raises InterviewNotFound, and InterviewErased to whoever knocks: nothing is left to judge by. A
    refusal is returned, as it is to be recorded.
    """
    query = _look_up(deployment, says_number=knock.phone_number is not None)
    given = {"interview_id": interview_id, "lock": tries_lock(interview_id)}
    row = (await session.execute(query, given)).one_or_none()
    if row is None:
        raise InterviewNotFound
    interview, own, is_alone = row
    if interview.personal_data_erased_at:
        raise InterviewErased
    policy = stricter(deployment, own)
    if policy is JoinPolicy.OPEN or (knock.invite and is_invited(interview, invite=knock.invite, now=now)):
        return Admission(interview, knock, policy, None, is_limited=False, is_alone=False)
    refusal, is_limited = _judge_phone(interview, knock) if policy is JoinPolicy.PHONE else _judge_invite(knock)
    return Admission(interview, knock, policy, refusal, is_limited, is_alone)


def _judge_phone(interview: Interview, knock: Knock) -> tuple[AppError | None, bool]:
    """Return the refusal, and whether it was a try."""
    if knock.phone_number is None:
        return (InviteInvalid(), True) if knock.invite else (PhoneNumberRequired(), False)
    on_file = parse_international(interview.phone_number)
    if on_file is None:
        return PhoneNumberUnusable(), False
    return None if is_same_number(on_file, knock.phone_number) else WrongPhoneNumber(), True


def _judge_invite(knock: Knock) -> tuple[AppError, bool]:
    return (InviteInvalid(), True) if knock.invite else (InviteRequired(), False)


def tries_lock(interview_id: uuid.UUID) -> int:
    """Return the key of the advisory lock that tries of what can be guessed take, one after the other."""
    return int.from_bytes(hashlib.sha256(b"tries" + interview_id.bytes).digest()[:8], signed=True)


@cache
def _look_up(deployment: JoinPolicy, *, says_number: bool) -> Select[Interview, JoinPolicy | None, bool]:
    """Return what reads the interview and, where a phone number is to be compared, takes the lock if it is free.

    Built once: that takes longer than Postgres does.
    """
    by_phone = [each for each in JoinPolicy if says_number and stricter(deployment, each) is JoinPolicy.PHONE]
    own = func.coalesce(Organization.join_policy, deployment.value)
    lock = func.pg_try_advisory_xact_lock(bindparam("lock", type_=BigInteger))
    return (
        select(Interview, Organization.join_policy, case((own.in_(by_phone), lock), else_=false()))
        .join(Organization, Organization.id == Interview.organization_id)
        .where(Interview.id == bindparam("interview_id"))
        .execution_options(populate_existing=True)
    )


async def is_locked_out(session: AsyncSession, admission: Admission, *, now: datetime) -> bool:
    """Tell whether too much was tried before; if not, no try comes in between until the commit.

    Waits for tries under way, but not in the name of somebody who is locked out already.
    """
    if not admission.is_limited:
        return False
    locked_out = select(func.coalesce(_locked_until(admission, now) > now, false()))
    if not admission.is_alone:
        if await session.scalar(locked_out):
            return True
        await session.execute(select(func.pg_advisory_xact_lock(tries_lock(admission.interview.id))))
    return bool(await session.scalar(locked_out))


async def record_answer(session: AsyncSession, admission: Admission, *, answer: str, now: datetime) -> bool:
    """Append how the call is answered. Raises TooManyTries, appended instead, if the limits say so.

    Returns False, and appends nothing, if the interview has another candidate by now, whose identity would have to be
    in the token, or none: its personal data was erased.
    The limits are looked at by the appending statement itself, which sees each try that ended before: the one that
    took the lock along may not.
    """
    if admission.is_limited and not admission.is_alone:
        await is_locked_out(session, admission, now=now)
    locked_until = _locked_until(admission, now) if admission.is_limited else null()
    row = (await session.execute(_append(admission, answer, locked_until, now))).one_or_none()
    if row is None:
        return False
    told, until = row
    if told == TooManyTries.code and until:
        raise TooManyTries(headers={"Retry-After": str(int((until - now).total_seconds()) + 1)})
    if admission.is_limited and admission.refusal:
        await _count_wrong_try(session, admission, now)
    return True


def _append(
    admission: Admission, answer: str, locked_until: ColumnElement[Any], now: datetime
) -> ReturningInsert[str, datetime | None]:
    """FOR KEY SHARE waits for who edits or erases the candidate, and makes them wait; the new row takes it anyway."""
    interview = admission.interview
    given = case((locked_until > now, TooManyTries.code), else_=answer) if admission.is_limited else literal(answer)
    address = None if admission.policy is JoinPolicy.OPEN else admission.knock.address
    found = (
        select(
            literal(interview.id),
            literal(interview.attempt),
            literal(now, DateTime(timezone=True)),
            given,
            literal(address, LargeBinary),
        )
        .where(
            Interview.id == interview.id,
            Interview.candidate_id == interview.candidate_id,
            Interview.personal_data_erased_at.is_(None),
        )
        .with_for_update(read=True, key_share=True, of=Interview)
    )
    columns = ["interview_id", "attempt", "at", "answer", "address"]
    return insert(JoinRequest).from_select(columns, found).returning(JoinRequest.answer, locked_until)


async def _count_wrong_try(session: AsyncSession, admission: Admission, now: datetime) -> None:
    interview_id = admission.interview.id
    of_old = (WrongTry.interview_id == interview_id) & (WrongTry.at <= now - TRIES_IN_ALL_WITHIN)
    await session.execute(delete(WrongTry).where(of_old))
    await session.execute(insert(WrongTry).values(interview_id=interview_id, at=now, address=admission.knock.address))


def _locked_until(admission: Admission, now: datetime) -> ColumnElement[datetime]:
    """Return when the next try may be made: NULL or an instant that is over for at once."""
    tries = select(WrongTry.at).where(WrongTry.interview_id == admission.interview.id).order_by(WrongTry.at.desc())
    own = tries.where(WrongTry.address == admission.knock.address)
    last_own = own.offset(TRIES - 1).limit(1).scalar_subquery()
    last = tries.offset(TRIES_IN_ALL - 1).limit(1).scalar_subquery()
    was_let_in = exists().where(
        JoinRequest.interview_id == admission.interview.id,
        JoinRequest.at > now - REMEMBERED,
        JoinRequest.answer == TOKEN_ISSUED,
        JoinRequest.address == admission.knock.address,
    )
    return func.greatest(last_own + TRIES_WITHIN, case((~was_let_in, last + TRIES_IN_ALL_WITHIN)))
