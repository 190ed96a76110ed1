r"""The derivatives of a FermiNet flow, exactly, at any depth, and without a loop over coordinates.

Jets (pnct.flows.ferminet.jets) run along the single stream h_i, but for its Hessians. Those of the N H
numbers h_ik are never written out, but held as what they consist of: rank-one terms u u^T of the electron's
own stream, blocks q_ij of its pair sums, and Hessians of means, which all the electrons of a species share.
The jets of a pair term have `dim` components, by r_ij, and f_i = sum_j f(r_ij) has

    grad f_i   = -f'_ij at j, sum_j f'_ij at i
    Lap f_i    = sum_j Lap f_ij
    Hess f_i   = q_ij at (jj), -q_ij at (ij), (ji), sum_j q_ij at (ii)
    Hess f_i w = -q_ij (w_i - w_j) at j, sum_j q_ij (w_i - w_j) at i

In the end zeta = x + h W has D full Hessians H_mu, and with M = J^-1, X = M H, and G = 1, or C C^T along a
frame C,

    g_a = sum_n X_{n, n a},   T1 = sum M_{a mu} d_a (Lap zeta_mu),   T2 = sum X_{k, n a} X_{n, k b} G_ab.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from pnct.flows.base import FlowDerivatives
from pnct.flows.ferminet.jets import Jet, elementwise, pair_jets, single_jet, softplus_derivatives
from pnct.flows.pairs import scatter, spin_channels
from pnct.networks.layers import residual

CACHED = 2**16  # numbers of the D Hessians that are in memory at a time


class Hessians(NamedTuple):
    """Hess h_ik = sum_n (rank_ink u_in u_in^T + share_ink mean_sn) + (blocks pair_ij..k), i in species s."""

    u: Float[Array, "N D n"]
    rank: Float[Array, "N n H"]
    pair: Float[Array, "N N d d H"]
    mean: Float[Array, "S D D m"]
    share: Float[Array, "N m H"]


class Block(NamedTuple):
    """Some electrons m, and what of the Hessians belongs to their axes."""

    electrons: Int[Array, " m"]
    u: Float[Array, "N m d n"]
    pair: Float[Array, "N m d d H"]
    mean: Float[Array, "S D m d w"]


def derivatives(
    flow, R: Float[ArrayLike, "N dim"], frame: Float[Array, "D D"] | None = None
) -> FlowDerivatives:
    """All that the kinetic energy needs of a FermiNet flow at R."""
    N, dim, species = *R.shape, flow.space.species
    D = N * dim
    S = len(species)

    def zeros(*shape):
        return jnp.zeros(shape, R.dtype)

    h, own = single_jet(flow, R, frame)
    H = own.shape[-1]
    u, rank = of_one_electron(own) if H else (zeros(N, D, 0), zeros(N, 0, 0))
    hess = Hessians(u, rank, zeros(N, N, dim, dim, H), zeros(S, D, D, 0), zeros(N, 0, H))
    # the sums of the Hessians over each species
    total = jnp.stack([total_of_one_electron(own, i) for i in species]) if H else zeros(S, D, D, 0)

    for layer, pair in zip(flow.single, pair_jets(flow, R, frame), strict=True):
        z = Jet(
            flow.mix(layer, h.value) + flow.pair_sums(layer, pair.value) + layer.bias,
            flow.mix(layer, h.grad) + scatter(flow.pair_terms(layer, pair.grad)),
            flow.mix(layer, h.lap) + flow.pair_sums(layer, pair.lap),
            flow.mix(layer, h.grad_lap) + scatter(flow.pair_terms(layer, pair.grad_lap)),
        )
        own, mean = mixed(flow, layer, hess, total)
        own = own._replace(pair=own.pair + flow.pair_terms(layer, pair.hess))

        slopes = softplus_derivatives(z.value)
        v = z.grad if frame is None else jnp.tensordot(frame @ frame.T, z.grad, (1, 1)).swapaxes(0, 1)
        Qv = times(own, v, species) + mean_times(mean, v, species)
        h = Jet(*(residual(old, new) for old, new in zip(h, elementwise(z, v, Qv, slopes), strict=True)))
        total = residual(total, total_elementwise(own, mean, z.grad, slopes, species))
        hess = add_elementwise(hess, own, mean, z.grad, slopes)

    return log_det_derivatives(
        R + h.value @ flow.out,
        jnp.eye(D, dtype=R.dtype) + flat(h.grad @ flow.out),
        (h.lap @ flow.out).reshape(D),
        flat(h.grad_lap @ flow.out),
        linear(hess, flow.out),
        species,
        frame,
    )


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


def log_det_derivatives(
    zeta, J, laplacian, grad_laplacian, hess: Hessians, species, frame
) -> FlowDerivatives:
    """g and T1 - T2 from J, Lap zeta (D,), d_a (Lap zeta_mu) (mu, a), and the Hessians of zeta."""
    D = len(J)
    M = jnp.linalg.inv(J)
    scaled = hess.u[:, None] * jnp.swapaxes(hess.rank, 1, 2)[:, :, None, :]

    def along_some_axes(block):
        X = M @ dense(hess, scaled, block, species).reshape(D, -1)
        X = jax.lax.optimization_barrier(X.reshape(D, D, -1) + pair_blocks(M, hess.pair, block))
        g = jnp.sum(X[jnp.arange(D), jnp.arange(D)], axis=0)
        # Added up for each axis first: one long sum would be taken number by number.
        return g, jnp.sum(X * jnp.swapaxes(X, 0, 1), axis=(0, 1)) if frame is None else X

    # Block by block, because D^3 numbers do not fit into a cache.
    g, T2 = jax.lax.map(along_some_axes, blocks(hess))
    if frame is not None:
        X = jnp.moveaxis(T2, 0, 2).reshape(D, D, -1)[:, :, :D] @ frame
        T2 = jnp.einsum("knc,nkc->", X, X)
    T1 = jnp.sum(M.T * grad_laplacian)
    det_sign, log_det = jnp.linalg.slogdet(J)
    return FlowDerivatives(zeta, J, laplacian, log_det, g.reshape(-1)[:D], T1 - jnp.sum(T2), det_sign)


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
    """The Hessians of h + softplus(z), or of softplus(z) alone, from those of z, `own` + `mean`."""
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
        residual(hess.pair, own.pair * s1[:, None, None, None, :]),
        hess.mean,
        residual(hess.share, own.share * s1[:, None, :]),
    )
    if mean is None:
        return new
    share = residual(extended(hess.share), join(own.share * s1[:, None, :], diagonal(s1), axis=1))
    return new._replace(mean=join(hess.mean, mean, axis=3), share=share)


def times(hess: Hessians, w: Float[Array, "N D H"], species) -> Float[Array, "N D H"]:
    """(Hess h_ik) w_ik."""
    N, _, dim, _, H = hess.pair.shape
    rank = jnp.einsum("iDn,ink->iDk", hess.u, hess.rank * jnp.einsum("iDn,iDk->ink", hess.u, w))

    w_ij = w.reshape(N, N, dim, H)
    w_ii = w_ij[jnp.arange(N), jnp.arange(N)][:, None]
    along = w_ii - w_ij
    pair = scatter(sum(hess.pair[:, :, :, a] * along[:, :, a, None] for a in range(dim)))

    share = [jnp.einsum("DEn,ink,iEk->iDk", hess.mean[s], hess.share[i], w[i]) for s, i in enumerate(species)]
    return rank + pair + jnp.concatenate(share)


def mean_times(mean, w, species) -> Float[Array, "N D H"] | Literal[0]:
    """(Hess of the means) w_ik."""
    if mean is None:
        return 0
    return jnp.concatenate([jnp.einsum("DEk,iEk->iDk", mean[s], w[i]) for s, i in enumerate(species)])


def total_elementwise(own: Hessians, mean, u, slopes, species) -> Float[Array, "S D D H"]:
    """The sums over each species of the Hessians of softplus(z)."""
    s1, s2, _ = slopes

    def total(s, i):
        rank = jnp.einsum("iDn,ink,iEn->DEk", own.u[i], own.rank[i] * s1[i, None, :], own.u[i])
        new_rank = jnp.einsum("iDk,ik,iEk->DEk", u[i], s2[i], u[i])
        share = own.mean[s] @ jnp.einsum("ink,ik->nk", own.share[i], s1[i])
        q = jnp.zeros_like(own.pair).at[i].set(own.pair[i] * s1[i, None, None, None, :])
        pair = pair_laplacian(q + jnp.swapaxes(q, 0, 1))
        means = 0 if mean is None else mean[s] * jnp.sum(s1[i], axis=0)
        return rank + new_rank + share + means + pair

    return jnp.stack([total(s, i) for s, i in enumerate(species)])


def block_size(N: int, dim: int) -> int:
    """Of the sizes whose D^2 m dim numbers fit into a cache, and no less than half as large, the one that
    leaves the fewest places empty.
    """
    largest = min(N, max(1, CACHED // (N**2 * dim**3)))
    return min(range(largest, largest // 2, -1), key=lambda m: -(-N // m) * m)


def blocks(hess: Hessians) -> Block:
    """All electrons m in groups, the last ones filled up with electrons that do not exist."""
    N, D, n = hess.u.shape
    d = hess.pair.shape[2]
    size = block_size(N, d)
    count = -(-N // size)

    def grouped(x, axis):
        padding = [(0, count * size - N if k == axis else 0) for k in range(x.ndim)]
        x = jnp.pad(x, padding).reshape(*x.shape[:axis], count, size, *x.shape[axis + 1 :])
        return jnp.moveaxis(x, axis, 0)

    S = hess.mean.shape[0]
    width = hess.mean.shape[-1]
    u = hess.u.reshape(N, N, d, n)
    mean = hess.mean.reshape(S, D, N, d, width)
    return Block(
        jnp.arange(count * size).reshape(count, size),
        grouped(u, 1),
        grouped(hess.pair, 1),
        grouped(mean, 2),
    )


def dense(hess: Hessians, scaled, block: Block, species) -> Float[Array, "N d D m d"]:
    """The Hessians of zeta but for the pair blocks: for component a of electron i, (n, mc), c the axes of
    electron m of a block.
    """
    rank = jnp.einsum("iaDn,imcn->iaDmc", scaled, block.u)
    share = [jnp.einsum("ina,Dmcn->iaDmc", hess.share[i], block.mean[s]) for s, i in enumerate(species)]
    return rank + jnp.concatenate(share)


def pair_blocks(M: Float[Array, "D D"], pair: Float[Array, "N N d d d"], block: Block) -> Array:
    """What the pair blocks of the Hessians contribute to X = M H, for the axes c of the electrons m of a
    block:

        X_{k, nb, mc} = -sum_a (M_{k, na} q_nm^a + M_{k, ma} q_mn^a)_bc,   n != m
        X_{k, mb, mc} = sum_ia M_{k, ia} q_im^a_bc + sum_a M_{k, ma} sum_j q_mj^a_bc
    """
    N, _, d = pair.shape[:3]
    D, m = N * d, block.electrons
    by_electron = M.reshape(D, N, d)
    of_block = by_electron.at[:, m].get(mode="fill", fill_value=0)
    q_nm = jnp.transpose(block.pair, (4, 0, 2, 1, 3)).reshape(d, D, len(m) * d)  # a, nb, mc
    q_mn = jnp.transpose(pair.at[m].get(mode="fill", fill_value=0), (4, 1, 2, 0, 3)).reshape(q_nm.shape)
    others = sum(
        jnp.repeat(by_electron[:, :, a], d, axis=1)[:, :, None] * q_nm[a]
        + jnp.repeat(of_block[:, :, a], d, axis=1)[:, None] * q_mn[a]
        for a in range(d)
    )
    total = jnp.sum(pair, axis=1).at[m].get(mode="fill", fill_value=0)
    own = jnp.einsum("kia,imbca->kmbc", by_electron, block.pair)
    own += jnp.einsum("kma,mbca->kmbc", of_block, total)
    is_own = (np.arange(N)[:, None] == m)[:, None, :, None]
    own = jnp.where(is_own, jnp.swapaxes(own, 1, 2)[:, None], 0)
    return own.reshape(others.shape) - others


def pair_laplacian(q: Float[Array, "N N d d H"]) -> Float[Array, "D D H"]:
    """The Hessian of a sum over pairs: -q_ij at (ij), sum_j q_ij at (ii), for q_ij = q_ji and q_ii = 0."""
    N, _, d, _, H = q.shape
    eye = jnp.eye(N, dtype=q.dtype)[:, :, None, None, None]
    return jnp.swapaxes(eye * jnp.sum(q, axis=1, keepdims=True) - q, 1, 2).reshape(N * d, N * d, H)


def flat(x: Float[Array, "N D d"]) -> Float[Array, "D D"]:
    """(i, a, component) -> (mu, a)."""
    return jnp.swapaxes(x, 1, 2).reshape(x.shape[1], x.shape[1])
