"""The worker: leases, what LiveKit answered when asked, what the service did, agents' reports, periodic tasks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261122_worker"
down_revision = "20261122_main_job"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ticks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("last_run", sa.DateTime(timezone=True), server_default=sa.text("to_timestamp(0)"), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_ticks"),
    )
    op.execute("INSERT INTO ticks (name) VALUES ('reconcile'), ('sweep'), ('audit')")
    op.create_table(
        "reports",
        sa.Column("interview_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("said_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_said_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint("outcome IN ('pending', 'completed', 'failed')", name="ck_reports_outcome"),
        sa.ForeignKeyConstraint(["interview_id"], ["interviews.id"], name="fk_reports_interview_id_interviews"),
        sa.PrimaryKeyConstraint("interview_id", "attempt", "outcome", name="pk_reports"),
    )
    op.add_column(
        "connections",
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.add_column("connections", sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("connections", sa.Column("missing_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("interviews", sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("interviews", sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("interviews", sa.Column("room_gone_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("interviews", sa.Column("dispatches", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("interviews", sa.Column("told", sa.Interval(), nullable=True))
    op.add_column("interviews", sa.Column("revivals", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column(
        "interviews", sa.Column("opened_by_join", sa.BigInteger(), server_default=sa.text("0"), nullable=False)
    )
    op.add_column("interviews", sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("interviews", sa.Column("failures", sa.BigInteger(), server_default=sa.text("0"), nullable=False))


def downgrade() -> None:
    op.drop_column("interviews", "failures")
    op.drop_column("interviews", "leased_until")
    op.drop_column("interviews", "opened_by_join")
    op.drop_column("interviews", "revivals")
    op.drop_column("interviews", "told")
    op.drop_column("interviews", "dispatches")
    op.drop_column("interviews", "room_gone_at")
    op.drop_column("interviews", "asked_at")
    op.drop_column("interviews", "cancelled_at")
    op.drop_column("connections", "missing_at")
    op.drop_column("connections", "seen_at")
    op.drop_column("connections", "recorded_at")
    op.drop_table("reports")
    op.drop_table("ticks")
