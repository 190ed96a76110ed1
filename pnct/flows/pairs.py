r"""Pairs in a periodic cell: smooth features of r_ij = r_i - r_j, and which electrons are related to which.

With kappa = 2 pi/L the features of a pair are

    cos(kappa r_b),   sin(kappa r_b),   s = [sum_b sin^2(kappa r_b/2)]^(1/2),   s sin(kappa r_b)

periodic, and smooth but for r = 0, where s ~ |r| and s sin(kappa r) ~ |r| r let the flow form the electrons' cusps: the
divergence of the latter is proportional to |r|. (|sin(kappa r)| in the place of s would have cusps at L/2 too.)
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from pnct.orbitals import Cell


def displacements(R: Float[Array, "N dim"]) -> Float[Array, "N N dim"]:
    """r_ij = r_i - r_j."""
    return R[:, None, :] - R[None, :, :]


def chord(r: Float[Array, "*pairs dim"], L: float) -> Float[Array, "*pairs 1"]:
    """s = |sin(pi r/L)|, with all derivatives zero at r = 0, where they do not exist."""
    q = jnp.sum(jnp.sin((np.pi / L) * r) ** 2, axis=-1, keepdims=True)
    return jnp.where(q > 0, jnp.sqrt(jnp.where(q > 0, q, 1)), 0)


def even_features(r: Float[Array, "*pairs dim"], L: float) -> Float[Array, "*pairs dim+1"]:
    """[cos(2 pi r/L), s]: the features that do not change under r -> -r."""
    return jnp.concatenate([jnp.cos((2 * np.pi / L) * r), chord(r, L)], axis=-1)


def features(r: Float[Array, "*pairs dim"], L: float) -> Float[Array, "*pairs 3*dim+1"]:
    """[cos(2 pi r/L), sin(2 pi r/L), s, s sin(2 pi r/L)]."""
    sine, s = jnp.sin((2 * np.pi / L) * r), chord(r, L)
    return jnp.concatenate([jnp.cos((2 * np.pi / L) * r), sine, s, s * sine], axis=-1)


def members(cell: Cell) -> Float[np.ndarray, "S N"]:
    """1 where electron i belongs to the occupied species s."""
    return np.stack([np.isin(np.arange(cell.N), np.arange(cell.N)[s]) for s in cell.species]).astype(float)


def relations(cell: Cell) -> Bool[np.ndarray, "G S S"]:
    """Which species are related: by same spin, and by opposite spin, as far as the cell has such pairs (G = 1 or 2).

    The species enter alike, so what is built on relations does not change when up and down exchange their names.
    """
    same = np.eye(len(cell.species), dtype=bool)
    if cell.num_electrons == (1, 1):
        return ~same[None]
    return same[None] if len(same) == 1 else np.stack([same, ~same])


def related_pairs(cell: Cell) -> Bool[np.ndarray, "G N N"]:
    """Which pairs of electrons i, j != i stand in each relation."""
    species = np.argmax(members(cell), axis=0)
    return relations(cell)[:, species[:, None], species] & ~np.eye(cell.N, dtype=bool)


def scatter(tau: Float[Array, "N N d H"]) -> Float[Array, "N N*d H"]:
    """The derivative of sum_j f(r_ij) by all coordinates, from tau = df/dr_ij: -tau_ij at j, sum_j tau_ij at i."""
    N, _, d, H = tau.shape
    own = jnp.where(expand(np.eye(N, dtype=bool), tau), jnp.sum(tau, axis=1, keepdims=True), 0)
    return (own - tau).reshape(N, N * d, H)


def expand(mask, like):
    """The mask with trailing axes, to broadcast against `like`."""
    return mask.reshape(mask.shape + (1,) * (like.ndim - mask.ndim))
