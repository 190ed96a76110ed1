r"""The best mixing of configurations in closed form:  H in each block of
pnct.states.configuration_interaction, from samples, and its eigenvectors.

Of all orthonormal states in the span of a block's Psi_t, t = 1 ... n, its eigenstates have the lowest F, the
lower ones with the larger p (Gibbs). The n states share one flow, so samples of all serve every matrix
element:

    S_tt' = E[ Psi_t^* Psi_t'/rho ],   H_tt' = E[ Psi_t^* (H Psi_t')/rho ],   R ~ rho = (1/n) sum_t |Psi_t|^2

S is the unit matrix but for noise. The same noise is in H, and S^{-1} H is free of it where the block is
closed under H: then H Psi_t' = sum_t Psi_t h_tt' holds at every R, and S^{-1} H = h for any samples. (The
linear method of variational Monte Carlo has this property: Nightingale and Melik-Alaverdian, Phys. Rev. Lett.
87, 043401 (2001).) What is not zero by twice its error is taken to be zero in the basis of the present
states, so that noise leaves converged states alone.

A tabulated p(K) (pnct.distributions.tabulated) is set to the Boltzmann factors exp(-E_n/T) of the
eigenvalues: the optimum for these states, with what is one-body in E_n given to the levels, so that states
which are not listed have their share of it.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from pnct.compilation import compiled
from pnct.distributions import Born, TabulatedOccupation
from pnct.inference.closed_form.boltzmann_weights import shell_occupations
from pnct.inference.closed_form.fits import jackknife_error, ridge
from pnct.inference.free_energy import VariationalFreeEnergy
from pnct.inference.sampling.batch import Batching
from pnct.inference.sampling.local_energy import local_energy
from pnct.inference.sampling.parallel import as_arrays, gathered, map_walkers
from pnct.inference.sampling.sites import Params, at_zero, measured_at, module_of_kind, read_sites, state_at
from pnct.networks.base import OccupationNetwork
from pnct.states.configuration_interaction import CIStates, ConfigurationInteraction
from pnct.validation import checked_integer

FOLDS = 20  # of the jackknife
ROUNDING = 1e-9  # of the matrix elements, so that it does not turn degenerate states
BATCH = 1024  # samples that are drawn together
MIN_VARIANCE = 1e-6  # variance of its occupation below which a level stays where it is
# states of a block: smaller ones are padded to the largest of these, since each size has to be compiled
MAX_SMALL_BLOCK = 32
MIN_SAMPLES_PER_ROW = 8  # samples for each row of a matrix: with fewer finite ones it stays as it is


def diagonalise(vfe: VariationalFreeEnergy, key, params: Params, num_samples: int, *args) -> Params:
    """The parameters with every block mixed to eigenstates of H, and a tabulated p(K) at its optimum for
    them.

    num_samples: exact samples of all blocks, see `shared_among_blocks`; at least 8 n for each n by n matrix.
    The module made by `configuration_interaction`, the site that names the states and the network of p(K) are
    found by their kind. All else stays as it is. Raises ValueError where the model has no such module.
    """
    num_samples = checked_integer("num_samples", num_samples, 1)
    sites = read_sites(vfe.model, params, args)
    states = measured_at(vfe.model, sites, params, at_zero(vfe.model, sites, params, args), args).states
    name = module_of_kind(params, ConfigurationInteraction)
    if name is None or not isinstance(states, CIStates):
        raise ValueError(
            f"Expected a module of configuration_interaction in the states; got {', '.join(params)}."
        )
    if len(sites.state) != 1:
        raise ValueError(f"Expected one site that names the states; got {sites.state}.")
    hamiltonian = vfe.hamiltonian_for(args)
    mixing = states.mixing
    blocks = states.mixing.blocks
    first = first_entries(mixing, blocks)
    p_K = state_at(vfe.model, sites, params, args)
    T = float(hamiltonian.temperature)
    thermal = T > 0 and p_K is not None and p_K.tabulated is not None
    counts = shared_among_blocks(
        num_samples, mixing, np.asarray(p_K.log_levels() + mixing.log_weights) if thermal else None
    )
    sums = sampled_elements(vfe, key, params, counts, args, sites, hamiltonian, mixing)

    coefficients = np.array(mixing.coefficients, float)
    energies = np.full(len(mixing.states), np.nan)
    for entry, found in sums.items():
        n = len(found.S[0])
        rows = entry + np.arange(n * n).reshape(n, n)
        coefficients[rows], E = eigenstates(coefficients[rows], found)
        for i in np.nonzero(first == entry)[0]:
            energies[blocks[i]] = E

    def like(x):
        return jnp.asarray(x, mixing.coefficients.dtype)

    mixed = eqx.tree_at(lambda module: module.coefficients, params[name], like(coefficients))
    params = params | {name: mixed}
    if not thermal:
        return params
    log_weights, shifts = thermal_weights(p_K, energies / T)
    network = module_of_kind(params, OccupationNetwork, sites.classical_params)
    return params | {
        name: eqx.tree_at(lambda module: module.log_weights, mixed, like(log_weights)),
        network: params[network].with_shell_shifts(like(p_K.network.shell_shifts() + shifts)),
    }


def shared_among_blocks(
    num_samples: int, mixing: ConfigurationInteraction, log_p: Float[np.ndarray, " S"] | None = None
) -> Int[np.ndarray, " blocks"]:
    """The number of samples of each block: in proportion to its states, or, where ln p(K) + constant is
    known, half of the work.

    The other half makes the entropy as sure as it can: an error of E_n/T moves S by p_n (ln p_n + S), and a
    sample of a block of n states takes n local energies and has 1/n of the weight for each state.
    """
    first = first_entries(mixing, mixing.blocks)
    sizes = np.array([len(block) for block in mixing.blocks])
    counts = num_samples * sizes / sizes.sum()
    if log_p is not None:
        log_p = log_p - np.logaddexp.reduce(log_p)
        moved = np.exp(log_p) * (log_p - np.exp(log_p) @ log_p)
        weight = np.array([np.linalg.norm(moved[block]) for block in mixing.blocks])
        if np.any(weight):
            counts = counts / 2 + (counts @ sizes) / 2 * weight / (weight @ sizes)
    shared = np.array([np.sum(first == entry) for entry in first])
    return np.maximum(counts.astype(int), -(-MIN_SAMPLES_PER_ROW * sizes // shared))


def sampled_elements(
    vfe, key, params: Params, counts, args, sites, hamiltonian, mixing
) -> dict[int, "Elements"]:
    """S and H of every distinct U, by its first entry, from so many samples of each block."""
    blocks = mixing.blocks
    first = first_entries(mixing, blocks)
    sizes = np.array([len(block) for block in blocks])
    sums = {entry: Elements.none(sizes[first == entry][0]) for entry in np.unique(first)}
    keys = jax.random.split(key, counts.sum())
    laid_out = (params, as_arrays(args))
    batching = vfe.batching(sites)
    for some in alike(sizes):
        widest = sizes[some].max()
        members = np.array([np.resize(blocks[i], widest) for i in some])
        signs = np.array([np.resize(mixing.signs[blocks[i][0], : sizes[i]], widest) for i in some])
        which = np.repeat(np.arange(len(some)), counts[some])
        own = keys[: len(which)]
        keys = keys[len(which) :]
        for start in range(0, len(which), BATCH):
            batch = which[start : start + BATCH]
            full = np.resize(batch, min(BATCH, len(which)))
            walkers = own[start + np.arange(len(full)) % len(batch)], members[full], sizes[some][full]
            psi, energy = jax.device_get(
                _amplitudes(vfe.model, sites, hamiltonian, laid_out, walkers, batching)
            )
            psi = psi[: len(batch)] * signs[batch]
            energy = energy[: len(batch)]
            entries = first[some][batch]
            for entry in np.unique(entries):
                n = len(sums[entry].S[0])
                here = entries == entry
                sums[entry] = sums[entry].added(psi[here, :n], energy[here, :n])
    return sums


def first_entries(mixing: ConfigurationInteraction, blocks: list) -> Int[np.ndarray, " blocks"]:
    """Where the U of each block begins: images of one block have one U."""
    return np.array([mixing.entries[block[0], 0] for block in blocks])


def alike(sizes: Int[np.ndarray, " blocks"]) -> list[Int[np.ndarray, " some"]]:
    """The blocks by size, each part with those of more than half of its largest, the last one with all small
    ones.
    """
    left = np.argsort(-sizes, kind="stable")
    parts = []
    while sizes[left[0]] > MAX_SMALL_BLOCK:
        some = sizes[left] > sizes[left[0]] / 2
        parts.append(left[some])
        left = left[~some]
        if not len(left):
            return parts
    return [*parts, left]


class Elements(NamedTuple):
    """S and H of a block of n states, summed over the samples of each fold of the jackknife, and how many
    these are.
    """

    S: Complex[np.ndarray, "folds n n"]
    H: Complex[np.ndarray, "folds n n"]
    count: int

    @classmethod
    def none(cls, n: int) -> "Elements":
        """Of no samples."""
        return cls(np.zeros((FOLDS, n, n), complex), np.zeros((FOLDS, n, n), complex), 0)

    def added(self, psi: Complex[np.ndarray, "B n"], energy: Complex[np.ndarray, "B n"]) -> "Elements":
        """With those of B samples more, Psi_t/rho^(1/2) and H Psi_t/Psi_t at each; those that are not finite
        are left out.
        """
        finite = np.all(np.isfinite(psi) & np.isfinite(energy), axis=1)
        psi = psi[finite]
        energy = energy[finite]
        fold = (self.count + np.arange(finite.sum())) % FOLDS
        folds = [(psi[fold == i], energy[fold == i]) for i in range(FOLDS)]
        S = np.array([psi.conj().T @ psi for psi, _ in folds])
        H = np.array([psi.conj().T @ (psi * energy) for psi, energy in folds])
        return Elements(self.S + S, self.H + H, self.count + len(fold))


def eigenstates(
    U: Float[np.ndarray, "n n"], found: Elements
) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, " n"]]:
    """The rows of U turned to eigenvectors, lowest first, and the eigenvalues; U and nan where there are too
    few samples.
    """
    n = len(U)
    if found.count < MIN_SAMPLES_PER_ROW * n:
        return U, np.full(n, np.nan)
    S = found.S.sum(axis=0)
    H = found.H.sum(axis=0)

    def effective(S, H):
        h = U @ np.linalg.solve(S, H).real @ U.T
        return (h + h.T) / 2

    h = effective(S, H)
    left_out = [effective(S - found.S[i], H - found.H[i]) for i in range(FOLDS)]
    error = jackknife_error(left_out)
    seen = np.abs(h) > 2 * error + ROUNDING * np.max(np.abs(h))
    h = np.where(seen | np.eye(n, dtype=bool), h, 0)
    energies, turn = np.linalg.eigh(h)
    return turn.T @ U, energies


def thermal_weights(
    p_K: TabulatedOccupation, reduced_energies: Float[np.ndarray, " S"]
) -> tuple[Float[np.ndarray, " S"], Float[np.ndarray, " levels"]]:
    """s_K, and what to add to the levels, for ln p(K) = -E_K/T + constant of the listed states.

    reduced_energies: E_K/T; nan where unknown, and there s_K = 0. The change of the levels is the
    least-squares fit with the weights exp(-E_K/T).
    """
    known = np.isfinite(reduced_energies)
    if not np.any(known):
        return np.zeros(len(known)), np.zeros(int(p_K.system.shell_index.max()) + 1)
    y = reduced_energies[known]
    n = shell_occupations(p_K.system, p_K.mixing.states[known])
    p = np.exp(y.min() - y)
    p /= p.sum()
    wanted = -y - np.asarray(p_K.log_levels(), float)[known]  # of s, were the levels to stay
    wanted = wanted - p @ wanted
    n = n - p @ n
    shifts = ridge(n, -wanted, MIN_VARIANCE, p)
    s = np.zeros(len(known))
    s[known] = wanted + n @ shifts
    return s, shifts - shifts.mean()


@compiled
def _amplitudes(model, sites, hamiltonian, shared, walkers, batching: Batching):
    """Psi_t/rho^(1/2) and H Psi_t/Psi_t of each state of its block at each sample, (B, n); zero beyond the
    block's size.
    """
    one = partial(_sample, model, sites, hamiltonian)
    return gathered(map_walkers(one, shared, walkers, batching.chunk_size, batching.mesh), batching.mesh)


def _sample(model, sites, hamiltonian, shared, walker) -> tuple[Array, Array]:
    params, args = shared
    key, members, size = walker
    choose, draw = jax.random.split(key)

    def in_state(K):
        return measured_at(model, sites, params, {sites.state[0]: K}, args)

    states = in_state(jnp.zeros(sites.num_particles, int)).states
    Ks = jnp.asarray(states.mixing.states)[members]
    K = Ks[jax.random.randint(choose, (), 0, size)]
    flow = in_state(K).flow  # the same for the whole block
    R, is_exact = Born(states.base, K, flow).draw(draw)
    R = jnp.where(is_exact, R, jnp.nan)

    def at(K):
        born = Born(states.base, K, flow)
        values = {sites.state[0]: K, sites.measured: R}
        return born.log_psi(R), local_energy(hamiltonian, born, values, sites)

    log_psi, energy = jax.vmap(at)(Ks)
    inside = jnp.arange(len(Ks)) < size
    psi = jnp.where(inside, jnp.exp(log_psi - jnp.max(log_psi.real)), 0)
    root_rho = jnp.sqrt(jnp.sum(jnp.abs(psi) ** 2) / size)
    return psi / root_rho, jnp.where(inside, energy.kinetic + energy.potential, 0)
