"""Finding interviews: the text that is searched, and an index for each filter.

The indexes are built while the service goes on. What an older process schedules after the backfill, before it is
replaced, is found by its filters, not by q.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op

from app.core.search_text import searchable

revision = "20261122_search"
down_revision = "20261122_webhooks"
branch_labels = None
depends_on = None

BATCH = 1000  # rows that are locked at once, for some tens of milliseconds
INDEXES = {
    "ix_interviews_organization_id_job_post_id_created_at_id": ["organization_id", "job_post_id", "created_at", "id"],
    "ix_interviews_organization_id_application_id": ["organization_id", "application_id"],
    "ix_interviews_organization_id_candidate_id": ["organization_id", "candidate_id"],
    "ix_interviews_organization_id_updated_at_id": ["organization_id", "updated_at", "id"],
    "ix_interviews_organization_id_opens_at": ["organization_id", "opens_at"],
    "ix_interviews_search_text": ["search_text"],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "ix_interviews_organization_id_opens_at": {"postgresql_where": sa.text("opens_at IS NOT NULL")},
    "ix_interviews_search_text": {"postgresql_using": "gin", "postgresql_ops": {"search_text": "gin_trgm_ops"}},
}


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.add_column(
        "interviews",
        sa.Column("search_text", sa.Text(), server_default=sa.text("''"), nullable=False),
        if_not_exists=True,  # a run that was stopped half-way is taken up again
    )
    with outside_a_transaction():
        backfill()
        for name, columns in INDEXES.items():
            # what a stopped run leaves is there, and not valid
            op.drop_index(name, "interviews", if_exists=True, postgresql_concurrently=True)
            op.create_index(
                name,
                "interviews",
                columns,
                if_not_exists=True,
                postgresql_concurrently=True,
                **OPTIONS.get(name, {}),
            )


def downgrade() -> None:
    """The extension stays: somebody else may use it."""
    with outside_a_transaction():
        for name in reversed(INDEXES):
            op.drop_index(name, "interviews", if_exists=True, postgresql_concurrently=True)
    op.drop_column("interviews", "search_text", if_exists=True)


@contextmanager
def outside_a_transaction() -> Iterator[None]:
    """Each statement commits by itself. Building an index waits for other transactions, and blocks nobody meanwhile."""
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = '15min'")
        yield
        op.execute("SET lock_timeout = '4s'")


def backfill() -> None:
    if op.get_context().as_sql:
        return  # the texts are folded by Python
    rows = sa.text(
        "SELECT id, participant_name, job_title, phone_number FROM interviews"
        " WHERE search_text = '' AND id > :last ORDER BY id LIMIT :batch"
    )
    fill = sa.text(
        "UPDATE interviews SET search_text = given.text"
        " FROM unnest(CAST(:ids AS uuid[]), CAST(:texts AS text[])) AS given (id, text)"
        " WHERE interviews.id = given.id AND search_text = ''"
    )
    last = uuid.UUID(int=0)
    while found := op.get_bind().execute(rows, {"last": last, "batch": BATCH}).all():
        texts = [
            searchable(participant_name=row.participant_name, job_title=row.job_title, phone_number=row.phone_number)
            for row in found
        ]
        op.get_bind().execute(fill, {"ids": [row.id for row in found], "texts": texts})
        last = found[-1].id
