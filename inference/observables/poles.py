r"""A(k, w) as a list of poles,  sum_n Z_n delta(w - w_n),  and what is made of it: sums, a curve, a
dispersion.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from pnct.estimate import Estimate
from pnct.inference.observables.effective_mass import line_slope
from pnct.inference.observables.electron_addition import FOLDS
from pnct.systems.ideal_gas import ideal_gas
from pnct.validation import checked_number


class Poles(NamedTuple):
    """P poles of A^> or A^<, or of both, at O orbitals: energies in hartree, and weights.

    wavevectors: of the orbitals, in 1/a_0.  k: which of the orbitals each pole is at.
    folds: the weights as every 20th part of the samples has them, to lowest order.
    total: 1 - n_k, of A^> alone (nan for A^<).  missing: what the weights lack of it.
    left_out: the probability of the states K that were not summed over, less probable than the tolerance or
    without a listed partner of momentum P +- k: a bound of what they hold.
    """

    orbitals: Int[np.ndarray, " O"]
    wavevectors: Float[np.ndarray, "O dim"]
    k: Int[np.ndarray, " P"]
    energy: Float[np.ndarray, " P"]
    energy_error: Float[np.ndarray, " P"]
    weight: Float[np.ndarray, " P"]
    error: Float[np.ndarray, " P"]
    folds: Float[np.ndarray, "20 P"]
    total: tuple[Estimate, ...]
    missing: tuple[Estimate, ...]
    left_out: Float[np.ndarray, " O"]

    def sum(self, factor: Float[np.ndarray, " P"] | float = 1.0) -> list[Estimate]:
        """The sum of weight x factor at each orbital. The error is that of the weights."""
        factor = np.broadcast_to(factor, self.weight.shape)
        sums = []
        for o in range(len(self.orbitals)):
            here = self.k == o
            deviation = (self.folds[:, here] - self.weight[here]) @ factor[here]
            error = np.sqrt(np.sum(deviation**2) / (FOLDS * (FOLDS - 1)))
            sums.append(Estimate(float(self.weight[here] @ factor[here]), float(error), float(FOLDS)))
        return sums


def broadened(A: Poles, w: Float[np.ndarray, " W"], width: float) -> Float[np.ndarray, "O W"]:
    """A(k, w), in 1/hartree, with a Gaussian of this standard deviation in the place of each delta function.

    w, width: in hartree. Raises ValueError unless width > 0.
    """
    width = checked_number("width", width, lambda x: x > 0, "> 0")
    w = np.asarray(w, float)
    lines = np.exp(-(((w[:, None] - A.energy) / width) ** 2) / 2) / (width * np.sqrt(2 * np.pi))
    return np.array([lines[:, A.k == o] @ A.weight[A.k == o] for o in range(len(A.orbitals))])


def joined(removed: Poles, added: Poles) -> Poles:
    """A_N from A^<_N of the pair (N - 1, N) and A^>_N of the pair (N, N + 1), at the same orbitals."""
    same = np.array_equal(removed.orbitals, added.orbitals)
    if not same or not np.allclose(removed.wavevectors, added.wavevectors):
        raise ValueError(
            f"Expected both parts at the same orbitals of one cell; got {removed.orbitals.tolist()} and "
            f"{added.orbitals.tolist()}."
        )
    columns = ("k", "energy", "energy_error", "weight", "error")
    both = {name: np.concatenate([getattr(removed, name), getattr(added, name)]) for name in columns}
    folds = np.concatenate([removed.folds, added.folds], axis=1)
    return added._replace(**both, folds=folds, left_out=removed.left_out + added.left_out)


class Dispersion(NamedTuple):
    """The strongest pole at each orbital, energies in hartree (nan where there is none), and the slope of
    their energies by those of free electrons: m*/m = 1/slope.
    """

    energy: Float[np.ndarray, " O"]
    weight: Float[np.ndarray, " O"]
    effective_mass: Estimate


def dispersion(gas, A: Poles) -> Dispersion:
    """Quasi-particles, and m*/m from the straight line through them, each with the weight n (1 - n) of its
    orbital in the ideal gas, the thermal window. The error is that of the poles' energies and the scatter
    about the line.
    """
    best = np.full(len(A.orbitals), -1)
    for o in range(len(A.orbitals)):
        here = np.nonzero(A.k == o)[0]
        if len(here):
            best[o] = here[np.argmax(A.weight[here])]
    found = best >= 0
    energy, weight = (np.where(found, x[best], np.nan) for x in (A.energy, A.weight))
    n = ideal_gas(gas).occupations.max(axis=0)[A.orbitals]
    e = np.sum(A.wavevectors**2, axis=1) / 2
    slope = line_slope(e[found], (n * (1 - n))[found])
    if slope is None:
        return Dispersion(energy, weight, Estimate(float("nan"), float("nan"), 0.0))
    window = (n * (1 - n))[found]
    rest = energy[found] - np.average(energy[found], weights=window)
    rest = rest - (slope @ energy[found]) * (e[found] - np.average(e[found], weights=window))
    points = np.sum(window) ** 2 / np.sum(window**2)
    scatter = np.average(rest**2, weights=window) * points / (points - 2) if points > 2 else np.nan
    error = np.sqrt(scatter * np.sum(slope**2))
    mass = 1 / (slope @ energy[found])
    return Dispersion(energy, weight, Estimate(float(mass), float(error * mass**2), float(points)))
