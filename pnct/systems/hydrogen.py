r"""Electrons and classical protons of mass M in a periodic cell, energies in hartree, lengths in r_s a_0:

    H = -(1/2 r_s^2) sum_i nabla_i^2 + (1/r_s) V_Ewald(R, X)

V_Ewald is that of the charges -1 of the electrons R and +1 of the protons X, with a uniform background where
they are not neutral together. r_s is that of the electrons, L^3 = 4 pi N/3, and of the protons where there
are no electrons. The momenta of the protons are integrated exactly, with Lambda = (2 pi/M T)^(1/2):

    F = E[T (ln p(X) + ln p(K|X)) + E_loc] + T [ln N_p! + 3 N_p ln(Lambda/r_s)]

(N_p protons that are all alike, each configuration counted once). The bracket is part of ln p of the sites
(pnct.distributions.nuclei), so that nothing is added afterwards.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, Int

from pnct.orbitals.bands import bands
from pnct.orbitals.plane_waves import PlaneWaves, integer_vectors, squared_norms
from pnct.space import Cell
from pnct.systems.among_protons import AmongProtons
from pnct.systems.base import System
from pnct.systems.electron_gas import checked_twist
from pnct.systems.electrons import ENTROPY_TOLERANCE, bounded
from pnct.systems.ewald import Ewald, ewald
from pnct.systems.ideal_gas import converged_cutoff
from pnct.validation import check_room, checked_integer, checked_num_electrons, checked_number

PROTON_MASS = 1836.15267  # electron masses
FEWEST_WAVES = 57  # of a default table: an atom needs more than what is occupied thermally
DIM = 3


class Hydrogen(System):
    """`num_electrons` = (up, down) electrons and `num_protons` classical protons at r_s and a temperature in
    hartree; num_electrons = (0, 0) is a plasma of charges alone.

    rs: density parameter of the electrons, > 0.  temperature: in hartree, > 0.
    mass: of a proton in electron masses, > 0; deuterium has 3670.48.
    twist: boundary phase of the electrons in units of 2 pi/L, one number for all axes or one per axis.
    cutoff: largest |n + twist|^2 of the table of plane waves, in units of (2 pi/L)^2, of which the bands are
    made; by default large enough that the ideal entropy per electron is converged to 1e-4 k_B, and 57 waves.

    rs, temperature and mass are pytree leaves, so a jitted function of the system compiles once for all of
    them at one cutoff. Raises ValueError with what was expected, what came, and what to do.
    """

    num_electrons: tuple[int, int] = eqx.field(static=True)
    num_protons: int = eqx.field(static=True)
    rs: float
    temperature: float
    mass: float
    twist: tuple[float, ...] = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)

    def __init__(
        self,
        num_electrons=(1, 1),
        num_protons=2,
        rs=2.0,
        temperature=0.1,
        mass=PROTON_MASS,
        twist=0.0,
        cutoff=None,
        dim=DIM,
        theta=None,
    ):
        if theta is not None:
            raise ValueError(
                f"Expected temperature, in hartree; got theta = {theta!r}. Protons have no Fermi energy: "
                "give temperature, 1 hartree being 315775 K."
            )
        if dim != DIM:
            raise ValueError(f"Expected dim = 3, in which hydrogen is done; got {dim!r}.")
        none = tuple(num_electrons) == (0, 0) if isinstance(num_electrons, tuple | list) else False
        self.num_electrons = (0, 0) if none else checked_num_electrons(num_electrons)
        self.num_protons = checked_integer("num_protons", num_protons, 1)
        self.rs = checked_number("rs", rs, _is_positive, "> 0")
        self.temperature = checked_number("temperature", temperature, _is_positive, "> 0 (hartree)")
        self.mass = checked_number("mass", mass, _is_positive, "> 0 (electron masses)")
        self.twist = checked_twist(twist, DIM)
        if cutoff is None:
            self.cutoff = self._default_cutoff()
        else:
            self.cutoff = checked_number("cutoff", cutoff, lambda x: x >= 0, ">= 0")
        check_room(len(self.orbitals), self.num_electrons)

    @property
    def N(self) -> int:
        """What energies are counted per: electrons, or protons where there are none."""
        return sum(self.num_electrons) or self.num_protons

    @property
    def dim(self) -> int:
        """Of space."""
        return DIM

    @property
    def L(self) -> float:
        """The side of the cell, in units of r_s a_0."""
        return (4 * math.pi * self.N / 3) ** (1 / 3)

    @property
    def space(self) -> Cell:
        """Where the electrons live."""
        return Cell(self.num_electrons, DIM, self.L)

    @property
    def proton_space(self) -> Cell:
        """The same cell, for the protons: particles of one kind."""
        return Cell((self.num_protons, 0), DIM, self.L)

    @property
    def orbitals(self) -> PlaneWaves:
        """The plane waves that the bands are made of, lowest energy first."""
        n = integer_vectors(DIM, self.twist, self.cutoff)
        return PlaneWaves(n + np.asarray(self.twist), self.space)

    @property
    def kinetic_prefactor(self):
        """1/(2 r_s^2), the factor of -nabla^2, in hartree."""
        return 1 / (2 * self.rs**2)

    @property
    def unit(self) -> str:
        """The name of the unit of all energies."""
        return "hartree"

    @property
    def energy_scale(self):
        """The Fermi energy of the majority species of the electrons; of protons alone the temperature."""
        k_F = self.fermi_wavevectors.max()
        return k_F**2 / (2 * self.rs**2) if k_F else self.temperature

    @property
    def fermi_wavevectors(self) -> Float[np.ndarray, "2"]:
        """k_F of both species at infinite size, in 1/(r_s a_0)."""
        return (6 * np.pi**2 * np.array(self.num_electrons) / self.L**3) ** (1 / 3)

    @property
    def log_constant(self):
        """ln N_p! + 3 N_p ln(Lambda/r_s) - 3 N_p/2, the part of ln p(X) that does not depend on X; 3 N_p T/2
        is in the energy.
        """
        log_wavelength = 0.5 * jnp.log(2 * np.pi / (self.mass * self.temperature)) - jnp.log(self.rs)
        n = self.num_protons
        return math.lgamma(n + 1) + DIM * n * log_wavelength - DIM * n / 2

    @property
    def proton_kinetic_energy(self):
        """3 N_p T/2, in hartree."""
        return DIM * self.num_protons * self.temperature / 2

    @property
    def ewald(self) -> Ewald:
        """(R, X), one after the other, -> V in units of hartree/r_s."""
        electrons = sum(self.num_electrons)
        charges = np.concatenate([-np.ones(electrons), np.ones(self.num_protons)])
        return ewald(Cell((electrons + self.num_protons, 0), DIM, self.L), charges=charges)

    @property
    def screening(self) -> Float[ArrayLike, ""]:
        """kappa of Thomas and Fermi, by which the bands see the protons screened, in 1/(r_s a_0):
        kappa^2 = 4 pi r_s dn/d mu = (2 r_s/pi) (k_F up + k_F down); 0 for one electron.
        """
        k = self.fermi_wavevectors.sum() if sum(self.num_electrons) > 1 else 0.0
        return jnp.sqrt(2 * self.rs * k / np.pi)

    def given(self, X: Float[ArrayLike, "P dim"]) -> AmongProtons:
        """The electrons among protons at X."""
        X = jnp.asarray(X)
        if X.shape != (self.num_protons, DIM):
            raise ValueError(
                f"Expected X of shape ({self.num_protons}, {DIM}), a place for each proton; got {X.shape}."
            )
        return AmongProtons(
            self.num_electrons,
            DIM,
            self.space,
            bands(self.orbitals, X, self.rs, self.screening),
            X,
            self.rs,
            self.temperature,
            self.energy_scale,
            self.unit,
            self.ewald,
        )

    @property
    def ground_state(self) -> Int[np.ndarray, " N"]:
        """K of the lowest bands, up then down."""
        return np.concatenate([np.arange(n) for n in self.num_electrons])

    @property
    def table(self) -> PlaneWaves:
        """The plane waves."""
        return self.orbitals

    @property
    def choices(self) -> tuple[int, str]:
        return len(self.orbitals), "bands"

    def constants(self) -> dict[str, tuple[str | tuple[str, ...], np.ndarray]]:
        """The plane waves, and what the protons are."""
        numbers = {"rs": self.rs, "mass": self.mass, "L": self.L, "num_protons": self.num_protons}
        return {name: ((), np.asarray(x, float)) for name, x in numbers.items()} | self.orbitals.columns()

    def labels(self) -> dict[str, tuple[str, list | np.ndarray]]:
        """The spin of each electron."""
        return {"spin": ("electron", np.repeat(["up", "down"], self.num_electrons))}

    def counts(self, K: Int[ArrayLike, "S N"]) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """The number of electrons in each band."""
        bands = np.eye(len(self.orbitals), dtype=np.int32)
        return {"by_band": (("band",), np.sum(bands[np.asarray(K)], axis=1))}

    def check_protons(self, X: Float[ArrayLike, "P dim"]) -> None:
        """Raises ValueError unless X are places of all protons within the cell, in units of r_s a_0, no two
        of them on one spot.
        """
        X = np.asarray(X, float)
        n = self.num_protons
        if X.shape != (n, DIM):
            raise ValueError(f"Expected X of shape ({n}, {DIM}), a place for each proton; got {X.shape}.")
        if not np.all(np.isfinite(X)):
            raise ValueError(
                f"Expected finite places of protons; got {np.sum(~np.isfinite(X))} that are not."
            )
        if np.max(np.abs(X)) > self.L:
            raise ValueError(
                f"Expected places of protons within the cell, up to L = {self.L:.4f} r_s a_0; got "
                f"{np.max(np.abs(X)):.4f}. Divide lengths in bohr by r_s = {float(self.rs):g}."
            )
        i, j = np.triu_indices(n, 1)
        apart = np.linalg.norm((X[i] - X[j]) - self.L * np.round((X[i] - X[j]) / self.L), axis=-1)
        if np.any(apart < 1e-6):
            one, other = i[np.argmin(apart)], j[np.argmin(apart)]
            raise ValueError(f"Expected protons apart from each other; got {one} and {other} on one spot.")

    def _default_cutoff(self) -> float:
        n = max(self.num_electrons)
        if n == 0:
            return 0.0
        unit = (2 * np.pi / (self.L * self.rs)) ** 2 / 2  # hartree of |n|^2 = 1
        ground = 1.0
        while len(integer_vectors(DIM, self.twist, ground)) < max(n + 1, FEWEST_WAVES):
            ground *= 1.2
        q = squared_norms(integer_vectors(DIM, self.twist, ground), self.twist)
        fewest = q[max(n, FEWEST_WAVES) - 1]
        q = squared_norms(integer_vectors(DIM, self.twist, fewest + 25 * self.temperature / unit), self.twist)
        reduced = bounded(unit * (q - q[n - 1]) / self.temperature)
        return float(max(fewest, converged_cutoff(q, reduced, n, ENTROPY_TOLERANCE)))


def _is_positive(value) -> bool:
    return value > 0
