r"""The algorithm of the published program (Xie, Zhang, Wang, SciPost Phys. 14, 154 (2023)), plainly, to be
measured against.

Nothing of it is used by pnct. It takes pnct's parameters, so that both compute the same functions: the same
ln Psi, the same exact local energy, Ewald energy and ln p(K) (test_benchmark.py). Per walker and step it does

    K            N passes of the whole transformer, one for each electron
    R            50 all-electron Metropolis steps of |Psi_K|^2
    V            a sum over pairs, images and waves
    J            jacfwd of the whole flow
    Lap ln Phi   a loop of D jvp's of the gradient
    Lap ln|det J|/2   one Gaussian probe v.Hess v (Hutchinson), or, exactly, the loop again
    scores       reverse differentiation of ln p(K) and of ln Psi_K(R)

and per step one dense solve with the P x P Fisher matrix of each law.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from reference_network import trained_features

from pnct.flows.pairs import channel_pairs, members, spin_channels
from pnct.networks.activations import Softplus
from pnct.networks.layers import residual
from pnct.networks.transformer import tokens
from pnct.space import norm
from pnct.systems.ewald import ewald

METROPOLIS_STEPS = 50


def transform(flow, R):
    """zeta = T(R) of a FermiNet: all inputs of a layer side by side, one matrix product."""
    N, member = len(R), members(flow.space)
    s = jax.nn.softplus if isinstance(flow.activation, Softplus) else flow.activation
    r = R[:, None] - R[None, :]
    h, h_pair = jnp.zeros((N, 0), R.dtype), features(flow, r)
    for level, layer in enumerate(flow.single):
        pair_means = [
            jnp.sum(jnp.where(g[:, :, None], h_pair, 0), axis=1) / N for g in channel_pairs(flow.space)
        ]
        inputs, weights = pair_means, [*layer.pair]
        if level > 0:
            means = [member.T @ (g.astype(float) @ (member @ h)) / N for g in spin_channels(flow.space)]
            inputs, weights = [h, *means, *pair_means], [layer.own, *layer.mean, *layer.pair]
        z = jnp.concatenate(inputs, axis=-1) @ jnp.concatenate(weights) + layer.bias
        h = residual(h, s(z))
        if level < len(flow.pair):
            h_pair = residual(h_pair, s(_pair_layer(flow, flow.pair[level], h_pair)))
    return R + h @ flow.out


def features(flow, r):
    """Those of `flow.features`, with the sines and cosines of XLA as the published program has them."""
    x = (2 * np.pi / flow.space.L) * r
    cosine, sine = jnp.cos(x), jnp.sin(x)
    if flow.features is trained_features:
        return jnp.concatenate([cosine, sine, norm(sine)], axis=-1)
    s = norm(jnp.sin(x / 2))
    return jnp.concatenate([cosine, sine, s, s * sine], axis=-1)


def _pair_layer(flow, layer, h_pair):
    z = [h_pair @ weight + bias for weight, bias in zip(layer.weight, layer.bias, strict=True)]
    return z[0] if len(z) == 1 else jnp.where(channel_pairs(flow.space)[0][:, :, None], *z)


def ln_phi(flow, orbitals, K, R):
    """The real and the imaginary part of ln Phi_K(T(R))."""
    zeta, space = transform(flow, R), flow.space
    parts = 0.0
    for i in space.species:
        D = jnp.exp(1j * zeta[i] @ jnp.asarray(orbitals.wavevectors)[K[i]].T) * space.L ** (-space.dim / 2)
        sign, log = jnp.linalg.slogdet(D)
        parts += jnp.stack([log - math.lgamma(len(D) + 1) / 2, jnp.angle(sign)])
    return parts


def half_ln_det(flow, R):
    """(1/2) ln|det J|."""
    J = jax.jacfwd(lambda x: transform(flow, x.reshape(R.shape)).ravel())(R.ravel())
    return jnp.linalg.slogdet(J)[1] / 2


def ln_psi(flow, orbitals, K, R):
    """The real and the imaginary part of ln Psi_K(R)."""
    return ln_phi(flow, orbitals, K, R).at[0].add(half_ln_det(flow, R))


def loop_laplacian(f, x):
    """Lap f, shape of f, by a loop of D jvp's of its gradient."""
    gradient, axes = jax.jacrev(f), jnp.eye(x.size, dtype=x.dtype)

    def add(a, total):
        return total + jax.jvp(gradient, (x,), (axes[a],))[1][..., a]

    return jax.lax.fori_loop(0, x.size, add, jnp.zeros(jax.eval_shape(f, x).shape, x.dtype))


def kinetic(flow, orbitals, K, R, rs, key=None):
    """The complex local kinetic energy, hartree. With a key, Lap ln|det J| is estimated by one probe;
    without, exact.
    """

    def phi(x):
        return ln_phi(flow, orbitals, K, x.reshape(R.shape))

    def half(x):
        return half_ln_det(flow, x.reshape(R.shape))

    x = R.ravel()

    if key is None:
        grad_half, lap_half = jax.grad(half)(x), loop_laplacian(half, x)
    else:
        probe = jax.random.normal(key, x.shape, x.dtype)
        grad_half, slope = jax.jvp(jax.grad(half), (x,), (probe,))
        lap_half = probe @ slope

    grad_phi, lap_phi = jax.jacrev(phi)(x), loop_laplacian(phi, x)
    gradient = grad_phi[0] + grad_half + 1j * grad_phi[1]
    laplacian = lap_phi[0] + lap_half + 1j * lap_phi[1]
    return -(laplacian + jnp.sum(gradient**2)) / (2 * rs**2)


