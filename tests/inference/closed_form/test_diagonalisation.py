"""Mixing in closed form: eigenstates of a known matrix from noisy samples, of two free electrons, and of
first order in V.
"""

from itertools import combinations, permutations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from identity_flow import Identity
from jax import random

import pnct
import pnct.distributions as dist
from pnct import ElectronGas, coulomb, hamiltonian
from pnct.distributions import shell_energies, transformer
from pnct.inference import VariationalFreeEnergy, natural_gradient, run_in_rounds
from pnct.inference.closed_form.boltzmann_weights import shell_occupations
from pnct.inference.closed_form.diagonalisation import (
    Elements,
    alike,
    diagonalise,
    eigenstates,
    shared_among_blocks,
    thermal_weights,
)
from pnct.inference.sampling.sites import read_sites
from pnct.inference.workflows.rounds import closed_form_step
from pnct.models import electron_gas
from pnct.states.configuration_interaction import configuration_interaction

GAS = ElectronGas((3, 0), 2, rs=10.0, theta=0.3, twist=0.25, cutoff=3.0)


def mixed_gas(system):
    """Plane-wave determinants, mixed; no flow."""
    occupation = pnct.module("occupation", transformer(system, layers=1, width=4, heads=1))
    states = pnct.module("ci", configuration_interaction(system.orbitals, 30))(system.orbitals)
    flow = pnct.module("flow", lambda key: Identity())
    K = pnct.sample("K", dist.Occupation(system, occupation))
    return pnct.sample("R", dist.Born(states, K, flow))


def routine(system=GAS, interaction=coulomb, model=mixed_gas):
    return VariationalFreeEnergy(model, hamiltonian(system, interaction), natural_gradient(), num_walkers=64)


def first_order_matrix(system, Ks):
    """<D_K|H|D_K'> of polarised determinants, by the Slater-Condon rules for pairs written out over all
    orderings.
    """
    k = np.asarray(system.orbitals.wavevectors)

    def v(q):
        return 0.0 if q @ q < 1e-9 else 2 * np.pi / (system.L**2 * np.sqrt(q @ q))

    def element(A, B):
        total = 0.0
        for p in permutations(range(len(B))):
            sign = np.linalg.det(np.eye(len(B))[list(p)])
            b = [B[i] for i in p]
            for i in range(len(A)):
                for j in range(i):
                    rest = [m for m in range(len(A)) if m not in (i, j)]
                    if all(A[m] == b[m] for m in rest) and np.allclose(k[A[i]] + k[A[j]], k[b[i]] + k[b[j]]):
                        total += sign * v(k[A[i]] - k[b[i]])
        return total / float(system.rs)

    H = np.array([[element(A, B) for B in Ks] for A in Ks])
    return H + np.diag(np.asarray(system.orbital_energies)[np.asarray(Ks)].sum(axis=1))


def off_diagonal(H):
    return np.max(np.abs(H - np.diag(np.diag(H))))


def samples_of(h, count, noise, seed=0):
    """Random amplitudes and local energies in a block that is closed under h, but for the noise."""
    generator = np.random.default_rng(seed)
    n = len(h)
    psi = generator.normal(size=(count, n)) + 1j * generator.normal(size=(count, n))
    psi *= (n / np.sum(np.abs(psi) ** 2, axis=1))[:, None] ** 0.5
    return psi, (psi @ h + noise * generator.normal(size=psi.shape)) / psi


def turned(start, psi, energy):
    """The eigenstates and their energies from samples that come in two parts."""
    n = len(start)
    return eigenstates(start, Elements.none(n).added(psi[:17], energy[:17]).added(psi[17:], energy[17:]))


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_eigenvectors_of_a_known_matrix(noise):
    h = np.random.default_rng(1).normal(size=(5, 5))
    h = h + h.T
    start = np.linalg.qr(np.random.default_rng(2).normal(size=(5, 5)))[0]
    U, E = turned(start, *samples_of(h, 2000, noise))
    np.testing.assert_allclose(U @ U.T, np.eye(5), atol=1e-12)
    tolerance = 1e-9 if noise == 0 else 0.05
    np.testing.assert_allclose(E, np.linalg.eigvalsh(h), atol=tolerance)
    np.testing.assert_allclose(np.diag(U @ h @ U.T), np.linalg.eigvalsh(h), atol=tolerance)
    assert off_diagonal(U @ h @ U.T) < 3 * tolerance < off_diagonal(h)


def test_blocks_of_like_size_are_sampled_together():
    sizes = np.array([1, 40, 3, 124, 63, 62, 1, 16, 31, 8])
    parts = alike(sizes)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(sizes)))
    assert [sizes[part].tolist() for part in parts] == [[124, 63], [62, 40], [31, 16, 8, 3, 1, 1]]
    assert [part.tolist() for part in alike(np.array([2, 2]))] == [[0, 1]]
    assert [part.tolist() for part in alike(np.array([20, 41]))] == [[1], [0]]
    assert [part.tolist() for part in alike(np.array([33, 41]))] == [[1, 0]]


