r"""The Coulomb energy of N charges q_i in a periodic cell (Ewald 1921), with a uniform background of charge
-sum_i q_i where they are not neutral together.

In units of the side L, with s_ij = (r_i - r_j)/L, rho_m = sum_i q_i exp(2 pi i m.s_i), A = sum_i q_i^2 and a
splitting parameter kappa,

    E L = sum_{i<j} q_i q_j sum_n erfc(kappa |s_ij + n|)/|s_ij + n|  +  sum_{m != 0} w_m |rho_m|^2
          + (A/2) sum_{n != 0} erfc(kappa |n|)/|n|  -  A kappa/sqrt(pi)  -  (sum_i q_i)^2 c

    3D:  w_m = exp(-(pi m/kappa)^2)/(2 pi m^2),   c = pi/(2 kappa^2)
    2D:  w_m = erfc(pi m/kappa)/(2 m),            c = sqrt(pi)/kappa

E does not depend on kappa. It includes the energy A xi/2 of the charges with their own images and background,
where xi = 2 E(N = 1) is the Madelung constant. The 2D sum is that of point charges 1/r confined to the plane
(Parry 1975).
"""

import math
from functools import lru_cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from scipy.special import erfc

from pnct.angles import angle
from pnct.space import Cell, lattice_points, near_images
from pnct.systems.interactions import Coulomb, SystemPotential, coulomb


class Ewald(eqx.Module):
    """R -> potential energy of the charges in units of hartree/r_s, Madelung term included."""

    space: Cell
    splitting: float = eqx.field(static=True)
    constant: float = eqx.field(static=True)
    charges: Float[np.ndarray, " N"]
    images: Float[np.ndarray, "images dim"]
    waves: Float[np.ndarray, "waves dim"]
    weights: Float[np.ndarray, " waves"]

    def __call__(self, R: Float[ArrayLike, "N dim"]) -> Float[Array, ""]:
        if R.shape != (self.space.N, self.space.dim):
            raise ValueError(f"Expected R of shape ({self.space.N}, {self.space.dim}); got {R.shape}.")
        s = R / self.space.L
        return (self._near(s) + self._far(s) + self.constant) / self.space.L

    def _near(self, s):
        i, j = np.triu_indices(self.space.N, 1)
        s_ij = s[i] - s[j]
        s_ij = s_ij - jnp.round(s_ij)
        distance = jnp.linalg.norm(s_ij[:, None, :] + jnp.asarray(self.images, s.dtype), axis=-1)
        charges = jnp.asarray(self.charges, s.dtype)
        products = (charges[i] * charges[j])[:, None]
        return jnp.sum(products * (jax.scipy.special.erfc(self.splitting * distance) / distance))

    def _far(self, s):
        # A cell's shift multiplies exp(2 pi i m.s) by one, and float32 keeps more of a small phase.
        s = s - jnp.round(s)
        turns = jnp.matmul(s, jnp.asarray(self.waves, s.dtype).T, precision="highest")
        cosine, sine = angle(turns, 1)
        charges = jnp.asarray(self.charges, s.dtype)[:, None]
        structure = jnp.sum(charges * cosine, axis=0) ** 2 + jnp.sum(charges * sine, axis=0) ** 2
        return jnp.sum(jnp.asarray(self.weights, s.dtype) * structure)


class EwaldEnergy(SystemPotential):
    """V(R) = Ewald(R)/r_s, in hartree."""

    rs: Float[ArrayLike, ""]
    ewald: Ewald

    @property
    def interaction(self) -> Coulomb:
        return coulomb

    def __call__(self, R: Float[ArrayLike, "N dim"]) -> Float[Array, ""]:
        return self.ewald(R) / self.rs


def ewald(
    space: Cell,
    splitting: float | None = None,
    accuracy: float = 1e-12,
    charges: Float[ArrayLike, " N"] | None = None,
) -> Ewald:
    """The Ewald sum of the particles of `space`, truncated where terms fall below `accuracy`.

    `splitting`: kappa in units of 1/L; by default the cheapest one.  charges: (N,), by default all 1.
    Raises ValueError unless splitting > 0 and 0 < accuracy < 1, and there is one finite charge a particle.
    """
    if not 0 < accuracy < 1:
        raise ValueError(f"Expected 0 < accuracy < 1; got {accuracy}.")
    if splitting is None:
        splitting = _cheapest_splitting(space.N, space.dim, accuracy)
    if not splitting > 0:
        raise ValueError(f"Expected splitting > 0; got {splitting}.")
    charges = np.ones(space.N) if charges is None else np.asarray(charges, float)
    if charges.shape != (space.N,) or not np.all(np.isfinite(charges)):
        raise ValueError(f"Expected {space.N} finite charges, one a particle; got {charges.tolist()}.")
    images, waves, weights = _terms(space.dim, splitting, accuracy)
    constant = _constant(charges, space.dim, splitting, images)
    return Ewald(space, splitting, constant, charges, images, waves, weights)


@lru_cache
def madelung(dim: int) -> float:
    """xi L: -2.837297 for the simple cubic lattice, -3.900265 for the square one."""
    # At N = 1 every |rho_m| is one.
    images, _, weights = _terms(dim, 3.0, 1e-17)
    return 2 * (_constant(np.ones(1), dim, 3.0, images) + float(np.sum(weights)))


def _terms(dim, kappa, accuracy):
    """Lattice vectors n within reach of a minimum-image pair, half of the waves m, and their
    weights 2 w_m.
    """
    x = math.sqrt(-math.log(accuracy))  # erfc(x) and exp(-x^2) are below the accuracy
    reach = x / kappa
    largest = x * kappa / np.pi

    images = near_images(dim, reach)

    m = lattice_points(dim, math.ceil(largest))
    m = m[len(m) // 2 + 1 :]  # the list is odd under m -> -m, with m = 0 in its middle
    norm = np.linalg.norm(m, axis=-1)
    waves = m[norm <= largest]
    norm = norm[norm <= largest]
    if dim == 2:
        weights = erfc(np.pi * norm / kappa) / norm
    else:
        weights = np.exp(-((np.pi * norm / kappa) ** 2)) / (np.pi * norm**2)
    return images, waves, weights


def _constant(charges, dim, kappa, images):
    squares = np.sum(charges**2)
    total = np.sum(charges)
    background = math.sqrt(math.pi) / kappa if dim == 2 else math.pi / (2 * kappa**2)
    norm = np.linalg.norm(images, axis=-1)
    own_images = np.sum(erfc(kappa * norm[norm > 0]) / norm[norm > 0])
    return float(squares / 2 * own_images - squares * kappa / math.sqrt(math.pi) - total**2 * background)


def _cheapest_splitting(N, dim, accuracy):
    def cost(kappa):
        images, waves, _ = _terms(dim, kappa, accuracy)
        return N * (N - 1) / 2 * len(images) + 2 * N * len(waves)

    return min(np.arange(2.0, 12.0, 0.5).tolist(), key=cost)
