r"""Spins 1/2 on a graph, H a sum of Pauli strings, in units of J:

    transverse field Ising      -J sum_<ij> Z_i Z_j - Gamma sum_i X_i - h sum_i Z_i
    XXZ (Heisenberg, XY)        sum_<ij> [J_xy (X_i X_j + Y_i Y_j) + J_z Z_i Z_j] - h sum_i Z_i

The free spins are those in the field of the strings of one letter, -sum_i h_i . sigma_i: spin i points along
h_i in its lower state (K_i = 0) and against it in its upper one (K_i = 1). Without a field they are of equal
energy, along an axis that is not measured. The bits that are measured must not be those of K, or all but one
Psi_K(x) would be 0 and nothing could be learnt from samples: they are those of Z, or of another axis where
the field is along Z.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, Int

from pnct.systems.base import System
from pnct.systems.lattices import Lattice
from pnct.systems.pauli import AXES, PauliSum, pauli_sum
from pnct.validation import checked_number

MOST_ALIGNED = 0.9  # |cos| between a field and the axis that is measured


class SpinLattice(System):
    """Spins on a lattice with H = `terms` at 1/T = beta, both in units of J.

    lattice: a Lattice.  terms: a PauliSum.  beta: > 0.
    measured_axis: the axis that the bits are of, "X", "Y" or "Z": Z where the fields allow it.

    beta and the coefficients are pytree leaves, so a jitted function of the system compiles once for all of
    them. Raises ValueError with what was expected, what came, and what to do.
    """

    lattice: Lattice
    terms: PauliSum
    beta: float
    measured_axis: str = eqx.field(static=True)

    def __init__(self, lattice: Lattice, terms: PauliSum, beta: float = 1.0):
        self.lattice = lattice
        self.terms = terms
        self.beta = checked_number("beta", beta, _is_positive, "> 0")
        if terms.num_sites != lattice.num_sites:
            raise ValueError(
                f"Expected terms of the {lattice.num_sites} sites of the lattice; got {terms.num_sites}."
            )
        self.measured_axis = _measured_axis(np.asarray(terms.fields()))

    @property
    def N(self) -> int:
        """The number of sites."""
        return self.lattice.num_sites

    @property
    def bonds(self) -> tuple[tuple[int, int], ...]:
        return self.lattice.bonds

    @property
    def temperature(self):
        """T, in units of J."""
        return 1 / self.beta

    @property
    def unit(self) -> str:
        """The name of the unit of all energies."""
        return "J"

    @property
    def energy_scale(self) -> Float[Array, ""]:
        """The largest coefficient of H."""
        return jnp.max(jnp.abs(jnp.asarray(self.terms.coefficients)))

    @property
    def measured_terms(self) -> PauliSum:
        """H in the basis of the measured bits."""
        return self.terms.along(self.measured_axis)

    @property
    def splittings(self) -> Float[Array, " N"]:
        """2 |h_i|: the energy of the upper state of each free spin above the lower one."""
        return 2 * jnp.linalg.norm(self.terms.fields(), axis=1)

    @property
    def free_states(self) -> Complex[Array, "N 2 2"]:
        """<x_i|K_i> of the free spins: for each site a unitary matrix, its columns the states K_i = 0, 1."""
        h = self.measured_terms.fields()
        size = jnp.linalg.norm(h, axis=1, keepdims=True)
        n = jnp.where(size > 0, h / jnp.where(size > 0, size, 1), jnp.array([1.0, 0, 0]))
        polar = jnp.arctan2(jnp.hypot(n[:, 0], n[:, 1]), n[:, 2]) / 2
        azimuth = jnp.arctan2(n[:, 1], n[:, 0])
        phase = jnp.exp(1j * azimuth)
        lower = jnp.stack([jnp.cos(polar) + 0j, jnp.sin(polar) * phase], axis=1)
        upper = jnp.stack([-jnp.sin(polar) * phase.conj(), jnp.cos(polar) + 0j], axis=1)
        return jnp.stack([lower, upper], axis=2)

    @property
    def ground_state(self) -> Int[np.ndarray, " N"]:
        """K of the free spins along the field."""
        return np.zeros(self.N, int)

    @property
    def table(self) -> Lattice:
        """Sites and bonds."""
        return self.lattice

    @property
    def choices(self) -> tuple[int, str]:
        return 2, "values of a bit"

    def constants(self) -> dict[str, tuple[str | tuple[str, ...], np.ndarray]]:
        """The bonds, the Pauli strings of H with their coefficients, the free spins."""
        return {
            "bonds": (("bond", "end"), np.array(self.bonds, int).reshape(-1, 2)),
            "pauli_string": ("term", np.array(self.terms.strings)),
            "coefficient": ("term", np.asarray(self.terms.coefficients)),
            "free_splitting": ("site", np.asarray(self.splittings)),
        }

    def labels(self) -> dict[str, tuple[str, list | np.ndarray]]:
        """None: sites have their numbers."""
        return {}

    def counts(self, K: Int[ArrayLike, "S N"]) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """How many of the free spins that the state comes from are in their upper state."""
        return {"excited": ((), np.sum(np.asarray(K), axis=1))}


def transverse_field_ising(
    lattice: Lattice, Gamma: float, beta: float = 1.0, J: float = 1.0, longitudinal: float = 0.0
) -> SpinLattice:
    """-J sum Z_i Z_j - Gamma sum X_i - longitudinal sum Z_i."""
    fields = {"X": ("Gamma", Gamma), "Z": ("longitudinal", longitudinal)}
    return SpinLattice(lattice, _uniform(lattice, {"ZZ": ("J", -_finite("J", J))}, fields), beta)


def xxz(lattice: Lattice, Jxy: float, Jz: float, beta: float = 1.0, longitudinal: float = 0.0) -> SpinLattice:
    """sum [Jxy (X_i X_j + Y_i Y_j) + Jz Z_i Z_j] - longitudinal sum Z_i; XY where Jz = 0."""
    couplings = {"XX": ("Jxy", Jxy), "YY": ("Jxy", Jxy), "ZZ": ("Jz", Jz)}
    return SpinLattice(lattice, _uniform(lattice, couplings, {"Z": ("longitudinal", longitudinal)}), beta)


def heisenberg(lattice: Lattice, beta: float = 1.0, J: float = 1.0, longitudinal: float = 0.0) -> SpinLattice:
    """J sum (X_i X_j + Y_i Y_j + Z_i Z_j) - longitudinal sum Z_i; antiferromagnetic for J > 0."""
    return xxz(lattice, J, J, beta, longitudinal)


def _uniform(lattice, couplings, fields) -> PauliSum:
    """The same couplings on all bonds, the same fields on all sites; those of size zero, too."""
    terms = {}
    for letters, (name, J) in couplings.items():
        value = _finite(name, J)
        terms |= {f"{letters[0]}{i} {letters[1]}{j}": value for i, j in lattice.bonds}
    for letter, (name, h) in fields.items():
        value = _finite(name, h)
        terms |= {f"{letter}{i}": -value for i in range(lattice.num_sites)}
    return pauli_sum(lattice.num_sites, terms)


def _measured_axis(h: Float[ArrayLike, "N 3"]) -> str:
    """Z, unless a field is nearly along it: then the axis that the fields are farthest from."""
    size = np.linalg.norm(h, axis=1)
    aligned = np.max(np.abs(h[size > 0]) / size[size > 0, None], axis=0, initial=0)
    return "Z" if aligned[2] <= MOST_ALIGNED else AXES[int(np.argmin(aligned))]


def _finite(name: str, value) -> float:
    return checked_number(name, value, _any, "finite")


def _any(value) -> bool:
    return True


def _is_positive(value) -> bool:
    return value > 0
