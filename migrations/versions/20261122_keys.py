"""API keys can be revoked."""

import sqlalchemy as sa
from alembic import op

revision = "20261122_keys"
down_revision = "20261122_search"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("api_keys", "revoked_at")
