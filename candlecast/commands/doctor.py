"""`candlecast doctor`: check the installation and say how to fix what is wrong."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from flows.settings import Settings
from flows.sources import cdd_client
from models.arrivals import Arrival, UsualTime, usual_words
from models.candles import Interval, SeriesName
from models.catalog import Scope, family
from models.errors import NetworksUnusable
from models.freshness import is_stale, normal_delay
from models.waiting import after_the_wait, close_words, due_close
from models.wording import close_day
from storage.database.engine import disposing, open_for_reading, reading
from storage.database.integrity import DamagedVersion, damaged_pages, damaged_weights
from storage.database.version import head_version
from storage.errors import StorageError
from storage.redaction import printable, safe_database_url, safe_url, without_credentials

RESTORE = "stop what uses the database, then put a backup back: candlecast restore FILE"


@dataclass(frozen=True)
class Check:
    """The result of one check: whether it is in order, what was found, and what to do if it is not."""

    check: str
    ok: bool
    found: str
    remedy: str = ""


def examine(settings: Settings) -> Iterator[Check]:
    """Yield the result of each check as soon as it is done. No check changes anything."""
    yield from _guarded("source", lambda: [_source(settings)])
    (database,) = _guarded("database", lambda: [_database(settings)])
    yield database
    if database.ok:
        yield from _guarded("file", lambda: [_file(settings)])
        for name in settings.series:
            yield from _guarded(f"data of {name}", partial(_series, settings, name))
        yield from _guarded("networks", lambda: _networks(settings))
    yield from _guarded("prefect", lambda: [_prefect()])
    yield from _guarded("device", lambda: [_device()])


def lines_of(check: Check) -> str:
    """Return a check as lines for a terminal: whether it is in order, what was found, and the remedy below it."""
    line = f"{'ok' if check.ok else 'WRONG':5}  {check.check}: {check.found}"
    return printable(f"{line}\n       remedy: {check.remedy}" if check.remedy else line)


def _guarded(name: str, look: Callable[[], list[Check]]) -> list[Check]:
    try:
        return look()
    except StorageError as error:
        return [Check(name, False, str(error), "follow the message")]
    except Exception as error:  # a check that breaks is reported as one that failed
        what = without_credentials(f"{type(error).__name__}: {error}")
        return [Check(name, False, what, "see the message; if it does not help, report it as a bug")]


def _source(settings: Settings) -> Check:
    answer = cdd_client(settings, tries=1).reachable(SeriesName.parse(settings.series[0]))
    return Check("source", True, answer)


def _database(settings: Settings) -> Check:
    with disposing(open_for_reading(settings.database_url)) as engine:
        return Check("database", True, f"{safe_database_url(engine)} at schema {head_version()}")


def _file(settings: Settings) -> Check:
    with disposing(open_for_reading(settings.database_url)) as engine, reading(engine) as conn:
        damage = damaged_pages(conn)
    if damage:
        return Check("file", False, f"the database's file is damaged: {'; '.join(damage)}", RESTORE)
    return Check("file", True, "sound" if engine.dialect.name == "sqlite" else "the database server checks it")


def _series(settings: Settings, name: str) -> list[Check]:
    from storage.arrivals import newest_arrival, read_usual_time
    from storage.candles import latest_close_time
    from storage.decisions import champion

    with disposing(open_for_reading(settings.database_url)) as engine, reading(engine) as conn:
        latest, serving = latest_close_time(conn, series=name), champion(conn, series=name)
        damaged = damaged_weights(conn, series=name)
        usual, newest = read_usual_time(conn, series=name), newest_arrival(conn, series=name)
    if latest is None:
        return [Check(f"data of {name}", False, "no candles stored", f"run: candlecast ingest {name}")]
    now = datetime.now(UTC)
    interval = SeriesName.parse(name).interval
    stale = is_stale(latest, interval, now, usual)
    days = (now - latest).total_seconds() / 86400
    checks = [
        Check(
            f"data of {name}",
            not stale,
            f"the newest stored close is that of {close_day(latest, interval)}, {days:.1f} days ago",
            "is the schedule running, and does the source still serve this series?" if stale else "",
        )
    ]
    checks.append(_arrival(name, interval, newest, usual, now, settings.wait_hours))
    if damaged:
        checks.append(_damage(f"weights of {name}", damaged, f"candlecast rollback {name}"))
    if serving is None:
        return [*checks, Check(f"champion of {name}", False, "none", f"run: candlecast daily {name}")]
    trained = serving.cutoff
    overdue = trained is not None and latest - trained > timedelta(days=settings.scratch_days + settings.fine_tune_days)
    text = f"version {serving.model_version} ({serving.model}) since {serving.since:%Y-%m-%d}" + (
        f", trained up to {trained:%Y-%m-%d}" if trained else ""
    )
    return [
        *checks,
        Check(f"champion of {name}", not overdue, text, f"run: candlecast train {name}" if overdue else ""),
    ]


def _networks(settings: Settings) -> list[Check]:
    """Say what the networks for all series of an interval learnt from, up to when, and whether they are sound."""
    from storage.registry import newest_version

    if not family(settings.model).pooled:
        return []
    with disposing(open_for_reading(settings.database_url)) as engine, reading(engine) as conn:
        damaged = damaged_weights(conn, series=None)
        newest = {
            interval: newest_version(conn, scope=Scope(interval), model=settings.model)
            for interval in sorted({SeriesName.parse(name).interval for name in settings.series})
        }
    checks = [_damage("weights", damaged, "candlecast rollback SERIES")] if damaged else []
    for interval, version in newest.items():
        name = f"{settings.model} for {interval} series"
        if version is None or version.cutoff is None:
            checks.append(Check(name, True, "not trained yet"))
            continue
        days = (datetime.now(UTC) - version.cutoff).days
        checks.append(
            Check(
                name,
                True,
                f"version {version.id} learnt from {len(version.learnt_from)} series up to {version.cutoff:%Y-%m-%d}, "
                f"{days} days ago: {', '.join(version.learnt_from)}",
            )
        )
    return checks


def _damage(name: str, damaged: list[DamagedVersion], way_back: str) -> Check:
    versions = ", ".join(f"{version.id} ({version.model}, {version.purpose})" for version in damaged)
    remedy = f"{RESTORE}; without one, if it is the champion: {way_back}"
    return Check(name, False, f"not those that were registered: version {versions}", remedy)


def _arrival(
    name: str, interval: Interval, newest: Arrival | None, usual: UsualTime | None, now: datetime, wait_hours: float
) -> Check:
    """Say when the source usually publishes, and when it did last; late is what has not come by its usual time."""
    due = due_close(now, interval)
    text = usual_words(usual, interval)
    if advice := after_the_wait(usual, wait_hours):
        text += f"; a day waits until {wait_hours:g} h after the close, and {advice}"
    if newest is not None and newest.close_time >= due:
        came = newest.published_at or newest.seen_at
        how = "" if newest.published_at else " (as far as it was seen)"
        return Check(f"arrivals of {name}", True, f"{text}; today {came:%H:%M}{how}")
    late = now > due + normal_delay(usual)
    return Check(
        f"arrivals of {name}",
        not late,
        f"{text}; {close_words(due, interval)} is {'late' if late else 'not published yet'}",
        "is the schedule running, and does the source still serve this series?" if late else "",
    )


def _prefect() -> Check:
    from candlecast.orchestrator import home
    from candlecast.orchestrator.configured import configured_url

    url = configured_url()
    standing = home.standing_server()
    if not url and standing is not None:
        url = standing.url
    if not url:
        text = f"no server is configured: each command starts a temporary one in {home.home()} (see candlecast serve)"
        return Check("prefect", True, text)
    import requests

    try:
        healthy = requests.get(f"{url.rstrip('/')}/health", timeout=5).ok
    except requests.RequestException as error:
        return Check("prefect", False, f"{safe_url(url)}: {type(error).__name__}", "start it: candlecast serve")
    return Check("prefect", healthy, safe_url(url), "" if healthy else "look at the server's log")


def _device() -> Check:
    try:
        from models.lstm.backend import device, on_accelerator
    except NetworksUnusable as error:
        return Check("device", False, str(error), "until then candlecast makes the forecasts that need no network")
    return Check("device", True, device() + ("" if on_accelerator() else f", {os.cpu_count()} cores"))
