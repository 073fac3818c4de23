"""Join policies: stricter ones of organizations, invites, wrong tries."""

import sqlalchemy as sa
from alembic import op

revision = "20261122_policies"
down_revision = "20261122_keys"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(  # with its check at once: it is a table of few rows
        "ALTER TABLE organizations ADD COLUMN join_policy varchar"
        " CONSTRAINT ck_organizations_join_policy CHECK (join_policy IN ('open', 'phone', 'invite'))"
    )
    op.add_column("interviews", sa.Column("invite_hash", sa.LargeBinary(), nullable=True))
    op.add_column("interviews", sa.Column("invite_expires_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("join_requests", sa.Column("address", sa.LargeBinary(), nullable=True))
    op.create_table(
        "wrong_tries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("interview_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["interview_id"], ["interviews.id"], name="fk_wrong_tries_interview_id_interviews"),
        sa.PrimaryKeyConstraint("id", name="pk_wrong_tries"),
    )
    op.create_index("ix_wrong_tries_interview_id_at", "wrong_tries", ["interview_id", "at"])


def downgrade() -> None:
    op.drop_table("wrong_tries")
    op.drop_column("join_requests", "address")
    op.drop_column("interviews", "invite_expires_at")
    op.drop_column("interviews", "invite_hash")
    op.drop_column("organizations", "join_policy")
