"""When each API key was used last: coarse, and never at the expense of a call."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.core.database import transaction
from app.core.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

EVERY = 10.0  # seconds between two looks at what was used

# Whichever replica comes first writes, once an hour; a row that somebody holds is left for the next time.
STORE = text(
    """
    UPDATE api_keys SET last_used_at = now()
    WHERE id IN (
        SELECT id FROM api_keys
        WHERE id = ANY (CAST(:ids AS uuid[]))
            AND (last_used_at IS NULL OR last_used_at <= now() - interval '1 hour')
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    )
    """
)


class LastUsed:
    """The keys that this process has seen used. A call only adds to a set; what is stored, is stored beside it."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions
        self._used: set[uuid.UUID] = set()

    def note(self, key_id: uuid.UUID) -> None:
        self._used.add(key_id)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Store ever again during the block, and at its end."""
        storing = asyncio.create_task(self._store_ever_again())
        try:
            yield
        finally:
            storing.cancel()
            await asyncio.gather(storing, return_exceptions=True)
            await self.store()

    async def _store_ever_again(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self.store()

    async def store(self) -> None:
        """Store what was noted; where the database does not take it, it is forgotten until the next call."""
        used, self._used = self._used, set()
        if not used:
            return
        try:
            async with transaction(self._sessions) as session:
                await session.execute(STORE, {"ids": list(used)})
        except (DatabaseUnavailable, SQLAlchemyError) as error:
            log.warning("when keys were used last could not be stored: %r", error.__cause__ or error)
