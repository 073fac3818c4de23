"""Outgoing webhooks: endpoints, deliveries and what came of each try."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261122_webhooks"
down_revision = "20261122_idempotency"
branch_labels = None
depends_on = None


def _at(name: str, *, nullable: bool = False, now: bool = False) -> sa.Column[object]:
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.text("now()") if now else None, nullable=nullable
    )


def upgrade() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("event_types", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("previous_secret", sa.Text(), nullable=True),
        _at("previous_secret_until", nullable=True),
        _at("disabled_at", nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("failures", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        _at("failing_since", nullable=True),
        _at("paused_until", nullable=True),
        _at("deleted_at", nullable=True),
        _at("created_at", now=True),
        _at("updated_at", now=True),
        sa.CheckConstraint(
            "disabled_reason IN ('GONE', 'FAILING', 'MANUAL')", name="ck_webhook_endpoints_disabled_reason"
        ),
        sa.CheckConstraint("(disabled_at IS NULL) = (disabled_reason IS NULL)", name="ck_webhook_endpoints_disabled"),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name="fk_webhook_endpoints_organization_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_endpoints"),
    )
    op.create_index(
        "ix_webhook_endpoints_organization_id_created_at_id",
        "webhook_endpoints",
        ["organization_id", "created_at", "id"],
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("change_id", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), server_default=sa.text("'PENDING'"), nullable=False),
        _at("created_at"),
        _at("since"),
        sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        _at("next_attempt_at"),
        sa.Column("claim", sa.Uuid(), nullable=True),
        _at("claimed_at", nullable=True),
        _at("finished_at", nullable=True),
        sa.CheckConstraint("state IN ('PENDING', 'DELIVERED', 'FAILED')", name="ck_deliveries_state"),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["webhook_endpoints.id"], name="fk_deliveries_endpoint_id_webhook_endpoints"
        ),
        sa.ForeignKeyConstraint(["change_id"], ["changes.id"], name="fk_deliveries_change_id_changes"),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.UniqueConstraint("endpoint_id", "change_id", name="uq_deliveries_endpoint_id_change_id"),
    )
    op.create_index(
        "ix_deliveries_pending",
        "deliveries",
        ["endpoint_id", "next_attempt_at"],
        postgresql_where=sa.text("state = 'PENDING'"),
    )
    op.create_index(
        "ix_deliveries_finished_at",
        "deliveries",
        ["finished_at"],
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index("ix_deliveries_endpoint_id_created_at_id", "deliveries", ["endpoint_id", "created_at", "id"])
    op.create_table(
        "delivery_attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        _at("at"),
        sa.Column("duration", sa.Interval(), nullable=False),
        sa.Column("status_code", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["deliveries.id"],
            name="fk_delivery_attempts_delivery_id_deliveries",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_delivery_attempts"),
    )
    op.create_index("ix_delivery_attempts_delivery_id_at", "delivery_attempts", ["delivery_id", "at"])
    # Not CONCURRENTLY: that waits for a process that waits for this one's migration lock. The table is as new as this.
    op.create_index("ix_changes_organization_id_at", "changes", ["organization_id", "at"])
    op.execute("INSERT INTO ticks (name) VALUES ('prune_deliveries')")


def downgrade() -> None:
    op.execute("DELETE FROM ticks WHERE name = 'prune_deliveries'")
    op.drop_index("ix_changes_organization_id_at", "changes")
    op.drop_table("delivery_attempts")
    op.drop_table("deliveries")
    op.drop_table("webhook_endpoints")
