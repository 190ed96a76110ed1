"""No tracer outlives the trace that made it: JAX_CHECK_TRACER_LEAKS on the whole path of the smallest gas."""

import gc

import jax
import numpy as np
import pytest

import pnct
import pnct.distributions as dist
from pnct import ElectronGas, hamiltonian
from pnct.distributions import transformer
from pnct.flows import backflow
from pnct.inference import VariationalFreeEnergy, natural_gradient

GAS = ElectronGas((2, 0), dim=2, rs=4.0, theta=0.6, twist=0.1, cutoff=1.3)


def model(gas):
    occupation = pnct.module("occupation", transformer(gas, layers=1, width=2, heads=1))
    flow = pnct.module("flow", backflow(gas.space, depth=1, width=2))
    K = pnct.sample("K", dist.Occupation(gas, occupation))
    return pnct.sample("R", dist.Born(gas.orbitals, K, flow))


@pytest.fixture
def checking_leaks():
    """At every end of a trace jax collects garbage; what exists already is left out of that, which makes it
    quick.
    """
    gc.collect()
    gc.freeze()
    with jax.checking_leaks():
        yield
    gc.unfreeze()


@pytest.mark.slow  # a minute of one core; .ci/run runs it
def test_no_tracer_leaks(checking_leaks):
    vfe = VariationalFreeEnergy(model, hamiltonian(GAS), natural_gradient(), num_walkers=4)
    result = vfe.run(jax.random.key(0), 1, GAS, progress_bar=False)
    draws = vfe.evaluate(jax.random.key(1), result.params, 4, GAS)
    assert np.all(np.isfinite(draws.potential)) and bool(result.history.updated)


def test_a_leak_is_found(checking_leaks):
    kept = []
    with pytest.raises(Exception, match="Leaked trace"):
        jax.jit(lambda x: kept.append(x + 1))(1.0)
