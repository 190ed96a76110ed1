r"""The exchange-correlation free energy of a trained density matrix, of electrons and not of a functional:

    f_xc(N) = [F(N) - F_0(N)]/N,      both canonical, at the same N, theta and twist
    s_xc(N) = [S(N) - S_0(N)]/N

F is an upper bound, so f_xc(N) is one, with an error of second order in the state. By the coupling, at fixed
theta, where r_s^2 H = K + r_s V in the units of the cell and r_s^2 T does not change,

    d(r_s^2 F)/d r_s = r_s V,      r_s^2 f_xc = int_0^{r_s} [r V(r, theta)/N] dr,

a check of F by V alone. Its beginning, r V at r = 0, is known (pnct.systems.first_order).

To infinite size: the potential energy of N electrons lacks dV(r)/N ~ S_r(q)/(r q^2) of the smallest q of the
cell (Chiesa, Ceperley, Martin, Holzmann, Phys. Rev. Lett. 97, 076404 (2006); finite_size.py), S_r the
structure factor at the coupling r. With the pole of Bijl and Feynman, S_r = S_0/(1 + gamma r)^(1/2), S_0 that
of the ideal gas, the coupling integral of dV is that of

    mean of S_r over 0 < r < r_s  =  2 S_0 S/(S_0 + S),      S as drawn at r_s

which is 2 S, and df = omega_p/2N in 3D, at low T, and S_0 where the coupling does not matter. A classical
plasma has S_r = S_0/(1 + gamma r), of mean S_0 ln(u)/(u - 1), u = S_0/S: the difference of the two is taken
as the error of the form.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from pnct.estimate import Estimate, mean_of_independent
from pnct.inference.observables.correlations import structure_factor
from pnct.inference.observables.finite_size import potential_size_correction
from pnct.inference.observables.ideal_correlations import canonical_structure_factor
from pnct.inference.observables.thermodynamics import StatePoint
from pnct.inference.sampling.saved_draws import DrawsLike, as_draws
from pnct.systems.first_order import first_order_bound
from pnct.systems.ideal_gas import ideal_gas

MIN_ENTROPY = 1e-6  # k_B per electron: below, S/S_0 says nothing


class ExchangeCorrelation(NamedTuple):
    """Per electron, hartree and k_B, at N electrons; `size_correction` is to be added to the free energy for
    infinitely many, and its error holds that of its form. `entropy_ratio`: S/S_0 = 1 + s_xc/s_0, nan where
    S_0 is zero.
    """

    free_energy: Estimate
    entropy: Estimate
    entropy_ratio: Estimate
    size_correction: Estimate

    @property
    def infinite(self) -> Estimate:
        """f_xc with its size correction."""
        value = self.free_energy.value + self.size_correction.value
        error = float(np.hypot(self.free_energy.error, self.size_correction.error))
        return Estimate(value, error, self.free_energy.ess)


def exchange_correlation(gas, draws: DrawsLike, entropy: Estimate | None = None) -> ExchangeCorrelation:
    """f_xc and s_xc of a trained state of the electron gas, from draws of `evaluate`.

    entropy: of all electrons, in k_B, as of pnct.inference.observables.entropy; by default that of the draws.
    Raises ValueError where the draws are of another number of electrons or another temperature.
    """
    draws = as_draws(draws)
    T = float(gas.temperature)
    if draws.num_particles != gas.N or not np.isclose(draws.temperature, T, rtol=1e-9):
        raise ValueError(
            f"Expected draws of {gas.N} electrons at T = {T:g} hartree; got {draws.num_particles} at "
            f"{draws.temperature:g}."
        )
    draws = draws.finite()
    ideal = ideal_gas(gas)
    F = mean_of_independent(draws.free_energy)
    S = mean_of_independent(draws.entropy) if entropy is None else entropy
    free = _over(F, ideal.free_energy, gas.N)
    known = ideal.entropy > MIN_ENTROPY * gas.N
    ratio = S.scaled(1 / ideal.entropy) if known else Estimate(float("nan"), float("nan"), S.ess)
    return ExchangeCorrelation(free, _over(S, ideal.entropy, gas.N), ratio, size_correction(gas, draws))


def size_correction(gas, draws: DrawsLike) -> Estimate:
    """What to add to f_xc(N) for infinitely many electrons, in hartree per electron, from S at the smallest q
    of the cell.
    """
    q = 2 * np.pi / gas.L * np.eye(gas.dim)
    S = structure_factor(as_draws(draws).finite().measured, gas.space, q)
    S_0 = canonical_structure_factor(gas, q).S
    quantum, classical = coupling_mean(S.S, S_0)

    def correction(mean):
        return potential_size_correction(gas, S._replace(S=mean))

    found = correction(quantum)
    form = abs(correction(classical).value - found.value)
    return Estimate(found.value, float(np.hypot(found.error, form)), found.ess)


def coupling_mean(
    S: Float[np.ndarray, " Q"], S_0: Float[np.ndarray, " Q"]
) -> tuple[Float[np.ndarray, " Q"], Float[np.ndarray, " Q"]]:
    """The mean of S_r over 0 < r < r_s of a quantum and of a classical plasma, from S at r_s and S_0 at 0."""
    u = np.maximum(S_0 / S, 1 + 1e-9)
    return 2 * S_0 / (1 + u), S_0 * np.log(u) / (u - 1)


def coupling_integral(gases: list, points: list[StatePoint]) -> list[Estimate]:
    """f_xc in hartree per electron at each r_s of a sweep at fixed theta, from V alone.

    gases: by ascending r_s, else equal; points: of each, as of `thermodynamics.state_point`. r V/N, whose
    value at r = 0 is exact, is integrated as a cubic spline. Errors are those of the samples.
    """
    rs = np.array([float(gas.rs) for gas in gases])
    alike = {(gas.num_electrons, gas.dim, float(gas.theta), gas.twist) for gas in gases}
    if len(gases) != len(points) or len(alike) != 1 or len(rs) < 2 or np.any(np.diff(rs) <= 0):
        raise ValueError(
            "Expected a point for each of two gases or more, of ascending rs and one N, theta and twist; got "
            f"{len(points)} points, rs = {rs.tolist()}, {len(alike)} kinds of gas."
        )
    N = gases[0].N
    start = first_order_bound(gases[0])
    y = np.array([start.potential * rs[0], *(r * p.mean[1] for r, p in zip(rs, points, strict=True))]) / N
    error = rs * np.sqrt([p.covariance[1, 1] for p in points]) / N
    nodes = np.append(0.0, rs)
    integral = CubicSpline(nodes, np.eye(len(nodes))).antiderivative()(rs)
    value = integral @ y / rs**2
    deviation = np.sqrt(integral[:, 1:] ** 2 @ error**2) / rs**2
    return [Estimate(float(f), float(e), np.nan) for f, e in zip(value, deviation, strict=True)]


def _over(total: Estimate, ideal: float, N: int) -> Estimate:
    """(total - ideal)/N."""
    return Estimate((total.value - ideal) / N, total.error / N, total.ess)
