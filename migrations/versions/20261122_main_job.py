"""The main job: organizations, keys, interviews, and the facts about them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261122_main_job"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "organizations",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("company_name", sa.Text(), nullable=False),
        sa.Column("instructions_template", sa.Text(), nullable=False),
        sa.Column("max_duration", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_organizations"),
        sa.UniqueConstraint("name", name="uq_organizations_name"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name="fk_api_keys_organization_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("key_hash", name="uq_api_keys_key_hash"),
        sa.UniqueConstraint("name", name="uq_api_keys_name"),
    )
    op.create_index("ix_api_keys_organization_id", "api_keys", ["organization_id"])
    op.create_table(
        "interviews",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("candidate_id", sa.Text(), nullable=False),
        sa.Column("application_id", sa.Text(), nullable=False),
        sa.Column("job_post_id", sa.Text(), nullable=False),
        sa.Column("participant_name", sa.Text(), nullable=False),
        sa.Column("phone_number", sa.Text(), nullable=False),
        sa.Column("job_title", sa.Text(), nullable=False),
        sa.Column("company_name", sa.Text(), nullable=False),
        sa.Column("instructions", sa.Text(), nullable=False),
        sa.Column("max_duration", sa.BigInteger(), nullable=False),
        sa.Column("opens_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closes_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempt", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("status", sa.String(), server_default=sa.text("'READY_TO_JOIN'"), nullable=False),
        sa.Column("end_reason", sa.String(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("talk_time", sa.Interval(), server_default=sa.text("'0'"), nullable=False),
        sa.Column("talking_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_cause", sa.Text(), nullable=True),
        sa.Column("decided_status", sa.String(), nullable=True),
        sa.Column("decided_end_reason", sa.String(), nullable=True),
        sa.Column("next_deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "end_reason IN ('AGENT_REPORTED', 'AGENT_LEFT', 'ROOM_DELETED', 'MAX_DURATION_REACHED', 'CANDIDATE_LEFT',"
            " 'AGENT_UNAVAILABLE', 'CONNECTION_LOST', 'CANDIDATE_CONNECTION_FAILED', 'LEFT_BEFORE_START')",
            name="ck_interviews_end_reason",
        ),
        sa.CheckConstraint(
            "status IN ('READY_TO_JOIN', 'WAITING_FOR_AGENT', 'IN_PROGRESS', 'RECONNECTING',"
            " 'COMPLETED', 'ABANDONED', 'FAILED', 'NO_SHOW', 'CANCELLED')",
            name="ck_interviews_status",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name="fk_interviews_organization_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_interviews"),
    )
    op.create_index(
        "ix_interviews_live",
        "interviews",
        ["id"],
        postgresql_where=sa.text("status IN ('WAITING_FOR_AGENT', 'IN_PROGRESS', 'RECONNECTING')"),
    )
    op.create_index(
        "ix_interviews_next_deadline_at",
        "interviews",
        ["next_deadline_at"],
        postgresql_where=sa.text("next_deadline_at IS NOT NULL"),
    )
    op.create_index(
        "ix_interviews_organization_id_created_at_id", "interviews", ["organization_id", "created_at", "id"]
    )
    op.create_index(
        "ix_interviews_organization_id_status_created_at_id",
        "interviews",
        ["organization_id", "status", "created_at", "id"],
    )
    op.create_table(
        "connections",
        sa.Column("interview_id", sa.Uuid(), nullable=False),
        sa.Column("sid", sa.Text(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("room_sid", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("joined_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("joined_order", sa.BigInteger(), nullable=False),
        sa.Column("left_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("left_order", sa.BigInteger(), nullable=True),
        sa.Column("leave_reason", sa.Text(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.CheckConstraint("outcome IN ('pending', 'completed', 'failed')", name="ck_connections_outcome"),
        sa.CheckConstraint("role IN ('CANDIDATE', 'AGENT', 'OTHER')", name="ck_connections_role"),
        sa.ForeignKeyConstraint(["interview_id"], ["interviews.id"], name="fk_connections_interview_id_interviews"),
        sa.PrimaryKeyConstraint("interview_id", "sid", name="pk_connections"),
    )
    op.create_table(
        "join_requests",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("interview_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["interview_id"], ["interviews.id"], name="fk_join_requests_interview_id_interviews"),
        sa.PrimaryKeyConstraint("id", name="pk_join_requests"),
    )
    op.create_index("ix_join_requests_interview_id_at", "join_requests", ["interview_id", "at"])
    op.create_table(
        "rooms",
        sa.Column("interview_id", sa.Uuid(), nullable=False),
        sa.Column("sid", sa.Text(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("missing_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["interview_id"], ["interviews.id"], name="fk_rooms_interview_id_interviews"),
        sa.PrimaryKeyConstraint("interview_id", "sid", name="pk_rooms"),
    )
    op.create_index(
        "ix_rooms_open",
        "rooms",
        ["interview_id"],
        postgresql_where=sa.text("ended_at IS NULL AND missing_at IS NULL"),
    )
    op.create_table(
        "timeline",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("interview_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("livekit_event_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["interview_id"], ["interviews.id"], name="fk_timeline_interview_id_interviews"),
        sa.PrimaryKeyConstraint("id", name="pk_timeline"),
        sa.UniqueConstraint("livekit_event_id", name="uq_timeline_livekit_event_id"),
    )
    op.create_index("ix_timeline_interview_id_id", "timeline", ["interview_id", "id"])


def downgrade() -> None:
    op.drop_index("ix_timeline_interview_id_id", table_name="timeline")
    op.drop_table("timeline")
    op.drop_index(
        "ix_rooms_open", table_name="rooms", postgresql_where=sa.text("ended_at IS NULL AND missing_at IS NULL")
    )
    op.drop_table("rooms")
    op.drop_index("ix_join_requests_interview_id_at", table_name="join_requests")
    op.drop_table("join_requests")
    op.drop_table("connections")
    op.drop_index("ix_interviews_organization_id_status_created_at_id", table_name="interviews")
    op.drop_index("ix_interviews_organization_id_created_at_id", table_name="interviews")
    op.drop_index(
        "ix_interviews_live",
        table_name="interviews",
        postgresql_where=sa.text("status IN ('WAITING_FOR_AGENT', 'IN_PROGRESS', 'RECONNECTING')"),
    )
    op.drop_index(
        "ix_interviews_next_deadline_at",
        table_name="interviews",
        postgresql_where=sa.text("next_deadline_at IS NOT NULL"),
    )
    op.drop_table("interviews")
    op.drop_index("ix_api_keys_organization_id", table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_table("organizations")
