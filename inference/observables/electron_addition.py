r"""Matrix elements of an added electron between two trained density matrices, of N and of N + 1 electrons in
one cell:

    (c_k^+ Psi)(R) = n_s^(-1/2) sum_i (-1)^(i-1) phi_k(r_i) Psi(R without r_i),    i over the n_s of the spin
    M_tK = <Psi_t|c_k^+ Psi_K> = E[ Psi_t^* (c_k^+ Psi_K)/rho ],    R ~ rho = (1/n) sum_t |Psi_t|^2

for the m states K of one momentum P and the n states t of momentum P + k: exact independent samples of rho,
drawn as those of any |Psi_t|^2, serve all elements at once. As in pnct.inference.diagonalise the noise of the
overlaps of the Psi_t, which are orthonormal, is also in M, and S^-1 M is free of it where c_k^+ Psi_K is
among the Psi_t. For one t,

    X = (c_k^+ Psi_K)(R)/Psi_t(R),    M = E X,    E|X|^2 = 1 - n_k(K),    Var X = 1 - n_k(K) - |M|^2

and X = +-1 at every sample of free electrons. |M|^2 is |mean|^2 less its variance, so it has no bias at one
t: (|sum X|^2 - sum |X|^2)/(S (S - 1)) of S samples. What the Psi_t lack, 1 - n_k(K) - sum_t |M_tK|^2, is the
mean square of the remainder c_k^+ Psi_K - sum_t M_tK Psi_t.

That square has no variance where only the Psi_t are drawn from: |X|^2 ~ 1/|Psi_t|^2 near their nodes. So half
of the samples are those of a Psi_K with one electron more anywhere, unless |M|^2 of one t is all that is
asked for:

    rho = (1/2n) sum_t |Psi_t|^2 + (1/2m) sum_K (1/n_s) sum_i |phi_k(r_i) Psi_K(R without r_i)|^2

and |c_k^+ Psi_K|^2/rho <= 2 m n_s and |Psi_t|^2/rho <= 2n everywhere.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from pnct.compilation import compiled
from pnct.inference.observables.electron_pair import (
    Pair,
    checked_orbital,
    checked_states,
    momenta,
    quantum_numbers,
)
from pnct.inference.sampling.batch import Batching
from pnct.inference.sampling.inputs import checked_key
from pnct.inference.sampling.parallel import as_arrays, gathered, map_walkers
from pnct.inference.sampling.sites import measured_at
from pnct.validation import checked_integer

FOLDS = 20  # parts of the samples, from which errors of sums of weights are made
BATCH = 1024  # samples that are drawn together
SAMPLES_PER_STATE = 8  # with fewer for each of the Psi_t their overlaps are too noisy to be divided by


class MatrixElements(NamedTuple):
    """Of n states t of N + 1 electrons and m states K of N: `weight` is |M|^2, `total` 1 - n_k(K), `missing`
    what the states t lack of it: total is the sum of the weights and of this.

    `folds`: the weights as every 20th part of the samples has them, to lowest order, which tell the error of
    any sum of weights.
    """

    amplitude: Complex[np.ndarray, "n m"]
    weight: Float[np.ndarray, "n m"]
    error: Float[np.ndarray, "n m"]
    folds: Float[np.ndarray, "20 n m"]
    total: Float[np.ndarray, " m"]
    total_error: Float[np.ndarray, " m"]
    missing: Float[np.ndarray, " m"]
    missing_error: Float[np.ndarray, " m"]


def matrix_elements(
    key, pair: Pair, k: int, sources, targets, num_samples: int, from_both: bool = True
) -> MatrixElements:
    """M between all `sources` K, shape (m, N), and all `targets` t, shape (n, N + 1), from num_samples exact
    samples, at least 8 n; those whose inversion did not converge are left out.

    k: the number of an orbital of the shared table. The states of either list have to be of equal quantum
    numbers, and so of one flow; the momentum of the targets is that of the sources plus k.
    from_both: half of the samples are drawn from the sources, without which `total` and `missing` have no
    error bar to be trusted; else all are drawn from the targets, and |M|^2 of a single one has no bias.
    Raises ValueError where this is not so.
    """
    k = checked_orbital(pair, k)
    sources = checked_states(pair.less, sources)
    targets = checked_states(pair.more, targets)
    P = momenta(pair.less.gas, sources) + pair.less.gas.orbitals.indices[k]
    Q = momenta(pair.more.gas, targets)
    if not (np.allclose(P, P[0]) and np.allclose(Q, P[0])):
        raise ValueError(
            f"Expected states K' of momentum P + k = {np.round(P[0], 6).tolist()} (2 pi/L); got "
            f"{np.round(Q, 6).tolist()}."
        )
    num_samples = checked_integer("num_samples", num_samples, max(2, SAMPLES_PER_STATE * len(targets)))
    for trained, sites, Ks in zip((pair.less, pair.more), pair.sites, (sources, targets), strict=True):
        if len(np.unique(quantum_numbers(trained, sites, Ks), axis=0)) > 1:
            raise ValueError(
                f"Expected states of equal quantum numbers, which share their flow; got {Ks.tolist()}."
            )
    return elements_of_block(key, pair, k, sources, targets, num_samples, from_both)


def elements_of_block(
    key,
    pair: Pair,
    k: int,
    sources,
    targets,
    num_samples: int,
    from_both: bool = True,
    widths: tuple[int, int] = (1, 1),
) -> MatrixElements:
    """`matrix_elements` of states that belong together.

    widths: the largest m and n of several calls, which then share one compilation.
    """
    return _elements(*_samples(key, pair, k, sources, targets, num_samples, from_both, widths))


def addition_ratios(key, pair: Pair, k: int, K, K_prime, num_samples: int) -> Complex[np.ndarray, " S"]:
    """X = (c_k^+ Psi_K)(R)/Psi_K'(R) at exact samples of |Psi_K'|^2. The arguments are as those of
    `matrix_elements`; X is so up to the phase of each state.
    """
    k = checked_orbital(pair, k)
    psi, added, _ = _samples(
        key, pair, k, checked_states(pair.less, K), checked_states(pair.more, K_prime), num_samples, False
    )
    return added[:, 0] / psi[:, 0]


def _samples(key, pair, k, sources, targets, num_samples, from_both, widths=(1, 1)):
    """Psi_t/rho^(1/2), shape (S, n), c_k^+ Psi_K/rho^(1/2), shape (S, m), and whether it was drawn from the
    sources, shape (S,), of the finite samples.
    """
    sizes = (len(sources), len(targets))
    full = [
        jnp.asarray(np.resize(x, (max(len(x), width), x.shape[1])), jnp.int32)
        for x, width in zip((sources, targets), widths, strict=True)
    ]
    of_sources = num_samples // 2 if from_both else 0
    counts = (num_samples - of_sources, of_sources)
    keys = jax.random.split(checked_key(key), num_samples)
    wave = jnp.asarray(pair.more.gas.orbitals.wavevectors[k])
    with np.errstate(divide="ignore"):
        log_shares = jnp.asarray(np.log(np.array(counts) / num_samples))
    gases = (pair.less.params, pair.less.gas), (pair.more.params, pair.more.gas)
    shared = as_arrays((*gases, wave, jnp.asarray(sizes), *full, log_shares))
    batching = pair.more.vfe.batching(pair.sites[1])
    models = (pair.less.vfe.model, pair.more.vfe.model)
    found = []
    for origin, (first, count) in enumerate(zip((0, counts[0]), counts, strict=True)):
        for start in range(0, count, BATCH):
            some = keys[first + (start + np.arange(min(BATCH, counts[0]))) % count]
            given = (*shared, jnp.asarray(bool(origin)))
            values = jax.device_get(_sampled(models, pair.sites, pair.spin, given, some, batching))
            found.append([x[: count - start] for x in values])
    psi, added = (np.concatenate(x) for x in zip(*found, strict=True))
    psi = psi[:, : sizes[1]]
    added = added[:, : sizes[0]]
    finite = np.all(np.isfinite(psi), axis=1) & np.all(np.isfinite(added), axis=1)
    is_of_sources = np.arange(num_samples) >= counts[0]
    return psi[finite], added[finite], is_of_sources[finite]


def _elements(psi, added, is_of_sources) -> MatrixElements:
    S, n = psi.shape
    if n + 2 > S:
        raise ValueError(f"Expected {n + 2} finite samples or more; got {S}.")
    inverse = np.linalg.inv(psi.conj().T @ psi / S)
    M = inverse @ (psi.conj().T @ added) / S
    rest = added - psi @ M
    # the influence of each sample on M, and its deviation from others that were drawn alike
    z = np.einsum("st,sm->stm", psi.conj() @ inverse.T, rest)
    z = _within(z, is_of_sources)
    variance = np.sum(np.abs(z) ** 2, axis=0) / (S * (S - n))
    slope = 2 * np.real(M.conj() * z)
    weight = np.abs(M) ** 2 - variance
    error = np.sqrt(np.sum(slope**2, axis=0) / (S * (S - n)) + variance**2)
    fold = np.arange(S) % FOLDS
    folds = np.array(
        [weight + slope[fold == i].mean(axis=0) if np.any(fold == i) else weight for i in range(FOLDS)]
    )
    left = np.abs(rest) ** 2 * S / (S - n)
    # for one t the mean of |X|^2; for several without the noise of their overlaps
    total = np.sum(slope, axis=1) + left
    root = np.sqrt(S * (S - 1))
    return MatrixElements(
        M,
        weight,
        error,
        folds,
        np.sum(weight, axis=0) + left.mean(axis=0),
        np.linalg.norm(_within(total, is_of_sources), axis=0) / root,
        left.mean(axis=0),
        np.linalg.norm(_within(left, is_of_sources), axis=0) / root,
    )


def _within(x, is_of_sources):
    """The deviation of every sample from the mean of those that were drawn from the same states."""
    x = np.array(x)
    for part in (is_of_sources, ~is_of_sources):
        if np.any(part):
            x[part] -= x[part].mean(axis=0)
    return x


@compiled
def _sampled(models, sites, spin, shared, keys, batching: Batching):
    one = partial(_sample, models, sites, spin)
    return gathered(map_walkers(one, shared, keys, batching.chunk_size, batching.mesh), batching.mesh)


def _sample(models, sites, spin, shared, key) -> tuple[Array, Array]:
    (params, less), (params_more, more), wave, sizes, sources, targets, log_shares, of_sources = shared
    start = spin * more.num_electrons[0]
    number = more.num_electrons[spin]
    # both wave functions in the length r_s a_0 of the N + 1 electrons
    ratio = less.L / more.L
    choose, draw, place = jax.random.split(key, 3)

    # the states of one list share their flow
    def at_source(K):
        return measured_at(models[0], sites[0], params, {sites[0].state[0]: K}, (less,))

    def at_target(t):
        return measured_at(models[1], sites[1], params_more, {sites[1].state[0]: t}, (more,))

    def from_sources():
        rest, is_exact = at_source(sources[jax.random.randint(choose, (), 0, sizes[0])]).draw(draw)
        r = more.L * jax.random.uniform(place, (1, more.dim), rest.dtype)
        return jnp.concatenate([rest[:start] / ratio, r, rest[start:] / ratio]), is_exact

    def from_targets():
        return at_target(targets[jax.random.randint(choose, (), 0, sizes[1])]).draw(draw)

    R, is_exact = jax.lax.cond(of_sources, from_sources, from_targets)
    R = jnp.where(is_exact, R, jnp.nan)
    log_psi = _log_amplitudes(at_target(targets[0]), targets, R)
    fewer = at_source(sources[0])

    def without(i):
        others = jnp.arange(more.N - 1)
        log_fewer = _log_amplitudes(fewer, sources, R[others + (others >= i)] * ratio)
        log_scale = 0.5 * less.N * less.dim * np.log(ratio) - 0.5 * more.dim * np.log(more.L)
        phase = wave @ R[i] + jnp.pi * ((i - start) % 2)
        return log_fewer + jax.lax.complex(jnp.full_like(phase, log_scale), phase)

    log_added = jax.lax.map(without, start + jnp.arange(number))
    log_rho = jnp.logaddexp(
        log_shares[0] + _log_mean_square(log_psi, sizes[1]),
        log_shares[1] + _log_mean_square(log_added, sizes[0]) - np.log(number),
    )
    added = jnp.sum(jnp.exp(log_added - log_rho / 2), axis=0) / np.sqrt(number)
    return jnp.exp(log_psi - log_rho / 2), added


def _log_mean_square(log_amplitudes, size):
    """ln of the mean of |amplitude|^2 over the first `size` along the last axis, summed over all others."""
    inside = jnp.arange(log_amplitudes.shape[-1]) < size
    return jax.nn.logsumexp(jnp.where(inside, 2 * log_amplitudes.real, -jnp.inf)) - jnp.log(size)


def _log_amplitudes(born, Ks, R):
    with jax.default_matmul_precision("highest"):
        zeta, log_det = born.flow.forward_and_log_det(R)
        return jax.vmap(lambda K: born.states.log_amplitude(K, zeta))(Ks) + 0.5 * log_det
