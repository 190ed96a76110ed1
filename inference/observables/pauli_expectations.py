r"""Expectation values of Pauli strings in a density matrix of spins,

    <O> = E_{K, x} Re (O Psi_K)(x)/Psi_K(x)

The same local estimate as that of the energy, of any operators, from the draws that the energy came from:
magnetisation (1/N) sum_i X_i, correlations Z_i Z_j. What is diagonal in the measured bits is a mean over
these.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from pnct.compilation import compiled
from pnct.estimate import Estimate, mean_of_independent
from pnct.inference.sampling.draws import Draws
from pnct.inference.sampling.sites import measured_at, read_sites
from pnct.systems.pauli import PauliSum
from pnct.systems.spin_lattice import SpinLattice

CHUNK = 64  # samples that are alive at once


def pauli_expectations(
    model: Callable, params, draws: Draws, operators: Sequence[PauliSum], spins: SpinLattice, *args
) -> tuple[Estimate, ...]:
    """<O> of each operator, from draws of `model` at `params`. Failed samples are left out.

    spins, args: the arguments of the model. Raises ValueError where an operator has other sites.
    """
    wrong = [operator.num_sites for operator in operators if operator.num_sites != spins.N]
    if wrong:
        raise ValueError(f"Expected operators on the {spins.N} sites of the lattice; got one on {wrong[0]}.")
    draws = draws.finite()
    values = {name: jnp.asarray(x) for name, x in draws.samples.items()}
    turned = tuple(operator.along(spins.measured_axis) for operator in operators)
    sites = read_sites(model, params, (spins, *args))
    local = np.asarray(_local(model, sites, params, (spins, *args), values, turned))
    return tuple(mean_of_independent(x) for x in local.T)


@compiled
def _local(model, sites, params, args, values, operators):
    def one(values):
        measured = measured_at(model, sites, params, values, args)
        x = values[sites.measured]
        parts = [operator.local(measured.log_psi, x) for operator in operators]
        return jnp.stack([off_diagonal.real + diagonal for off_diagonal, diagonal in parts])

    return jax.lax.map(one, values, batch_size=CHUNK)
