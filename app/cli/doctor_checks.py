"""The checks of `interviews doctor`: settings, database, LiveKit, and the way from LiveKit's webhooks to the service.

For the last it creates a room of its own, and waits until the running service has recorded LiveKit's webhook about it.
"""

import asyncio
import hmac
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.api_keys import BOOTSTRAP_KEY_NAME, hash_key
from app.cli.runtime import Sessions
from app.core.database import reason_of, transaction
from app.core.errors import DatabaseUnavailable, SchemaBehind
from app.core.limit_notation import is_shared
from app.core.rate_limits import ANSWER_WITHIN, FAILURES, SharedCounters
from app.core.schema import check_schema
from app.core.settings import LOCAL_API_KEY, Settings
from app.interviews.token import access_token
from app.lifecycle import Status
from app.livekit.access_tokens import LARGEST_TOKEN, Signer
from app.livekit.client import LiveKitKeysRefused, LiveKitServer, LiveKitUnavailable, clock_of, may_join
from app.livekit.rooms import PROBE_ROOM
from app.models import ApiKey, Interview, Probe

MIN_POSTGRES = 14
LEEWAY = timedelta(seconds=60)  # the clock difference that LiveKit tolerates in tokens
TOLERATED_SKEW = timedelta(seconds=5)
WEBHOOK_TIMEOUT = timedelta(seconds=20)
STORAGE_TIMEOUT = 5.0  # seconds
STALE_PROBE = timedelta(hours=1)  # left by an interrupted doctor
POLL = 0.2  # seconds
NEARLY_FULL = 0.9  # of the largest token
START_LIVEKIT = "Start LiveKit, or correct LIVEKIT_API_URL."

LARGEST_LIVE = (
    select(Interview)
    .where(Interview.status.not_in([status for status in Status if status.is_terminal]))
    .order_by(
        func.octet_length(
            func.concat(Interview.instructions, Interview.job_title, Interview.company_name, Interview.participant_name)
        ).desc()
    )
    .limit(1)
)


