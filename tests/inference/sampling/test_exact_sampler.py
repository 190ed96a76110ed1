"""Exact ancestral samples and Metropolis samples of one |Psi_K|^2 have the same means. 5 sigma of both errors
together.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from pnct import ElectronGas
from pnct.distributions import Born
from pnct.estimate import mean_of_independent
from pnct.flows import ferminet
from pnct.inference import metropolis
from pnct.inference.diagnostics.diagnose import chain_estimate
from pnct.systems.ewald import ewald

GAS = ElectronGas((2, 1), dim=2, rs=5.0, theta=0.3, twist=(0.1, 0.25), cutoff=3.0)
K = jnp.array([0, 2, 1])


@pytest.fixture(scope="module")
def born():
    flow = ferminet(GAS.space, depth=2, width=6)(random.key(0))
    # Large enough to move the electrons, small enough that det J stays positive.
    out = jnp.asarray(0.3 * np.random.default_rng(0).normal(size=flow.out.shape))
    return Born(GAS.orbitals, K, eqx.tree_at(lambda flow: flow.out, flow, out))


def statistics(R):
    """The Ewald energy, and lopsided functions of pairs of equal and of opposite spin."""
    angle = 2 * np.pi / GAS.L * (R[0] - R[1]), 2 * np.pi / GAS.L * (R[0] - R[2])
    pairs = [f(a[0] + 0.3) * jnp.cos(a[1]) for a in angle for f in (jnp.cos, jnp.sin)]
    return jnp.stack([ewald(GAS.space)(R), *pairs])


def test_exact_and_markov_chain_samples_agree(born):
    keys = random.split(random.key(1), 4096)
    exact = jax.jit(lambda keys: jax.lax.map(lambda k: born.sample(seed=k), keys, batch_size=64))(keys)
    assert np.all(np.isfinite(exact))
    displaced = jax.vmap(born.flow)(exact) - exact
    assert float(jnp.mean(jnp.linalg.norm(displaced, axis=-1))) > 0.05  # the flow does something

    chains, acceptance = metropolis(
        random.key(2), born.log_prob, exact[:16], 600, thin=20, burn_in=500, step_size=0.3
    )
    assert 0.3 < acceptance < 0.7
    independent = jax.lax.map(statistics, exact, batch_size=64)
    correlated = jax.lax.map(jax.vmap(statistics), chains)
    for i in range(independent.shape[1]):
        a = mean_of_independent(independent[:, i])
        b, rhat = chain_estimate(np.asarray(correlated[:, :, i]))
        assert rhat < 1.03 and b.ess > 400
        assert abs(a.value - b.value) < 5 * np.hypot(a.error, b.error), (i, a, b)
