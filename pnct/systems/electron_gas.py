r"""The uniform electron gas:  H = -(1/2 r_s^2) sum_i nabla_i^2 + (1/r_s) V_Ewald,  energies in hartree,
lengths in r_s a_0.

The density fixes the cell, L^3 = 4 pi N/3 or L^2 = pi N, and the Fermi energy E_F = k_F^2/(2 r_s^2) of the
majority species, k_F^3 = 6 pi^2 n (3D) or k_F^2 = 4 pi n (2D). Temperatures are given as theta = T/T_F.
"""

import math
from functools import lru_cache

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, Int

from pnct.orbitals.plane_waves import PlaneWaves, integer_vectors, squared_norms
from pnct.space import Cell
from pnct.systems.electrons import ENTROPY_TOLERANCE, ElectronSystem, bounded
from pnct.systems.ewald import EwaldEnergy, ewald
from pnct.systems.ideal_gas import converged_cutoff
from pnct.validation import check_room, checked_dim, checked_num_electrons, checked_number


class ElectronGas(ElectronSystem):
    """The uniform electron gas of `num_electrons` = (up, down) electrons in `dim` dimensions at r_s and theta
    = T/T_F.

    rs: density parameter, > 0.  theta: temperature in units of the Fermi temperature of this polarisation, >=
    0.
    twist: boundary phase in units of 2 pi/L, one number for all axes or one per axis.
    cutoff: largest |n + twist|^2 of the orbital table, in units of (2 pi/L)^2; by default large enough that
    the ideal entropy per electron is converged to 1e-4 k_B.

    rs and theta are pytree leaves, so a jitted function of the gas compiles once for all densities at one
    cutoff. Raises ValueError with what was expected, what came, and what to do.
    """

    num_electrons: tuple[int, int] = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    rs: float
    theta: float
    twist: tuple[float, ...] = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)

    def __init__(self, num_electrons=(7, 0), dim=3, rs=4.0, theta=0.25, twist=0.0, cutoff=None):
        self.num_electrons = checked_num_electrons(num_electrons)
        self.dim = checked_dim(dim)
        self.rs = checked_number("rs", rs, lambda x: x > 0, "> 0")
        self.theta = checked_number("theta", theta, lambda x: x >= 0, ">= 0")
        self.twist = checked_twist(twist, self.dim)
        if cutoff is None:
            self.cutoff = default_cutoff(self.num_electrons, self.dim, self.theta, self.twist)
        else:
            self.cutoff = checked_number("cutoff", cutoff, lambda x: x >= 0, ">= 0")
        check_room(len(self.orbitals), self.num_electrons)

    @property
    def L(self) -> float:
        """The side of the cell, in units of r_s a_0."""
        return _side(self.N, self.dim)

    @property
    def space(self) -> Cell:
        """Where the electrons live: a periodic cell, in units of r_s a_0."""
        return Cell(self.num_electrons, self.dim, self.L)

    @property
    def orbitals(self) -> PlaneWaves:
        """The single-particle table, lowest energy first."""
        n = _table(self.dim, self.twist, self.cutoff)
        return PlaneWaves(n + np.asarray(self.twist), self.space)

    @property
    def shell_index(self) -> Int[np.ndarray, " M"]:
        """For each orbital, the number of its energy level: degenerate orbitals share one."""
        q = squared_norms(_table(self.dim, self.twist, self.cutoff), self.twist)
        return np.unique(q, return_inverse=True)[1]

    @property
    def orbital_energies(self) -> Float[ArrayLike, " M"]:
        """k^2/(2 r_s^2), in hartree."""
        return np.sum(self.orbitals.wavevectors**2, axis=-1) / (2 * self.rs**2)

    @property
    def fermi_wavevector(self) -> float:
        """k_F of the majority species at infinite size, in 1/(r_s a_0)."""
        return _fermi_wavevector(self.num_electrons, self.dim)

    @property
    def E_F(self):
        """The Fermi energy of the majority species at infinite size, in hartree."""
        return self.fermi_wavevector**2 / (2 * self.rs**2)

    @property
    def temperature(self):
        """T = theta E_F, in hartree."""
        return self.theta * self.E_F

    @property
    def beta(self):
        """1/T, in 1/hartree; infinite at theta = 0."""
        return np.inf if isinstance(self.theta, float) and self.theta == 0 else 1 / self.temperature

    @property
    def unit(self) -> str:
        """The name of the unit of all energies."""
        return "hartree"

    @property
    def energy_scale(self):
        """The Fermi energy: the scale of the energies that change with the state."""
        return self.E_F

    @property
    def kinetic_prefactor(self):
        """1/(2 r_s^2), the factor of -nabla^2, in hartree."""
        return 1 / (2 * self.rs**2)

    def coulomb_energy(self) -> EwaldEnergy:
        """R -> the Coulomb energy with that of the background, in hartree."""
        return EwaldEnergy(self.rs, ewald(self.space))

    @property
    def reduced_energies(self) -> tuple[Float[ArrayLike, " M"], Float[ArrayLike, " M"]]:
        """(e_m - e_F)/T for up and for down, e_F the highest level that the ground state fills; bounded by
        +-200.
        """
        q = squared_norms(_table(self.dim, self.twist, self.cutoff), self.twist)
        return tuple(
            _reduced(q, n, self.L, self.dim, self.num_electrons, self.theta) for n in self.num_electrons
        )


