r"""Hessians of the numbers h_ik of the electrons by all D coordinates, held as what they consist of.

Rank-one terms u u^T of the electron's own stream, blocks q_ij of its pair sums, and Hessians of means, which
all the electrons of a species share: N H matrices of D x D numbers are never written out. f_i = sum_j f(r_ij)
has

    Hess f_i   = q_ij at (jj), -q_ij at (ij), (ji), sum_j q_ij at (ii)
    Hess f_i w = -q_ij (w_i - w_j) at j, sum_j q_ij (w_i - w_j) at i

and y = s(z) has Hess y = s' Hess z + s'' u u^T, u = grad z, which adds one rank-one term for each y.
"""

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pnct.compilation import computed_once
from pnct.flows.ferminet.jets import of_symmetric, symmetric_times
from pnct.flows.pairs import scatter, spin_channels
from pnct.networks.layers import residual


class Hessians(NamedTuple):
    """Hess h_ik = sum_n (rank_ink u_in u_in^T + share_ink mean_sn) + (blocks pair_ij..k), i in species s."""

    u: Float[Array, "N D n"]
    rank: Float[Array, "N n H"]
    pair: Float[Array, "N N p H"]
    mean: Float[Array, "S D D m"]
    share: Float[Array, "N m H"]


def of_one_electron(own: Float[Array, "N d d H"]) -> tuple[Float[Array, "N D n"], Float[Array, "N n H"]]:
    """Hessians by the axes of the electron alone, as sums of (e_a + e_b)(e_a + e_b)^T and e_a e_a^T."""
    N, d = own.shape[:2]
    a, b = np.triu_indices(d, 1)
    axes = np.concatenate([np.eye(d), np.eye(d)[a] + np.eye(d)[b]]).T
    u = (np.eye(N)[:, :, None, None] * axes).reshape(N, N * d, -1)
    beside = jnp.sum(own * (1 - np.eye(d))[:, :, None].astype(own.dtype), axis=2)
    rank = jnp.concatenate([jnp.einsum("iaah->iah", own) - beside, own[:, a, b]], axis=1)
    return jnp.asarray(u, own.dtype), rank


def total_of_one_electron(own: Float[Array, "N d d H"], electrons: slice) -> Float[Array, "D D H"]:
    """The sum over some electrons of Hessians by their own axes alone."""
    N, d, _, H = own.shape
    chosen = np.isin(np.arange(N), np.arange(N)[electrons])
    eye = jnp.asarray(np.diag(chosen), own.dtype)[:, None, :, None, None]
    return (eye * own[:, :, None]).reshape(N * d, N * d, H)


def linear(hess: Hessians, V: Float[Array, "H W"]) -> Hessians:
    """The Hessians of sum_k h_ik V_kl."""
    return hess._replace(rank=hess.rank @ V, pair=hess.pair @ V, share=hess.share @ V)


def mixed(flow, layer, hess: Hessians, total) -> tuple[Hessians, Float[Array, "S D D W"] | None]:
    """The Hessians of flow.mix(layer, h): of the own stream, and of the means for each species, if any."""
    groups = spin_channels(flow.space)
    width = layer.bias.size
    if layer.own is None:
        return linear(hess, jnp.zeros((0, width), total.dtype)), None
    means = [
        jnp.tensordot(related.astype(total.dtype), total @ weight, 1) / flow.space.N
        for related, weight in zip(groups, layer.mean, strict=True)
    ]
    return linear(hess, layer.own), sum(means)


def add_elementwise(hess: Hessians, own: Hessians, mean, u, slopes) -> Hessians:
    """The Hessians of h + s(z), or of s(z) alone, from those of z, `own` + `mean`."""
    s1, s2, _ = slopes

    def diagonal(x):
        return x[:, :, None] * jnp.eye(x.shape[1], dtype=x.dtype)

    def extended(x):
        return jnp.pad(x, ((0, 0), (0, u.shape[2]), (0, 0)))

    def join(*parts, axis):
        return jnp.concatenate(parts, axis=axis)

    new = Hessians(
        join(hess.u, u, axis=2),
        residual(extended(hess.rank), join(own.rank * s1[:, None, :], diagonal(s2), axis=1)),
        residual(hess.pair, own.pair * s1[:, None, None, :]),
        hess.mean,
        residual(hess.share, own.share * s1[:, None, :]),
    )
    if mean is None:
        return new
    share = residual(extended(hess.share), join(own.share * s1[:, None, :], diagonal(s1), axis=1))
    return new._replace(mean=join(hess.mean, mean, axis=3), share=share)


def times(hess: Hessians, w: Float[Array, "N D H"], species) -> Float[Array, "N D H"]:
    """(Hess h_ik) w_ik."""
    N, D, H = w.shape
    # Of small matrices XLA multiplies only rows by columns fast.
    ut = computed_once(jnp.swapaxes(hess.u, 1, 2))
    rank = jnp.einsum("iDn,ink->iDk", hess.u, hess.rank * (ut @ w))

    w_ij = w.reshape(N, N, D // N, H)
    w_ii = w_ij[jnp.arange(N), jnp.arange(N)][:, None]
    pair = scatter(symmetric_times(hess.pair, w_ii - w_ij))

    share = [jnp.einsum("DEn,ink,iEk->iDk", hess.mean[s], hess.share[i], w[i]) for s, i in enumerate(species)]
    return rank + pair + jnp.concatenate(share)


def mean_times(mean, w, species) -> Float[Array, "N D H"] | Literal[0]:
    """(Hess of the means) w_ik."""
    if mean is None:
        return 0
    return jnp.concatenate([jnp.einsum("DEk,iEk->iDk", mean[s], w[i]) for s, i in enumerate(species)])


def total_elementwise(own: Hessians, mean, u, slopes, species) -> Float[Array, "S D D H"]:
    """The sums over each species of the Hessians of s(z)."""
    s1, s2, _ = slopes

    def total(s, i):
        rank = jnp.einsum("iDn,ink,iEn->DEk", own.u[i], own.rank[i] * s1[i, None, :], own.u[i])
        new_rank = jnp.einsum("iDk,ik,iEk->DEk", u[i], s2[i], u[i])
        share = own.mean[s] @ jnp.einsum("ink,ik->nk", own.share[i], s1[i])
        q = jnp.zeros_like(own.pair).at[i].set(own.pair[i] * s1[i, None, None, :])
        pair = pair_laplacian(q + jnp.swapaxes(q, 0, 1), u.shape[1] // len(u))
        means = 0 if mean is None else mean[s] * jnp.sum(s1[i], axis=0)
        return rank + new_rank + share + means + pair

    return jnp.stack([total(s, i) for s, i in enumerate(species)])


def pair_laplacian(q: Float[Array, "N N p H"], d: int) -> Float[Array, "D D H"]:
    """The Hessian of a sum over pairs: -q_ij at (ij), sum_j q_ij at (ii), for q_ij = q_ji and q_ii = 0."""
    N, _, _, H = q.shape
    eye = jnp.eye(N, dtype=q.dtype)[:, :, None, None]
    blocks = (eye * jnp.sum(q, axis=1, keepdims=True) - q)[:, :, of_symmetric(d)]
    return jnp.swapaxes(blocks, 1, 2).reshape(N * d, N * d, H)
