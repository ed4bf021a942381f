"""Watching the champion and judging challengers by stored scores, and findings about odd bands."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from markets import NOW, ingest_walk
from sqlalchemy import Engine, select
from stores import Store

from models.catalog import scope
from models.forecasts import Forecast, Kind
from models.gate import Decision, Verdict, WalkForward, judge, watch
from models.metrics import covered, crps, pit
from storage import decisions, registry
from storage.database.engine import reading, writing
from storage.findings import read_findings
from storage.forecasts import insert_forecasts, read_origins
from storage.query import ForecastFilter
from storage.scores import Score, insert_scores
from storage.tables import promotions
from tasks.steps.gate import _walks, ensure_champion, gate, watch_champion
from tasks.steps.odd import check_bands

SERIES = "Bitstamp_BTCUSD_d"
DAY = timedelta(days=1)
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
SHAPE = np.array([-2.33, -1.96, -1.645, -1.28, -1.036, -0.842, -0.674, -0.524, -0.385, -0.253, -0.126, 0.0])
SHAPE = np.concatenate([SHAPE, -SHAPE[-2::-1]])
RETURNS = 0.02 * np.random.default_rng(0).standard_normal(2000)


@pytest.fixture
def market(engine: Engine, tmp_path: Path) -> Engine:
    """A database with naive as champion, and with a few candles that these tests do not use."""
    ingest_walk(engine, tmp_path, n=70, now=NOW)
    ensure_champion(engine, series=SERIES, baseline="naive", now=FIRST)
    return engine


def live(
    engine: Engine, model: str, sigmas: Sequence[float], *, first: int = 0, scored: bool = True, seed: int = 0
) -> int:
    """Store live one-step forecasts of these volatilities, each an hour after its origin, and their scores.

    Another `seed` is another version of the model.
    """
    with writing(engine) as conn:
        version = registry.register(
            conn, scope=scope(model, SERIES), model=model, config={}, seed=seed, cutoff=None,
            data_fingerprint="f" * 64, device="cpu", seconds=0.0, purpose="live", code_version="test",
            created_at=FIRST, weights=None,
        )  # fmt: skip
        for day, sigma in enumerate(sigmas, start=first):
            origin = FIRST + day * DAY
            quantiles = sigma * SHAPE
            insert_forecasts(
                conn, series=SERIES, model=model, model_version=version, kind=Kind.LIVE, created_at=origin + DAY / 24,
                forecasts=[Forecast(origin, 100 * np.exp(quantiles[None]), "f" * 64)],
            )  # fmt: skip
            if not scored:
                continue
            (row,) = read_origins(conn, ForecastFilter(SERIES, model=model, kind=Kind.LIVE, origin=origin))
            inside = covered(RETURNS[day], quantiles)
            insert_scores(
                conn,
                scored_at=origin + DAY,
                rows=[
                    Score(
                        row.forecast_id, 1, origin + DAY, 100 * float(np.exp(RETURNS[day])), 1.0,
                        float(crps(RETURNS[day], quantiles)),
                        *(bool(inside[name]) for name in ("coverage50", "coverage80", "coverage95")),
                        float(pit(RETURNS[day], quantiles)),
                    )
                ],
            )  # fmt: skip
    return version


def serve(engine: Engine, version: int) -> None:
    with writing(engine) as conn:
        decisions.promote(conn, version=version, series=SERIES, reason="test", decided_at=FIRST)


def serving(engine: Engine) -> str:
    with reading(engine) as conn:
        champion = decisions.champion(conn, series=SERIES)
    assert champion is not None
    return champion.model


def codes(engine: Engine) -> set[str]:
    """Return the codes of the open findings about models; all others are about candles."""
    with reading(engine) as conn:
        return {finding.code for finding in read_findings(conn, series=SERIES)} & {"demoted", "odd-band"}


def test_a_good_champion_stays_and_the_baseline_is_not_watched(market: Engine) -> None:
    assert watch_champion(market, series=SERIES, now=FIRST) is None
    live(market, "naive", [0.03] * 100)
    serve(market, live(market, "lstm", [0.02] * 100))
    verdict = watch_champion(market, series=SERIES, now=FIRST + 100 * DAY)
    assert verdict is not None
    assert not verdict.demote
    # It was never demoted, so its first band is not suspected.
    assert verdict.evidence["e_odd_bands"] == 1.0
    assert (serving(market), codes(market)) == ("lstm", set())


def test_the_watch_looks_no_further_back_than_the_gate(market: Engine) -> None:
    live(market, "naive", [0.06] * 300)
    version = live(market, "lstm", [0.3] * 100 + [0.02] * 200)
    gate(
        market, series=SERIES, version=version, model="lstm", baseline="naive", start=FIRST + 100 * DAY,
        now=FIRST + 300 * DAY,
    )  # fmt: skip
    assert serving(market) == "lstm"
    verdict = watch_champion(market, series=SERIES, now=FIRST + 300 * DAY)
    assert verdict is not None
    assert (verdict.demote, verdict.evidence["origins"]) == (False, 200)


def test_a_champion_whose_bands_become_five_times_too_wide_is_demoted_within_a_week(market: Engine) -> None:
    live(market, "naive", [0.02] * 107)
    version = live(market, "lstm", [0.02] * 100 + [0.1] * 7)
    serve(market, version)
    now = FIRST + 107 * DAY
    verdict = watch_champion(market, series=SERIES, now=now)
    assert verdict is not None
    assert verdict.demote
    assert (serving(market), codes(market)) == ("naive", {"demoted"})
    with reading(market) as conn:
        row = conn.execute(select(promotions).order_by(promotions.c.id.desc())).first()
    assert row is not None
    assert (row.outcome, row.previous, row.decided_at) == ("demoted", version, now)
    assert "lstm version" in row.reason
    assert json.loads(row.evidence) == verdict.evidence
    with reading(market) as conn:
        (finding,) = [one for one in read_findings(conn, series=SERIES) if one.code == "demoted"]
    assert finding.message == "lstm was demoted because it was worse than naive beyond chance; naive serves"
    assert finding.remedy == (
        "nothing: the next training is judged as usual. The page and /api/v1/decisions show why; candlecast rollback "
        "makes the demoted model serve again"
    )
    # The baseline is champion now, so nothing is watched. If a person promotes the model again, its evidence restarts.
    assert watch_champion(market, series=SERIES, now=now) is None
    assert codes(market) == {"demoted"}
    with writing(market) as conn:
        assert decisions.rollback(conn, series=SERIES, reason="test", decided_at=now) == version
    again = watch_champion(market, series=SERIES, now=now + DAY)
    assert again is not None
    assert not again.demote
    assert (serving(market), codes(market)) == ("lstm", set())


def test_a_demoted_model_comes_back_with_a_new_training_that_is_not_broken(market: Engine) -> None:
    good, broken, n = 0.02, 0.25, 250
    live(market, "naive", [0.05] * (n + 20))
    demoted = live(market, "lstm", [good] * n + [broken] * 7)
    serve(market, demoted)
    now = FIRST + (n + 7) * DAY
    judging = {"series": SERIES, "model": "lstm", "baseline": "naive", "start": FIRST}
    assert watch_champion(market, series=SERIES, now=now).demote
    # Its good years outweigh its week, but it does not come back itself.
    again = gate(market, version=demoted, now=now, **judging)
    assert again.promote is False
    assert again.reason.startswith(f"version {demoted} itself was demoted")
    # The next training is broken too: that shows within a week, although it does not serve.
    worse = live(market, "lstm", [broken] * 6, first=n + 7, seed=1)
    kept = gate(market, version=worse, now=now + 6 * DAY, **judging)
    assert not kept.promote
    assert kept.reason.startswith("its forecasts since it was demoted: it is worse than the baseline")
    assert kept.evidence["e_better"] >= 20
    assert serving(market) == "naive"


def test_the_training_after_a_demotion_is_judged_as_ever_and_watched_from_then_on(market: Engine) -> None:
    good, broken, n = 0.02, 0.25, 250
    live(market, "naive", [0.05] * (n + 20))
    serve(market, live(market, "lstm", [good] * n + [broken] * 7))
    now = FIRST + (n + 7) * DAY
    assert watch_champion(market, series=SERIES, now=now).demote
    cured = live(market, "lstm", [good] * 7, first=n + 7, seed=1)
    decision = gate(
        market, series=SERIES, version=cured, model="lstm", baseline="naive", start=FIRST, now=now + 7 * DAY
    )
    assert decision.promote, decision.reason
    assert serving(market) == "lstm"
    # What it forecast while naive served does not demote it again.
    live(market, "lstm", [good] * 6, first=n + 14, seed=1)
    verdict = watch_champion(market, series=SERIES, now=now + 13 * DAY)
    assert not verdict.demote
    # But its first band since then is suspected.
    assert verdict.evidence["e_odd_bands"] != 1.0
    with reading(market) as conn:
        since = decisions.serves_again_since(conn, series=SERIES, model="lstm")
    assert since == now + 7 * DAY


def test_the_gate_counts_live_scores_stored_before_the_close(market: Engine) -> None:
    live(market, "naive", [0.06] * 200)
    version = live(market, "lstm", [0.02] * 200)
    decision = gate(market, series=SERIES, version=version, model="lstm", baseline="naive", start=FIRST, now=FIRST)
    assert decision.promote, decision.reason
    assert decision.evidence["origins"] == 200


def test_of_an_origin_the_live_scores_count_where_all_models_have_them_in_time(engine: Engine) -> None:
    """Live scores are 0.01, others 0.02. On the second day only naive has a live one, on the third lstm's is late."""
    store = Store(engine)
    days = [store.origin + n * timedelta(days=1) for n in range(3)]
    stored = 0
    for model in ("naive", "lstm"):
        version = store.add_version(model)
        for day in days:
            store.add_forecasts(version, [day], model=model, kind=Kind.BACKFILL)
            store.add_score(stored := stored + 1, 1, 1.0, crps=0.02)
        for day in days if model == "naive" else (days[0], days[2]):
            late = timedelta(days=1) if model == "lstm" and day == days[2] else timedelta(minutes=20)
            store.add_forecasts(version, [day], model=model, created_at=day + late)
            store.add_score(stored := stored + 1, 1, 1.0, crps=0.01)
    with reading(engine) as conn:
        walks = _walks(conn, series=store.series, models=("naive", "lstm"), start=None)
    assert walks["naive"].crps[1].tolist() == walks["lstm"].crps[1].tolist() == [0.01, 0.02, 0.02]


