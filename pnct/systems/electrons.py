"""The contract of systems of electrons: a space, single-particle states in it, a potential.

A new one is one subclass of `ElectronSystem` with its Coulomb energy, a subclass of `SystemPotential`.
"""

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, Int

from pnct.orbitals.base import Orbitals
from pnct.space import Space
from pnct.systems.base import System
from pnct.systems.ideal_gas import ideal_gas
from pnct.systems.interactions import Interaction, NoInteraction, SystemPotential, coulomb

ENTROPY_TOLERANCE = 1e-4  # k_B per electron that a default cutoff may leave out
# A Boltzmann factor exp(-200) is nothing in any precision; the bound keeps T = 0 and float32 finite.
LARGEST_REDUCED_ENERGY = 200.0


class ElectronSystem(System):
    """Electrons, all energies in one unit.

    num_electrons: (up, down).  dim: of space.  space: where they live.  orbitals: the single-particle table.
    kinetic_prefactor: of -nabla^2.
    orbital_energies: (M,) of the table, ascending.  shell_index: (M,) the number of each orbital's energy
    level: degenerate orbitals share one.
    reduced_energies: (e_m - e_F)/T for up and for down, e_F the highest level that the ground state fills;
    bounded by +-200.
    """

    num_electrons: eqx.AbstractVar[tuple[int, int]]
    dim: eqx.AbstractVar[int]
    space: eqx.AbstractVar[Space]
    orbitals: eqx.AbstractVar[Orbitals]
    kinetic_prefactor: eqx.AbstractVar[Float[ArrayLike, ""]]
    orbital_energies: eqx.AbstractVar[Float[ArrayLike, " M"]]
    shell_index: eqx.AbstractVar[Int[np.ndarray, " M"]]
    reduced_energies: eqx.AbstractVar[tuple[Float[ArrayLike, " M"], Float[ArrayLike, " M"]]]

    @abc.abstractmethod
    def coulomb_energy(self) -> SystemPotential:
        """R -> the Coulomb energy of the electrons."""

    def potential(self, interaction: Interaction | None = coulomb) -> SystemPotential:
        """R -> V with this interaction of the electrons; with None, without any."""
        return NoInteraction() if interaction is None else interaction.energy(self)

    @property
    def N(self) -> int:
        """The number of electrons."""
        return sum(self.num_electrons)

    @property
    def ground_state(self) -> Int[np.ndarray, " N"]:
        """K of the lowest orbitals, up then down; in an open shell, the first ones in the table's order."""
        return np.concatenate([np.arange(n) for n in self.num_electrons])

    @property
    def table(self) -> Orbitals:
        """The orbitals."""
        return self.orbitals

    @property
    def choices(self) -> tuple[int, str]:
        return len(self.orbitals), "orbitals"

    def constants(self) -> dict[str, tuple[str | tuple[str, ...], np.ndarray]]:
        """The orbitals: energy, ideal occupation, and the columns of their table."""
        return {
            "orbital_energy": ("orbital", np.asarray(self.orbital_energies, float)),
            "ideal_occupation": (("species", "orbital"), ideal_gas(self).occupations),
        } | self.orbitals.columns()

    def labels(self) -> dict[str, tuple[str, list | np.ndarray]]:
        """The spin of each electron, the shell of each orbital."""
        return {
            "spin": ("electron", np.repeat(["up", "down"], self.num_electrons)),
            "species": ("species", ["up", "down"]),
            "shell": ("orbital", self.shell_index),
        }

    def counts(self, K: Int[ArrayLike, "S N"]) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """The number of electrons in each shell."""
        shells = np.eye(int(self.shell_index.max()) + 1, dtype=np.int32)[self.shell_index]
        return {"by_shell": (("shell",), np.sum(shells[np.asarray(K)], axis=1))}


def bounded(reduced_energies: Float[ArrayLike, " M"]) -> Float[ArrayLike, " M"]:
    """Reduced energies, bounded by +-LARGEST_REDUCED_ENERGY."""
    xp = np if isinstance(reduced_energies, np.ndarray) else jnp
    return xp.clip(reduced_energies, -LARGEST_REDUCED_ENERGY, LARGEST_REDUCED_ENERGY)
