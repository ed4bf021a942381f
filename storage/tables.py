"""The schema on one page: tables, keys and views, the same on SQLite and PostgreSQL.

A table has its natural key where there is one: the key of a series is its name. Instants are aware UTC, see
`storage.database.times`. A daily series adds 1 candle, about 3 forecasts, 500 forecast values and 20 scores a day, and
one model version a week. Triggers (in the migrations) refuse UPDATE and DELETE on promotions, forecasts,
forecast_values and scores.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from models.candles import Interval
from models.forecasts import BAND_LEVELS, BASELINE
from storage.database.times import UtcDateTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows automatically only for an INTEGER primary key, not for a BIGINT one.
_Id = BigInteger().with_variant(Integer, "sqlite")


def _series(*, primary_key: bool = False, index: bool = False) -> Column[str]:
    return Column(
        "series",
        ForeignKey("series.name"),
        primary_key=primary_key,
        index=index or None,
        nullable=False,
        comment="name of the series",
    )


series = Table(
    "series",
    metadata,
    Column("name", Text, primary_key=True, comment="as the source names its file: Bitstamp_BTCUSD_d"),
    Column("exchange", Text, nullable=False, comment="exchange, as spelled in the file name"),
    Column("pair", Text, nullable=False, comment="pair, as spelled in the file name"),
    Column("interval", Text, nullable=False, comment="length of a candle: d, 1h or minute"),
    Column("base", Text, nullable=False, comment="currency that is priced"),
    Column("quote", Text, nullable=False, comment="currency that prices are in"),
    Column("created_at", UtcDateTime(precise=True), nullable=False, comment="when this row was written"),
    comment="one row a market and interval",
)

downloads = Table(
    "downloads",
    metadata,
    Column("id", _Id, primary_key=True, comment="number of the download"),
    _series(index=True),
    Column("url", Text, nullable=False, comment="URL or path the file came from, without secrets"),
    Column("fetched_at", UtcDateTime(precise=True), nullable=False, comment="when we fetched it"),
    Column("file_time", UtcDateTime(precise=True), comment="the file's own time: Last-Modified or banner date"),
    Column("etag", Text, comment="ETag as sent, for the next conditional request"),
    Column("last_modified", Text, comment="Last-Modified as sent, for the next conditional request"),
    Column("sha256", Text, comment="hash of the file's bytes"),
    Column("bytes", BigInteger, comment="size of the file, uncompressed"),
    Column("http_status", Integer, comment="status of the answer; null for local files"),
    Column(
        "outcome",
        Text,
        # An unchanged file leaves no row.
        CheckConstraint(
            "outcome IN ('stored', 'held', 'refused', 'not_found', 'unavailable', 'format_changed')",
            name="outcome",
        ),
        nullable=False,
        comment="what became of it",
    ),
    Column("reason", Text, comment="why, where the outcome is not stored"),
    *(
        Column(f"rows_{what}", Integer, nullable=False, server_default="0", comment=comment)
        for what, comment in {
            "in": "data rows of the file; equals new + equal + revised + quarantined",
            "new": "candles stored for the first time",
            "equal": "candles already stored with the same values",
            "revised": "candles stored as a new revision",
            "quarantined": "rows set aside, each with its reason",
        }.items()
    ),
    comment="one row a fetch that brought something to say",
)

candles = Table(
    "candles",
    metadata,
    _series(primary_key=True),
    Column("open_time", UtcDateTime(), primary_key=True, comment="first instant of the candle"),
    Column("fetched_at", UtcDateTime(precise=True), primary_key=True, comment="when this revision became known"),
    Column("close_time", UtcDateTime(), nullable=False, comment="first instant after the candle"),
    Column("open", Float, nullable=False, comment="first price, quote per base"),
    Column("high", Float, nullable=False, comment="highest price, quote per base"),
    Column("low", Float, nullable=False, comment="lowest price, quote per base"),
    Column("close", Float, nullable=False, comment="last price, quote per base"),
    Column("volume_base", Float, comment="traded amount of the base currency"),
    Column("volume_quote", Float, comment="traded amount in the quote currency"),
    Column("trades", BigInteger, comment="number of trades"),
    Column("provisional", Boolean, nullable=False, comment="true while the candle was still open when fetched"),
    Column("download", ForeignKey("downloads.id"), nullable=False, comment="the fetch that brought it"),
    comment="one row a candle and revision; a changed candle is a new row with a later fetched_at",
    sqlite_with_rowid=False,
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", _Id, primary_key=True, comment="number of the row"),
    Column(
        "download", ForeignKey("downloads.id"), nullable=False, index=True, comment="the newest fetch that brought it"
    ),
    _series(index=True),
    Column("line_number", Integer, nullable=False, comment="line in that file, from 1"),
    Column("raw_text", Text, nullable=False, comment="the line as it came, cut to 500 characters"),
    Column("reason", Text, nullable=False, comment="why it is not a candle"),
    Column("created_at", UtcDateTime(precise=True), nullable=False, comment="when it was first seen"),
    Column("last_seen_at", UtcDateTime(precise=True), nullable=False, comment="when it was last seen"),
    Index("uq_quarantine_series_raw_text", "series", "raw_text", unique=True),
    comment="rows of files that are no candles, each once; few, nothing is lost",
)

findings = Table(
    "findings",
    metadata,
    Column("id", _Id, primary_key=True, comment="number of the finding"),
    _series(index=True),
    Column("found_at", UtcDateTime(precise=True), nullable=False, comment="when it was first seen"),
    Column("resolved_at", UtcDateTime(precise=True), comment="when a later check no longer saw it"),
    Column("code", Text, nullable=False, comment="stable word: gap, duplicate, stale, swapped, ..."),
    Column("severity", Text, nullable=False, comment="info, warning or error"),
    Column("message", Text, nullable=False, comment="what was seen, for people"),
    Column("remedy", Text, nullable=False, comment="what to do about it"),
    Column("count", Integer, nullable=False, comment="how many candles it concerns"),
    Column("first_time", UtcDateTime(), comment="open time of the first candle concerned"),
    Column("last_time", UtcDateTime(), comment="open time of the last candle concerned"),
    Column("download", ForeignKey("downloads.id"), comment="the fetch that showed it, if one did"),
    comment="what is odd about the data; a handful a series",
)

model_versions = Table(
    "model_versions",
    metadata,
    Column("id", _Id, primary_key=True, comment="version"),
    Column("series", ForeignKey("series.name"), comment="series it serves; null: every series of the interval"),
    Column("model", Text, nullable=False, comment="model family: naive, range-ewma, lstm, blend, tutorial"),
    Column(
        "purpose",
        Text,
        CheckConstraint("purpose IN ('live', 'backfill')", name="purpose"),
        nullable=False,
        comment="trained to serve, or to replay a past quarter",
    ),
    Column("config", Text, nullable=False, comment="the model's settings as JSON"),
    Column("config_sha256", Text, nullable=False, comment="hash of config"),
    Column("seed", BigInteger, nullable=False, comment="seed of the training"),
    Column(
        "init_from", ForeignKey("model_versions.id"), comment="version whose weights were fine-tuned; null: scratch"
    ),
    Column("cutoff", UtcDateTime(), comment="last instant of training data; null for models that learn nothing"),
    Column("data_fingerprint", Text, nullable=False, comment="sha256 of the training candles"),
    Column("code_version", Text, nullable=False, comment="release and hash of the numerics"),
    Column("device", Text, nullable=False, comment="what it was trained on"),
    Column("seconds", Float, nullable=False, comment="wall time of the training"),
    Column("created_at", UtcDateTime(precise=True), nullable=False, comment="when this row was written"),
    Column("weights", LargeBinary, comment="safetensors bytes; null for none, or pruned"),
    Column("weights_sha256", Text, comment="hash of weights, kept when they are pruned"),
    Column("interval", Text, nullable=False, comment="length of the candles it reads: d, 1h or minute"),
    Column("learnt_from", Text, nullable=False, comment="series whose candles it learnt from, as JSON; [] for none"),
    comment="one row a trained model, weights included (up to 0.5 MB); lineage rows are never deleted",
)
# The index coalesces NULLs, because a unique index treats two NULLs as different.
Index(
    "uq_model_versions_training",
    text("coalesce(series, '')"),
    model_versions.c.interval,
    model_versions.c.model,
    model_versions.c.purpose,
    model_versions.c.config_sha256,
    model_versions.c.seed,
    text("coalesce(cutoff, '1970-01-01')"),
    text("coalesce(init_from, 0)"),
    unique=True,
)

promotions = Table(
    "promotions",
    metadata,
    Column("id", _Id, primary_key=True, comment="number of the decision"),
    _series(index=True),
    Column("model_version", ForeignKey("model_versions.id"), nullable=False, comment="the version decided on"),
    Column("decided_at", UtcDateTime(precise=True), nullable=False, comment="when"),
    Column(
        "outcome",
        Text,
        CheckConstraint("outcome IN ('promoted', 'kept', 'rolled_back', 'demoted')", name="outcome"),
        nullable=False,
        comment="promoted, rolled_back and demoted (the champion before) make it champion, kept does not",
    ),
    Column("reason", Text, nullable=False, comment="why, in words"),
    Column("evidence", Text, nullable=False, comment="the figures the decision rests on, as JSON"),
    Column("previous", ForeignKey("model_versions.id"), comment="champion before"),
    comment="every decision about who serves; append-only",
)

forecasts = Table(
    "forecasts",
    metadata,
    Column("id", _Id, primary_key=True, comment="number of the forecast"),
    _series(),
    Column("model", Text, nullable=False, comment="model family, as in model_versions"),
    Column("model_version", ForeignKey("model_versions.id"), nullable=False, index=True, comment="what made it"),
    Column("origin", UtcDateTime(), nullable=False, comment="close_time of the last candle it used"),
    Column(
        "kind",
        Text,
        CheckConstraint("kind IN ('live', 'backfill')", name="kind"),
        nullable=False,
        comment="live: made by a run for the newest candle; backfill: made later, for a past one",
    ),
    Column("created_at", UtcDateTime(precise=True), nullable=False, comment="when this row was written"),
    Column("data_fingerprint", Text, nullable=False, comment="sha256 of the candles it was computed from"),
    Column("flow_run", Text, comment="Prefect flow run that made it"),
    # A backfill looks up here which origins it has done, and most queries use this index.
    UniqueConstraint("series", "model", "kind", "origin"),
    # The order in which forecasts are read page by page.
    Index("ix_forecasts_page", "series", "origin", "model", "kind"),
    comment="one row a forecast; append-only",
)

forecast_values = Table(
    "forecast_values",
    metadata,
    Column("forecast", ForeignKey("forecasts.id"), primary_key=True, comment="the forecast"),
    Column("step", Integer, primary_key=True, comment="1 is the candle that opens at the origin"),
    Column("quantile", Float, primary_key=True, comment="level in (0, 1)"),
    Column("target_time", UtcDateTime(), nullable=False, comment="open time of the candle that is forecast"),
    Column("value", Float, nullable=False, comment="close price, quote per base"),
    comment="23 rows a step; the big table: 161 rows a forecast; append-only",
    sqlite_with_rowid=False,
)

scores = Table(
    "scores",
    metadata,
    Column("forecast", ForeignKey("forecasts.id"), primary_key=True, comment="the forecast"),
    Column("step", Integer, primary_key=True, comment="the step"),
    Column("truth_fetched_at", UtcDateTime(precise=True), primary_key=True, comment="revision of the truth"),
    Column("actual", Float, nullable=False, comment="close that came"),
    Column("absolute_error", Float, nullable=False, comment="|actual - median|, quote per base"),
    Column("crps", Float, nullable=False, comment="CRPS of the log return from the origin's close"),
    Column("covered50", Boolean, nullable=False, comment="the close fell inside the central 50 % band"),
    Column("covered80", Boolean, nullable=False, comment="inside the central 80 % band"),
    Column("covered95", Boolean, nullable=False, comment="inside the central 95 % band"),
    Column("pit", Float, nullable=False, comment="the close's place in the forecast distribution, 0..1"),
    Column("scored_at", UtcDateTime(precise=True), nullable=False, comment="when this row was written"),
    comment="one row a forecast step and revision of its truth; append-only",
    sqlite_with_rowid=False,
)

# Every step has a median, so the rows of the median list the steps.
MEDIAN_LEVEL = 0.5
# One primary-key look-up per level. A filter on the outer query then reaches the tables, which it does not with a
# GROUP BY pivot, so one series' forecast is found without reading the other ten million rows.
_BANDS = ",\n".join(
    f"  s.value AS {name}"
    if level == MEDIAN_LEVEL
    else f"  (SELECT v.value FROM forecast_values v WHERE v.forecast = s.forecast AND v.step = s.step"
    f" AND v.quantile = {level}) AS {name}"
    for name, level in BAND_LEVELS.items()
)

# PostgreSQL has LATERAL and so reads a forecast's quantiles once instead of level by level. For a year of one series
# that takes a third of the time (benchmarks/query.py).
_BANDS_AT_ONCE = ",\n".join(
    f"    max(v.value) FILTER (WHERE v.quantile = CAST({level} AS double precision)) AS {name}"
    for name, level in BAND_LEVELS.items()
)

# The length of a candle in seconds, by the end of its series' name. A CASE costs less than a join with `series`, and
# with a join the planner might choose a slow order of joins.
_SECONDS = "\n".join(
    f"    WHEN {{end}}(f.series, {{sign}}{len(end)}) = '{end}' THEN {interval.length.total_seconds():.0f}"
    for interval in Interval
    for end in [f"_{interval}"]
)
# True where the forecast was stored before the candle of its step closed; that candle closes `step` lengths after the
# origin. SQLite compares texts: `created_at` has a fraction, so at the very instant of the close it is the longer text
# and sorts later, and the forecast is late as on PostgreSQL.
_BEFORE_CLOSE = f"""f.created_at < datetime(f.origin, (s.step * CASE
{_SECONDS.format(end="substr", sign="-")} END) || ' seconds')"""
_BEFORE_CLOSE_POSTGRESQL = f"""f.created_at < f.origin + s.step * interval '1 second' * CASE
{_SECONDS.format(end="right", sign="")} END"""


def _current_scores(before_close: str) -> str:
    """Return the query of the scores against the newest revision of the actual close.

    A score is left out if its model was trained on data after the forecast's origin.
    """
    return f"""
