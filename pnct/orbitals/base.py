r"""The contract of single-particle states: tables of orbitals phi_m(r) that K names.

`SpeciesOrbitals` are those that one species is in: their values, and an envelope

    g(r) >= sum_l w_l |phi_l(r)|^2

from which positions are proposed. The exact sampler (pnct.states.projection_dpp) asks for nothing else.
`Orbitals` is a table with energies and quantum numbers, and knows the orbitals of each species. Most tables
are the same for all species and are both (`SharedOrbitals`): a new one is a subclass of that.
"""

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Num

from pnct.orbitals.symmetry import WedgeMap
from pnct.space import Space


class SpeciesOrbitals(eqx.Module):
    """Orthonormal orbitals of one species, named 0 ... M - 1. space: where its electrons live."""

    space: eqx.AbstractVar[Space]

    @abc.abstractmethod
    def __len__(self) -> int:
        """M"""

    @abc.abstractmethod
    def matrix(self, K: Int[ArrayLike, " n"], r: Float[ArrayLike, "p dim"]) -> Num[Array, "p n"]:
        """D_il = phi_l(r_i) for the orbitals K, at the positions r."""

    @abc.abstractmethod
    def propose(
        self, K: Int[ArrayLike, " n"], u: Float[Array, "p dim"], weights: Float[Array, " n"] | None = None
    ) -> tuple[Float[Array, "p dim"], Float[Array, " p"]]:
        """Points of the density g/int g from points of the unit cube, and g, an envelope of
        sum_l w_l |phi_l|^2; all weights 1 where there are none.
        """


class Orbitals(eqx.Module):
    """A table of M orbitals, lowest energy first.

    space: where the electrons live.
    energies: (M,) ascending, equal where orbitals are degenerate, in a unit of the table's own.
    features: (M, F) the input features of an orbital for a network.
    """

    space: eqx.AbstractVar[Space]
    energies: eqx.AbstractVar[Float[np.ndarray, " M"]]
    features: eqx.AbstractVar[Float[np.ndarray, "M F"]]

    @abc.abstractmethod
    def __len__(self) -> int:
        """M"""

    @abc.abstractmethod
    def of_species(self, s: int) -> SpeciesOrbitals:
        """The orbitals of the s-th occupied species."""

    @abc.abstractmethod
    def quantum_numbers(self, K: Int[ArrayLike, " N"]) -> Float[Array, " q"]:
        """What a determinant of the orbitals K of all electrons conserves."""

    def wedge_map(self) -> WedgeMap | None:
        """Quantum numbers -> the symmetry g that brings them to the irreducible wedge; None where no symmetry
        relates orbitals.
        """
        return None

    def image(self, g: Int[np.ndarray, "dim dim"]) -> Int[np.ndarray, " M"]:
        """For each orbital the number of its image: phi_m(r) = phi_image[m](g r), g one of the wedge map."""
        raise ValueError(f"Expected orbitals that symmetries relate; got {type(self).__name__}.")

    def columns(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """What a file keeps of the table besides its energies: arrays and the names of their dimensions."""
        return {}


class SharedOrbitals(Orbitals, SpeciesOrbitals):
    """A table that is the same for all species."""

    def of_species(self, s: int) -> SpeciesOrbitals:
        """The table itself."""
        return self


def orbital_values(
    orbitals: SpeciesOrbitals, Ks: Int[ArrayLike, "t n"], r: Float[ArrayLike, "p dim"]
) -> Num[Array, "p t n"]:
    """phi_l(r) of every orbital in a list that may name it many times. Shape (p, t, n)."""
    if Ks.size <= len(orbitals):
        return orbitals.matrix(Ks.ravel(), r).reshape(len(r), *Ks.shape)
    return orbitals.matrix(jnp.arange(len(orbitals)), r)[:, Ks]


def deduplicated(
    orbitals: SpeciesOrbitals, K: Int[ArrayLike, " k"], weights: Float[Array, " k"]
) -> tuple[Int[Array, " m"], Float[Array, " m"]]:
    """A list of orbitals with their weights in an envelope, or the whole table with the sums of these, where
    that is shorter.
    """
    if K.size <= len(orbitals):
        return K, weights
    return jnp.arange(len(orbitals)), jnp.zeros(len(orbitals), weights.dtype).at[K].add(weights)
