"""The third schema: a trained version may serve every series of an interval, and names what it learnt from."""

import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from storage.database.times import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SERIES = "series it serves; null: every series of the interval"
_INTERVAL = "length of the candles it reads: d, 1h or minute"
_LEARNT_FROM = "series whose candles it learnt from, as JSON; [] for none"


def upgrade() -> None:
    """Change the registry; the versions stored so far stay versions of one series.

    Networks of one series cannot forecast any more: where they serve, naive serves from now on.
    """
    conn = op.get_bind()
    op.drop_index("uq_model_versions_training", "model_versions")
    rows = conn.execute(sa.text("SELECT id, series, config, cutoff IS NOT NULL AS learns FROM model_versions")).all()
    if conn.dialect.name == "sqlite":
        _make_table_anew()
    else:
        op.alter_column("model_versions", "series", existing_type=sa.Text(), nullable=True, comment=_SERIES)
        op.add_column("model_versions", sa.Column("interval", sa.Text(), server_default="", comment=_INTERVAL))
        op.add_column("model_versions", sa.Column("learnt_from", sa.Text(), server_default="[]", comment=_LEARNT_FROM))
    changed = [
        {"id": row.id, "interval": row.series.rsplit("_", 1)[-1], "learnt_from": json.dumps(_learnt_from(row))}
        for row in rows
    ]
    if changed:
        conn.execute(
            sa.text("UPDATE model_versions SET interval = :interval, learnt_from = :learnt_from WHERE id = :id"),
            changed,
        )
    if conn.dialect.name == "postgresql":
        for name in ("interval", "learnt_from"):
            op.alter_column("model_versions", name, existing_type=sa.Text(), nullable=False, server_default=None)
    op.execute(
        "CREATE UNIQUE INDEX uq_model_versions_training ON model_versions (coalesce(series, ''), interval, model, "
        "purpose, config_sha256, seed, coalesce(cutoff, '1970-01-01'), coalesce(init_from, 0))"
    )
    _let_naive_serve()


def _learnt_from(row: "sa.Row[tuple[int, str, str, bool]]") -> list[str]:
    if not row.learns:
        return []
    config = json.loads(row.config)
    # A blend keeps its networks' settings below its own.
    return sorted({row.series, *config.get("lstm", config).get("pool", [])})


def _let_naive_serve() -> None:
    conn = op.get_bind()
    newest = "SELECT max(p.id) FROM promotions p WHERE p.outcome <> 'kept' GROUP BY p.series"
    served = conn.execute(
        sa.text(
            "SELECT p.series, p.model_version AS previous, m.model, (SELECT max(n.id) FROM model_versions n "
            "WHERE n.series = p.series AND n.model = 'naive' AND n.purpose = 'live') AS naive "
            "FROM promotions p JOIN model_versions m ON m.id = p.model_version "
            f"WHERE p.id IN ({newest}) AND m.model IN ('lstm', 'blend') AND m.cutoff IS NOT NULL ORDER BY p.series"
        )
    ).all()
    decisions = [
        {
            "series": row.series,
            "model_version": row.naive,
            "decided_at": datetime.now(UTC),
            "outcome": "rolled_back",
            "reason": f"version {row.previous} ({row.model}) was trained for this series alone, and this release uses "
            "networks of all series; naive serves until the next training",
            "evidence": "{}",
            "previous": row.previous,
        }
        for row in served
        if row.naive is not None
    ]
    columns = ("series", "outcome", "reason", "evidence", "model_version", "previous")
    promotions = sa.table("promotions", *map(sa.column, columns), sa.column("decided_at", UtcDateTime(precise=True)))
    op.bulk_insert(promotions, decisions)


def _make_table_anew() -> None:
    """SQLite can neither drop NOT NULL nor add a column without a value."""
    kept = (
        "id, series, model, purpose, config, config_sha256, seed, init_from, cutoff, data_fingerprint, code_version, "
        "device, seconds, created_at, weights, weights_sha256"
    )
    op.execute(f"CREATE TEMPORARY TABLE kept_versions AS SELECT {kept} FROM model_versions")
    op.drop_table("model_versions")
    precise = UtcDateTime(precise=True)
    op.create_table(
        "model_versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("series", sa.Text()),
        sa.Column("interval", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("config_sha256", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("init_from", sa.Integer()),
        sa.Column("cutoff", UtcDateTime()),
        sa.Column("learnt_from", sa.Text(), nullable=False),
        sa.Column("data_fingerprint", sa.Text(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("created_at", precise, nullable=False),
        sa.Column("weights", sa.LargeBinary()),
        sa.Column("weights_sha256", sa.Text()),
        sa.CheckConstraint("purpose IN ('live', 'backfill')", name=op.f("ck_model_versions_purpose")),
        sa.ForeignKeyConstraint(["series"], ["series.name"], name=op.f("fk_model_versions_series_series")),
        sa.ForeignKeyConstraint(
            ["init_from"], ["model_versions.id"], name=op.f("fk_model_versions_init_from_model_versions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_versions")),
    )
    op.execute(f"INSERT INTO model_versions ({kept}, interval, learnt_from) SELECT {kept}, '', '[]' FROM kept_versions")
    op.execute("DROP TABLE kept_versions")