def test_the_gate_reads_scores_and_quantiles_of_one_series_kind_and_step(engine: Engine) -> None:
    """The days of three quarters. The first is before the start; on the second only naive has a live score."""
    store, other = Store(engine), "Kraken_ETHEUR_d"
    store.add_series(other)
    days = [datetime(*day, tzinfo=UTC) for day in ((2019, 9, 30), (2019, 12, 31), (2020, 1, 1), (2020, 3, 31))]
    first_live = {"naive": 1, "range-ewma": 2}
    sources = product(first_live, (store.series, other), (Kind.BACKFILL, Kind.LIVE))
    # What is read shows by its prices and scores where it comes from.
    centres = dict(zip(sources, range(100, 900, 100), strict=True))
    forecast_id = 0
    for (model, series, kind), centre in centres.items():
        first = first_live[model] if kind is Kind.LIVE else 0
        version = store.add_version(model, series=series)
        store.add_forecasts(version, days[first:], series=series, model=model, kind=kind, centre=centre)
        for number in range(first, len(days)):
            forecast_id += 1
            store.add_score(forecast_id, 1, 1.0, crps=centre + number + 0.1)
            store.add_score(forecast_id, 2, 1.0, crps=centre + number + 0.2)
    with reading(engine) as conn:
        walks = _walks(conn, series=store.series, models=first_live, start=days[1])
    for model, step in product(first_live, (1, 2)):
        walk = walks[model]
        middles = [centres[model, store.series, kind] for kind in (Kind.BACKFILL, Kind.LIVE, Kind.LIVE)]
        assert walk.crps[step].tolist() == [middle + number + step / 10 for number, middle in enumerate(middles, 1)]
        assert np.exp(walk.quantiles[step][:, 11]).tolist() == pytest.approx([middle + step + 4 for middle in middles])
        assert walk.slots[step].tolist() == [(day - datetime(1970, 1, 1, tzinfo=UTC)).days for day in days[1:]]
        assert (walk.quarters[step] - walk.quarters[step][0]).tolist() == [0, 1, 1]


