r"""The scores of one walker:  d ln p/d phi, one row;  d ln Psi/d theta, a row each for its real and its
imaginary part.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float


def value_and_score(f: Callable, params):
    """f, and d f/d params for real f: one row."""
    value, grads = jax.value_and_grad(f)(params)
    return value, jax.tree.map(lambda g: g[None], grads)


def complex_score(f: Callable, params):
    """Two rows, of ln|Psi| and of the phase.  f: params -> (ln|Psi|, phase).

    Each is transposed alone: the phase does not depend on the Jacobian of a flow, so its row costs no more
    than the flow.
    """
    values, tangents = jax.linearize(f, params)

    def row(part):
        def tangent(direction):
            return tangents(direction)[part]

        return jax.linear_transpose(tangent, params)(jnp.ones_like(values[part]))[0]

    return jax.tree.map(lambda *rows: jnp.stack(rows), row(0), row(1))


def flattened(tree: dict) -> dict[str, Float[Array, " P"]]:
    """One array for each module, as ravel_pytree has it: a far smaller program than with all of its own."""
    return {name: ravel_pytree(module)[0] for name, module in tree.items()}


def flattened_rows(rows: dict) -> dict[str, Float[Array, "rows P"]]:
    """The scores of some modules, each a matrix."""
    return jax.vmap(flattened)(rows)
