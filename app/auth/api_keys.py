"""Who calls: API keys, of which only the SHA-256 is stored, and the scopes that they carry."""

import hashlib
import re
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import LargeBinary, bindparam, case, func, or_, select
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
SECRET = 20  # random bytes of a key


@dataclass(frozen=True, slots=True)
class Caller:
    """An API key: the organization that it belongs to, and what it may do."""

    key_id: uuid.UUID
    organization_id: uuid.UUID
    scopes: frozenset[str]

    def require(self, scope: Scope) -> None:
        """Raise MissingScope unless the key carries the scope."""
        if scope not in self.scopes:
            raise MissingScope(f"Use an API key with the scope '{scope}'.")


# By the database's clock, which is the same for all replicas. Built once: that takes longer than Postgres does.
VALID = select(ApiKey.id, ApiKey.organization_id, ApiKey.scopes).where(
    ApiKey.key_hash == bindparam("key_hash", type_=LargeBinary),
    ApiKey.revoked_at.is_(None),
    or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()),
)


async def authenticate(session: AsyncSession, *, key: str) -> Caller:
    """Return whose API key this is. Raises Unauthorized, for a revoked or expired key as for one that never was.

    Looked up by its hash, so nothing is compared character by character: a guess learns nothing from the time taken.
    Nothing is kept in mind: a key that ends here has ended for every replica.
    """
    row = (await session.execute(VALID, {"key_hash": hash_key(key)})).one_or_none()
    if row is None:
        raise Unauthorized
    return Caller(row.id, row.organization_id, frozenset(row.scopes))


async def ensure_bootstrap_key(session: AsyncSession, *, organization_id: uuid.UUID, key: str) -> None:
    """Make BOOTSTRAP_API_KEY the organization's first key, with all scopes; another value replaces the one before.

    One that was revoked stays so. Raises BootstrapKeyTaken for a key that goes by another name already.
    """
    taken = select(ApiKey.name).where(ApiKey.key_hash == hash_key(key), ApiKey.name != BOOTSTRAP_KEY_NAME)
    if name := await session.scalar(taken):
        raise BootstrapKeyTaken(f"BOOTSTRAP_API_KEY is the key '{name}' already. Set another one.")
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
    """Make a key and return it with its secret, which is never known again. None if the name is taken."""
    key_id = uuid.uuid4()
    key = f"ik_{key_id.hex[:12]}_{secrets.token_hex(SECRET)}"
    fresh = insert(ApiKey).values(
        id=key_id,
        organization_id=organization_id,
        name=name,
        key_hash=hash_key(key),
        scopes=scopes,
        created_at=now,
        expires_at=expires_at,
    )
    made = await session.scalar(fresh.on_conflict_do_nothing(index_elements=[ApiKey.name]).returning(ApiKey))
    return (made, key) if made else None


async def list_keys(session: AsyncSession, *, organization_id: uuid.UUID | None) -> Sequence[tuple[ApiKey, str]]:
    """Return all keys, or the organization's, each with its organization's name; the oldest first."""
    query = select(ApiKey, Organization.name).join(Organization).order_by(ApiKey.created_at, ApiKey.id)
    if organization_id:
        query = query.where(ApiKey.organization_id == organization_id)
    return [(row[0], row[1]) for row in await session.execute(query)]


async def revoke_key(session: AsyncSession, *, which: str, now: datetime) -> ApiKey | None:
    """Revoke the key of that short id or name, from now on and everywhere; None if there is none.

    Revoking again changes nothing: the first instant stays.
    """
    fits = ApiKey.name == which
    if re.fullmatch(r"[0-9a-f]{12}", which):
        fits = or_(fits, ApiKey.id.between(uuid.UUID(which + "0" * 20), uuid.UUID(which + "f" * 20)))
    found = (await session.scalars(select(ApiKey).where(fits).with_for_update())).one_or_none()
    if found:
        found.revoked_at = found.revoked_at or now
    return found


def hash_key(key: str) -> bytes:
    """Return what is stored of a key. SHA-256 is enough, as a key is random and long, not chosen by a person."""
    return hashlib.sha256(key.encode()).digest()
