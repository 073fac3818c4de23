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

from app.core.batching import Batcher, Deferred
from app.core.database import driver_connection, raw_connection, transaction
from app.core.errors import (
    AppError,
    DatabaseUnavailable,
    InterviewErased,
    InterviewNotFoundByCandidate,
    InterviewOver,
    TokenFieldNotAllowed,
    TooEarly,
    TooManyTries,
)
from app.core.policy import JoinPolicy, stricter
from app.interviews.attempts import open_next_attempt
from app.interviews.join_policy import JoinCredentials, PolicyDecision, check_join_policy, hash_address
from app.interviews.join_queries import (
    JoinRecord,
    JoinSnapshot,
    StoredJoin,
    count_wrong_tries,
    load_join_snapshots,
    record_joins,
    tries_lock,
)
from app.interviews.status_update import lock_interview, update_status
from app.interviews.stored_facts import TOKEN_ISSUED
from app.interviews.token import claims_of
from app.interviews.token_options import TokenOptions, check_token_options
from app.lifecycle import Status, Timeouts
from app.livekit.access_tokens import TOKEN_LIFE, Signer
from app.models import Interview

ATTEMPTS = 3  # that a platform's faults may cost before a person has to look at it; reopening starts the count again
REJOIN_AFTER_CLOSING = timedelta(minutes=30)  # after closesAt an interview that failed may still be tried again
MAX_BATCH = 64  # joins of one look-up
CONCURRENCY = 1  # look-up under way: those who come meanwhile share the next one, and so cost less
WAITING_CONCURRENCY = 2  # joins that wait for a lock: each holds a connection


class JoinCommand(NamedTuple):
    """Somebody who wants to join, at an instant. `token_options` are a client's for its token."""

    interview_id: uuid.UUID
    credentials: JoinCredentials
    now: datetime
    token_options: TokenOptions | None = None


@dataclass(frozen=True)
class JoinConfig:
    """What holds for every join of a deployment. `address_key` is a secret that all replicas have."""

    policy: JoinPolicy
    signer: Signer
    timeouts: Timeouts
    address_key: bytes

    @cached_property
    def by_phone(self) -> tuple[str, ...]:
        """The policies of an organization, '' being none, by which its candidates join by phone number."""
        own = {"": None, **{each.value: each for each in JoinPolicy}}
        return tuple(name for name, policy in own.items() if stricter(self.policy, policy) is JoinPolicy.PHONE)


class JoinResult(NamedTuple):
    """What lets a candidate in: the interview, and the access token for its room."""

    snapshot: JoinSnapshot
    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class NeedsLock:
    """Why a join can't go on without waiting: for other guesses, for the interview's row, or to settle what is over."""

    is_guess: bool
    is_over: bool


class Deferral(NamedTuple):
    """A join that can't go on together with others."""

    command: JoinCommand
    needs_lock: NeedsLock


class JoinDecision(NamedTuple):
    """A join under way: what is said of it, unless too much was tried."""

    command: JoinCommand
    snapshot: JoinSnapshot
    policy_decision: PolicyDecision
    refusal: AppError | None
    has_turn: bool
    """Whether no other guess is under way that would have to be counted first."""
    is_over: bool
    """Whether its attempt has ended, and was not settled as of now."""


Outcome = JoinResult | Exception | NeedsLock


def join_batcher(sessions: async_sessionmaker[AsyncSession], config: JoinConfig) -> Batcher[JoinCommand, JoinResult]:
    """Return what lets candidates in. Call it with an Ask: it returns the Ticket.

    Raises InterviewNotFound, InterviewErased, or a refusal, which is recorded: what the join policy says, and only then
    TooEarly and InterviewOver, so that whoever may not join learns nothing of the interview.

    The status is only read: a token that was issued moves nothing, and a rejoin while the attempt lives is welcome.
    After a fault of the platform (FAILED) the next attempt opens by itself. Raises TokenFieldNotAllowed if the client
    wishes for another token than ours: then nothing was asked, nothing is recorded and no attempt is opened.
    """
    one_by_one = Batcher(
        partial(_join_with_locks, sessions, config),
        max_batch=1,
        concurrency=WAITING_CONCURRENCY,
        key=lambda deferral: deferral.command.interview_id,
    )
    return Batcher(
        partial(_join_batch, sessions, config, one_by_one), max_batch=MAX_BATCH, concurrency=CONCURRENCY, key=_turn
    )


