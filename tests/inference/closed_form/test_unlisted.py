"""The step of the states that are not listed, where the optimum is known: free electrons with wrong levels,
by enumeration.
"""

from itertools import combinations
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from identity_flow import Identity
from made_up_draws import draws_of_states

import pnct
import pnct.distributions as dist
from pnct import ElectronGas
from pnct.distributions import TabulatedOccupation, shell_energies
from pnct.inference.closed_form.boltzmann_weights import (
    fit_untabulated,
    shell_occupations,
    untabulated_shifts,
)
from pnct.primitives import is_trained
from pnct.states.configuration_interaction import configuration_interaction

GAS = ElectronGas((3, 0), dim=2, rs=1.0, theta=0.7, twist=0.1, cutoff=4.0)
T = float(GAS.temperature)
LEVELS = int(GAS.shell_index.max()) + 1
STATES = np.array(list(combinations(range(len(GAS.orbitals)), 3)))
ENERGIES = np.asarray(GAS.orbital_energies)[STATES].sum(axis=1)
WRONG = 0.3 + 0.2 * np.sin(1.0 + np.arange(LEVELS))  # in units of T, and not zero on average
LOWEST = 60  # states are listed at least


def parameters(wrong=WRONG):
    """Listed states at their optimum, up to their share in all; the levels of the others off by `wrong`."""
    mixing = configuration_interaction(GAS.orbitals, LOWEST)(jax.random.key(0))
    s = shell_occupations(GAS, mixing.states) @ wrong
    mixing = eqx.tree_at(lambda m: m.log_weights, mixing, jnp.asarray(s))
    return {
        "ci": mixing,
        "occupation": eqx.tree_at(lambda x: x.energy_shifts, shell_energies(GAS)(None), jnp.asarray(wrong)),
    }


def law_of(params):
    return TabulatedOccupation(GAS, params["occupation"], params["ci"])


def free_energy(params):
    log_p = np.asarray(law_of(params).log_prob(STATES))
    p = np.exp(log_p)
    np.testing.assert_allclose(p.sum(), 1, atol=1e-12)
    return float(np.sum(p * (T * log_p + ENERGIES))), log_p


def draws(params, num_samples, noise):
    """Samples of the law, with a local energy that fluctuates about E_K by `noise` times T."""
    log_p, rng = free_energy(params)[1], np.random.default_rng(0)
    i = rng.choice(len(STATES), num_samples, p=np.exp(log_p))
    energy = ENERGIES[i] + noise * T * rng.normal(size=num_samples) + 0.3j
    return draws_of_states(STATES[i], log_p[i], energy, T)


def model(gas):
    """With names of its own for all that is found by its kind."""
    ci = pnct.module("ci", lambda key: parameters()["ci"])
    energies = pnct.module("occupation", lambda key: parameters()["occupation"])
    K = pnct.sample("states", dist.TabulatedOccupation(gas, energies, ci))
    return pnct.sample("electrons", dist.Born(gas.orbitals, K, Identity()))


def moved(params, num_samples, noise):
    vfe = SimpleNamespace(
        evaluate=lambda key, trained, num_samples, system: draws(params, num_samples, noise), model=model
    )
    trained = {name: eqx.filter(module, is_trained) for name, module in params.items()}
    found = fit_untabulated(vfe, jax.random.key(0), trained, law_of(params), num_samples, GAS)
    if found is trained:
        return params
    constants = {name: eqx.filter(module, is_trained, inverse=True) for name, module in params.items()}
    return {name: eqx.combine(found[name], constants[name]) for name in params}


@pytest.mark.parametrize(("noise", "left"), [(0.0, 1e-6), (2.0, 0.15)])
def test_what_is_wrong_is_taken_back(noise, left):
    params = parameters()
    better = moved(params, 40_000, noise)
    (F, before), (lower, after), (best, _) = (free_energy(p) for p in (params, better, parameters(0 * WRONG)))
    assert lower - best < left * (F - best)
    listed = np.any(np.all(STATES[:, None] == params["ci"].states, axis=2), axis=1)
    assert 0 < listed.sum() < len(STATES)
    np.testing.assert_allclose(np.ptp((after - before)[listed]), 0, atol=1e-9)


def test_few_draws_of_either_kind_move_nothing():
    params = parameters()
    some = draws(params, 4000, 0.0)
    listed = np.any(np.all(some.samples["K"][:, None] == params["ci"].states, axis=2), axis=1)
    for kind in (listed, ~listed):
        kept = np.sort(np.concatenate([np.nonzero(kind)[0], np.nonzero(~kind)[0][:39]]))
        assert not np.any(untabulated_shifts(GAS, some.take(kept), law_of(params)))
    assert moved(params, 45, 0.0) is params
