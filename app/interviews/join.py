"""Join: from an interview's id to an access token with its eleven metadata fields.

    JoinCommand -> JoinSnapshot -> JoinDecision -> JoinResult, a refusal, or NeedsLock

Joins that arrive together share one read (`load_join_snapshots`) and one append (`record_joins`). Neither waits for a
lock. A join that has to wait is run again alone, with the locks held (`_join_with_locks`): behind another guess, behind
an edit of the candidate, or because its attempt is over and the next one may have to be opened.
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
from app.core.settings import JoinPolicy, stricter
from app.interviews.join_policy import JoinCredentials, PolicyDecision, check_join_policy, hash_address
from app.interviews.join_queries import (
    JoinRecord,
    JoinSnapshot,
    count_wrong_tries,
    load_join_snapshots,
    record_joins,
    tries_lock,
)
from app.interviews.status_update import lock_interview, open_next_attempt, update_statuses
from app.interviews.stored_facts import TOKEN_ISSUED
from app.interviews.token import TokenOptions, check_token_options, claims_of
from app.lifecycle import Status, Timeouts
from app.livekit.access_tokens import TOKEN_LIFE, Signer
from app.models import Interview, RejoinAfterFailure

MAX_ATTEMPTS = 3  # opened by joins after failures; then a recruiter has to reopen, which starts the count again
REJOIN_AFTER_CLOSING = timedelta(minutes=30)  # after closesAt an interview that failed may still be joined again
MAX_BATCH = 64
CONCURRENCY = 1  # batches: joins that arrive meanwhile share the next one, which costs less
LOCK_CONCURRENCY = 2  # joins that wait for a lock: each holds a connection


class JoinCommand(NamedTuple):
    """A request to join. Only LiveKit's token endpoint has `token_options`."""

    interview_id: uuid.UUID
    credentials: JoinCredentials
    now: datetime
    token_options: TokenOptions | None = None


@dataclass(frozen=True)
class JoinConfig:
    """The settings of every join. `address_key` is a secret that all replicas share."""

    policy: JoinPolicy
    signer: Signer
    timeouts: Timeouts
    address_key: bytes

    @cached_property
    def phone_policies(self) -> tuple[str, ...]:
        """The policies of an organization ('' for no policy) under which its candidates join by phone number."""
        own: tuple[JoinPolicy | None, ...] = (None, *JoinPolicy)
        return tuple(policy or "" for policy in own if stricter(self.policy, policy) is JoinPolicy.PHONE)


class JoinResult(NamedTuple):
    """A successful join: the interview, and the access token for its room."""

    snapshot: JoinSnapshot
    token: str
    expires_at: datetime


class NeedsLock(NamedTuple):
    """A join that has to wait for the interview's row; `is_guess`: for other guesses too."""

    command: JoinCommand
    is_guess: bool
    is_over: bool
    """Whether its attempt has ended, so that the status has to be updated."""
    rejoin: RejoinAfterFailure


class JoinDecision(NamedTuple):
    """How a join is answered, unless its address is locked out."""

    command: JoinCommand
    snapshot: JoinSnapshot
    policy_decision: PolicyDecision
    refusal: AppError | None
    has_turn: bool
    """Whether no other guess has to be counted first."""
    is_over: bool
    """Whether its attempt has ended, and its status was not updated as of now."""


Outcome = JoinResult | Exception | NeedsLock


def join_batcher(sessions: async_sessionmaker[AsyncSession], config: JoinConfig) -> Batcher[JoinCommand, JoinResult]:
    """Return the function that joins. Call it with a JoinCommand: it returns a JoinResult.

    Raises InterviewNotFound, InterviewErased, or a refusal, which is recorded. The join policy comes first,
    TooEarly and InterviewOver after it: a caller who may not join learns nothing of the interview.

    Joining does not change the status: a candidate may rejoin while the attempt is live. After FAILED the next attempt
    opens by itself, as far as the organization's `rejoin_after_failure` allows it. Raises TokenFieldNotAllowed if the
    token options differ from the token: then nothing is recorded and no attempt is opened.
    """
    with_locks = Batcher(
        partial(_join_with_locks, sessions, config),
        max_batch=1,
        concurrency=LOCK_CONCURRENCY,
        key=lambda waiting: waiting.command.interview_id,
    )
    return Batcher(
        partial(_join_batch, sessions, config, with_locks), max_batch=MAX_BATCH, concurrency=CONCURRENCY, key=_guess_key
    )