def _turn(command: JoinCommand) -> uuid.UUID | None:
    """Whoever guesses waits for those before him here, and not in the database; a right invite waits for nobody."""
    return command.interview_id if command.credentials.phone_number and not command.credentials.invite else None


async def _join_batch(
    sessions: async_sessionmaker[AsyncSession],
    config: JoinConfig,
    one_by_one: Batcher[Deferral, JoinResult],
    commands: Sequence[JoinCommand],
) -> list[JoinResult | Exception | Deferred[JoinResult]]:
    has_locks = bool(config.by_phone) and any(
        command.credentials.phone_number for command in commands
    )  # that hold until the answer
    async with raw_connection(sessions, transaction=has_locks) as connection:
        outcomes = await _join(connection, commands, config, is_durable=False)
    return [
        Deferred(partial(one_by_one, Deferral(command, outcome))) if isinstance(outcome, NeedsLock) else outcome
        for command, outcome in zip(commands, outcomes, strict=True)
    ]


async def _join_with_locks(
    sessions: async_sessionmaker[AsyncSession], config: JoinConfig, one: Sequence[Deferral]
) -> Sequence[JoinResult]:
    """Join the one who was held up, waiting for its interview's locks: those of one interview come one at a time."""
    ((command, needs_lock),) = one
    async with transaction(sessions) as session:
        if needs_lock.is_guess:
            await session.execute(select(func.pg_advisory_xact_lock(tries_lock(command.interview_id))))
        interview = await lock_interview(session, command.interview_id)
        connection = await driver_connection(session)
        (outcome,) = await _join(connection, [command], config, has_turn=needs_lock.is_guess)
        if interview and isinstance(outcome, NeedsLock) and outcome.is_over:
            await _open_attempt_after_failure(session, interview, command.now, config.timeouts)
            (outcome,) = await _join(connection, [command], config, has_turn=needs_lock.is_guess, is_settled=True)
        if isinstance(outcome, NeedsLock):  # edited meanwhile, so that there is something else to wait for
            raise DatabaseUnavailable
        if isinstance(outcome, Exception):
            raise outcome
        return [outcome]


async def _open_attempt_after_failure(
    session: AsyncSession, interview: Interview, now: datetime, timeouts: Timeouts
) -> None:
    """Settle the locked interview, and open its next attempt if the last one FAILED and it was not tried enough."""
    await update_status(session, interview=interview, now=now, timeouts=timeouts)
    too_late = interview.closes_at is not None and now > interview.closes_at + REJOIN_AFTER_CLOSING
    if interview.status is Status.FAILED and interview.opened_by_join + 1 < ATTEMPTS and not too_late:
        interview.opened_by_join += 1
        await open_next_attempt(session, interview=interview, now=now, why="the candidate joined again after a failure")
    await session.flush()


async def _join(
    connection: asyncpg.Connection,
    commands: Sequence[JoinCommand],
    config: JoinConfig,
    *,
    has_turn: bool = False,
    is_settled: bool = False,
    is_durable: bool = True,
) -> list[Outcome]:
    """Return what becomes of each; it is recorded, unless it is a Wait or could not be judged."""
    snapshots = await load_join_snapshots(
        connection,
        ids=[command.interview_id for command in commands],
        trying={place for place, command in enumerate(commands) if command.credentials.phone_number},
        by_phone=config.by_phone,
    )
    decided = [
        _try_decide(command, snapshot, config, has_turn=has_turn, is_settled=is_settled)
        for command, snapshot in zip(commands, snapshots, strict=True)
    ]
    decisions = [each for each in decided if isinstance(each, JoinDecision)]
    records = [_record(decision, config) for decision in decisions]
    recorded = await record_joins(connection, records, is_durable=is_durable)
    wrong = [
        answer
        for decision, answer, record in zip(decisions, records, recorded, strict=True)
        if _is_wrong_try(decision, record)
    ]
    await count_wrong_tries(connection, wrong)
    outcomes = iter([_outcome(decision, record, config) for decision, record in zip(decisions, recorded, strict=True)])
    return [next(outcomes) if isinstance(each, JoinDecision) else each for each in decided]