SELECT f.series, f.model, CASE WHEN f.kind = 'live' AND NOT ({before_close}) THEN 'late' ELSE f.kind END AS kind,
  f.kind AS forecast_kind, f.origin, f.model_version, s.*
FROM scores s JOIN forecasts f ON f.id = s.forecast JOIN model_versions m ON m.id = f.model_version
WHERE (m.cutoff IS NULL OR m.cutoff <= f.origin)
  AND NOT EXISTS (
    SELECT 1 FROM scores t
    WHERE t.forecast = s.forecast AND t.step = s.step AND t.truth_fetched_at > s.truth_fetched_at)
"""


VIEWS = {
    "current_candles": """
SELECT c.series, c.open_time, c.close_time, c.open, c.high, c.low, c.close, c.volume_base, c.volume_quote,
  c.trades, c.fetched_at
FROM candles c
WHERE NOT c.provisional
  AND NOT EXISTS (
    SELECT 1 FROM candles n
    WHERE n.series = c.series AND n.open_time = c.open_time AND n.fetched_at > c.fetched_at AND NOT n.provisional)
""",
    # The first download in which the candle was closed. A file's time before the close or after our fetch is wrong, and
    # the view does not use it.
    "arrivals": """
SELECT c.series, c.close_time,
  CASE WHEN d.file_time >= c.close_time AND d.file_time <= c.fetched_at THEN d.file_time END AS published_at,
  c.fetched_at AS seen_at
