"""p(K) with a table of low states, against a sum over all states: normalised, sampled as written,
differentiable.
"""

import itertools
from functools import lru_cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from pnct import ElectronGas, HarmonicTrap
from pnct.distributions import Occupation, TabulatedOccupation, shell_energies, transformer
from pnct.inference.sampling.sites import init_params, read_sites
from pnct.models import few_electrons
from pnct.states.configuration_interaction import configuration_interaction
from pnct.states.spin_adapted import spin_adapted

SYSTEMS = {
    "polarised": ElectronGas((3, 0), dim=2, rs=3.0, theta=0.4, twist=(0.1, 0.3), cutoff=3.0),
    "partly polarised": ElectronGas((2, 1), dim=2, rs=3.0, theta=0.4, twist=(0.1, 0.3), cutoff=2.0),
    "singlets and triplets": ElectronGas((1, 1), dim=3, rs=3.0, theta=0.8, cutoff=2.0),
    "all down": ElectronGas((0, 3), dim=2, rs=3.0, theta=0.6, twist=0.25, cutoff=2.5),
    "dot": HarmonicTrap((2, 0), beta=1.0, cutoff=3),
}
systems = pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)


def all_states(system):
    up, down = (list(itertools.combinations(range(len(system.orbitals)), n)) for n in system.num_electrons)
    return np.array([a + b for a in up for b in down], np.int32)


@lru_cache
def random_law(system, size=1.0, seed=0):
    """Shifted levels, and numbers for about a third of all states, far from those of the levels."""
    rng, number = np.random.default_rng(seed), len(all_states(system)) // 3
    base = spin_adapted(system.orbitals) if isinstance(system, ElectronGas) else system.orbitals
    mixing = configuration_interaction(base, number)(random.key(0))
    s = jnp.asarray(size * rng.normal(size=len(mixing.states)))
    shifts = shell_energies(system)(random.key(0)).energy_shifts
    module = eqx.tree_at(
        lambda m: m.energy_shifts,
        shell_energies(system)(random.key(0)),
        jnp.asarray(rng.normal(size=shifts.shape)),
    )
    return TabulatedOccupation(system, module, eqx.tree_at(lambda m: m.log_weights, mixing, s))


def enumerated(law, power=1.0):
    """ln p of all states, from the definition."""
    up, K = law.system.num_electrons[0], all_states(law.system)
    b_up, b_down = (
        np.asarray(b) + np.asarray(law.network.energy_shifts)[law.system.shell_index]
        for b in law.system.reduced_energies
    )
    action = b_up[K[:, :up]].sum(1) + b_down[K[:, up:]].sum(1)
    weight = dict(
        zip(map(tuple, law.mixing.states.tolist()), np.asarray(law.mixing.log_weights), strict=True)
    )
    log_w = power * (np.array([weight.get(tuple(k), 0.0) for k in K.tolist()]) - action)
    return log_w - np.logaddexp.reduce(log_w)


def log_prob(law, K, power=1.0):
    return jax.jit(lambda K: law.tempered(power).log_prob(K))(K)


@systems
@pytest.mark.parametrize("power", [1.0, 0.3])
def test_it_is_the_law_that_the_table_says(system, power):
    law = random_law(system)
    assert 10 < len(law.mixing.states) < 0.7 * len(all_states(system))
    np.testing.assert_allclose(log_prob(law, all_states(system), power), enumerated(law, power), atol=1e-10)


@systems
def test_samples_have_these_probabilities(system):
    """The frequency of each state that 20 samples or more are expected of, and of all others together; 5
    sigma.
    """
    law, states, n = random_law(system), all_states(system), 20_000
    K = jax.jit(lambda key: law.tempered(0.8).sample(seed=key, sample_shape=n))(random.key(1))
    index = {tuple(k): i for i, k in enumerate(states.tolist())}
    count = np.bincount([index[tuple(k)] for k in K.tolist()], minlength=len(states))
    p = np.exp(enumerated(random_law(system), 0.8))
    often = n * p > 20
    assert np.sum(often) > 15
    found, expected = (np.append(x[often], x[~often].sum()) for x in (count / n, p))
    assert np.max(np.abs(found - expected) / np.sqrt(expected * (1 - expected) / n + 1e-12)) < 5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_states_that_are_all_but_certain_or_forbidden(dtype):
    law = random_law(SYSTEMS["polarised"])
    s = np.full(len(law.mixing.states), -40.0)
    s[7] = 40.0
    levels, mixing = eqx.tree_at(lambda m: m[1].log_weights, (law.network, law.mixing), jnp.asarray(s))
    single = jax.tree.map(
        lambda x: jnp.asarray(x, dtype) if isinstance(x, jax.Array) else x, (levels, mixing)
    )
    law = TabulatedOccupation(law.system, *single)
    K, log_p = jax.jit(lambda law: law.sample_and_log_prob(seed=random.key(0), sample_shape=100))(law)
    assert log_p.dtype == dtype
    np.testing.assert_array_equal(K, np.tile(law.mixing.states[7], (100, 1)))
    np.testing.assert_allclose(log_p, 0, atol=1e-5 if dtype == np.float32 else 1e-9)


def test_without_numbers_it_is_the_canonical_law():
    law = random_law(SYSTEMS["partly polarised"], size=0.0)
    network = eqx.tree_at(
        lambda t: t.energy_shifts, transformer(law.system)(random.key(0)), law.network.energy_shifts
    )
    K = all_states(law.system)
    np.testing.assert_allclose(
        log_prob(law, K), jax.jit(Occupation.log_prob)(Occupation(law.system, network), K), atol=1e-12
    )


def test_scores_are_those_of_the_levels():
    """d ln p/d shift_s = <n_s> - n_s(K); the numbers of the listed states have no gradient, and belong to no
    law.
    """
    law = random_law(SYSTEMS["singlets and triplets"])
    K = all_states(law.system)
    shells = law.system.shell_index[K]
    n = np.stack([(shells == s).sum(1) for s in range(shells.max() + 1)], axis=1)
    score = jax.jit(
        jax.vmap(jax.grad(lambda x, k: TabulatedOccupation(law.system, x, law.mixing).log_prob(k)), (None, 0))
    )
    np.testing.assert_allclose(
        score(law.network, K).energy_shifts, np.exp(enumerated(law)) @ n - n, atol=1e-10
    )
    gas = ElectronGas((2, 0), dim=2, cutoff=2.0)
    laws = read_sites(few_electrons, init_params(few_electrons, random.key(0), (gas,)), (gas,))
    assert laws.classical_params == ("occupation",) and laws.measured_params == ("flows",)


def test_states_of_another_system_are_refused():
    law = random_law(SYSTEMS["polarised"])
    with pytest.raises(ValueError, match="Expected listed states of 2 electrons in"):
        TabulatedOccupation(SYSTEMS["dot"], shell_energies(SYSTEMS["dot"])(random.key(0)), law.mixing)
    with pytest.raises(ValueError, match="Expected energy_shifts of shape"):
        TabulatedOccupation(SYSTEMS["dot"], law.network, law.mixing)
