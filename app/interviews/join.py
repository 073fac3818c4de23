"""Joining: from an interview's id to an access token with its eleven metadata fields.

Those who come at the same time are joined together, by one look-up and one append that wait for nobody. Whoever would
have to wait (for a try before it, for who edits the candidate, for an attempt that is over to be settled) is joined
alone: the same, with the locks in hand.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import NamedTuple

import asyncpg
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.core.batching import Alone, Gather
from app.core.database import driver_connection, statements, transaction
from app.core.errors import (
    AppError,
    DatabaseUnavailable,
    InterviewErased,
    InterviewNotFound,
    InterviewOver,
    TokenFieldNotAllowed,
    TooEarly,
    TooManyTries,
)
from app.core.policy import JoinPolicy, stricter
from app.interviews.attempts import open_next_attempt
from app.interviews.join_policy import Admission, Knock, admit, hash_address
from app.interviews.join_queries import (
    Answer,
    Recorded,
    Seat,
    count_wrong_tries,
    find_seats,
    record_answers,
    tries_lock,
)
from app.interviews.status_update import lock, settle
from app.interviews.stored_facts import TOKEN_ISSUED
from app.interviews.token import claims_of
from app.interviews.token_options import Wishes, unfulfilled
from app.lifecycle import Status, Waits
from app.livekit.access_tokens import TOKEN_LIFE, Signer
from app.models import Interview

ATTEMPTS = 3  # that a platform's faults may cost before a person has to look at it; reopening starts the count again
STILL_OPEN = timedelta(minutes=30)  # after closesAt an interview that failed may still be tried again
TOGETHER = 64  # joins of one look-up
AT_ONCE = 1  # look-up under way: those who come meanwhile share the next one, and so cost less
ALONE_AT_ONCE = 2  # joins that wait for a lock: each holds a connection


class Ask(NamedTuple):
    """Somebody who wants to join, at an instant. `wishes` are a client's for its token."""

    interview_id: uuid.UUID
    knock: Knock
    now: datetime
    wishes: Wishes | None = None


@dataclass(frozen=True)
class Terms:
    """What holds for every join of a deployment. `address_key` is a secret that all replicas have."""

    policy: JoinPolicy
    signer: Signer
    waits: Waits
    address_key: bytes

    @cached_property
    def by_phone(self) -> tuple[str, ...]:
        """The policies of an organization, '' being none, by which its candidates join by phone number."""
        own = {"": None, **{each.value: each for each in JoinPolicy}}
        return tuple(name for name, policy in own.items() if stricter(self.policy, policy) is JoinPolicy.PHONE)


class Ticket(NamedTuple):
    """What lets a candidate in: the interview, and the access token for its room."""

    seat: Seat
    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a join can't go on without waiting: for other guesses, for the interview's row, or to settle what is over."""

    is_guess: bool
    is_over: bool


class HeldUp(NamedTuple):
    """A join that can't go on together with others."""

    ask: Ask
    wait: Wait


class Case(NamedTuple):
    """A join under way: what is said of it, unless too much was tried."""

    ask: Ask
    seat: Seat
    admission: Admission
    refusal: AppError | None
    has_turn: bool
    """Whether no other guess is under way that would have to be counted first."""
    is_over: bool
    """Whether its attempt has ended, and was not settled as of now."""


Outcome = Ticket | Exception | Wait


def joining(sessions: async_sessionmaker[AsyncSession], terms: Terms) -> Gather[Ask, Ticket]:
    """Return what lets candidates in. Call it with an Ask: it returns the Ticket.

    Raises InterviewNotFound, InterviewErased, or a refusal, which is recorded: what the join policy says, and only then
    TooEarly and InterviewOver, so that whoever may not join learns nothing of the interview.

    The status is only read: a token that was issued moves nothing, and a rejoin while the attempt lives is welcome.
    After a fault of the platform (FAILED) the next attempt opens by itself. Raises TokenFieldNotAllowed if the client
    wishes for another token than ours: then nothing was asked, nothing is recorded and no attempt is opened.
    """
    one_by_one = Gather(
        partial(_join_alone, sessions, terms), most=1, at_once=ALONE_AT_ONCE, apart=lambda held: held.ask.interview_id
    )
    return Gather(partial(_join_together, sessions, terms, one_by_one), most=TOGETHER, at_once=AT_ONCE, apart=_turn)


def _turn(ask: Ask) -> uuid.UUID | None:
    """Whoever guesses waits for those before him here, and not in the database; a right invite waits for nobody."""
    return ask.interview_id if ask.knock.phone_number and not ask.knock.invite else None


async def _join_together(
    sessions: async_sessionmaker[AsyncSession], terms: Terms, one_by_one: Gather[HeldUp, Ticket], asks: Sequence[Ask]
) -> list[Ticket | Exception | Alone[Ticket]]:
    has_locks = bool(terms.by_phone) and any(ask.knock.phone_number for ask in asks)  # that hold until the answer
    async with statements(sessions, as_one=has_locks) as connection:
        outcomes = await _join(connection, asks, terms, is_durable=False)
    return [
        Alone(partial(one_by_one, HeldUp(ask, outcome))) if isinstance(outcome, Wait) else outcome
        for ask, outcome in zip(asks, outcomes, strict=True)
    ]


