r"""Places R and R' of all electrons that are the same physically, though the numbers differ:

    R' = P R          P exchanges electrons of one spin, which are alike
    R' = R + L n      in a periodic cell, n any whole numbers, others for each electron

Whatever takes coordinates has to be the same, or to go along: flows, potentials. They are tried at random R.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pnct.space import Space

SAMPLES = 16
EXCHANGE = "an exchange of electrons of one spin, which are alike"
TRANSLATION = (
    "a translation of an electron by L along an axis, for the cell is periodic (of displacements r, take "
    "space.nearest(r, L))"
)


def random_places(space: Space, dtype) -> Float[Array, "S N dim"]:
    """SAMPLES of R, uniform in [0, L): made on the host, where nothing has to be compiled for it."""
    rng = np.random.default_rng(0)
    return space.L * jnp.asarray(rng.uniform(size=(SAMPLES, space.N, space.dim)), dtype)


def exchanged(R: Float[Array, "N dim"], space: Space) -> Float[Array, "N dim"]:
    """The electrons of each spin in a circle."""
    return jnp.concatenate([jnp.roll(R[spin], 1, axis=0) for spin in space.species])


def lattice_vectors(space: Space, dtype) -> Float[Array, "N dim"]:
    """L n, some for each electron."""
    n = jnp.arange(space.N * space.dim, dtype=dtype).reshape(space.N, space.dim) % 3 - 1
    return space.L * n


def equivalent_places(space: Space, dtype) -> dict[str, tuple[Array, Array]]:
    """(R, R'), each (S, N, dim), by what leads from R to R'."""
    R = random_places(space, dtype)
    pairs = {EXCHANGE: (R, jnp.stack([exchanged(one, space) for one in R]))}
    if space.is_periodic:
        pairs[TRANSLATION] = (R, R + lattice_vectors(space, dtype))
    return pairs
