"""The second schema: which steps were stored before their candles closed, and when candles arrived.

Views are made anew after every migration, so the new view `arrivals`, the column `before_close` and the kind `late` of
the scores need no statement here.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change what is stored; SQLite keeps no comments."""
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column(
            "forecasts",
            "kind",
            existing_type=sa.Text(),
            existing_nullable=False,
            comment="live: made by a run for the newest candle; backfill: made later, for a past one",
        )