def _guess_key(command: JoinCommand) -> uuid.UUID | None:
    """Guesses at one interview run one after the other here, not in the database. A valid invite never waits."""
    return command.interview_id if command.credentials.phone_number and not command.credentials.invite else None


async def _join_batch(
    sessions: async_sessionmaker[AsyncSession],
    config: JoinConfig,
    with_locks: Batcher[NeedsLock, JoinResult],
    commands: Sequence[JoinCommand],
) -> list[JoinResult | Exception | Deferred[JoinResult]]:
    # only a transaction keeps the locks on tries until the answers are recorded
    has_locks = bool(config.phone_policies) and any(command.credentials.phone_number for command in commands)
    async with raw_connection(sessions, transaction=has_locks) as connection:
        outcomes = await _join(connection, commands, config, is_durable=False)
    return [
        Deferred(partial(with_locks, outcome)) if isinstance(outcome, NeedsLock) else outcome for outcome in outcomes
    ]


async def _join_with_locks(
    sessions: async_sessionmaker[AsyncSession], config: JoinConfig, waiting: Sequence[NeedsLock]
) -> Sequence[JoinResult]:
    """Join one, after waiting for its interview's locks."""
    ((command, is_guess, *_),) = waiting
    async with transaction(sessions) as session:
        if is_guess:
            await session.execute(select(func.pg_advisory_xact_lock(tries_lock(command.interview_id))))
        interview = await lock_interview(session, command.interview_id)
        connection = await driver_connection(session)
        (outcome,) = await _join(connection, [command], config, has_tries_lock=is_guess)
        if interview and isinstance(outcome, NeedsLock) and outcome.is_over:
            await _open_attempt_after_failure(session, interview, outcome.rejoin, command.now, config.timeouts)
            (outcome,) = await _join(connection, [command], config, has_tries_lock=is_guess, is_updated=True)
        if isinstance(outcome, NeedsLock):  # it was edited meanwhile, and now needs another lock
            raise DatabaseUnavailable
        if isinstance(outcome, Exception):
            raise outcome
        return [outcome]


async def _open_attempt_after_failure(
    session: AsyncSession, interview: Interview, rejoin: RejoinAfterFailure, now: datetime, timeouts: Timeouts
) -> None:
    """Update the locked interview's status. If it FAILED, open the next attempt, if that is allowed once more."""
    await update_statuses(await driver_connection(session), [interview], now=now, timeouts=timeouts)
    too_late = interview.closes_at is not None and now > interview.closes_at + REJOIN_AFTER_CLOSING
    is_allowed = rejoin.allows(interview.end_reason) and interview.opened_by_join + 1 < MAX_ATTEMPTS and not too_late
    if interview.status is Status.FAILED and is_allowed:
        interview.opened_by_join += 1
        await open_next_attempt(session, interview=interview, now=now, why="the candidate joined again after a failure")
    await session.flush()


async def _join(
    connection: asyncpg.Connection,
    commands: Sequence[JoinCommand],
    config: JoinConfig,
    *,
    has_tries_lock: bool = False,
    is_updated: bool = False,
    is_durable: bool = True,
) -> list[Outcome]:
    """Return the outcome of each. It is recorded, unless it is NeedsLock or the join could not be decided."""
    snapshots = await load_join_snapshots(
        connection,
        ids=[command.interview_id for command in commands],
        guesses={index for index, command in enumerate(commands) if command.credentials.phone_number},
        phone_policies=config.phone_policies,
    )
    decided = [
        _try_decide(command, snapshot, config, has_tries_lock=has_tries_lock, is_updated=is_updated)
        for command, snapshot in zip(commands, snapshots, strict=True)
    ]
    decisions = [each for each in decided if isinstance(each, JoinDecision)]
    records = [
        _record(decision, config) for decision in decisions
    ]  # inside the loop above, hashing costs twice as much
    recorded = await record_joins(connection, records, is_durable=is_durable)
    wrong = [
        records[index]
        for index, decision in enumerate(decisions)
        if _is_wrong_try(decision) and index in recorded and recorded[index] is None
    ]
    await count_wrong_tries(connection, wrong)
    outcomes = (
        _outcome(decision, config, is_recorded=index in recorded, locked_until=recorded.get(index))
        for index, decision in enumerate(decisions)
    )
    return [next(outcomes) if isinstance(each, JoinDecision) else each for each in decided]


