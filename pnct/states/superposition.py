"""Many-body states  Phi_K = sum_t c_t D_t:  what the tables of states made of several Slater determinants
have in common.
"""

import abc

import equinox as eqx
from jaxtyping import Array, Float, Int

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
    def space(self) -> Space:
        """Where the electrons live."""
        return self.table.space

    def __len__(self) -> int:
        return len(self.table)

    @property
    def symmetries(self) -> tuple:
        """Functions R -> R, besides those of space, under which every state only changes by a factor."""
        return ()


def orbitals_of(orbitals):
    """The orbitals that the determinants of these states are made of; a table of orbitals is its own."""
    return getattr(orbitals, "table", orbitals)
