"""Lists and counts of a million interviews: counts kept by triggers, and what the planner needs to search well.

The indexes are built while the service goes on. For the counts, writers wait while the interviews are counted once: a
second for a million.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "20261125_scale"
down_revision = "20261122_key_lives"
branch_labels = None
depends_on = None

COUNT = """
    CREATE OR REPLACE FUNCTION count_interviews() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO count_changes (organization_id, job_post_id, status, number)
            SELECT organization_id, job_post_id, status, count(*) FROM added GROUP BY 1, 2, 3;
        ELSIF TG_OP = 'DELETE' THEN
            INSERT INTO count_changes (organization_id, job_post_id, status, number)
            SELECT organization_id, job_post_id, status, -count(*) FROM removed GROUP BY 1, 2, 3;
        ELSE
            INSERT INTO count_changes (organization_id, job_post_id, status, number)
            VALUES
                (OLD.organization_id, OLD.job_post_id, OLD.status, -1),
                (NEW.organization_id, NEW.job_post_id, NEW.status, 1);
        END IF;
        RETURN NULL;
    END
    $$
"""
TRIGGERS = {
    "count_added": "AFTER INSERT ON interviews REFERENCING NEW TABLE AS added FOR EACH STATEMENT",
    "count_removed": "AFTER DELETE ON interviews REFERENCING OLD TABLE AS removed FOR EACH STATEMENT",
    "count_moved": """
        AFTER UPDATE OF organization_id, job_post_id, status ON interviews FOR EACH ROW
        WHEN ((OLD.organization_id, OLD.job_post_id, OLD.status)
            IS DISTINCT FROM (NEW.organization_id, NEW.job_post_id, NEW.status))
    """,
}
COUNT_ALL = """
    INSERT INTO interview_counts (organization_id, job_post_id, status, number)
    SELECT organization_id, job_post_id, status, count(*) FROM interviews GROUP BY 1, 2, 3
"""


# Of an interview's join requests the issued tokens are looked for, however many were refused: by this one alone.
ANSWERS, INSTANTS = "ix_join_requests_interview_id_answer_at", "ix_join_requests_interview_id_at"
TO_COME = "ix_interviews_to_come"


def upgrade() -> None:
    # How common a word is decides whether the search walks the list or asks the trigrams: 100 samples can't tell.
    op.execute("ALTER TABLE interviews ALTER COLUMN search_text SET STATISTICS 500")
    with outside_a_transaction():
        op.execute("ANALYZE interviews")
        replace_index(ANSWERS, INSTANTS, "join_requests", ["interview_id", "answer", "at"])
        ready = sa.text("status = 'READY_TO_JOIN'")
        create_index(TO_COME, "interviews", ["organization_id", "job_post_id", "opens_at"], postgresql_where=ready)
    create_counts()


def downgrade() -> None:
    drop_counts()
    with outside_a_transaction():
        op.drop_index(TO_COME, "interviews", if_exists=True, postgresql_concurrently=True)
        replace_index(INSTANTS, ANSWERS, "join_requests", ["interview_id", "at"])
    op.execute("ALTER TABLE interviews ALTER COLUMN search_text SET STATISTICS -1")


@contextmanager
def outside_a_transaction() -> Iterator[None]:
    """Each statement commits by itself. Building an index waits for other transactions, and blocks nobody meanwhile."""
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = '15min'")
        yield
        op.execute("SET lock_timeout = '4s'")


def create_index(name: str, table: str, columns: list[str], **options: Any) -> None:
    # what a stopped run leaves is there, and not valid
    op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
    op.create_index(name, table, columns, if_not_exists=True, postgresql_concurrently=True, **options)


def replace_index(name: str, old: str, table: str, columns: list[str]) -> None:
    create_index(name, table, columns)
    op.drop_index(old, table, if_exists=True, postgresql_concurrently=True)


def create_counts() -> None:
    op.create_table(
        "interview_counts",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("job_post_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "job_post_id", "status", name="pk_interview_counts"),
    )
    op.create_table(
        "count_changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("job_post_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_count_changes"),
    )
    op.execute(COUNT)
    for name, when in TRIGGERS.items():
        op.execute(f"CREATE TRIGGER {name} {when} EXECUTE FUNCTION count_interviews()")
    op.execute(COUNT_ALL)
    op.execute("INSERT INTO ticks (name) VALUES ('fold_counts')")


def drop_counts() -> None:
    op.execute("DELETE FROM ticks WHERE name = 'fold_counts'")
    for name in TRIGGERS:
        op.execute(f"DROP TRIGGER {name} ON interviews")
    op.execute("DROP FUNCTION count_interviews")
    op.drop_table("count_changes")
    op.drop_table("interview_counts")
