"""Who serves after the first day: python benchmarks/serves.py FILE [FILE ...] [--pool FILE ...] [--database DB]

Ingests CDD files (named `<series>.csv` or `<series>__<anything>.csv`), and those of --pool, which are only learnt
from. As a first day does, it backfills naive and the model to judge for the last three years of each series, with one
set of networks for all markets, and lets the gate judge. It prints the verdicts and their evidence. With --database a
second run continues: forecasts that the database holds are not made again.
"""

import argparse
import tempfile
from datetime import timedelta
from pathlib import Path

from quality import NOW, prepare, printed_progress
from sqlalchemy import Engine
from tabulate import tabulate

from models.forecasts import BASELINE
from storage.candles import read_history
from storage.database.engine import open_database, reading
from storage.registry import list_versions
from tasks.steps.backfill import BackfillJob, backfill
from tasks.steps.gate import gate
from tasks.steps.score import score_matured

SKILL_DAYS = timedelta(days=1095)
SHOWN_STEPS = (1, 7)


def verdict(engine: Engine, series: str, model: str) -> dict[str, object]:
    """Backfill three years of `series`, score them, and return what the gate says of `model`."""
    with reading(engine) as conn:
        history = read_history(conn, series=series)
    end = history.known_at()["close_time"].iloc[-1].to_pydatetime()
    job = BackfillJob(series, (BASELINE, model), end - SKILL_DAYS, end, NOW)
    for name in job.models:
        done = backfill(engine, job, model=name, history=history, progress=printed_progress(name))
        assert not done.failures, done.failures
    score_matured(engine, series=series, now=NOW)
    with reading(engine) as conn:
        version = max(row.id for row in list_versions(conn, series=series) if row.model == model)
    decision = gate(engine, series=series, version=version, model=model, baseline=BASELINE, start=job.start, now=NOW)
    evidence = decision.evidence
    return {
        "series": series,
        "until": end.date(),
        "n": evidence["origins"],
        **{f"step {step}": f"{evidence[f'skill_vs_baseline_step{step}']:+.2%}" for step in SHOWN_STEPS},
        "e": f"{evidence.get('e_better', float('nan')):.3g}",
        "serves": model if decision.promote else f"{BASELINE}: {decision.reason}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="the markets to judge models on")
    parser.add_argument("--pool", type=Path, nargs="*", default=[], help="further markets to learn from")
    parser.add_argument("--model", default="blend", help="the model to judge")
    parser.add_argument("--database", type=Path, help="keep the forecasts in this SQLite file")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        engine = open_database(f"sqlite:///{chosen.database or Path(scratch) / 'serves.db'}")
        names = prepare(engine, [*chosen.files, *chosen.pool])[: len(chosen.files)]
        rows = [verdict(engine, series, chosen.model) for series in names]
        engine.dispose()
    print(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
