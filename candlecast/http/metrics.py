"""The metrics for Prometheus, read from the database at each scrape."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Connection

from models.arrivals import Arrival, UsualTime
from models.candles import Interval
from models.freshness import is_stale
from storage.arrivals import newest_arrivals, read_usual_times
from storage.decisions import Champion, champions
from storage.findings import FindingRow, open_findings
from storage.forecasts import OriginRow, read_origins
from storage.query import ForecastFilter
from storage.series import SeriesRow, parsed_names, series_summary


class _Gauges:
    """The metrics, in the order in which they are shown."""

    def __init__(self) -> None:
        self.age = _gauge("data_age_seconds", "Time since the newest closed candle closed.")
        self.stale = _gauge("data_stale", "1 while the data is stale.")
        self.candles = _gauge("candles", "Closed candles stored.")
        self.usual = _gauge(
            "usual_publication_seconds",
            "How long after its close a candle is usually published: eight of ten between earliest and latest.",
            "time",
        )
        self.spread = _gauge("usual_publication_spread_seconds", "From the earliest to the latest usual time.")
        self.newest = _gauge(
            "publication_seconds",
            "How long after its close the newest closed candle was published, or seen where that is not known.",
        )
        self.late = _gauge(
            "publication_late_seconds",
            "How much later than the latest usual time the next candle is by now; 0 while it is in time.",
        )
        self.serving = _gauge(
            "champion_age_seconds",
            "Time since the champion's training data ended; for a model that learns nothing, time since it took over.",
            "model",
        )
        self.before_close = _gauge(
            "forecast_before_close_seconds",
            "How long before its first close the champion's newest live forecast was stored; negative if it came after "
            "it.",
            "model",
        )
        self.drift = _gauge("champion_drifting", "1 while the champion's live scores show drift.")
        self.odd = _gauge("open_findings", "Findings that are open.", "code", "severity")


def _gauge(name: str, meaning: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"candlecast_{name}", meaning, labels=["series", *labels])


def metrics(conn: Connection, *, now: datetime) -> Iterator[Metric]:
    """Yield the state of every stored series at `now`: age of data and champion, publication, drift and findings."""
    rows = series_summary(conn)
    # All series are asked for at once: a question for each would take most of the time.
    names = [row.name for row in rows]
    usual, arrivals = read_usual_times(conn, series=parsed_names(names)), newest_arrivals(conn, series=names)
    serving, findings = champions(conn, series=names), open_findings(conn)
    latest = {forecast.series: forecast for forecast in read_origins(conn, ForecastFilter(latest=True))}
    gauges = _Gauges()
    for row in rows:
        _add_data(gauges, row, usual.get(row.name), arrivals.get(row.name), now)
        _add_champion(gauges, row, serving.get(row.name), latest.get(row.name), now)
        _add_findings(gauges, row.name, findings.get(row.name, []))
    yield from vars(gauges).values()


def _add_data(gauges: _Gauges, row: SeriesRow, usual: UsualTime | None, arrival: Arrival | None, now: datetime) -> None:
    interval = Interval(row.interval)
    gauges.candles.add_metric([row.name], row.candles)
    if row.last_close is not None:
        gauges.age.add_metric([row.name], (now - row.last_close).total_seconds())
    gauges.stale.add_metric([row.name], float(is_stale(row.last_close, interval, now, usual)))
    if arrival is not None:
        gauges.newest.add_metric([row.name], arrival.delay.total_seconds())
    if usual is not None and row.last_close is not None:
        for time in ("earliest", "median", "latest"):
            gauges.usual.add_metric([row.name, time], getattr(usual, time).total_seconds())
        gauges.spread.add_metric([row.name], usual.spread.total_seconds())
        expected = row.last_close + interval.length + usual.latest
        gauges.late.add_metric([row.name], max((now - expected).total_seconds(), 0.0))


def _add_champion(
    gauges: _Gauges, row: SeriesRow, champion: Champion | None, latest: OriginRow | None, now: datetime
) -> None:
    if champion is not None:
        since = champion.cutoff or champion.since
        gauges.serving.add_metric([row.name, champion.model], (now - since).total_seconds())
    if latest is not None:
        ahead = latest.origin + Interval(row.interval).length - latest.created_at
        gauges.before_close.add_metric([row.name, latest.model], ahead.total_seconds())


def _add_findings(gauges: _Gauges, series: str, findings: Sequence[FindingRow]) -> None:
    gauges.drift.add_metric([series], float(any(finding.code == "drift" for finding in findings)))
    for (code, severity), count in sorted(Counter((one.code, one.severity) for one in findings).items()):
        gauges.odd.add_metric([series, code, severity], count)
