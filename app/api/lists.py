"""Finding and counting interviews."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from app.api.dependencies import Now, Reader, Session
from app.api.problems import error_responses
from app.api.schemas import Interview, InterviewPage
from app.api.types import AnyInstant, OpaqueId, Shape, Text
from app.core.errors import CursorInvalid, DatabaseUnavailable, MissingScope, PayloadInvalid, Unauthorized
from app.interviews.counts import CountQuery, Counts, JobPostPage, summarize, summarize_job_posts
from app.interviews.search import Filters, Sort, find_interviews
from app.lifecycle import PublicStatus

router = APIRouter(tags=["recruiter"])

CURSOR = "nextCursor of the page before, with the same filters and sort"


class InterviewQuery(Shape):
    """Which interviews, in which order. A parameter that is none of these is refused, or a typo would find all."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=False)

    status: list[PublicStatus] = Field(default=[], description="Several mean any of them")
    job_post_id: OpaqueId | None = None
    application_id: OpaqueId | None = None
    candidate_id: OpaqueId | None = None
    updated_since: AnyInstant | None = Field(default=None, description="Changed then or later")
    opens_before: AnyInstant | None = Field(default=None, description="opensAt is earlier; without one it does not fit")
    opens_after: AnyInstant | None = Field(default=None, description="opensAt is then or later")
    q: Text = Field(
        default="",
        max_length=200,
        description="Words of participantName and jobTitle, digits of phoneNumber, all of which are found in it; "
        "one or two letters have to begin a word. Case, "
        "accents, tashkeel and the variants of alef, hamza, yeh and teh marbuta make no difference, nor does the "
        "spelling of a phone number",
        examples=["+966 50-987", "أحمد developer"],
    )
    sort: Sort = Field(
        default=Sort.NEWEST,
        description="By createdAt a walk over the pages misses and repeats nothing, whatever changes. By updatedAt, "
        "ascending, an interview that changes during the walk comes again; -updatedAt is for people",
    )
    cursor: str | None = Field(default=None, max_length=200, description=CURSOR)
    limit: int = Field(default=50, ge=1, le=200)

    def filters(self) -> Filters:
        fields = self.model_dump(exclude={"status", "sort", "cursor", "limit"})
        return Filters(statuses=frozenset(self.status), **fields)


class SummaryQuery(Shape):
    """What is counted."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=False)

    job_post_id: OpaqueId | None = None
    updated_since: AnyInstant | None = Field(default=None, description="Changed then or later")
    by: Literal["jobPostId"] | None = Field(default=None, description="Count each job post as well")
    cursor: str | None = Field(default=None, max_length=200, description="nextCursor of the page before, of job posts")
    limit: int = Field(default=1000, ge=1, le=1000, description="Job posts a page")

    def filters(self) -> Filters:
        return Filters(job_post_id=self.job_post_id, updated_since=self.updated_since)


class JobPostSummary(Shape):
    """The interviews of one job post."""

    job_post_id: str
    total: int
    by_status: dict[PublicStatus, int]


class Summary(Shape):
    """How many interviews there are, by status as it is shown; each status is named, also with 0."""

    total: int
    by_status: dict[PublicStatus, int] = Field(examples=[dict.fromkeys(PublicStatus, 0) | {"IN_PROGRESS": 2}])
    by_job_post: list[JobPostSummary] | None = Field(
        description="With by=jobPostId: a page of job posts, in the order of their ids; total is of all of them"
    )
    next_cursor: str | None

    @classmethod
    def of(cls, counts: Counts, page: JobPostPage | None) -> "Summary":
        posts = page and [
            JobPostSummary(job_post_id=name, total=each.total, by_status=dict(each.by_status))
            for name, each in page.counts
        ]
        return cls(
            total=counts.total,
            by_status=dict(counts.by_status),
            by_job_post=posts,
            next_cursor=page and page.next_cursor,
        )


@router.get(
    "/interviews",
    operation_id="listInterviews",
    summary="Find interviews",
    responses=error_responses(Unauthorized, MissingScope, CursorInvalid, PayloadInvalid, DatabaseUnavailable),
)
async def list_page(
    caller: Reader, session: Session, now: Now, query: Annotated[InterviewQuery, Query()]
) -> InterviewPage:
    """To keep a copy up to date, walk with sort=updatedAt, and begin each further walk with updatedSince = the last
    updatedAt minus a minute: a change bears the instant at which its request came, and may be committed seconds later.
    """
    page = await find_interviews(
        session,
        organization_id=caller.organization_id,
        filters=query.filters(),
        sort=query.sort,
        cursor=query.cursor,
        limit=query.limit,
        now=now,
    )
    return InterviewPage(data=[Interview.of(view) for view in page.views], next_cursor=page.next_cursor)


@router.get(
    "/interviews/summary",
    operation_id="summarizeInterviews",
    summary="Count interviews by status, and by job post",
    responses=error_responses(Unauthorized, MissingScope, CursorInvalid, PayloadInvalid, DatabaseUnavailable),
)
async def summary(caller: Reader, session: Session, now: Now, query: Annotated[SummaryQuery, Query()]) -> Summary:
    asked = CountQuery(organization_id=caller.organization_id, filters=query.filters(), now=now)
    counts = await summarize(session, asked)
    page = await summarize_job_posts(session, asked, cursor=query.cursor, limit=query.limit) if query.by else None
    return Summary.of(counts, page)
