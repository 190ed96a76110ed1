r"""How far p(K) is from its optimum for the Psi_K that it has:  there ln p(K) + E_K/T is the same for every
K, and is F/T.

With y = ln p(K) + Re E_loc/T, whose mean at K is y_K = ln p(K) + E_K/T, E_K = <Psi_K|H|Psi_K>, the optimum is
p* = p exp(-y_K)/norm, and to lowest order in y_K

    S* - S = Cov(ln p, y_K) = Cov(ln p, y),        F - F* = (T/2) Var(y_K)

The noise of E_loc at given K does not enter a covariance with a function of K, so the first needs no E_K. For
the second the noise has to be removed: two halves of the samples each fit y by the occupations of the levels,
y ~ sum_s c_s n_s(K), and the covariance of the two fits over all K is free of it, since the noises of the
halves are independent. It sees what is one-body in y_K.

The same fit is a step towards the optimum in closed form: the levels in the table of p(K) move by c_s, in
units of T. Its penalty, the variance of the noise times sum_s c_s^2, keeps a level that is hardly ever
occupied where it is.

A tabulated p(K) has the Boltzmann factors of its listed states from `diagonalise`. Of the others there are
too many to have energies of their own; their levels are continued from the listed ones. What this misses is
seen in samples, with y = ln p(K) + Re E_loc/T, whose mean at K is the same for every K at the optimum: c is
the least-squares fit of

    y - (mean of y over the listed K) ~ sum_s c_s n_s(K),    K not listed,

with the variance of the noise times sum_s c_s^2 as its penalty. n_s(K) are the occupations of the levels, and
since they add up to N, what is common to all states that are not listed is in the fit.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pnct.distributions import TabulatedOccupation
from pnct.estimate import Estimate, mean_of_independent
from pnct.inference.free_energy import VariationalFreeEnergy
from pnct.inference.sampling.draws import Draws
from pnct.inference.sampling.sites import Params

FOLDS = 20  # of the jackknife
MIN_SAMPLES = 40  # samples of either kind, below which nothing is moved
TINY = 1e-12  # penalty where there is no noise at all


class OccupationOptimum(NamedTuple):
    """Totals: what S would gain, in k_B, and F lose, in hartree, if p(K) went to its optimum and the flow
    stayed as it is.
    """

    entropy_change: Estimate
    free_energy_excess: Estimate


def occupation_optimum(system, draws: Draws) -> OccupationOptimum:
    """From independent draws of p(K), those of `evaluate`, with a site "K". Samples that are not finite are
    left out.

    Raises ValueError at T = 0 and where there are fewer than 40 samples.
    """
    K, log_p, y = reduced_free_energies(draws)
    n = shell_occupations(system, K)
    change = mean_of_independent((log_p - log_p.mean()) * (y - y.mean()))
    fold = np.arange(len(y)) % FOLDS

    def excess(kept):
        return draws.temperature / 2 * _explained_variance(n[kept], y[kept])

    left_out = np.array([excess(fold != i) for i in range(FOLDS)])
    error = np.sqrt((FOLDS - 1) * np.var(left_out))
    return OccupationOptimum(change, Estimate(float(excess(fold >= 0)), float(error), float(len(y))))


def shell_energy_shifts(system, draws: Draws) -> Float[np.ndarray, " levels"]:
    """c_s, in units of T: what to add to the `energy_shifts` of p(K). The better, the more draws there are.

    Raises ValueError as occupation_optimum does.
    """
    K, _, y = reduced_free_energies(draws)
    n = shell_occupations(system, K)
    n = n - n.mean(axis=0)
    y = y - y.mean()
    noise = y - n @ np.linalg.lstsq(n, y, rcond=None)[0]
    shifts = np.linalg.solve(n.T @ n + max(noise.var(), TINY) * np.eye(n.shape[1]), n.T @ y)
    return shifts - shifts.mean()


def fit_shell_energies(
    vfe: VariationalFreeEnergy, key, params: Params, num_samples: int, system, name: str = "occupation"
) -> Params:
    """The parameters with p(K) moved by `shell_energy_shifts` of num_samples fresh draws, if F or S would
    change by twice its error.

    At low temperature S changes where F hardly does. name: the module of p(K), with `energy_shifts`, one
    number per level of the gas. The flow stays as it is.
    """
    if getattr(params.get(name), "energy_shifts", None) is None:
        raise ValueError(
            f"Expected a module '{name}' with energy_shifts among the parameters; got {', '.join(params)}."
        )
    draws = vfe.evaluate(key, params, num_samples, system)
    if all(abs(change.value) < 2 * change.error for change in occupation_optimum(system, draws)):
        return params
    old = params[name].energy_shifts
    new = old + jnp.asarray(shell_energy_shifts(system, draws), old.dtype)
    return params | {name: eqx.tree_at(lambda occupation: occupation.energy_shifts, params[name], new)}


def reduced_free_energies(
    draws: Draws,
) -> tuple[Int[np.ndarray, "S N"], Float[np.ndarray, " S"], Float[np.ndarray, " S"]]:
    """K, ln p(K) and y of the sound samples. Raises ValueError at T = 0 and where there are fewer than 40."""
    if not draws.temperature > 0:
        raise ValueError(f"Expected draws at a temperature > 0; got T = {draws.temperature:g}.")
    energy = (draws.kinetic + draws.potential).real
    sound = np.isfinite(energy + draws.log_prob)
    if np.sum(sound) < 2 * FOLDS:
        raise ValueError(f"Expected {2 * FOLDS} sound samples or more; got {np.sum(sound)}.")
    log_p = np.asarray(draws.log_prob, float)[sound]
    return np.asarray(draws.samples["K"])[sound], log_p, log_p + energy[sound] / draws.temperature


def _explained_variance(n, y) -> float:
    """Cov of the fits of two halves, over all samples."""
    n = n - n.mean(axis=0)
    half = (np.arange(len(y)) // FOLDS) % 2 == 0

    def fit(part):
        return n @ np.linalg.lstsq(n[part] - n[part].mean(axis=0), y[part] - y[part].mean(), rcond=None)[0]

    return float(np.mean(fit(half) * fit(~half)))


def shell_occupations(system, K: Int[Array, "S N"]) -> Float[np.ndarray, "S levels"]:
    """n_s(K): how many electrons of either spin each level holds."""
    shells = np.asarray(system.shell_index)
    n = np.zeros((len(K), shells.max() + 1))
    for k in K.T:
        n[np.arange(len(K)), shells[k]] += 1
    return n


def fit_untabulated(
    vfe: VariationalFreeEnergy,
    key,
    params: Params,
    p_K: TabulatedOccupation,
    num_samples: int,
    system,
    mixing: str = "ci",
    levels: str = "occupation",
) -> Params:
    """The parameters with p(K) of the states that are not listed at its optimum, as far as num_samples fresh
    draws tell.

    p_K: the law at these parameters.  mixing, levels: the modules with its s_K and its levels. All else stays
    as it is.
    """
    c = untabulated_shifts(system, vfe.evaluate(key, params, num_samples, system), p_K)
    if not np.any(c):
        return params
    s = np.asarray(p_K.mixing.log_weights, float) + shell_occupations(system, p_K.mixing.states) @ c

    def like(x, old):
        return jnp.asarray(x, old.dtype)

    old = params[mixing].log_weights
    shifts = params[levels].energy_shifts
    return params | {
        mixing: eqx.tree_at(lambda module: module.log_weights, params[mixing], like(s, old)),
        levels: eqx.tree_at(
            lambda module: module.energy_shifts, params[levels], like(np.asarray(shifts, float) + c, shifts)
        ),
    }


def untabulated_shifts(system, draws: Draws, p_K: TabulatedOccupation) -> Float[np.ndarray, " levels"]:
    """c_s, in units of T; zero where fewer than 40 of the sound draws are listed, or are not."""
    K, _, y = reduced_free_energies(draws)

    def number(K):
        return np.ravel_multi_index(tuple(np.asarray(K).T), (len(system.orbitals),) * system.N)

    listed = np.isin(number(K), number(p_K.mixing.states))
    n = shell_occupations(system, K[~listed])
    y = y[~listed] - np.mean(y, where=listed)
    if min(np.sum(listed), len(y)) < MIN_SAMPLES:
        return np.zeros(n.shape[1])
    noise = y - n @ np.linalg.lstsq(n, y, rcond=None)[0]
    return np.linalg.solve(n.T @ n + noise.var() * np.eye(n.shape[1]), n.T @ y)
