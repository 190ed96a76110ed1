"""The gas of few electrons is electron_gas at first, and its flow then depends on the total momentum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.handlers import substitute, trace

from pnct import ElectronGas, hamiltonian
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.inference.observables.momentum_distribution import momentum_distribution
from pnct.inference.sampling.sites import init_params
from pnct.models import electron_gas, few_electrons

GAS = ElectronGas((2, 0), 2, rs=4.0, theta=0.6, twist=0.25, cutoff=2.0)


def test_it_is_electron_gas_at_first():
    """The same probabilities of states, and the same amplitudes."""

    def at(model, values):
        params = jax.jit(lambda key: init_params(model, key, (GAS,)))(jax.random.key(0))

        @jax.jit
        @jax.vmap
        def laws(values):
            sites = trace(substitute(model, {**params, **values})).get_trace(GAS)
            return sites["K"]["fn"].log_prob(values["K"]), sites["R"]["fn"].log_psi(values["R"])

        return laws(values)

    K = jnp.array([[0, 1], [0, 2], [1, 4]])
    R = jax.random.uniform(jax.random.key(1), (3, 2, 2), maxval=GAS.L)
    for found, expected in zip(
        *(at(m, {"K": K, "R": R}) for m in (few_electrons, electron_gas)), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.slow
def test_its_energies_and_momenta_are_those_of_electron_gas_at_first():
    kinetic, n = [], []
    for model in (electron_gas, few_electrons):
        vfe = VariationalFreeEnergy(model, hamiltonian(GAS), natural_gradient(), num_walkers=8)
        params = vfe.init(jax.random.key(0), GAS).params
        draws = vfe.evaluate(jax.random.key(1), params, 8, GAS)
        kinetic.append(draws.kinetic)
        n.append(momentum_distribution(jax.random.key(2), model, params, draws, GAS).n["up"])
    np.testing.assert_allclose(kinetic[0], kinetic[1], rtol=1e-12)
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
