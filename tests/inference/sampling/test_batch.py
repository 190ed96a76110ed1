"""Batches for a gradient come from a broader law than p(K); weighted, they give the averages of p(K)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from numpyro.handlers import condition
from small_flow import small_flow

import pnct
import pnct.distributions as dist
from pnct import ElectronGas, hamiltonian, ideal_gas
from pnct.distributions import transformer
from pnct.inference.free_energy import _init_params
from pnct.inference.sampling import sites as program
from pnct.inference.sampling.batch import BROADENED_SHARE, Batching, draw_batch, ladder

GAS = ElectronGas((3, 0), dim=2, rs=2.0, theta=0.15, twist=0.25)
B = 2048


def model(gas):
    K = pnct.sample(
        "K", dist.Occupation(gas, pnct.module("occupation", transformer(gas, layers=1, width=4, heads=1)))
    )
    return pnct.sample("R", dist.Born(gas.orbitals, K, small_flow(gas.space, size=0.1)))


def batch(model, scores, size=B):
    params = _init_params(model, random.key(0), (GAS,))
    sites = program.read_sites(model, params, (GAS,))
    draw = jax.jit(
        lambda key: draw_batch(
            model, sites, hamiltonian(GAS), params, (GAS,), key, Batching(size, 8, None), scores
        )
    )
    return draw(random.key(1))


def test_weighted_averages_are_those_of_the_law():
    walkers = batch(model, scores=True)
    assert np.all(np.isfinite(walkers.kinetic))
    assert np.max(walkers.weight) <= 1 / (1 - BROADENED_SHARE) + 1e-9
    ideal = ideal_gas(GAS)
    occupied = jnp.any(walkers.values["K"][:, :, None] == np.arange(len(GAS.orbitals)), axis=1)
    for f, exact in (
        (1.0, 1.0),
        (-walkers.log_prob, ideal.entropy),
        *zip(occupied.T, ideal.occupations[0], strict=True),
    ):
        x = np.asarray(walkers.weight * f)
        assert abs(x.mean() - exact) < 4 * x.std() / np.sqrt(B) + 1e-12


def test_a_cold_gas_shows_more_of_its_excited_states():
    """As many as the ladder says, against p alone."""
    K = np.asarray(batch(model, scores=True).values["K"])

    def excited(K):
        return np.mean(np.any(GAS.ground_state != K, axis=1))

    plain = ladder(B) == 1.0
    assert excited(K[~plain]) > 3 * excited(K[plain])


@pytest.mark.parametrize(
    "program", [model, condition(model, {"K": np.array(GAS.ground_state)})], ids=["p(K)", "one state"]
)
def test_weights_are_one_where_nothing_is_tempered(program):
    walkers = batch(program, scores=program is not model, size=16)
    np.testing.assert_array_equal(walkers.weight, 1.0)
