r"""The local energy  (H Psi_K)(R)/Psi_K(R) = -c [Lap ln Psi + (grad ln Psi)^2] + V(R),  c = 1/(2 r_s^2) in
the electron gas.

The square of the complex gradient is taken without conjugation. The imaginary part averages to zero. Energies
are in the unit of the system: hartree for the gas, hbar omega for electrons in a trap.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from pnct.kinetic import local_kinetic


class LocalEnergy(NamedTuple):
    """Kinetic and potential energy of one configuration, in hartree, and the local volume change
    of the flow.
    """

    kinetic: Complex[Array, ""]
    potential: Float[Array, ""]
    log_det_jacobian: Float[Array, ""]
    det_sign: Float[Array, ""]

    @property
    def total(self) -> Complex[Array, ""]:
        return self.kinetic + self.potential


class Hamiltonian(eqx.Module):
    """(law of R, R) -> LocalEnergy. `kinetic_prefactor`: c; `potential`: V.

    `temperature`; `energy_scale`: the scale of energies in which an optimiser sees its gradients; `unit`:
    what energies are printed in.
    """

    temperature: float
    energy_scale: float
    kinetic_prefactor: float
    potential: Callable[[Float[Array, "N dim"]], Float[Array, ""]]
    unit: str = eqx.field(static=True, default="hartree")

    def __call__(self, born, R: Float[Array, "N dim"]) -> LocalEnergy:
        psi = local_kinetic(born.states, born.K, born.flow, R)
        kinetic = -self.kinetic_prefactor * (psi.laplacian + jnp.sum(psi.gradient**2))
        return LocalEnergy(kinetic, self.potential(R), psi.log_det_jacobian, psi.det_sign)


def hamiltonian(system, coulomb: bool = True) -> Hamiltonian:
    """The Hamiltonian of a system; with `coulomb=False`, of the same system without interaction."""
    return Hamiltonian(
        system.temperature,
        system.energy_scale,
        system.kinetic_prefactor,
        system.potential(coulomb),
        system.unit,
    )