def _try_decide(
    command: JoinCommand, snapshot: JoinSnapshot | None, config: JoinConfig, *, has_tries_lock: bool, is_updated: bool
) -> JoinDecision | Exception:
    """Return the decision, or the error of a join that is not recorded."""
    if snapshot is None:
        return InterviewNotFoundByCandidate()
    if snapshot.is_erased:
        return InterviewErased()
    try:
        return _decide(command, snapshot, config, has_tries_lock=has_tries_lock, is_updated=is_updated)
    except Exception as error:  # noqa: BLE001 - its own caller raises it, and no other of the batch
        return error


def _decide(
    command: JoinCommand, snapshot: JoinSnapshot, config: JoinConfig, *, has_tries_lock: bool, is_updated: bool
) -> JoinDecision:
    policy_decision = check_join_policy(snapshot, command.credentials, deployment=config.policy, now=command.now)
    is_over = not policy_decision.refusal and snapshot.status.is_terminal and not is_updated
    refusal = policy_decision.refusal or (None if is_over else _refusal(snapshot, command, config))
    has_turn = has_tries_lock or snapshot.has_tries_lock or not policy_decision.is_guess
    return JoinDecision(command, snapshot, policy_decision, refusal, has_turn, is_over)


def _refusal(snapshot: JoinSnapshot, command: JoinCommand, config: JoinConfig) -> AppError | None:
    if snapshot.status.is_terminal:
        return InterviewOver(interviewStatus=snapshot.status)
    if snapshot.opens_at and command.now < snapshot.opens_at:
        headers = {"Retry-After": _seconds_until(snapshot.opens_at, command.now)}
        return TooEarly(opensAt=snapshot.opens_at, headers=headers)
    if command.token_options:
        return check_token_options(command.token_options, _claims(snapshot, command, config))
    return None


def _seconds_until(instant: datetime, now: datetime) -> str:
    return str(int((instant - now).total_seconds()) + 1)


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
        is_counted=decision.refusal is not None and not _is_wrong_try(decision),
        is_held_back=decision.is_over or not decision.has_turn or isinstance(decision.refusal, TokenFieldNotAllowed),
    )


def _is_wrong_try(decision: JoinDecision) -> bool:
    return decision.policy_decision.counts_as_try and decision.policy_decision.refusal is not None


def _outcome(
    decision: JoinDecision, config: JoinConfig, *, is_recorded: bool, locked_until: datetime | None
) -> Outcome:
    command = decision.command
    if locked_until:
        return TooManyTries(headers={"Retry-After": _seconds_until(locked_until, command.now)})
    if not is_recorded and not (decision.has_turn and isinstance(decision.refusal, TokenFieldNotAllowed)):
        rejoin = RejoinAfterFailure(decision.snapshot.rejoin_after_failure)
        return NeedsLock(command, decision.policy_decision.is_guess, decision.is_over, rejoin)
    if decision.refusal:
        return decision.refusal
    token = config.signer.sign(_claims(decision.snapshot, command, config))
    return JoinResult(decision.snapshot, token, command.now.replace(microsecond=0) + TOKEN_LIFE)


def _claims(snapshot: JoinSnapshot, command: JoinCommand, config: JoinConfig) -> dict[str, object]:
    return claims_of(snapshot, attempt=snapshot.attempt, status=snapshot.status, signer=config.signer, now=command.now)
