r"""The derivatives of a FermiNet flow, exactly, at any depth, and without a loop over coordinates.

Jets (pnct.flows.ferminet.jets) run along the single stream h_i, and its Hessians beside them
(pnct.flows.ferminet.hessians). The jets of a pair term have `dim` components, by r_ij;  f_i = sum_j f(r_ij):

    grad f_i = -f'_ij at j, sum_j f'_ij at i,   Lap f_i = sum_j Lap f_ij

In the end zeta = x + h W has D full Hessians H_mu, and with M = J^-1, X = M H, and G = 1, or C C^T along a
frame C,

    g_a = sum_n X_{n, n a},   T1 = sum M_{a mu} d_a (Lap zeta_mu),   T2 = sum X_{k, n a} X_{n, k b} G_ab.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from pnct.compilation import computed_once
from pnct.flows.base import FlowDerivatives
from pnct.flows.ferminet.hessians import (
    Hessians,
    add_elementwise,
    linear,
    mean_times,
    mixed,
    of_one_electron,
    times,
    total_elementwise,
    total_of_one_electron,
)
from pnct.flows.ferminet.jets import Jet, elementwise, of_symmetric, pair_jets, single_jet
from pnct.flows.pairs import scatter
from pnct.networks.layers import residual

CACHED = 2**16  # numbers of the D Hessians that are in memory at a time


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
    hess = Hessians(u, rank, zeros(N, N, dim * (dim + 1) // 2, H), zeros(S, D, D, 0), zeros(N, 0, H))
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

        slopes = flow.activation.slopes(z.value)
        v = z.grad if frame is None else jnp.tensordot(frame @ frame.T, z.grad, (1, 1)).swapaxes(0, 1)
        Qv = times(own, v, species) + mean_times(mean, v, species)
        new = elementwise(flow.activation, z, v, Qv, slopes)
        h = Jet(*(residual(*x) for x in zip(h, new, strict=True)))
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


def log_det_derivatives(
    zeta, J, laplacian, grad_laplacian, hess: Hessians, species, frame
) -> FlowDerivatives:
    """g and T1 - T2 from J, Lap zeta (D,), d_a (Lap zeta_mu) (mu, a), and the Hessians of zeta."""
    D = len(J)
    M = jnp.linalg.inv(J)
    pair = hess.pair[:, :, of_symmetric(D // len(zeta))]
    scaled = hess.u[:, None] * jnp.swapaxes(hess.rank, 1, 2)[:, :, None, :]

    def along_some_axes(block):
        X = M @ dense(hess, scaled, block, species).reshape(D, -1)
        X = computed_once(X.reshape(D, D, -1) + pair_blocks(M, pair, block))
        g = jnp.sum(X[jnp.arange(D), jnp.arange(D)], axis=0)
        # Added up for each axis first: one long sum would be taken number by number.
        return g, jnp.sum(X * jnp.swapaxes(X, 0, 1), axis=(0, 1)) if frame is None else X

    # Block by block, because D^3 numbers do not fit into a cache.
    g, T2 = jax.lax.map(along_some_axes, blocks(hess, pair))
    if frame is not None:
        X = jnp.moveaxis(T2, 0, 2).reshape(D, D, -1)[:, :, :D] @ frame
        T2 = jnp.einsum("knc,nkc->", X, X)
    T1 = jnp.sum(M.T * grad_laplacian)
    det_sign, log_det = jnp.linalg.slogdet(J)
    return FlowDerivatives(zeta, J, laplacian, log_det, g.reshape(-1)[:D], T1 - jnp.sum(T2), det_sign)


def block_size(N: int, dim: int) -> int:
    """Of the sizes whose D^2 m dim numbers fit into a cache, and no less than half as large, the one that
    leaves the fewest places empty. Two electrons at least: products with the axes of one are hardly any.
    """
    largest = min(N, max(2, CACHED // (N**2 * dim**3)))
    return min(range(largest, largest // 2, -1), key=lambda m: -(-N // m) * m)


def blocks(hess: Hessians, pair: Float[Array, "N N d d H"]) -> Block:
    """All electrons m in groups, the last ones filled up with electrons that do not exist."""
    N, D, n = hess.u.shape
    d = pair.shape[2]
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
        grouped(pair, 1),
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


def flat(x: Float[Array, "N D d"]) -> Float[Array, "D D"]:
    """(i, a, component) -> (mu, a)."""
    return jnp.swapaxes(x, 1, 2).reshape(x.shape[1], x.shape[1])
