"""How far p(K) is from its optimum, and the step towards it, where both are known: free electrons with wrong
levels.
"""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from identity_flow import Identity
from wrong_levels import ENERGIES, GAS, LEVELS, WRONG, T, draws, exact, occupation

import pnct
import pnct.distributions as dist
from pnct.inference.closed_form.boltzmann_weights import (
    fit_shell_energies,
    occupation_optimum,
    shell_energy_shifts,
)


def test_the_formulae_are_the_first_terms_of_an_expansion_about_p():
    """Enumeration against the exact p* = exp(-E_K/T)/Z, for a p ever nearer to it."""
    errors = []
    for scale in (0.2, 0.1):
        log_p, S, F = exact(scale * WRONG)
        y, p = log_p + ENERGIES / T, np.exp(log_p)
        covariance = np.sum(p * (log_p + S) * (y - p @ y))
        _, S_best, F_best = exact(0 * WRONG)
        errors.append(
            (
                abs(S + covariance - S_best),
                abs(T / 2 * (p @ y**2 - (p @ y) ** 2) - (F - F_best)) / (F - F_best),
            )
        )
    (S_far, F_far), (S_near, F_near) = errors
    assert S_near < 0.3 * S_far  # of second order
    assert F_near < 0.6 * F_far < 0.1  # of first order, relatively


@pytest.mark.parametrize("noise", [0.0, 5.0])
def test_the_estimates_agree_with_enumeration(noise):
    """4 sigma. With the noise of a trained gas, the plain variance of y would be thousands of times too
    large.
    """
    estimate = occupation_optimum(GAS, draws(WRONG, 40_000, noise))
    log_p, S, _ = exact(WRONG)
    y, p = log_p + ENERGIES / T, np.exp(log_p)
    change, excess = np.sum(p * (log_p + S) * (y - p @ y)), T / 2 * (p @ y**2 - (p @ y) ** 2)
    assert abs(estimate.entropy_change.value - change) < 4 * estimate.entropy_change.error
    assert abs(estimate.free_energy_excess.value - excess) < 4 * estimate.free_energy_excess.error
    assert estimate.entropy_change.error < 0.08 and estimate.free_energy_excess.error < 0.5 * excess


def test_the_errors_are_those_of_repeated_runs():
    """100 runs of 2000 samples: the spread of a standard deviation is 7 %, bounds at 4 sigma."""
    runs = [occupation_optimum(GAS, draws(WRONG, 2000, 1.0, seed)) for seed in range(100)]
    for name in ("entropy_change", "free_energy_excess"):
        values, errors = np.array([[getattr(run, name).value, getattr(run, name).error] for run in runs]).T
        assert 0.72 < np.median(errors) / np.std(values) < 1.4


def test_the_step_takes_wrong_levels_back():
    steps = shell_energy_shifts(GAS, draws(WRONG, 4000, 0.0))
    wrong = exact(WRONG)[2] - exact(0 * WRONG)[2]
    assert exact(WRONG + steps)[2] - exact(0 * WRONG)[2] < 1e-6 * wrong
    noisy = shell_energy_shifts(GAS, draws(WRONG, 40_000, 5.0))
    assert exact(WRONG + noisy)[2] - exact(0 * WRONG)[2] < 0.2 * wrong


def test_a_level_that_no_sample_occupies_moves_with_the_others():
    some = draws(WRONG, 4000, 1.0)
    low = np.all(GAS.shell_index[some.samples["K"]] < LEVELS - 1, axis=1)
    steps = shell_energy_shifts(GAS, some.take(low))
    assert abs(steps[-1]) < np.max(np.abs(steps[:-1]))


def model(gas):
    network = pnct.module("occupation", lambda key: occupation(WRONG))
    K = pnct.sample("states", dist.Occupation(gas, network))
    return pnct.sample("electrons", dist.Born(gas.orbitals, K, Identity()))


def test_settled_parameters_have_a_lower_free_energy_and_the_same_flow():
    def evaluate(key, params, num_samples, system):
        return draws(np.asarray(params["occupation"].energy_shifts), num_samples, 5.0)

    vfe, params = (
        SimpleNamespace(evaluate=evaluate, model=model),
        {"occupation": occupation(WRONG), "flow": jnp.ones(3)},
    )
    better = fit_shell_energies(vfe, jax.random.key(0), params, 40_000, GAS)
    F = [exact(np.asarray(p["occupation"].energy_shifts))[2] for p in (params, better)]
    assert F[1] < F[0] and better["flow"] is params["flow"]
    best = {"occupation": occupation(0 * WRONG), "flow": jnp.ones(3)}
    assert (
        fit_shell_energies(vfe, jax.random.key(0), best, 40_000, GAS) is best
    )  # nothing that these samples could tell


def test_it_says_what_it_needs():
    few = draws(WRONG, 30, 0.0)
    with pytest.raises(ValueError, match="Expected 40 finite samples or more; got 30"):
        occupation_optimum(GAS, few)
    with pytest.raises(ValueError, match="Expected draws at a temperature > 0"):
        shell_energy_shifts(GAS, draws(WRONG, 60, 0.0)._replace(temperature=0.0))
    ideal = SimpleNamespace(
        model=lambda gas: pnct.sample("R", dist.Born(gas.orbitals, gas.ground_state, Identity()))
    )
    with pytest.raises(
        ValueError, match=r"Expected a network of p\(K\) with shell energies among the parameters; got flow"
    ):
        fit_shell_energies(ideal, jax.random.key(0), {"flow": jnp.ones(3)}, 100, GAS)
