"""When an agent was last dispatched: a dispatch answers a loss that was before it."""

import sqlalchemy as sa
from alembic import op

revision = "20261122_dispatched_at"
down_revision = "20261122_changes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("interviews", sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE interviews SET dispatched_at = now() WHERE dispatches > 0 AND ended_at IS NULL")


def downgrade() -> None:
    op.drop_column("interviews", "dispatched_at")
