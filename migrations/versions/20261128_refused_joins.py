"""Refused joins are counted by interview and minute, and no longer stored one by one.

An older process goes on storing them in join_requests, whose rows the timeline still shows.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261128_refused_joins"
down_revision = "20261128_search_words"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "refused_joins",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("interview_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["interview_id"], ["interviews.id"], name="fk_refused_joins_interview_id_interviews"),
        sa.PrimaryKeyConstraint("id", name="pk_refused_joins"),
        sa.UniqueConstraint(
            "interview_id", "minute", "attempt", "answer", name="uq_refused_joins_interview_id_minute_attempt_answer"
        ),
    )
    op.create_index("ix_refused_joins_minute", "refused_joins", ["minute"])
    op.execute("INSERT INTO ticks (name) VALUES ('prune_refused_joins') ON CONFLICT DO NOTHING")


def downgrade() -> None:
    op.execute("DELETE FROM ticks WHERE name = 'prune_refused_joins'")
    op.drop_table("refused_joins")
