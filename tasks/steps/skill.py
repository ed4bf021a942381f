"""How good the forecasts were, and whether chance could explain it."""

from collections import defaultdict
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from models.forecasts import BASELINE, ScoreKind
from storage.scores import SkillRow, read_origin_scores, read_skill

LEAST_ORIGINS = 10


class Judged(NamedTuple):
    """A model's mean scores at one step beside naive's, and how significant the difference is.

    `skill` is 1 - crps / naive_crps, above zero better than naive; `p_value` is two-sided, for the CRPS of both being
    equal (Diebold-Mariano with overlapping steps accounted for), and `skill_low`..`skill_high` the 95 % interval of
    `skill` by the same test, naive's own CRPS taken as known; None for naive itself and below 10 shared origins.
    """

    series: str
    model: str
    kind: str
    step: int
    n: int
    mae: float
    crps: float
    coverage50: float
    coverage80: float
    coverage95: float
    naive_mae: float
    naive_crps: float
    skill: float | None
    skill_low: float | None
    skill_high: float | None
    p_value: float | None


def judged_skill(
    conn: Connection,
    *,
    series: str | None = None,
    kind: ScoreKind | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> list[Judged]:
    """Return every model's scores by series, kind, model and step, each tested against naive on shared origins."""
    rows = read_skill(conn, series=series, kind=kind, start=start, end=end)
    losses: dict[tuple[str, str, ScoreKind], dict[int, dict[datetime, float]]] = {}

    def by_step(name: str, model: str, kind: ScoreKind) -> dict[int, dict[datetime, float]]:
        if (name, model, kind) not in losses:
            crps: dict[int, dict[datetime, float]] = defaultdict(dict)
            for score in read_origin_scores(conn, series=name, model=model, kind=kind, start=start, end=end):
                crps[score.step][score.origin] = score.crps
            losses[name, model, kind] = crps
        return losses[name, model, kind]

    def naives(name: str, kind: ScoreKind, step: int) -> dict[datetime, float]:
        # In time or late: naive's numbers are the same, as the view `model_skill` says.
        kinds = [each for each in ScoreKind if each.stored_as is kind.stored_as]
        return {origin: crps for each in kinds for origin, crps in by_step(name, BASELINE, each)[step].items()}

    def judged(row: SkillRow) -> Judged:
        skill = 1 - row.crps / row.naive_crps if row.naive_crps else None
        p_value = low = high = None
        if row.model != BASELINE and row.n >= LEAST_ORIGINS:
            from models.metrics import diebold_mariano, student_t_bound

            of_kind = ScoreKind(row.kind)
            ours = by_step(row.series, row.model, of_kind)[row.step]
            theirs = naives(row.series, of_kind, row.step)
            shared = sorted(ours.keys() & theirs.keys())
            test = diebold_mariano(
                [ours[origin] for origin in shared], [theirs[origin] for origin in shared], step=row.step
            )
            p_value = test.p_value
            if skill is not None:
                reach = student_t_bound(row.n - 1) * test.standard_error / row.naive_crps
                low, high = skill - reach, skill + reach
        return Judged(*row, skill=skill, skill_low=low, skill_high=high, p_value=p_value)

    return [judged(row) for row in rows]
