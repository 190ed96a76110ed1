r"""Orbitals of the harmonic oscillator in space, of radial nodes n, degree l and angular momentum m:

    phi_nlm(r) = 2^(1/2) exp(-s/2) P_n(s) S_lm(r),   s = r^2,   2 n + l quanta

with the normalised Laguerre polynomials P_n of order a = l + 1/2,

    P_0 = 1/Gamma(a + 1)^{1/2},
    P_{n+1} = [(2 n + 1 + a - s) P_n - (n (n + a))^{1/2} P_{n-1}]/((n + 1) (n + 1 + a))^{1/2}

and the solid harmonics S_lm = r^l Y_lm = Q_lm(z, s) (x + i y)^m, conjugate at -m (without the sign of Condon
and Shortley):

    Q_mm = ((2 m + 1)!/4 pi)^{1/2}/(2^m m!),   Q_lm = a_lm (z Q_{l-1,m} - b_lm s Q_{l-2,m}),
    a_lm^2 = (4 l^2 - 1)/(l^2 - m^2),   b_lm^2 = ((l-1)^2 - m^2)/(4 (l-1)^2 - 1)

All are smooth functions of x, y and z, at r = 0 too. Positions are proposed from shells and cones
(pnct.orbitals.spherical_envelope).
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, Int

from pnct.orbitals.oscillator import Oscillators
from pnct.orbitals.spherical_envelope import spherical_envelope
from pnct.space import OpenSpace


class SphericalOscillators(Oscillators):
    """Oscillator orbitals in space. num_quanta, degrees, angular_momenta: (M,)."""

    num_quanta: Int[np.ndarray, " M"]
    degrees: Int[np.ndarray, " M"]
    angular_momenta: Int[np.ndarray, " M"]
    space: OpenSpace

    def matrix(self, K: Int[ArrayLike, " n"], r: Float[ArrayLike, "p 3"]) -> Complex[Array, "p n"]:
        """D_il = phi_l(r_i) for the orbitals K, at the positions r."""
        q, l, m = (jnp.asarray(x)[K] for x in (self.num_quanta, self.degrees, self.angular_momenta))
        highest = int(self.num_quanta.max())
        radial = radial_functions(jnp.sum(r**2, axis=-1), highest)[(q - l) // 2, l]
        polar = polar_polynomials(r, highest)[l, jnp.abs(m)]
        around = powers(r, highest)[jnp.abs(m)]
        return (radial * polar * jnp.where(m[:, None] < 0, around.conj(), around)).T

    def propose(
        self, K: Int[ArrayLike, " n"], u: Float[Array, "p 3"], weights: Float[Array, " n"] | None = None
    ) -> tuple[Float[Array, "p 3"], Float[Array, " p"]]:
        """Points of the density g/int g from points of the unit cube, and g, an envelope of sum_l w_l
        |phi_l|^2.
        """
        weights = jnp.ones(len(K), u.dtype) if weights is None else weights
        numbers = self.num_quanta, self.degrees, self.angular_momenta
        return spherical_envelope(*(tuple(x.tolist()) for x in numbers)).propose(K, weights, u)


def radial_functions(s: Float[Array, " p"], highest: int) -> Float[Array, "n l p"]:
    """2^(1/2) exp(-s/2) P_n(s) for n = 0 ... highest/2 and l = 0 ... highest."""
    a = np.arange(highest + 1) + 0.5
    scale = np.exp([(math.log(2) - math.lgamma(x + 1)) / 2 for x in a])
    P = [scale[:, None].astype(s.dtype) * jnp.exp(-s / 2)]
    for n in range(highest // 2):
        below = np.sqrt(n * (n + a))[:, None].astype(s.dtype) * P[n - 1] if n else 0
        over = np.sqrt((n + 1) * (n + 1 + a))[:, None].astype(s.dtype)
        P.append((((2 * n + 1 + a)[:, None].astype(s.dtype) - s) * P[n] - below) / over)
    return jnp.stack(P)


def polar_polynomials(r: Float[ArrayLike, "p 3"], highest: int) -> Float[Array, "l m p"]:
    """Q_lm for l, m = 0 ... highest; zero for m > l."""
    m = np.arange(highest + 1)
    first = [math.sqrt(math.factorial(2 * k + 1) / (4 * math.pi)) / (2**k * math.factorial(k)) for k in m]
    z = r[:, 2]
    s = jnp.sum(r**2, axis=-1)
    Q = []
    for l in m:
        own = (np.array(first) * (m == l))[:, None].astype(r.dtype) * jnp.ones_like(z)
        if l > 0:
            below = m < l
            a = np.sqrt((4 * l**2 - 1) / np.where(below, l**2 - m**2, 1)) * below
            b = np.sqrt(np.where(m < l - 1, (l - 1) ** 2 - m**2, 0) / (4 * (l - 1) ** 2 - 1)) if l > 1 else 0
            own = own + a[:, None].astype(r.dtype) * z * Q[l - 1]
            if l > 1:
                own = own - (a * b)[:, None].astype(r.dtype) * s * Q[l - 2]
        Q.append(own)
    return jnp.stack(Q)


def powers(r: Float[ArrayLike, "p 3"], highest: int) -> Complex[Array, "m p"]:
    """(x + i y)^m for m = 0 ... highest."""
    one = r[:, 0] + 1j * r[:, 1]
    each = [jnp.ones_like(one)]
    for _ in range(highest):
        each.append(each[-1] * one)
    return jnp.stack(each)


def spherical_oscillators(space: OpenSpace, cutoff: float) -> SphericalOscillators:
    """All orbitals with up to `cutoff` quanta: by ascending quanta, then by descending l, then by descending
    |m|, m > 0 before m < 0.
    """
    states = [
        (q, l, m)
        for q in range(math.floor(cutoff) + 1)
        for l in range(q, -1, -2)
        for m in sorted(range(-l, l + 1), key=lambda m: (-abs(m), -m))
    ]
    return SphericalOscillators(*np.array(states).T, space)
