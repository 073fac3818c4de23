"""Timeline entries get the names that the documentation uses: postponed, not put_off.

Existing rows are renamed in batches, each its own transaction: the table is large, and the service keeps running. Rows
that an older process writes after that keep the old name, and the timeline shows the name as it is.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261127_timeline_names"
down_revision = "20261127_opens"
branch_labels = None
depends_on = None

BATCH = 20_000  # ids looked at per statement
RENAMED = {
    ("service", "put_off"): "postponed",
    ("service", "time_told"): "time_left_announced",
    ("livekit", "asked"): "room_checked",
    ("status", "opened_again"): "attempt_opened",
    ("status", "nobody_yet"): "nobody_connected",
}


def upgrade() -> None:
    rename(RENAMED)


def downgrade() -> None:
    rename({(kind, new): old for (kind, old), new in RENAMED.items()})


def rename(names: dict[tuple[str, str], str]) -> None:
    """Rename by ranges of the primary key: no index covers names. Run again, it does nothing."""
    if op.get_context().as_sql:
        return  # the ranges depend on the data
    update = sa.text(
        "UPDATE timeline SET name = renamed.new"
        " FROM unnest(CAST(:kinds AS text[]), CAST(:olds AS text[]), CAST(:news AS text[])) AS renamed (kind, old, new)"
        " WHERE timeline.id BETWEEN :first AND :last AND timeline.kind = renamed.kind AND timeline.name = renamed.old"
    )
    parameters = {
        "kinds": [kind for kind, _ in names],
        "olds": [old for _, old in names],
        "news": list(names.values()),
    }
    with op.get_context().autocommit_block():
        newest = op.get_bind().scalar(sa.text("SELECT coalesce(max(id), 0) FROM timeline"))
        for first in range(1, newest + 1, BATCH):
            op.get_bind().execute(update, parameters | {"first": first, "last": first + BATCH - 1})