def default_cutoff(num_electrons: tuple[int, int], dim: int, theta: float, twist: tuple[float, ...]) -> float:
    """The smallest closed shell whose ideal entropy per electron is within 1e-4 k_B of the
    infinite table's.
    """
    L = _side(sum(num_electrons), dim)
    n = max(num_electrons)
    fermi = (_fermi_wavevector(num_electrons, dim) * L / (2 * np.pi)) ** 2
    ground = 1.0
    while len(integer_vectors(dim, twist, ground)) < n + 1:
        ground *= 1.5
    # Beyond 25 T above the Fermi level all orbitals together hold less than 1e-8 electrons.
    table = integer_vectors(dim, twist, max(fermi, ground) * (1 + 25 * theta) + 1)
    q = squared_norms(table, twist)
    if theta == 0:
        return float(q[n - 1])
    return converged_cutoff(q, _reduced(q, n, L, dim, num_electrons, theta), n, ENTROPY_TOLERANCE)


def _reduced(q, n, L, dim, num_electrons, theta):
    fermi = (_fermi_wavevector(num_electrons, dim) * L / (2 * np.pi)) ** 2
    excess = (q - q[max(n, 1) - 1]) / fermi
    xp = np if isinstance(theta, float) else jnp
    return bounded(excess / xp.maximum(theta, 1e-12))


def _side(N: int, dim: int) -> float:
    return math.sqrt(math.pi * N) if dim == 2 else (4 * math.pi * N / 3) ** (1 / 3)


def _fermi_wavevector(num_electrons: tuple[int, int], dim: int) -> float:
    """k_F in 1/(r_s a_0)."""
    share = max(num_electrons) / sum(num_electrons)
    return 2 * math.sqrt(share) if dim == 2 else (9 * math.pi / 2 * share) ** (1 / 3)


@lru_cache(maxsize=64)
def _table(dim, twist, cutoff):
    return integer_vectors(dim, twist, cutoff)


def checked_twist(twist, dim: int) -> tuple[float, ...]:
    """One component per axis. Raises ValueError unless they are finite, or one number for all."""
    try:
        components = np.broadcast_to(np.asarray(twist, float), (dim,))
    except (TypeError, ValueError):
        raise ValueError(
            f"Expected twist to be one number, or one per axis ({dim}); got {twist!r}."
        ) from None
    if not np.all(np.isfinite(components)):
        raise ValueError(f"Expected a finite twist; got {twist!r}.")
    return tuple(float(t) for t in components)
