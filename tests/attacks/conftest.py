"""Two organizations on one service, and the database content."""

import uuid

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.auth.api_keys import Scope, hash_key
from app.models import ApiKey, Organization
from tests.attacks.document import Owner
from tests.conftest import API_KEY

Sessions = async_sessionmaker[AsyncSession]


@pytest.fixture
async def owner(client: httpx.AsyncClient) -> Owner:
    """The default organization."""
    return Owner(client, API_KEY, "ours")


@pytest.fixture
async def other(client: httpx.AsyncClient, sessions: Sessions) -> Owner:
    """Another organization of the same service."""
    return await another(client, sessions)


async def another(client: httpx.AsyncClient, sessions: Sessions) -> Owner:
    async with sessions.begin() as session:
        theirs = Organization(name="theirs", company_name="T", instructions_template="t", max_duration=60)
        session.add(theirs)
        await session.flush()
        session.add(api_key("ik_theirs", theirs.id, *Scope))
    return Owner(client, "ik_theirs", "theirs")


def api_key(key: str, organization_id: uuid.UUID, *scopes: Scope) -> ApiKey:
    return ApiKey(organization_id=organization_id, name=key, key_hash=hash_key(key), scopes=list(scopes))


async def everything(sessions: Sessions) -> str:
    """Return every row of every table except the API keys, which store their last use."""
    async with sessions() as session:
        named = text(
            "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'api_keys'"
        )
        found = []
        for table in (await session.scalars(named)).all():
            query = text(f"SELECT t::text FROM {table} t")  # noqa: S608 - from pg_tables
            found += [f"{table}: {row}" for row in sorted((await session.scalars(query)).all())]
    return "\n".join(found)
