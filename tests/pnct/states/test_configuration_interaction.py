"""Mixed configurations: which determinants, in which blocks; images; both exact samplers. Statistics: five
standard errors.
"""

from itertools import combinations, product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from small_flow import random_positions

from pnct.distributions import Determinantal
from pnct.states import SlaterJastrow, jastrow
from pnct.states.configuration_interaction import configuration_interaction
from pnct.states.electron_by_electron import few_enough_sets, sample_electron_by_electron
from pnct.states.lowest_configurations import lowest_configurations
from pnct.states.slater import as_states
from pnct.states.spin_adapted import spin_adapted
from pnct.states.superposition import sample_superposition
from pnct.systems.electron_gas import ElectronGas
from pnct.systems.harmonic_trap import HarmonicTrap

SIGMA = 5
BASES = {
    "polarised gas": as_states(ElectronGas((3, 0), 2, twist=0.25, cutoff=3.0).orbitals),
    "singlets and triplets": spin_adapted(ElectronGas((1, 1), 2, twist=0.25, cutoff=2.0).orbitals),
    "3D": as_states(ElectronGas((3, 0), 3, cutoff=1.0).orbitals),
    "dot": as_states(HarmonicTrap((2, 0), 1.0, 1.0, cutoff=3.0).orbitals),
}
MORE = BASES | {"two of each spin": spin_adapted(ElectronGas((2, 2), 2, twist=0.5, cutoff=3.0).orbitals)}
bases = pytest.mark.parametrize("name", BASES)


def mixed(base, lowest=40, seed=0):
    """Mixed states with random orthogonal matrices."""
    mixing = configuration_interaction(base, lowest)(random.key(seed))
    coefficients, generator = np.array(mixing.coefficients), np.random.default_rng(seed)
    for block in mixing.blocks:
        n = len(block)
        coefficients[mixing.entries[block, :n]] = np.linalg.qr(generator.normal(size=(n, n)))[0]
    return eqx.tree_at(lambda m: m.coefficients, mixing, jnp.asarray(coefficients))(base)


@pytest.mark.parametrize("num_electrons", [(3, 0), (2, 1), (0, 2)])
@pytest.mark.parametrize("num_determinants", [1, 7, 1000])
def test_lowest_configurations_are_those_of_a_full_list(num_electrons, num_determinants):
    energies = (0.0, 1.0, 1.0, 1.5, 3.0, 3.0)
    every = [sum(K, ()) for K in product(*(combinations(range(6), n) for n in num_electrons))]
    every = sorted((round(sum(energies[k] for k in K), 6), K) for K in every)
    last = every[min(num_determinants, len(every)) - 1][0]
    expected = [K for energy, K in every if energy <= last]
    assert lowest_configurations(energies, num_electrons, num_determinants).tolist() == [
        list(K) for K in expected
    ]


@bases
def test_blocks_have_equal_quantum_numbers_and_hold_every_state_once(name):
    states = mixed(BASES[name])
    mixing = states.mixing
    Q = np.asarray(jax.jit(jax.vmap(states.quantum_numbers))(mixing.states))
    blocks = mixing.blocks
    assert len(blocks) > 1 and max(len(block) for block in blocks) > 2
    for block in blocks:
        np.testing.assert_allclose(Q[block], np.tile(Q[block[0]], (len(block), 1)), atol=1e-9)
        others = np.delete(Q, block, axis=0)
        assert np.all(np.max(np.abs(others - Q[block[0]]), axis=1) > 1e-6)
        np.testing.assert_array_equal(mixing.partners[block, : len(block)], np.tile(block, (len(block), 1)))
    assert len(np.unique(np.concatenate(blocks))) == sum(len(block) for block in blocks)


@bases
def test_unmixed_states_are_the_base(name):
    base = BASES[name]
    states, zeta = configuration_interaction(base, 20)(random.key(0))(base), random_positions(base.space)
    unlisted = (
        np.arange(base.space.N) + len(base) - base.space.N
        if base.space.num_electrons[1] == 0
        else np.full(2, len(base) - 1)
    )
    both = jax.jit(lambda K: (states.log_amplitude(K, zeta), base.log_amplitude(K, zeta)))
    for K in (*states.mixing.states[[0, 3, -1]], unlisted):
        np.testing.assert_allclose(*both(K), rtol=1e-12)


@bases
def test_is_the_sum_of_the_determinants_of_its_block(name):
    states, zeta = mixed(BASES[name]), random_positions(BASES[name].space)
    mixing = states.mixing
    block = max(mixing.blocks, key=len)
    psi, phi = (
        np.exp(jax.jit(jax.vmap(lambda K: x.log_amplitude(K, zeta)))(mixing.states[block]))  # noqa: B023
        for x in (states, states.base)
    )
    U = (
        mixing.signs[block, : len(block)]
        * np.asarray(mixing.coefficients)[mixing.entries[block, : len(block)]]
    )
    np.testing.assert_allclose(U @ U.T, np.eye(len(block)), atol=1e-12)
    np.testing.assert_allclose(psi, U @ phi, rtol=1e-9)


