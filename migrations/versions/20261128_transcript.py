"""Transcripts and checkpoints, which agents write while an interview runs. New tables only: older processes go on."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "20261128_transcript"
down_revision = "20261128_late_leaves"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "transcript_lines",
        sa.Column("interview_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("line_id", sa.Text(), nullable=False),
        sa.Column("speaker", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("said_at", INSTANT, nullable=False),
        sa.CheckConstraint("speaker IN ('agent', 'candidate')", name="ck_transcript_lines_speaker"),
        sa.PrimaryKeyConstraint("interview_id", "attempt", "position", name="pk_transcript_lines"),
        sa.UniqueConstraint(
            "interview_id", "attempt", "agent", "line_id", name="uq_transcript_lines_interview_id_attempt_agent_line_id"
        ),
        sa.ForeignKeyConstraint(
            ["interview_id"], ["interviews.id"], name="fk_transcript_lines_interview_id_interviews"
        ),
    )
    op.create_table(
        "checkpoints",
        sa.Column("interview_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("earlier_agents", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("state", JSONB(), nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("interview_id", name="pk_checkpoints"),
        sa.ForeignKeyConstraint(["interview_id"], ["interviews.id"], name="fk_checkpoints_interview_id_interviews"),
    )


def downgrade() -> None:
    op.drop_table("checkpoints")
    op.drop_table("transcript_lines")