FROM candles c JOIN downloads d ON d.id = c.download
WHERE NOT c.provisional
  AND NOT EXISTS (
    SELECT 1 FROM candles e
    WHERE e.series = c.series AND e.open_time = c.open_time AND e.fetched_at < c.fetched_at AND NOT e.provisional)
""",
    "champions": """
SELECT p.series, p.model_version, m.model, p.decided_at AS since
FROM promotions p JOIN model_versions m ON m.id = p.model_version
WHERE p.outcome <> 'kept'
  AND p.id = (SELECT max(q.id) FROM promotions q WHERE q.series = p.series AND q.outcome <> 'kept')
""",
    "forecast_bands": f"""
SELECT f.id AS forecast_id, f.series, f.model, f.kind, f.origin, f.created_at, s.step, s.target_time,
  {_BEFORE_CLOSE} AS before_close,
{_BANDS}
FROM forecasts f JOIN forecast_values s ON s.forecast = f.id AND s.quantile = {MEDIAN_LEVEL}
""",
    "latest_forecasts": """
SELECT b.* FROM forecast_bands b
JOIN (
  SELECT c.series, (
    SELECT f.id FROM forecasts f
    WHERE f.series = c.series AND f.model = c.model AND f.kind = 'live'
    ORDER BY f.origin DESC LIMIT 1) AS forecast_id
  FROM champions c) newest ON newest.forecast_id = b.forecast_id AND newest.series = b.series
