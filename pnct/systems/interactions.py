r"""What acts between the electrons of a system.

`coulomb` is the repulsion of all of them. An interaction of short range is a function v of the distance of a
pair, and acts between opposite spins: at low energies electrons of one spin do not come close,

    V(R) = (hbar^2/m l^2) sum_{i up, j down} sum_n v(|r_i - r_j + n L|),

l the unit of length of the system, n all images in a periodic cell and 0 in open space. v has no unit, so it
means the same well, with the same scattering length in units of l, in every system.
"""

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from pnct.space import Space

NEGLIGIBLE = 1e-13  # of v(0): images that contribute less are left out


class Interaction(eqx.Module):
    """What acts between electrons."""

    @abc.abstractmethod
    def energy(self, system) -> "SystemPotential":
        """R -> its energy in an ElectronSystem, in the unit of that. Raises ValueError where the system has
        no room for it.
        """


class SystemPotential(eqx.Module):
    """R -> V, the potential energy of the electrons of a system, in its unit of energy."""

    @property
    @abc.abstractmethod
    def interaction(self) -> Interaction | None:
        """What acts between the electrons."""

    @abc.abstractmethod
    def __call__(self, R: Float[ArrayLike, "N dim"]) -> Float[Array, ""]:
        """V(R)"""


class Coulomb(Interaction):
    """1/r, of the strength that the system has."""

    def energy(self, system) -> SystemPotential:
        return system.coulomb_energy()


coulomb = Coulomb()


class NoInteraction(SystemPotential):
    """V(R) = 0."""

    @property
    def interaction(self) -> None:
        return None

    def __call__(self, R: Float[ArrayLike, "N dim"]) -> Float[Array, ""]:
        return jnp.zeros((), R.dtype)


class ShortRange(Interaction):
    """A function v of the distance of a pair of opposite spins. length: over which it dies out."""

    @abc.abstractmethod
    def __call__(self, r: Float[ArrayLike, "*pairs"]) -> Float[Array, "*pairs"]:
        """v(r), without unit"""

    @property
    @abc.abstractmethod
    def length(self) -> Float[ArrayLike, ""]:
        """Over which v dies out."""

    @abc.abstractmethod
    def reach(self, fraction: float) -> float:
        """The distance beyond which |v| is below this fraction of |v(0)|."""

    def energy(self, system) -> "PairSum":
        space = system.space
        if len(space.species) == 1:
            raise ValueError(
                f"Expected electrons of both spins, between which a {type(self).__name__} acts; got "
                f"num_electrons = {space.num_electrons}, of which nothing interacts. Add the other spin, or "
                "take interaction = None."
            )
        if space.is_periodic and not 2 * float(self.length) < space.L:
            raise ValueError(
                f"Expected the length of the {type(self).__name__} below half the side of the cell, "
                f"{space.L / 2:.4g}; got {float(self.length):.4g}. Shorten it, or add electrons."
            )
        return PairSum(self, space, space.images(self.reach(NEGLIGIBLE)), 2 * system.kinetic_prefactor)


class PairSum(SystemPotential):
    """V(R) = scale sum_{i up, j down} sum_images v(|r_ij + image|)."""

    v: ShortRange
    space: Space = eqx.field(static=True)
    images: Float[np.ndarray, "images dim"]
    scale: Float[ArrayLike, ""]

    @property
    def interaction(self) -> ShortRange:
        return self.v

    def __call__(self, R: Float[ArrayLike, "N dim"]) -> Float[Array, ""]:
        up, down = (R[species] for species in self.space.species)
        r = self.space.nearest((up[:, None] - down).reshape(-1, self.space.dim), self.space.L)
        distances = jnp.linalg.norm(r[:, None] + jnp.asarray(self.images, r.dtype), axis=-1)
        return self.scale * jnp.sum(self.v(distances))
