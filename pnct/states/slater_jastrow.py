r"""Slater-Jastrow states that are normalised, orthogonal to each other, and drawn exactly.

The electrons of the second species, at r_i, see those of the first one, at A_j, through a factor

    g(r; A) = 1 + sum_j h(r - A_j),    h(r) = sum_{0 < |q| <= q_max} h_|q| cos(q.r),    q L/2 pi integers

of few waves, so that the overlaps of the products g phi_m of all orbitals of the table are finite sums,

    S_ml(A) = int phi_m^* g^2 phi_l dr = (1/V) int g^2 exp(i (k_l - k_m).r) dr,     S = C C^+ (Cholesky).

With C^-+ the inverse of the adjoint of C, the orbitals chi_l = g sum_{m <= l} phi_m (C^-+)_ml are orthonormal
for every A, and

    Phi_K(A, r) = Phi_{K_1}(A) det[chi_l(r_i; A)]_{l in K_2}/n_2!^{1/2}

are orthonormal states of the total momentum of K. Given A, the electrons of the second species are a
projection determinantal point process (pnct.states.projection_dpp), so they are drawn after those of the
first. Where K_2 are the lowest orbitals of the table, Phi_K is that of free electrons times
prod_i g(r_i; A)/(det S)^{1/2}, S of these. A flow that makes the hole around electrons of the other spin
compresses the waves of the orbitals and moves the nodes; g does neither.
"""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, Int

from pnct.orbitals.base import SpeciesOrbitals
from pnct.orbitals.plane_waves import PlaneWaves, integer_vectors
from pnct.space import Cell
from pnct.states.base import StateDerivatives, States, check_shapes, log_norm
from pnct.states.projection_dpp import sample
from pnct.states.slater import SlaterDeterminants, log_det
from pnct.validation import checked_number

PROPOSALS = 32  # per round: the bound is a few times larger than the density
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


