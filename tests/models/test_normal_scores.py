"""Many prices at once give the same as each alone."""

import numpy as np

from models.chance import normal_chance, normal_score
from models.normal_scores import normal_chances, normal_scores


def test_the_scores_of_many_prices_are_those_of_each() -> None:
    rng = np.random.default_rng(1)
    quantiles = np.sort(rng.uniform(80, 120, (5, 23)), axis=1)
    # Several quantiles at one price, and prices at a quantile, at the lowest, and beyond both ends.
    quantiles[1, 3:7] = quantiles[1, 3]
    quantiles[2, :4] = quantiles[2, 0]
    prices = np.column_stack([rng.uniform(70, 130, (5, 4)), quantiles[:, 0], quantiles[:, 3], quantiles[:, -1]])
    scores = normal_scores(prices, quantiles)
    alone = [[normal_score(price, row) for price in of_row] for of_row, row in zip(prices, quantiles, strict=True)]
    np.testing.assert_allclose(scores, alone, rtol=1e-9, atol=1e-12)
    assert normal_chances(scores).tolist() == [[normal_chance(score) for score in row] for row in scores]