async def _join_alone(
    sessions: async_sessionmaker[AsyncSession], terms: Terms, one: Sequence[HeldUp]
) -> Sequence[Ticket]:
    """Join the one who was held up, waiting for its interview's locks: those of one interview come one at a time."""
    ((ask, wait),) = one
    async with transaction(sessions) as session:
        if wait.is_guess:
            await session.execute(select(func.pg_advisory_xact_lock(tries_lock(ask.interview_id))))
        interview = await lock(session, ask.interview_id)
        connection = await driver_connection(session)
        (outcome,) = await _join(connection, [ask], terms, has_turn=wait.is_guess)
        if interview and isinstance(outcome, Wait) and outcome.is_over:
            await _try_again(session, interview, ask.now, terms.waits)
            (outcome,) = await _join(connection, [ask], terms, has_turn=wait.is_guess, is_settled=True)
        if isinstance(outcome, Wait):  # edited meanwhile, so that there is something else to wait for
            raise DatabaseUnavailable
        if isinstance(outcome, Exception):
            raise outcome
        return [outcome]


async def _try_again(session: AsyncSession, interview: Interview, now: datetime, waits: Waits) -> None:
    """Settle the locked interview, and open its next attempt if the last one FAILED and it was not tried enough."""
    await settle(session, interview=interview, now=now, waits=waits)
    too_late = interview.closes_at is not None and now > interview.closes_at + STILL_OPEN
    if interview.status is Status.FAILED and interview.opened_by_join + 1 < ATTEMPTS and not too_late:
        interview.opened_by_join += 1
        await open_next_attempt(session, interview=interview, now=now, why="the candidate joined again after a failure")
    await session.flush()


async def _join(
    connection: asyncpg.Connection,
    asks: Sequence[Ask],
    terms: Terms,
    *,
    has_turn: bool = False,
    is_settled: bool = False,
    is_durable: bool = True,
) -> list[Outcome]:
    """Return what becomes of each; it is recorded, unless it is a Wait or could not be judged."""
    seats = await find_seats(
        connection,
        ids=[ask.interview_id for ask in asks],
        trying={place for place, ask in enumerate(asks) if ask.knock.phone_number},
        by_phone=terms.by_phone,
    )
    judged = [
        _judged(ask, seat, terms, has_turn=has_turn, is_settled=is_settled)
        for ask, seat in zip(asks, seats, strict=True)
    ]
    cases = [each for each in judged if isinstance(each, Case)]
    answers = [_answer(case, terms) for case in cases]
    recorded = await record_answers(connection, answers, is_durable=is_durable)
    wrong = [
        answer for case, answer, record in zip(cases, answers, recorded, strict=True) if _is_wrong_try(case, record)
    ]
    await count_wrong_tries(connection, wrong)
    outcomes = iter([_outcome(case, record, terms) for case, record in zip(cases, recorded, strict=True)])
    return [next(outcomes) if isinstance(each, Case) else each for each in judged]


def _judged(ask: Ask, seat: Seat | None, terms: Terms, *, has_turn: bool, is_settled: bool) -> Case | Exception:
    """Return the case; or what is said, and recorded nowhere, where there is nothing to judge by."""
    if seat is None:
        return InterviewNotFound()
    if seat.is_erased:
        return InterviewErased()
    try:
        return _judge(ask, seat, terms, has_turn=has_turn, is_settled=is_settled)
    except Exception as error:  # noqa: BLE001 - its caller raises it, and nobody who came with it
        return error


def _judge(ask: Ask, seat: Seat, terms: Terms, *, has_turn: bool, is_settled: bool) -> Case:
    admission = admit(seat, ask.knock, deployment=terms.policy, now=ask.now)
    is_over = not admission.refusal and seat.status.is_terminal and not is_settled
    refusal = admission.refusal or (None if is_over else _refusal(seat, ask, terms))
    has_turn = has_turn or seat.has_tries_lock or not admission.is_guess
    return Case(ask, seat, admission, refusal, has_turn, is_over)


def _refusal(seat: Seat, ask: Ask, terms: Terms) -> AppError | None:
    if seat.status.is_terminal:
        return InterviewOver(interviewStatus=seat.status)
    if seat.opens_at and ask.now < seat.opens_at:
        wait = int((seat.opens_at - ask.now).total_seconds()) + 1
        return TooEarly(opensAt=seat.opens_at, headers={"Retry-After": str(wait)})
    if ask.wishes:
        return unfulfilled(ask.wishes, _claims(seat, ask, terms))
    return None


def _answer(case: Case, terms: Terms) -> Answer:
    ask, seat, admission = case.ask, case.seat, case.admission
    address = None
    if admission.policy is not JoinPolicy.OPEN:
        address = hash_address(ask.knock.address, interview_id=seat.id, key=terms.address_key)
    return Answer(
        interview_id=seat.id,
        candidate_id=seat.candidate_id,
        attempt=seat.attempt,
        at=ask.now,
        answer=case.refusal.code if case.refusal else TOKEN_ISSUED,
        address=address,
        is_limited=admission.is_limited,
        is_held_back=case.is_over or not case.has_turn or isinstance(case.refusal, TokenFieldNotAllowed),
    )


def _is_wrong_try(case: Case, record: Recorded | None) -> bool:
    is_counted = record is not None and record.locked_until is None
    return is_counted and case.admission.is_limited and case.admission.refusal is not None


def _outcome(case: Case, record: Recorded | None, terms: Terms) -> Outcome:
    now = case.ask.now
    if record and record.locked_until:
        return TooManyTries(headers={"Retry-After": str(int((record.locked_until - now).total_seconds()) + 1)})
    if record is None and not (case.has_turn and isinstance(case.refusal, TokenFieldNotAllowed)):
        return Wait(case.admission.is_guess, case.is_over)
    if case.refusal:
        return case.refusal
    token = terms.signer.sign(_claims(case.seat, case.ask, terms))
    return Ticket(case.seat, token, now.replace(microsecond=0) + TOKEN_LIFE)


def _claims(seat: Seat, ask: Ask, terms: Terms) -> dict[str, object]:
    return claims_of(seat, attempt=seat.attempt, status=seat.status, signer=terms.signer, now=ask.now)
