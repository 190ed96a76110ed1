r"""Matrix elements of an added electron between two trained density matrices, of N and of N + 1 electrons in
one cell:

    (c_k^+ Psi)(R) = n_s^(-1/2) sum_i (-1)^(i-1) phi_k(r_i) Psi(R without r_i),    i over the n_s of the spin
    M_tK = <Psi_t|c_k^+ Psi_K> = E[ Psi_t^* (c_k^+ Psi_K)/rho ],    R ~ rho = (1/n) sum_t |Psi_t|^2

for the states K of one momentum P and the states t of momentum P + k, n of them: exact independent samples of
rho, drawn as those of any |Psi_t|^2, serve all elements at once. As in pnct.inference.diagonalise the noise
of the overlaps of the Psi_t, which are orthonormal, is also in M, and S^-1 M is free of it where c_k^+ Psi_K
is among the Psi_t. For one t,

    X = (c_k^+ Psi_K)(R)/Psi_t(R),    M = E X,    E|X|^2 = 1 - n_k(K),    Var X = 1 - n_k(K) - |M|^2

and X = +-1 at every sample of free electrons. |M|^2 is |mean|^2 less its variance, so it has no bias at one
t: (|sum X|^2 - sum |X|^2)/(S (S - 1)) of S samples. What the Psi_t lack, 1 - n_k(K) - sum_t |M_tK|^2, is the
mean square of the remainder c_k^+ Psi_K - sum_t M_tK Psi_t.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

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


def matrix_elements(key, pair: Pair, k: int, sources, targets, num_samples: int) -> MatrixElements:
    """M between all `sources` K, shape (m, N), and all `targets` t, shape (n, N + 1), from num_samples exact
    samples, at least 8 n; those whose inversion did not converge are left out.

    k: the number of an orbital of the shared table. The states of either list have to be of equal quantum
    numbers, and so of one flow; the momentum of the targets is that of the sources plus k.
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
    return elements_of_block(key, pair, k, sources, targets, num_samples)


def elements_of_block(
    key, pair: Pair, k: int, sources, targets, num_samples: int, widths: tuple[int, int] = (1, 1)
) -> MatrixElements:
    """`matrix_elements` of states that belong together.

    widths: the largest m and n of several calls, which then share one compilation.
    """
    return _elements(*_samples(key, pair, k, sources, targets, num_samples, widths))


def addition_ratios(key, pair: Pair, k: int, K, K_prime, num_samples: int) -> Complex[np.ndarray, " S"]:
    """X = (c_k^+ Psi_K)(R)/Psi_K'(R) at exact samples of |Psi_K'|^2. The arguments are as those of
    `matrix_elements`; X is so up to the phase of each state.
    """
    k = checked_orbital(pair, k)
    psi, added = _samples(
        key, pair, k, checked_states(pair.less, K), checked_states(pair.more, K_prime), num_samples
    )
    return added[:, 0] / psi[:, 0]


def _samples(key, pair, k, sources, targets, num_samples, widths=(1, 1)):
    """Psi_t/rho^(1/2), shape (S, n), and c_k^+ Psi_K/rho^(1/2), shape (S, m), of the finite samples."""
    n = len(targets)
    m = len(sources)
    full = [
        jnp.asarray(np.resize(x, (max(len(x), width), x.shape[1])), jnp.int32)
        for x, width in zip((sources, targets), widths, strict=True)
    ]
    keys = jax.random.split(checked_key(key), num_samples)
    wave = jnp.asarray(pair.more.gas.orbitals.wavevectors[k])
    gases = (pair.less.params, pair.less.gas), (pair.more.params, pair.more.gas)
    shared = as_arrays((*gases, wave, jnp.asarray(n), *full))
    batching = pair.more.vfe.batching(pair.sites[1])
    models = (pair.less.vfe.model, pair.more.vfe.model)
    found = []
    for start in range(0, num_samples, BATCH):
        some = keys[(start + np.arange(min(BATCH, num_samples))) % num_samples]
        values = jax.device_get(_sampled(models, pair.sites, pair.spin, shared, some, batching))
        found.append([x[: num_samples - start] for x in values])
    psi, added = (np.concatenate(x) for x in zip(*found, strict=True))
    psi = psi[:, :n]
    added = added[:, :m]
    finite = np.all(np.isfinite(psi), axis=1) & np.all(np.isfinite(added), axis=1)
    return psi[finite], added[finite]


def _elements(psi, added) -> MatrixElements:
    S, n = psi.shape
    if n + 2 > S:
        raise ValueError(f"Expected {n + 2} finite samples or more; got {S}.")
    inverse = np.linalg.inv(psi.conj().T @ psi / S)
    M = inverse @ (psi.conj().T @ added) / S
    rest = added - psi @ M
    # the influence of each sample on M
    z = np.einsum("st,sm->stm", psi.conj() @ inverse.T, rest)
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
    root = np.sqrt(S)
    return MatrixElements(
        M,
        weight,
        error,
        folds,
        np.sum(weight, axis=0) + left.mean(axis=0),
        total.std(axis=0, ddof=1) / root,
        left.mean(axis=0),
        left.std(axis=0, ddof=1) / root,
    )


@eqx.filter_jit
def _sampled(models, sites, spin, shared, keys, batching: Batching):
    one = partial(_sample, models, sites, spin)
    return gathered(map_walkers(one, shared, keys, batching.chunk_size, batching.mesh), batching.mesh)


def _sample(models, sites, spin, shared, key) -> tuple[Array, Array]:
    (params, less), (params_more, more), wave, n, sources, targets = shared
    choose, draw = jax.random.split(key)
    t = targets[jax.random.randint(choose, (), 0, n)]
    # the states of one list share their flow
    born = measured_at(models[1], sites[1], params_more, {sites[1].state[0]: t}, (more,))
    R, is_exact = born.draw(draw)
    R = jnp.where(is_exact, R, jnp.nan)
    log_psi = _log_amplitudes(born, targets, R)
    inside = jnp.arange(len(targets)) < n
    log_rho = jax.nn.logsumexp(jnp.where(inside, 2 * log_psi.real, -jnp.inf)) - jnp.log(n)

    start = spin * more.num_electrons[0]
    number = more.num_electrons[spin]
    fewer = measured_at(models[0], sites[0], params, {sites[0].state[0]: sources[0]}, (less,))
    # both wave functions in the length r_s a_0 of the N + 1 electrons
    ratio = less.L / more.L

    def without(i):
        others = jnp.arange(more.N - 1)
        rest = R[others + (others >= i)] * ratio
        phase = wave @ R[i]
        sign = jnp.where((i - start) % 2 == 0, 1, -1)
        phi = sign * jax.lax.complex(jnp.cos(phase), jnp.sin(phase)) * more.L ** (-more.dim / 2)
        scale = 0.5 * less.N * less.dim * np.log(ratio) - 0.5 * np.log(number)
        return phi * jnp.exp(_log_amplitudes(fewer, sources, rest) + scale - log_rho / 2)

    added = jnp.sum(jax.lax.map(without, start + jnp.arange(number)), axis=0)
    return jnp.exp(log_psi - log_rho / 2), added


def _log_amplitudes(born, Ks, R):
    with jax.default_matmul_precision("highest"):
        zeta, log_det = born.flow.forward_and_log_det(R)
        return jax.vmap(lambda K: born.states.log_amplitude(K, zeta))(Ks) + 0.5 * log_det
