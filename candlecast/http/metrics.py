"""The metrics for Prometheus, read from the database at each scrape."""

from collections.abc import Iterator
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Connection

from models.candles import Interval
from models.freshness import is_stale
from storage.arrivals import newest_arrivals, read_usual_times
from storage.decisions import champions
from storage.findings import open_findings
from storage.forecasts import read_origins
from storage.query import ForecastFilter
from storage.series import parsed_names, series_summary


def metrics(conn: Connection, *, now: datetime) -> Iterator[Metric]:
    """Yield the state of every stored series at `now`: age of data and champion, publication, drift and findings."""
    age = GaugeMetricFamily(
        "candlecast_data_age_seconds", "Time since the newest closed candle closed.", labels=["series"]
    )
    candles = GaugeMetricFamily("candlecast_candles", "Closed candles stored.", labels=["series"])
    serving = GaugeMetricFamily(
        "candlecast_champion_age_seconds",
        "Time since the champion's training data ended; for a model that learns nothing, time since it took over.",
        labels=["series", "model"],
    )
    drift = GaugeMetricFamily(
        "candlecast_champion_drifting", "1 while the champion's live scores show drift.", labels=["series"]
    )
    odd = GaugeMetricFamily(
        "candlecast_open_findings", "Findings that are open.", labels=["series", "code", "severity"]
    )
    stale = GaugeMetricFamily("candlecast_data_stale", "1 while the data is stale.", labels=["series"])
    usual = GaugeMetricFamily(
        "candlecast_usual_publication_seconds",
        "How long after its close a candle is usually published: eight of ten between earliest and latest.",
        labels=["series", "time"],
    )
    spread = GaugeMetricFamily(
        "candlecast_usual_publication_spread_seconds", "From the earliest to the latest usual time.", labels=["series"]
    )
    newest = GaugeMetricFamily(
        "candlecast_publication_seconds",
        "How long after its close the newest closed candle was published, or seen where that is not known.",
        labels=["series"],
    )
    late = GaugeMetricFamily(
        "candlecast_publication_late_seconds",
        "How much later than the latest usual time the next candle is by now; 0 while it is in time.",
        labels=["series"],
    )
    before_close = GaugeMetricFamily(
        "candlecast_forecast_before_close_seconds",
        "How long before its first close the champion's newest live forecast was stored; negative if it came after it.",
        labels=["series", "model"],
    )
    rows = series_summary(conn)
    # All series are asked for at once: a question for each would take most of the time.
    names = [row.name for row in rows]
    usual_times, arrivals = read_usual_times(conn, series=parsed_names(names)), newest_arrivals(conn, series=names)
    holders, findings = champions(conn, series=names), open_findings(conn)
    latest = {forecast.series: forecast for forecast in read_origins(conn, ForecastFilter(latest=True))}
    for row in rows:
        candles.add_metric([row.name], row.candles)
        if row.last_close is not None:
            age.add_metric([row.name], (now - row.last_close).total_seconds())
        interval = Interval(row.interval)
        known = usual_times.get(row.name)
        stale.add_metric([row.name], float(is_stale(row.last_close, interval, now, known)))
        arrival = arrivals.get(row.name)
        if arrival is not None:
            newest.add_metric([row.name], arrival.delay.total_seconds())
        if known is not None and row.last_close is not None:
            for name in ("earliest", "median", "latest"):
                usual.add_metric([row.name, name], getattr(known, name).total_seconds())
            spread.add_metric([row.name], known.spread.total_seconds())
            expected = row.last_close + interval.length + known.latest
            late.add_metric([row.name], max((now - expected).total_seconds(), 0.0))
        holder = holders.get(row.name)
        if holder is not None:
            since = holder.cutoff or holder.since
            serving.add_metric([row.name, holder.model], (now - since).total_seconds())
        forecast = latest.get(row.name)
        if forecast is not None:
            ahead = forecast.origin + interval.length - forecast.created_at
            before_close.add_metric([row.name, forecast.model], ahead.total_seconds())
        of_series = findings.get(row.name, [])
        drift.add_metric([row.name], float(any(finding.code == "drift" for finding in of_series)))
        kinds = sorted({(finding.code, finding.severity) for finding in of_series})
        for code, severity in kinds:
            count = sum((finding.code, finding.severity) == (code, severity) for finding in of_series)
            odd.add_metric([row.name, code, severity], count)
    yield from (age, stale, candles, usual, spread, newest, late, serving, before_close, drift, odd)
