r"""Wells and barriers of short range, in units of hbar^2/(m l^2), l the unit of length of the system:

    Poeschl-Teller  v(r) = -2 v_0 mu^2/cosh^2(mu r)
    Gaussian        v(r) = V_0 exp(-r^2/(2 r_0^2))

In three dimensions the Poeschl-Teller well binds its first pair at v_0 = 1 and its second state at v_0 = 6.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pnct.systems.interactions import ShortRange
from pnct.validation import checked_number


class PoschlTeller(ShortRange):
    """v(r) = -2 v0 mu^2/cosh^2(mu r).  v0: depth, >= 0.  mu: inverse range, > 0."""

    v0: float
    mu: float

    def __init__(self, v0=1.0, mu=2.0):
        self.v0 = checked_number("v0", v0, lambda x: x >= 0, ">= 0")
        self.mu = checked_number("mu", mu, lambda x: x > 0, "> 0")

    def __call__(self, r: Float[ArrayLike, "*pairs"]) -> Float[Array, "*pairs"]:
        fall = jnp.exp(-2 * self.mu * r)
        return -8 * self.v0 * self.mu**2 * fall / (1 + fall) ** 2

    @property
    def length(self) -> Float[ArrayLike, ""]:
        """1/mu"""
        return 1 / self.mu

    def reach(self, fraction: float) -> float:
        """v/v(0) is below 4 exp(-2 mu r)."""
        return math.log(4 / fraction) / (2 * self.mu)


class Gaussian(ShortRange):
    """v(r) = V0 exp(-r^2/(2 r0^2)).  V0: < 0 of a well.  r0: range, > 0."""

    V0: float
    r0: float

    def __init__(self, V0, r0=1.0):
        self.V0 = checked_number("V0", V0, math.isfinite, "finite")
        self.r0 = checked_number("r0", r0, lambda x: x > 0, "> 0")

    def __call__(self, r: Float[ArrayLike, "*pairs"]) -> Float[Array, "*pairs"]:
        return self.V0 * jnp.exp(-((r / self.r0) ** 2) / 2)

    @property
    def length(self) -> Float[ArrayLike, ""]:
        """r0"""
        return self.r0

    def reach(self, fraction: float) -> float:
        return self.r0 * math.sqrt(-2 * math.log(fraction))
