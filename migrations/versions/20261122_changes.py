"""Changes that callers are told of, and the private context."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261122_changes"
down_revision = "20261122_worker"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "interviews", sa.Column("context", postgresql.JSONB(astext_type=sa.Text(), none_as_null=True), nullable=True)
    )
    op.add_column("interviews", sa.Column("sequence", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.create_table(
        "changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("xid", sa.BigInteger(), server_default=sa.text("pg_current_xact_id()::text::bigint"), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("interview_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("previous_status", sa.Text(), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["interview_id"], ["interviews.id"], name="fk_changes_interview_id_interviews"),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name="fk_changes_organization_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_changes"),
    )
    op.create_index("ix_changes_organization_id_xid_id", "changes", ["organization_id", "xid", "id"])


def downgrade() -> None:
    op.drop_table("changes")
    op.drop_column("interviews", "sequence")
    op.drop_column("interviews", "context")
