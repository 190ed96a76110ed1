r"""Energies E_K of many states from the same samples: each R says something of every Psi_K that is not small
there.

    R ~ rho = sum_t c_t |Psi_t|^2,     w_t = |Psi_t(R)|^2/rho(R),     E_t = E[w_t E_loc,t(R)]/E[w_t]

The weights are bounded by 1/c_t: multiple importance sampling with the balance heuristic (Veach, Guibas,
SIGGRAPH 1995). States that differ by few electrons overlap in |Psi|^2, and of those that share a flow each
further one costs no more than its determinant. Of n samples of p(K), n p(K) tell of E_K; here most do.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pnct.inference.closed_form.fits import jackknife_error
from pnct.inference.free_energy import VariationalFreeEnergy
from pnct.inference.sampling.batch import Batching
from pnct.inference.sampling.inputs import checked_key
from pnct.inference.sampling.local_energy import local_energy
from pnct.inference.sampling.parallel import as_arrays, gathered, map_walkers
from pnct.inference.sampling.sites import Params, Sites, draw_measured, measured_at, read_sites
from pnct.inference.training.loop import in_precision
from pnct.validation import checked_integer

FOLDS = 20  # of the jackknife
BATCH = 1024  # samples that are drawn together


class StateEnergies(NamedTuple):
    """E_t, totals in the Hamiltonian's unit, and what they are without each fold of the samples."""

    energy: Float[np.ndarray, " states"]
    without_one: Float[np.ndarray, "folds states"]

    def error_of(self, f) -> Float[np.ndarray, "..."]:
        """The standard error of f(energies), whose noises are correlated."""
        return jackknife_error(np.array([f(energy) for energy in self.without_one]))


def state_energies(
    vfe: VariationalFreeEnergy,
    key,
    params: Params,
    states: Int[np.ndarray, "states N"],
    log_shares: Float[np.ndarray, " states"],
    num_samples: int,
    *args,
) -> StateEnergies:
    """E_K of these states from num_samples draws of rho. log_shares: ln c + constant.

    Samples that are not finite, or not exact, are left out. Raises ValueError unless one site names the
    states and there is no other, and where no sample is left.
    """
    num_samples = checked_integer("num_samples", num_samples, FOLDS)
    params = params if vfe.precision is None else in_precision(params, jnp.result_type(float))
    sites = read_sites(vfe.model, params, args)
    if len(sites.state) != 1 or sites.classical != sites.state:
        raise ValueError(f"Expected one unobserved site, which names the states; got {sites.classical}.")
    keys = jax.random.split(checked_key(key), num_samples)
    log_shares = np.asarray(log_shares) - np.logaddexp.reduce(log_shares)
    shared = (params, as_arrays(args), jnp.asarray(states), jnp.asarray(log_shares))
    hamiltonian = vfe.hamiltonian_for(args)
    sums = np.zeros((2, FOLDS, len(states)))
    shift = 0.0  # of energies, against rounding
    for start in range(0, num_samples, BATCH):
        some = keys[start + np.arange(min(BATCH, num_samples)) % (num_samples - start)]
        drawn = _weighed(vfe.model, sites, hamiltonian, shared, some, vfe.batching(sites))
        weight, energy = (np.asarray(x, float)[: num_samples - start] for x in jax.device_get(drawn))
        valid = np.all(np.isfinite(weight) & np.isfinite(energy), axis=1)
        shift = shift or np.sum(energy[valid]) / max(1, energy[valid].size)
        weight = np.where(valid[:, None], weight, 0)
        moment = weight * np.where(valid[:, None], energy - shift, 0)
        for i in range(FOLDS):
            sums[:, i] += weight[i::FOLDS].sum(axis=0), moment[i::FOLDS].sum(axis=0)
    weight, moment = sums
    if not np.all(weight.sum(axis=0) > weight):
        raise ValueError(
            f"Expected finite samples of {len(states)} states; got none in the folds of {num_samples}."
        )
    left_out = (moment.sum(axis=0) - moment) / (weight.sum(axis=0) - weight)
    return StateEnergies(shift + moment.sum(axis=0) / weight.sum(axis=0), shift + left_out)


@eqx.filter_jit
def _weighed(model, sites: Sites, hamiltonian, shared, keys, batching: Batching):
    """w_t and E_loc,t of each state at each sample, (B, states)."""
    one = partial(_sample, model, sites, hamiltonian)
    return gathered(map_walkers(one, shared, keys, batching.chunk_size, batching.mesh), batching.mesh)


def _sample(model, sites, hamiltonian, shared, key) -> tuple[Array, Array]:
    params, args, states, log_shares = shared
    choose, draw = jax.random.split(key)
    site = sites.state[0]
    K = states[jax.random.categorical(choose, log_shares)]
    _, x, is_exact, _ = draw_measured(model, sites, params, {site: K}, draw, args)

    def at(K):
        measured = measured_at(model, sites, params, {site: K}, args)
        energy = local_energy(hamiltonian, measured, {site: K, sites.measured: x}, sites)
        return 2 * measured.log_psi(x).real, (energy.kinetic + energy.potential).real

    log_density, energy = jax.vmap(at)(states)
    weight = jnp.exp(log_density - jax.nn.logsumexp(log_density + log_shares))
    return jnp.where(is_exact, weight, jnp.nan), energy
