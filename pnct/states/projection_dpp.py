r"""Exact independent samples of one Slater determinant,  zeta ~ |det D|^2,  D_il = phi_l(zeta_i).

This density is a projection determinantal point process. Its electrons can be drawn one after the other:
propose r from an envelope g(r) >= sum_l |phi_l(r)|^2 of the orbitals, v_l = phi_l(r)/g(r)^(1/2), and accept
with probability

    |v|^2 - |Q v|^2,    Q = the orthonormal vectors of the electrons placed so far,

then append the normalised residual of v to Q. For plane waves g = n/V is exact, and n electrons take n (1 +
1/2 + ... + 1/n) proposals on average. Each configuration advances at its own pace, by at most one electron in
every round of several proposals. Species are independent.

Hough, Krishnapur, Peres, Virag, Probability Surveys 3, 206 (2006), algorithm 18.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pnct.orbitals.base import Orbitals, SpeciesOrbitals

PROPOSALS = 8  # per round
MAX_ROUNDS = 512  # per electron: the chance to need more is exp(-4096) for plane waves


def sample_species(key: Array, orbitals: Orbitals, K: Int[ArrayLike, " N"], dtype) -> Float[Array, "N dim"]:
    """One exact sample of |Phi_K|^2 of one determinant for each species. Shape (N, dim)."""
    species = orbitals.space.species
    keys = jax.random.split(key, len(species))
    each = [orbitals.of_species(s) for s in range(len(species))]
    return jnp.concatenate([sample(*x, K[i], dtype) for *x, i in zip(keys, each, species, strict=True)])


def sample(
    key: Array, orbitals: SpeciesOrbitals, K: Int[ArrayLike, " n"], dtype, proposals: int = PROPOSALS
) -> Float[Array, "n dim"]:
    """One exact sample of |det phi_l(r_i)|^2, n electrons of one species in the orbitals K. Shape (n, dim).

    nan if the rounds are used up, which happens where an orbital is named twice.
    """
    (n,) = jnp.shape(K)
    dim = orbitals.space.dim
    everyone = jnp.arange(n)

    def unfinished(state):
        _, _, placed, iteration = state
        return (placed < n) & (iteration < MAX_ROUNDS * n)

    def advance(state):
        r, Q, placed, iteration = state
        u = jax.random.uniform(jax.random.fold_in(key, iteration), (proposals, dim + 1), dtype)
        proposed, envelope = orbitals.propose(K, u[:, :dim])
        threshold = u[:, dim]

        v = orbitals.matrix(K, proposed) / jnp.sqrt(envelope)[:, None]
        overlap = v @ Q.conj().T
        accepted = threshold < jnp.sum(jnp.abs(v) ** 2, axis=1) - jnp.sum(jnp.abs(overlap) ** 2, axis=1)
        first = jnp.argmax(accepted)

        residual = v[first] - overlap[first] @ Q
        residual -= (Q.conj() @ residual) @ Q  # once more, against rounding
        here = jnp.any(accepted) & (everyone == placed)
        r = jnp.where(here[:, None], proposed[first], r)
        Q = jnp.where(here[:, None], residual / jnp.linalg.norm(residual), Q)
        return r, Q, placed + jnp.any(accepted), iteration + 1

    Q = jnp.zeros((n, n), jax.eval_shape(orbitals.matrix, K, jnp.zeros((n, dim), dtype)).dtype)
    start = jnp.full((n, dim), jnp.nan, dtype), Q, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
    r, _, placed, _ = jax.lax.while_loop(unfinished, advance, start)
    return jnp.where(placed == n, r, jnp.nan)