def test_noise_does_not_turn_eigenvectors():
    h = np.diag([0.0, 1.0, 1.0, 2.0])
    found = [np.abs(turned(np.eye(4), *samples_of(h, 400, 0.01, seed=s))[0]) for s in range(40)]
    kept = sum(np.allclose(U * (1 - U), 0, atol=1e-9) for U in found)  # up to the order of equal energies
    assert kept > 20  # each of six elements passes with 95 %
    alone = np.abs(turned(np.eye(4), *samples_of(h, 400, 0.0))[0])
    np.testing.assert_allclose(alone * (1 - alone), 0, atol=1e-9)


def test_few_or_unsound_samples():
    h = np.array([[0.0, 1.0], [1.0, 0.0]])
    psi, energy = samples_of(h, 40, 0.0)
    U, E = turned(np.eye(2), psi[:15], energy[:15])
    np.testing.assert_array_equal(U, np.eye(2))
    assert np.all(np.isnan(E))
    energy[::3, 1] = np.nan
    U, E = turned(np.eye(2), psi, energy)
    np.testing.assert_allclose(E, [-1, 1], atol=1e-9)
    np.testing.assert_allclose(U @ h @ U.T, np.diag([-1, 1]), atol=1e-9)


def test_samples_go_where_they_make_the_entropy_sure():
    """By how much E_n/T moves S, by finite differences; the work, in local energies, is that of the plain
    rule.
    """
    mixing, number = configuration_interaction(GAS.orbitals, 60)(random.key(0)), 10_000_000
    sizes = np.array([len(block) for block in mixing.blocks])
    plain = shared_among_blocks(number, mixing)
    np.testing.assert_allclose(plain, number * sizes / sizes.sum(), atol=1)

    energies = 0.5 * np.arange(len(mixing.states)) ** 0.7

    def entropy(E):
        log_p = -E - np.logaddexp.reduce(-E)
        return -np.exp(log_p) @ log_p

    step = 1e-5 * np.eye(len(energies))
    slopes = np.array([(entropy(energies + h) - entropy(energies - h)) / 2e-5 for h in step])
    expected = np.array([np.sqrt(np.sum(slopes[block] ** 2)) for block in mixing.blocks])
    found = shared_among_blocks(number, mixing, 3.0 - energies)
    more = found - plain / 2
    np.testing.assert_allclose(more / more.sum(), expected / expected.sum(), atol=1e-5)
    assert found @ sizes == pytest.approx(plain @ sizes, rel=1e-4) and np.ptp(sizes) > 0
    assert np.all(shared_among_blocks(1, mixing, -energies) >= 1)


def test_coefficients_belong_to_no_law():
    """Their gradient is zero: rows of zeros for each of them would cost the natural gradient most of its
    time.
    """
    sites = read_sites(mixed_gas, routine().init(random.key(0), GAS).params, (GAS,))
    assert sites.classical_params == ("occupation",) and sites.measured_params == ()


def test_free_electrons_stay_unmixed():
    vfe = routine(interaction=None)
    params = vfe.init(random.key(0), GAS).params
    found = diagonalise(vfe, random.key(1), params, 1, GAS)
    size = np.abs(found["ci"].coefficients)  # equal energies may change places
    np.testing.assert_allclose(size * (1 - size), 0, atol=1e-9)
    assert all(found[name] is params[name] for name in params if name != "ci")


def test_without_flow_it_is_the_matrix_of_first_order():
    """Each block's states have the eigenvalues of <D_K|H|D_K'>, lowest first: with a p(K) that falls, F is
    lower.
    """
    vfe = routine()
    params = vfe.init(random.key(0), GAS).params
    found = diagonalise(vfe, random.key(1), params, 8192, GAS)
    mixing = configuration_interaction(GAS.orbitals, 30)(random.key(0))
    coefficients, checked = np.asarray(found["ci"].coefficients), 0
    for block in mixing.blocks:
        U = mixing.signs[block, : len(block)] * coefficients[mixing.entries[block, : len(block)]]
        H = first_order_matrix(GAS, mixing.states[block].tolist())
        np.testing.assert_allclose(U @ U.T, np.eye(len(block)), atol=1e-10)
        size = np.ptp(np.linalg.eigvalsh(H))
        np.testing.assert_allclose(np.diag(U @ H @ U.T), np.linalg.eigvalsh(H), atol=0.03 * size)
        assert np.all(np.cumsum(np.diag(U @ H @ U.T)) < np.cumsum(np.diag(H)) + 1e-3 * size + 1e-9)
        checked += off_diagonal(H) > 0.1 * size
    assert checked >= 5


def tabulated_gas(system):
    """As mixed_gas, with a number for each listed state."""
    mixing = pnct.module("ci", configuration_interaction(system.orbitals, 30))
    K = pnct.sample(
        "K", dist.TabulatedOccupation(system, pnct.module("occupation", shell_energies(system)), mixing)
    )
    return pnct.sample(
        "R", dist.Born(mixing(system.orbitals), K, pnct.module("flow", lambda key: Identity()))
    )


