"""What networks are made of:  softplus(x) = ln(1 + e^x), normal weights of variance 1/fan_in, residuals."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float


@jax.custom_jvp
def softplus(x: ArrayLike) -> Array:
    """ln(1 + e^x), with derivatives that stay exact and finite to any order."""
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


@softplus.defjvp
def _(primals, tangents):
    return softplus(primals[0]), jax.nn.sigmoid(primals[0]) * tangents[0]


def random_weight(key: Array, shape: tuple[int, ...], fan_in: int) -> Float[Array, "..."]:
    """Normal, of variance 1/fan_in, in the default float dtype."""
    return jax.random.normal(key, shape) / fan_in**0.5


def residual(h: Array, new: Array) -> Array:
    """new, added to h where the shapes match."""
    return h + new if h.shape == new.shape else new
