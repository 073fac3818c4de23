"""Webhooks that `interviews doctor` waits for."""

import sqlalchemy as sa
from alembic import op

revision = "20261122_doctor"
down_revision = "20261122_policies"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "probes",
        sa.Column("room", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("arrived_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("room", name=op.f("pk_probes")),
    )


def downgrade() -> None:
    op.drop_table("probes")
