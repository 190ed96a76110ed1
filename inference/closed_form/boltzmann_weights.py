r"""How far p(K) is from its optimum at given Psi_K:  there ln p(K) + E_K/T is F/T, the same for every K.

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

from pnct.distributions.base import StateDistribution
from pnct.estimate import Estimate, mean_of_independent
from pnct.inference.closed_form.fits import jackknife_error, noise_of_fit, ridge
from pnct.inference.free_energy import VariationalFreeEnergy
from pnct.inference.sampling.saved_draws import DrawsLike, as_draws
from pnct.inference.sampling.sites import Params, module_of_kind, read_sites, state_at
from pnct.networks.base import OccupationNetwork
from pnct.primitives import is_trained
from pnct.states.configuration_interaction import ConfigurationInteraction

FOLDS = 20  # of the jackknife
MIN_SAMPLES = 40  # samples of either kind, below which nothing is moved
TINY = 1e-12  # penalty where there is no noise at all


class OccupationOptimum(NamedTuple):
    """Totals: what S would gain, in k_B, and F lose, in hartree, if p(K) went to its optimum and the flow
    stayed as it is.
    """

    entropy_change: Estimate
    free_energy_excess: Estimate


def occupation_optimum(system, draws: DrawsLike) -> OccupationOptimum:
    """From independent draws of p(K), those of `evaluate`, with a site "K". Samples that are not finite are
    left out.

    Raises ValueError at T = 0 and where there are fewer than 40 samples.
    """
    draws = as_draws(draws)
    K, log_p, y = reduced_free_energies(draws)
    n = shell_occupations(system, K)
    change = mean_of_independent((log_p - log_p.mean()) * (y - y.mean()))
    fold = np.arange(len(y)) % FOLDS

    def excess(kept):
        return draws.temperature / 2 * _explained_variance(n[kept], y[kept])

    left_out = np.array([excess(fold != i) for i in range(FOLDS)])
    error = jackknife_error(left_out)
    return OccupationOptimum(change, Estimate(float(excess(fold >= 0)), float(error), float(len(y))))


def shell_energy_shifts(system, draws: DrawsLike) -> Float[np.ndarray, " shells"]:
    """c_s, in units of T: what to add to the shell energies of p(K). The better, the more draws there are.

    Raises ValueError as occupation_optimum does.
    """
    K, _, y = reduced_free_energies(draws)
    n = shell_occupations(system, K)
    n = n - n.mean(axis=0)
    y = y - y.mean()
    shifts = ridge(n, y, max(noise_of_fit(n, y), TINY))
    return shifts - shifts.mean()


def fit_shell_energies(vfe: VariationalFreeEnergy, key, params: Params, num_samples: int, system) -> Params:
    """The parameters with p(K) moved by `shell_energy_shifts` of num_samples fresh draws.

    Only if F or S would change by twice its error: at low temperature S changes where F hardly does. The
    network of p(K) is found by its kind. The flow stays as it is. Raises ValueError where no network has
    shell energies.
    """
    name = _network(vfe, params, system)
    draws = vfe.evaluate(key, params, num_samples, system)
    if all(abs(change.value) < 2 * change.error for change in occupation_optimum(system, draws)):
        return params
    old = params[name].shell_shifts()
    new = old + jnp.asarray(shell_energy_shifts(system, draws), old.dtype)
    return params | {name: params[name].with_shell_shifts(new)}


def own_shell_energies(vfe: VariationalFreeEnergy, params: Params, system) -> Params:
    """The parameters with a p(K) that has an energy for each shell of this system, at first the same p(K).

    Where few parameters serve many systems, as with a smooth dispersion, these are for this one alone, with
    which `fit_shell_energies` can move them. Raises ValueError where no network has shell energies.
    """
    sites = read_sites(vfe.model, params, (system,))
    name = module_of_kind(params, OccupationNetwork, sites.classical_params)
    p_K = state_at(vfe.model, sites, params, (system,))
    shifts = None if name is None or p_K is None else p_K.network.shell_shifts()
    if shifts is None:
        raise _without_shell_energies(params)
    return params | {name: eqx.filter(p_K.network.with_shell_shifts(shifts), is_trained)}


def _network(vfe, params, system) -> str:
    """The name of the network of p(K) with shell energies."""
    sites = read_sites(vfe.model, params, (system,))
    name = module_of_kind(params, OccupationNetwork, sites.classical_params)
    if name is None or params[name].shell_shifts() is None:
        raise _without_shell_energies(params)
    return name


def _without_shell_energies(params):
    found = ", ".join(params) or "none"
    return ValueError(f"Expected a network of p(K) with shell energies among the parameters; got {found}.")


def reduced_free_energies(
    draws: DrawsLike,
) -> tuple[Int[np.ndarray, "S N"], Float[np.ndarray, " S"], Float[np.ndarray, " S"]]:
    """K, ln p(K) and y of the finite samples. Raises ValueError at T = 0 and where there are
    fewer than 40.
    """
    draws = as_draws(draws)
    if not draws.temperature > 0:
        raise ValueError(f"Expected draws at a temperature > 0; got T = {draws.temperature:g}.")
    if draws.state_site is None:
        raise ValueError("Expected draws with one site that names the states; got none or several.")
    draws = draws.finite()
    if len(draws.log_prob) < 2 * FOLDS:
        raise ValueError(f"Expected {2 * FOLDS} finite samples or more; got {len(draws.log_prob)}.")
    log_p = np.asarray(draws.log_prob, float)
    return draws.samples[draws.state_site], log_p, log_p + draws.energy / draws.temperature


def _explained_variance(n, y) -> float:
    """Cov of the fits of two halves, over all samples."""
    n = n - n.mean(axis=0)
    half = (np.arange(len(y)) // FOLDS) % 2 == 0

    def fit(part):
        return n @ np.linalg.lstsq(n[part] - n[part].mean(axis=0), y[part] - y[part].mean(), rcond=None)[0]

    return float(np.mean(fit(half) * fit(~half)))


def shell_occupations(system, K: Int[Array, "S N"]) -> Float[np.ndarray, "S shells"]:
    """n_s(K): how many electrons of either spin each level holds."""
    shells = np.asarray(system.shell_index)
    n = np.zeros((len(K), shells.max() + 1))
    for k in K.T:
        n[np.arange(len(K)), shells[k]] += 1
    return n


def fit_untabulated(
    vfe: VariationalFreeEnergy, key, params: Params, p_K: StateDistribution, num_samples: int, system
) -> Params:
    """The parameters with p(K) of the states that are not listed at its optimum, as far as num_samples fresh
    draws tell.

    p_K: the distribution at these parameters. Its modules are found by their kind. All else stays as it is.
    """
    c = untabulated_shifts(system, vfe.evaluate(key, params, num_samples, system), p_K)
    if not np.any(c):
        return params
    network = _network(vfe, params, system)
    ci = module_of_kind(params, ConfigurationInteraction)
    s = np.asarray(p_K.mixing.log_weights, float) + shell_occupations(system, p_K.tabulated) @ c
    old = params[ci].log_weights
    shifts = params[network].shell_shifts()
    moved = jnp.asarray(np.asarray(shifts, float) + c, shifts.dtype)
    return params | {
        ci: eqx.tree_at(lambda module: module.log_weights, params[ci], jnp.asarray(s, old.dtype)),
        network: params[network].with_shell_shifts(moved),
    }


def untabulated_shifts(system, draws: DrawsLike, p_K: StateDistribution) -> Float[np.ndarray, " shells"]:
    """c_s, in units of T; zero where fewer than 40 of the finite draws are listed, or are not."""
    K, _, y = reduced_free_energies(draws)

    def number(K):
        return np.ravel_multi_index(tuple(np.asarray(K).T), (len(system.orbitals),) * system.N)

    listed = np.isin(number(K), number(p_K.tabulated))
    n = shell_occupations(system, K[~listed])
    y = y[~listed] - np.mean(y, where=listed)
    if min(np.sum(listed), len(y)) < MIN_SAMPLES:
        return np.zeros(n.shape[1])
    return ridge(n, y, noise_of_fit(n, y))
