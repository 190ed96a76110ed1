"""Pairs of electrons: r_ij = r_i - r_j, spin channels (same spin, opposite spin), and a network for them."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from pnct.networks.pair_mlp import PairMLP, pair_mlp
from pnct.space import Space


def displacements(R: Float[ArrayLike, "N dim"]) -> Float[Array, "N N dim"]:
    """r_ij = r_i - r_j."""
    return R[:, None, :] - R[None, :, :]


def members(space: Space) -> Float[np.ndarray, "S N"]:
    """1 where electron i belongs to the occupied species s."""
    return np.stack([np.isin(np.arange(space.N), np.arange(space.N)[s]) for s in space.species]).astype(float)


def spin_channels(space: Space) -> Bool[np.ndarray, "G S S"]:
    """Which pairs of species are of each spin channel: same spin, and opposite spin, as far as there are such
    pairs (G = 1 or 2).

    The species enter alike, so what is built on the channels does not change when up and down exchange names.
    """
    same = np.eye(len(space.species), dtype=bool)
    if space.num_electrons == (1, 1):
        return ~same[None]
    return same[None] if len(same) == 1 else np.stack([same, ~same])


def is_parallel(space: Space) -> Bool[np.ndarray, " G"]:
    """Which spin channels are those of the same spin."""
    return spin_channels(space)[:, 0, 0]


def channel_pairs(space: Space) -> Bool[np.ndarray, "G N N"]:
    """Which pairs of electrons i, j != i belong to each spin channel."""
    species = np.argmax(members(space), axis=0)
    return spin_channels(space)[:, species[:, None], species] & ~np.eye(space.N, dtype=bool)


def unique_pairs(space: Space) -> list[tuple[Int[np.ndarray, " P"], Int[np.ndarray, " P"]]]:
    """The electrons i < j of every pair, in one entry per spin channel."""
    return [np.nonzero(np.triu(related)) for related in channel_pairs(space)]


def pair_network(key: Array, space: Space, depth: int, width: int) -> PairMLP:
    """eta_gm of the even features of a pair, for every spin channel g and direction m of the space."""
    origin = np.zeros((1, space.dim))
    features = space.even_features(origin, space.L).shape[-1]
    directions = space.directions(origin, space.L).shape[-2]
    return pair_mlp(key, len(spin_channels(space)), features, depth, width, directions)


def along_directions(
    eta: Float[Array, "*pairs M"], space: Space, r: Float[Array, "*pairs dim"]
) -> Float[Array, "*pairs dim"]:
    """sum_m eta_m d_m(r), d_m the directions of the space."""
    return jnp.sum(eta[..., None] * space.directions(r, space.L), axis=-2)


def scatter(tau: Float[Array, "N N d H"]) -> Float[Array, "N N*d H"]:
    """The derivative of sum_j f(r_ij) by all coordinates: -tau_ij at j, sum_j tau_ij at i, tau = df/dr_ij."""
    N, _, d, H = tau.shape
    own = jnp.where(expand(np.eye(N, dtype=bool), tau), jnp.sum(tau, axis=1, keepdims=True), 0)
    return (own - tau).reshape(N, N * d, H)


def expand(mask, like):
    """The mask with trailing axes, to broadcast against `like`."""
    return mask.reshape(mask.shape + (1,) * (like.ndim - mask.ndim))
