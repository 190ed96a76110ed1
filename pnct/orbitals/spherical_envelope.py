r"""Envelopes of the densities of oscillator orbitals in space:

    |phi_nlm(r)|^2 <= g_nl(r) h_lm(theta)

each constant on B shells of equal width and on C cones of equal width in theta. The density does not depend
on the angle around the z axis. Points of a sum of such products are drawn by choosing a product by its
integral, then a shell and a cone; within these they are uniform in r^3 and cos theta.

The radial densities are 2 f_n(s)^2/r, f_n the Laguerre functions of order l + 1/2 at s = r^2
(pnct.orbitals.radial_envelope), those of the angle the squares of associated Legendre functions.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int
from scipy.special import gammaln, lpmv

from pnct.orbitals.radial_envelope import POINTS, heights_above, laguerre_functions

SHELLS = 256
CONES = 128


class Steps(NamedTuple):
    """Step functions, one a row. heights: (P, B).  cumulative: (P, B) of each times the measure of a step,
    at the end of the step, 1 at last.  integrals: (P,).
    """

    heights: Float[np.ndarray, "P B"]
    cumulative: Float[np.ndarray, "P B"]
    integrals: Float[np.ndarray, " P"]

    @classmethod
    def of(cls, heights: Float[np.ndarray, "P B"], measure: Float[np.ndarray, " B"]) -> "Steps":
        """From the heights and the measure of each step."""
        cumulative = np.cumsum(heights * measure, axis=1)
        return cls(heights, cumulative / cumulative[:, -1:], cumulative[:, -1])

    def invert(
        self, row: Int[Array, " p"], u: Float[Array, " p"]
    ) -> tuple[Int[Array, " p"], Float[Array, " p"]]:
        """The step on which the distribution function of the row is u, and the part of its measure below
        u.
        """
        ends = jnp.asarray(self.cumulative, u.dtype)[row]
        step = jnp.minimum(jnp.sum(ends <= u[:, None], axis=1), ends.shape[1] - 1)

        def at(k):
            return jnp.take_along_axis(ends, k[:, None], axis=1)[:, 0]

        start = jnp.where(step > 0, at(jnp.maximum(step - 1, 0)), 0)
        return step, jnp.clip((u - start) / (at(step) - start), 0, 1)


class SphericalEnvelope(NamedTuple):
    """edge: of the shells, beyond which the densities are below exp(-81).  radial_row, polar_row: (M,) the
    rows of each orbital.
    """

    edge: float
    radial: Steps
    polar: Steps
    radial_row: Int[np.ndarray, " M"]
    polar_row: Int[np.ndarray, " M"]

    def propose(
        self, K: Int[ArrayLike, " n"], weights: Float[Array, " n"], u: Float[Array, "p 3"]
    ) -> tuple[Float[Array, "p 3"], Float[Array, " p"]]:
        """Points of the density g/int g, g = sum_l w_l g_l h_l of the orbitals K, from points of the unit
        cube, and g.
        """
        radial_row = jnp.asarray(self.radial_row)[K]
        polar_row = jnp.asarray(self.polar_row)[K]
        integrals = 2 * np.pi * self.radial.integrals[self.radial_row] * self.polar.integrals[self.polar_row]
        masses = weights * jnp.asarray(integrals, u.dtype)[K]
        # The first number names the product, and what is left of it is uniform again.
        total = jnp.cumsum(masses)
        point = u[:, 0] * total[-1]
        chosen = jnp.minimum(jnp.searchsorted(total, point, side="right"), len(total) - 1)
        mass = masses[chosen]
        rest = jnp.clip(1 - (total[chosen] - point) / jnp.where(mass > 0, mass, 1), 0, 1)

        shell, within = self.radial.invert(radial_row[chosen], rest)
        volume = shell**3 + within * (3 * shell * (shell + 1) + 1)
        r = self.edge / self.radial.heights.shape[1] * jnp.cbrt(volume)
        cone, within = self.polar.invert(polar_row[chosen], u[:, 1])
        edges = jnp.asarray(np.cos(np.linspace(0, np.pi, self.polar.heights.shape[1] + 1)), u.dtype)
        z = edges[cone] + within * (edges[cone + 1] - edges[cone])
        across = jnp.sqrt((1 - z) * (1 + z))
        angle = 2 * np.pi * u[:, 2]
        places = r * jnp.stack([across * jnp.cos(angle), across * jnp.sin(angle), z])
        radial = jnp.asarray(self.radial.heights, u.dtype)[radial_row[:, None], shell]
        polar = jnp.asarray(self.polar.heights, u.dtype)[polar_row[:, None], cone]
        return places.T, weights @ (radial * polar)


@lru_cache(maxsize=16)
def spherical_envelope(
    quanta: tuple[int, ...], degrees: tuple[int, ...], angular_momenta: tuple[int, ...]
) -> SphericalEnvelope:
    """SphericalEnvelope for the orbitals of these quanta, degrees and angular momenta."""
    edge = math.sqrt(2 * max(quanta) + 3) + 9.0
    r = np.linspace(0, edge, SHELLS * POINTS + 1)
    r[0] = 1e-150  # where 2 f^2/r has its limit, and no division by zero
    radial = {l: laguerre_functions(r**2, l + 0.5, max(quanta) // 2) for l in set(degrees)}
    kinds, radial_row = np.unique(np.array([quanta, degrees]).T, axis=0, return_inverse=True)
    density = np.array([2 * radial[l][(q - l) // 2] ** 2 / r for q, l in kinds])
    shells = Steps.of(
        heights_above(density, SHELLS), np.diff((edge / SHELLS * np.arange(SHELLS + 1)) ** 3) / 3
    )

    theta = np.linspace(0, np.pi, CONES * POINTS + 1)
    kinds, polar_row = np.unique(np.array([degrees, np.abs(angular_momenta)]).T, axis=0, return_inverse=True)
    log_norm = [
        math.log((2 * l + 1) / (4 * np.pi)) + gammaln(l - m + 1) - gammaln(l + m + 1) for l, m in kinds
    ]
    density = np.array(
        [np.exp(c) * lpmv(m, l, np.cos(theta)) ** 2 for c, (l, m) in zip(log_norm, kinds, strict=True)]
    )
    cones = Steps.of(heights_above(density, CONES), -np.diff(np.cos(np.linspace(0, np.pi, CONES + 1))))
    return SphericalEnvelope(edge, shells, cones, radial_row.ravel(), polar_row.ravel())
