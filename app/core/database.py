"""The database: engines, sessions, transactions, and which errors are transient."""

import math
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, InterfaceError, InvalidatePoolError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from app.core.errors import DatabaseUnavailable, Refused

CONNECT_TIMEOUT = 5.0  # seconds
# Postgres ends slow statements: a webhook that hangs would block LiveKit's queue for its room.
SERVER_SETTINGS = {
    "application_name": "interviews",
    "statement_timeout": "8000",
    "lock_timeout": "5000",
    "idle_in_transaction_session_timeout": "30000",
    # One plan per connection: planning took 0.6 of the 0.7 ms of a join's two statements. Queries whose plan depends on
    # their parameters opt out (app.interviews.search).
    "plan_cache_mode": "force_generic_plan",
}
# The same behind a transaction pooler, where settings last for one transaction.
POOLER_LIMITS = "".join(f"; SET LOCAL {name} = {value}" for name, value in SERVER_SETTINGS.items() if value.isdecimal())
NOT_ENCODED = (
    "it is not a valid URL: percent-encode the special characters of the password: %40 for @, %3A for :, %2F for /, "
    "%3F for ?, %23 for #, %25 for %"
)
POOL_SIZE = 5  # connections per process
PING_AFTER_IDLE = 1.0  # seconds; a connection idle for longer is pinged before use

# SQLSTATEs: lock and statement timeouts, deadlocks, serialization failures, a server that starts or shuts down.
TRANSIENT_SQLSTATES = ("55P03", "57014", "40P01", "40001", "57P01", "57P02", "57P03", "53300", "25006")
PER_ITEM_SQLSTATES = ("55P03", "57014", "40P01", "40001")  # the ones that a single item may cause

# Up to the last @: a password that is not percent-encoded may contain any character.
_PASSWORD = re.compile(r"(://[^:/@]*:).*@")
_PASSWORD_IN_QUERY = re.compile(r"([?&](?:ssl)?password=)[^&]*")
# A second @ in the authority, or an @ behind it that is not in an option's value.
_NOT_ENCODED = re.compile(r"://(?:[^/?#@]*@[^/?#@]*@|[^/?#]*[/?#][^=]*@)")
# Prisma's option, which hosting companies put into their URLs; libpq does not know it
_POOLER = re.compile(r"(?<=[?&])pgbouncer=(?:(true)|false)(?:&|$)")


class _PoolerConnection(asyncpg.Connection):  # type: ignore[misc] # asyncpg has no annotations
    """A connection to a pooler in transaction mode. BEGIN also sets the limits of each transaction."""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - asyncpg's
        if query.startswith("BEGIN"):
            query = query.rstrip(";") + POOLER_LIMITS
        status: str = await super().execute(query, *args, timeout=timeout)
        return status


def is_pooled(url: str) -> bool:
    """Return whether the URL is of a transaction pooler: `?pgbouncer=true`."""
    return (match := _POOLER.search(url)) is not None and match[1] is not None


def create_engine(url: str, *, pool_size: int = POOL_SIZE) -> AsyncEngine:
    """Return an engine for a libpq URL. asyncpg parses it, so options such as sslmode mean what they mean to libpq."""
    pooled, plain = is_pooled(url), _POOLER.sub("", url).rstrip("?&")
    name = {"application_name": SERVER_SETTINGS["application_name"]}

    async def connect() -> asyncpg.Connection:
        try:
            if not pooled:
                return await _connect(plain)
            options = {"statement_cache_size": 0, "connection_class": _PoolerConnection}
            return await asyncpg.connect(plain, timeout=CONNECT_TIMEOUT, server_settings=name, **options)
        except (ValueError, OSError) as error:  # its text may contain a piece of the password
            if _NOT_ENCODED.search(plain):  # what follows the first such character was taken for the host
                raise asyncpg.InterfaceError(NOT_ENCODED) from None
            if isinstance(error, OSError):
                raise
            raise asyncpg.InterfaceError("it is not a valid URL: postgresql://user:password@host:5432/name") from None

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        # a pooler may run the next transaction on another connection, where this one's prepared statements are unknown
        connect_args={"prepared_statement_cache_size": 0, "prepared_statement_name_func": str} if pooled else {},
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT,
        hide_parameters=True,  # names and phone numbers must not appear in errors
    )
    _replace_dead_connections(engine)
    return engine


