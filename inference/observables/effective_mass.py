r"""The effective mass m*/m of the quasi-particles, four ways from one trained density matrix:

    from the entropy          s/s_0                          s_0: the ideal gas at the same N, theta and twist
    canonical                 S_ideal(theta m*/m) = S        ideal electrons of that mass (canonical_mass.py)
    from the learned levels   (d epsilon/d e)^-1,            epsilon = e + T shift: the table of p(K)
    from Landau's functional  (d epsilon/d e)^-1,            epsilon fitted to -T ln p(K) (landau.py)

e = k^2/2 r_s^2. The slope is that of a straight line through the shells, each with the weight sum n (1 - n)
of its orbitals in the ideal gas: the thermal window around the Fermi level.

These are four definitions, equal where T -> 0, N -> infinity, and p(K) is that of quasi-particles without
interaction whose energies lie on the line. s/s_0 is what published values are of (Xie, Zhang, Wang, arXiv
2201.03156), but s ~ m* T only where many levels lie within T; the canonical mass has the levels of the cell
and theta as they are, and is m* for quasi-particles on the line at any N. The errors of both are statistical.
The learned levels leave out what a network adds to them, the functional what three quasi-particles have
together; both are found from ln p(K), which has no noise, and their errors are no more than the scatter about
the line and the misfit. What energies of states say, without p(K), is in particle_hole.py.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from pnct.estimate import Estimate, mean_of_independent
from pnct.inference.observables.canonical_mass import canonical_mass
from pnct.inference.observables.landau import LandauFunctional, TooFewStates, landau_functional
from pnct.inference.sampling.saved_draws import DrawsLike, as_draws
from pnct.inference.sampling.sites import Params, module_of_kind
from pnct.networks.base import OccupationNetwork
from pnct.systems.ideal_gas import ideal_gas

ROUNDING = 1e-6  # of a slope, as of numbers in single precision; a smaller error is none
ROUTES = ("s/s_0", "canonical", "learned levels", "Landau functional")
NO_ENTROPY = 1e-6  # k_B per electron: below, s/s_0 says nothing


class EffectiveMass(NamedTuple):
    """m*/m four ways; nan where the gas or the model has no such number. An error is 0 where it is rounding,
    and nan where the line has no scatter to show, as that through two levels.
    """

    entropy: Estimate
    canonical: Estimate
    levels: Estimate
    quasi_particles: Estimate

    def __str__(self) -> str:
        return "   ".join(f"{name} {mass}" for name, mass in self.routes().items())

    def routes(self) -> dict[str, str]:
        """Each number that there is, in words and with its error where it has one."""
        found = {name: mass for name, mass in zip(ROUTES, self, strict=True) if np.isfinite(mass.value)}
        return {name: str(mass) if mass.error > 0 else f"{mass.value:.4f}" for name, mass in found.items()}

    def explanation(self) -> str:
        """What each route is, which one to take, and how far they differ."""
        known = [mass for mass in self if np.isfinite(mass.value)]
        text = (
            "s/s_0 is m*/m for T -> 0 and N -> infinity alone; canonical is the mass of ideal electrons in "
            "this cell that have this S. The slopes of the learned levels and of Landau's functional have "
            "the errors of a fit"
        )
        low, high = (pick(known, key=_value) for pick in (min, max)) if known else (_unknown(), _unknown())
        apart = high.value - low.value
        if not apart > ROUNDING * abs(low.value):
            return f"{text}."
        error = np.hypot(*(np.nan_to_num(mass.error) for mass in (low, high)))
        times = f", {apart / error:.0f} errors" if error > 0 else ""
        return f"{text}; here they differ by up to {apart:.2g}{times}."


def effective_mass(
    gas, draws: DrawsLike, params: Params | None = None, entropy: Estimate | None = None
) -> EffectiveMass:
    """m*/m from draws, or what to_arviz made of them, and from the shell energies in the parameters, where
    p(K) has a network with such.

    entropy: of all electrons, in k_B, as of pnct.inference.observables.entropy; by default that of the draws.
    """
    draws = as_draws(draws).finite()
    entropy = mean_of_independent(draws.entropy) if entropy is None else entropy
    name = None if params is None else module_of_kind(params, OccupationNetwork)
    shifts = None if name is None else params[name].shell_shifts()
    try:
        quasi_particles = mass_from_landau(gas, landau_functional(gas, draws))
    except TooFewStates:
        quasi_particles = _unknown(len(draws.log_prob))
    return EffectiveMass(
        mass_from_entropy(gas, entropy),
        canonical_mass([gas], entropy) if gas.theta > 0 else _unknown(entropy.ess),
        _unknown() if shifts is None else mass_from_levels(gas, shifts),
        quasi_particles,
    )


def mass_from_entropy(gas, entropy: Estimate) -> Estimate:
    """m*/m = s/s_0, from the entropy of all electrons, in k_B."""
    exact = ideal_gas(gas).entropy
    return entropy.scaled(1 / exact) if exact > NO_ENTROPY * gas.N else _unknown(entropy.ess)


def mass_from_levels(gas, shifts: Float[Array, " levels"]) -> Estimate:
    """m*/m from the learned shifts of the levels, in units of T. The error is that of a line through
    scattered points; nan where there are no more than two.
    """
    levels, first = np.unique(gas.shell_index, return_index=True)
    shifts = np.asarray(shifts, float)
    if shifts.shape != levels.shape:
        raise ValueError(f"Expected shifts of shape ({len(levels)},), one per level; got {shifts.shape}.")
    bare = np.asarray(gas.orbital_energies, float)[first]
    epsilon = bare + float(gas.temperature) * shifts
    weight = sum(np.bincount(gas.shell_index, n * (1 - n)) for n in ideal_gas(gas).occupations)
    slope = line_slope(bare, weight)
    if slope is None:
        return _unknown()
    line = np.average(epsilon, weights=weight) + (slope @ epsilon) * (bare - np.average(bare, weights=weight))
    # The number of points that count, for levels deep in the sea or high above it do not.
    points = np.sum(weight) ** 2 / np.sum(weight**2)
    scatter = (
        np.average((epsilon - line) ** 2, weights=weight) * points / (points - 2) if points > 2 else np.nan
    )
    return mass_of_slope(slope @ epsilon, np.sqrt(scatter * np.sum(slope**2)), points)


def mass_from_landau(gas, fit: LandauFunctional) -> Estimate:
    """m*/m from the slope of the quasi-particle energies of a fitted functional."""
    occupations = ideal_gas(gas).occupations
    shells = gas.shell_index
    weight = np.array(
        [np.sum((n * (1 - n))[shells == shells[m]]) for n, m in ((occupations[s], m) for s, m in fit.shells)]
    )
    slope = line_slope(fit.free_energies, weight)
    if slope is None:
        return _unknown(fit.num_samples)
    # ln p(K) has no noise: where there are as many terms as states, the fit meets it exactly.
    error = np.sqrt(slope @ fit.epsilon_covariance @ slope)
    return mass_of_slope(slope @ fit.epsilon, error, fit.num_samples)


def line_slope(x: Float[np.ndarray, " n"], weight: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"] | None:
    """The a for which a.y is the slope of a weighted straight line through (x, y); None where all the weight
    is at one x.
    """
    if not np.sum(weight) > 0:
        return None
    d = x - np.average(x, weights=weight)
    spread = np.sum(weight * d**2)
    return weight * d / spread if spread > 1e-12 * np.sum(weight) * np.max(np.abs(x)) ** 2 else None


def mass_of_slope(slope: float, error: float, ess: float) -> Estimate:
    """m*/m = 1/slope, of the energies of quasi-particles by the bare ones; an error that is rounding is
    0.
    """
    error = 0.0 if error < ROUNDING * abs(slope) else error
    return Estimate(float(1 / slope), float(error / slope**2), float(ess))


def _value(estimate):
    return estimate.value


def _unknown(ess: float = 0.0) -> Estimate:
    return Estimate(float("nan"), float("nan"), float(ess))
