"""Organizations may forbid that a join after a failure opens the next attempt.

The default is what the service did until now. An older process goes on doing that for every organization.
"""

from alembic import op

revision = "20261128_rejoin_after_failure"
down_revision = "20261127_timeline_names"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(  # with its check at once: it is a table of few rows
        "ALTER TABLE organizations ADD COLUMN rejoin_after_failure varchar DEFAULT 'always' NOT NULL"
        " CONSTRAINT ck_organizations_rejoin_after_failure"
        " CHECK (rejoin_after_failure IN ('always', 'before_start', 'never'))"
    )


def downgrade() -> None:
    op.drop_column("organizations", "rejoin_after_failure")