class State(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: its subject, its state, what was seen, and what to do (empty if ok)."""

    what: str
    state: State
    seen: str
    todo: str = ""


async def examine(settings: Settings, sessions: Sessions, *, signer: Signer, now: datetime) -> list[Finding]:
    """Return the findings, in the order in which to fix them. A broken deployment is a finding, not an exception."""
    database = await _database(sessions)
    kind = (
        "external, from DATABASE_URL"
        if settings.database_url
        else f"embedded, in {settings.data_dir / 'postgres'}: for a laptop only"
    )
    findings = [Finding("kind of database", State.OK, kind), *database]
    usable = _without_fault(database)
    if usable:
        findings.append(await _or_unanswered("bootstrap key", _bootstrap_key(settings, sessions)))
        findings.append(await _or_unanswered("token size", _largest_token(sessions, signer, now)))
    if is_shared(storage_url := settings.rate_limit_storage_url.get_secret_value()):
        findings.append(await _rate_limits(storage_url))
    url = settings.livekit_api_url or settings.livekit_url
    async with LiveKitServer(url, settings.livekit_api_key, settings.livekit_api_secret.get_secret_value()) as livekit:
        answering = [await _livekit_clock(url), await _keys(livekit)]
        findings += answering
        if usable and _without_fault(answering):
            findings.append(await _joining(url, signer, now))
            findings.append(await _or_unanswered("webhook", _webhook(sessions, livekit)))
        else:
            todo = "Fix the faults above first."
            findings += [Finding(what, State.FAULT, "not checked", todo) for what in ("joining", "webhook")]
    return findings


def _without_fault(findings: Sequence[Finding]) -> bool:
    return all(finding.state is not State.FAULT for finding in findings)


def table(findings: Sequence[Finding]) -> str:
    """Return the findings as text: a line each, and below it what to do."""
    width = max(len(finding.what) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:<5}  {finding.what:<{width}}  {finding.seen}")
        if finding.todo:
            lines.append(" " * (width + 9) + f"-> {finding.todo}")
    return "\n".join(lines)


async def _database(sessions: Sessions) -> list[Finding]:
    try:
        async with transaction(sessions) as session:
            version = str(await session.scalar(text("SHOW server_version")))
            asked_at = datetime.now(UTC)
            clock = await session.scalar(select(func.clock_timestamp()))
            clock_finding = compare_clock("clock of the database", clock, asked_at)
            return [_version(version), clock_finding, await _migrations(session)]
    except (DatabaseUnavailable, SQLAlchemyError) as error:
        return [_unanswered("database", error)]


async def _or_unanswered(what: str, finding: Awaitable[Finding]) -> Finding:
    """Return the finding, or a fault if the database stops answering."""
    try:
        return await finding
    except (DatabaseUnavailable, SQLAlchemyError) as error:
        return _unanswered(what, error)


def _unanswered(what: str, error: Exception) -> Finding:
    return Finding(what, State.FAULT, reason_of(error), "Start the database, or correct DATABASE_URL.")


def _version(version: str) -> Finding:
    if int(version.partition(".")[0]) >= MIN_POSTGRES:
        return Finding("database", State.OK, f"Postgres {version}")
    return Finding("database", State.FAULT, f"Postgres {version}", f"Upgrade it to {MIN_POSTGRES} or newer.")


async def _migrations(session: AsyncSession) -> Finding:
    try:
        await check_schema(session)
    except SchemaBehind as error:
        return Finding("migrations", State.FAULT, "the schema is older than the code", error.sentence)
    return Finding("migrations", State.OK, "the schema is not behind the code")


def compare_clock(what: str, clock: datetime | None, asked_at: datetime) -> Finding:
    """Compare another machine's clock, read between `asked_at` and now, with ours."""
    if clock is None:
        return Finding(what, State.WARN, "not known", "Compare the clocks by hand.")
    early, late = asked_at - clock, clock - datetime.now(UTC)
    off = max(early, late, timedelta())
    seen = f"{off.total_seconds():.1f} s"
    if off < TOLERATED_SKEW:
        return Finding(what, State.OK, f"{seen} off")
    direction = "behind" if early > late else "ahead of"
    state = State.FAULT if off >= LEEWAY else State.WARN
    return Finding(what, state, f"{seen} {direction} ours", "Synchronize both machines' clocks by NTP.")


async def _rate_limits(url: str) -> Finding:
    """Count once in the storage that the replicas share, as each request does."""
    what, asked_at = "rate limits", time.monotonic()
    counters = SharedCounters(url)
    try:
        await counters.count("doctor", 1, within=STORAGE_TIMEOUT)
    except FAILURES as error:
        cause = error.__cause__ or error
        late = isinstance(error, TimeoutError)
        seen = f"no answer within {STORAGE_TIMEOUT:g} s" if late else f"{type(cause).__name__}: {cause}"
        todo = "Start the storage, or correct RATE_LIMIT_STORAGE_URL. Until then requests are not limited."
        return Finding(what, State.FAULT, seen, todo)
    finally:
        await counters.close()
    took = time.monotonic() - asked_at
    if took < ANSWER_WITHIN:
        return Finding(what, State.OK, f"the storage answers in {took * 1000:.0f} ms")
    todo = f"Move it closer: a request waits at most {ANSWER_WITHIN:g} s for it, and then is not limited."
    return Finding(what, State.WARN, f"the storage answers, but only in {took:.1f} s", todo)


async def _livekit_clock(url: str) -> Finding:
    asked_at = datetime.now(UTC).replace(microsecond=0)  # LiveKit's Date header has whole seconds
    try:
        return compare_clock("clock of LiveKit", await clock_of(url), asked_at)
    except LiveKitUnavailable as error:
        return Finding("clock of LiveKit", State.FAULT, str(error), START_LIVEKIT)


async def _keys(livekit: LiveKitServer) -> Finding:
    what = "LiveKit and its keys"
    try:
        rooms = await livekit.rooms()
    except LiveKitKeysRefused as error:
        todo = (
            "Compare LIVEKIT_API_KEY and LIVEKIT_API_SECRET with the keys in LiveKit's configuration, and the clocks."
        )
        return Finding(what, State.FAULT, str(error), todo)
    except LiveKitUnavailable as error:
        return Finding(what, State.FAULT, str(error), START_LIVEKIT)
    return Finding(what, State.OK, f"the key is accepted; {len(rooms)} rooms are open")


async def _joining(url: str, signer: Signer, now: datetime) -> Finding:
    """Ask LiveKit, as a candidate's page does, whether it would let a candidate into a room that does not exist yet."""
    what, room = "joining", PROBE_ROOM + secrets.token_hex(8)
    claims = signer.claims(identity="candidate-doctor", name="doctor", room=room, metadata={}, now=now)
    try:
        if await may_join(url, signer.sign(claims)):
            return Finding(what, State.OK, "a candidate's token opens a new room")
    except LiveKitUnavailable as error:
        return Finding(what, State.FAULT, str(error), "Read LiveKit's log. A proxy must pass all of /rtc on to it.")
    todo = (
        "In LiveKit's configuration remove room.auto_create, or set it to true. Until then each candidate gets a token "
        "from this service and a 404 from LiveKit."
    )
    return Finding(what, State.FAULT, "LiveKit creates no room for a candidate: room.auto_create is false", todo)


async def _bootstrap_key(settings: Settings, sessions: Sessions) -> Finding:
    what, key = "bootstrap key", settings.bootstrap_api_key.get_secret_value()
    async with transaction(sessions) as session:
        stored = await session.scalar(select(ApiKey.key_hash).where(ApiKey.name == BOOTSTRAP_KEY_NAME))
    if stored is None or not hmac.compare_digest(stored, hash_key(key)):
        return Finding(what, State.WARN, "differs from the stored one", "Restart the service with this key.")
    if hmac.compare_digest(key.encode(), LOCAL_API_KEY.encode()):
        return Finding(what, State.OK, "the built-in one, for this machine only")
    return Finding(what, State.OK, "your own")


async def _largest_token(sessions: Sessions, signer: Signer, now: datetime) -> Finding:
    what = "token size"
    async with transaction(sessions) as session:
        interview = await session.scalar(LARGEST_LIVE)
    if interview is None:
        return Finding(what, State.OK, "no interview is live")
    longest = max(Status, key=len)
    size = len(access_token(interview, attempt=interview.attempt, status=longest, signer=signer, now=now))
    seen = f"{size} of {LARGEST_TOKEN} bytes, the largest of the live interviews"
    if size <= LARGEST_TOKEN * NEARLY_FULL:
        return Finding(what, State.OK, seen)
    state = State.FAULT if size > LARGEST_TOKEN else State.WARN
    return Finding(what, state, f"{seen}: {interview.id}", "Shorten its instructions, or the organization's template.")


async def _webhook(sessions: Sessions, livekit: LiveKitServer) -> Finding:
    """Create a room, and wait until the service has recorded LiveKit's webhook about it."""
    try:
        async with _probe(sessions, livekit) as (room, made_at):
            arrived_at = await _arrival(sessions, room)
    except LiveKitUnavailable as error:
        return Finding("webhook", State.FAULT, f"not checked: {error}", "Run the doctor again.")
    if arrived_at is None:
        todo = (
            "Read LiveKit's log. Its webhook.urls must contain https://<this service>/webhooks/livekit, without a "
            "redirect, and its webhook.api_key must be the service's LIVEKIT_API_KEY or in LIVEKIT_PREVIOUS_KEYS."
        )
        return Finding("webhook", State.FAULT, f"none within {WEBHOOK_TIMEOUT.total_seconds():.0f} s", todo)
    took = max((arrived_at - made_at).total_seconds(), 0)
    return Finding("webhook", State.OK, f"received and verified in {took:.1f} s")


@asynccontextmanager
async def _probe(sessions: Sessions, livekit: LiveKitServer) -> AsyncIterator[tuple[str, datetime]]:
    """Yield a LiveKit room whose webhooks the service records for us, and when it was created."""
    room = PROBE_ROOM + secrets.token_hex(8)
    made_at = datetime.now(UTC)
    async with transaction(sessions) as session:
        await session.execute(delete(Probe).where(Probe.made_at < made_at - STALE_PROBE))
        session.add(Probe(room=room, made_at=made_at))
    try:
        await livekit.create_room(room, empty_timeout=2 * WEBHOOK_TIMEOUT)
        yield room, made_at
    finally:
        with suppress(LiveKitUnavailable):  # the room closes by itself
            await livekit.delete_room(room)
        async with transaction(sessions) as session:
            await session.execute(delete(Probe).where(Probe.room == room))


async def _arrival(sessions: Sessions, room: str) -> datetime | None:
    with suppress(TimeoutError):
        async with asyncio.timeout(WEBHOOK_TIMEOUT.total_seconds()):
            while True:
                async with transaction(sessions) as session:
                    if arrived_at := await session.scalar(select(Probe.arrived_at).where(Probe.room == room)):
                        return arrived_at
                await asyncio.sleep(POLL)
    return None
