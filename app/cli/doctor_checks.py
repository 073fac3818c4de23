"""`interviews doctor`: looks at a running set-up from beside it, as an operator would who has all the time.

It sees what the service sees: the settings, the database and LiveKit. That the service takes LiveKit's webhooks it sees
by one of its own: it makes a room, and waits until the service has noted LiveKit's telling of it.
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
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.auth.api_keys import BOOTSTRAP_KEY_NAME, hash_key
from app.core.database import reason_of, transaction
from app.core.errors import DatabaseUnavailable, SchemaBehind
from app.core.limit_notation import is_shared
from app.core.rate_limits import ANSWER_WITHIN, FAILURES, SharedCounters
from app.core.schema import check_schema
from app.core.settings import LOCAL_API_KEY, Settings
from app.interviews.token import access_token
from app.lifecycle import Status
from app.livekit.access_tokens import LARGEST_TOKEN, Signer
from app.livekit.client import LiveKitKeysRefused, LiveKitServer, LiveKitUnavailable, clock_of
from app.livekit.rooms import PROBE_ROOM
from app.models import ApiKey, Interview, Probe

OLDEST_POSTGRES = 14
LEEWAY = timedelta(seconds=60)  # what LiveKit allows between its clock and a token's
NOTICEABLE = timedelta(seconds=5)
WEBHOOK_WITHIN = timedelta(seconds=20)
STORAGE_WITHIN = 5.0  # seconds
FORGOTTEN = timedelta(hours=1)  # what an interrupted doctor left
POLL = 0.2  # seconds
NEARLY_FULL = 0.9

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

Sessions = async_sessionmaker[AsyncSession]


class State(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, what was seen, and what to do about it (empty when it is ok)."""

    what: str
    state: State
    seen: str
    todo: str = ""


async def examine(settings: Settings, sessions: Sessions, *, signer: Signer, now: datetime) -> list[Finding]:
    """Return the findings, in the order in which to mend. Raises nothing that the set-up could be to blame for."""
    database = await _database(sessions)
    findings = [_kind_of_database(settings), *database]
    usable = all(finding.state is not State.FAULT for finding in database)
    if usable:
        findings.append(await _asked("bootstrap key", _bootstrap_key(settings, sessions)))
        findings.append(await _asked("token size", _largest_token(sessions, signer, now)))
    if is_shared(storage_url := settings.rate_limit_storage_url.get_secret_value()):
        findings.append(await _rate_limits(storage_url))
    url = settings.livekit_api_url or settings.livekit_url
    async with LiveKitServer(url, settings.livekit_api_key, settings.livekit_api_secret.get_secret_value()) as livekit:
        answering = [await _livekit_clock(url), await _keys(livekit)]
        findings += answering
        if usable and all(finding.state is not State.FAULT for finding in answering):
            findings.append(await _asked("webhook", _webhook(sessions, livekit)))
        else:
            findings.append(Finding("webhook", State.FAULT, "not tried", "Mend the faults above first."))
    return findings


def table(findings: Sequence[Finding]) -> str:
    """Return the findings for people to read: a line each, and what to do below it."""
    width = max(len(finding.what) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:<5}  {finding.what:<{width}}  {finding.seen}")
        if finding.todo:
            lines.append(" " * (width + 9) + f"-> {finding.todo}")
    return "\n".join(lines)


def _kind_of_database(settings: Settings) -> Finding:
    if settings.database_url:
        return Finding("kind of database", State.OK, "external, by DATABASE_URL")
    folder = settings.data_dir / "postgres"
    return Finding("kind of database", State.OK, f"the embedded one, in {folder}: good for a laptop alone")


async def _database(sessions: Sessions) -> list[Finding]:
    try:
        async with transaction(sessions) as session:
            version = str(await session.scalar(text("SHOW server_version")))
            asked_at = datetime.now(UTC)
            clock = await session.scalar(select(func.clock_timestamp()))
            findings = [_version(version), judge_clock("clock of the database", clock, asked_at)]
            return [*findings, await _migrations(session)]
    except (DatabaseUnavailable, SQLAlchemyError) as error:
        return [_unanswered("database", error)]


