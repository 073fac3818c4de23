"""What `interviews serve` does before it serves: the schema, the first rows, and the greeting."""

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from app.api.first_calls import first_calls, known_key
from app.auth.api_keys import ensure_bootstrap_key
from app.cli.migrate import bring_up_to_date
from app.cli.runtime import database_name, with_engine
from app.core.database import create_sessionmaker, transaction
from app.core.settings import Settings
from app.interviews.demo import DEMO_ID, ensure_demo
from app.interviews.schedule import ensure_default_organization
from app.livekit.access_tokens import signer_of
from app.livekit.local_server import address_of, write_config


def prepare(settings: Settings, url: str) -> str:
    """Migrate, make the default organization, its key and the demo interview; return what to print for a newcomer."""
    bring_up_to_date(settings, url)
    has_demo = with_engine(url, lambda engine: _make_first_rows(settings, engine))
    return greeting(settings, url, has_demo=has_demo)


async def _make_first_rows(settings: Settings, engine: AsyncEngine) -> bool:
    """Return whether the demo interview can be joined."""
    async with transaction(create_sessionmaker(engine)) as session:
        organization_id = await ensure_default_organization(session)
        key = settings.bootstrap_api_key.get_secret_value()
        await ensure_bootstrap_key(session, organization_id=organization_id, key=key)
        if not settings.is_local:
            return False
        return await ensure_demo(
            session, organization_id=organization_id, now=datetime.now(UTC), signer=signer_of(settings)
        )


def greeting(settings: Settings, url: str, *, has_demo: bool) -> str:
    """Return what a newcomer needs: addresses, the key, the demo interview, how to start LiveKit."""
    address = address_of(settings)
    lines = [
        f"Interviews        {address}    (API: {address}/docs)",
        f"Database          {database_name(settings, url)}",
        *_about_livekit(settings),
    ]
    calls = first_calls(settings, address, has_demo=has_demo)
    if key := known_key(settings):
        lines.append(f"Recruiter's key   {key}")
    if has_demo:
        lines.append(f"Demo interview    {DEMO_ID}")
        lines += [f"Invite to it      {calls.invite}"] if calls.invite else []
        lines.append(f"Join it           {calls.join}")
    return "\n" + "\n".join(lines) + "\n"


def _about_livekit(settings: Settings) -> list[str]:
    """Write the configuration of a LiveKit on this machine; return how to start it, or what another one must do."""
    lines = [f"LiveKit           {settings.livekit_url} with the key {settings.livekit_api_key}"]
    server = write_config(settings)
    if server is None:
        where = "this machine, through a tunnel to" if settings.is_local else "this service's address,"
        return [
            *lines,
            f"                  it must send its webhooks, signed with this key, to {where} /webhooks/livekit",
        ]
    lines.append(f"                  start it with: {server.command}")
    return [*lines, f"                  ({server.problem})"] if server.problem else lines
