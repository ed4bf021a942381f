"""The second schema: steps stored before their candles closed, arrivals, set-aside rows once, and demotions.

Views are made anew after every migration, so the new view `arrivals`, the column `before_close` and the kind `late` of
the scores need no statement here.
"""

import sqlalchemy as sa
from alembic import op

from storage.database.times import UtcDateTime

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
        op.create_table_comment(
            "model_versions",
            "one row a trained model, weights included (up to 0.5 MB); lineage rows are never deleted",
        )
    _keep_each_row_of_quarantine_once()
    _allow_demotions()


def _keep_each_row_of_quarantine_once() -> None:
    precise = UtcDateTime(precise=True)
    same = "s.series = q.series AND s.raw_text = q.raw_text"
    rows = (
        "SELECT q.id, q.download, q.series, q.line_number, q.raw_text, q.reason, "
        f"(SELECT min(s.created_at) FROM quarantine s WHERE {same}) AS created_at, q.created_at AS last_seen_at "
        "FROM quarantine q WHERE q.id IN (SELECT max(id) FROM quarantine GROUP BY series, raw_text)"
    )
    if op.get_bind().dialect.name == "sqlite":
        # SQLite cannot add a column without a value: the table is made anew.
        op.execute(f"CREATE TABLE quarantine_before AS {rows}")
        op.drop_table("quarantine")
        op.create_table(
            "quarantine",
            sa.Column("id", sa.Integer(), nullable=False),
            sa.Column("download", sa.Integer(), nullable=False),
            sa.Column("series", sa.Text(), nullable=False),
            sa.Column("line_number", sa.Integer(), nullable=False),
            sa.Column("raw_text", sa.Text(), nullable=False),
            sa.Column("reason", sa.Text(), nullable=False),
            sa.Column("created_at", precise, nullable=False),
            sa.Column("last_seen_at", precise, nullable=False),
            sa.ForeignKeyConstraint(["download"], ["downloads.id"], name=op.f("fk_quarantine_download_downloads")),
            sa.ForeignKeyConstraint(["series"], ["series.name"], name=op.f("fk_quarantine_series_series")),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
        )
        op.create_index(op.f("ix_quarantine_download"), "quarantine", ["download"], unique=False)
        op.create_index(op.f("ix_quarantine_series"), "quarantine", ["series"], unique=False)
        op.execute("INSERT INTO quarantine SELECT * FROM quarantine_before")
        op.drop_table("quarantine_before")
    else:
        op.add_column("quarantine", sa.Column("last_seen_at", precise, nullable=True, comment="when it was last seen"))
        op.execute(
            "UPDATE quarantine SET created_at = kept.created_at, last_seen_at = kept.last_seen_at "
            f"FROM ({rows}) kept WHERE kept.id = quarantine.id"
        )
        op.execute("DELETE FROM quarantine WHERE last_seen_at IS NULL")
        op.alter_column("quarantine", "last_seen_at", existing_type=precise, nullable=False)
    op.create_index("uq_quarantine_series_raw_text", "quarantine", ["series", "raw_text"], unique=True)
    if op.get_bind().dialect.name == "postgresql":
        for name, kind, comment in (
            ("download", sa.BigInteger(), "the newest fetch that brought it"),
            ("line_number", sa.Integer(), "line in that file, from 1"),
            ("raw_text", sa.Text(), "the line as it came, cut to 500 characters"),
            ("created_at", precise, "when it was first seen"),
        ):
            op.alter_column("quarantine", name, existing_type=kind, existing_nullable=False, comment=comment)
        op.create_table_comment("quarantine", "rows of files that are no candles, each once; few, nothing is lost")


def _allow_demotions() -> None:
    """Let a decision's outcome be `demoted`; SQLite cannot change a check, so the table is made anew with its rows."""
    outcomes = "outcome IN ('promoted', 'kept', 'rolled_back'{})"
    conn = op.get_bind()
    if conn.dialect.name == "postgresql":
        op.drop_constraint(op.f("ck_promotions_outcome"), "promotions", type_="check")
        op.create_check_constraint(op.f("ck_promotions_outcome"), "promotions", outcomes.format(", 'demoted'"))
        op.alter_column(
            "promotions",
            "outcome",
            existing_type=sa.Text(),
            existing_nullable=False,
            comment="promoted, rolled_back and demoted (the champion before) make it champion, kept does not",
        )
        op.create_table_comment(
            "promotions",
            "every decision about who serves; append-only",
            existing_comment="every decision about a challenger; append-only",
        )
        return
    made = conn.exec_driver_sql(
        "SELECT type, sql FROM sqlite_master WHERE tbl_name = 'promotions' AND sql IS NOT NULL ORDER BY rowid"
    ).all()
    (table,) = [sql for kind, sql in made if kind == "table"]
    wanted = table.replace(outcomes.format(""), outcomes.format(", 'demoted'"))
    for kind, name in conn.exec_driver_sql(
        "SELECT type, name FROM sqlite_master WHERE tbl_name = 'promotions' AND type IN ('index', 'trigger') "
        "AND sql IS NOT NULL"
    ).all():
        op.execute(f"DROP {kind} {name}")
    op.execute("CREATE TEMPORARY TABLE promotions_kept AS SELECT * FROM promotions")
    op.execute("DROP TABLE promotions")
    op.execute(wanted)
    op.execute("INSERT INTO promotions SELECT * FROM promotions_kept")
    op.execute("DROP TABLE promotions_kept")
    for kind, sql in made:
        if kind != "table":
            op.execute(sql)
