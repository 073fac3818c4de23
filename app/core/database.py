"""The database: engines, sessions, transactions, and which errors pass by themselves."""

import math
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, InterfaceError, InvalidatePoolError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from app.core.errors import DatabaseUnavailable, Refused

CONNECT_TIMEOUT = 5.0  # seconds
# A statement that takes longer is ended by Postgres: a webhook that hangs would block LiveKit's queue for its room.
SERVER_SETTINGS = {
    "application_name": "interviews",
    "statement_timeout": "8000",
    "lock_timeout": "5000",
    "idle_in_transaction_session_timeout": "30000",
    # Planned once a connection: otherwise a join's two statements took 0.7 ms, of which 0.6 ms to plan them each time.
    # What depends on its parameters says so itself (app.interviews.search).
    "plan_cache_mode": "force_generic_plan",
}
# The same behind a transaction pooler, which knows no settings but a transaction's own.
LIMITS = "".join(f"; SET LOCAL {name} = {value}" for name, value in SERVER_SETTINGS.items() if value.isdecimal())
NOT_ENCODED = (
    "it is not a valid URL: percent-encode the special characters of the password: %40 for @, %3A for :, %2F for /, "
    "%3F for ?, %23 for #, %25 for %"
)
POOL_SIZE = 5  # connections of one process at most
PING_AFTER_IDLE = 1.0  # seconds; of a connection that lay idle for longer it is asked whether it is alive

# SQLSTATEs of what passes by itself: lock and statement timeouts, deadlocks, a server that starts or shuts down.
TRANSIENT_SQLSTATES = ("55P03", "57014", "40P01", "40001", "57P01", "57P02", "57P03", "53300", "25006")
PER_ITEM_SQLSTATES = ("55P03", "57014", "40P01", "40001")  # lock and statement timeouts, deadlocks

# Up to the last @: a password that is not percent-encoded may contain any character.
_PASSWORD = re.compile(r"(://[^:/@]*:).*@")
_PASSWORD_IN_QUERY = re.compile(r"([?&](?:ssl)?password=)[^&]*")
# A second @ in the authority, or an @ behind it that is not in an option's value.
_NOT_ENCODED = re.compile(r"://(?:[^/?#@]*@[^/?#@]*@|[^/?#]*[/?#][^=]*@)")


# Prisma's name for it, which hosting companies put into the URLs that they give out; libpq has no such option.
_POOLER = re.compile(r"(?<=[?&])pgbouncer=(?:(true)|false)(?:&|$)")


class _Pooled(asyncpg.Connection):  # type: ignore[misc] # asyncpg has no annotations
    """A connection to a pooler in transaction mode. The limits come along with what begins each transaction."""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - asyncpg's
        if query.startswith("BEGIN"):
            query = query.rstrip(";") + LIMITS
        status: str = await super().execute(query, *args, timeout=timeout)
        return status


def is_pooled(url: str) -> bool:
    """Tell whether the URL says that a transaction pooler is between: `?pgbouncer=true`."""
    found = _POOLER.search(url)
    return found is not None and found[1] is not None


def create_engine(url: str, *, pool_size: int = POOL_SIZE) -> AsyncEngine:
    """Return an engine for a libpq URL: postgres:// and postgresql:// alike, with sslmode and the rest of its options.

    asyncpg reads the URL itself, so each option means what it means to libpq; `pgbouncer=true` is ours.
    """
    pooled, plain = is_pooled(url), _POOLER.sub("", url).rstrip("?&")

    async def connect() -> asyncpg.Connection:
        try:
            return await (_connect_to_pooler(plain) if pooled else _connect(plain))
        except (ValueError, OSError) as error:  # its text may contain a piece of the password
            if _NOT_ENCODED.search(plain):  # what follows the first such character was taken for the host
                raise asyncpg.InterfaceError(NOT_ENCODED) from None
            if isinstance(error, OSError):
                raise
            raise asyncpg.InterfaceError("it is not a valid URL: postgresql://user:password@host:5432/name") from None

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        # a pooler may run the next transaction on another connection, which does not know this one's statements
        connect_args={"prepared_statement_cache_size": 0, "prepared_statement_name_func": str} if pooled else {},
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT,
        hide_parameters=True,  # names and phone numbers do not belong into an error's text
    )
    _replace_dead_connections(engine)
    return engine


def _replace_dead_connections(engine: AsyncEngine) -> None:
    """See to it that nobody gets a connection that is dead.

    Not by `pool_pre_ping`, whose three round trips for each session took longer than a join's own two. Of most that
    were closed asyncpg has been told; what a firewall forgets while it lies idle is found by asking.
    """

    @event.listens_for(engine.sync_engine, "checkin")
    def note(_: Any, record: Any) -> None:
        record.info["idle since"] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def check(connection: Any, record: Any, _: Any) -> None:
        if connection.driver_connection.is_closed():
            if "idle since" not in record.info:  # nor would another new one live, which the pool would ask for twice
                raise asyncpg.ConnectionDoesNotExistError("it was closed while it was made")
            raise InvalidatePoolError
        if time.monotonic() - record.info.get("idle since", math.inf) < PING_AFTER_IDLE:
            return
        try:
            connection.ping()
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error