async def _asked(what: str, finding: Awaitable[Finding]) -> Finding:
    """Return the finding; a fault if the database did not answer after all."""
    try:
        return await finding
    except (DatabaseUnavailable, SQLAlchemyError) as error:
        return _unanswered(what, error)


def _unanswered(what: str, error: Exception) -> Finding:
    return Finding(what, State.FAULT, reason_of(error), "Start the database, or correct DATABASE_URL.")


def _version(version: str) -> Finding:
    if int(version.partition(".")[0]) >= OLDEST_POSTGRES:
        return Finding("database", State.OK, f"Postgres {version}")
    return Finding("database", State.FAULT, f"Postgres {version}", f"Upgrade it to {OLDEST_POSTGRES} or newer.")


async def _migrations(session: AsyncSession) -> Finding:
    try:
        await check_schema(session)
    except SchemaBehind as error:
        return Finding("migrations", State.FAULT, "the schema is older than the code", error.sentence)
    return Finding("migrations", State.OK, "the schema is not behind the code")


def judge_clock(what: str, clock: datetime | None, asked_at: datetime) -> Finding:
    """Judge another machine's clock, read between `asked_at` and now."""
    if clock is None:
        return Finding(what, State.WARN, "it does not tell", "Compare the clocks by hand.")
    early, late = asked_at - clock, clock - datetime.now(UTC)
    off = max(early, late, timedelta())
    seen = f"{off.total_seconds():.1f} s"
    if off < NOTICEABLE:
        return Finding(what, State.OK, f"{seen} off")
    direction = "behind" if early > late else "ahead of"
    state = State.FAULT if off >= LEEWAY else State.WARN
    return Finding(what, state, f"{seen} {direction} ours", "Let NTP set the clocks of both machines.")


async def _rate_limits(url: str) -> Finding:
    """Count once in the storage that replicas share, as each call does."""
    what, asked_at = "rate limits", time.monotonic()
    counters = SharedCounters(url)
    try:
        await counters.count("doctor", 1, within=STORAGE_WITHIN)
    except FAILURES as error:
        cause = error.__cause__ or error
        late = isinstance(error, TimeoutError)
        seen = f"no answer within {STORAGE_WITHIN:g} s" if late else f"{type(cause).__name__}: {cause}"
        todo = "Start their storage, or correct RATE_LIMIT_STORAGE_URL: until then calls go on uncounted."
        return Finding(what, State.FAULT, seen, todo)
    finally:
        await counters.close()
    took = time.monotonic() - asked_at
    if took < ANSWER_WITHIN:
        return Finding(what, State.OK, f"their storage counts, after {took * 1000:.0f} ms")
    todo = f"Bring it nearer: a call waits {ANSWER_WITHIN:g} s for it at most, and goes on uncounted."
    return Finding(what, State.WARN, f"their storage counts, but only after {took:.1f} s", todo)


async def _livekit_clock(url: str) -> Finding:
    asked_at = datetime.now(UTC).replace(microsecond=0)  # it tells whole seconds
    try:
        return judge_clock("clock of LiveKit", await clock_of(url), asked_at)
    except LiveKitUnavailable as error:
        return Finding("clock of LiveKit", State.FAULT, str(error), "Start LiveKit, or correct LIVEKIT_API_URL.")


async def _keys(livekit: LiveKitServer) -> Finding:
    what = "LiveKit and its keys"
    try:
        rooms = await livekit.rooms()
    except LiveKitKeysRefused as error:
        todo = (
            "Compare LIVEKIT_API_KEY and LIVEKIT_API_SECRET with the keys in LiveKit's configuration; mind the clock."
        )
        return Finding(what, State.FAULT, str(error), todo)
    except LiveKitUnavailable as error:
        return Finding(what, State.FAULT, str(error), "Start LiveKit, or correct LIVEKIT_API_URL.")
    return Finding(what, State.OK, f"it takes the key; {len(rooms)} rooms are open")


