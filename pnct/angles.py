r"""Sines and cosines of many angles at once, by their power series:

    cos y = sum_k (-1)^k y^{2k}/(2k)!,   sin y = sum_k (-1)^k y^{2k+1}/(2k+1)!,   y = pi (x - round(x))

Half-way between whole numbers this sine jumps and this cosine has a kink; their squares and their product are
smooth, and give the cosine and the sine of 2 pi x.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from pnct.compilation import computed_once

TAYLOR_TERMS = 12  # (pi/2)^24/24! = 8e-20 of the cosine is left out


def angle(r: Float[ArrayLike, "*n"], L: float) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """cos(2 pi r/L) and sin(2 pi r/L)."""
    return doubled(*half_angle(r, L))


def doubled(c: Float[Array, "*n"], s: Float[Array, "*n"]) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """cos(2 phi) and sin(2 phi) from cos(phi) and sin(phi)."""
    return 1 - 2 * s**2, 2 * s * c


def half_angle(r: Float[ArrayLike, "*n"], L: float) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """cos(pi r/L) and sin(pi r/L) of the image nearest to 0."""
    return half_turn(r / L)


@jax.custom_jvp
@jax.jit
def half_turn(x: Float[ArrayLike, "*n"]) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """cos(pi x) and sin(pi x) of x - round(x), to rounding, by their power series.

    XLA calls its sine and its cosine for one number after another, which takes ten times as long. The program
    of the series is made once for each shape.
    """
    y = np.pi * (x - jnp.round(x))
    y2 = y * y
    c, s = 0.0, 0.0
    for k in reversed(range(TAYLOR_TERMS)):
        c = c * y2 + (-1) ** k / math.factorial(2 * k)
        s = s * y2 + (-1) ** k / math.factorial(2 * k + 1)
    # Otherwise XLA would repeat the series in every loop over features and their derivatives.
    return computed_once((c, s * y))


@half_turn.defjvp
def _(primals, tangents):
    c, s = half_turn(primals[0])
    turn = np.pi * tangents[0]
    return (c, s), (-s * turn, c * turn)
