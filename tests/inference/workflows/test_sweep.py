"""A sweep starts each gas from the one before and compiles once."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

import pnct
import pnct.distributions as dist
from pnct import ElectronGas, hamiltonian
from pnct.distributions import transformer
from pnct.flows import Flow
from pnct.inference import natural_gradient
from pnct.inference.workflows.rounds import Rounds
from pnct.inference.workflows.sweep import described, sweep

TRACES = []


class Wave(Flow):
    """zeta = R + a sin(2 pi R/L) in a cell of two electrons: one parameter."""

    a: jax.Array

    def __call__(self, R):
        return R + self.a * jnp.sin(2 * np.pi * R / np.sqrt(2 * np.pi))


def model(gas):
    TRACES.append(gas)
    occupation = pnct.module("occupation", transformer(gas, layers=1, width=4, heads=1))
    flow = pnct.module("flow", lambda key: Wave(jnp.zeros(())))
    K = pnct.sample("K", dist.Occupation(gas, occupation))
    return pnct.sample("R", dist.Born(gas.orbitals, K, flow))


def gas(rs, theta, **kwargs):
    return ElectronGas((2, 0), 2, rs, theta, 0.25, cutoff=2.0, **kwargs)


@pytest.mark.slow
def test_each_starts_where_the_last_ended():
    optim, gases = natural_gradient(), [gas(2.0, 0.3), gas(3.0, 0.3), gas(3.0, 0.4)]
    run = sweep(random.key(0), model, gases, optim, 3, 16, warm_steps=0, num_walkers=8, progress_bar=False)
    solutions, traces = [], [len(TRACES)]
    for solution in run:
        solutions.append(solution)
        traces.append(len(TRACES))
    first, second, third = solutions
    assert np.diff(traces)[0] > np.diff(traces)[1] == np.diff(traces)[2]

    def same(a, b):
        return jax.tree.all(jax.tree.map(np.array_equal, a, b))

    assert same(first.params, second.params) and same(first.params, third.params)
    assert np.any(first.params["occupation"].out.weight)
    assert [s.draws.temperature for s in (first, second, third)] == pytest.approx(
        [g.temperature for g in gases]
    )
    assert first.history.free_energy.shape == (3,) and second.history.free_energy.shape == (0,)
    assert second.draws.potential.shape == (16,)
    exact = hamiltonian(gases[1]).potential(second.draws.samples["R"][0])
    assert second.draws.potential[0] == pytest.approx(float(exact))


@pytest.mark.slow
def test_settling_moves_the_levels_alone():
    settings = {"num_steps": 0, "num_samples": 4096, "num_walkers": 8, "progress_bar": False}

    def solve(rounds):
        return next(
            sweep(random.key(0), model, [gas(5.0, 0.2)], natural_gradient(), rounds=rounds, **settings)
        )

    plain, fit_shell_energies = solve(0), solve(1)

    def shifts(solution):
        return solution.params["occupation"].energy_shifts

    assert not np.any(shifts(plain)) and np.any(shifts(fit_shell_energies))
    put = eqx.tree_at(
        lambda params: params["occupation"].energy_shifts, fit_shell_energies.params, shifts(plain)
    )
    assert jax.tree.all(jax.tree.map(np.array_equal, put, plain.params))
    assert np.any(fit_shell_energies.draws.log_prob != plain.draws.log_prob)


def test_other_tables_are_refused():
    other = ElectronGas((2, 0), 2, 2.0, 0.3, 0.25, cutoff=3.0)
    with pytest.raises(ValueError, match="Expected gases that differ in rs and theta alone"):
        next(sweep(random.key(0), model, [gas(2.0, 0.3), other], natural_gradient(), 1, 8))


def test_progress_says_which_system_and_round():
    gases = [gas(2.0, 0.3), gas(3.0, 0.3)]
    assert [described(x, gases) for x in gases] == ["N = 2  rs = 2", "N = 2  rs = 3"]
    assert described(gases[0], gases[:1]) == "N = 2"
    assert described(gases[0], [gases[0], gas(2.0, 0.4)]) == "N = 2  theta = 0.3"
    rounds = Rounds(None, random.key(0), np.array([3, 6]), 16, gases[0])
    assert [rounds.stage(step) for step in (1, 3, 4, 6)] == ["round 1/2"] * 2 + ["round 2/2"] * 2
