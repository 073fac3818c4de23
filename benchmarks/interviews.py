"""The databases of the benchmarks: a real Postgres as in production, and interviews ready to be joined."""

import asyncio
import hashlib
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from app.auth.api_keys import ensure_bootstrap_key
from app.core.database import create_engine, create_sessionmaker, transaction
from app.core.embedded_postgres import Server, embedded_postgres
from app.core.schema import migrate
from app.interviews.schedule import ensure_default_organization
from benchmarks.servers import API_KEY

SQL = Path(__file__).parent / "sql"


@dataclass(frozen=True, slots=True)
class Candidate:
    """The candidate of an interview, with the credentials for a join."""

    interview_id: uuid.UUID
    candidate_id: str
    phone_number: str

    @property
    def invite(self) -> str:
        return "inv_" + hashlib.md5(self.phone_number.encode(), usedforsecurity=False).hexdigest()


@contextmanager
def postgres(folder: Path) -> Iterator[Server]:
    """Run the embedded Postgres in a new folder, with fsync, as `interviews serve` does. Delete its data at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with embedded_postgres(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_database(server: Server, name: str) -> str:
    """Create a database for the service and the peers; return its URL."""
    url = server.ensure_application_database(name)
    prepare_database(url)
    return url


def prepare_database(url: str) -> None:
    """Migrate an empty database, and create the first organization, the API key and the peers' tables."""
    asyncio.run(_prepare(url))
    run(url, (SQL / "peers.sql").read_text())


async def _prepare(url: str) -> None:
    engine = create_engine(url)
    await migrate(engine)
    async with transaction(create_sessionmaker(engine)) as session:
        organization_id = await ensure_default_organization(session)
        await ensure_bootstrap_key(session, organization_id=organization_id, key=API_KEY)
    await engine.dispose()


def drop_database(server: Server, name: str) -> None:
    run(server.url(), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def add_interviews(url: str, count: int) -> list[Candidate]:
    """Create this many interviews, in the peers' table and in ours; return their candidates."""
    rows = fetch(url, (SQL / "interviews.sql").read_text(), count)
    # not all tables: plans for a table that was empty at ANALYZE would be wrong
    run(url, "VACUUM ANALYZE interviews, bench_interview")
    return [Candidate(row["id"], row["candidate_id"], row["phone_number"]) for row in rows]


def run(url: str, raw_connection: str) -> None:
    """Run statements without parameters, however long they take."""
    asyncio.run(_with_connection(url, lambda connection: connection.execute(raw_connection)))


def fetch(url: str, query: str, *values: object) -> list[asyncpg.Record]:
    """Return the rows of a query."""
    rows: list[asyncpg.Record] = asyncio.run(_with_connection(url, lambda connection: connection.fetch(query, *values)))
    return rows


async def _with_connection(url: str, work: Any) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await work(connection)
    finally:
        await connection.close()
