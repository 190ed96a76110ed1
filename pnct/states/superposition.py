"""Many-body states  Phi_K = sum_t c_t D_t:  what the tables of states made of several Slater determinants have in common."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from pnct.space import Space


class Superposition(eqx.Module):
    """States named by K like the determinants of the orbitals in `table`, and orthonormal like them."""

    table: eqx.AbstractVar[eqx.Module]

    @abc.abstractmethod
    def determinants(self, K: Int[Array, " N"]) -> tuple[Float[Array, " t"], Int[Array, "t N"]]:
        """The coefficients c_t and the orbitals of each D_t. Places to be left empty have c_t = 0."""

    @abc.abstractmethod
    def quantum_numbers(self, K: Int[Array, " N"]) -> Float[Array, " q"]:
        """What the state conserves."""

    @property
    def cell(self) -> Space:
        """Where the electrons live."""
        return self.table.cell

    def __len__(self) -> int:
        return len(self.table)

    @property
    def motions(self) -> tuple:
        """Functions R -> R, besides those of space, under which every state only changes by a factor."""
        return ()


def matrix_of_all(orbitals, Ks: Int[Array, "t n"], r: Float[Array, "p dim"]) -> Num[Array, "p t n"]:
    """phi_l(r) of every orbital in a list that may name it many times. Shape (p, t, n)."""
    if Ks.size <= len(orbitals):
        return orbitals.matrix(Ks.ravel(), r).reshape(len(r), *Ks.shape)
    return orbitals.matrix(jnp.arange(len(orbitals)), r)[:, Ks]


def once_each(orbitals, K: Int[Array, " k"], shares: Float[Array, " k"]) -> tuple[Int[Array, " m"], Float[Array, " m"]]:
    """A list of orbitals with their shares in an envelope, or the whole table with the sums of these, where that is shorter."""
    if K.size <= len(orbitals):
        return K, shares
    return jnp.arange(len(orbitals)), jnp.zeros(len(orbitals), shares.dtype).at[K].add(shares)


def table_of(orbitals):
    """The orbitals that the determinants of these states are made of; a table of orbitals is its own."""
    return getattr(orbitals, "table", orbitals)
