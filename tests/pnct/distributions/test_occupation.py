"""p(K): normalised, exactly the ideal gas at first, sampled as it is written, differentiable everywhere."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from pnct import ElectronGas, ideal_gas
from pnct.distributions import occupation
from pnct.distributions.occupation import (
    BLOCK,
    Occupation,
    inverse_cdf,
    log_conditionals,
    running_sums,
    validate_occupation,
)
from pnct.networks.transformer import transformer

GASES = {
    "polarised": ElectronGas((4, 0), dim=2, rs=3.0, theta=0.4, twist=(0.1, 0.3), cutoff=3.0),
    "partly polarised": ElectronGas((2, 1), dim=2, rs=3.0, theta=0.4, twist=(0.1, 0.3), cutoff=3.0),
    "unpolarised": ElectronGas((2, 2), dim=3, rs=3.0, theta=0.8, cutoff=1.0),
    "all down": ElectronGas((0, 3), dim=2, rs=3.0, theta=0.6, twist=0.25, cutoff=2.5),
    "full table": ElectronGas((5, 1), dim=2, rs=3.0, theta=0.6, cutoff=1.0),
}
GAS = GASES["partly polarised"]
gases = pytest.mark.parametrize("gas", GASES.values(), ids=GASES.keys())
two_gases = pytest.mark.parametrize("gas", list(GASES.values())[:2], ids=list(GASES)[:2])


def all_states(gas):
    up, down = (list(itertools.combinations(range(len(gas.orbitals)), n)) for n in gas.num_electrons)
    return np.array([a + b for a in up for b in down], np.int32)


def make(gas, **settings):
    return transformer(gas, **{"layers": 1, "width": 8, "heads": 2, **settings})


def random_network(gas, seed=0, size=0.7, dtype=np.float64, **settings):
    """A network with all parameters random: a law far from the ideal gas, with shifted levels."""
    rng = np.random.default_rng(seed)
    shapes = eqx.filter_eval_shape(make(gas, **settings), random.key(0))
    return jax.tree.map(lambda x: jnp.asarray(size * rng.normal(size=x.shape), dtype), shapes)


def canonical_log_prob(gas, K, shifts=0.0):
    """ln p of the ideal gas, by summing over all states."""
    up = gas.num_electrons[0]
    b_up, b_down = (b + shifts for b in gas.reduced_energies)
    action = b_up[K[:, :up]].sum(1) + b_down[K[:, up:]].sum(1)
    return -action - np.log(np.sum(np.exp(-action)))


log_prob = jax.jit(Occupation.log_prob)
draw = jax.jit(lambda law, key, n: law.sample_and_log_prob(seed=key, sample_shape=n), static_argnums=2)


@two_gases
def test_a_tempered_law_raises_every_conditional_to_a_power(gas):
    """Normalised; the law itself at power 1; every orbital that leaves room equally likely at power 0;
    sampled as written.
    """
    law, states = Occupation(gas, random_network(gas)), all_states(gas)
    assert np.exp(log_prob(law.tempered(0.4), states)).sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_array_equal(log_prob(law.tempered(1.0), states), log_prob(law, states))
    np.testing.assert_allclose(
        log_prob(law.tempered(0.8).tempered(0.5), states), log_prob(law.tempered(0.4), states)
    )
    M, n = len(gas.orbitals), gas.num_electrons[0]
    floor = np.concatenate([np.full((len(states), 1), -1), states[:, : n - 1]], axis=1)
    flat = -np.log(M - n + np.arange(n) - floor).sum(1)
    if not gas.num_electrons[1]:
        np.testing.assert_allclose(log_prob(law.tempered(0.0), states), flat, atol=1e-12)
    K, log_p = draw(law.tempered(0.4), random.key(0), 2000)
    np.testing.assert_allclose(log_p, log_prob(law.tempered(0.4), K), rtol=1e-10)


@gases
def test_probabilities_sum_to_one(gas):
    law = Occupation(gas, random_network(gas))
    p = np.exp(log_prob(law, all_states(gas)))
    assert p.sum() == pytest.approx(1, abs=1e-12)
    assert np.max(np.abs(np.log(p) - canonical_log_prob(gas, all_states(gas)))) > 0.3


@gases
def test_without_network_is_the_ideal_gas(gas):
    K = all_states(gas)
    log_p = log_prob(Occupation(gas), K)
    np.testing.assert_allclose(log_p, canonical_log_prob(gas, K), atol=1e-11)
    assert -np.sum(np.exp(log_p) * log_p) == pytest.approx(ideal_gas(gas).entropy, abs=1e-11)


def test_starts_exactly_at_the_ideal_gas():
    K, network = all_states(GAS), jax.jit(make(GAS))(random.key(0))
    np.testing.assert_array_equal(log_prob(Occupation(GAS, network), K), log_prob(Occupation(GAS), K))


@two_gases
def test_shifted_levels_are_the_ideal_gas_of_the_shifted_energies(gas):
    network, K = random_network(gas, size=0.0), all_states(gas)
    shifts = np.random.default_rng(0).normal(size=network.energy_shifts.shape)
    shifted = eqx.tree_at(lambda n: n.energy_shifts, network, jnp.asarray(shifts))
    np.testing.assert_allclose(
        log_prob(Occupation(gas, shifted), K), canonical_log_prob(gas, K, shifts[gas.shell_index]), atol=1e-11
    )


@two_gases
def test_samples_follow_log_prob(gas):
    """Pearson's chi-square of 20 000 samples over states with 5 or more expected, below its mean
    + 5 sigma.
    """
    law, states, num_samples = Occupation(gas, random_network(gas, seed=1)), all_states(gas), 20_000
    K, given = draw(law, random.key(1), num_samples)
    assert K.dtype == jnp.int32
    assert K.shape == (num_samples, gas.N)
    np.testing.assert_allclose(given, log_prob(law, K), atol=1e-13)

    place = {tuple(k): i for i, k in enumerate(states.tolist())}
    counts = np.bincount([place[tuple(k)] for k in K.tolist()], minlength=len(states))
    expected = num_samples * np.exp(log_prob(law, states))
    rare = expected < 5
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], max(expected[rare].sum(), 1e-9))
    chi_square, freedom = np.sum((counts - expected) ** 2 / expected), len(counts) - 1
    assert chi_square < freedom + 5 * np.sqrt(2 * freedom)


def test_score_has_mean_zero():
    gas, network, K = GAS, random_network(GAS), all_states(GAS)

    @jax.jit
    def mean_score(network):
        p = jnp.exp(Occupation(gas, network).log_prob(K))
        return jax.grad(lambda n: jnp.sum(p * Occupation(gas, n).log_prob(K)))(network)

    for g in jax.tree.leaves(mean_score(network)):
        np.testing.assert_allclose(g, 0, atol=1e-12)


def test_one_electron_at_a_time_is_all_at_once():
    """The cached steps and the full pass give the same corrections."""
    gas = GASES["unpolarised"]
    law, previous = Occupation(gas, random_network(gas, layers=2)), np.arange(gas.N)
    correct = jax.jit(Occupation._correction)
    full, _ = correct(law, previous, np.arange(gas.N), law._empty_cache(gas.N))
    cache = law._empty_cache(gas.N)
    for t in range(gas.N):
        correction, cache = correct(law, previous[t : t + 1], np.arange(t, t + 1), cache)
        np.testing.assert_allclose(correction[0], full[t], atol=1e-13)


def test_a_growing_cache_draws_the_same_states(monkeypatch):
    gas = GASES["unpolarised"]
    law = Occupation(gas, random_network(gas, layers=2))
    draws = []
    for segment in (100, 3):
        monkeypatch.setattr(occupation, "SEGMENT", segment)
        draws.append(jax.jit(lambda key: law.sample(seed=key, sample_shape=(50,)))(jax.random.key(3)))
    np.testing.assert_array_equal(*draws)


def test_corrections_are_causal():
    """An electron's correction depends on all electrons before it, the up ones included, and on
    no later one.
    """
    gas = GASES["unpolarised"]
    law, electrons = Occupation(gas, random_network(gas, layers=2)), jnp.arange(gas.N)
    correction = jax.jit(lambda previous: law._correction(previous, electrons, law._empty_cache(gas.N))[0])
    before = correction(jnp.array([0, 1, 2, 3]))
    for t in range(1, gas.N):
        moved = np.any(correction(jnp.array([0, 1, 2, 3]).at[t].set(5)) != before, axis=1)
        np.testing.assert_array_equal(moved, np.arange(gas.N) >= t)


def test_impossible_states_have_probability_zero_and_finite_gradients():
    network, M = random_network(GAS), len(GAS.orbitals)
    K = np.array(
        [
            [1, 0, 0],
            [2, 2, 0],
            [-1, 0, 0],
            [0, 1, M],
            [0, M, 1],
            [M - 1, M - 1, 0],
            [M - 1, 0, M - 1],
            [0, 1, -1],
        ]
    )
    log_p = jax.jit(jax.vmap(jax.value_and_grad(lambda n, k: Occupation(GAS, n).log_prob(k)), (None, 0)))
    values, gradients = log_p(network, K)
    np.testing.assert_array_equal(values, -np.inf)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))
    assert np.isfinite(log_prob(Occupation(GAS, network), np.array([0, M - 1, M - 1])))


def test_gradients_are_finite_at_every_temperature():
    """In the parameters and in theta itself, in single precision."""
    gas = ElectronGas((5, 3), dim=3, rs=1.0, theta=0.1, cutoff=3.0)
    network = random_network(gas, dtype=np.float32)
    K = jnp.asarray([gas.ground_state, np.array([*range(2, 12, 2), 1, 5, 9])])

    def of(network, theta, K):
        return Occupation(eqx.tree_at(lambda g: g.theta, gas, theta), network).log_prob(K)

    value_and_gradient = jax.jit(
        jax.vmap(jax.vmap(jax.value_and_grad(of, (0, 1)), (None, 0, None)), (None, None, 0))
    )
    values, gradients = value_and_gradient(network, jnp.asarray([0.0, 1e-3, 0.05, 5.0]), K)
    assert values.dtype == jnp.float32
    assert np.isfinite(values).all()
    for g, x in zip(jax.tree.leaves(gradients[0]), jax.tree.leaves(network), strict=True):
        assert g.dtype == x.dtype == jnp.float32
        assert np.isfinite(g).all()
    assert np.isfinite(gradients[1]).all()


def test_zero_temperature_is_uniform_over_the_ground_states():
    """Three electrons in 2D: one at k = 0, two of the four of the next level."""
    gas = ElectronGas((3, 0), dim=2, theta=0.0, cutoff=2.0)
    p = np.exp(log_prob(Occupation(gas), all_states(gas)))
    ground = (all_states(gas)[:, 0] == 0) & (all_states(gas)[:, 2] <= 4)
    np.testing.assert_allclose(p[ground], 1 / 6, rtol=1e-12)
    np.testing.assert_allclose(p[~ground], 0, atol=1e-12)
    K, _ = draw(Occupation(gas), random.key(0), 200)
    assert np.all(K[:, 0] == 0) and np.all(K[:, 2] <= 4) and len(np.unique(K, axis=0)) == 6


def test_single_precision_agrees():
    gas = ElectronGas((13, 0), dim=2, rs=3.0, theta=0.15, twist=0.25, cutoff=10.0)
    double = random_network(gas)
    single = jax.tree.map(lambda x: x.astype(jnp.float32), double)
    K, log_p = draw(Occupation(gas, single), random.key(2), 50)
    assert log_p.dtype == jnp.float32
    np.testing.assert_allclose(log_p, log_prob(Occupation(gas, double), K), atol=2e-4)


def test_walkers_built_inside_vmap_and_map():
    """Also under lax.map, and with a traced temperature; the draws do not depend on how walkers
    are mapped.
    """
    network, keys = random_network(GAS), random.split(random.key(3), 6)

    def walker(network, theta, key):
        gas = eqx.tree_at(lambda g: g.theta, GAS, theta)
        law = Occupation(gas, network)
        K = law.sample(seed=key)
        return K, law.log_prob(K), law

    together = jax.jit(jax.vmap(walker, (None, None, 0)))
    K, log_p, laws = together(network, GAS.theta, keys)
    assert isinstance(laws, Occupation)
    mapped = jax.jit(lambda n, keys: jax.lax.map(lambda key: walker(n, GAS.theta, key)[:2], keys))(
        network, keys
    )
    np.testing.assert_array_equal(mapped[0], K)
    np.testing.assert_allclose(mapped[1], log_p, atol=1e-12)
    np.testing.assert_allclose(log_prob(Occupation(GAS, network), K), log_p, atol=1e-12)

    together(network, 2 * GAS.theta, keys)
    assert together._cache_size() == 1


def test_the_law_is_a_pytree():
    law = Occupation(GAS, random_network(GAS))
    leaves, structure = jax.tree.flatten(law)
    assert len(leaves) == len(jax.tree.leaves(law.network))
    K = jnp.asarray(GAS.ground_state)
    assert log_prob(jax.tree.unflatten(structure, leaves), K) == log_prob(law, K)
    assert (law.event_shape, law.batch_shape, law.dtype) == ((3,), (), jnp.int32)
    assert jax.eval_shape(law.log_prob, jnp.broadcast_to(K, (2, 4, 3))).shape == (2, 4)


def test_all_parameters_are_arrays_and_the_shifts_are_optional():
    network = eqx.filter_eval_shape(make(GAS), random.key(0))
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(network))
    assert network.energy_shifts.shape == (len(np.unique(GAS.shell_index)),)
    law = Occupation(GAS, random_network(GAS, learn_energies=False))
    assert np.exp(log_prob(law, all_states(GAS))).sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_inverse_cdf_never_takes_an_impossible_orbital(dtype):
    u = jnp.asarray([0.0, 0.5, 1 - jnp.finfo(dtype).epsneg], dtype)
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(500, 75)), dtype)
    p = jnp.exp(log_conditionals(logits, jnp.full(500, 9), jnp.full(500, 60)))
    take = jax.jit(jax.vmap(jax.vmap(inverse_cdf, (None, 0)), (0, None)))
    k = take(p, u)
    assert np.all((k > 9) & (k <= 60))
    np.testing.assert_array_equal(
        take(jnp.asarray([[0, 0.5, 0, 0.5, 0], [0, 0, 1, 0, 0]], dtype), u), [[1, 3, 3], [2, 2, 2]]
    )


@pytest.mark.usefixtures("unchecked")
def test_errors_say_what_was_expected():
    law = Occupation(GAS)
    with pytest.raises(ValueError, match=r"Expected K of shape \(\.\.\., 3\).*got shape \(4,\)"):
        law.log_prob(jnp.zeros(4, jnp.int32))
    with pytest.raises(ValueError, match="Expected whole numbers in K; got dtype float"):
        law.log_prob(jnp.zeros(3))
    larger = ElectronGas((2, 1), dim=2, twist=(0.1, 0.3), cutoff=6.0)
    with pytest.raises(ValueError, match="Expected energy_shifts of shape"):
        Occupation(GAS, random_network(larger))
    with pytest.raises(ValueError, match="Expected a network with 10 outputs"):
        jax.eval_shape(
            Occupation(GAS, random_network(larger, learn_energies=False)).log_prob, GAS.ground_state
        )
    with pytest.raises(ValueError, match="width a multiple of heads; got layers = 2, heads = 3, width = 16"):
        transformer(GAS, heads=3)


@pytest.mark.usefixtures("unchecked")
def test_validation_of_a_conditioned_state():
    M = len(GAS.orbitals)
    Occupation(GAS).check(GAS.ground_state)
    validate_occupation(GAS, [0, M - 1, M - 1])
    with pytest.raises(ValueError, match=r"strictly ascending orbitals of the up electrons; got \[1, 1\]"):
        validate_occupation(GAS, [1, 1, 0])
    with pytest.raises(ValueError, match=r"strictly ascending orbitals of the down electrons; got \[1, 0\]"):
        validate_occupation(GASES["unpolarised"], [0, 1, 1, 0])
    with pytest.raises(ValueError, match=f"0 <= k < {M} in K; got .* Raise `cutoff`"):
        validate_occupation(GAS, [0, M, 0])
    with pytest.raises(ValueError, match="Expected one K"):
        validate_occupation(GAS, np.zeros((2, 3), int))


def test_sums_of_many_numbers_take_no_matrix_of_them_all():
    """Above a block: the sums of numpy, and memory that grows with the numbers, not with their square."""
    M = 20 * BLOCK + 7
    rng = np.random.default_rng(1)
    p = rng.exponential(size=M) * rng.integers(0, 2, M)
    sums = jax.jit(running_sums).lower(p).compile()
    np.testing.assert_allclose(sums(p), np.cumsum(p), rtol=1e-13)
    assert sums.memory_analysis().temp_size_in_bytes < 20 * 8 * BLOCK**2 < 8 * M**2 / 4

    u = rng.uniform(size=200)
    found = jax.jit(jax.vmap(inverse_cdf, (None, 0)))(p, u)
    np.testing.assert_array_equal(found, np.searchsorted(np.cumsum(p), u * np.sum(p), side="right"))
