r"""The spectral function of the electron gas from trained density matrices of N and N + 1 electrons:

    A^>_N(k, w)     = sum_KK' p_K   |<Psi_K'|c_k^+ Psi_K>|^2 delta(w - E_K' + E_K)      an electron is added
    A^<_{N+1}(k, w) = sum_KK' p_K'  |<Psi_K'|c_k^+ Psi_K>|^2 delta(w - E_K' + E_K)      one is taken away

A_N = A^>_N + A^<_N takes two pairs, (N - 1, N) and (N, N + 1). The elements are those of
`pnct.inference.observables.electron_addition`, block by block of equal quantum numbers. Where p(K) is
tabulated, its weights are the Boltzmann factors of the E_K, so that

    E_K' - E_K = mu + T [ln p(K) - ln p(K')],    mu = F(N + 1) - F(N)

has the noise of mu alone; else E_K and E_K' are means of E_loc. What the states that are listed lack of
1 - n_k is reported (`missing`) and not spread over energies.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from pnct.compilation import compiled
from pnct.estimate import Estimate, mean_of_independent
from pnct.inference.observables.electron_addition import (
    BATCH,
    FOLDS,
    SAMPLES_PER_STATE,
    MatrixElements,
    elements_of_block,
    matrix_elements,
)
from pnct.inference.observables.electron_pair import (
    Pair,
    TrainedGas,
    check_pair,
    checked_orbital,
    checked_states,
    momenta,
    quantum_numbers,
)
from pnct.inference.observables.poles import Poles
from pnct.inference.sampling.batch import Batching
from pnct.inference.sampling.inputs import checked_key
from pnct.inference.sampling.local_energy import local_energy
from pnct.inference.sampling.parallel import as_arrays, gathered, map_walkers
from pnct.inference.sampling.sites import measured_at, read_sites, state_at
from pnct.states.lowest_configurations import lowest_configurations
from pnct.validation import checked_integer, checked_number


class SpectralFunction(NamedTuple):
    """Of a pair of N and N + 1 electrons: A^>_N and A^<_{N+1}, and mu = F(N + 1) - F(N) in hartree."""

    added: Poles
    removed: Poles
    mu: Estimate


def residue(
    key, less: TrainedGas, more: TrainedGas, k: int, K, K_prime, num_samples: int = 16_384
) -> Estimate:
    """Z = |<Psi_K'|c_k^+ Psi_K>|^2 of two states, without bias.

    k: the number of an orbital.  K, K_prime: states of the N and of the N + 1 electrons, of momenta P and
    P + k. At k_F, Z is the quasi-particle residue. Raises ValueError where the gases or the states do not
    belong together.
    """
    pair = check_pair(less, more)
    K, K_prime = (np.atleast_2d(x)[:1] for x in (K, K_prime))
    found = matrix_elements(key, pair, k, K, K_prime, num_samples, from_both=False)
    return Estimate(float(found.weight[0, 0]), float(found.error[0, 0]), float(num_samples))


def spectral_function(
    key,
    less: TrainedGas,
    more: TrainedGas,
    orbitals,
    num_samples: int = 2048,
    free_energies: tuple[Estimate, Estimate] | None = None,
    states=None,
    tolerance: float = 1e-3,
    sampled: bool = False,
) -> SpectralFunction:
    """A^>_N and A^<_{N+1} at these orbitals (numbers of the shared table), from num_samples exact samples of
    each block of states; where a block has n states, at least 8 n.

    free_energies: F of the N and of the N + 1 electrons, totals in hartree; by default of 16 num_samples
    draws each.
    states: the K and the K' that are summed over, shape (S, N) and (S', N + 1); by default those with a
    weight of their own in p(K).
    tolerance: a block all of whose states have a smaller probability is left out.
    sampled: energies from E_loc, though p(K) is tabulated, of all states more probable than the tolerance.
    Raises ValueError where the gases do not belong together, and at T = 0, where there is no p(K).
    """
    pair = check_pair(less, more)
    orbitals = np.array([checked_orbital(pair, k) for k in np.atleast_1d(orbitals)])
    num_samples = checked_integer("num_samples", num_samples, 2)
    tolerance = checked_number("tolerance", tolerance, lambda x: 0 <= x < 1, ">= 0 and < 1")
    if not float(less.gas.temperature) > 0:
        raise ValueError("Expected theta > 0 for a sum over states; got 0. `residue` is for single states.")
    sides = [
        _listed(x, sites, None if states is None else states[i])
        for i, (x, sites) in enumerate(zip((less, more), pair.sites, strict=True))
    ]
    key_F, key_E, key = jax.random.split(checked_key(key), 3)
    if free_energies is None:
        keys = jax.random.split(key_F)
        free_energies = tuple(
            _free_energy(own, x, 16 * num_samples) for own, x in zip(keys, (less, more), strict=True)
        )
    mu = Estimate(
        free_energies[1].value - free_energies[0].value,
        float(np.hypot(free_energies[0].error, free_energies[1].error)),
        np.nan,
    )
    from_table = all(side.is_tabulated for side in sides) and not sampled
    levels = [
        _levels(own, x, side, F, num_samples, from_table, tolerance)
        for own, x, side, F in zip(jax.random.split(key_E), (less, more), sides, free_energies, strict=True)
    ]
    energies = _differences(*levels)
    blocks = list(_blocks(key, pair, orbitals, sides, num_samples, tolerance))
    return SpectralFunction(
        _poles(pair, orbitals, sides, blocks, energies, added=True),
        _poles(pair, orbitals, sides, blocks, energies, added=False),
        mu,
    )


def lowest_states(gas, num_states: int) -> Int[np.ndarray, "S N"]:
    """The K of the lowest energies without interaction, at least num_states of them: for `states`."""
    energies = tuple(np.asarray(gas.orbitals.energies, float).tolist())
    return lowest_configurations(energies, gas.num_electrons, checked_integer("num_states", num_states, 1))


def state_energies(key, trained: TrainedGas, Ks, num_samples: int) -> list[Estimate]:
    """E_K in hartree of the states Ks, shape (S, N), each the mean of E_loc at num_samples exact samples."""
    Ks = checked_states(trained, Ks)
    num_samples = checked_integer("num_samples", num_samples, 2)
    vfe = trained.vfe
    args = (trained.gas,)
    sites = read_sites(vfe.model, trained.params, args)
    shared = (trained.params, as_arrays(args))
    hamiltonian = vfe.hamiltonian_for(args)
    which = np.repeat(np.arange(len(Ks)), num_samples)
    keys = jax.random.split(checked_key(key), len(which))
    energies = []
    for start in range(0, len(which), BATCH):
        some = (start + np.arange(min(BATCH, len(which)))) % len(which)
        walkers = keys[some], jnp.asarray(Ks, jnp.int32)[which[some]]
        found = _local_energies(vfe.model, sites, hamiltonian, shared, walkers, vfe.batching(sites))
        energies.append(np.asarray(found, float)[: len(which) - start])
    energies = np.concatenate(energies).reshape(len(Ks), num_samples)
    return [mean_of_independent(e[np.isfinite(e)]) for e in energies]


@compiled
def _local_energies(model, sites, hamiltonian, shared, walkers, batching: Batching):
    def one(shared, walker):
        params, args = shared
        key, K = walker
        born = measured_at(model, sites, params, {sites.state[0]: K}, args)
        R, is_exact = born.draw(key)
        values = {sites.state[0]: K, sites.measured: R}
        energy = local_energy(hamiltonian, born, values, sites)
        return jnp.where(is_exact, energy.kinetic.real + energy.potential, jnp.nan)

    return gathered(map_walkers(one, shared, walkers, batching.chunk_size, batching.mesh), batching.mesh)


class _Side(NamedTuple):
    """The states of one of the two density matrices that are summed over."""

    Ks: Int[np.ndarray, "S N"]
    log_p: Float[np.ndarray, " S"]
    group: Int[np.ndarray, " S"]  # of equal quantum numbers
    momentum: Float[np.ndarray, "G dim"]  # of each group
    is_tabulated: bool


class _Block(NamedTuple):
    """The elements between all K and all K' of two groups at one orbital."""

    orbital: int
    K: Int[np.ndarray, " m"]  # rows of the lists
    K_prime: Int[np.ndarray, " n"]
    elements: MatrixElements


