r"""What a layer does to each number, with the derivatives that an exact kinetic energy takes:

    Algebraic   s(z) = (z + (z^2 + 4)^{1/2})/2,    s' = s/(z^2 + 4)^{1/2}
    Softplus    s(z) = ln(1 + e^z),                s' = 1/(1 + e^-z)

Both are 0 far below and z far above, smooth to any order, with s''(0) = 1/4. The first takes a square root
and a division, the second an exponential and a logarithm.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pnct.networks.layers import logistic, softplus


class Activation(eqx.Module):
    """s, elementwise."""

    @abc.abstractmethod
    def __call__(self, z: Float[ArrayLike, "*n"]) -> Float[Array, "*n"]:
        """s"""

    @abc.abstractmethod
    def slope(self, z: Float[ArrayLike, "*n"]) -> Float[Array, "*n"]:
        """s'"""

    @abc.abstractmethod
    def slopes(self, z: Float[ArrayLike, "*n"]) -> tuple[Float[Array, "*n"], ...]:
        """s', s'', s'''."""


class Algebraic(Activation):
    """(z + (z^2 + 4)^(1/2))/2"""

    def __call__(self, z: Float[ArrayLike, "*n"]) -> Float[Array, "*n"]:
        """s"""
        return (z + jnp.sqrt(z * z + 4)) / 2

    def slope(self, z: Float[ArrayLike, "*n"]) -> Float[Array, "*n"]:
        """s'"""
        return (1 + z * jax.lax.rsqrt(z * z + 4)) / 2

    def slopes(self, z: Float[ArrayLike, "*n"]) -> tuple[Float[Array, "*n"], ...]:
        """s', s'' = 2/(z^2 + 4)^(3/2), s''' = -3 z s''/(z^2 + 4)."""
        r = jax.lax.rsqrt(z * z + 4)
        r2 = r * r
        second = 2 * r * r2
        return (1 + z * r) / 2, second, -3 * z * r2 * second


class Softplus(Activation):
    """ln(1 + e^z)"""

    def __call__(self, z: Float[ArrayLike, "*n"]) -> Float[Array, "*n"]:
        """s"""
        return softplus(z)

    def slope(self, z: Float[ArrayLike, "*n"]) -> Float[Array, "*n"]:
        """s' = p(z), the logistic function."""
        return logistic(z)

    def slopes(self, z: Float[ArrayLike, "*n"]) -> tuple[Float[Array, "*n"], ...]:
        """p, p q, p q (q - p), q = p(-z)."""
        # q = 1 - p, without the cancellation
        p = logistic(z)
        q = logistic(-z)
        return p, p * q, p * q * (q - p)
