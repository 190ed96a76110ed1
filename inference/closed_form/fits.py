r"""A penalised least-squares fit, and the jackknife:

    c = (n^T w n + penalty)^-1 n^T w y,        error^2 = (F - 1) Var(estimates without one of F folds)

Hoerl, Kennard, Technometrics 12, 55 (1970); Tukey, Ann. Math. Stat. 29, 614 (1958).
"""

import numpy as np
from jaxtyping import Float


def ridge(
    n: Float[np.ndarray, "S P"],
    y: Float[np.ndarray, " S"],
    penalty: float,
    weights: Float[np.ndarray, " S"] | None = None,
) -> Float[np.ndarray, " P"]:
    """The coefficients of y ~ n c; `weights` of the rows, by default one."""
    weighted = n if weights is None else weights[:, None] * n
    return np.linalg.solve(n.T @ weighted + penalty * np.eye(n.shape[1]), weighted.T @ y)


def noise_of_fit(n: Float[np.ndarray, "S P"], y: Float[np.ndarray, " S"]) -> float:
    """The variance of what a plain least-squares fit of y by n leaves."""
    return float(np.var(y - n @ np.linalg.lstsq(n, y, rcond=None)[0]))


def jackknife_error(without_one: Float[np.ndarray, "F ..."]) -> Float[np.ndarray, "..."]:
    """The standard error of an estimate from its values without each fold, along the first axis."""
    return np.sqrt((len(without_one) - 1) * np.var(without_one, axis=0))
