r"""Orbitals that adapt to the interaction:  chi_nlm = sum_n' U^l_nn' phi_n'lm,  with an orthogonal U^l for
each degree l, in the plane |m|.

A flow moves the electrons in the same way whatever their state. But under a strong repulsion all states avoid
the centre of their relative motion by about the same distance, whatever m, where the oscillator orbitals of m
= 0 have their maximum there and those of large |m| do not: the radial functions of different m have to change
differently. Mixing orbitals of equal l and m does that, and as it is unitary the Psi_K stay orthonormal. All
m of one l share their U, so that time reversal and, in space, rotations stay symmetries. Each species has its
own, because its coordinates may mean another thing (pnct.flows.centre_of_mass).

    U = (1 - A)^{-1} (1 + A),   A_nn' = 0.1 a_nn'/(n' - n) for n < n',   A antisymmetric          (Cayley)

Orbitals that are many quanta apart cost much energy where noise mixes them. The natural gradient damps every
parameter a alike, zero at first, so the factor keeps them apart unless the walkers clearly say otherwise: at
beta = 1 noise in 280 angles of equal weight made F of a hot dot rise by a quarter of hbar omega.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Num

from pnct.orbitals.base import Orbitals, SpeciesOrbitals, deduplicated, orbital_values
from pnct.orbitals.oscillator import Oscillators
from pnct.space import OpenSpace

NEAREST = 0.1  # the factor of the angles of neighbours


class OrbitalRotation(Orbitals):
    """Tables of orbitals like `table`, of the same order and the same symmetries, one for each occupied
    species.

    angles: (S, P) the a_nn'.
    partners: (M, n) the orbitals of equal l and m, which each orbital is a sum of; places beyond the last one
    name the orbital itself.
    blocks, place: (M,) the l of each orbital, and which of its partners it is.
    """

    angles: Float[Array, "S P"]
    table: Oscillators
    partners: Int[np.ndarray, "M n"]
    blocks: Int[np.ndarray, " M"]
    place: Int[np.ndarray, " M"]

    @property
    def space(self) -> OpenSpace:
        """Where the electrons live."""
        return self.table.space

    def __len__(self) -> int:
        return len(self.table)

    @property
    def energies(self) -> Float[np.ndarray, " M"]:
        """Those of the table."""
        return self.table.energies

    @property
    def features(self) -> Float[np.ndarray, "M F"]:
        """Those of the table."""
        return self.table.features

    def columns(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """Those of the table."""
        return self.table.columns()

    def quantum_numbers(self, K: Int[ArrayLike, " N"]) -> Float[Array, " q"]:
        """Those of the table."""
        return self.table.quantum_numbers(K)

    def of_species(self, s: int) -> "RotatedOrbitals":
        """The orbitals of the s-th occupied species."""
        angles = self.angles[s]
        n = self.partners.shape[1]
        block, row, column = angle_places(self.blocks, self.place)
        A = jnp.zeros((self.blocks.max() + 1, n, n), angles.dtype)
        A = A.at[block, row, column].set(angles * (NEAREST / (column - row)).astype(angles.dtype))
        A = A - jnp.swapaxes(A, 1, 2)
        U = jnp.linalg.solve(jnp.eye(n, dtype=A.dtype) - A, jnp.eye(n, dtype=A.dtype) + A)
        return RotatedOrbitals(U[self.blocks, self.place], self.table, self.partners)


class RotatedOrbitals(SpeciesOrbitals):
    """The orbitals chi_l = sum_c rotation_lc phi_{partners_lc}; the rotation is zero beyond the
    last partner.
    """

    rotation: Float[Array, "M n"]
    table: Oscillators
    partners: Int[np.ndarray, "M n"]

    def __len__(self) -> int:
        return len(self.table)

    @property
    def space(self) -> OpenSpace:
        """Where the electrons live."""
        return self.table.space

    def matrix(self, K: Int[ArrayLike, " n"], r: Float[ArrayLike, "p dim"]) -> Num[Array, "p n"]:
        """D_il = chi_l(r_i) for the orbitals K, at the positions r."""
        D = orbital_values(self.table, jnp.asarray(self.partners)[K], r)
        return jnp.einsum("lc,plc->pl", self.rotation[K].astype(r.dtype), D)

    def propose(
        self, K: Int[ArrayLike, " n"], u: Float[Array, "p dim"], weights: Float[Array, " n"] | None = None
    ) -> tuple[Float[Array, "p dim"], Float[Array, " p"]]:
        """Points of an envelope of sum_l w_l |chi_l|^2 from points of the unit cube, and its value: as in
        the table.
        """
        size = jnp.abs(self.rotation[K].astype(u.dtype))
        each = size * jnp.sum(size, axis=1, keepdims=True)
        if weights is not None:
            each = weights[:, None] * each
        l, weights = deduplicated(self.table, jnp.asarray(self.partners)[K].ravel(), each.ravel())
        return self.table.propose(l, u, weights)


def angle_places(
    blocks: Int[np.ndarray, " M"], place: Int[np.ndarray, " M"]
) -> tuple[Int[np.ndarray, " P"], ...]:
    """Block, row and column of every angle."""
    sizes = [place[blocks == m].max() + 1 for m in range(blocks.max() + 1)]
    rows, columns = zip(*(np.triu_indices(size, 1) for size in sizes), strict=True)
    return (
        np.repeat(np.arange(len(sizes)), [len(row) for row in rows]),
        np.concatenate(rows),
        np.concatenate(columns),
    )


def rotated_orbitals(table: Oscillators) -> Callable[[Array], OrbitalRotation]:
    """A function key -> OrbitalRotation, at first those of the table."""
    m = table.angular_momenta
    blocks = table.degrees
    place = (table.num_quanta - blocks) // 2
    partners = np.tile(np.arange(len(m))[:, None], place.max() + 1)
    for row, l, own in zip(partners, blocks, m, strict=True):
        same = np.nonzero((blocks == l) & (m == own))[0]
        row[: len(same)] = same
    count = len(angle_places(blocks, place)[0])

    def make(key: Array) -> OrbitalRotation:
        return OrbitalRotation(jnp.zeros((len(table.space.species), count)), table, partners, blocks, place)

    return make
