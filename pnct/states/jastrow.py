r"""A factor of few waves by which the electrons of one species see those of another one, at A_j:

g(r; A) = 1 + sum_j h(r - A_j),    h(r) = sum_{0 < |q| <= q_max} h_|q| cos(q.r),    q L/2 pi integers
"""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, Int

from pnct.orbitals.plane_waves import integer_vectors
from pnct.space import Cell
from pnct.validation import checked_number

OVERSAMPLING = 8  # points of the grid on which g is bounded, in units of the largest wave number of h


class Jastrow(eqx.Module):
    """h by its coefficients, one for each length of q, in the order of the lengths. At zero g is 1."""

    coefficients: Float[Array, " shells"]
    space: Cell = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)

    @property
    def waves(self) -> Int[np.ndarray, "Q dim"]:
        """The integer vectors of the waves of h, one of q and -q."""
        return half_of_the_waves(self.space, self.cutoff)

    @property
    def largest_wave(self) -> int:
        """m, of any component."""
        return int(np.max(np.abs(self.waves)))

    def amplitudes(self, A: Float[Array, "n dim"]) -> Complex[Array, " Q"]:
        """G_q = h_q sum_j exp(-i q.A_j) of g(r) = 1 + 2 Re sum_q G_q exp(i q.r)."""
        _, shell = np.unique(np.sum(self.waves**2, axis=1), return_inverse=True)
        phase = self.phases(A)
        rho = jax.lax.complex(jnp.sum(jnp.cos(phase), axis=0), -jnp.sum(jnp.sin(phase), axis=0))
        return self.coefficients[shell].astype(A.dtype) * rho

    def factor(self, G: Complex[Array, " Q"], r: Float[ArrayLike, "p dim"]) -> Float[Array, " p"]:
        """g at the points r."""
        phase = self.phases(r)
        return 1 + 2 * (jnp.cos(phase) @ G.real - jnp.sin(phase) @ G.imag)

    def on_grid(self, G: Complex[Array, " Q"], points: int) -> Float[Array, "*points"]:
        """g on a grid of so many points along every axis, from the origin."""
        m = self.largest_wave
        dim = self.space.dim
        box = jnp.zeros((2 * m + 1,) * dim, G.dtype).at[(m,) * dim].set(1)
        box = box.at[tuple(m + self.waves.T)].set(G).at[tuple(m - self.waves.T)].set(G.conj())
        return along_every_axis(box, waves_on_axis(m, points).T).real

    def largest(self, G: Complex[Array, " Q"]) -> Float[Array, ""]:
        """No |g| is larger: a sum of waves up to m exceeds its values on N points per axis by 1/cos(pi m/N)
        at most.

        Ehlich, Zeller, Math. Z. 86, 41 (1964).
        """
        on_grid = jnp.max(jnp.abs(self.on_grid(G, OVERSAMPLING * self.largest_wave)))
        beyond = math.cos(math.pi / OVERSAMPLING) ** -self.space.dim
        return jnp.minimum(beyond * on_grid, 1 + 2 * jnp.sum(jnp.abs(G)))

    def phases(self, r: Float[ArrayLike, "p dim"]) -> Float[Array, "p Q"]:
        """q.r"""
        return r @ jnp.asarray((2 * np.pi / self.space.L) * self.waves.T, r.dtype)


def waves_on_axis(m: int, points: int) -> Complex[np.ndarray, "{points} 2*{m}+1"]:
    """exp(2 pi i n x/points) on a grid, for n = -m ... m. Sums over the waves of one axis after another need
    no library's FFT.
    """
    return np.exp((2j * np.pi / points) * np.outer(np.arange(points), np.arange(-m, m + 1)))


def along_every_axis(
    x: Complex[Array, "*before"], matrix: Complex[np.ndarray, "before after"]
) -> Complex[Array, "*after"]:
    """x with every axis multiplied by the matrix."""
    for _ in range(x.ndim):
        x = jnp.tensordot(
            x, matrix.astype(x.dtype), (0, 0)
        )  # the new axis is the last one: in the end all are in order
    return x


def half_of_the_waves(space: Cell, cutoff: float) -> Int[np.ndarray, "Q dim"]:
    """All integer vectors 0 < |n|^2 <= cutoff, one of n and -n, shortest first."""
    n = integer_vectors(space.dim, (0.0,) * space.dim, cutoff).astype(int)
    first = np.argmax(n != 0, axis=1)
    return n[n[np.arange(len(n)), first] > 0]


def jastrow(space: Cell, cutoff: float = 24.0) -> Callable[[Array], Jastrow]:
    """A function key -> Jastrow, at first g = 1. cutoff: of (q L/2 pi)^2; the shortest wave has
    L/cutoff^(1/2).
    """
    if not isinstance(space, Cell) or min(space.num_electrons) == 0:
        raise ValueError(f"Expected a periodic cell with electrons of both spins; got {space!r}.")
    cutoff = checked_number("cutoff", cutoff, lambda x: x >= 1, ">= 1")
    shells = len(np.unique(np.sum(half_of_the_waves(space, cutoff) ** 2, axis=1)))
    return lambda key: Jastrow(jnp.zeros(shells), space, cutoff)
