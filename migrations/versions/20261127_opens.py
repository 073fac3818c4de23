"""Lists of what opens before or after an instant, in the order of createdAt: an index that has both instants.

It is built while the service goes on.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261127_opens"
down_revision = "20261125_personal_data"
branch_labels = None
depends_on = None

INDEX = "ix_interviews_created_and_opens"


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = '15min'")
        # what a stopped run leaves is there, and not valid
        op.drop_index(INDEX, "interviews", if_exists=True, postgresql_concurrently=True)
        op.create_index(
            INDEX,
            "interviews",
            ["organization_id", "created_at", "opens_at"],
            if_not_exists=True,
            postgresql_using="gist",
            postgresql_where=sa.text("opens_at IS NOT NULL"),
            postgresql_concurrently=True,
        )
        op.execute("SET lock_timeout = '4s'")


def downgrade() -> None:
    """The extension stays: somebody else may use it."""
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = '15min'")
        op.drop_index(INDEX, "interviews", if_exists=True, postgresql_concurrently=True)
        op.execute("SET lock_timeout = '4s'")