def test_tabulated_states_get_their_boltzmann_factors():
    """Of the eigenvalues of the matrix of first order, image by image: ln p(K) + E_K/T is the same for all,
    but for noise.
    """
    system = ElectronGas((3, 0), 2, rs=10.0, theta=1.0, twist=0.25, cutoff=3.0)
    vfe = routine(system, model=tabulated_gas)
    params = diagonalise(vfe, random.key(1), vfe.init(random.key(0), system).params, 32_768, system)
    mixing = eqx.combine(params["ci"], configuration_interaction(system.orbitals, 30)(random.key(0)))
    program = dist.TabulatedOccupation(system, params["occupation"], mixing)
    E = np.empty(len(mixing.states))
    for block in mixing.blocks:
        E[block] = np.linalg.eigvalsh(first_order_matrix(system, mixing.states[block].tolist()))
    E /= float(system.temperature)
    p = np.exp(E.min() - E) / np.sum(np.exp(E.min() - E))

    def excess(log_p):
        return p @ (log_p + E - p @ (log_p + E)) ** 2

    ideal = -np.asarray(system.reduced_energies[0])[mixing.states].sum(axis=1)
    log_p = np.asarray(jax.jit(program.log_prob)(jnp.asarray(mixing.states)))
    assert excess(log_p) < 0.05 * excess(ideal)
    first, whole = mixing.entries[:, 0], np.asarray(mixing.log_weights + program.log_levels())
    assert all(np.ptp(whole[first == entry]) < 1e-9 for entry in first[[block[0] for block in mixing.blocks]])


def test_other_samples_move_only_the_states_that_are_not_listed():
    system = ElectronGas((3, 0), 2, rs=10.0, theta=1.0, twist=0.25, cutoff=3.0)
    vfe, key = routine(system, model=tabulated_gas), random.key(1)
    start = vfe.init(random.key(0), system).params
    first = diagonalise(vfe, random.split(key)[0], start, 2048, system)
    both = closed_form_step(vfe, key, start, 2048, system)
    np.testing.assert_array_equal(both["ci"].coefficients, first["ci"].coefficients)
    static = configuration_interaction(system.orbitals, 30)(random.key(0))

    def law_of(p):
        return dist.TabulatedOccupation(system, p["occupation"], eqx.combine(p["ci"], static))

    states = np.array(list(combinations(range(len(system.orbitals)), 3)))
    before, after = (np.asarray(jax.jit(law_of(p).log_prob)(jnp.asarray(states))) for p in (first, both))
    listed = np.any(np.all(states[:, None] == static.states, axis=2), axis=1)
    np.testing.assert_allclose(np.ptp((after - before)[listed]), 0, atol=1e-9)
    assert np.ptp((after - before)[~listed]) > 1e-3
    np.testing.assert_allclose(np.sum(np.exp(after)), 1, atol=1e-9)


def test_what_is_one_body_goes_to_the_levels():
    """Boltzmann factors of other levels, known for half of the states: nothing is left for the listed, all is
    for the others.
    """
    mixing = configuration_interaction(GAS.orbitals, 60)(random.key(0))
    program = dist.TabulatedOccupation(GAS, shell_energies(GAS)(random.key(0)), mixing)
    c = np.array([0.3, -0.5, 0.2, 0.4, -0.1])[: int(GAS.shell_index.max()) + 1]
    n = shell_occupations(GAS, mixing.states)
    y = np.asarray(-program.log_levels()) + n @ c + 7.0
    y[::2] = np.nan
    s, shifts = thermal_weights(program, y)
    np.testing.assert_allclose(s, 0, atol=1e-4)
    occupied = n[1::2].max(axis=0) > 0
    np.testing.assert_allclose(np.ptp((shifts - c)[occupied]), 0, atol=1e-4)
    nothing, none = thermal_weights(program, np.full(len(y), np.nan))
    assert not nothing.any() and not none.any()


@pytest.mark.slow
def test_rounds_resume_to_the_same_numbers(tmp_path):
    system = ElectronGas((2, 0), 2, rs=5.0, theta=0.3, twist=0.25, cutoff=2.0)
    vfe = routine(system)

    def run(directory):
        return run_in_rounds(vfe, random.key(0), 5, system, 2, 256, progress_bar=False, checkpoint=directory)

    result = run(tmp_path)
    assert result.history.free_energy.shape == (5,) and int(result.state.step) == 5
    assert sorted(p.name for p in tmp_path.iterdir())[-1] == "steps.jsonl"  # one directory for all rounds

    def same(a, b):
        return jax.tree.all(jax.tree.map(np.array_equal, a, b))

    assert same(result.params, run(tmp_path).params)
    fewer = run_in_rounds(
        vfe, random.key(0), 1, system, 3, 256, progress_bar=False
    )  # two of the rounds have no steps
    assert fewer.history.failed_label.shape == (1, 2)
    start = vfe.init(random.key(0), system).params
    assert np.any(result.params["ci"].coefficients != start["ci"].coefficients)


def test_other_models_are_refused():
    vfe = routine(model=electron_gas)
    params = vfe.init(random.key(0), GAS).params
    with pytest.raises(ValueError, match="Expected a module of configuration_interaction"):
        diagonalise(vfe, random.key(1), params, 100, GAS)
