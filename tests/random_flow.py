"""Flows with random parameters, and configurations of electrons to try them at."""

import jax
import jax.numpy as jnp
import numpy as np

from pnct.primitives import is_trained
from pnct.space import Cell


def random_flow(make, spread, seed=7):
    """The flow that make(key) gives, its parameters drawn anew with this standard deviation.

    A parameter that is one number is the spread itself, so that no flow is trivial by chance.
    """
    rng = np.random.default_rng(seed)

    def drawn(x):
        if not is_trained(x):
            return x
        return jnp.asarray(spread * (rng.normal(size=x.shape) if x.ndim else 1.0))

    return jax.tree.map(drawn, make(jax.random.key(0)))


def configuration(space):
    rng = np.random.default_rng(8)
    shape = space.N, space.dim
    return jnp.asarray(
        rng.uniform(0, space.L, shape) if isinstance(space, Cell) else 1.5 * rng.normal(size=shape)
    )


def to_single(tree):
    """In float32, but for constants that are no floats."""
    return jax.tree.map(lambda x: x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)
