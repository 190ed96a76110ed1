r"""The scores of one walker:  d ln p/d phi, one row;  d ln Psi/d theta, a row each for its real and its
imaginary part.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def value_and_score(f: Callable, params):
    """f, and d f/d params for real f: one row."""
    value, grads = jax.value_and_grad(f)(params)
    return value, jax.tree.map(lambda g: g[None], grads)


def complex_score(f: Callable, params):
    """d f/d params for complex f: two rows, of the real and of the imaginary part."""

    def parts(p):
        value = f(p)
        return jnp.stack([value.real, value.imag])

    return jax.jacrev(parts)(params)
