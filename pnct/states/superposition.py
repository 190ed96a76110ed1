r"""States that are superpositions of several determinants,  Phi_K = sum_t c_t D_t:  what their kinds have in
common.

With the gradients s_t and the Hessians S_t of each ln D_t and the weights w_t = c_t D_t/Phi, those of ln Phi
are

    s = sum_t w_t s_t,    S = sum_t w_t (S_t + s_t s_t^T) - s s^T

A superposition is no determinantal point process. Where its electrons are few, they are drawn one after the
other all the same (pnct.states.electron_by_electron); where they are many,

    |sum_t c_t D_t|^2 <= c sum_t |c_t| |D_t|^2,    c = sum_t |c_t|

so a sample of one of them, chosen with the chances |c_t|/c, is accepted with the ratio of the two sides: once
in c^2 times on average, and c^2 is at most their number.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Complex, Float, Int

from pnct.orbitals.base import orbital_values
from pnct.states.base import DeterminantExpansion, StateDerivatives, check_shapes, log_norm
from pnct.states.electron_by_electron import few_enough_sets, sample_electron_by_electron
from pnct.states.projection_dpp import sample_species
from pnct.states.slater import SlaterDeterminants, determinant_derivatives, log_det, orbital_matrices

MAX_TRIALS = 1024  # the chance to need more is below exp(-1024/t) for t determinants


class Superposition(DeterminantExpansion):
    """States of several determinants. A kind of them is a subclass with `orbitals` and `determinants`."""

    def log_amplitude(self, K: Int[ArrayLike, " N"], zeta: Float[ArrayLike, "N dim"]) -> Complex[Array, ""]:
        """ln sum_t c_t D_t"""
        check_shapes(self.space, K, zeta)
        c, Ks = self.determinants(K)
        matrices = [
            orbital_values(self.orbitals.of_species(s), Ks[:, i], zeta[i])
            for s, i in enumerate(self.space.species)
        ]
        parts = [jax.vmap(log_det, in_axes=1)(D) for D in matrices]
        return log_sum(c, sum(parts) - log_norm(self.space))

    def derivatives(self, K: Int[ArrayLike, " N"], zeta: Float[ArrayLike, "N dim"]) -> StateDerivatives:
        """From those of each determinant."""
        check_shapes(self.space, K, zeta)
        c, Ks = self.determinants(K)
        matrices = orbital_matrices(self.orbitals, Ks, zeta)
        return superposed(c, jax.vmap(partial(determinant_derivatives, self.space))(matrices))

    def sample(self, key: Array, K: Int[ArrayLike, " N"], dtype) -> Float[Array, "N dim"]:
        """Electron by electron where there are few enough sets of orbitals, else by rejection."""
        c = jax.eval_shape(self.determinants, K)[0]
        few = few_enough_sets(len(c), self.space.num_electrons)
        draw = sample_electron_by_electron if few else sample_superposition
        return draw(key, self, K, dtype)


def log_sum(c: Float[Array, " t"], logs: Complex[Array, " t"]) -> Complex[Array, ""]:
    """ln sum_t c_t exp(logs_t)."""
    largest = jax.lax.stop_gradient(jnp.max(logs.real))
    return largest + jnp.log(jnp.sum(c.astype(logs.real.dtype) * jnp.exp(logs - largest)))


def superposed(c: Float[Array, " t"], each: StateDerivatives) -> StateDerivatives:
    """Of sum_t c_t Phi_t from those of each ln Phi_t, along the first axis."""
    value = log_sum(c, each.log_amplitude)
    w = c.astype(each.log_amplitude.real.dtype) * jnp.exp(each.log_amplitude - value)
    s = jnp.tensordot(w, each.gradient, 1)
    products = each.hessian + jnp.einsum("tia,tjb->tiajb", each.gradient, each.gradient)
    return StateDerivatives(value, s, jnp.tensordot(w, products, 1) - jnp.einsum("ia,jb->iajb", s, s))


def sample_superposition(
    key: Array, states: DeterminantExpansion, K: Int[ArrayLike, " N"], dtype
) -> Float[Array, "N dim"]:
    """One exact sample of |sum_t c_t D_t|^2, by rejection from a mixture of its determinants.
    Shape (N, dim).
    """
    c, Ks = states.determinants(K)
    c = c.astype(dtype)
    size = jnp.abs(c)
    each = SlaterDeterminants(states.orbitals)

    def unfinished(state):
        _, accepted, trials = state
        return ~accepted & (trials < MAX_TRIALS)

    def attempt(state):
        _, _, trials = state
        draw, choice, threshold = jax.random.split(jax.random.fold_in(key, trials), 3)
        r = sample_species(draw, states.orbitals, Ks[jax.random.categorical(choice, jnp.log(size))], dtype)
        logs = jax.vmap(lambda K: each.log_amplitude(K, r))(Ks)
        D = jnp.exp(logs - jnp.max(jnp.where(size > 0, logs.real, -jnp.inf)))
        D = jnp.where(size > 0, D, 0)
        bound = jnp.sum(size) * jnp.sum(size * jnp.abs(D) ** 2)
        accepted = jax.random.uniform(threshold, dtype=dtype) * bound < jnp.abs(jnp.sum(c * D)) ** 2
        return r, accepted, trials + 1

    start = (
        jnp.zeros((states.space.N, states.space.dim), dtype),
        jnp.zeros((), bool),
        jnp.zeros((), jnp.int32),
    )
    r, accepted, _ = jax.lax.while_loop(unfinished, attempt, start)
    return jnp.where(accepted, r, jnp.nan)
