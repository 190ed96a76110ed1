r"""How heavy the tail of a sample is: the shape k of a generalised Pareto law fitted to its outermost values.

P(Y > y) ~ y^(-1/k) for k > 0 (Zhang, Stephens, Technometrics 51, 316 (2009)), as in Vehtari, Simpson, Gelman,
Yao, Gabry, JMLR 25, 72 (2024): above 0.5 the variance is infinite, above 0.7 no error bar helps.

The outermost of nearly discrete values, such as energies of a few states with little noise each, follow no
such law, and a fit to them may give any k. What makes a tail heavy is missing there: where the variance is
infinite, a few samples make up most of that of the sample, sum_i (x_i - median)^2.
"""

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

HEAVIEST_TAIL = 0.7  # k
FEW = 5  # samples that make up this share of the variance on the side of a heavy tail: of Pareto laws
SHARE = 1 / 3  # with k > 0.7 they have 0.4 to 1, of discrete values 0.3 at most (400 samples and more)


def tail_shapes(x: Float[np.ndarray, " n"], tolerance: float | None = None) -> tuple[float, float]:
    """Pareto k of the lower and of the upper tail of x; nan where x is constant to rounding, too short or
    (nearly) discrete.

    tolerance: the standard deviation that counts as rounding, by default that of the mean of x.
    """
    x = np.asarray(x)
    if tolerance is None:
        tolerance = rounding(x.dtype) * np.abs(np.mean(x, dtype=float)) if x.size else 0.0
    x = np.sort(x.astype(float))
    n = int(min(0.2 * x.size, 3 * np.sqrt(x.size)))
    if n < 5 or x.std() <= tolerance:
        return float("nan"), float("nan")
    away = (x - np.median(x)) ** 2
    return (
        _if_it_matters(pareto_shape((x[n] - x[:n])[::-1]), away[:FEW], away),
        _if_it_matters(pareto_shape(x[-n:] - x[-n - 1]), away[-FEW:], away),
    )


def _if_it_matters(k, outermost, away):
    return k if not k > HEAVIEST_TAIL or np.sum(outermost) > SHARE * np.sum(away) else float("nan")


def pareto_shape(y: Float[np.ndarray, " n"]) -> float:
    """The shape k of a generalised Pareto law fitted to ascending y >= 0: P(Y > y) ~ y^(-1/k) for k > 0."""
    n = y.size
    quartile = y[int(n / 4 + 0.5) - 1]
    if quartile <= 0:
        return float("nan")
    m = 30 + int(np.sqrt(n))
    b = 1 / y[-1] + (1 - np.sqrt(m / (np.arange(1, m + 1) - 0.5))) / (3 * quartile)
    b = b[np.abs(b) * y[-1] > 1e-9]
    k = np.mean(np.log1p(-b[:, None] * y), axis=1)
    log_likelihood = n * (np.log(-b / k) - k - 1)
    posterior_b = np.sum(softmax(log_likelihood) * b)
    k = np.mean(np.log1p(-posterior_b * y))
    # The weak prior of Vehtari et al.: ten observations of k = 1/2.
    return float((n * k + 5) / (n + 10))


def rounding(dtype) -> float:
    """The relative size under which fluctuations of an energy are rounding."""
    return float(np.sqrt(np.finfo(dtype).eps))
