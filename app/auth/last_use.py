"""When each API key was last used, to the hour. Stored in the background, so that no call pays for it."""

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

INTERVAL = 10.0  # seconds

# One replica writes a key once an hour. A locked row is skipped until the next interval.
STORE = text("""
    UPDATE api_keys SET last_used_at = now()
    WHERE id IN (
        SELECT id FROM api_keys
        WHERE id = ANY (CAST(:ids AS uuid[]))
            AND (last_used_at IS NULL OR last_used_at <= now() - interval '1 hour')
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    )
    """)


class LastUsed:
    """The keys used in this process since the last write."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions
        self._used: set[uuid.UUID] = set()

    def note(self, key_id: uuid.UUID) -> None:
        self._used.add(key_id)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Store every INTERVAL during the block, and at its end."""
        storing = asyncio.create_task(self._store_repeatedly())
        try:
            yield
        finally:
            storing.cancel()
            await asyncio.gather(storing, return_exceptions=True)
            await self.store()

    async def _store_repeatedly(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            await self.store()

    async def store(self) -> None:
        """Store the noted keys. If that fails they are dropped, and noted again by their next call."""
        used, self._used = self._used, set()
        if not used:
            return
        try:
            async with transaction(self._sessions) as session:
                await session.execute(STORE, {"ids": list(used)})
        except (DatabaseUnavailable, SQLAlchemyError) as error:
            log.warning("the last use of API keys could not be stored: %r", error.__cause__ or error)
