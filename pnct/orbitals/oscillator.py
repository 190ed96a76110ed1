r"""Orbitals of the harmonic oscillator  -nabla^2/2 + r^2/2,  from products of phi_n(x) along the axes.

    phi_0 = pi^{-1/4} exp(-x^2/2),   phi_{n+1} = sqrt(2/(n+1)) x phi_n - sqrt(n/(n+1)) phi_{n-1}

a recursion that is stable upwards.

In two dimensions the orbitals are states of angular momentum m, and determinants of them states of its total,
which the interaction does not mix: with the quanta n_+ + n_- = q, m = n_+ - n_-, and a_x^dagger, a_y^dagger
the quanta along the axes,

    (a_x^dagger + i a_y^dagger)^n_+ (a_x^dagger - i a_y^dagger)^n_- |0> / (2^q n_+! n_-!)^(1/2),

that is complex sums of the products with n_x + n_y = q, and positions are proposed from rings
(pnct.orbitals.radial_envelope). In three dimensions they are the products themselves, and positions are
proposed from step functions g_n(x) >= phi_n(x)^2, a little larger, along each axis, whose distribution
functions are piecewise linear (`StepEnvelope`).
"""

import math
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, Int, Num

from pnct.orbitals.base import SharedOrbitals
from pnct.orbitals.radial_envelope import radial_envelope
from pnct.space import OpenSpace

STEPS = 256  # of the functions that positions are proposed from
POINTS = 32  # on each, at which phi^2 is taken