class SlaterJastrow(States):
    """The states of plane waves `orbitals` whose second species sees the first one through the
    factor `jastrow`.
    """

    orbitals: PlaneWaves
    jastrow: Jastrow

    def __check_init__(self):
        if not isinstance(self.orbitals, PlaneWaves) or not isinstance(self.jastrow, Jastrow):
            got = f"{type(self.orbitals).__name__} and {type(self.jastrow).__name__}"
            raise ValueError(f"Expected plane waves and a module that jastrow(cell) makes; got {got}.")

    def log_amplitude(self, K: Int[ArrayLike, " N"], zeta: Float[ArrayLike, "N dim"]) -> Complex[Array, ""]:
        """The sum over species of ln det/(n!)^(1/2), of phi and of chi."""
        check_shapes(self.space, K, zeta)
        first, second = self.space.species
        parts = [log_det(self.orbitals.matrix(K[first], zeta[first]))]
        parts.append(log_det(self.given(zeta[first]).matrix(K[second], zeta[second])))
        return sum(parts) - log_norm(self.space)

    def derivatives(self, K: Int[ArrayLike, " N"], zeta: Float[ArrayLike, "N dim"]) -> StateDerivatives:
        """Automatically; where the table is filled, that of what is not a determinant of plane waves only."""
        if not self.is_filled:
            return super().derivatives(K, zeta)
        value = self.log_amplitude(K, zeta)
        free = SlaterDeterminants(self.orbitals).derivatives(K, zeta)
        first = self.space.species[0]
        slope = jax.grad(self.log_factor)
        slope_of_norm = jax.grad(self.log_norm)
        gradient = (free.gradient + slope(zeta)).at[first].add(-slope_of_norm(zeta[first]))
        hessian = (
            (free.hessian + jax.jacfwd(slope)(zeta))
            .at[first, :, first]
            .add(-jax.jacfwd(slope_of_norm)(zeta[first]))
        )
        return StateDerivatives(value, gradient, hessian)

    def sample(self, key: Array, K: Int[ArrayLike, " N"], dtype) -> Float[Array, "N dim"]:
        """The second species among the electrons of the first one."""
        first, second = self.space.species
        keys = jax.random.split(key)
        A = sample(keys[0], self.orbitals, K[first], dtype)
        return jnp.concatenate([A, sample(keys[1], self.given(A), K[second], dtype, PROPOSALS)])

    @property
    def is_filled(self) -> bool:
        """Whether the second species fills the table: then Phi_K is that of free electrons times
        e^{log_factor - log_norm}.
        """
        return len(self) == self.space.num_electrons[1]

    def log_factor(self, zeta: Float[ArrayLike, "N dim"]) -> Float[Array, ""]:
        """sum_i ln|g(r_i; A)|"""
        first, second = self.space.species
        return jnp.sum(
            jnp.log(jnp.abs(self.jastrow.factor(self.jastrow.amplitudes(zeta[first]), zeta[second])))
        )

    def log_norm(self, A: Float[Array, "n dim"]) -> Float[Array, ""]:
        """ln(det S)/2 of the whole table."""
        C = jnp.linalg.cholesky(self.overlaps(self.jastrow.amplitudes(A)))
        return jnp.sum(jnp.log(jnp.diagonal(C).real))

    def given(self, A: Float[Array, "n dim"]) -> "ConditionalOrbitals":
        """The orbitals chi_l(r; A) of the second species."""
        G = self.jastrow.amplitudes(A)
        C = jnp.linalg.cholesky(self.overlaps(G))
        eye = jnp.eye(len(self), dtype=C.dtype)
        return ConditionalOrbitals(self, G, jax.scipy.linalg.solve_triangular(C, eye, lower=True).conj().T)

    def overlaps(self, G: Complex[Array, " Q"]) -> Complex[Array, "M M"]:
        """S of the orbitals of the table, from the amplitudes of g."""
        n = np.round(self.orbitals.indices - self.orbitals.indices[0]).astype(int)
        differences = n[:, None] - n
        reach = int(np.max(np.abs(differences)))
        points = (
            2 * self.jastrow.largest_wave + reach + 1
        )  # as many as make the sums over the grid exact integrals
        square = self.jastrow.on_grid(G, points).astype(G.dtype) ** 2
        waves = along_every_axis(square, waves_on_axis(reach, points).conj() / points)
        return waves[tuple(np.moveaxis(reach + differences, -1, 0))]


class ConditionalOrbitals(SpeciesOrbitals):
    """chi_l for given A: the orbitals of the second species."""

    states: SlaterJastrow
    amplitudes: Complex[Array, " Q"]
    mixing: Complex[Array, "M M"]  # C^-+

    @property
    def space(self) -> Cell:
        """Where the electrons live."""
        return self.states.space

    def __len__(self) -> int:
        return len(self.states)

    def matrix(self, K: Int[ArrayLike, " n"], r: Float[ArrayLike, "p dim"]) -> Complex[Array, "p n"]:
        """chi_l(r_i) for the orbitals K."""
        waves = self.states.orbitals.matrix(jnp.arange(len(self.states)), r)
        return (waves @ self.mixing[:, K]) * self.states.jastrow.factor(self.amplitudes, r)[:, None]

    def propose(
        self, K: Int[ArrayLike, " n"], u: Float[Array, "p dim"], weights: Float[Array, " n"] | None = None
    ) -> tuple[Float[Array, "p dim"], Float[Array, " p"]]:
        """Points of the unit cube scaled to the cell, and a bound of sum_l w_l |chi_l|^2."""
        _, uniform = self.states.orbitals.propose(jnp.arange(1), u)
        each = jnp.sum(jnp.abs(self.mixing[:, K]), axis=0) ** 2
        weight = jnp.sum(each if weights is None else weights * each)
        return self.space.L * u, uniform * weight * self.states.jastrow.largest(self.amplitudes) ** 2


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
