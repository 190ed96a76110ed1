r"""Orbitals of the harmonic oscillator  -nabla^2/2 + r^2/2,  from products of phi_n(x) along the axes.

    phi_0 = pi^{-1/4} exp(-x^2/2),   phi_{n+1} = sqrt(2/(n+1)) x phi_n - sqrt(n/(n+1)) phi_{n-1}

a recursion that is stable upwards. Since (phi_n phi_{n-1})' = sqrt(2n) (phi_{n-1}^2 - phi_n^2), the distribution function of
phi_n^2, from which its samples are drawn, is closed too:

    P_n(x) = (1 + erf x)/2 - sum_{k=1}^n phi_k phi_{k-1}/sqrt(2k)

In two dimensions the orbitals are states of angular momentum, which an interaction that keeps it does not mix: with the
quanta n_+ + n_- = q, m = n_+ - n_- >= 0, and a_x^dagger, a_y^dagger the quanta along the axes,

    (a_x^dagger + i a_y^dagger)^n_+ (a_x^dagger - i a_y^dagger)^n_- |0> / (2^q n_+! n_-!)^(1/2),   cosine and sine in the angle,

that is real sums of the products with n_x + n_y = q. In three dimensions they are the products themselves.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pnct.space import OpenSpace


class Oscillators(eqx.Module):
    """A table of real oscillator orbitals in open space, lowest energy first: sums of up to C products along the axes.

    quanta: (M, C, dim) whole numbers of the products.  coefficients: (M, C), orthonormal rows, zero beyond the last product.
    """

    quanta: Int[np.ndarray, "M C dim"]
    coefficients: Float[np.ndarray, "M C"]
    cell: OpenSpace

    def __len__(self) -> int:
        return self.quanta.shape[0]

    @property
    def levels(self) -> Int[np.ndarray, " M"]:
        """The quanta of each orbital, in all."""
        return np.sum(self.quanta[:, 0], axis=-1)

    @property
    def energies(self) -> Float[np.ndarray, " M"]:
        """In units of hbar omega."""
        return self.levels + self.cell.dim / 2

    @property
    def features(self) -> Float[np.ndarray, "M 3*dim-1"]:
        """What a network is told of an orbital: its mean quanta along each axis, those between axes, and all of them."""
        mean = np.einsum("mc,mcb->mb", self.coefficients**2, self.quanta)
        spread = np.einsum("mc,mcb->mb", self.coefficients**2, self.quanta**2) - mean**2
        scale = max(1.0, fermi_quanta(self.cell.num_electrons, self.cell.dim))
        return np.concatenate([mean, np.sqrt(np.maximum(spread, 0))[:, 1:], self.levels[:, None]], axis=-1) / scale

    def matrix(self, K: Int[Array, " n"], r: Float[Array, "p dim"]) -> Float[Array, "p n"]:
        """D_il = phi_l(r_i) for the orbitals K, at the positions r."""
        products = self.products(jnp.asarray(self.quanta)[K], r)
        return jnp.einsum("lc,lcp->pl", jnp.asarray(self.coefficients, r.dtype)[K], products)

    def propose(self, K: Int[Array, " n"], u: Float[Array, "p dim"]) -> tuple[Float[Array, "p dim"], Float[Array, " p"]]:
        """Points of the density g/int g from points of the unit cube, and g, an envelope of sum_l |phi_l|^2 of the orbitals K.

        By the inequality of Cauchy and Schwarz, |sum_c U_c p_c|^2 <= g = (sum_c |U_c|) sum_c |U_c| p_c^2.
        """
        quanta, size = jnp.asarray(self.quanta)[K], jnp.abs(jnp.asarray(self.coefficients, u.dtype))[K]
        weights = size * jnp.sum(size, axis=1, keepdims=True)
        # The first number names the product, and what is left of it is uniform again.
        total = jnp.cumsum(weights.ravel())
        point = u[:, 0] * total[-1]
        chosen = jnp.minimum(jnp.searchsorted(total, point, side="right"), total.size - 1)
        share = weights.ravel()[chosen]
        rest = jnp.clip(1 - (total[chosen] - point) / share, 0, 1)
        r = inverse_distribution(quanta.reshape(-1, self.cell.dim)[chosen], u.at[:, 0].set(rest), self.highest)
        return r, jnp.einsum("lc,lcp->p", weights, self.products(quanta, r) ** 2)

    def products(self, quanta: Int[Array, "n C dim"], r: Float[Array, "p dim"]) -> Float[Array, "n C p"]:
        """phi_{n_1}(x) phi_{n_2}(y) ... at the positions r."""
        phi = hermite_functions(r, self.highest)
        return math.prod(phi[quanta[..., b], :, b] for b in range(self.cell.dim))

    @property
    def highest(self) -> int:
        """The most quanta along an axis."""
        return int(self.quanta.max())


def hermite_functions(x: Float[Array, "*shape"], highest: int) -> Float[Array, "M ..."]:
    """phi_0 ... phi_highest at x."""
    phi = [math.pi**-0.25 * jnp.exp(-(x**2) / 2)]
    for n in range(highest):
        below = math.sqrt(n / (n + 1)) * phi[n - 1] if n else 0
        phi.append(math.sqrt(2 / (n + 1)) * x * phi[n] - below)
    return jnp.stack(phi)


def distributions(x: Float[Array, "*shape"], highest: int) -> Float[Array, "M ..."]:
    """P_0 ... P_highest at x."""
    phi = hermite_functions(x, highest)
    steps = [phi[k] * phi[k - 1] / math.sqrt(2 * k) for k in range(1, highest + 1)]
    return (1 + jax.scipy.special.erf(x)) / 2 - jnp.cumsum(jnp.stack([jnp.zeros_like(x), *steps]), axis=0)


def inverse_distribution(n: Int[Array, "*shape"], u: Float[Array, "*shape"], highest: int) -> Float[Array, "*shape"]:
    """x with P_n(x) = u, to rounding, by bisection."""
    edge = math.sqrt(2 * highest + 1) + 9.0  # the density beyond the turning point falls like exp(-81)
    digits = jnp.finfo(u.dtype).nmant

    def halve(i, x):
        below = jnp.take_along_axis(distributions(x, highest), n[None], axis=0)[0] < u
        return x + jnp.where(below, edge, -edge) * 0.5 ** (i + 1).astype(u.dtype)

    return jax.lax.fori_loop(0, digits, halve, jnp.zeros_like(u))


def oscillators(cell: OpenSpace, cutoff: float) -> Oscillators:
    """All orbitals with up to `cutoff` quanta: by ascending quanta q, then, in 2D, by descending |m|, cosine before sine."""
    levels = range(math.floor(cutoff) + 1)
    if cell.dim == 3:
        quanta = [[(i, j, q - i - j)] for q in levels for i in range(q + 1) for j in range(q + 1 - i)]
        return Oscillators(np.array(quanta), np.ones((len(quanta), 1)), cell)
    quanta = np.array([[(min(c, q), max(q - c, 0)) for c in range(len(levels))] for q in levels for _ in range(q + 1)])
    rows = [row for q in levels for m in range(q, -1, -2) for row in angular_momentum(q, m)]
    return Oscillators(quanta, np.array([np.pad(row, (0, len(levels) - len(row))) for row in rows]), cell)


def angular_momentum(q: int, m: int) -> list[Float[np.ndarray, " q+1"]]:
    """The cosine and, for m > 0, the sine state of q quanta and angular momentum m: coefficients of n_x = 0 ... q."""
    plus, minus = (q + m) // 2, (q - m) // 2
    x, y = np.array([0, 1], complex), np.array([1, 0], complex)  # polynomials in a_x^dagger, at a_y^dagger = 1
    state = np.ones(1, complex)
    for factor in [x + 1j * y] * plus + [x - 1j * y] * minus:
        state = np.convolve(state, factor)
    log_norm = 0.5 * np.array([math.lgamma(n + 1) + math.lgamma(q - n + 1) for n in range(q + 1)])
    log_norm -= 0.5 * (q * math.log(2) + math.lgamma(plus + 1) + math.lgamma(minus + 1))
    state = state * np.exp(log_norm)
    return [state.real] if m == 0 else [math.sqrt(2) * state.real, math.sqrt(2) * state.imag]


def fermi_quanta(num_electrons: tuple[int, int], dim: int) -> int:
    """The quanta of the highest orbital that the ground state of the larger species fills."""
    n = 0
    while math.comb(n + dim, dim) < max(num_electrons):
        n += 1
    return n
