r"""The local energy of electrons and classical protons,

    E_loc = -(1/2 r_s^2) [Lap ln Psi + (grad ln Psi)^2] + V(R, X)/r_s + 3 N_p T/2

the last of which is the kinetic energy of protons that move, and absent where X is given. Without electrons
it is that of the protons alone, in their Coulomb energy or in a potential of one's own.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pnct.hamiltonian import Hamiltonian, LocalEnergy, Values
from pnct.kinetic import local_kinetic
from pnct.space import smallest_distance
from pnct.systems.base import System
from pnct.systems.ewald import Ewald
from pnct.systems.hydrogen import Hydrogen


class ChargedPotential(eqx.Module):
    """(R, X), one after the other, -> V_Ewald/r_s, in hartree."""

    rs: Float[ArrayLike, ""]
    ewald: Ewald

    def __call__(self, x: Float[ArrayLike, "Q dim"]) -> Float[Array, ""]:
        return self.ewald(x) / self.rs


class ProtonHamiltonian(Hamiltonian):
    """Protons alone: 3 N_p T/2 + V(X). `site`: whose value X is."""

    temperature: Float[ArrayLike, ""]
    energy_scale: Float[ArrayLike, ""]
    plasma: Hydrogen
    potential: Callable[[Float[Array, "P dim"]], Float[Array, ""]]
    unit: str = eqx.field(static=True, default="hartree")
    site: str = eqx.field(static=True, default="X")

    def __call__(self, measured, values: Values) -> LocalEnergy:
        X = values[self.site]
        kinetic = jnp.asarray(self.moving(values), X.dtype)
        return LocalEnergy(kinetic, self.potential_energy(measured, values), self.distances(values))

    def potential_energy(self, measured, values: Values) -> Float[Array, ""]:
        """V(X)"""
        return self.potential(values[self.site])

    def moving(self, values: Values) -> Float[ArrayLike, ""]:
        """The kinetic energy of the protons: none where they are held."""
        return 0.0 if self.site in values.observed else self.plasma.proton_kinetic_energy

    def distances(self, values: Values) -> dict[str, Float[Array, ""]]:
        """The smallest distance of two protons, in units of r_s a_0."""
        return {"proton_distance": smallest_distance(values[self.site], self.plasma.proton_space)}

    def of_system(self, system: System) -> tuple[Hamiltonian, ...]:
        if not isinstance(system, Hydrogen):
            raise ValueError(
                f"Expected the hamiltonian of the model's {type(system).__name__}; got one of protons."
            )
        if isinstance(self.potential, ChargedPotential):
            return (hydrogen_hamiltonian(system),)
        return (hydrogen_hamiltonian(system, self.potential),)


class HydrogenHamiltonian(ProtonHamiltonian):
    """Electrons R, the measured value, and protons X."""

    def __call__(self, measured, values: Values) -> LocalEnergy:
        psi = local_kinetic(measured.states, measured.K, measured.flow, values.measured)
        kinetic = -self.plasma.kinetic_prefactor * (psi.laplacian + jnp.sum(psi.gradient**2))
        numbers = {"log_det_jacobian": psi.log_det_jacobian, "det_sign": psi.det_sign}
        return LocalEnergy(
            kinetic + self.moving(values),
            self.potential_energy(measured, values),
            numbers | self.distances(values),
        )

    def potential_energy(self, measured, values: Values) -> Float[Array, ""]:
        """V(R, X)"""
        return self.potential(jnp.concatenate([values.measured, values[self.site]]))


def hydrogen_hamiltonian(plasma: Hydrogen, potential: Callable | None = None) -> ProtonHamiltonian:
    """The Hamiltonian of protons and electrons, in hartree.

    potential: one of your own in the place of the Coulomb energy, a function of the places of electrons and
    protons, one after the other, shape (N + N_p, 3), in units of r_s a_0, -> hartree. The site of the protons
    is to be called "X".
    """
    if not isinstance(plasma, Hydrogen):
        raise ValueError(f"Expected a Hydrogen; got a {type(plasma).__name__}.")
    V = ChargedPotential(plasma.rs, plasma.ewald) if potential is None else potential
    kind = HydrogenHamiltonian if any(plasma.num_electrons) else ProtonHamiltonian
    return kind(plasma.temperature, plasma.energy_scale, plasma, V, plasma.unit)
