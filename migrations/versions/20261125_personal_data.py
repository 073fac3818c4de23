"""Personal data can be erased: when it was, whose retention is over, and which kept answers name an interview.

The indexes are built while the service goes on. Answers that an older process keeps after the backfill, before it is
replaced, are not found by an erasure; they are forgotten after a day.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "20261125_personal_data"
down_revision = "20261125_scale"
branch_labels = None
depends_on = None

INDEXES: dict[str, tuple[str, list[str], dict[str, Any]]] = {
    "ix_interviews_to_erase": (
        "interviews",
        ["ended_at", "id"],
        {"postgresql_where": sa.text("ended_at IS NOT NULL AND personal_data_erased_at IS NULL")},
    ),
    "ix_idempotency_keys_interview_ids": ("idempotency_keys", ["interview_ids"], {"postgresql_using": "gin"}),
}
# Answers of a day, which are JSON of ours: an id in a text that somebody wrote has a backslash before its quotes.
BACKFILL = """
    UPDATE idempotency_keys SET interview_ids = ARRAY(
        SELECT DISTINCT found[1]::uuid
        FROM regexp_matches(convert_from(body, 'UTF8'), '"interviewId":"([0-9a-f-]{36})"', 'g') AS found
    )
    WHERE interview_ids = '{}'
"""


def upgrade() -> None:
    op.add_column("interviews", sa.Column("personal_data_erased_at", sa.DateTime(timezone=True)), if_not_exists=True)
    op.add_column(
        "idempotency_keys",
        sa.Column("interview_ids", sa.ARRAY(sa.Uuid()), server_default=sa.text("'{}'"), nullable=False),
        if_not_exists=True,  # a run that was stopped half-way is taken up again
    )
    with outside_a_transaction():
        op.execute(BACKFILL)
        for name, (table, columns, options) in INDEXES.items():
            # what a stopped run leaves is there, and not valid
            op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
            op.create_index(name, table, columns, if_not_exists=True, postgresql_concurrently=True, **options)
        op.execute("INSERT INTO ticks (name) VALUES ('erase') ON CONFLICT DO NOTHING")


def downgrade() -> None:
    op.execute("DELETE FROM ticks WHERE name = 'erase'")
    with outside_a_transaction():
        for name, (table, _, _) in reversed(INDEXES.items()):
            op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
    op.drop_column("idempotency_keys", "interview_ids", if_exists=True)
    op.drop_column("interviews", "personal_data_erased_at", if_exists=True)


@contextmanager
def outside_a_transaction() -> Iterator[None]:
    """Each statement commits by itself. Building an index waits for other transactions, and blocks nobody meanwhile."""
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = '15min'")
        yield
        op.execute("SET lock_timeout = '4s'")
