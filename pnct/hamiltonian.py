r"""The local energy  (H Psi_K)(R)/Psi_K(R) = -(1/2 r_s^2) [Lap ln Psi + (grad ln Psi)^2] + V(R),  in hartree.

The square of the complex gradient is taken without conjugation. The imaginary part averages to zero.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from pnct.coulomb import Ewald, ewald
from pnct.kinetic import local_kinetic


class LocalEnergy(NamedTuple):
    """Kinetic and potential energy of one configuration, in hartree, and the local volume change of the flow."""

    kinetic: Complex[Array, ""]
    potential: Float[Array, ""]
    log_det_jacobian: Float[Array, ""]
    det_sign: Float[Array, ""]

    @property
    def total(self) -> Complex[Array, ""]:
        return self.kinetic + self.potential


class Hamiltonian(eqx.Module):
    """(law of R, R) -> LocalEnergy. `kinetic_scale` = 1/(2 r_s^2); `potential`: R -> hartree.

    `temperature` in hartree; `energy_unit`, hartree: the scale of energies in which an optimiser sees its gradients.
    """

    temperature: float
    energy_unit: float
    kinetic_scale: float
    potential: Callable[[Float[Array, "N dim"]], Float[Array, ""]]

    def __call__(self, born, R: Float[Array, "N dim"]) -> LocalEnergy:
        psi = local_kinetic(born.orbitals, born.K, born.flow, R)
        kinetic = -self.kinetic_scale * (psi.laplacian + jnp.sum(psi.gradient**2))
        return LocalEnergy(kinetic, self.potential(R), psi.log_det_jacobian, psi.det_sign)


class Coulomb(eqx.Module):
    """V(R) = Ewald(R)/r_s, in hartree."""

    rs: float
    ewald: Ewald

    def __call__(self, R: Float[Array, "N dim"]) -> Float[Array, ""]:
        return self.ewald(R) / self.rs


class NoInteraction(eqx.Module):
    """V(R) = 0."""

    def __call__(self, R: Float[Array, "N dim"]) -> Float[Array, ""]:
        return jnp.zeros((), R.dtype)


def hamiltonian(gas, coulomb: bool = True) -> Hamiltonian:
    """The Hamiltonian of an electron gas; with `coulomb=False`, of the ideal gas in the same cell."""
    potential = Coulomb(gas.rs, ewald(gas.cell)) if coulomb else NoInteraction()
    return Hamiltonian(gas.temperature, gas.E_F, 1 / (2 * gas.rs**2), potential)
