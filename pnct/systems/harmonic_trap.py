r"""Electrons in a harmonic trap:  H = sum_i (-nabla_i^2/2 + r_i^2/2) + lambda sum_{i<j} 1/r_ij.

Energies in hbar omega, lengths in the oscillator length l = (hbar/m omega)^(1/2); lambda = l/a_0 is the ratio
of the Coulomb energy at that length to hbar omega. Two dimensions are the quantum dot.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from pnct.orbitals.oscillator import Oscillators, fermi_quanta
from pnct.orbitals.planar_oscillator import planar_oscillators
from pnct.orbitals.spherical_oscillator import spherical_oscillators
from pnct.space import OpenSpace
from pnct.systems.electrons import ENTROPY_TOLERANCE, ElectronSystem, bounded
from pnct.systems.ideal_gas import converged_cutoff
from pnct.systems.interactions import Coulomb, Interaction, SystemPotential, coulomb
from pnct.validation import check_room, checked_dim, checked_num_electrons, checked_number


class HarmonicTrap(ElectronSystem):
    """`num_electrons` = (up, down) electrons in an isotropic trap of frequency 1 in `dim` dimensions.

    coupling: lambda, >= 0.  beta: hbar omega/T, > 0.
    cutoff: the most quanta of an orbital of the table; by default enough for the ideal entropy per electron
    to be converged to 1e-4 k_B, and four shells above the highest filled one.

    coupling and beta are pytree leaves, so a jitted function of the trap compiles once for all couplings at
    one cutoff. Raises ValueError with what was expected, what came, and what to do.
    """

    num_electrons: tuple[int, int] = eqx.field(static=True)
    coupling: float
    beta: float
    cutoff: float = eqx.field(static=True)
    dim: int = eqx.field(static=True)

    def __init__(self, num_electrons=(3, 0), coupling=1.0, beta=5.0, cutoff=None, dim=2):
        self.num_electrons = checked_num_electrons(num_electrons)
        self.coupling = checked_number("coupling", coupling, lambda x: x >= 0, ">= 0")
        self.beta = checked_number("beta", beta, lambda x: x > 0, "> 0")
        self.dim = checked_dim(dim)
        if cutoff is None:
            self.cutoff = default_cutoff(self.num_electrons, self.dim, self.beta)
        else:
            self.cutoff = checked_number("cutoff", cutoff, lambda x: x >= 0, ">= 0")
        check_room(len(self.orbitals), self.num_electrons)

    @property
    def space(self) -> OpenSpace:
        """Where the electrons live: open space, in oscillator lengths."""
        return OpenSpace(self.num_electrons, self.dim)

    @property
    def orbitals(self) -> Oscillators:
        """The single-particle table, lowest energy first."""
        table = planar_oscillators if self.dim == 2 else spherical_oscillators
        return table(self.space, self.cutoff)

    @property
    def shell_index(self) -> Int[np.ndarray, " M"]:
        """For each orbital, the number of its energy level: its quanta."""
        return self.orbitals.num_quanta

    @property
    def orbital_energies(self) -> Float[np.ndarray, " M"]:
        """In hbar omega."""
        return self.orbitals.energies

    @property
    def temperature(self):
        """T = 1/beta, in hbar omega."""
        return 1 / self.beta

    @property
    def unit(self) -> str:
        """The name of the unit of all energies."""
        return "hbar omega"

    @property
    def energy_scale(self) -> float:
        """hbar omega = 1: the scale of the energies that change with the state."""
        return 1.0

    @property
    def kinetic_prefactor(self) -> float:
        """1/2, the factor of -nabla^2."""
        return 0.5

    def coulomb_energy(self) -> "CoulombRepulsion":
        """R -> lambda sum_{i<j} 1/r_ij."""
        return CoulombRepulsion(self.coupling)

    def potential(self, interaction: Interaction | None = coulomb) -> "TrapPotential":
        """R -> V, in hbar omega."""
        return TrapPotential(super().potential(interaction))

    @property
    def reduced_energies(self) -> tuple[Float[ArrayLike, " M"], Float[ArrayLike, " M"]]:
        """beta (e_m - e_F) for up and for down, e_F the highest level that the ground state fills; bounded by
        +-200.
        """
        return tuple(_reduced(self.shell_index, n, self.beta) for n in self.num_electrons)


class TrapPotential(SystemPotential):
    """V(R) = sum_i r_i^2/2 and the energy of the electrons' interaction, in hbar omega."""

    between: SystemPotential

    @property
    def interaction(self) -> Interaction | None:
        return self.between.interaction

    def __call__(self, R: Float[ArrayLike, "N dim"]) -> Float[Array, ""]:
        return jnp.sum(R**2) / 2 + self.between(R)


class CoulombRepulsion(SystemPotential):
    """V(R) = lambda sum_{i<j} 1/r_ij, in hbar omega."""

    coupling: Float[ArrayLike, ""]

    @property
    def interaction(self) -> Coulomb:
        return coulomb

    def __call__(self, R: Float[ArrayLike, "N dim"]) -> Float[Array, ""]:
        i, j = np.triu_indices(R.shape[0], 1)
        return self.coupling * jnp.sum(1 / jnp.linalg.norm(R[i] - R[j], axis=-1))


def default_cutoff(num_electrons: tuple[int, int], dim: int, beta: float) -> float:
    """The quanta of the smallest table whose ideal entropy per electron is within 1e-4 k_B of the infinite
    table's.

    But at least four shells above the highest filled one, since the interaction brings rotations down in
    energy.
    """
    n = max(num_electrons)
    # Beyond 35 T above the Fermi level all orbitals together hold less than 1e-10 electrons.
    highest = fermi_quanta(num_electrons, dim)
    shell_index = np.arange(highest + 2 + math.ceil(35 / beta))
    quanta = np.repeat(shell_index, [math.comb(q + dim - 1, dim - 1) for q in shell_index])
    return max(converged_cutoff(quanta, _reduced(quanta, n, beta), n, ENTROPY_TOLERANCE), highest + 4.0)


def _reduced(quanta, n, beta):
    return bounded(beta * (quanta - quanta[max(n, 1) - 1]))
