"""Invites: a secret in a link, of which only the SHA-256 is stored. Each interview has one at most."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import InterviewOver
from app.core.timestamps import rfc3339
from app.interviews.join_queries import JoinSnapshot
from app.lifecycle import Status
from app.models import Interview, TimelineEntry

PREFIX = "inv_"
SECRET = 20  # random bytes
AFTER_CLOSING = timedelta(minutes=30)  # as long as an interview that failed may be tried again
WITHOUT_CLOSING = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Invite:
    """An invite as it is told once: its secret is never known again."""

    secret: str
    expires_at: datetime

    def link(self, interview: Interview, *, template: str | None) -> str | None:
        """Return the link for the candidate. The secret stands in its fragment, which browsers send to no server."""
        if template is None:
            return None
        return template.replace("{interviewId}", str(interview.id)).replace("{secret}", self.secret)


def invite(session: AsyncSession, *, interview: Interview, expires_at: datetime | None, now: datetime) -> Invite:
    """Make the locked interview's invite; the one before is revoked by it. Raises InterviewOver, unless it FAILED.

    It may be used again and again until it expires: by default half an hour after closesAt, without that in 30 days.
    """
    if interview.status.is_terminal and interview.status is not Status.FAILED:
        raise InterviewOver("It has ended: open it again before you invite.", interviewStatus=interview.status)
    made = Invite(PREFIX + secrets.token_hex(SECRET), expires_at or _default_expiry(interview, now))
    interview.invite_hash = _hash(made.secret)
    interview.invite_expires_at = made.expires_at
    session.add(_entry(interview, "invited", expiresAt=rfc3339(made.expires_at)))
    return made


def revoke_invite(session: AsyncSession, *, interview: Interview) -> None:
    """Revoke the locked interview's invite, if it has one."""
    if interview.invite_hash is None:
        return
    interview.invite_hash = interview.invite_expires_at = None
    session.add(_entry(interview, "invite_revoked"))


def is_invited(interview: Interview | JoinSnapshot, *, invite: str, now: datetime) -> bool:
    """Tell whether this is the interview's invite and has not expired; in constant time."""
    is_right = hmac.compare_digest(_hash(invite), interview.invite_hash or b"")
    return is_right and interview.invite_expires_at is not None and now < interview.invite_expires_at


def _default_expiry(interview: Interview, now: datetime) -> datetime:
    if interview.closes_at is None:
        return now + WITHOUT_CLOSING
    return max(interview.closes_at, now) + AFTER_CLOSING


def _entry(interview: Interview, name: str, **detail: str) -> TimelineEntry:
    return TimelineEntry.about(interview, kind="call", name=name, detail=detail)


def _hash(invite: str) -> bytes:
    """SHA-256 is enough, as the secret is random and long. A caller's JSON may spell half a character."""
    return hashlib.sha256(invite.encode("utf-8", "surrogatepass")).digest()