""",
    "current_scores": _current_scores(_BEFORE_CLOSE),
    # A late step of a model is compared with naive's step even if naive's was stored in time: naive's forecast of an
    # origin has the same values whenever it is stored.
    "model_skill": f"""
SELECT s.series, s.model, s.kind, s.step, count(*) AS n, avg(s.absolute_error) AS mae, avg(s.crps) AS crps,
  avg(CASE WHEN s.covered50 THEN 1.0 ELSE 0.0 END) AS coverage50,
  avg(CASE WHEN s.covered80 THEN 1.0 ELSE 0.0 END) AS coverage80,
  avg(CASE WHEN s.covered95 THEN 1.0 ELSE 0.0 END) AS coverage95,
  avg(b.absolute_error) AS naive_mae, avg(b.crps) AS naive_crps
FROM current_scores s
JOIN current_scores b ON b.series = s.series AND b.forecast_kind = s.forecast_kind AND b.origin = s.origin
  AND b.step = s.step AND b.model = '{BASELINE}'
GROUP BY s.series, s.model, s.kind, s.step
""",
}

_POSTGRESQL_VIEWS = VIEWS | {
    "forecast_bands": f"""
SELECT f.id AS forecast_id, f.series, f.model, f.kind, f.origin, f.created_at, s.step, s.target_time,
  {_BEFORE_CLOSE_POSTGRESQL} AS before_close,
  {", ".join(f"s.{name}" for name in BAND_LEVELS)}
FROM forecasts f CROSS JOIN LATERAL (
  SELECT v.step, min(v.target_time) AS target_time,
{_BANDS_AT_ONCE}
  FROM forecast_values v WHERE v.forecast = f.id GROUP BY v.step) s
""",
    "current_scores": _current_scores(_BEFORE_CLOSE_POSTGRESQL),
}


def views(dialect: str) -> dict[str, str]:
    """Return each view's name and its query for `dialect` (sqlite, postgresql); both give equal rows and columns."""
    return _POSTGRESQL_VIEWS if dialect == "postgresql" else VIEWS
