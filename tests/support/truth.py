"""What the database of simulated days has to hold, kept outside it, and SQL that compares it with the promises."""

import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from faulty_source import FaultySource
from messages import FEWEST, SAME, Messages, sql_time
from timetable import DAY, HOUR, MINUTE

STEPS, LEVELS = 7, 23
POLL = 5 * MINUTE
# For the work itself, and for a file that is fetched again because it was too new to tell anything.
LITTLE = 2 * MINUTE
WAIT = 12 * HOUR


def instant(text: str) -> datetime:
    """The moment that a column of SQLite holds as text."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Truth:
    """What has to be stored after each day, and the SQL that compares."""

    def __init__(self, path: Path, source: FaultySource, messages: Messages) -> None:
        self.path, self.source, self.messages = path, source, messages
        self.closes: dict[str, dict[datetime, float]] = defaultdict(dict)
        self.forecasts: dict[int, tuple[object, ...]] = {}
        self.last = 0
        # When the candle was there, of the newest arrivals, as lengths after its close.
        self.delays: dict[str, list[timedelta]] = defaultdict(list)
        self.spoken: set[tuple[str, datetime]] = set()
        # Today's: the candles that are new with the moments at which they could be had, and the forecasts that are due.
        self.arrived: dict[tuple[str, datetime], tuple[datetime, datetime | None, timedelta]] = {}
        self.due: dict[tuple[str, datetime], tuple[datetime, timedelta]] = {}
        self.counted: Counter[str] = Counter()

    def expect(self, series: str, *, start: datetime, close: datetime) -> bool:
        """Note what the day that begins at `start` has to store of `series`; returns whether its candle is late."""
        closes = self.closes[series]
        for moment, file in self.source.changes(series, start, close + WAIT):
            new = [opened for opened in file.closes if opened not in closes]
            self.messages.file(series, file, closes)
            closes.update(file.closes)
            newest = max(closes) + DAY
            within = self._within(series, moment - close, at_once=moment == start)
            for opened in new:
                self.arrived[series, opened] = moment, file.made_at, within
            if newest - DAY in new and moment > start:
                self.delays[series].append((file.made_at or moment) - newest)
            if (series, newest) not in self.spoken and len(closes) >= FEWEST:
                self.spoken.add((series, newest))
                self.due[series, newest] = moment, within
            if newest >= close:
                return False
        return True

    def _within(self, series: str, delay: timedelta, *, at_once: bool) -> timedelta:
        """Within which time a change has to be noticed: questions are dense around the usual time, else sparse."""
        newest = self.delays[series][-30:]
        # Five of the newest thirty candles came no later than this, give or take, and five no earlier.
        sooner = sum(other <= delay + 20 * MINUTE for other in newest)
        later = sum(other >= delay - 20 * MINUTE for other in newest)
        usual = min(sooner, later) >= 5
        self.counted["at once" if at_once else "at the usual time" if usual else "at another time"] += 1
        return LITTLE + (timedelta(0) if at_once else POLL if usual else 3 * POLL)

    def check(self, now: datetime, *, late: set[str], first: bool, whole: bool) -> None:
        """Check what is stored after a day that ended at `now`."""
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as conn:
            for series in self.source.markets:
                self._candles(conn, series, now)
            self._arrivals(conn)
            self.messages.check(conn, self.closes, self.last)
            self._forecasts(conn, whole)
            self._live_forecasts(conn, first)
            self._scores(conn)
            rows = conn.execute("SELECT series FROM findings WHERE code = 'late' AND resolved_at IS NULL")
            assert {series for (series,) in rows} == late
        self.arrived, self.due = {}, {}

    def _candles(self, conn: sqlite3.Connection, series: str, now: datetime) -> None:
        newest = dict(
            conn.execute(
                "SELECT open_time, close FROM candles c WHERE NOT provisional AND series = ? AND fetched_at = "
                "(SELECT max(fetched_at) FROM candles n WHERE n.series = c.series AND n.open_time = c.open_time "
                "AND NOT n.provisional)",
                [series],
            )
        )
        # Nothing is lost, nothing made up, and the newest revision is that of the source's newest file.
        expected = {sql_time(opened): close for opened, close in self.closes[series].items()}
        assert newest == pytest.approx(expected, rel=SAME, abs=0)
        ((early,),) = conn.execute(
            "SELECT count(*) FROM candles WHERE NOT provisional AND close_time > ?", [sql_time(now)]
        )
        assert early == 0

    def _arrivals(self, conn: sqlite3.Connection) -> None:
        """Each candle was seen soon after it could be had, and its time of publication is that of the honest file."""
        for (series, opened), (moment, made_at, within) in self.arrived.items():
            ((published, seen),) = conn.execute(
                "SELECT published_at, seen_at FROM arrivals WHERE series = ? AND close_time = ?",
                [series, sql_time(opened + DAY)],
            )
            assert moment <= instant(seen) <= moment + within, (series, opened, moment, seen)
            # A file that was a minute old at most may have been dated for us, so its time tells nothing.
            expected = made_at if made_at is not None and instant(seen) - made_at >= MINUTE else None
            assert (published and instant(published)) == expected, (series, opened, seen)
        rows = conn.execute(
            "SELECT count(*) FROM candles c WHERE NOT provisional AND fetched_at = (SELECT min(fetched_at) FROM "
            "candles n WHERE n.series = c.series AND n.open_time = c.open_time AND NOT n.provisional)"
        )
        assert rows.fetchone() == (sum(map(len, self.closes.values())),)

    def _forecasts(self, conn: sqlite3.Connection, whole: bool) -> None:
        rows = conn.execute(
            "SELECT f.id, f.series, f.model, f.kind, f.origin, f.created_at, f.data_fingerprint, v.cutoff "
            "FROM forecasts f JOIN model_versions v ON v.id = f.model_version"
        ).fetchall()
        keys = Counter(row[1:5] for row in rows)
        assert max(keys.values(), default=1) == 1
        # No model has seen what comes after its origin.
        assert [row for row in rows if row[7] is not None and row[7] > row[4]] == []
        # Every model that serves, is compared with or was asked for has spoken from the newest close.
        for series in self.source.markets:
            origin = sql_time(max(self.closes[series]) + DAY)
            spoken = {row[2] for row in rows if row[1] == series and row[3] == "live" and row[4] == origin}
            if len(self.closes[series]) < FEWEST:
                assert spoken == set(), series
                continue
            ((champion,),) = conn.execute(
                "SELECT v.model FROM promotions p JOIN model_versions v ON v.id = p.model_version "
                "WHERE p.series = ? AND p.outcome <> 'kept' ORDER BY p.id DESC LIMIT 1",
                [series],
            )
            # A version that has learnt from a later candle of another market does not forecast this close.
            ((trained,),) = conn.execute(
                "SELECT count(*) FROM model_versions WHERE model = 'lstm' AND purpose = 'live' AND cutoff <= ?",
                [origin],
            )
            assert spoken >= {"naive", "range-ewma", champion} | ({"lstm"} if trained else set())
        # What is stored is never changed and never lost.
        stored = {row[0]: row[1:7] for row in rows}
        assert self.forecasts.items() <= stored.items()
        new = [number for number in stored if number not in self.forecasts]
        self.forecasts = stored
        chosen = "1" if whole else f"forecast IN ({','.join(map(str, new)) or 'NULL'})"
        wrong = conn.execute(
            f"SELECT forecast FROM forecast_values WHERE {chosen} GROUP BY forecast "
            f"HAVING count(*) <> {STEPS * LEVELS} OR min(value) <= 0"
        ).fetchall()
        assert wrong == []
        ((counted,),) = conn.execute(f"SELECT count(DISTINCT forecast) FROM forecast_values WHERE {chosen}")
        assert counted == (len(stored) if whole else len(new))

    def _live_forecasts(self, conn: sqlite3.Connection, first: bool) -> None:
        """Each forecast that is due was stored soon after its candle could be had, and the view tells late steps."""
        rows = conn.execute(
            "SELECT id, series, model, origin, created_at FROM forecasts WHERE kind = 'live' AND id > ?", [self.last]
        ).fetchall()
        assert {(series, instant(origin)) for _, series, _, origin, _ in rows} == set(self.due)
        for _, series, model, origin, created in rows:
            moment, within = self.due[series, instant(origin)]
            # A model's first training begins when no series waits any more.
            if not (first and model == "lstm"):
                assert moment <= instant(created) <= moment + within, (series, model, origin, moment, created)
        steps = conn.execute(
            "SELECT origin, created_at, step, target_time, before_close FROM forecast_bands WHERE kind = 'live' AND "
            "forecast_id > ?",
            [self.last],
        ).fetchall()
        assert len(steps) == STEPS * len(rows)
        for origin, created, step, target, before_close in steps:
            assert instant(target) == instant(origin) + (step - 1) * DAY
            assert bool(before_close) == (instant(created) < instant(origin) + step * DAY)
            self.counted["before its close" if before_close else "after its close"] += 1
        self.last = max(self.forecasts)

    def _scores(self, conn: sqlite3.Connection) -> None:
        # A score's truth is a closed candle's revision, and every step whose candle is there has one.
        ((wrong,),) = conn.execute(
            "SELECT count(*) FROM scores s WHERE NOT EXISTS (SELECT 1 FROM candles c JOIN forecasts f ON f.series = "
            "c.series JOIN forecast_values v ON v.forecast = f.id AND v.step = s.step AND v.quantile = 0.5 WHERE "
            "f.id = s.forecast AND c.open_time = v.target_time AND c.fetched_at = s.truth_fetched_at "
            "AND c.close = s.actual AND NOT c.provisional) AND s.scored_at = (SELECT max(scored_at) FROM scores)"
        )
        assert wrong == 0
        ((missing,),) = conn.execute(
            "SELECT count(*) FROM forecast_values v JOIN forecasts f ON f.id = v.forecast WHERE v.quantile = 0.5 "
            "AND f.id > (SELECT max(id) FROM forecasts) - 60 AND EXISTS (SELECT 1 FROM candles c WHERE c.series = "
            "f.series AND c.open_time = v.target_time AND NOT c.provisional) "
            "AND NOT EXISTS (SELECT 1 FROM scores s WHERE s.forecast = v.forecast AND s.step = v.step)"
        )
        assert missing == 0

    def skill_is_honest(self, series: str) -> set[str]:
        """Check that the view's means are those of the scores, with live, late and backfill apart; returns its kinds.

        A step of a live forecast is live only if it was stored before its candle closed.
        """
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as conn:
            view = conn.execute(
                "SELECT model, kind, step, n, crps FROM model_skill WHERE series = ?", [series]
            ).fetchall()
            rows = conn.execute(
                "SELECT f.model, f.kind, s.step, f.origin, f.created_at, s.crps FROM scores s JOIN forecasts f ON "
                "f.id = s.forecast WHERE f.series = ? AND s.truth_fetched_at = (SELECT max(truth_fetched_at) FROM "
                "scores t WHERE t.forecast = s.forecast AND t.step = s.step)",
                [series],
            ).fetchall()
        naive = {row[1:4] for row in rows if row[0] == "naive"}
        means: dict[tuple[object, ...], list[float]] = defaultdict(list)
        for model, kind, step, origin, created, crps in rows:
            if (kind, step, origin) in naive:
                is_late = kind == "live" and instant(created) >= instant(origin) + step * DAY
                means[model, "late" if is_late else kind, step].append(crps)
        assert {row[:3]: row[3] for row in view} == {key: len(values) for key, values in means.items()}
        for model, kind, step, _n, crps in view:
            values = means[model, kind, step]
            assert crps == pytest.approx(sum(values) / len(values))
        return {kind for _, kind, *_ in view}
