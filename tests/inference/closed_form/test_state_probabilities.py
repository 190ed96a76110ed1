"""p(K) fitted to energies of listed states: against the exact optimum, which is known for free electrons with
wrong levels, and for a circuit.
"""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from identity_flow import Identity
from numpyro.handlers import condition

import pnct
import pnct.distributions as dist
from pnct import ElectronGas, hamiltonian
from pnct.distributions import Occupation, transformer
from pnct.inference import NumericalWarning, VariationalFreeEnergy, natural_gradient
from pnct.inference.closed_form.state_energies import StateEnergies
from pnct.inference.closed_form.state_probabilities import at_optimum, fit_state_probabilities, most_probable
from pnct.inference.sampling.sites import read_sites
from pnct.inference.workflows.rounds import run_in_rounds

KEY = jax.random.key
GAS = ElectronGas((3, 0), dim=2, rs=1.0, theta=0.5, twist=0.1, cutoff=2.0)
LEVELS = int(GAS.shell_index.max()) + 1
STATES = np.array(list(combinations(range(len(GAS.orbitals)), 3)))
ENERGIES = np.asarray(GAS.orbital_energies)[STATES].sum(axis=1)
T = float(GAS.temperature)


def network(key):
    """Whose levels are off by some tenths of T."""
    wrong = 0.4 * jnp.sin(1.0 + jnp.arange(LEVELS))
    return transformer(GAS, layers=1, width=8, heads=2)(key).with_shell_shifts(wrong)


def model(gas):
    K = pnct.sample("states", dist.Occupation(gas, pnct.module("occupation", network)))
    return pnct.sample("electrons", dist.Born(gas.orbitals, K, Identity()))


@pytest.fixture(scope="module")
def start():
    vfe = VariationalFreeEnergy(model, hamiltonian(GAS, interaction=None), natural_gradient(), num_walkers=32)
    params = vfe.init(KEY(0), GAS).params
    return vfe, params, read_sites(model, params, (GAS,))


def excess(params, energies=ENERGIES, states=STATES):
    """(F - F_best)/T of these states, by enumeration."""
    log_p = np.asarray(Occupation(GAS, params["occupation"]).log_prob(states))
    best = -energies / T
    best = best - np.logaddexp.reduce(best)
    return np.sum(np.exp(log_p) * (log_p - best)) - np.log(np.sum(np.exp(log_p)))


def known(energies, noise=0.0, seed=0):
    """Energies with independent noise of this many T, and what a jackknife of them would be."""
    noises = noise * T * np.random.default_rng(seed).normal(size=(20, len(energies))) * 20**0.5
    folds = energies + noises
    return StateEnergies(folds.mean(axis=0), (folds.sum(axis=0) - folds) / 19)


def test_a_round_takes_wrong_levels_back(start):
    """All 20 states listed, without noise; the plain step moves the shell energies alone."""
    vfe, params, _ = start
    settings = {"rounds": 1, "num_samples": 40, "init_state": vfe.init(KEY(0), GAS), "progress_bar": False}
    plain, fitted = (run_in_rounds(vfe, KEY(1), 0, GAS, **settings, num_states=n).params for n in (0, 20))
    assert excess(params) > 0.03 and excess(fitted) < 1e-3 * excess(params)
    assert np.any(fitted["occupation"].out.weight) and not np.any(plain["occupation"].out.weight)


def test_what_is_no_sum_of_levels_is_fitted_too(start):
    """All states of known energies: F is at its lowest to 1e-6 T."""
    _, params, sites = start
    energies = ENERGIES + 0.3 * T * np.sin(np.arange(len(STATES)))
    better = at_optimum(model, sites, params, STATES, known(energies), T, GAS)
    assert excess(params, energies) > 0.05 and excess(better, energies) < 1e-6


def test_noise_is_followed_no_further_than_it_tells(start):
    """With a noise of 0.2 T in each state F is (1/2) 0.2^2 = 0.02 T too high on average, at most; with one of
    5 T beside 1 T that is thought possible, (1/2)/26 T more than before: bounds at twice that.
    """
    _, params, sites = start
    some = at_optimum(model, sites, params, STATES, known(ENERGIES, 0.2), T, GAS)
    assert excess(some) < 0.03
    none = at_optimum(model, sites, params, STATES, known(ENERGIES, 5.0), T, GAS)
    assert excess(none) < excess(params) + 1 / 26


def test_the_list_holds_the_most_probable_states(start):
    _, params, sites = start
    states, log_p = most_probable(model, sites, params, KEY(2), 20, GAS)
    exact = np.asarray(Occupation(GAS, params["occupation"]).log_prob(STATES))
    np.testing.assert_allclose(log_p, np.sort(exact)[::-1][:20], rtol=1e-10)
    np.testing.assert_allclose(Occupation(GAS, params["occupation"]).log_prob(states), log_p, rtol=1e-10)


def test_it_says_what_it_needs(start):
    vfe, params, _ = start
    with pytest.warns(NumericalWarning, match="The 2 most probable states hold 0.* which stays"):
        assert fit_state_probabilities(vfe, KEY(1), params, 40, GAS, num_states=2) is params
    cold = ElectronGas((3, 0), dim=2, rs=1.0, theta=0.0, twist=0.1, cutoff=2.0)
    ground = VariationalFreeEnergy(
        condition(model, {"states": cold.ground_state}), hamiltonian, natural_gradient(), num_walkers=32
    )
    with pytest.raises(ValueError, match="Expected a temperature > 0; got T = 0"):
        fit_state_probabilities(ground, KEY(1), params, 40, cold)
