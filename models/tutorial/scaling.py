"""Scales columns by the statistics of the training rows, and back; a model stores the statistics with its weights.

Only the tutorial uses this. The published models scale returns by a volatility forecast (`models.volatility`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from models.errors import BadWeights

Kind = Literal["standard", "minmax"]


@dataclass(frozen=True)
class Scaling:
    """scaled = (value - shift) / scale, column by column; (F,) each."""

    shift: NDArray[np.float64]
    scale: NDArray[np.float64]

    def apply(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return `values` (..., F) scaled."""
        return np.asarray((np.asarray(values, dtype=np.float64) - self.shift) / self.scale)

    def invert(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return scaled `values` (..., F) in their own unit again."""
        return np.asarray(np.asarray(values, dtype=np.float64) * self.scale + self.shift)

    def as_weights(self) -> dict[str, NDArray[np.float64]]:
        """Return the numbers to store with a model."""
        return {"scaling_shift": self.shift, "scaling_scale": self.scale}

    @classmethod
    def from_weights(cls, weights: Mapping[str, NDArray[np.generic]]) -> "Scaling":
        """Return the scaling stored with a model; raises BadWeights when there is none."""
        try:
            return cls(*(np.asarray(weights[f"scaling_{name}"], dtype=np.float64) for name in ("shift", "scale")))
        except KeyError as error:
            raise BadWeights(
                f"expected scaling_shift and scaling_scale among the weights, got {sorted(weights)}"
            ) from error


def fit_scaling(rows: ArrayLike, *, cutoff_row: int, kind: Kind = "standard") -> Scaling:
    """Return the scaling fitted on rows 0..cutoff_row; later rows have no influence.

    `rows`: (n_rows, F), oldest first. `kind`: "standard" for mean 0 and standard deviation 1, "minmax" for 0..1; a
    constant column is only shifted. Raises ValueError when there is no row up to the cutoff or a value is not finite.
    """
    values = np.asarray(rows, dtype=np.float64)[: cutoff_row + 1]
    if kind == "standard":
        standard = StandardScaler().fit(values)
        return Scaling(np.asarray(standard.mean_), np.asarray(standard.scale_))
    bounds = MinMaxScaler().fit(values)
    return Scaling(np.asarray(bounds.data_min_), np.asarray(1 / bounds.scale_))
