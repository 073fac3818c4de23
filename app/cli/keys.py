"""interviews keys create | list | revoke."""

import argparse
import re
import sys
import uuid
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.api_keys import BOOTSTRAP_KEY_NAME, Scope, create_key, list_keys, revoke_key
from app.cli.output import print_json, print_line, print_table
from app.cli.runtime import Commands, Sessions, fail, instant, visible_text, with_sessions
from app.core.database import transaction
from app.core.settings import DatabaseSettings, Settings
from app.interviews.schedule import DEFAULT_ORGANIZATION, ensure_organization
from app.models import ApiKey, Organization

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def add_commands(commands: Commands) -> None:
    group = commands.add_parser("keys", help="API keys: create, list, revoke").add_subparsers(required=True)
    create_ = group.add_parser("create", help="create a key; it is shown only once")
    create_.add_argument("name", type=visible_text, help="a name for the key, unique over all organizations")
    scopes = [scope.value for scope in Scope]
    help_ = "what it may do; may be repeated"
    create_.add_argument("--scope", action="append", required=True, choices=scopes, help=help_)
    expiry = create_.add_mutually_exclusive_group()
    expiry.add_argument("--expires-in", type=duration, metavar="90d", help="minutes, hours, days or weeks: m, h, d, w")
    expiry.add_argument(
        "--expires-at", type=instant, metavar="2027-01-31", help="a time, in UTC if it has no time zone"
    )
    create_.add_argument("--create", action="store_true", help="create the organization if it does not exist")
    create_.set_defaults(run=create)
    list_ = group.add_parser("list", help="list the keys, without their secrets")
    list_.set_defaults(run=list_all)
    revoke_ = group.add_parser("revoke", help="revoke a key, effective at once")
    revoke_.add_argument("key", metavar="ID", help="its id or its name")
    revoke_.set_defaults(run=revoke)
    for command, default in ((create_, DEFAULT_ORGANIZATION), (list_, None)):
        help_ = f"the organization (default: {repr(default) if default else 'all of them'})"
        command.add_argument("--organization", type=visible_text, default=default, metavar="NAME", help=help_)
    for command in (create_, list_, revoke_):
        command.add_argument("--json", action="store_true", help="one line of JSON per key")
        command.set_defaults(makes_database=False, settings=DatabaseSettings)


def create(_: Settings, url: str, arguments: argparse.Namespace) -> None:
    """Create a key and show it; exit 1 if the name is taken or the organization unknown."""
    if arguments.name == BOOTSTRAP_KEY_NAME:
        fail(f"The name '{BOOTSTRAP_KEY_NAME}' belongs to BOOTSTRAP_API_KEY. Choose another name.")
    now = datetime.now(UTC)
    expires_at = _expiry(arguments, now)

    async def make(sessions: Sessions) -> tuple[ApiKey, str] | None:
        async with transaction(sessions) as session:
            if arguments.create:
                organization_id = await ensure_organization(session, name=arguments.organization)
            else:
                organization_id = await find_organization(session, arguments.organization)
            return await create_key(
                session,
                organization_id=organization_id,
                name=arguments.name,
                scopes=sorted(set(arguments.scope)),
                now=now,
                expires_at=expires_at,
            )

    made = with_sessions(url, make)
    if made is None:
        fail(f"A key named '{arguments.name}' exists. Choose another name; revoked keys keep theirs.")
    row, key = made
    if arguments.json:
        print_json(_as_dict(row, arguments.organization) | {"key": key})
        return
    print_line(key)
    hint = f"The key is shown only this once. To revoke it: interviews keys revoke {row.short_id}"
    print(hint, file=sys.stderr)  # standard output has the key alone, for scripts


def list_all(_: Settings, url: str, arguments: argparse.Namespace) -> None:
    """List the keys, oldest first."""

    async def read(sessions: Sessions) -> list[tuple[ApiKey, str]]:
        async with transaction(sessions) as session:
            named = arguments.organization
            organization_id = await find_organization(session, named) if named is not None else None
            return list(await list_keys(session, organization_id=organization_id))

    found = with_sessions(url, read)
    if arguments.json:
        for row, organization in found:
            print_json(_as_dict(row, organization))
        return
    columns = ("ID", "NAME", "ORGANIZATION", "SCOPES", "CREATED", "LAST USED", "EXPIRES", "REVOKED")
    print_table(columns, (_as_dict(row, organization).values() for row, organization in found))


def revoke(_: Settings, url: str, arguments: argparse.Namespace) -> None:
    """Revoke a key; exit 1 if it does not exist."""

    async def end(sessions: Sessions) -> tuple[ApiKey, str] | None:
        async with transaction(sessions) as session:
            found = await revoke_key(session, which=arguments.key, now=datetime.now(UTC))
            return (found, (await session.get_one(Organization, found.organization_id)).name) if found else None

    found = with_sessions(url, end)
    if found is None:
        fail(f"No key has the id or name '{arguments.key}'. 'interviews keys list' shows them.")
    row, organization = found
    if arguments.json:
        print_json(_as_dict(row, organization))
        return
    print_line(f"The key {row.short_id} ({row.name}) of {organization} was revoked at {row.revoked_at:%F %T}Z.")


async def find_organization(session: AsyncSession, name: str) -> uuid.UUID:
    """Return the organization's id; exit 1 with the existing names if it does not exist."""
    found = await session.scalar(select(Organization.id).where(Organization.name == name))
    if found is None:
        names = (await session.scalars(select(Organization.name).order_by(Organization.name).limit(20))).all()
        fail(f"No organization is named '{name}'. Existing: {', '.join(names) or 'none yet'}.")
    return found


def duration(given: str) -> timedelta:
    """Parse 90m, 12h, 90d or 6w."""
    read = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", given)
    if read is None:
        raise argparse.ArgumentTypeError(f"write 90m, 12h, 90d or 6w, not '{given}'")
    return timedelta(**{UNITS[read[2]]: int(read[1])})


def _expiry(arguments: argparse.Namespace, now: datetime) -> datetime | None:
    """Return when the key expires, None for never; exit 1 if that has passed."""
    try:
        expires_at: datetime | None = now + arguments.expires_in if arguments.expires_in else arguments.expires_at
    except OverflowError:
        fail("--expires-in is too long. Leave it out for a key that does not expire.")
    if expires_at and expires_at <= now:
        fail(f"--expires-at: {expires_at:%F %T %Z} has passed. Give a time in the future.")
    return expires_at


def _as_dict(row: ApiKey, organization: str) -> dict[str, object]:
    return {
        "id": row.short_id,
        "name": row.name,
        "organization": organization,
        "scopes": row.scopes,
        "createdAt": row.created_at,
        "lastUsedAt": row.last_used_at,
        "expiresAt": row.expires_at,
        "revokedAt": row.revoked_at,
    }
