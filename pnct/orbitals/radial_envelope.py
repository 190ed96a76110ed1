r"""Envelopes of rotationally symmetric densities in the plane:  |phi_nm(r)|^2 <= g(r), constant on each of B
rings.

With s = r^2 and |phi_nm|^2 = f_n(s)^2/pi, f_n the Laguerre functions of order |m|,

    f_0 = s^{|m|/2} e^{-s/2}/(|m|!)^{1/2},
    f_{n+1} = [(2 n + 1 + |m| - s) f_n - (n (n + |m|))^{1/2} f_{n-1}]/((n + 1) (n + 1 + |m|))^{1/2}

and 2 n + |m| quanta. A sum of such densities lies below the sum of their g, whatever the phases of the
orbitals.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

RINGS = 256
POINTS = 32  # in each, at which the density is taken


class RadialEnvelope(NamedTuple):
    """heights: (M, B) of orbitals, on B rings of equal width out to `edge`, beyond which their densities are
    below exp(-81).
    """

    edge: float
    heights: Float[np.ndarray, "M B"]

    def propose(
        self, height: Float[Array, " B"], u: Float[Array, "p 2"]
    ) -> tuple[Float[Array, "p 2"], Float[Array, " p"]]:
        """Points of the density that is proportional to `height` on the rings, from points of the unit
        square, and its height.
        """
        inner = np.arange(len(height)) ** 2  # of s, in units of the width
        total = jnp.cumsum(height * (2 * np.arange(len(height)) + 1))
        point = u[:, 0] * total[-1]
        ring = jnp.minimum(jnp.sum(total <= point[:, None], axis=1), len(height) - 1)
        area = 2 * ring + 1
        within = jnp.clip(1 - (total[ring] - point) / (height[ring] * area), 0, 1)
        r = self.edge / len(height) * jnp.sqrt(jnp.asarray(inner, u.dtype)[ring] + within * area)
        angle = 2 * np.pi * u[:, 1]
        return r[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1), height[ring]


@lru_cache(maxsize=16)
def radial_envelope(quanta: tuple[int, ...], angular_momenta: tuple[int, ...]) -> RadialEnvelope:
    """RadialEnvelope for the orbitals with these quanta and angular momenta."""
    edge = math.sqrt(2 * max(quanta) + 2) + 9.0
    r = np.linspace(0, edge, RINGS * POINTS + 1)
    radial = {m: laguerre_functions(r**2, m, max(quanta) // 2) for m in {abs(m) for m in angular_momenta}}
    density = np.array(
        [radial[abs(m)][(q - abs(m)) // 2] ** 2 / np.pi for q, m in zip(quanta, angular_momenta, strict=True)]
    )
    return RadialEnvelope(edge, heights_above(density, RINGS))


def heights_above(density: Float[np.ndarray, "M p"], steps: int) -> Float[np.ndarray, "M {steps}"]:
    """The heights of step functions above functions that are given at POINTS points on each step, and at the
    end of the last.
    """
    # Between two points a function rises above both by an eighth of its second difference; this one is smooth
    # at their distance.
    between = np.max(np.abs(np.diff(density, 2, axis=1)), axis=1, keepdims=True) / 4
    parts = [density[:, k : steps * POINTS + 1 : POINTS][:, :steps] for k in range(POINTS)]
    return np.maximum(np.max(parts, axis=0), density[:, POINTS::POINTS]) + between


def laguerre_functions(s: Float[np.ndarray, " p"], m: float, highest: int) -> Float[np.ndarray, "n p"]:
    """f_0 ... f_highest of order m at s."""
    with np.errstate(divide="ignore"):
        f = [np.exp((m * np.log(s) if m else 0) / 2 - s / 2 - math.lgamma(m + 1) / 2)]
    for n in range(highest):
        below = math.sqrt(n * (n + m)) * f[n - 1] if n else 0
        f.append(((2 * n + 1 + m - s) * f[n] - below) / math.sqrt((n + 1) * (n + 1 + m)))
    return np.array(f)
