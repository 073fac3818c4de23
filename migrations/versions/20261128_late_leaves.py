"""When the webhook of a leave was recorded: a late one can amend the end of an attempt.

Leaves that are stored already, and those that an older process stores, have none. They amend nothing, so what was
decided stays as it is.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261128_late_leaves"
down_revision = "20261128_refused_joins"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("connections", sa.Column("left_recorded_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("connections", "left_recorded_at")
