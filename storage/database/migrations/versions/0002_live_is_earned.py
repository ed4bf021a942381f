"""The second schema: live steps, arrivals, set-aside rows once, demotions, and no downloads that are `unchanged`.

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
    _forbid_unchanged_downloads()


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
    """Let a decision's outcome be `demoted`."""
    outcomes = "outcome IN ('promoted', 'kept', 'rolled_back'{})"
    _change_check("promotions", "outcome", before=outcomes.format(""), after=outcomes.format(", 'demoted'"))
    if op.get_bind().dialect.name == "postgresql":
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


def _forbid_unchanged_downloads() -> None:
    """Forbid the outcome `unchanged`, which candlecast never wrote: an unchanged file leaves no row.

    A row that somebody else wrote becomes `stored` and keeps its counts of 0: its file is the one that is stored.
    """
    outcomes = "outcome IN ('stored',{} 'held', 'refused', 'not_found', 'unavailable', 'format_changed')"
    op.execute("UPDATE downloads SET outcome = 'stored' WHERE outcome = 'unchanged'")
    _change_check("downloads", "outcome", before=outcomes.format(" 'unchanged',"), after=outcomes.format(""))


def _change_check(table: str, name: str, *, before: str, after: str) -> None:
    """Replace the condition of a check; SQLite cannot, so there the table is made anew with its rows."""
    conn = op.get_bind()
    if conn.dialect.name == "postgresql":
        op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")
        op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, after)
        return
    definitions = conn.exec_driver_sql(
        f"SELECT type, sql FROM sqlite_master WHERE tbl_name = '{table}' AND sql IS NOT NULL ORDER BY rowid"
    ).all()
    conn.exec_driver_sql(f"CREATE TEMPORARY TABLE kept_rows AS SELECT * FROM {table}")
    # Its indexes and triggers go with it.
    conn.exec_driver_sql(f"DROP TABLE {table}")
    for kind, sql in definitions:
        if kind == "table":
            assert before in sql
            conn.exec_driver_sql(sql.replace(before, after))
            conn.exec_driver_sql(f"INSERT INTO {table} SELECT * FROM kept_rows")
        else:
            conn.exec_driver_sql(sql)
    conn.exec_driver_sql("DROP TABLE kept_rows")
