r"""Sines and cosines of many angles at once, by their power series:

    cos y = sum_k (-1)^k y^{2k}/(2k)!,   sin y = sum_k (-1)^k y^{2k+1}/(2k+1)!,   y = pi (x - round(x))

Half-way between whole numbers this sine jumps and this cosine has a kink; but their squares and their product
are smooth, and give those of a whole turn and the haversine, sin^2(pi x). The derivatives of these three are
such again, so that an automatic derivative of any order stays as short as the first:

    d cos 2 pi x = -2 pi sin 2 pi x dx,   d sin 2 pi x = 2 pi cos 2 pi x dx,   d sin^2 pi x = pi sin 2 pi x dx
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
    return turn(r / L)[:2]


def haversine(r: Float[ArrayLike, "*n"], L: float) -> Float[Array, "*n"]:
    """sin^2(pi r/L), to the last digits of small r too."""
    return turn(r / L)[2]


@jax.custom_jvp
def turn(
    x: Float[ArrayLike, "*n"],
) -> tuple[Float[Array, "*n"], Float[Array, "*n"], Float[Array, "*n"]]:
    """cos(2 pi x), sin(2 pi x) and sin^2(pi x)."""
    c, s = _half_turn(x)
    square = s * s
    return 1 - 2 * square, 2 * s * c, square


@turn.defjvp
def _(primals, tangents):
    cosine, sine, square = turn(primals[0])
    half = np.pi * tangents[0]
    slope = sine * half
    return (cosine, sine, square), (-2 * slope, cosine * (2 * half), slope)


@jax.jit
def _half_turn(x: Float[ArrayLike, "*n"]) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
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
