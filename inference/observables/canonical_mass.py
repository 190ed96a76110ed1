r"""The mass of ideal electrons that have the entropy of the gas, in the same cell at the same temperature:

    S_ideal(N, twist, theta m*/m) = S

An ideal gas of mass m* has levels k^2/2m*, so it is that of mass m at theta m*/m. S_ideal is the exact
canonical one, of the discrete levels of the cell. Where S is that of quasi-particles of mass m*, this is m*
at any N and theta. s/s_0 is m*/m for N -> infinity and theta -> 0 alone: the levels of few electrons lie T
apart and more, so S falls faster than m*, at 0.65 of the mass to 0.48, 0.60 and 0.63 of S for 13, 29 and 57
polarised electrons in two dimensions (theta = 0.15, twist 1/4), and a shell that is filled in part adds ln of
its states at any mass.
"""

import numpy as np
import scipy
from jaxtyping import Float

from pnct.estimate import Estimate
from pnct.systems.electron_gas import ElectronGas
from pnct.systems.ideal_gas import ideal_gas

LIGHTEST, HEAVIEST = 0.02, 2.0  # of m, between which the mass is looked for
STEP = 1e-3  # of the mass, relative: for the slope of S


def canonical_mass(
    gases: list[ElectronGas], entropy: Estimate, weights: Float[np.ndarray, " T"] | None = None
) -> Estimate:
    """m*/m with the error that dS/dm* makes of that of the entropy.

    gases: of equal N, rs and theta, at several twists or at one.
    entropy: of all electrons, in k_B; the mean over the gases with these weights, by default equal ones.
    nan where no mass between 0.02 m and 2 m has this entropy. Raises ValueError at T = 0.
    """
    if not gases or not all(gas.theta > 0 for gas in gases):
        raise ValueError(
            f"Expected one gas or more, at theta > 0; got {[float(gas.theta) for gas in gases]}."
        )

    def ideal(mass):
        S = [ideal_gas(_hotter(gas, mass)).entropy for gas in gases]
        return float(np.average(S, weights=weights))

    if not ideal(LIGHTEST) < entropy.value < ideal(HEAVIEST):
        return Estimate(float("nan"), float("nan"), entropy.ess)
    mass = scipy.optimize.brentq(lambda m: ideal(m) - entropy.value, LIGHTEST, HEAVIEST, xtol=1e-9)
    slope = (ideal(mass * (1 + STEP)) - ideal(mass * (1 - STEP))) / (2 * STEP * mass)
    return Estimate(mass, entropy.error / slope, entropy.ess)


def _hotter(gas, factor: float) -> ElectronGas:
    """The gas at `factor` times the temperature, with more levels where it is hotter."""
    theta = float(gas.theta) * factor
    cutoff = gas.cutoff if factor <= 1 else None
    return ElectronGas(gas.num_electrons, gas.dim, float(gas.rs), theta, gas.twist, cutoff)