@pytest.mark.parametrize(
    "name", ["polarised gas", pytest.param("two of each spin", marks=pytest.mark.slow), "3D"]
)
def test_images_under_symmetries_of_the_cell_are_mixed_alike(name):
    """Phi_n(R) of a block, and at g R that of the one of which it is an image: equal but for a sign, mixed or
    not.
    """
    base, zeta = MORE[name], random_positions(MORE[name].space)
    states, order, turned = mixed(base), base.orbitals.wedge_map(), 0
    mixing = states.mixing

    @jax.jit
    def values(Ks, R):
        def of(of_K):
            return jnp.exp(jax.vmap(lambda K: of_K.log_amplitude(K, R))(Ks))

        return of(states), of(base)

    turns = [
        np.asarray(order(base.orbitals.quantum_numbers(jnp.asarray(mixing.states[block[0]]))))
        for block in mixing.blocks
    ]
    straight = {
        mixing.entries[b[0], 0]: b
        for b, g in zip(mixing.blocks, turns, strict=True)
        if np.all(g == np.eye(len(g)))
    }
    for block, g in zip(mixing.blocks, turns, strict=True):
        own = straight[mixing.entries[block[0], 0]]
        here, there = values(mixing.states[block], zeta), values(mixing.states[own], zeta @ g.T)
        for a, b in zip(here, there, strict=True):
            np.testing.assert_allclose(a / b, np.sign((a / b).real), rtol=0, atol=1e-8)
        turned += own is not block
    assert turned > 2


CASES = [
    *((name, jnp.float64, sample_electron_by_electron) for name in MORE),
    ("3D", jnp.float32, sample_electron_by_electron),
    ("polarised gas", jnp.float64, sample_superposition),
    ("singlets and triplets", jnp.float32, sample_superposition),
]


@pytest.mark.parametrize(("name", "dtype", "sampler"), CASES)
def test_samples(name, dtype, sampler):
    """Moments of |Phi|^2 beside those of samples of each determinant in turn, weighted with |Phi|^2 over
    their mean density.
    """
    states, n = mixed(MORE[name], 20), 1024
    block = max(states.mixing.blocks, key=len)
    Ks = jnp.asarray(states.mixing.states[block])
    keys = random.split(random.key(0), (2, n))

    @jax.jit
    def draw(keys):
        return jax.lax.map(lambda key: sampler(key, states, Ks[1], dtype), keys, batch_size=64)

    @jax.jit
    def reweighted(keys):
        def one(x):
            key, K = x
            R = Determinantal(states.base, K).sample(seed=key)
            logs = jax.vmap(lambda K: states.base.log_amplitude(K, R).real)(Ks)
            return R, jnp.exp(2 * states.log_amplitude(Ks[1], R).real) / jnp.mean(jnp.exp(2 * logs))

        return jax.lax.map(one, (keys, Ks[jnp.arange(n) % len(Ks)]), batch_size=64)

    R, (other, weight) = np.asarray(draw(keys[0]), float), (np.asarray(x) for x in reweighted(keys[1]))
    assert np.all(np.isfinite(R))

    def moments(R):
        x = R * (2 * np.pi / states.space.L)
        pair = x[:, 0] - x[:, 1]
        return np.concatenate(
            [
                np.cos(pair),
                np.cos(x[:, 0]),
                np.cos(pair[:, :1] + x[:, 1, 1:2]),
                np.cos(pair[:, :1] * pair[:, 1:2]),
            ],
            1,
        )

    a, b = moments(R), moments(other)
    ones = weight.mean(), weight.std() / np.sqrt(n)
    assert abs(ones[0] - 1) < SIGMA * ones[1]
    expected, terms = (
        (weight[:, None] * b).mean(axis=0),
        weight[:, None] * (b - (weight[:, None] * b).mean(axis=0)),
    )
    error = np.hypot(a.std(axis=0), terms.std(axis=0)) / np.sqrt(n)
    assert np.all(np.abs(a.mean(axis=0) - expected) < SIGMA * error + 1e-6)


def test_many_sets_of_orbitals_are_left_to_rejection_and_an_orbital_named_twice_to_nobody():
    assert (
        few_enough_sets(65, (3, 0))
        and few_enough_sets(2, (7, 7))
        and not few_enough_sets(1, (13, 0))
        and not few_enough_sets(600, (3, 0))
    )
    twice = Determinantal(mixed(BASES["3D"]), jnp.array([0, 2, 2]))
    assert not np.any(np.isfinite(jax.jit(lambda key: twice.sample(seed=key))(random.key(0))))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("num_determinants", [0, 2.5, True])
def test_bad_input(num_determinants):
    with pytest.raises(ValueError, match="Expected num_determinants to be a whole number >= 1"):
        configuration_interaction(BASES["3D"], num_determinants)


def test_only_sums_of_determinants_are_mixed():
    gas = ElectronGas((1, 1), 2, cutoff=1.0)
    states = SlaterJastrow(gas.orbitals, jastrow(gas.space)(random.key(0)))
    with pytest.raises(ValueError, match="Expected states that are sums of determinants; got SlaterJastrow"):
        configuration_interaction(states)
