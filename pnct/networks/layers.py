"""What networks are made of:  softplus(x) = ln(1 + e^x), normal weights of variance 1/fan_in, residuals."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pnct.compilation import computed_once

ARTANH_TERMS = 16  # 3^-32/33 = 2e-17 of the first is left out


@jax.custom_jvp
def softplus(x: ArrayLike) -> Array:
    """ln(1 + e^x), with derivatives that stay exact and finite to any order."""
    e = jnp.exp(-jnp.abs(x))
    return jnp.maximum(x, 0) + log1p_of_unit(e)


@softplus.defjvp
def _(primals, tangents):
    return softplus(primals[0]), logistic(primals[0]) * tangents[0]


@jax.custom_jvp
def logistic(x: ArrayLike) -> Array:
    """p = 1/(1 + e^-x), with dp/dx = p(x) p(-x)."""
    e = jnp.exp(-jnp.abs(x))
    # Otherwise XLA would take the exponential again for each of the derivatives that p multiplies.
    return computed_once(jnp.where(x > 0, 1, e) / (1 + e))


@logistic.defjvp
def _(primals, tangents):
    p = logistic(primals[0])
    return p, p * logistic(-primals[0]) * tangents[0]


@jax.jit
def log1p_of_unit(e: ArrayLike) -> Array:
    """ln(1 + e) for 0 <= e <= 1, to rounding:  2 artanh t,  t = e/(2 + e) <= 1/3,  by its power series.

    XLA calls a logarithm for each number; a polynomial of sixteen terms takes a third of the time.
    """
    t = e / (2 + e)
    t2 = t * t
    total = 1 / (2 * ARTANH_TERMS + 1)
    for k in reversed(range(ARTANH_TERMS)):
        total = total * t2 + 1 / (2 * k + 1)
    return 2 * t * total


def random_weight(key: Array, shape: tuple[int, ...], fan_in: int) -> Float[Array, "..."]:
    """Normal, of variance 1/fan_in, in the default float dtype."""
    return jax.random.normal(key, shape) / fan_in**0.5


def residual(h: Array, new: Array) -> Array:
    """new, added to h where the shapes match."""
    return h + new if h.shape == new.shape else new
