"""NumPyro's tools that look at a model, or draw from it, read the supports of its sites."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from numpyro.handlers import seed, substitute, trace
from numpyro.infer import Predictive
from numpyro.infer.inspect import get_dependencies, get_model_relations
from numpyro.infer.util import log_density
from numpyro.util import format_shapes

import pnct
import pnct.distributions as dist
from pnct import ElectronGas
from pnct.distributions import shell_energies
from pnct.flows import backflow
from pnct.models import electron_gas

GAS = ElectronGas((2, 1), dim=2, rs=3.0, theta=0.4, twist=(0.1, 0.3), cutoff=2.0)


def small_gas(gas):
    """As electron_gas, with networks that compile at once."""
    occupation = pnct.module("occupation", shell_energies(gas))
    flow = pnct.module("flow", backflow(gas.space))
    K = pnct.sample("K", dist.Occupation(gas, occupation))
    return pnct.sample("R", dist.Born(gas.orbitals, K, flow))


@pytest.fixture(scope="module")
def sites():
    found = {}

    def run(key):
        found.update(trace(seed(small_gas, key)).get_trace(GAS))
        return {name: found[name]["value"] for name in ("K", "R")}

    values = jax.jit(run)(random.key(0))
    return {name: (found[name]["fn"], values[name]) for name in values}


def test_K_is_discrete_and_R_is_real(sites):
    (of_K, K), (of_R, R) = sites["K"], sites["R"]
    assert of_K.is_discrete and of_K.support.is_discrete and not of_R.is_discrete
    assert of_K.support.event_dim == 1 and of_R.support.event_dim == 2
    assert of_K.support(K).shape == () and of_K.support(K)
    assert of_R.support(R).shape == () and of_R.support(R)
    assert not of_K.support(K - 20) and not of_K.support(K + 0.5)
    assert of_K.shape() == (3,) and of_R.shape() == (3, 2)


@pytest.mark.parametrize("model", [small_gas, electron_gas])
def test_the_graph_of_a_model(model):
    """What numpyro.render_model draws: it has no more to it than the drawing, by graphviz."""
    from numpyro.infer.inspect import generate_graph_specification

    relations = get_model_relations(model, model_args=(GAS,))
    assert relations["sample_sample"]["R"] == ["K"] and relations["sample_sample"]["K"] == []
    assert set(relations["sample_param"]["R"]) == {"flow"} and relations["observed"] == []
    drawn = generate_graph_specification(relations, render_params=True)
    assert ("K", "R") in drawn["edge_list"] and ("flow", "R") in drawn["edge_list"]
    assert set(drawn["node_data"]) == {"K", "R", "occupation", "flow"}


def test_dependencies_shapes_and_densities_are_those_of_the_sites():
    assert set(get_dependencies(small_gas, model_args=(GAS,))["prior_dependencies"]["R"]) == {"K", "R"}

    def run(key):
        traced = trace(seed(small_gas, key)).get_trace(GAS)
        found["shapes"] = format_shapes(traced)
        params = {name: s["value"] for name, s in traced.items() if s["type"] == "param"}
        values = {name: traced[name]["value"] for name in ("K", "R")}
        joint, _ = log_density(seed(substitute(small_gas, params), key), (GAS,), {}, values)
        return joint, sum(jnp.sum(traced[name]["fn"].log_prob(values[name])) for name in values)

    found = {}
    joint, of_sites = jax.jit(run)(random.key(1))
    assert float(joint) == pytest.approx(float(of_sites))
    assert "K dist" in found["shapes"] and "R dist" in found["shapes"]


@pytest.mark.parametrize("parallel", [False, True])
def test_predictive_draws_whole_numbers_for_K(parallel):
    params = jax.jit(lambda key: init(key))(random.key(0))
    predictive = Predictive(small_gas, params=params, num_samples=4, parallel=parallel)
    samples = jax.jit(lambda key: predictive(key, GAS))(random.key(2))
    assert samples["K"].shape == (4, 3) and jnp.issubdtype(samples["K"].dtype, jnp.integer)
    assert samples["R"].shape == (4, 3, 2) and np.all(np.isfinite(samples["R"]))


def init(key):
    traced = trace(seed(small_gas, key)).get_trace(GAS)
    return {name: site["value"] for name, site in traced.items() if site["type"] == "param"}