def _replace_dead_connections(engine: AsyncEngine) -> None:
    """Replace dead connections when they are checked out of the pool.

    `pool_pre_ping` would do, but its three round trips per session took longer than a join's own two. asyncpg knows of
    most closed connections; only one that was idle, which a firewall may have dropped, is pinged.
    """

    @event.listens_for(engine.sync_engine, "checkin")
    def note_idle(_: Any, record: Any) -> None:
        record.info["idle since"] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def check(connection: Any, record: Any, _: Any) -> None:
        if connection.driver_connection.is_closed():
            if "idle since" not in record.info:  # it is new, and the pool's next one would end the same way
                raise asyncpg.ConnectionDoesNotExistError("the server closed the new connection")
            raise InvalidatePoolError
        if time.monotonic() - record.info.get("idle since", math.inf) < PING_AFTER_IDLE:
            return
        try:
            connection.ping()
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error


async def _connect(url: str) -> asyncpg.Connection:
    """Return a connection with our settings. Raises InterfaceError if a pooler has dropped them."""
    pooler = "it leads through a pooler: add pgbouncer=true to its options, as in postgresql://.../name?pgbouncer=true"
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT, server_settings=SERVER_SETTINGS)
    except asyncpg.ProtocolViolationError as error:
        raise asyncpg.InterfaceError(pooler) if "startup parameter" in str(error) else error from error
    limit = await connection.fetchval("SELECT setting FROM pg_settings WHERE name = 'statement_timeout'")
    if limit != SERVER_SETTINGS["statement_timeout"]:
        connection.terminate()
        raise asyncpg.InterfaceError(pooler)
    return connection


def create_sessionmaker(bind: AsyncEngine | AsyncConnection) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(bind, expire_on_commit=False)


@contextmanager
def _raise_unavailable() -> Iterator[None]:
    """Turn transient errors into DatabaseUnavailable."""
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
    """Yield a session, and commit at the end. Any error but Refused rolls back. Raises DatabaseUnavailable."""
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
    """Yield asyncpg's connection, without a session. Each statement commits by itself, unless `transaction` is set.

    Behind a pooler there is always a transaction: without one, the two messages of a statement could reach two server
    connections. When cancelled, the connection is closed: its state is unknown, and asking could take forever. Raises
    DatabaseUnavailable.
    """
    bound: AsyncEngine | AsyncConnection = sessions.kw["bind"]
    with _raise_unavailable():
        # a session's setup and teardown took longer than a join's two statements
        async with bound.connect() if isinstance(bound, AsyncEngine) else nullcontext(bound) as pooled:
            connection: asyncpg.Connection = (await pooled.get_raw_connection()).driver_connection
            has_pooler = type(connection) is _PoolerConnection  # asyncpg makes isinstance() true for any of its classes
            try:
                async with _transaction(connection) if transaction or has_pooler else nullcontext():
                    yield connection
            except Exception:
                raise
            except BaseException:
                connection.terminate()
                raise


@asynccontextmanager
async def _transaction(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Run a transaction. On cancellation asyncpg's own context manager would wait for the server to roll back."""
    begun = connection.transaction()
    try:
        await begun.start()
    except Exception:
        connection.terminate()  # asyncpg believes that it has begun
        raise
    try:
        yield
    except Exception:
        await begun.rollback()
        raise
    await begun.commit()


async def driver_connection(session: AsyncSession) -> asyncpg.Connection:
    """Return asyncpg's connection, with the session flushed: what it runs is part of the session's transaction."""
    await session.flush()
    connection = await session.connection()
    raw: asyncpg.Connection = (await connection.get_raw_connection()).driver_connection
    if not raw.is_in_transaction():  # SQLAlchemy sends BEGIN only with its own first statement
        await connection.execute(text("SELECT"))
    return raw


def is_transient(error: DBAPIError | asyncpg.PostgresError) -> bool:
    """Return whether a retry may succeed."""
    if isinstance(error, asyncpg.PostgresError):
        return isinstance(error, asyncpg.PostgresConnectionError) or error.sqlstate in TRANSIENT_SQLSTATES
    if error.connection_invalidated or isinstance(error, InterfaceError):
        return True
    state = getattr(error.orig, "sqlstate", None)
    return state in TRANSIENT_SQLSTATES or (isinstance(error, OperationalError) and state is None)


def is_per_item(error: Exception) -> bool:
    """Return whether a single item may have failed the transaction of a batch, so that the others succeed alone.

    A lock, a deadlock or a slow statement may be due to one item; an unavailable database is not.
    """
    if not isinstance(error, DatabaseUnavailable):
        return True
    cause = error.__cause__  # SQLAlchemy's or asyncpg's
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
    """Return the URL, valid or not, with its passwords masked."""
    return _PASSWORD_IN_QUERY.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))