async def _bootstrap_key(settings: Settings, sessions: Sessions) -> Finding:
    what, key = "bootstrap key", settings.bootstrap_api_key.get_secret_value()
    async with transaction(sessions) as session:
        stored = await session.scalar(select(ApiKey.key_hash).where(ApiKey.name == BOOTSTRAP_KEY_NAME))
    if stored is None or not hmac.compare_digest(stored, hash_key(key)):
        return Finding(what, State.WARN, "it is not the one that is stored", "Start the service again with this one.")
    if hmac.compare_digest(key.encode(), LOCAL_API_KEY.encode()):
        return Finding(what, State.OK, "the one that everybody knows; good on this machine alone")
    return Finding(what, State.OK, "one of your own")


async def _largest_token(sessions: Sessions, signer: Signer, now: datetime) -> Finding:
    what = "token size"
    async with transaction(sessions) as session:
        interview = await session.scalar(LARGEST_LIVE)
    if interview is None:
        return Finding(what, State.OK, "no interview is live")
    longest = max(Status, key=len)
    size = len(access_token(interview, attempt=interview.attempt, status=longest, signer=signer, now=now))
    seen = f"{size} of {LARGEST_TOKEN} bytes, the largest of a live interview"
    if size <= LARGEST_TOKEN * NEARLY_FULL:
        return Finding(what, State.OK, seen)
    state = State.FAULT if size > LARGEST_TOKEN else State.WARN
    return Finding(what, state, f"{seen}: {interview.id}", "Shorten its instructions, or the organization's template.")


async def _webhook(sessions: Sessions, livekit: LiveKitServer) -> Finding:
    """Make a room, and wait until the service has noted the webhook that tells of it."""
    try:
        async with _probe(sessions, livekit) as (room, made_at):
            arrived_at = await _arrival(sessions, room)
    except LiveKitUnavailable as error:
        return Finding("webhook", State.FAULT, f"could not be tried: {error}", "Call the doctor again.")
    if arrived_at is None:
        todo = (
            "Look at LiveKit's log: its webhook.urls must have https://<this service>/webhooks/livekit, without a "
            "redirect, and its webhook.api_key be LIVEKIT_API_KEY or one of LIVEKIT_PREVIOUS_KEYS of the service."
        )
        return Finding("webhook", State.FAULT, f"none within {WEBHOOK_WITHIN.total_seconds():.0f} s", todo)
    took = max((arrived_at - made_at).total_seconds(), 0)
    return Finding("webhook", State.OK, f"it arrived and was verified, after {took:.1f} s")


@asynccontextmanager
async def _probe(sessions: Sessions, livekit: LiveKitServer) -> AsyncIterator[tuple[str, datetime]]:
    """Yield a room of LiveKit's, and when it was made; the service knows that somebody waits for news of it."""
    room = PROBE_ROOM + secrets.token_hex(8)
    made_at = datetime.now(UTC)
    async with transaction(sessions) as session:
        await session.execute(delete(Probe).where(Probe.made_at < made_at - FORGOTTEN))
        session.add(Probe(room=room, made_at=made_at))
    try:
        await livekit.create_room(room, empty_timeout=2 * WEBHOOK_WITHIN)
        yield room, made_at
    finally:
        with suppress(LiveKitUnavailable):  # it closes by itself
            await livekit.delete_room(room)
        async with transaction(sessions) as session:
            await session.execute(delete(Probe).where(Probe.room == room))


async def _arrival(sessions: Sessions, room: str) -> datetime | None:
    with suppress(TimeoutError):
        async with asyncio.timeout(WEBHOOK_WITHIN.total_seconds()):
            while True:
                async with transaction(sessions) as session:
                    if arrived_at := await session.scalar(select(Probe.arrived_at).where(Probe.room == room)):
                        return arrived_at
                await asyncio.sleep(POLL)
    return None