def _try_decide(
    command: JoinCommand, snapshot: JoinSnapshot | None, config: JoinConfig, *, has_turn: bool, is_settled: bool
) -> JoinDecision | Exception:
    """Return the case; or what is said, and recorded nowhere, where there is nothing to judge by."""
    if snapshot is None:
        return InterviewNotFoundByCandidate()
    if snapshot.is_erased:
        return InterviewErased()
    try:
        return _decide(command, snapshot, config, has_turn=has_turn, is_settled=is_settled)
    except Exception as error:  # noqa: BLE001 - its caller raises it, and nobody who came with it
        return error


def _decide(
    command: JoinCommand, snapshot: JoinSnapshot, config: JoinConfig, *, has_turn: bool, is_settled: bool
) -> JoinDecision:
    policy_decision = check_join_policy(snapshot, command.credentials, deployment=config.policy, now=command.now)
    is_over = not policy_decision.refusal and snapshot.status.is_terminal and not is_settled
    refusal = policy_decision.refusal or (None if is_over else _refusal(snapshot, command, config))
    has_turn = has_turn or snapshot.has_tries_lock or not policy_decision.is_guess
    return JoinDecision(command, snapshot, policy_decision, refusal, has_turn, is_over)


def _refusal(snapshot: JoinSnapshot, command: JoinCommand, config: JoinConfig) -> AppError | None:
    if snapshot.status.is_terminal:
        return InterviewOver(interviewStatus=snapshot.status)
    if snapshot.opens_at and command.now < snapshot.opens_at:
        needs_lock = int((snapshot.opens_at - command.now).total_seconds()) + 1
        return TooEarly(opensAt=snapshot.opens_at, headers={"Retry-After": str(needs_lock)})
    if command.token_options:
        return check_token_options(command.token_options, _claims(snapshot, command, config))
    return None


def _record(decision: JoinDecision, config: JoinConfig) -> JoinRecord:
    command, snapshot, policy_decision = decision.command, decision.snapshot, decision.policy_decision
    address = None
    if policy_decision.policy is not JoinPolicy.OPEN:
        address = hash_address(command.credentials.address, interview_id=snapshot.id, key=config.address_key)
    return JoinRecord(
        interview_id=snapshot.id,
        candidate_id=snapshot.candidate_id,
        attempt=snapshot.attempt,
        at=command.now,
        answer=decision.refusal.code if decision.refusal else TOKEN_ISSUED,
        address=address,
        counts_as_try=policy_decision.counts_as_try,
        is_held_back=decision.is_over or not decision.has_turn or isinstance(decision.refusal, TokenFieldNotAllowed),
    )


def _is_wrong_try(decision: JoinDecision, record: StoredJoin | None) -> bool:
    is_counted = record is not None and record.locked_until is None
    return is_counted and decision.policy_decision.counts_as_try and decision.policy_decision.refusal is not None


def _outcome(decision: JoinDecision, record: StoredJoin | None, config: JoinConfig) -> Outcome:
    now = decision.command.now
    if record and record.locked_until:
        return TooManyTries(headers={"Retry-After": str(int((record.locked_until - now).total_seconds()) + 1)})
    if record is None and not (decision.has_turn and isinstance(decision.refusal, TokenFieldNotAllowed)):
        return NeedsLock(decision.policy_decision.is_guess, decision.is_over)
    if decision.refusal:
        return decision.refusal
    token = config.signer.sign(_claims(decision.snapshot, decision.command, config))
    return JoinResult(decision.snapshot, token, now.replace(microsecond=0) + TOKEN_LIFE)


def _claims(snapshot: JoinSnapshot, command: JoinCommand, config: JoinConfig) -> dict[str, object]:
    return claims_of(snapshot, attempt=snapshot.attempt, status=snapshot.status, signer=config.signer, now=command.now)
