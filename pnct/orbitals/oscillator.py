r"""Tables of orbitals of the harmonic oscillator  -nabla^2/2 + r^2/2,  whose eigenvalues are q + dim/2 for q
quanta.

An orbital has q = 2 n + l quanta, n radial nodes, the degree l and the angular momentum m: in the plane l =
|m|, in space l >= |m|. Those of equal l and m differ in their radial functions alone. A determinant conserves
the sum M of all m. The tables: pnct.orbitals.planar_oscillator, pnct.orbitals.spherical_oscillator.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from pnct.orbitals.base import SharedOrbitals
from pnct.space import OpenSpace


class Oscillators(SharedOrbitals):
    """A table of oscillator orbitals in open space, lowest energy first.

    num_quanta: q.  degrees: l, in the plane |m|.  angular_momenta: m.
    """

    space: eqx.AbstractVar[OpenSpace]
    num_quanta: eqx.AbstractVar[Int[np.ndarray, " M"]]
    degrees: eqx.AbstractVar[Int[np.ndarray, " M"]]
    angular_momenta: eqx.AbstractVar[Int[np.ndarray, " M"]]

    def __len__(self) -> int:
        return len(self.angular_momenta)

    @property
    def energies(self) -> Float[np.ndarray, " M"]:
        """In units of hbar omega."""
        return self.num_quanta + self.space.dim / 2

    @property
    def features(self) -> Float[np.ndarray, "M F"]:
        """Input features of an orbital: m, |m|, where it is another number l, and all of its quanta."""
        m = self.angular_momenta
        l = [] if self.space.dim == 2 else [self.degrees]
        scale = max(1.0, fermi_quanta(self.space.num_electrons, self.space.dim))
        return np.stack([m, np.abs(m), *l, self.num_quanta], axis=-1) / scale

    def quantum_numbers(self, K: Int[ArrayLike, " N"]) -> Float[Array, " 1"]:
        """The total angular momentum M = sum_l m_l of the occupied orbitals of all species."""
        return jnp.sum(jnp.asarray(self.angular_momenta[:, None].astype(float))[K], axis=0)

    def columns(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """q, l and m."""
        return {
            "quanta": (("orbital",), self.num_quanta),
            "degree": (("orbital",), self.degrees),
            "angular_momentum": (("orbital",), self.angular_momenta),
        }


def fermi_quanta(num_electrons: tuple[int, int], dim: int) -> int:
    """The quanta of the highest orbital that the ground state of the larger species fills."""
    n = 0
    while math.comb(n + dim, dim) < max(num_electrons):
        n += 1
    return n
