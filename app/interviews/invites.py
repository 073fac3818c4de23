"""Invites: a secret in a link. Each interview has at most one; only its SHA-256 is stored."""

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
EXPIRES_AFTER_CLOSING = timedelta(minutes=30)  # as long as a failed interview may be joined again
EXPIRES_WITHOUT_CLOSING = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Invite:
    """A new invite. Its secret is shown once."""

    secret: str
    expires_at: datetime

    def link(self, interview: Interview, *, template: str | None) -> str | None:
        """Return the candidate's link, None without a template."""
        if template is None:
            return None
        return template.replace("{interviewId}", str(interview.id)).replace("{secret}", self.secret)


def invite(session: AsyncSession, *, interview: Interview, expires_at: datetime | None, now: datetime) -> Invite:
    """Create the locked interview's invite, and revoke the one before. Raises InterviewOver after any end but FAILED.

    It can be used until it expires: by default half an hour after closesAt, or in 30 days without closesAt.
    """
    if interview.status.is_terminal and interview.status is not Status.FAILED:
        sentence = "The interview is over. Reopen it before you invite the candidate."
        raise InterviewOver(sentence, interviewStatus=interview.status)
    if expires_at is None and interview.closes_at:
        expires_at = max(interview.closes_at, now) + EXPIRES_AFTER_CLOSING
    created = Invite(PREFIX + secrets.token_hex(SECRET), expires_at or now + EXPIRES_WITHOUT_CLOSING)
    interview.invite_hash = _hash(created.secret)
    interview.invite_expires_at = created.expires_at
    detail = {"expiresAt": rfc3339(created.expires_at)}
    session.add(TimelineEntry.about(interview, kind="call", name="invited", detail=detail))
    return created


def revoke_invite(session: AsyncSession, *, interview: Interview) -> None:
    """Revoke the locked interview's invite, if it has one."""
    if interview.invite_hash is None:
        return
    interview.invite_hash = interview.invite_expires_at = None
    session.add(TimelineEntry.about(interview, kind="call", name="invite_revoked", detail={}))


def is_invited(interview: Interview | JoinSnapshot, *, invite: str, now: datetime) -> bool:
    """Return whether this is the interview's invite and has not expired. Compares in constant time."""
    is_right = hmac.compare_digest(_hash(invite), interview.invite_hash or b"")
    return is_right and interview.invite_expires_at is not None and now < interview.invite_expires_at


def _hash(invite: str) -> bytes:
    # SHA-256 is enough for a long random secret; a caller's JSON may hold a lone surrogate
    return hashlib.sha256(invite.encode("utf-8", "surrogatepass")).digest()
