r"""p(K) of the states that a tabulated law does not list:  ln p(K) falls by sum_s c_s n_s(K), that of all listed states stays.

`diagonalised` gives the listed states their Boltzmann factors. Of the others there are too many to have energies of their own;
their levels are continued from the listed ones. What this misses is seen in samples, with y = ln p(K) + Re E_loc/T, whose
mean at K is the same for every K at the optimum: c is the least-squares fit of

    y - (mean of y over the listed K) ~ sum_s c_s n_s(K),    K not listed,

with the variance of the noise times sum_s c_s^2 as its penalty. n_s(K) are the occupations of the levels, and since they add
up to N, what is common to all states that are not listed is in the fit.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from pnct.distributions import TabulatedOccupation
from pnct.inference.sampling.draws import Draws
from pnct.inference.free_energy import VariationalFreeEnergy
from pnct.inference.sampling.sites import Params
from pnct.inference.closed_form.boltzmann_weights import level_occupations, reduced_free_energies

LEAST = 40  # samples of either kind, below which nothing is moved


def unlisted_settled(
    vfe: VariationalFreeEnergy,
    key,
    params: Params,
    p_K: TabulatedOccupation,
    num_samples: int,
    gas,
    mixing: str = "mixing",
    levels: str = "occupation",
) -> Params:
    """The parameters with p(K) of the states that are not listed at its optimum, as far as num_samples fresh draws tell.

    p_K: the law at these parameters.  mixing, levels: the modules with its s_K and its levels. All else stays as it is.
    """
    c = unlisted_shifts(gas, vfe.evaluate(key, params, num_samples, gas), p_K)
    if not np.any(c):
        return params
    s = np.asarray(p_K.mixing.log_weights, float) + level_occupations(gas, p_K.mixing.states) @ c
    like = lambda x, old: jnp.asarray(x, old.dtype)  # noqa: E731
    old, shifts = params[mixing].log_weights, params[levels].energy_shifts
    return params | {
        mixing: eqx.tree_at(lambda module: module.log_weights, params[mixing], like(s, old)),
        levels: eqx.tree_at(lambda module: module.energy_shifts, params[levels], like(np.asarray(shifts, float) + c, shifts)),
    }


def unlisted_shifts(gas, draws: Draws, p_K: TabulatedOccupation) -> Float[np.ndarray, " levels"]:
    """c_s, in units of T; zero where fewer than 40 of the sound draws are listed, or are not."""
    K, _, y = reduced_free_energies(draws)
    number = lambda K: np.ravel_multi_index(tuple(np.asarray(K).T), (len(gas.orbitals),) * gas.N)  # noqa: E731
    listed = np.isin(number(K), number(p_K.mixing.states))
    n, y = level_occupations(gas, K[~listed]), y[~listed] - np.mean(y, where=listed)
    if min(np.sum(listed), len(y)) < LEAST:
        return np.zeros(n.shape[1])
    noise = y - n @ np.linalg.lstsq(n, y, rcond=None)[0]
    return np.linalg.solve(n.T @ n + noise.var() * np.eye(n.shape[1]), n.T @ y)
