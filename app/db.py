"""The database: the declarative base, and how engines and sessions are made."""

import enum
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, ClassVar

import asyncpg
from sqlalchemy import ARRAY, BigInteger, DateTime, Enum, MetaData, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from app.errors import DatabaseUnavailable, Refused

CONNECT_TIMEOUT = 5.0  # seconds
# A statement that takes longer is ended by Postgres: a webhook that hangs would block LiveKit's queue for its room.
SERVER_SETTINGS = {
    "application_name": "interviews",
    "statement_timeout": "8000",
    "lock_timeout": "5000",
    "idle_in_transaction_session_timeout": "30000",
}
# SQLSTATEs of what passes by itself: lock and statement timeouts, deadlocks, a server that starts or shuts down.
PASSING_SQLSTATES = ("55P03", "57014", "40P01", "40001", "57P01", "57P02", "57P03", "53300", "25006")
OF_ONE_SQLSTATES = ("55P03", "57014", "40P01", "40001")  # lock and statement timeouts, deadlocks

# Up to the last @: in a password that is not escaped may be anything.
_PASSWORD = re.compile(r"(://[^:/@]*:).*@")
_PASSWORD_IN_QUERY = re.compile(r"([?&](?:ssl)?password=)[^&]*")


def _values(names: type[enum.Enum]) -> list[str]:
    return [str(name.value) for name in names]


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can name them too; instants are timestamptz, durations interval."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        int: BigInteger,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[str]: ARRAY(Text),
        enum.Enum: Enum(enum.Enum, native_enum=False, create_constraint=False, length=None, values_callable=_values),
    }

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def create_engine(url: str) -> AsyncEngine:
    """Return an engine for a libpq URL: postgres:// and postgresql:// alike, with sslmode and the rest of its options.

    asyncpg reads the URL itself, so each option means what it means to libpq.
    """

    async def connect() -> asyncpg.Connection:
        try:
            return await asyncpg.connect(url, timeout=CONNECT_TIMEOUT, server_settings=SERVER_SETTINGS)
        except ValueError as error:  # its text may hold a piece of the password
            raise asyncpg.InterfaceError("it is not a valid URL: postgresql://user:password@host:5432/name") from error

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=10,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT,
        pool_pre_ping=True,
        hide_parameters=True,  # names and phone numbers do not belong into an error's text
    )


def create_sessionmaker(bind: AsyncEngine | AsyncConnection) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(bind, expire_on_commit=False)


@asynccontextmanager
async def transaction(sessions: async_sessionmaker[AsyncSession]) -> AsyncIterator[AsyncSession]:
    """Yield a session whose transaction is committed at the end, rolled back on an error that is not a Refused.

    Raises DatabaseUnavailable when the database is away or gave up waiting: trying again later helps.
    """
    try:
        async with sessions() as session:
            try:
                yield session
            except Refused:
                await session.commit()
                raise
            await session.commit()
    except (OSError, PoolTimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailable from error
    except DBAPIError as error:
        if is_passing(error):
            raise DatabaseUnavailable from error
        raise


def is_passing(error: DBAPIError) -> bool:
    """Tell whether trying again later helps."""
    if error.connection_invalidated or isinstance(error, InterfaceError):
        return True
    state = getattr(error.orig, "sqlstate", None)
    return state in PASSING_SQLSTATES or (isinstance(error, OperationalError) and state is None)


def is_of_one(error: Exception) -> bool:
    """Tell whether what failed in one transaction for many may succeed for most of them, each in its own.

    It can't where the database is away. A lock, a deadlock or a statement that takes too long may be one's fault.
    """
    if not isinstance(error, DatabaseUnavailable):
        return True
    cause = error.__cause__
    return isinstance(cause, DBAPIError) and getattr(cause.orig, "sqlstate", None) in OF_ONE_SQLSTATES


def masked(url: str) -> str:
    """Return the URL without its passwords, for people to read; also one that is no valid URL."""
    return _PASSWORD_IN_QUERY.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))
