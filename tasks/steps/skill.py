"""The skill of the forecasts against naive, with its confidence interval and p-value."""

from dataclasses import replace

from sqlalchemy import Connection

from models.accuracy import diebold_mariano, student_t_bound
from models.forecasts import BASELINE, ScoreKind
from storage.query import EVERY_FORECAST, ForecastFilter
from storage.scores import SkillRow, read_crps, read_skill

LEAST_ORIGINS = 10


def judged_skill(conn: Connection, wanted: ForecastFilter = EVERY_FORECAST) -> list[SkillRow]:
    """Return the scores by series, kind, model and step, each tested against naive on shared origins.

    Naive itself, and a row of fewer than 10 shared origins, has no interval and no p-value.
    """
    losses: dict[tuple[str, str, ScoreKind], dict[int, dict[int, float]]] = {}

    def by_origin(name: str, model: str, kind: ScoreKind, step: int) -> dict[int, float]:
        if (name, model, kind) not in losses:
            losses[name, model, kind] = read_crps(conn, replace(wanted, series=name, model=model, kind=kind))
        return losses[name, model, kind].get(step, {})

    def naives(name: str, kind: ScoreKind, step: int) -> dict[int, float]:
        # Naive's live and late forecasts count together, as in the view `model_skill`: its quantiles are the same.
        kinds = [each for each in ScoreKind if each.stored_as is kind.stored_as]
        return {origin: crps for each in kinds for origin, crps in by_origin(name, BASELINE, each, step).items()}

    def judged(row: SkillRow) -> SkillRow:
        if row.model == BASELINE or row.n < LEAST_ORIGINS:
            return row
        of_kind = ScoreKind(row.kind)
        ours = by_origin(row.series, row.model, of_kind, row.step)
        theirs = naives(row.series, of_kind, row.step)
        shared = sorted(ours.keys() & theirs.keys())
        test = diebold_mariano(
            [ours[origin] for origin in shared], [theirs[origin] for origin in shared], step=row.step
        )
        row = row._replace(p_value=test.p_value)
        if row.skill is None:
            return row
        reach = student_t_bound(row.n - 1) * test.standard_error / row.naive_crps
        return row._replace(skill_low=row.skill - reach, skill_high=row.skill + reach)

    return [judged(row) for row in read_skill(conn, wanted)]
