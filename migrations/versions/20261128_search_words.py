"""Words with apostrophes or hyphens are found in parts and in one, phone numbers with and without the mobile digit.

Existing rows get the new search text in batches, each its own transaction, while the service goes on. The words stay as
before beside it, so an older process finds them. What an older process schedules after the batches, before it is
replaced, is not found by a word with an apostrophe.
"""

import uuid

import sqlalchemy as sa
from alembic import op

from app.core.search_text import searchable

revision = "20261128_search_words"
down_revision = "20261128_rejoin_after_failure"
branch_labels = None
depends_on = None

BATCH = 1000  # rows that are read at once; those that change are locked for some tens of milliseconds
ROWS = sa.text(
    "SELECT id, participant_name, job_title, phone_number, search_text FROM interviews"
    " WHERE id > :last ORDER BY id LIMIT :batch"
)
# A row that was edited meanwhile has the text of its editor.
REPLACE = sa.text(
    "UPDATE interviews SET search_text = given.text"
    " FROM unnest(CAST(:ids AS uuid[]), CAST(:olds AS text[]), CAST(:texts AS text[])) AS given (id, old, text)"
    " WHERE interviews.id = given.id AND interviews.search_text = given.old"
)


def upgrade() -> None:
    """Run again, it changes nothing."""
    if op.get_context().as_sql:
        return  # the texts are folded by Python
    with op.get_context().autocommit_block():
        last = uuid.UUID(int=0)
        while rows := op.get_bind().execute(ROWS, {"last": last, "batch": BATCH}).all():
            texts = {row.id: (row.search_text, _search_text(row)) for row in rows}
            changed = {id_: pair for id_, pair in texts.items() if pair[0] != pair[1]}
            if changed:
                olds, news = zip(*changed.values(), strict=True)
                op.get_bind().execute(REPLACE, {"ids": list(changed), "olds": list(olds), "texts": list(news)})
            last = rows[-1].id


def downgrade() -> None:
    """Nothing to do: the words as they were are still there."""


def _search_text(row: sa.Row[tuple[uuid.UUID, str, str, str, str]]) -> str:
    return searchable(participant_name=row.participant_name, job_title=row.job_title, phone_number=row.phone_number)
