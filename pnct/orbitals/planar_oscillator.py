r"""Orbitals of the harmonic oscillator in the plane, from products of phi_n(x) along the axes.

    phi_0 = pi^{-1/4} exp(-x^2/2),   phi_{n+1} = sqrt(2/(n+1)) x phi_n - sqrt(n/(n+1)) phi_{n-1}

a recursion that is stable upwards. They are states of angular momentum m, and determinants of them states of
its total, which the interaction does not mix: with the quanta n_+ + n_- = q, m = n_+ - n_-, and a_x^dagger,
a_y^dagger the quanta along the axes,

    (a_x^dagger + i a_y^dagger)^n_+ (a_x^dagger - i a_y^dagger)^n_- |0> / (2^q n_+! n_-!)^(1/2),

that is complex sums of the products with n_x + n_y = q, and positions are proposed from rings
(pnct.orbitals.radial_envelope).
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, Int

from pnct.orbitals.oscillator import Oscillators
from pnct.orbitals.radial_envelope import radial_envelope
from pnct.space import OpenSpace


class PlanarOscillators(Oscillators):
    """Oscillator orbitals in the plane: sums of up to C products along the axes.

    quanta: (M, C, 2) whole numbers of the products.  coefficients: (M, C), rows of length one, zero beyond
    the last product.
    angular_momenta: (M,).
    """

    quanta: Int[np.ndarray, "M C 2"]
    coefficients: Complex[np.ndarray, "M C"]
    angular_momenta: Int[np.ndarray, " M"]
    space: OpenSpace

    @property
    def num_quanta(self) -> Int[np.ndarray, " M"]:
        return np.sum(self.quanta[:, 0], axis=-1)

    @property
    def degrees(self) -> Int[np.ndarray, " M"]:
        return np.abs(self.angular_momenta)

    def matrix(self, K: Int[ArrayLike, " n"], r: Float[ArrayLike, "p 2"]) -> Complex[Array, "p n"]:
        """D_il = phi_l(r_i) for the orbitals K, at the positions r."""
        quanta = jnp.asarray(self.quanta)[K]
        phi = hermite_functions(r, int(self.quanta.max()))
        products = phi[quanta[..., 0], :, 0] * phi[quanta[..., 1], :, 1]
        dtype = jnp.result_type(r.dtype, jnp.complex64)
        return jnp.einsum("lc,lcp->pl", jnp.asarray(self.coefficients, dtype)[K], products)

    def propose(
        self, K: Int[ArrayLike, " n"], u: Float[Array, "p 2"], weights: Float[Array, " n"] | None = None
    ) -> tuple[Float[Array, "p 2"], Float[Array, " p"]]:
        """Points of the density g/int g from points of the unit square, and g, an envelope of sum_l w_l
        |phi_l|^2.
        """
        weights = jnp.ones(len(K), u.dtype) if weights is None else weights
        rings = radial_envelope(tuple(self.num_quanta.tolist()), tuple(self.angular_momenta.tolist()))
        return rings.propose(weights @ jnp.asarray(rings.heights, u.dtype)[K], u)


def hermite_functions(x: Float[ArrayLike, "*shape"], highest: int) -> Float[Array, "M ..."]:
    """phi_0 ... phi_highest at x."""
    phi = [math.pi**-0.25 * jnp.exp(-(x**2) / 2)]
    for n in range(highest):
        below = math.sqrt(n / (n + 1)) * phi[n - 1] if n else 0
        phi.append(math.sqrt(2 / (n + 1)) * x * phi[n] - below)
    return jnp.stack(phi)


def planar_oscillators(space: OpenSpace, cutoff: float) -> PlanarOscillators:
    """All orbitals with up to `cutoff` quanta: by ascending quanta q, then by descending |m|, m > 0 before m
    < 0.
    """
    num_quanta = range(math.floor(cutoff) + 1)
    quanta = np.array(
        [
            [(min(c, q), max(q - c, 0)) for c in range(len(num_quanta))]
            for q in num_quanta
            for _ in range(q + 1)
        ]
    )
    states = [(q, m) for q in num_quanta for m in sorted(range(-q, q + 1, 2), key=lambda m: (-abs(m), -m))]
    rows = [np.pad(angular_momentum(q, m), (0, len(num_quanta) - q - 1)) for q, m in states]
    return PlanarOscillators(quanta, np.array(rows), np.array([m for _, m in states]), space)


def angular_momentum(q: int, m: int) -> Complex[np.ndarray, " {q}+1"]:
    """The state of q quanta and angular momentum m: coefficients of n_x = 0 ... q."""
    plus = (q + m) // 2
    minus = (q - m) // 2
    # polynomials in a_x^dagger, at a_y^dagger = 1
    x = np.array([0, 1], complex)
    y = np.array([1, 0], complex)
    state = np.ones(1, complex)
    for factor in [x + 1j * y] * plus + [x - 1j * y] * minus:
        state = np.convolve(state, factor)
    log_norm = 0.5 * np.array([math.lgamma(n + 1) + math.lgamma(q - n + 1) for n in range(q + 1)])
    log_norm -= 0.5 * (q * math.log(2) + math.lgamma(plus + 1) + math.lgamma(minus + 1))
    return state * np.exp(log_norm)
