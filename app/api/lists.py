"""Listing and counting interviews."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from app.api.dependencies import Now, Reader, Session
from app.api.routes import ApiRoute
from app.api.schemas import Interview, InterviewPage
from app.api.types import AnyInstant, OpaqueId, Shape, Text
from app.core.pagination import Page
from app.interviews.counts import CountQuery, Counts, JobPostCounts, summarize, summarize_job_posts
from app.interviews.search import Filters, Sort, find_interviews
from app.lifecycle import PublicStatus

router = APIRouter(route_class=ApiRoute, tags=["recruiter"])


class InterviewQuery(Shape, populate_by_name=False):
    """Filters and order."""

    status: list[PublicStatus] = Field(default=[], description="Repeat the parameter to match any of several")
    job_post_id: OpaqueId | None = None
    application_id: OpaqueId | None = None
    candidate_id: OpaqueId | None = None
    updated_since: AnyInstant | None = Field(default=None, description="Changed at or after this time")
    opens_before: AnyInstant | None = Field(
        default=None, description="opensAt is before this time; excludes interviews without opensAt"
    )
    opens_after: AnyInstant | None = Field(default=None, description="opensAt is at or after this time")
    q: Text = Field(
        default="",
        max_length=200,
        description="Words of participantName or jobTitle, or digits of phoneNumber. All must match; terms of one or "
        "two letters match only the beginning of a word. Ignores case, accents, tashkeel, the variants of alef, hamza, "
        "yeh and teh marbuta, apostrophes and hyphens inside of words, and the formatting of phone numbers",
        examples=["+966 50-987", "أحمد developer"],
    )
    sort: Sort = Field(
        default=Sort.NEWEST,
        description="createdAt: paging never misses or repeats an interview. updatedAt: an interview that changes "
        "while you page is listed again. -updatedAt: for display only",
    )
    cursor: str | None = Field(
        default=None, max_length=200, description="nextCursor of the previous page, with the same filters and sort"
    )
    limit: int = Field(default=50, ge=1, le=200)

    def filters(self) -> Filters:
        fields = self.model_dump(exclude={"status", "sort", "cursor", "limit"})
        return Filters(statuses=frozenset(self.status), **fields)


class SummaryQuery(Shape, populate_by_name=False):
    """Which interviews to count."""

    job_post_id: OpaqueId | None = None
    updated_since: AnyInstant | None = Field(default=None, description="Changed at or after this time")
    by: Literal["jobPostId"] | None = Field(default=None, description="Also count per job post")
    cursor: str | None = Field(default=None, max_length=200, description="nextCursor of the previous page of job posts")
    limit: int = Field(default=1000, ge=1, le=1000, description="Job posts per page")


class JobPostSummary(Shape):
    """The interviews of one job post."""

    job_post_id: str
    total: int
    by_status: dict[PublicStatus, int]


class Summary(Shape):
    """The number of interviews in total and by status. Every status is listed, even with 0."""

    total: int
    by_status: dict[PublicStatus, int] = Field(examples=[dict.fromkeys(PublicStatus, 0) | {"IN_PROGRESS": 2}])
    by_job_post: list[JobPostSummary] | None = Field(
        description="With by=jobPostId: a page of job posts, sorted by id; total counts all of them"
    )
    next_cursor: str | None

    @classmethod
    def of(cls, counts: Counts, page: Page[JobPostCounts] | None) -> "Summary":
        posts = page and [JobPostSummary.copy_of(counted, job_post_id=name) for name, counted in page.items]
        return cls.copy_of(counts, by_job_post=posts, next_cursor=page and page.next_cursor)


@router.get("/interviews", operation_id="listInterviews", summary="List interviews")
async def list_page(
    caller: Reader, session: Session, now: Now, query: Annotated[InterviewQuery, Query()]
) -> InterviewPage:
    """To keep a copy in sync, page with sort=updatedAt, and start each further run at the last updatedAt minus a minute
    (updatedSince): a change has the time of its request, and may be committed seconds later.
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
    return InterviewPage(data=[Interview.of(view) for view in page.items], next_cursor=page.next_cursor)


@router.get(
    "/interviews/summary", operation_id="summarizeInterviews", summary="Count interviews by status and by job post"
)
async def summary(caller: Reader, session: Session, now: Now, query: Annotated[SummaryQuery, Query()]) -> Summary:
    asked = CountQuery(
        organization_id=caller.organization_id,
        job_post_id=query.job_post_id,
        updated_since=query.updated_since,
        now=now,
    )
    counts = await summarize(session, asked)
    page = await summarize_job_posts(session, asked, cursor=query.cursor, limit=query.limit) if query.by else None
    return Summary.of(counts, page)
