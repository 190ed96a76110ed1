r"""Tan's contact C of fermions that attract each other over a short range, in three dimensions, from draws:

    dF/d(-1/a) = hbar^2 C/(4 pi m)  at fixed T

(Tan, Ann. Phys. 323, 2971 (2008)). A well lambda v of fixed range has dF/d lambda = <V>, V the energy of the
interaction, and d(-1/a)/d lambda = int v u^2 dr with the zero-energy state u of a pair
(pnct.systems.scattering_length). So at lambda = 1, V in hbar^2/(m l^2) and C in 1/l,

    C = 4 pi <V>/int v u^2 dr
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pnct.estimate import Estimate, mean_of_independent
from pnct.inference.sampling.saved_draws import DrawsLike, measured_of
from pnct.systems.electrons import ElectronSystem
from pnct.systems.interactions import ShortRange
from pnct.systems.scattering_length import scattering_slope

CHUNK = 1024  # samples whose energies are found together


def contact(
    R: Float[Array, "S N dim"] | DrawsLike, system: ElectronSystem, interaction: ShortRange
) -> Estimate:
    """C of all pairs, in the inverse of the system's unit of length.

    R: coordinates, or draws, or what to_arviz made of them; samples with a nan are left out. Raises
    ValueError in two dimensions, where the scattering length is another one.
    """
    if system.dim != 3:
        raise ValueError(f"Expected a system in three dimensions; got dim = {system.dim}.")
    R = np.asarray(measured_of(R))
    R = R[np.all(np.isfinite(R), axis=(1, 2))]
    energy = interaction.energy(system)
    V = jax.jit(lambda R: jax.lax.map(energy, R, batch_size=CHUNK))(jnp.asarray(R))
    unit = 2 * float(system.kinetic_prefactor)
    return mean_of_independent(np.asarray(V) * (4 * np.pi / (unit * scattering_slope(interaction))))