def test_a_champion_promoted_during_the_gate_becomes_the_opponent(
    market: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(market, "naive", [0.06] * 200)
    other = live(market, "range-ewma", [0.02] * 200)
    version = live(market, "lstm", [0.02] * 200)
    opponents = []

    def judge_while_a_person_promotes(
        challenger: WalkForward, baseline: WalkForward, incumbent: WalkForward | None, *, renews: bool
    ) -> Decision:
        opponents.append(incumbent)
        if serving(market) == "naive":
            serve(market, other)
        return judge(challenger, baseline, incumbent, renews=renews)

    monkeypatch.setattr("tasks.steps.gate.judge", judge_while_a_person_promotes)
    decision = gate(market, series=SERIES, version=version, model="lstm", baseline="naive", start=FIRST, now=FIRST)
    assert [opponent is not None for opponent in opponents] == [False, True]
    assert not decision.promote
    assert "not better than the incumbent" in decision.reason
    assert serving(market) == "range-ewma"


def test_a_champion_that_a_person_replaces_during_the_watch_is_not_demoted(
    market: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(market, "naive", [0.02] * 107)
    other = live(market, "range-ewma", [0.02] * 107)
    serve(market, live(market, "lstm", [0.02] * 100 + [0.1] * 7))

    def watch_while_a_person_promotes(champion: WalkForward, baseline: WalkForward, *, suspected: bool) -> Verdict:
        serve(market, other)
        return watch(champion, baseline, suspected=suspected)

    monkeypatch.setattr("tasks.steps.gate.watch", watch_while_a_person_promotes)
    assert watch_champion(market, series=SERIES, now=FIRST + 107 * DAY) is None
    assert (serving(market), codes(market)) == ("range-ewma", set())


def test_odd_bands_are_findings_with_their_day(market: Engine) -> None:
    live(market, "naive", [0.02] * 2, scored=False)
    live(market, "lstm", [0.02, 0.1], scored=False)
    live(market, "range-ewma", [0.02, 0.03], scored=False)
    (finding,) = check_bands(market, series=SERIES, now=FIRST + DAY)
    assert finding.message == (
        "the 80 % band of lstm after the close of 2024-01-01 is odd: step 1 is 5 times as wide as in the "
        "forecast before"
    )
    assert (finding.first_time, codes(market)) == (FIRST + DAY, {"odd-band"})
    live(market, "naive", [0.02], first=2, scored=False)
    live(market, "lstm", [0.003], first=2, scored=False)
    (narrow,) = check_bands(market, series=SERIES, now=FIRST + 2 * DAY)
    assert "0.03 times as wide as in the forecast before" in narrow.message
    live(market, "naive", [0.02], first=3, scored=False)
    assert check_bands(market, series=SERIES, now=FIRST + 3 * DAY) == []
    assert codes(market) == set()
