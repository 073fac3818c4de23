"""What `interviews serve` does before it serves: the schema, the first rows, and the greeting."""

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from app.auth.api_keys import ensure_bootstrap_key
from app.cli.migrate import bring_up_to_date
from app.cli.runtime import database_name, with_engine
from app.core.database import create_sessionmaker, transaction
from app.core.settings import LOCAL_API_KEY, LOCAL_LIVEKIT_KEY, Settings
from app.interviews.demo import DEMO_ID, ensure_demo
from app.interviews.schedule import ensure_default_organization
from app.livekit.access_tokens import signer_of


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
    """Return what a newcomer needs: addresses, the key, the demo interview."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - compared, not listened on
    host = f"[{host}]" if ":" in host else host
    address = f"http://{host}:{settings.port}"
    lines = [
        f"Interviews        {address}    (API: {address}/docs)",
        f"Database          {database_name(settings, url)}",
        f"LiveKit           {settings.livekit_url} with the key {settings.livekit_api_key};",
        f"                  it must send its webhooks to {address}/webhooks/livekit",
    ]
    if settings.livekit_api_key == LOCAL_LIVEKIT_KEY:
        lines.append("                  start one with: livekit-server --dev --config deploy/livekit.local.yaml")
    if settings.bootstrap_api_key.get_secret_value() == LOCAL_API_KEY:
        lines.append(f"Recruiter's key   {LOCAL_API_KEY}")
    if has_demo:
        lines += [f"Demo interview    {DEMO_ID}", f"Join it           curl -X POST {address}/interviews/{DEMO_ID}/join"]
    return "\n" + "\n".join(lines) + "\n"