def _listed(trained: TrainedGas, sites, Ks) -> _Side:
    args = (trained.gas,)
    p_K = state_at(trained.vfe.model, sites, trained.params, args)
    if Ks is None and p_K.tabulated is None:
        raise ValueError(
            "Expected `states`, the K and the K' to be summed over, since p(K) lists none; got None."
        )
    Ks = checked_states(trained, p_K.tabulated if Ks is None else Ks)
    Q = quantum_numbers(trained, sites, Ks)
    _, first, group = np.unique(Q, axis=0, return_index=True, return_inverse=True)
    log_p = np.asarray(p_K.log_prob(jnp.asarray(Ks)), float)
    return _Side(Ks, log_p, group.ravel(), momenta(trained.gas, Ks[first]), p_K.tabulated is not None)


def _blocks(key, pair: Pair, orbitals, sides, num_samples, tolerance) -> Iterator[_Block]:
    less, more = sides
    widths = tuple(int(np.bincount(side.group).max()) for side in sides)
    for o, k in enumerate(orbitals):
        for g, P in enumerate(less.momentum + pair.less.gas.orbitals.indices[k]):
            K = np.nonzero(less.group == g)[0]
            for h in np.nonzero(np.all(np.isclose(more.momentum, P, atol=1e-6), axis=1))[0]:
                K_prime = np.nonzero(more.group == h)[0]
                if np.exp(max(less.log_p[K].max(), more.log_p[K_prime].max())) < tolerance:
                    continue
                key, own = jax.random.split(key)
                samples = max(num_samples, SAMPLES_PER_STATE * len(K_prime))
                found = elements_of_block(
                    own, pair, int(k), less.Ks[K], more.Ks[K_prime], samples, widths=widths
                )
                yield _Block(o, K, K_prime, found)


