"""The skill of the forecasts against naive, with its confidence interval and p-value."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from math import fsum
from typing import Any

from sqlalchemy import Connection

from models.accuracy import diebold_mariano, student_t_bound
from models.forecasts import BASELINE, ScoreKind
from storage.query import EVERY_FORECAST, ForecastFilter
from storage.scores import SkillRow, StepScores, read_step_scores
from storage.series import series_names

LEAST_ORIGINS = 10


def judged_skill(conn: Connection, wanted: ForecastFilter = EVERY_FORECAST) -> list[SkillRow]:
    """Return the scores by series, kind, model and step, each tested against naive on shared origins.

    The means are those of the view `model_skill`. They are computed here, because the tests need every score anyway.
    Naive itself, and a row of fewer than 10 shared origins, has no interval and no p-value.
    """
    # Series by series, so that the scores of one are in memory at a time.
    one = wanted.series
    names = series_names(conn) if one is None else [one] if isinstance(one, str) else sorted(one)
    return [row for name in names for row in _judged_series(conn, replace(wanted, series=name))]


def _judged_series(conn: Connection, wanted: ForecastFilter) -> list[SkillRow]:
    # Naive's scores are read whichever model and kind is wanted.
    scores = read_step_scores(conn, replace(wanted, model=None, kind=None))
    rows = []
    for kind in ScoreKind:
        for model, stored_kind, step in sorted(scores):
            if stored_kind == kind and wanted.kind in (None, kind) and wanted.model in (None, model):
                ours, theirs = scores[model, kind, step], _naive(scores, kind, step)
                shared = sorted(ours.keys() & theirs.keys())
                if shared:
                    head = str(wanted.series), model, kind.value, step, len(shared)
                    rows.append(_judged(head, *([each[at] for at in shared] for each in (ours, theirs))))
    return rows


def _naive(scores: StepScores, kind: ScoreKind, step: int) -> dict[Any, Sequence[Any]]:
    # Naive's live and late forecasts count together, as in the view `model_skill`: its quantiles are the same.
    kinds = [each for each in ScoreKind if each.stored_as is kind.stored_as]
    return {at: one for each in kinds for at, one in scores.get((BASELINE, each, step), {}).items()}


def _judged(
    head: tuple[str, str, str, int, int], ours: Sequence[Sequence[Any]], theirs: Sequence[Sequence[Any]]
) -> SkillRow:
    """Return the row of skill with the first columns `head` for a model's and naive's scores of the same origins."""
    errors, crps, *held = islice(zip(*ours, strict=True), 5)
    naive_errors, naive_crps = islice(zip(*theirs, strict=True), 2)
    means = (fsum(column) / len(ours) for column in (errors, crps, *held, naive_errors, naive_crps))
    row = SkillRow(*head, *means)
    if row.naive_crps:
        row = row._replace(skill=1 - row.crps / row.naive_crps)
    if row.model == BASELINE or row.n < LEAST_ORIGINS:
        return row
    test = diebold_mariano(crps, naive_crps, step=row.step)
    row = row._replace(p_value=test.p_value)
    if row.skill is None:
        return row
    reach = student_t_bound(row.n - 1) * test.standard_error / row.naive_crps
    return row._replace(skill_low=row.skill - reach, skill_high=row.skill + reach)
