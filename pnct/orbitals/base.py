"""Lists of orbitals that may name one many times: their values at a point, and their weights in
an envelope.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num


def orbital_values(orbitals, Ks: Int[Array, "t n"], r: Float[Array, "p dim"]) -> Num[Array, "p t n"]:
    """phi_l(r) of every orbital in a list that may name it many times. Shape (p, t, n)."""
    if Ks.size <= len(orbitals):
        return orbitals.matrix(Ks.ravel(), r).reshape(len(r), *Ks.shape)
    return orbitals.matrix(jnp.arange(len(orbitals)), r)[:, Ks]


def deduplicated(
    orbitals, K: Int[Array, " k"], weights: Float[Array, " k"]
) -> tuple[Int[Array, " m"], Float[Array, " m"]]:
    """A list of orbitals with their shares in an envelope, or the whole table with the sums of these, where
    that is shorter.
    """
    if K.size <= len(orbitals):
        return K, weights
    return jnp.arange(len(orbitals)), jnp.zeros(len(orbitals), weights.dtype).at[K].add(weights)
