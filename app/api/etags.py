"""ETag and If-Match: an edit is refused if the interview has changed since the caller read it."""

import re
from collections.abc import Set
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from app import models
from app.api.schemas import Interview
from app.interviews.queries import views_of

TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
TAGS = re.compile(rf"[ \t,]*{TAG}(?:[ \t]*,[ \t,]*{TAG})*[ \t,]*")
SEQUENCES = re.compile(r'(?<!W/)"([0-9]{1,18})"')

ETAG: dict[str, Any] = {
    "headers": {
        "ETag": {
            "description": "The interview's version, for If-Match",
            "schema": {"type": "string", "examples": ['"7"']},
        }
    }
}
"""A response with the header, for FastAPI's `responses`."""


def etag_of(interview: models.Interview) -> str:
    """Return the entity tag, made of the sequence: it counts the changes of details and status."""
    return f'"{interview.sequence}"'


async def with_etag_header(
    response: Response, session: AsyncSession, *, interview: models.Interview, now: datetime
) -> Interview:
    """Return the interview for the response, and set its ETag header."""
    response.headers["ETag"] = etag_of(interview)
    return Interview.of((await views_of(session, interviews=[interview], now=now))[0])


async def expected_sequences(
    request: Request,
    _: Annotated[
        str | None,
        Header(
            alias="If-Match",
            description="The ETag of your last read (or several, or *). If the interview has changed since: 412",
            examples=['"7"'],
        ),
    ] = None,
) -> Set[int] | None:
    """Return the sequences that If-Match names, or None if any will do.

    Weak tags and tags in another format match nothing (RFC 9110, 13.1.1).
    """
    header = ",".join(request.headers.getlist("If-Match"))
    if "If-Match" not in request.headers or header.strip() == "*":
        return None
    if not TAGS.fullmatch(header):
        message = 'must be * or entity tags in double quotes, separated by commas, such as "7"'
        raise RequestValidationError([{"loc": ("header", "If-Match"), "msg": message, "type": "value_error"}])
    return {int(number) for number in SEQUENCES.findall(header)}


Expected = Annotated[Set[int] | None, Depends(expected_sequences)]
