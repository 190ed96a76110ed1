r"""A potential of pairs,  V(R) = sum_{i<j} v(r_ij),  r_ij the distance to the nearest image
(minimum image convention).

In a cell that is the energy of a periodic system where v has died out at L/2, half the side of the cell; of a
longer v the images are left out. In open space r_ij is the distance itself.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from pnct.space import Space, pair_distances


class PairPotential(eqx.Module):
    """R -> sum of v over all pairs."""

    space: Space
    v: Callable[[Float[Array, " pairs"]], Float[Array, " pairs"]]

    def __call__(self, R: Float[ArrayLike, "N dim"]) -> Float[Array, ""]:
        return jnp.sum(self.v(pair_distances(R, self.space)))


def pair_potential(space: Space, v: Callable) -> PairPotential:
    """R -> sum_{i<j} v(r_ij), R of shape (N, dim), for `hamiltonian(system, potential=...)`.

    v: distances, shape (pairs,), in the lengths of the system (r_s a_0 in the gas, oscillator lengths in a
    trap), to energies in its unit, of the same shape. Raises ValueError where v gives another shape.
    """
    r = np.linspace(0.1, 1.0, 3)
    shape = jnp.shape(v(r))
    if shape != r.shape:
        raise ValueError(f"Expected v to give an energy for each distance, {r.shape}; got shape {shape}.")
    return PairPotential(space, v)