def metropolis(flow, orbitals, K, R, key, step_size=0.1):
    """R after 50 all-electron Metropolis steps of |Psi_K|^2."""

    def log_prob(R):
        return 2 * ln_psi(flow, orbitals, K, R)[0]

    def move(state, key):
        R, old = state
        move_key, accept_key = jax.random.split(key)
        proposed = R + step_size * jax.random.normal(move_key, R.shape, R.dtype)
        new = log_prob(proposed)
        accepted = jax.random.uniform(accept_key) < jnp.exp(new - old)
        return jax.tree.map(lambda a, b: jnp.where(accepted, a, b), (proposed, new), (R, old)), None

    (R, _), _ = jax.lax.scan(move, (R, log_prob(R)), jax.random.split(key, METROPOLIS_STEPS))
    return R


class PairEwald(NamedTuple):
    """R -> Ewald energy, hartree/r_s, as a sum over pairs. The splitting is the one with the fewest terms per
    pair.
    """

    L: float
    splitting: float
    constant: float
    images: np.ndarray
    waves: np.ndarray
    weights: np.ndarray

    def __call__(self, R):
        i, j = np.triu_indices(len(R), 1)
        s = (R[i] - R[j]) / self.L
        s = s - jnp.round(s)
        distance = jnp.linalg.norm(s[:, None] + self.images, axis=-1)
        near = jnp.sum(jax.scipy.special.erfc(self.splitting * distance) / distance)
        far = 2 * jnp.sum(self.weights * jnp.cos(2 * jnp.pi * s @ self.waves.T))
        return (near + far + self.constant) / self.L


def pair_ewald(space) -> PairEwald:
    sums = [ewald(space, splitting) for splitting in np.arange(2.0, 12.0, 0.5).tolist()]
    best = min(sums, key=lambda e: len(e.images) + len(e.waves))
    constant = best.constant + space.N * float(np.sum(best.weights))  # sum_m w_m |rho_m|^2 holds every i = j
    return PairEwald(space.L, best.splitting, constant, best.images, best.waves, best.weights)


def logits(gas, network, table, K):
    """The masked logits of all N electrons, by one pass of the transformer over the whole list K. Shape (N,
    M).
    """
    N, M = table.shape
    previous = jnp.concatenate([jnp.zeros(1, K.dtype), K[:-1]])
    h = jnp.tanh(network.embed(tokens(gas, previous, jnp.arange(N), table.dtype)))
    for layer in network.layers:
        q, k, v = jnp.split(layer.attention(h).reshape(N, 3 * network.heads, -1), 3, axis=1)
        score = jnp.einsum("ihc,jhc->hij", q, k) / math.sqrt(q.shape[-1])
        attention = jax.nn.softmax(jnp.where(np.tril(np.ones((N, N), bool)), score, -jnp.inf), axis=-1)
        h = h + layer.mix(jnp.einsum("hij,jhc->ihc", attention, v).reshape(h.shape))
        h = h + layer.narrow(jnp.tanh(layer.widen(h)))

    n = np.concatenate([np.arange(n) for n in gas.num_electrons])
    last = M - np.repeat(gas.num_electrons, gas.num_electrons) + n
    above = jnp.where(n == 0, -1, previous)
    m = np.arange(M)
    allowed = (m > above[:, None]) & (m <= last[:, None])
    return jnp.where(allowed, table + network.out(jnp.tanh(h)), -jnp.inf)


def log_prob(gas, network, table, K):
    """ln p(K)."""
    log_p = jax.nn.log_softmax(logits(gas, network, table, K), axis=-1)
    return jnp.sum(jnp.take_along_axis(log_p, K[:, None], axis=1))


def draw_occupation(gas, network, table, key):
    """K ~ p(K), with a full pass for every electron."""

    def add(t, K):
        row = logits(gas, network, table, K)[t]
        return K.at[t].set(jax.random.categorical(jax.random.fold_in(key, t), row).astype(K.dtype))

    return jax.lax.fori_loop(0, gas.N, add, jnp.zeros(gas.N, jnp.int32))


def scores(gas, network, table, flow, K, R):
    """d ln p(K)/d phi, one row, and d ln Psi_K(R)/d theta, a real and an imaginary row, as matrices."""

    def flat(tree, rows):
        return jnp.concatenate([x.reshape(rows, -1) for x in jax.tree.leaves(tree)], axis=1)

    classical = jax.grad(lambda network: log_prob(gas, network, table, K))(network)
    quantum = jax.jacrev(lambda flow: ln_psi(flow, gas.orbitals, K, R))(flow)
    return flat(classical, 1), flat(quantum, 2)


def solve(rows, residual, num_walkers, damping=1e-3):
    """(O^T O/B + damping) delta = O^T e/B with the dense P x P matrix."""
    metric = rows.T @ rows / num_walkers + damping * jnp.eye(rows.shape[1], dtype=rows.dtype)
    return jax.scipy.linalg.solve(metric, rows.T @ residual / num_walkers, assume_a="pos")
