"""The first schema: every table, and the triggers that keep records from being rewritten."""

import sqlalchemy as sa
from alembic import op

from storage.database.times import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = ("promotions", "forecasts", "forecast_values", "scores")


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "series",
        sa.Column("name", sa.Text(), nullable=False, comment="as the source names its file: Bitstamp_BTCUSD_d"),
        sa.Column("exchange", sa.Text(), nullable=False, comment="exchange, as spelled in the file name"),
        sa.Column("pair", sa.Text(), nullable=False, comment="pair, as spelled in the file name"),
        sa.Column("interval", sa.Text(), nullable=False, comment="length of a candle: d, 1h or minute"),
        sa.Column("base", sa.Text(), nullable=False, comment="currency that is priced"),
        sa.Column("quote", sa.Text(), nullable=False, comment="currency that prices are in"),
        sa.Column("created_at", UtcDateTime(), nullable=False, comment="when this row was written"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_series")),
        comment="one row a market and interval",
    )
    op.create_table(
        "downloads",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="number of the download"
        ),
        sa.Column("series", sa.Text(), nullable=False, comment="name of the series"),
        sa.Column("url", sa.Text(), nullable=False, comment="URL or path the file came from, without secrets"),
        sa.Column("fetched_at", UtcDateTime(), nullable=False, comment="when we fetched it"),
        sa.Column(
            "file_time", UtcDateTime(), nullable=True, comment="the file's own time: Last-Modified or banner date"
        ),
        sa.Column("etag", sa.Text(), nullable=True, comment="ETag as sent, for the next conditional request"),
        sa.Column(
            "last_modified", sa.Text(), nullable=True, comment="Last-Modified as sent, for the next conditional request"
        ),
        sa.Column("sha256", sa.Text(), nullable=True, comment="hash of the file's bytes"),
        sa.Column("bytes", sa.BigInteger(), nullable=True, comment="size of the file, uncompressed"),
        sa.Column("http_status", sa.Integer(), nullable=True, comment="status of the answer; null for local files"),
        sa.Column("outcome", sa.Text(), nullable=False, comment="what became of it"),
        sa.Column("reason", sa.Text(), nullable=True, comment="why, where the outcome is not stored"),
        sa.Column(
            "rows_in",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="data rows of the file; equals new + equal + revised + quarantined",
        ),
        sa.Column(
            "rows_new", sa.Integer(), server_default="0", nullable=False, comment="candles stored for the first time"
        ),
        sa.Column(
            "rows_equal",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="candles already stored with the same values",
        ),
        sa.Column(
            "rows_revised", sa.Integer(), server_default="0", nullable=False, comment="candles stored as a new revision"
        ),
        sa.Column(
            "rows_quarantined",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="rows set aside, each with its reason",
        ),
        sa.ForeignKeyConstraint(["series"], ["series.name"], name=op.f("fk_downloads_series_series")),
        sa.CheckConstraint(
            "outcome IN ('stored', 'unchanged', 'held', 'refused', 'not_found', 'unavailable', 'format_changed')",
            name=op.f("ck_downloads_outcome"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_downloads")),
        comment="one row a fetch that brought something to say",
    )
    op.create_index(op.f("ix_downloads_series"), "downloads", ["series"], unique=False)
    op.create_table(
        "model_versions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="version"),
        sa.Column("series", sa.Text(), nullable=False, comment="name of the series"),
        sa.Column("model", sa.Text(), nullable=False, comment="model family: naive, range-ewma, lstm, blend, tutorial"),
        sa.Column("purpose", sa.Text(), nullable=False, comment="trained to serve, or to replay a past quarter"),
        sa.Column("config", sa.Text(), nullable=False, comment="the model's settings as JSON"),
        sa.Column("config_sha256", sa.Text(), nullable=False, comment="hash of config"),
        sa.Column("seed", sa.BigInteger(), nullable=False, comment="seed of the training"),
        sa.Column(
            "init_from",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="version whose weights were fine-tuned; null: scratch",
        ),
        sa.Column(
            "cutoff",
            UtcDateTime(),
            nullable=True,
            comment="last instant of training data; null for models that learn nothing",
        ),
        sa.Column("data_fingerprint", sa.Text(), nullable=False, comment="sha256 of the training candles"),
        sa.Column("code_version", sa.Text(), nullable=False, comment="release and hash of the numerics"),
        sa.Column("device", sa.Text(), nullable=False, comment="what it was trained on"),
        sa.Column("seconds", sa.Float(), nullable=False, comment="wall time of the training"),
        sa.Column("created_at", UtcDateTime(), nullable=False, comment="when this row was written"),
        sa.Column("weights", sa.LargeBinary(), nullable=True, comment="safetensors bytes; null for none, or pruned"),
        sa.Column("weights_sha256", sa.Text(), nullable=True, comment="hash of weights, kept when they are pruned"),
        sa.ForeignKeyConstraint(
            ["init_from"], ["model_versions.id"], name=op.f("fk_model_versions_init_from_model_versions")
        ),
        sa.ForeignKeyConstraint(["series"], ["series.name"], name=op.f("fk_model_versions_series_series")),
        sa.CheckConstraint("purpose IN ('live', 'backfill')", name=op.f("ck_model_versions_purpose")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_versions")),
        comment="one row a trained model, weights included (about 50 kB); lineage rows are never deleted",
    )
    op.create_table(
        "candles",
        sa.Column("series", sa.Text(), nullable=False, comment="name of the series"),
        sa.Column("open_time", UtcDateTime(), nullable=False, comment="first instant of the candle"),
        sa.Column("fetched_at", UtcDateTime(), nullable=False, comment="when this revision became known"),
        sa.Column("close_time", UtcDateTime(), nullable=False, comment="first instant after the candle"),
        sa.Column("open", sa.Float(), nullable=False, comment="first price, quote per base"),
        sa.Column("high", sa.Float(), nullable=False, comment="highest price, quote per base"),
        sa.Column("low", sa.Float(), nullable=False, comment="lowest price, quote per base"),
        sa.Column("close", sa.Float(), nullable=False, comment="last price, quote per base"),
        sa.Column("volume_base", sa.Float(), nullable=True, comment="traded amount of the base currency"),
        sa.Column("volume_quote", sa.Float(), nullable=True, comment="traded amount in the quote currency"),
        sa.Column("trades", sa.BigInteger(), nullable=True, comment="number of trades"),
        sa.Column(
            "provisional", sa.Boolean(), nullable=False, comment="true while the candle was still open when fetched"
        ),
        sa.Column(
            "download",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="the fetch that brought it",
        ),
        sa.ForeignKeyConstraint(["download"], ["downloads.id"], name=op.f("fk_candles_download_downloads")),
        sa.ForeignKeyConstraint(["series"], ["series.name"], name=op.f("fk_candles_series_series")),
        sa.PrimaryKeyConstraint("series", "open_time", "fetched_at", name=op.f("pk_candles")),
        comment="one row a candle and revision; a changed candle is a new row with a later fetched_at",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "findings",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="number of the finding"
        ),
        sa.Column("series", sa.Text(), nullable=False, comment="name of the series"),
        sa.Column("found_at", UtcDateTime(), nullable=False, comment="when it was first seen"),
        sa.Column("resolved_at", UtcDateTime(), nullable=True, comment="when a later check no longer saw it"),
        sa.Column("code", sa.Text(), nullable=False, comment="stable word: gap, duplicate, stale, swapped, ..."),
        sa.Column("severity", sa.Text(), nullable=False, comment="info, warning or error"),
        sa.Column("message", sa.Text(), nullable=False, comment="what was seen, for people"),
        sa.Column("remedy", sa.Text(), nullable=False, comment="what to do about it"),
        sa.Column("count", sa.Integer(), nullable=False, comment="how many candles it concerns"),
        sa.Column("first_time", UtcDateTime(), nullable=True, comment="open time of the first candle concerned"),
        sa.Column("last_time", UtcDateTime(), nullable=True, comment="open time of the last candle concerned"),
        sa.Column(
            "download",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="the fetch that showed it, if one did",
        ),
        sa.ForeignKeyConstraint(["download"], ["downloads.id"], name=op.f("fk_findings_download_downloads")),
        sa.ForeignKeyConstraint(["series"], ["series.name"], name=op.f("fk_findings_series_series")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_findings")),
        comment="what is odd about the data; a handful a series",
    )
    op.create_index(op.f("ix_findings_series"), "findings", ["series"], unique=False)
    op.create_table(
        "forecasts",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="number of the forecast"
        ),
        sa.Column("series", sa.Text(), nullable=False, comment="name of the series"),
        sa.Column("model", sa.Text(), nullable=False, comment="model family, as in model_versions"),
        sa.Column(
            "model_version",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="what made it",
        ),
        sa.Column("origin", UtcDateTime(), nullable=False, comment="close_time of the last candle it used"),
        sa.Column("kind", sa.Text(), nullable=False, comment="made when its origin was new, or later"),
        sa.Column("created_at", UtcDateTime(), nullable=False, comment="when this row was written"),
        sa.Column("data_fingerprint", sa.Text(), nullable=False, comment="sha256 of the candles it was computed from"),
        sa.Column("flow_run", sa.Text(), nullable=True, comment="Prefect flow run that made it"),
        sa.ForeignKeyConstraint(
            ["model_version"], ["model_versions.id"], name=op.f("fk_forecasts_model_version_model_versions")
        ),
        sa.ForeignKeyConstraint(["series"], ["series.name"], name=op.f("fk_forecasts_series_series")),
        sa.CheckConstraint("kind IN ('live', 'backfill')", name=op.f("ck_forecasts_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forecasts")),
        sa.UniqueConstraint("series", "model", "kind", "origin", name=op.f("uq_forecasts_series_model_kind_origin")),
        comment="one row a forecast; append-only",
    )
    op.create_index(op.f("ix_forecasts_model_version"), "forecasts", ["model_version"], unique=False)
    op.create_index("ix_forecasts_page", "forecasts", ["series", "origin", "model", "kind"], unique=False)
    op.create_table(
        "promotions",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="number of the decision"
        ),
        sa.Column("series", sa.Text(), nullable=False, comment="name of the series"),
        sa.Column(
            "model_version",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="the version decided on",
        ),
        sa.Column("decided_at", UtcDateTime(), nullable=False, comment="when"),
        sa.Column(
            "outcome", sa.Text(), nullable=False, comment="promoted and rolled_back make it champion, kept does not"
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="why, in words"),
        sa.Column("evidence", sa.Text(), nullable=False, comment="the figures the decision rests on, as JSON"),
        sa.Column(
            "previous", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True, comment="champion before"
        ),
        sa.ForeignKeyConstraint(
            ["model_version"], ["model_versions.id"], name=op.f("fk_promotions_model_version_model_versions")
        ),
        sa.ForeignKeyConstraint(
            ["previous"], ["model_versions.id"], name=op.f("fk_promotions_previous_model_versions")
        ),
        sa.ForeignKeyConstraint(["series"], ["series.name"], name=op.f("fk_promotions_series_series")),
        sa.CheckConstraint("outcome IN ('promoted', 'kept', 'rolled_back')", name=op.f("ck_promotions_outcome")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotions")),
        comment="every decision about a challenger; append-only",
    )
    op.create_index(op.f("ix_promotions_series"), "promotions", ["series"], unique=False)
    op.create_table(
        "quarantine",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="number of the row"
        ),
        sa.Column(
            "download",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="the fetch that brought it",
        ),
        sa.Column("series", sa.Text(), nullable=False, comment="name of the series"),
        sa.Column("line_number", sa.Integer(), nullable=False, comment="line in the file, from 1"),
        sa.Column("raw_text", sa.Text(), nullable=False, comment="the line as it came"),
        sa.Column("reason", sa.Text(), nullable=False, comment="why it is not a candle"),
        sa.Column("created_at", UtcDateTime(), nullable=False, comment="when this row was written"),
        sa.ForeignKeyConstraint(["download"], ["downloads.id"], name=op.f("fk_quarantine_download_downloads")),
        sa.ForeignKeyConstraint(["series"], ["series.name"], name=op.f("fk_quarantine_series_series")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
        comment="rows of downloads that could not be stored as candles; few, nothing is lost",
    )
    op.create_index(op.f("ix_quarantine_download"), "quarantine", ["download"], unique=False)
    op.create_index(op.f("ix_quarantine_series"), "quarantine", ["series"], unique=False)
    op.create_table(
        "forecast_values",
        sa.Column(
            "forecast", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="the forecast"
        ),
        sa.Column("step", sa.Integer(), nullable=False, comment="1 is the candle that opens at the origin"),
        sa.Column("quantile", sa.Float(), nullable=False, comment="level in (0, 1)"),
        sa.Column("target_time", UtcDateTime(), nullable=False, comment="open time of the candle that is forecast"),
        sa.Column("value", sa.Float(), nullable=False, comment="close price, quote per base"),
        sa.ForeignKeyConstraint(["forecast"], ["forecasts.id"], name=op.f("fk_forecast_values_forecast_forecasts")),
        sa.PrimaryKeyConstraint("forecast", "step", "quantile", name=op.f("pk_forecast_values")),
        comment="23 rows a step; the big table: 161 rows a forecast; append-only",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "scores",
        sa.Column(
            "forecast", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="the forecast"
        ),
        sa.Column("step", sa.Integer(), nullable=False, comment="the step"),
        sa.Column("truth_fetched_at", UtcDateTime(), nullable=False, comment="revision of the truth"),
        sa.Column("actual", sa.Float(), nullable=False, comment="close that came"),
        sa.Column("absolute_error", sa.Float(), nullable=False, comment="|actual - median|, quote per base"),
        sa.Column("crps", sa.Float(), nullable=False, comment="CRPS of the log return from the origin's close"),
        sa.Column("covered50", sa.Boolean(), nullable=False, comment="the close fell inside the central 50 % band"),
        sa.Column("covered80", sa.Boolean(), nullable=False, comment="inside the central 80 % band"),
        sa.Column("covered95", sa.Boolean(), nullable=False, comment="inside the central 95 % band"),
        sa.Column("pit", sa.Float(), nullable=False, comment="the close's place in the forecast distribution, 0..1"),
        sa.Column("scored_at", UtcDateTime(), nullable=False, comment="when this row was written"),
        sa.ForeignKeyConstraint(["forecast"], ["forecasts.id"], name=op.f("fk_scores_forecast_forecasts")),
        sa.PrimaryKeyConstraint("forecast", "step", "truth_fetched_at", name=op.f("pk_scores")),
        comment="one row a forecast step and revision of its truth; append-only",
        sqlite_with_rowid=False,
    )
    op.execute(
        "CREATE UNIQUE INDEX uq_model_versions_training ON model_versions "
        "(series, model, purpose, config_sha256, seed, coalesce(cutoff, '1970-01-01'), coalesce(init_from, 0))"
    )
    for statement in append_only_triggers(op.get_bind().dialect.name):
        op.execute(statement)


def append_only_triggers(dialect: str) -> list[str]:
    """Return the DDL that makes the append-only tables refuse UPDATE and DELETE."""
    if dialect == "sqlite":
        return [
            *(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                for table in APPEND_ONLY
                for verb in ("UPDATE", "DELETE")
            ),
            # SQLite's INSERT OR REPLACE deletes what is in its way without asking the triggers above.
            *(
                f"CREATE TRIGGER {table}_no_replace_{number} BEFORE INSERT ON {table} "
                f"WHEN EXISTS (SELECT 1 FROM {table} t WHERE {key}) BEGIN SELECT {answer}; END"
                for table, number, key, answer in _replacements()
            ),
        ]
    return [
        "CREATE FUNCTION candlecast_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$",
        *(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION candlecast_append_only()"
            for table in APPEND_ONLY
        ),
    ]


def _replacements() -> list[tuple[str, int, str, str]]:
    # Keys that are inserted with ON CONFLICT DO NOTHING are skipped, as that clause asks; all others are refused.
    skipped = {("forecasts", "series"), ("scores", "forecast")}
    keys = [
        ("promotions", ("id",)),
        ("forecasts", ("id",)),
        ("forecasts", ("series", "model", "kind", "origin")),
        ("forecast_values", ("forecast", "step", "quantile")),
        ("scores", ("forecast", "step", "truth_fetched_at")),
    ]
    return [
        (
            table,
            number,
            " AND ".join(f"t.{column} = NEW.{column}" for column in columns),
            "RAISE(IGNORE)" if (table, columns[0]) in skipped else f"RAISE(ABORT, '{table} is append-only')",
        )
        for number, (table, columns) in enumerate(keys, start=1)
    ]
