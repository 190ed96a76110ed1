r"""Orbitals of the harmonic oscillator  -nabla^2/2 + r^2/2,  from products of phi_n(x) along the axes.

    phi_0 = pi^{-1/4} exp(-x^2/2),   phi_{n+1} = sqrt(2/(n+1)) x phi_n - sqrt(n/(n+1)) phi_{n-1}

a recursion that is stable upwards. Since (phi_n phi_{n-1})' = sqrt(2n) (phi_{n-1}^2 - phi_n^2), the distribution function of
phi_n^2, from which its samples are drawn, is closed too:

    P_n(x) = (1 + erf x)/2 - sum_{k=1}^n phi_k phi_{k-1}/sqrt(2k)

In two dimensions the orbitals are states of angular momentum m, and determinants of them states of its total, which the
interaction does not mix: with the quanta n_+ + n_- = q, m = n_+ - n_-, and a_x^dagger, a_y^dagger the quanta along the axes,

    (a_x^dagger + i a_y^dagger)^n_+ (a_x^dagger - i a_y^dagger)^n_- |0> / (2^q n_+! n_-!)^(1/2),

that is complex sums of the products with n_x + n_y = q. In three dimensions they are the products themselves.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int, Num

from pnct.space import OpenSpace


class Oscillators(eqx.Module):
    """A table of oscillator orbitals in open space, lowest energy first: sums of up to C products along the axes.

    quanta: (M, C, dim) whole numbers of the products.  coefficients: (M, C), rows of length one, zero beyond the last product.
    angular_momenta: (M,), in two dimensions.
    """

    quanta: Int[np.ndarray, "M C dim"]
    coefficients: Num[np.ndarray, "M C"]
    angular_momenta: Int[np.ndarray, " M"] | None
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
    def features(self) -> Float[np.ndarray, "M F"]:
        """What a network is told of an orbital: m and |m|, or its quanta along each axis, and all of its quanta."""
        m = self.angular_momenta
        numbers = self.quanta[:, 0] if m is None else np.stack([m, np.abs(m)], axis=-1)
        scale = max(1.0, fermi_quanta(self.cell.num_electrons, self.cell.dim))
        return np.concatenate([numbers, self.levels[:, None]], axis=-1) / scale

    def of_species(self, s: int) -> "Oscillators":
        """The orbitals of the s-th occupied species: all species have the same."""
        return self

    def quantum_numbers(self, K: Int[Array, " N"]) -> Float[Array, " q"]:
        """In two dimensions the total angular momentum M = sum_l m_l of the occupied orbitals of all species; else nothing."""
        m = np.zeros((len(self), 0)) if self.angular_momenta is None else self.angular_momenta[:, None].astype(float)
        return jnp.sum(jnp.asarray(m)[K], axis=0)

    def matrix(self, K: Int[Array, " n"], r: Float[Array, "p dim"]) -> Num[Array, "p n"]:
        """D_il = phi_l(r_i) for the orbitals K, at the positions r."""
        products = self.products(jnp.asarray(self.quanta)[K], r)
        dtype = jnp.result_type(r.dtype, jnp.complex64) if np.iscomplexobj(self.coefficients) else r.dtype
        return jnp.einsum("lc,lcp->pl", jnp.asarray(self.coefficients, dtype)[K], products)

    def propose(
        self, K: Int[Array, " n"], u: Float[Array, "p dim"], shares: Float[Array, " n"] | None = None
    ) -> tuple[Float[Array, "p dim"], Float[Array, " p"]]:
        """Points of the density g/int g from points of the unit cube, and g, an envelope of sum_l share_l |phi_l|^2, shares 1.

        By the inequality of Cauchy and Schwarz, |sum_c U_c p_c|^2 <= g = (sum_c |U_c|) sum_c |U_c| p_c^2.
        """
        quanta, size = jnp.asarray(self.quanta)[K], jnp.asarray(np.abs(self.coefficients), u.dtype)[K]
        weights = size * jnp.sum(size, axis=1, keepdims=True)
        if shares is not None:
            weights = shares[:, None] * weights
        # The first number names the product, and what is left of it is uniform again.
        total = jnp.cumsum(weights.ravel())
        point = u[:, 0] * total[-1]
        chosen = jnp.minimum(jnp.searchsorted(total, point, side="right"), total.size - 1)
        share = weights.ravel()[chosen]
        rest = jnp.clip(1 - (total[chosen] - point) / jnp.where(share > 0, share, 1), 0, 1)
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
    """All orbitals with up to `cutoff` quanta: by ascending quanta q, then, in 2D, by descending |m|, m > 0 before m < 0."""
    levels = range(math.floor(cutoff) + 1)
    if cell.dim == 3:
        quanta = [[(i, j, q - i - j)] for q in levels for i in range(q + 1) for j in range(q + 1 - i)]
        return Oscillators(np.array(quanta), np.ones((len(quanta), 1)), None, cell)
    quanta = np.array([[(min(c, q), max(q - c, 0)) for c in range(len(levels))] for q in levels for _ in range(q + 1)])
    states = [(q, m) for q in levels for m in sorted(range(-q, q + 1, 2), key=lambda m: (-abs(m), -m))]
    rows = [np.pad(angular_momentum(q, m), (0, len(levels) - q - 1)) for q, m in states]
    return Oscillators(quanta, np.array(rows), np.array([m for _, m in states]), cell)


def angular_momentum(q: int, m: int) -> Complex[np.ndarray, " q+1"]:
    """The state of q quanta and angular momentum m: coefficients of n_x = 0 ... q."""
    plus, minus = (q + m) // 2, (q - m) // 2
    x, y = np.array([0, 1], complex), np.array([1, 0], complex)  # polynomials in a_x^dagger, at a_y^dagger = 1
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
