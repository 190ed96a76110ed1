r"""Plane waves  phi_m(r) = L^{-dim/2} exp(i k_m.r),  k_m = (2 pi / L)(n_m + twist),  in an order that no
platform can change.

Orbitals are listed by ascending |n + twist|^2 and, where that is equal, by ascending integer vector n (first
axis first). The squares are compared after rounding to 1e-9, so the order does not depend on how a library
happens to sort ties.
"""

import abc
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, Int, Num, Real

from pnct.angles import angle
from pnct.memory import check_memory
from pnct.orbitals.base import SharedOrbitals
from pnct.orbitals.symmetry import WedgeMap, wedge_map
from pnct.space import Cell

COPIES = 4  # of the vectors of the cube around the table, that are alive together as it is made


class CombinedWaves(SharedOrbitals):
    """Orthonormal combinations of the plane waves of a table, as many as there are of them."""

    @property
    @abc.abstractmethod
    def waves(self) -> "PlaneWaves":
        """The plane waves."""

    @abc.abstractmethod
    def in_waves(self, x: Num[Array, "M ..."]) -> Num[Array, "M ..."]:
        """U x, the coefficients of the plane waves in combinations x of these orbitals."""

    @abc.abstractmethod
    def from_waves(self, y: Num[Array, "M ..."]) -> Num[Array, "M ..."]:
        """U^+ y, the coefficients of these orbitals in combinations y of the plane waves."""


class PlaneWaves(CombinedWaves):
    """A table of plane-wave orbitals in a cell, lowest energy first.

    `indices`: (M, dim) float, n + twist in units of 2 pi / L.
    """

    indices: Float[np.ndarray, "M dim"]
    space: Cell

    def __len__(self) -> int:
        return self.indices.shape[0]

    @property
    def waves(self) -> "PlaneWaves":
        """The table itself."""
        return self

    def in_waves(self, x: Num[Array, "M ..."]) -> Num[Array, "M ..."]:
        """x"""
        return x

    def from_waves(self, y: Num[Array, "M ..."]) -> Num[Array, "M ..."]:
        """y"""
        return y

    @property
    def wavevectors(self) -> Float[ArrayLike, "M dim"]:
        """k_m in units of 1/(r_s a_0)."""
        return (2 * np.pi / self.space.L) * self.indices

    @property
    def energies(self) -> Float[np.ndarray, " M"]:
        """|n + twist|^2: the energies in units of (2 pi/L)^2/2 r_s^2, equal where orbitals are degenerate."""
        return squared_norms(self.indices, (0.0,) * self.space.dim)

    @property
    def features(self) -> Float[np.ndarray, "M F"]:
        """Input features of an orbital: k in units of (2 pi/L) n^(1/dim), n the larger species, and
        k^2.
        """
        k = self.indices / max(self.space.num_electrons) ** (1 / self.space.dim)
        return np.concatenate([k, np.sum(k**2, axis=-1, keepdims=True)], axis=-1)

    def occupied(self, K: Int[ArrayLike, " n"], dtype=None) -> Float[Array, "n dim"]:
        """The wave vectors k_m of the occupied orbitals K."""
        return jnp.asarray(self.wavevectors, dtype)[K]

    def quantum_numbers(self, K: Int[ArrayLike, " N"]) -> Float[Array, " dim"]:
        """The total momentum P = sum_l k_l of the occupied orbitals of all species, in units of
        1/(r_s a_0).
        """
        return jnp.sum(self.occupied(K), axis=0)

    def matrix(self, K: Int[ArrayLike, " n"], r: Float[ArrayLike, "p dim"]) -> Complex[Array, "p n"]:
        """D_il = L^{-dim/2} exp(i k_l.r_i) for the orbitals K of one species, at the positions r."""
        phase = r @ self.occupied(K, r.dtype).T
        return jax.lax.complex(*angle(phase, 2 * np.pi)) * self.space.L ** (-self.space.dim / 2)

    def propose(
        self, K: Int[ArrayLike, " n"], u: Float[Array, "p dim"], weights: Float[Array, " n"] | None = None
    ) -> tuple[Float[Array, "p dim"], Float[Array, " p"]]:
        """Points of the density g/int g from points of the unit cube, and g = sum_l w_l |phi_l|^2, here
        uniform.
        """
        total = len(K) if weights is None else jnp.sum(weights)
        return self.space.L * u, jnp.full(len(u), total * self.space.L**-self.space.dim, u.dtype)

    def wedge_map(self) -> WedgeMap:
        """Total momentum -> the exchange and reflection of axes that orders it."""
        return wedge_map(self.indices[0], self.space)

    def image(self, g: Int[np.ndarray, "dim dim"]) -> Int[np.ndarray, " M"]:
        """The number of g k_m, for each m."""
        number = {tuple(n): m for m, n in enumerate(np.round(self.indices, 6) + 0.0)}
        return np.array([number[tuple(n)] for n in np.round(self.indices @ g.T, 6) + 0.0])

    def columns(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """The wave vectors, and the twist between -1/2 and 1/2."""
        lowest = self.indices[0]
        return {
            "wavevector": (("orbital", "axis"), self.wavevectors),
            "twist": (("axis",), lowest - np.ceil(lowest - 0.5)),
        }


def integer_vectors(dim: int, twist: tuple[float, ...], cutoff: float) -> Int[np.ndarray, "M dim"]:
    """All integer vectors n with |n + twist|^2 <= cutoff, in the order that the head of this file defines.
    Shape (M, dim).
    """
    reach = math.ceil(math.sqrt(cutoff) + max(abs(t) for t in twist)) + 1
    number = (math.pi if dim == 2 else 4 * math.pi / 3) * cutoff ** (dim / 2)
    check_memory(
        8 * COPIES * dim * float(2 * reach + 1) ** dim,
        f"a table of {number:.3g} plane waves, up to |n|^2 = {cutoff:.4g},",
        "Lower theta, `cutoff` or the number of electrons.",
    )
    axis = np.arange(-reach, reach + 1)
    n = np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    q = squared_norms(n, twist)
    n = n[q <= cutoff + 1e-9]
    q = q[q <= cutoff + 1e-9]
    return n[np.lexsort((*n.T[::-1], q))]


def squared_norms(n: Real[np.ndarray, "M dim"], twist: tuple[float, ...]) -> Float[np.ndarray, " M"]:
    """|n + twist|^2, rounded to 1e-9 so that degenerate orbitals compare equal."""
    return np.round(np.sum((n + np.asarray(twist)) ** 2, axis=-1), 9)
