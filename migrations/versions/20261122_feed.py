"""An interview's changes are found by their sequence: each takes its place in the feed after the one before."""

from alembic import op

revision = "20261122_feed"
down_revision = "20261122_dispatched_at"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("uq_changes_interview_id_sequence", "changes", ["interview_id", "sequence"], unique=True)


def downgrade() -> None:
    op.drop_index("uq_changes_interview_id_sequence", "changes")
