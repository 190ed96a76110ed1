r"""Electrons among protons at X: the system that p(K | X) and the states of given X are those of.

Its orbitals are bands (pnct.orbitals.bands) with their levels, its potential is V(R, X)/r_s.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from pnct.orbitals.bands import Bands
from pnct.space import Cell
from pnct.systems.electrons import ElectronSystem, bounded
from pnct.systems.ewald import Ewald
from pnct.systems.interactions import Coulomb, SystemPotential, coulomb


class AmongCharges(SystemPotential):
    """R -> V_Ewald(R, X)/r_s, in hartree."""

    rs: Float[ArrayLike, ""]
    ewald: Ewald
    X: Float[ArrayLike, "P dim"]

    @property
    def interaction(self) -> Coulomb:
        return coulomb

    def __call__(self, R: Float[ArrayLike, "N dim"]) -> Float[Array, ""]:
        return self.ewald(jnp.concatenate([R, jnp.asarray(self.X, R.dtype)])) / self.rs


class AmongProtons(ElectronSystem):
    """What `Hydrogen.given(X)` makes: electrons in bands, at its r_s and temperature."""

    num_electrons: tuple[int, int] = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    space: Cell = eqx.field(static=True)
    orbitals: Bands
    X: Float[ArrayLike, "P dim"]
    rs: Float[ArrayLike, ""]
    temperature: Float[ArrayLike, ""]
    energy_scale: Float[ArrayLike, ""]
    unit: str = eqx.field(static=True)
    ewald: Ewald

    @property
    def kinetic_prefactor(self):
        """1/(2 r_s^2), the factor of -nabla^2, in hartree."""
        return 1 / (2 * self.rs**2)

    @property
    def orbital_energies(self) -> Float[Array, " M"]:
        """The levels of the bands, in hartree."""
        return self.orbitals.levels

    @property
    def shell_index(self) -> Int[np.ndarray, " M"]:
        """Each band is a shell of its own: which levels meet depends on X."""
        return np.arange(len(self.orbitals))

    @property
    def reduced_energies(self) -> tuple[Float[Array, " M"], Float[Array, " M"]]:
        """(e_m - e_F)/T for up and for down, e_F the highest band that the ground state fills; bounded by
        +-200.
        """
        e = self.orbitals.levels
        return tuple(bounded((e - e[max(n, 1) - 1]) / self.temperature) for n in self.num_electrons)

    def coulomb_energy(self) -> AmongCharges:
        """R -> V(R, X)/r_s, in hartree."""
        return AmongCharges(self.rs, self.ewald, self.X)
