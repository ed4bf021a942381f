"""Fit GARCH(1,1) with Student-t innovations by arch."""

import numpy as np
from answering import answer
from arch import arch_model


def fit(returns: list[float]) -> list[float]:
    """Return omega, alpha, beta and nu, by maximum likelihood."""
    fitted = arch_model(np.array(returns), mean="Zero", vol="GARCH", p=1, q=1, dist="t", rescale=False).fit(disp="off")
    return [float(fitted.params[name]) for name in ("omega", "alpha[1]", "beta[1]", "nu")]


answer(fit=fit)