class Oscillators(SharedOrbitals):
    """A table of oscillator orbitals in open space, lowest energy first: sums of up to C products along the
    axes.

    quanta: (M, C, dim) whole numbers of the products.  coefficients: (M, C), rows of length one, zero beyond
    the last product.
    angular_momenta: (M,), in two dimensions.
    """

    quanta: Int[np.ndarray, "M C dim"]
    coefficients: Num[np.ndarray, "M C"]
    angular_momenta: Int[np.ndarray, " M"] | None
    space: OpenSpace

    def __len__(self) -> int:
        return self.quanta.shape[0]

    @property
    def num_quanta(self) -> Int[np.ndarray, " M"]:
        """The quanta of each orbital, in all."""
        return np.sum(self.quanta[:, 0], axis=-1)

    @property
    def energies(self) -> Float[np.ndarray, " M"]:
        """In units of hbar omega."""
        return self.num_quanta + self.space.dim / 2

    @property
    def features(self) -> Float[np.ndarray, "M F"]:
        """Input features of an orbital: m and |m|, or its quanta along each axis, and all of its
        quanta.
        """
        m = self.angular_momenta
        numbers = self.quanta[:, 0] if m is None else np.stack([m, np.abs(m)], axis=-1)
        scale = max(1.0, fermi_quanta(self.space.num_electrons, self.space.dim))
        return np.concatenate([numbers, self.num_quanta[:, None]], axis=-1) / scale

    def quantum_numbers(self, K: Int[ArrayLike, " N"]) -> Float[Array, " q"]:
        """In two dimensions the total angular momentum M = sum_l m_l of the occupied orbitals of all species;
        else nothing.
        """
        m = (
            np.zeros((len(self), 0))
            if self.angular_momenta is None
            else self.angular_momenta[:, None].astype(float)
        )
        return jnp.sum(jnp.asarray(m)[K], axis=0)

    def matrix(self, K: Int[ArrayLike, " n"], r: Float[ArrayLike, "p dim"]) -> Num[Array, "p n"]:
        """D_il = phi_l(r_i) for the orbitals K, at the positions r."""
        products = self.products(jnp.asarray(self.quanta)[K], r)
        dtype = jnp.result_type(r.dtype, jnp.complex64) if np.iscomplexobj(self.coefficients) else r.dtype
        return jnp.einsum("lc,lcp->pl", jnp.asarray(self.coefficients, dtype)[K], products)

    def propose(
        self, K: Int[ArrayLike, " n"], u: Float[Array, "p dim"], weights: Float[Array, " n"] | None = None
    ) -> tuple[Float[Array, "p dim"], Float[Array, " p"]]:
        """Points of the density g/int g from points of the unit cube, and g, an envelope of sum_l w_l
        |phi_l|^2.
        """
        weights = jnp.ones(len(K), u.dtype) if weights is None else weights
        if self.angular_momenta is None:
            return step_envelope(self.highest).propose(jnp.asarray(self.quanta)[K, 0], weights, u)
        rings = radial_envelope(tuple(self.num_quanta.tolist()), tuple(self.angular_momenta.tolist()))
        return rings.propose(weights @ jnp.asarray(rings.heights, u.dtype)[K], u)

    def products(self, quanta: Int[Array, "n C dim"], r: Float[ArrayLike, "p dim"]) -> Float[Array, "n C p"]:
        """phi_{n_1}(x) phi_{n_2}(y) ... at the positions r."""
        phi = hermite_functions(r, self.highest)
        return math.prod(phi[quanta[..., b], :, b] for b in range(self.space.dim))

    def columns(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """The quanta, in three dimensions along each axis; in two the angular momenta."""
        if self.angular_momenta is None:
            return {"quanta": (("orbital", "axis"), self.quanta[:, 0])}
        return {
            "quanta": (("orbital",), self.num_quanta),
            "angular_momentum": (("orbital",), self.angular_momenta),
        }

    @property
    def highest(self) -> int:
        """The most quanta along an axis."""
        return int(self.quanta.max())


def hermite_functions(x: Float[ArrayLike, "*shape"], highest: int) -> Float[Array, "M ..."]:
    """phi_0 ... phi_highest at x."""
    phi = [math.pi**-0.25 * jnp.exp(-(x**2) / 2)]
    for n in range(highest):
        below = math.sqrt(n / (n + 1)) * phi[n - 1] if n else 0
        phi.append(math.sqrt(2 / (n + 1)) * x * phi[n] - below)
    return jnp.stack(phi)


class StepEnvelope(NamedTuple):
    """Step functions g_n >= phi_n^2 for n = 0 ... highest, on B equal steps of [-edge, edge].

    The density beyond the edge is below exp(-81). heights: (M, B).  cumulative: (M, B) of g_n at the end of
    each step, 1 at last.
    mass: (M,) the integral of each g_n.
    """

    edge: float
    heights: Float[np.ndarray, "M B"]
    cumulative: Float[np.ndarray, "M B"]
    mass: Float[np.ndarray, " M"]

    def propose(
        self, quanta: Int[Array, "n dim"], weights: Float[Array, " n"], u: Float[Array, "p dim"]
    ) -> tuple[Float[Array, "p dim"], Float[Array, " p"]]:
        """Points of the density g/int g, g = sum_l w_l prod_axis g_{l, axis}, from points of the unit
        cube, and g.
        """
        masses = weights * jnp.prod(jnp.asarray(self.mass, u.dtype)[quanta], axis=1)
        # The first number names the product, and what is left of it is uniform again.
        total = jnp.cumsum(masses)
        point = u[:, 0] * total[-1]
        chosen = jnp.minimum(jnp.searchsorted(total, point, side="right"), len(total) - 1)
        mass = masses[chosen]
        rest = jnp.clip(1 - (total[chosen] - point) / jnp.where(mass > 0, mass, 1), 0, 1)
        r, step = self.invert(quanta[chosen], u.at[:, 0].set(rest))
        heights = jnp.asarray(self.heights, u.dtype)[quanta[:, None], step]  # (n, p, dim)
        return r, weights @ jnp.prod(heights, axis=2)

    def invert(
        self, n: Int[Array, "*p"], u: Float[Array, "*p"]
    ) -> tuple[Float[Array, "*p"], Int[Array, "*p"]]:
        """x at which the distribution function of g_n is u, and the step that it lies on."""
        ends = jnp.asarray(self.cumulative, u.dtype)[n]
        step = jnp.minimum(jnp.sum(ends <= u[..., None], axis=-1), ends.shape[-1] - 1)

        def at(k):
            return jnp.take_along_axis(ends, k[..., None], axis=-1)[..., 0]

        start = jnp.where(step > 0, at(jnp.maximum(step - 1, 0)), 0)
        within = jnp.clip((u - start) / (at(step) - start), 0, 1)
        return self.edge * (2 * (step + within) / ends.shape[-1] - 1), step


@lru_cache(maxsize=16)
def step_envelope(highest: int) -> StepEnvelope:
    """StepEnvelope for phi_0 ... phi_highest: the highest of some points of each, and what phi^2 may rise to
    between two of these.
    """
    edge = math.sqrt(2 * highest + 1) + 9.0
    x = np.linspace(-edge, edge, STEPS * POINTS + 1)
    with jax.ensure_compile_time_eval():
        density = np.asarray(hermite_functions(jnp.asarray(x), highest), float) ** 2
    # |phi_n| < 0.82 (Cramer), and with phi_n'' = (x^2 - 2n - 1) phi_n the second derivative of phi_n^2 is
    # less than 12 (n + 1).
    between = 12 * np.arange(1, highest + 2)[:, None] * (x[1] - x[0]) ** 2 / 8
    parts = [density[:, k : STEPS * POINTS + 1 : POINTS][:, :STEPS] for k in range(POINTS)]
    heights = np.maximum(np.max(parts, axis=0), density[:, POINTS::POINTS]) + between
    cumulative = np.cumsum(heights, axis=1)
    return StepEnvelope(edge, heights, cumulative / cumulative[:, -1:], cumulative[:, -1] * 2 * edge / STEPS)


def oscillators(space: OpenSpace, cutoff: float) -> Oscillators:
    """All orbitals with up to `cutoff` quanta: by ascending quanta q, then, in 2D, by descending |m|, m > 0
    before m < 0.
    """
    num_quanta = range(math.floor(cutoff) + 1)
    if space.dim == 3:
        quanta = [[(i, j, q - i - j)] for q in num_quanta for i in range(q + 1) for j in range(q + 1 - i)]
        return Oscillators(np.array(quanta), np.ones((len(quanta), 1)), None, space)
    quanta = np.array(
        [
            [(min(c, q), max(q - c, 0)) for c in range(len(num_quanta))]
            for q in num_quanta
            for _ in range(q + 1)
        ]
    )
    states = [(q, m) for q in num_quanta for m in sorted(range(-q, q + 1, 2), key=lambda m: (-abs(m), -m))]
    rows = [np.pad(angular_momentum(q, m), (0, len(num_quanta) - q - 1)) for q, m in states]
    return Oscillators(quanta, np.array(rows), np.array([m for _, m in states]), space)


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


def fermi_quanta(num_electrons: tuple[int, int], dim: int) -> int:
    """The quanta of the highest orbital that the ground state of the larger species fills."""
    n = 0
    while math.comb(n + dim, dim) < max(num_electrons):
        n += 1
    return n
