"""API keys, of which only the SHA-256 is stored, and their scopes."""

import hashlib
import re
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import asyncpg
from sqlalchemy import case, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import BootstrapKeyTaken, MissingScope, Unauthorized
from app.models import ApiKey, Organization


class Scope(StrEnum):
    READ = "interviews:read"
    WRITE = "interviews:write"
    AGENT = "agent"
    ADMIN = "admin"


BOOTSTRAP_KEY_NAME = "bootstrap"
SECRET_BYTES = 20


@dataclass(frozen=True, slots=True)
class Caller:
    """The API key of a call: its organization and its scopes."""

    key_id: uuid.UUID
    organization_id: uuid.UUID
    scopes: frozenset[str]

    def require(self, *scopes: Scope) -> None:
        """Raise MissingScope unless the key carries one of the scopes."""
        if self.scopes.isdisjoint(scopes):
            named = " or ".join(f"'{scope}'" for scope in scopes)
            raise MissingScope(f"Use an API key with the scope {named}.")


# By the database's clock, which all replicas share. Every call runs it, and SQLAlchemy takes longer than Postgres.
_VALID = """
    SELECT id, organization_id, scopes FROM api_keys
    WHERE key_hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""


async def authenticate(connection: asyncpg.Connection, *, key: str) -> Caller:
    """Return the caller of an API key. Raises Unauthorized for an unknown, a revoked or an expired key.

    The look-up is by hash, so timing tells an attacker nothing. Nothing is cached: revocation holds on every replica at
    once.
    """
    row = await connection.fetchrow(_VALID, hash_key(key))
    if row is None:
        raise Unauthorized
    return Caller(row["id"], row["organization_id"], frozenset(row["scopes"]))


async def ensure_bootstrap_key(session: AsyncSession, *, organization_id: uuid.UUID, key: str) -> None:
    """Store BOOTSTRAP_API_KEY with all scopes. A new value replaces the previous one; a revoked value stays revoked.

    Raises BootstrapKeyTaken if the key exists under another name.
    """
    taken = select(ApiKey.name).where(ApiKey.key_hash == hash_key(key), ApiKey.name != BOOTSTRAP_KEY_NAME)
    if name := await session.scalar(taken):
        raise BootstrapKeyTaken(f"BOOTSTRAP_API_KEY is already in use as the key '{name}'. Set a different value.")
    fresh = insert(ApiKey).values(
        organization_id=organization_id,
        name=BOOTSTRAP_KEY_NAME,
        key_hash=hash_key(key),
        scopes=[scope.value for scope in Scope],
    )
    await session.execute(
        fresh.on_conflict_do_update(
            index_elements=[ApiKey.name],
            set_={
                "key_hash": fresh.excluded.key_hash,
                "scopes": fresh.excluded.scopes,
                "revoked_at": case((ApiKey.key_hash == fresh.excluded.key_hash, ApiKey.revoked_at), else_=None),
            },
        )
    )


async def create_key(
    session: AsyncSession,
    *,
    organization_id: uuid.UUID,
    name: str,
    scopes: Sequence[Scope],
    now: datetime,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str] | None:
    """Create a key. Return it with its secret, which is not stored; None if the name is taken."""
    key_id = uuid.uuid4()
    key = f"ik_{key_id.hex[:12]}_{secrets.token_hex(SECRET_BYTES)}"
    fresh = insert(ApiKey).values(
        id=key_id,
        organization_id=organization_id,
        name=name,
        key_hash=hash_key(key),
        scopes=scopes,
        created_at=now,
        expires_at=expires_at,
    )
    created = await session.scalar(fresh.on_conflict_do_nothing(index_elements=[ApiKey.name]).returning(ApiKey))
    return (created, key) if created else None


async def list_keys(session: AsyncSession, *, organization_id: uuid.UUID | None) -> Sequence[tuple[ApiKey, str]]:
    """Return all keys, or the organization's, oldest first, each with its organization's name."""
    query = select(ApiKey, Organization.name).join(Organization).order_by(ApiKey.created_at, ApiKey.id)
    if organization_id:
        query = query.where(ApiKey.organization_id == organization_id)
    return [(row[0], row[1]) for row in await session.execute(query)]


async def revoke_key(session: AsyncSession, *, which: str, now: datetime) -> ApiKey | None:
    """Revoke the key with that short id or name, and return it; None if there is no such key.

    A second revocation keeps the first instant.
    """
    matches = ApiKey.name == which
    if re.fullmatch(r"[0-9a-f]{12}", which):
        matches = or_(matches, ApiKey.id.between(uuid.UUID(which + "0" * 20), uuid.UUID(which + "f" * 20)))
    key = (await session.scalars(select(ApiKey).where(matches).with_for_update())).one_or_none()
    if key:
        key.revoked_at = key.revoked_at or now
    return key


def hash_key(key: str) -> bytes:
    """Return the stored hash. SHA-256 is enough, because keys are long and random."""
    return hashlib.sha256(key.encode()).digest()
