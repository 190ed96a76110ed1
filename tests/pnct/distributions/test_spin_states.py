"""p(K) of spins: the free spins before training, normalised and drawn exactly after it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pnct.distributions import SpinStates, bit_transformer
from pnct.systems import SpinLattice, chain, pauli_sum

SPINS = SpinLattice(chain(4), pauli_sum(4, {"X0": -0.7, "X1": 0.2, "Y2": 1.1, "Z1 Z2": -1.0}), beta=1.3)
ALL = jnp.asarray(list(itertools.product((0, 1), repeat=4)))
H = np.array([0.7, 0.2, 1.1, 0.0])


def network(size):
    """A transformer, its parameters moved by normal numbers of this size."""
    made = bit_transformer(SPINS, layers=1, width=8)(jax.random.key(0))
    random = np.random.default_rng(0)
    return jax.tree.map(lambda x: x + size * random.normal(size=x.shape), made)


@pytest.mark.parametrize("made", [None, network(0.0)], ids=["no network", "untrained"])
def test_the_free_spins_at_first(made):
    """ln p(K) = -beta E_K - sum_i ln 2 cosh(beta h_i), to 1e-12."""
    energies = np.sum((2 * np.asarray(ALL) - 1) * H, axis=1)
    exact = -1.3 * energies - np.sum(np.log(2 * np.cosh(1.3 * H)))
    np.testing.assert_allclose(SpinStates(SPINS, made).log_prob(ALL), exact, atol=1e-12)


@pytest.mark.parametrize("power", [1.0, 0.4])
def test_normalised_and_drawn_exactly(power):
    """The sum over all K to 1e-12; 20 000 draws, with the cache, to 5 sigma."""
    law = SpinStates(SPINS, network(0.7)).tempered(power)
    p = np.exp(np.asarray(law.log_prob(ALL)))
    assert p.sum() == pytest.approx(1, abs=1e-12)
    K = np.asarray(jax.jit(lambda key: law.sample(seed=key, sample_shape=(20_000,)))(jax.random.key(1)))
    share = np.bincount(K @ (1 << np.arange(4)[::-1]), minlength=16) / len(K)
    assert np.all(np.abs(share - p) < 5 * np.sqrt(p * (1 - p) / len(K)) + 1e-12)


def test_a_power_tells_free_spins_of_equal_energy_apart():
    """No two states weigh the same in the broader distribution, though the field is the same everywhere."""
    spins = SpinLattice(chain(4), pauli_sum(4, {f"X{i}": -0.7 for i in range(4)}), 1.3)
    log_p = np.sort(np.asarray(SpinStates(spins).tempered(0.5).log_prob(ALL)))
    assert np.diff(log_p).min() > 0.01
    np.testing.assert_array_equal(
        SpinStates(spins).tempered(1.0).log_prob(ALL), SpinStates(spins).log_prob(ALL)
    )


def test_a_power_below_one_is_broader():
    entropies = []
    for power in (1.0, 0.5, 0.0):
        log_p = np.asarray(SpinStates(SPINS, network(0.7)).tempered(power).log_prob(ALL))
        entropies.append(-np.sum(np.exp(log_p) * log_p))
    assert entropies == sorted(entropies) and entropies[-1] == pytest.approx(4 * np.log(2), rel=1e-12)


@pytest.mark.parametrize("K", [[0, 1, 2, 0], [0, 1, 0], [0, -1, 0, 0], [0.0, 1.0, 0.0, 0.0]])
@pytest.mark.usefixtures("unchecked")
def test_what_is_no_bit_string_is_refused(K):
    with pytest.raises(ValueError, match=r"^Expected K to be 4 bits, 0 or 1; got "):
        SpinStates(SPINS).check(np.array(K))


def test_no_bit_string_has_no_probability():
    assert SpinStates(SPINS).log_prob(jnp.asarray([0, 1, 2, 0])) == -np.inf
    with pytest.raises(ValueError, match=r"^Expected K of shape \(..., 4\)"):
        SpinStates(SPINS).log_prob(jnp.asarray([0, 1, 1]))