def _poles(pair: Pair, orbitals, sides, blocks, energies, added: bool) -> Poles:
    p = np.exp(sides[0 if added else 1].log_p)
    energy, energy_error = energies
    rows = []
    folds = [np.zeros((FOLDS, 0))]
    sums = np.zeros((4, len(orbitals)))  # total and missing, and their variances
    seen = np.zeros((len(orbitals), len(p)), bool)
    for block in blocks:
        found = block.elements
        pairs = np.ix_(block.K_prime, block.K)
        shape = found.weight.shape
        weight = np.broadcast_to(p[block.K] if added else p[block.K_prime][:, None], shape)
        values = (energy[pairs], energy_error[pairs], weight * found.weight, weight * found.error)
        rows.append(np.stack([np.full(shape, block.orbital), *values]).reshape(5, -1))
        folds.append((weight * found.folds).reshape(FOLDS, -1))
        here = block.K if added else block.K_prime
        if added and not seen[block.orbital, here].any():
            variances = np.array([found.total_error, found.missing_error]) ** 2 @ p[here] ** 2
            sums[:, block.orbital] += [p[here] @ found.total, p[here] @ found.missing, *variances]
        elif added:  # states of another symmetry: what they hold was missing in the first block
            sums[1, block.orbital] -= np.sum(weight * found.weight)
            sums[3, block.orbital] += np.sum((weight * found.error) ** 2)
        seen[block.orbital, here] = True
    if not added:
        sums[:] = np.nan
    k, *columns = np.concatenate(rows, axis=1) if rows else np.zeros((5, 0))
    total, missing = (
        tuple(Estimate(float(x), float(np.sqrt(v)), np.nan) for x, v in zip(*sums[i::2], strict=True))
        for i in (0, 1)
    )
    gas = pair.less.gas
    waves = gas.orbitals.wavevectors[orbitals] / float(gas.rs)
    left_out = 1 - seen @ p
    return Poles(
        orbitals, waves, k.astype(int), *columns, np.concatenate(folds, axis=1), total, missing, left_out
    )


def _levels(key, trained: TrainedGas, side: _Side, F: Estimate, num_samples, from_table, tolerance):
    """E_K of the states of one side and their errors: F - T ln p(K), or of E_loc."""
    energy = F.value - float(trained.gas.temperature) * side.log_p
    error = np.full(len(energy), F.error)
    if from_table:
        return energy, error
    some = np.exp(side.log_p) >= tolerance if side.is_tabulated else np.ones(len(energy), bool)
    found = np.array([x[:2] for x in state_energies(key, trained, side.Ks[some], num_samples)])
    energy[some], error[some] = found.T
    return energy, error


def _differences(less, more):
    """E_K' - E_K, shape (S', S), and their errors."""
    return more[0][:, None] - less[0], np.hypot(more[1][:, None], less[1])


def _free_energy(key, trained: TrainedGas, num_samples: int) -> Estimate:
    draws = trained.vfe.evaluate(key, trained.params, num_samples, trained.gas)
    return mean_of_independent(draws.finite().free_energy)
