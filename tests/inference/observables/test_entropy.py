"""The entropy of p(K) from states alone, against a sum over all states."""

import itertools
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.handlers import condition

from pnct import ElectronGas
from pnct.distributions import Occupation
from pnct.inference.observables.entropy import CHUNK, entropy
from pnct.inference.sampling.sites import init_params
from pnct.models import electron_gas

GAS = ElectronGas((2, 1), dim=2, rs=3.0, theta=0.6, twist=(0.1, 0.3), cutoff=2.0)
STATES = np.array(
    [[*a, b] for a in itertools.combinations(range(len(GAS.orbitals)), 2) for b in range(len(GAS.orbitals))]
)


def shifted():
    """Parameters with levels further apart than those of the ideal gas, so that S is smaller."""
    params = init_params(electron_gas, jax.random.key(0), (GAS,))
    shifts = 0.8 * jnp.arange(len(params["occupation"].energy_shifts))
    return params | {"occupation": eqx.tree_at(lambda m: m.energy_shifts, params["occupation"], shifts)}


@jax.jit
def log_prob(program):
    return program.log_prob(STATES)


def test_it_is_the_sum_over_all_states(monkeypatch):
    monkeypatch.setattr(sys.modules[entropy.__module__], "BATCH", 4096)
    params = shifted()
    log_p, ideal = (
        np.asarray(log_prob(Occupation(GAS, params["occupation"]))),
        np.asarray(log_prob(Occupation(GAS))),
    )
    p = np.exp(log_p)
    exact, deviation = -p @ log_p, np.sqrt(p @ log_p**2 - (p @ log_p) ** 2)
    found = entropy(electron_gas, jax.random.key(1), params, 5000, GAS)
    assert abs(found.value - exact) < 4 * found.error
    assert found.ess == 5000 and found.error == pytest.approx(deviation / np.sqrt(5000), rel=0.05)
    assert abs(exact + np.exp(ideal) @ ideal) > 10 * found.error  # the parameters matter


def test_any_number_of_states():
    params = shifted()
    few = entropy(electron_gas, jax.random.key(1), params, CHUNK + 3, GAS)
    assert few == entropy(electron_gas, jax.random.key(1), params, CHUNK + 3, GAS)
    assert few.ess == CHUNK + 3 and few != entropy(electron_gas, jax.random.key(3), params, CHUNK + 3, GAS)


def test_what_has_no_entropy_is_refused():
    model = condition(electron_gas, {"K": GAS.ground_state})
    with pytest.raises(ValueError, match="unobserved site"):
        entropy(model, jax.random.key(1), shifted(), 100, GAS)
    with pytest.raises(ValueError, match="num_samples"):
        entropy(electron_gas, jax.random.key(1), shifted(), 1, GAS)
