r"""Energies of single states, E_K = E_{R ~ |Psi_K|^2} E_loc(K, R), and excitation energies E_K - E_0 at one
set of parameters.

The model is conditioned on K. K is an argument of the compiled program, so that one compilation serves all
states.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpyro.handlers import condition

from pnct.estimate import Estimate, mean_of_independent
from pnct.inference.free_energy import VariationalFreeEnergy
from pnct.inference.sampling.sites import read_sites


class Excitations(NamedTuple):
    """Totals in hartree, one entry per state; `excitation` is relative to the first state, whose entry is
    0(0).

    differences: E_loc(K, R_K) - E_loc(0, R_0) of each sample, whose means are the excitations; correlated
    between the states.
    """

    energy: tuple[Estimate, ...]
    excitation: tuple[Estimate, ...]
    differences: Float[np.ndarray, "n S"]


def excitation_energies(
    key, vfe: VariationalFreeEnergy, params, states: Int[Array, "n N"], num_samples: int, *args
) -> Excitations:
    """E_K and E_K - E_0 of the `states`, the first of which is the reference, with num_samples draws of each.

    The site that names the state is found by what the state depends on. All states meet the same random
    numbers, and errors are those of the differences. Raises ValueError where the model has no such site, or K
    is no state.
    """
    states = np.asarray(states)
    if states.ndim != 2 or not np.issubdtype(states.dtype, np.integer):
        raise ValueError(
            f"Expected states of shape (n, N), whole numbers; got {states.shape}, {states.dtype}."
        )
    sites = read_sites(vfe.model, params, args)
    if len(sites.state) != 1:
        raise ValueError(f"Expected one unobserved site that names the state; got {sites.state or 'none'}.")
    at_state = VariationalFreeEnergy(
        _AtState(vfe.model, sites.state[0]),
        vfe.hamiltonian,
        vfe.optim,
        vfe.num_walkers,
        vfe.chunk_size,
        vfe.sharding,
    )
    energies = []
    for K in states:
        at_state.init(key, *args, K)  # refuses what is no state of this system
        draws = at_state.evaluate(key, params, num_samples, *args, jnp.asarray(K, jnp.int32))
        energies.append(draws.energy)
    finite = np.all(np.isfinite(energies), axis=0)
    energies = np.asarray(energies)[:, finite]
    differences = energies - energies[0]
    return Excitations(
        tuple(mean_of_independent(e) for e in energies),
        tuple(mean_of_independent(d) for d in differences),
        differences,
    )


@dataclass(frozen=True)
class _AtState:
    """(*args, K) -> the model with its state observed. Equal for equal models, so that nothing is compiled
    twice.
    """

    model: Callable
    site: str

    def __call__(self, *args):
        *args, K = args
        return condition(self.model, {self.site: K})(*args)
