r"""What stays of the finite size where twists are averaged over, and how to be rid of it.

    potential energy   dV/N = (1/2) [ integral - sum over k != 0 ] of v(k) S(k)/Omega
                                                            Chiesa et al., Phys. Rev. Lett. 97, 076404 (2006)
    any number         X(N) = a + b/N,  by weighted least squares:  a is that of infinitely many

The difference between integral and sum comes from small k, where screening makes S(k) = c k^2 in 3D and c
k^(3/2) in 2D:

    3D:  dV/N = 2 pi c/Omega                  = omega_p/(4 N) for c = 1/(2 omega_p)
    2D:  dV/N = -(pi c/Omega) (2 pi/L)^(1/2) Z,
         Z = sum' |n|^(1/2) over the square lattice, continued = 4 zeta(-1/4) beta(-1/4)
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.special import gamma, zeta

from pnct.estimate import Estimate
from pnct.inference.observables.correlations import StructureFactor
from pnct.inference.observables.thermodynamics import volume


def against_size(
    numbers: Sequence[int] | Float[np.ndarray, " n"], estimates: Sequence[Estimate]
) -> tuple[Estimate, Estimate]:
    """The intercept a and the slope b of X = a + b/N, in the unit of X, by weighted least squares.

    numbers: of electrons, N, at least two different ones; estimates: of X at each, independent. The errors
    are those of the given errors, times (chi^2/dof)^(1/2) where this is more than 1; where there are no more
    than two points nothing is known of how well the line fits.
    """
    numbers, value, error = _checked(numbers, estimates)
    design = np.stack([np.ones_like(numbers), 1 / numbers], axis=-1) / error[:, None]

    covariance = np.linalg.inv(design.T @ design)
    found = covariance @ design.T @ (value / error)

    dof = len(numbers) - 2
    chi2 = np.sum((value / error - design @ found) ** 2)
    scale = max(1.0, chi2 / dof) if dof > 0 else 1.0
    deviation = np.sqrt(scale * np.diag(covariance))
    ess = float(sum(x.ess for x in estimates))
    intercept, slope = (Estimate(float(x), float(e), ess) for x, e in zip(found, deviation, strict=True))
    return intercept, slope


def _checked(numbers, estimates):
    """Numbers, values and errors as arrays. Raises ValueError where no line can be laid through them."""
    try:
        numbers = np.asarray(numbers, float)
    except (TypeError, ValueError):
        raise ValueError(f"Expected numbers of electrons; got {numbers!r}.") from None
    if numbers.ndim != 1 or len(numbers) != len(estimates):
        raise ValueError(
            "Expected one number of electrons for each estimate; got numbers of shape "
            f"{numbers.shape} for {len(estimates)} estimates."
        )
    if not np.all(np.isfinite(numbers) & (numbers > 0)) or len(np.unique(numbers)) < 2:
        raise ValueError(f"Expected two different numbers of electrons or more, > 0; got {numbers.tolist()}.")
    value, error = (np.array([getattr(x, name) for x in estimates], float) for name in ("value", "error"))
    if not np.all(np.isfinite(value) & np.isfinite(error) & (error > 0)):
        raise ValueError(
            f"Expected finite estimates with errors > 0; got {', '.join(str(x) for x in estimates)}."
        )
    return numbers, value, error


def potential_size_correction(gas, S: StructureFactor) -> Estimate:
    """What to add to V/N, in hartree, to go from N electrons to infinitely many: from S at its smallest wave
    vectors q != 0.
    """
    q = np.linalg.norm(S.q, axis=1) / float(gas.rs)
    if not np.any(q > 0):
        raise ValueError("Expected S at wave vectors q != 0; got none.")
    smallest = q[q > 0].min()
    shell = np.isclose(q, smallest, rtol=1e-6)
    power = 2.0 if gas.dim == 3 else 1.5
    # one shell: not independent
    c = S.S[shell].mean() / smallest**power
    error = S.error[shell].mean() / smallest**power
    if gas.dim == 3:
        factor = 2 * math.pi / volume(gas)
    else:
        factor = (
            -math.pi
            / volume(gas)
            * math.sqrt(2 * math.pi / (gas.L * float(gas.rs)))
            * square_lattice_sum(-0.25)
        )
    return Estimate(float(c * factor), float(abs(error * factor)), float("nan"))


def square_lattice_sum(s: float) -> float:
    """sum' |n|^(-2 s) over the square lattice, for s < 0 by its functional equation: 4 zeta(s) beta(s)."""
    if s > 1:
        beta = (zeta(s, 0.25) - zeta(s, 0.75)) / 4**s
        return float(4 * zeta(s) * beta)
    if not s < 0:
        raise ValueError(f"Expected s < 0 or s > 1; got {s}.")
    return float(math.pi ** (2 * s - 1) * gamma(1 - s) / gamma(s) * square_lattice_sum(1 - s))
