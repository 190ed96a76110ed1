"""The comparison is fair: the reference algorithm computes the same functions as we do. And the benchmark
runs.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_algorithm as published
from benchmark import HEADER, PHASES, Case, make_case, measure, shaken
from jax.flatten_util import ravel_pytree
from reference_network import as_ferminet, load

import pnct.distributions as dist
from pnct.distributions import transformer
from pnct.flows import ferminet
from pnct.hamiltonian import hamiltonian
from pnct.inference.optimisation.gradients import Scores
from pnct.inference.optimisation.natural_gradient import solve
from pnct.inference.sampling.scores import complex_score, value_and_score
from pnct.systems.electron_gas import ElectronGas
from pnct.systems.ewald import ewald

POLARISED_AND_NOT = [
    pytest.param(((3, 0), 2), id="2D"),
    pytest.param(((2, 1), 3), id="3D, two species", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=POLARISED_AND_NOT)
def case(request) -> Case:
    num_electrons, dim = request.param
    gas = ElectronGas(num_electrons, dim, rs=5.0, theta=0.5, twist=0.1, cutoff=3.0)
    networks = transformer(gas)(jax.random.key(0)), ferminet(gas.space)(jax.random.key(1))
    return Case("test", "random", gas, *(shaken(x, jax.random.key(2), 0.1) for x in networks))


@pytest.fixture
def K(case):
    return jnp.concatenate([jnp.arange(n) + 1 for n in case.gas.num_electrons])


@pytest.fixture
def R(case):
    return case.gas.L * jax.random.uniform(jax.random.key(3), (case.gas.N, case.gas.dim))


def orbitals_of(case):
    return dist.Occupation(case.gas, case.occupation)._table()


def test_same_wave_function_and_exact_local_energy_and_an_unbiased_probe(case, K, R):
    """The probe at 5 sigma."""
    gas, flow, keys = case.gas, case.flow, jax.random.split(jax.random.key(4), 512)
    probed = jax.vmap(lambda key: published.kinetic(flow, gas.orbitals, K, R, gas.rs, key).real)

    @jax.jit
    def both(K, R):
        program = dist.Born(gas.orbitals, K, flow)
        ours = program.log_psi(R), hamiltonian(gas).local_energy(program, R).kinetic
        re, im = published.ln_psi(flow, gas.orbitals, K, R)
        return ours, (re + 1j * im, published.kinetic(flow, gas.orbitals, K, R, gas.rs)), probed(keys)

    ours, reference, noisy = both(K, R)
    np.testing.assert_allclose(ours[0].real, reference[0].real, rtol=1e-9)
    np.testing.assert_allclose(np.exp(1j * (ours[0] - reference[0]).imag), 1, rtol=1e-9)
    np.testing.assert_allclose(ours[1], reference[1], rtol=1e-9)
    assert abs(np.mean(noisy) - ours[1].real) < 5 * np.std(noisy) / np.sqrt(len(keys))


def test_same_ewald_energy(case, R):
    np.testing.assert_allclose(published.pair_ewald(case.gas.space)(R), ewald(case.gas.space)(R), rtol=1e-9)


def test_same_occupation_law(case, K):
    ours = dist.Occupation(case.gas, case.occupation).log_prob(K)
    np.testing.assert_allclose(
        published.log_prob(case.gas, case.occupation, orbitals_of(case), K), ours, rtol=1e-9
    )


def test_the_slow_sampler_draws_from_the_same_law(case):
    """5 sigma, for every orbital."""
    program, M = dist.Occupation(case.gas, case.occupation), len(case.gas.orbitals)

    def occupied(K):
        return jnp.zeros(M).at[K].add(1.0)

    @jax.jit
    @jax.vmap
    def both(key):
        slow = published.draw_occupation(case.gas, case.occupation, orbitals_of(case), key)
        return occupied(program.sample(seed=key)), occupied(slow)

    keys = jax.random.split(jax.random.key(5), 4096)
    ours, reference = (np.asarray(x) for x in both(keys))
    error = np.sqrt((ours.var(0) + reference.var(0)) / len(keys)) + 1e-3
    assert np.all(np.abs(ours.mean(0) - reference.mean(0)) < 5 * error)


def test_same_scores_and_solution(case, K, R):
    gas = case.gas

    @jax.jit
    def both(K, R):
        # The table holds the learned levels: constant in the reference.
        slow = published.scores(gas, case.occupation, orbitals_of(case), case.flow, K, R)
        classical = value_and_score(lambda p: dist.Occupation(gas, p).log_prob(K), case.occupation)[1]

        def psi(flow):
            return dist.Born(gas.orbitals, K, flow).log_modulus_and_phase(R)

        return slow, (classical, complex_score(psi, case.flow))

    (classical, quantum), ours = both(K, R)

    def flat(tree):
        return jax.vmap(lambda one: ravel_pytree(one)[0])(tree)

    levels = case.occupation.energy_shifts.size
    np.testing.assert_allclose(classical[:, :-levels], flat(ours[0])[:, :-levels], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(quantum, flat(ours[1]), rtol=1e-9, atol=1e-11)

    e = jnp.array([0.3, -0.2])
    found = solve(Scores(quantum, e, jnp.ones(())), 1e-3)
    np.testing.assert_allclose(published.solve(quantum, e, 1), found, rtol=1e-6)


def test_metropolis_moves(case, K, R):
    moved = jax.jit(lambda key: published.metropolis(case.flow, case.gas.orbitals, K, R, key))(
        jax.random.key(6)
    )
    assert np.all(np.isfinite(moved)) and np.max(np.abs(moved - R)) > 0.01


def test_the_trained_network_is_a_ferminet(trained_networks):
    """But for a shift of all electrons alike."""
    trained = load(trained_networks, 10.0)
    space, R = trained.orbitals.space, jnp.asarray(trained.R[:4])
    expected = jax.jit(jax.vmap(trained.flow))(R) - trained.flow.output.b
    flow = as_ferminet(trained.flow, space)
    np.testing.assert_allclose(jax.jit(jax.vmap(flow))(R), expected, rtol=1e-12)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(lambda R: published.transform(flow, R)))(R), expected, rtol=1e-12
    )
    assert make_case("2d29").weights == "trained"


@pytest.mark.slow
def test_the_benchmark_runs():
    lines = []
    result = measure("2d3", walkers=4, batch=4, chunk_size=2, repeats=1, report=lines.append)
    assert set(result["phases"]) == {*PHASES, "exact local energy", "step"}
    assert (
        len(lines) == len(result["phases"]) + 1
        and 0 < result["floor"] < result["phases"]["local energy"]["ours"]
    )
    assert all(row["ours"] > 0 and row["reference"] > 0 for row in result["phases"].values())
    assert len(HEADER.splitlines()[1]) == len(lines[0])
