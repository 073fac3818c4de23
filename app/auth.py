"""Who calls: API keys, of which only the SHA-256 is stored, and the scopes that they carry."""

import hashlib
import uuid
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import MissingScope, Unauthorized
from app.models import ApiKey


class Scope(StrEnum):
    READ = "interviews:read"
    WRITE = "interviews:write"
    AGENT = "agent"
    ADMIN = "admin"


BOOTSTRAP_KEY_NAME = "bootstrap"


@dataclass(frozen=True, slots=True)
class Caller:
    """The organization that an API key belongs to, and what the key may do."""

    organization_id: uuid.UUID
    scopes: frozenset[str]

    def require(self, scope: Scope) -> None:
        """Raise MissingScope unless the key carries the scope."""
        if scope not in self.scopes:
            raise MissingScope(f"Use an API key with the scope '{scope}'.")


async def authenticate(session: AsyncSession, *, key: str) -> Caller:
    """Return whose API key this is. Raises Unauthorized.

    Looked up by its hash, so nothing is compared character by character: a guess learns nothing from the time taken.
    """
    found = await session.execute(
        select(ApiKey.organization_id, ApiKey.scopes).where(ApiKey.key_hash == hash_key(key)),
    )
    row = found.one_or_none()
    if row is None:
        raise Unauthorized
    return Caller(row.organization_id, frozenset(row.scopes))


async def ensure_bootstrap_key(session: AsyncSession, *, organization_id: uuid.UUID, key: str) -> None:
    """Make BOOTSTRAP_API_KEY the organization's first key, with all scopes; another value replaces the one before."""
    fresh = insert(ApiKey).values(
        organization_id=organization_id,
        name=BOOTSTRAP_KEY_NAME,
        key_hash=hash_key(key),
        scopes=[scope.value for scope in Scope],
    )
    await session.execute(
        fresh.on_conflict_do_update(
            index_elements=[ApiKey.name], set_={"key_hash": fresh.excluded.key_hash, "scopes": fresh.excluded.scopes}
        )
    )


def hash_key(key: str) -> bytes:
    """Return what is stored of a key. SHA-256 is enough, as a key is random and long, not chosen by a person."""
    return hashlib.sha256(key.encode()).digest()
