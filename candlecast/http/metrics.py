"""What a monitoring system wants to know, in Prometheus's words, read from the database at each scrape."""

from collections.abc import Iterator
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Connection

from storage.findings import read_findings
from storage.registry import champion
from storage.series import series_summary


def metrics(conn: Connection, *, now: datetime) -> Iterator[Metric]:
    """Yield the state of every stored series at `now`: how old data and champion are, and what is odd."""
    age = GaugeMetricFamily(
        "candlecast_data_age_seconds", "Time since the newest closed candle closed.", labels=["series"]
    )
    candles = GaugeMetricFamily("candlecast_candles", "Closed candles stored.", labels=["series"])
    serving = GaugeMetricFamily(
        "candlecast_champion_age_seconds",
        "Time since the champion's training data ended; of models that learn nothing, since it took over.",
        labels=["series", "model"],
    )
    drift = GaugeMetricFamily(
        "candlecast_champion_drifting", "1 while the champion's live scores show drift.", labels=["series"]
    )
    odd = GaugeMetricFamily(
        "candlecast_open_findings", "Findings that are open.", labels=["series", "code", "severity"]
    )
    findings = read_findings(conn)
    for row in series_summary(conn):
        candles.add_metric([row.name], row.candles)
        if row.last_close is not None:
            age.add_metric([row.name], (now - row.last_close).total_seconds())
        holder = champion(conn, series=row.name)
        if holder is not None:
            since = holder.cutoff or holder.since
            serving.add_metric([row.name, holder.model], (now - since).total_seconds())
        of_series = [finding for finding in findings if finding.series == row.name]
        drift.add_metric([row.name], float(any(finding.code == "drift" for finding in of_series)))
        kinds = sorted({(finding.code, finding.severity) for finding in of_series})
        for code, severity in kinds:
            count = sum((finding.code, finding.severity) == (code, severity) for finding in of_series)
            odd.add_metric([row.name, code, severity], count)
    yield from (age, candles, serving, drift, odd)