async def _connect(url: str) -> asyncpg.Connection:
    """Return a connection whose settings are ours: where they are not, a pooler is between that nobody told of."""
    untold = "it leads through a pooler: add pgbouncer=true to its options, as in postgresql://.../name?pgbouncer=true"
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT, server_settings=SERVER_SETTINGS)
    except asyncpg.ProtocolViolationError as error:
        raise asyncpg.InterfaceError(untold) if "startup parameter" in str(error) else error from error
    limit = await connection.fetchval("SELECT setting FROM pg_settings WHERE name = 'statement_timeout'")
    if limit != SERVER_SETTINGS["statement_timeout"]:
        connection.terminate()
        raise asyncpg.InterfaceError(untold)
    return connection


async def _connect_to_pooler(url: str) -> asyncpg.Connection:
    name = {"application_name": SERVER_SETTINGS["application_name"]}
    return await asyncpg.connect(
        url, timeout=CONNECT_TIMEOUT, server_settings=name, statement_cache_size=0, connection_class=_Pooled
    )


def create_sessionmaker(bind: AsyncEngine | AsyncConnection) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(bind, expire_on_commit=False)


@contextmanager
def _raise_unavailable() -> Iterator[None]:
    """Raise DatabaseUnavailable when the database is away or gave up waiting: trying again later helps."""
    try:
        yield
    except (OSError, PoolTimeoutError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailable from error
    except (DBAPIError, asyncpg.PostgresError) as error:
        if is_transient(error):
            raise DatabaseUnavailable from error
        raise


@asynccontextmanager
async def transaction(sessions: async_sessionmaker[AsyncSession]) -> AsyncIterator[AsyncSession]:
    """Yield a session whose transaction is committed at the end, rolled back on an error that is not a Refused.

    Raises DatabaseUnavailable.
    """
    with _raise_unavailable():
        async with sessions() as session:
            try:
                yield session
            except Refused:
                await session.commit()
                raise
            await session.commit()


@asynccontextmanager
async def raw_connection(
    sessions: async_sessionmaker[AsyncSession], *, transaction: bool = False
) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection on which each statement is a transaction of its own; `transaction`: all of them are one.

    Through a pooler they always are: it could run a statement's two messages on two connections. If it is cancelled its
    connection is given up: nobody knows what it was about to do, and to ask could take for ever. Raises
    DatabaseUnavailable.
    """
    bound: AsyncEngine | AsyncConnection = sessions.kw["bind"]
    with _raise_unavailable():
        # no session: to make one and put it away took longer than a join's two statements
        async with bound.connect() if isinstance(bound, AsyncEngine) else nullcontext(bound) as lent:
            connection: asyncpg.Connection = (await lent.get_raw_connection()).driver_connection
            is_pooled = type(connection) is _Pooled  # asyncpg's isinstance() takes all its connections for one another
            try:
                async with _transaction(connection) if transaction or is_pooled else nullcontext():
                    yield connection
            except Exception:
                raise
            except BaseException:
                connection.terminate()
                raise


@asynccontextmanager
async def _transaction(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Run a transaction. asyncpg's own context asks the server to roll back what was cancelled, and waits for it."""
    whole = connection.transaction()
    try:
        await whole.start()
    except Exception:
        connection.terminate()  # asyncpg takes it for begun
        raise
    try:
        yield
    except Exception:
        await whole.rollback()
        raise
    await whole.commit()


async def driver_connection(session: AsyncSession) -> asyncpg.Connection:
    """Return asyncpg's own connection: what it runs is part of the session's transaction, once that has begun."""
    raw = await (await session.connection()).get_raw_connection()
    return raw.driver_connection


def is_transient(error: DBAPIError | asyncpg.PostgresError) -> bool:
    """Tell whether trying again later helps."""
    if isinstance(error, asyncpg.PostgresError):
        return isinstance(error, asyncpg.PostgresConnectionError) or error.sqlstate in TRANSIENT_SQLSTATES
    if error.connection_invalidated or isinstance(error, InterfaceError):
        return True
    state = getattr(error.orig, "sqlstate", None)
    return state in TRANSIENT_SQLSTATES or (isinstance(error, OperationalError) and state is None)


def is_per_item(error: Exception) -> bool:
    """Tell whether what failed in one transaction for many may succeed for most of them, each in its own.

    It can't where the database is away. A lock, a deadlock or a statement that takes too long may be one's fault.
    """
    if not isinstance(error, DatabaseUnavailable):
        return True
    cause = error.__cause__  # SQLAlchemy's, or asyncpg's own
    return getattr(getattr(cause, "orig", cause), "sqlstate", None) in PER_ITEM_SQLSTATES


def reason_of(error: BaseException) -> str:
    """Return the driver's text of a database error, without SQLAlchemy's statement and link."""
    cause = (error.__cause__ or error) if isinstance(error, DatabaseUnavailable) else error
    if isinstance(cause, DBAPIError) and cause.orig:
        cause = cause.orig.__cause__ or cause.orig
    elif isinstance(cause, SQLAlchemyError):
        return str(cause.args[0])
    return str(cause) or type(cause).__name__


def masked(url: str) -> str:
    """Return the URL without its passwords, for people to read; also one that is no valid URL."""
    return _PASSWORD_IN_QUERY.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))
