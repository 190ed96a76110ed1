"""The gas of few electrons is electron_gas at first, and its flow then depends on the total momentum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.handlers import substitute, trace

from pnct import ElectronGas, hamiltonian
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.inference.observables.momentum_distribution import momentum_distribution
from pnct.models import electron_gas, few_electrons

GAS = ElectronGas((2, 0), 2, rs=4.0, theta=0.6, twist=0.25, cutoff=2.0)


def untrained(model):
    """The parameters, and draws at them."""
    vfe = VariationalFreeEnergy(model, hamiltonian(GAS), natural_gradient(), num_walkers=8)
    params = vfe.init(jax.random.key(0), GAS).params
    return params, vfe.evaluate(jax.random.key(1), params, 8, GAS)


def test_it_is_electron_gas_at_first():
    (_, draws), (_, expected) = untrained(few_electrons), untrained(electron_gas)
    np.testing.assert_array_equal(draws.samples["K"], expected.samples["K"])
    np.testing.assert_allclose(draws.kinetic, expected.kinetic, rtol=1e-12)


@pytest.mark.slow
def test_its_momenta_are_those_of_electron_gas_at_first():
    n = [
        momentum_distribution(jax.random.key(2), model, *untrained(model), GAS).n["up"]
        for model in (electron_gas, few_electrons)
    ]
    np.testing.assert_allclose(n[0], n[1], atol=1e-12)


def test_the_flow_depends_on_the_momentum_once_its_slopes_are_not_zero():
    vfe = VariationalFreeEnergy(few_electrons, hamiltonian(GAS), natural_gradient(), num_walkers=8)
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: x + 0.1 * rng.normal(size=x.shape), vfe.init(jax.random.key(0), GAS).params
    )
    R = jnp.linspace(0.1, 0.9, 4).reshape(2, 2) * GAS.space.L

    def at(K):
        return trace(substitute(few_electrons, {**params, "K": jnp.array(K), "R": R})).get_trace(GAS)["R"][
            "fn"
        ]

    zeta = [at(K).distribution.flow(R) for K in ([0, 1], [0, 2], [1, 2])]
    assert min(np.max(np.abs(zeta[i] - zeta[j])) for i, j in ((0, 1), (0, 2), (1, 2))) > 1e-3
