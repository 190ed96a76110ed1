r"""Slater-Jastrow states that are normalised, orthogonal to each other, and drawn exactly.

The electrons of the second species, at r_i, see those of the first one, at A_j, through a factor g(r; A) of
few waves (pnct.states.jastrow), so that the overlaps of the products g phi_m of all orbitals of the table,
plane waves or combinations of them, are finite sums,

    S_ml(A) = int phi_m^* g^2 phi_l dr,   of plane waves  (1/V) int g^2 exp(i (k_l - k_m).r) dr,
    S = C C^+ (Cholesky).

With C^-+ the inverse of the adjoint of C, the orbitals chi_l = g sum_{m <= l} phi_m (C^-+)_ml are orthonormal
for every A, and

    Phi_K(A, r) = Phi_{K_1}(A) det[chi_l(r_i; A)]_{l in K_2}/n_2!^{1/2}

are orthonormal states of the total momentum of K. Given A, the electrons of the second species are a
projection determinantal point process (pnct.states.projection_dpp), so they are drawn after those of the
first. Where K_2 are the lowest orbitals of the table, Phi_K is that of free electrons times
prod_i g(r_i; A)/(det S)^{1/2}, S of these. A flow that makes the hole around electrons of the other spin
compresses the waves of the orbitals and moves the nodes; g does neither.

Few columns of C^-+ are asked for, and each is a solution: with S_l the block of the orbitals up to l,

    y = S_l^-1 e_l,    (C^-+)_{.l} = y/y_l^{1/2},

whose derivatives to any order are solutions with the same block, where those of a Cholesky factor would cost
M^3 for each coordinate of A.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, Int

from pnct.orbitals.base import SpeciesOrbitals
from pnct.orbitals.plane_waves import CombinedWaves
from pnct.space import Cell
from pnct.states.base import StateDerivatives, States, check_shapes, log_norm
from pnct.states.jastrow import Jastrow, along_every_axis, waves_on_axis
from pnct.states.projection_dpp import sample
from pnct.states.slater import SlaterDeterminants, log_det

PROPOSALS = 32  # per round: the bound is a few times larger than the density


class SlaterJastrow(States):
    """The states of `orbitals`, plane waves or combinations of them, whose second species sees the first one
    through the factor `jastrow`.
    """

    orbitals: CombinedWaves
    jastrow: Jastrow

    def __check_init__(self):
        if not isinstance(self.orbitals, CombinedWaves) or not isinstance(self.jastrow, Jastrow):
            got = f"{type(self.orbitals).__name__} and {type(self.jastrow).__name__}"
            raise ValueError(
                f"Expected plane waves or bands, and a module that jastrow(cell) makes; got {got}."
            )

    def log_amplitude(self, K: Int[ArrayLike, " N"], zeta: Float[ArrayLike, "N dim"]) -> Complex[Array, ""]:
        """The sum over species of ln det/(n!)^(1/2), of phi and of chi."""
        check_shapes(self.space, K, zeta)
        first, second = self.space.species
        G = self.jastrow.amplitudes(zeta[first])
        S = self.overlaps(G)
        inverse = self.inverse_factor(jax.lax.stop_gradient(S))
        columns = jax.vmap(lambda l: self.column(S, inverse, l))(jnp.asarray(K[second])).T
        parts = [log_det(self.orbitals.matrix(K[first], zeta[first]))]
        parts.append(log_det(self.combined(G, self.orbitals.in_waves(columns), zeta[second])))
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
        return ConditionalOrbitals(self, G, self.orbitals.in_waves(self.inverse_factor(self.overlaps(G))))

    def combined(
        self, G: Complex[Array, " Q"], mixing: Complex[Array, "M n"], r: Float[ArrayLike, "p dim"]
    ) -> Complex[Array, "p n"]:
        """g(r) times combinations of the plane waves."""
        waves = self.orbitals.waves.matrix(jnp.arange(len(self)), r)
        return (waves @ mixing) * self.jastrow.factor(G, r)[:, None]

    def inverse_factor(self, S: Complex[Array, "M M"]) -> Complex[Array, "M M"]:
        """C^-+ of the orbitals, from the overlaps of the plane waves."""
        orbitals = self.orbitals
        C = jnp.linalg.cholesky(orbitals.from_waves(orbitals.from_waves(S).conj().T))
        eye = jnp.eye(len(self), dtype=C.dtype)
        return jax.scipy.linalg.solve_triangular(C, eye, lower=True).conj().T

    def column(
        self, S: Complex[Array, "M M"], inverse: Complex[Array, "M M"], l: Int[ArrayLike, ""]
    ) -> Complex[Array, " M"]:
        """Column l of C^-+ of the orbitals, with the derivatives that follow from those of S. inverse: all of
        it, without derivatives.
        """
        orbitals = self.orbitals
        below = jnp.arange(len(self)) <= l

        def product(x):
            """S_l x, and the rest of x."""
            return jnp.where(below, orbitals.from_waves(S @ orbitals.in_waves(jnp.where(below, x, 0))), x)

        def solution(_, b):
            return jnp.where(
                below, inverse @ jnp.where(below, inverse.conj().T @ jnp.where(below, b, 0), 0), b
            )

        def transposed_solution(_, b):
            return solution(_, b.conj()).conj()

        e = (jnp.arange(len(self)) == l).astype(S.dtype)
        y = jax.lax.custom_linear_solve(product, e, solution, transposed_solution)
        return y / jnp.sqrt(y[l].real)

    def overlaps(self, G: Complex[Array, " Q"]) -> Complex[Array, "M M"]:
        """S of the plane waves, from the amplitudes of g."""
        indices = self.orbitals.waves.indices
        n = np.round(indices - indices[0]).astype(int)
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
    mixing: Complex[Array, "M M"]  # of the plane waves; C^-+ where these are the orbitals

    @property
    def space(self) -> Cell:
        """Where the electrons live."""
        return self.states.space

    def __len__(self) -> int:
        return len(self.states)

    def matrix(self, K: Int[ArrayLike, " n"], r: Float[ArrayLike, "p dim"]) -> Complex[Array, "p n"]:
        """chi_l(r_i) for the orbitals K."""
        return self.states.combined(self.amplitudes, self.mixing[:, K], r)

    def propose(
        self, K: Int[ArrayLike, " n"], u: Float[Array, "p dim"], weights: Float[Array, " n"] | None = None
    ) -> tuple[Float[Array, "p dim"], Float[Array, " p"]]:
        """Points of the unit cube scaled to the cell, and a bound of sum_l w_l |chi_l|^2."""
        _, uniform = self.states.orbitals.waves.propose(jnp.arange(1), u)
        each = jnp.sum(jnp.abs(self.mixing[:, K]), axis=0) ** 2
        weight = jnp.sum(each if weights is None else weights * each)
        return self.space.L * u, uniform * weight * self.states.jastrow.largest(self.amplitudes) ** 2
