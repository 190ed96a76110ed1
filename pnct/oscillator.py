r"""Orbitals of the harmonic oscillator  -nabla^2/2 + r^2/2:  products of phi_n(x) along the axes, of energy n_1 + ... + dim/2.

    phi_0 = pi^{-1/4} exp(-x^2/2),   phi_{n+1} = sqrt(2/(n+1)) x phi_n - sqrt(n/(n+1)) phi_{n-1}

a recursion that is stable upwards. Since (phi_n phi_{n-1})' = sqrt(2n) (phi_{n-1}^2 - phi_n^2), the distribution function of
phi_n^2, from which its samples are drawn, is closed too:

    P_n(x) = (1 + erf x)/2 - sum_{k=1}^n phi_k phi_{k-1}/sqrt(2k)

Orbitals are listed by ascending n_1 + n_2 + ... and, where that is equal, by ascending (n_1, n_2, ...), first axis first.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pnct.space import OpenSpace


class Oscillators(eqx.Module):
    """A table of real oscillator orbitals in open space, lowest energy first. `quanta`: (M, dim) whole numbers."""

    quanta: Int[np.ndarray, "M dim"]
    cell: OpenSpace

    def __len__(self) -> int:
        return self.quanta.shape[0]

    @property
    def energies(self) -> Float[np.ndarray, " M"]:
        """In units of hbar omega."""
        return np.sum(self.quanta, axis=-1) + self.cell.dim / 2

    @property
    def features(self) -> Float[np.ndarray, "M dim+1"]:
        """What a network is told of an orbital: its quanta along the axes and in all, in units of a filled dot's highest."""
        scale = max(1.0, fermi_quanta(self.cell.num_electrons, self.cell.dim))
        return np.concatenate([self.quanta, np.sum(self.quanta, axis=-1, keepdims=True)], axis=-1) / scale

    def matrix(self, K: Int[Array, " n"], r: Float[Array, "p dim"]) -> Float[Array, "p n"]:
        """D_il = phi_l(r_i) for the orbitals K, at the positions r."""
        phi = hermite_functions(r, int(self.quanta.max()))
        quanta = jnp.asarray(self.quanta)[K]
        return math.prod(phi[quanta[:, b], :, b].T for b in range(self.cell.dim))

    def propose(self, K: Int[Array, " n"], u: Float[Array, "p dim"]) -> Float[Array, "p dim"]:
        """Independent points of the density sum_l |phi_l|^2/n of the orbitals K, from points of the unit cube."""
        # The first number names the orbital, and what is left of it is uniform again.
        scaled = u[:, 0] * len(K)
        l = jnp.minimum(jnp.floor(scaled).astype(int), len(K) - 1)
        u = u.at[:, 0].set(scaled - l)
        return inverse_distribution(jnp.asarray(self.quanta)[K][l], u, int(self.quanta.max()))


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


def oscillator_quanta(dim: int, cutoff: float) -> Int[np.ndarray, "M dim"]:
    """All (n_1, ..., n_dim) with n_1 + ... <= cutoff, in the order that the head of this file defines."""
    axis = np.arange(math.floor(cutoff) + 1)
    n = np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    total = np.sum(n, axis=-1)
    n, total = n[total <= cutoff], total[total <= cutoff]
    return n[np.lexsort((*n.T[::-1], total))]


def fermi_quanta(num_electrons: tuple[int, int], dim: int) -> int:
    """The quanta of the highest orbital that the ground state of the larger species fills."""
    n = 0
    while math.comb(n + dim, dim) < max(num_electrons):
        n += 1
    return n
