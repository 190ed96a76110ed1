"""NumPyro's handlers on the electron gas: one program, no second interface."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as numpyro_dist
import pytest
from jax import random
from numpyro.handlers import block, condition, replay, seed, substitute, trace
from numpyro.infer import Predictive

import pnct
import pnct.distributions as dist
from pnct import ElectronGas
from pnct.models import electron_gas

GAS = ElectronGas((2, 1), dim=2, rs=3.0, theta=0.4, twist=(0.1, 0.3), cutoff=3.0)


@pytest.fixture(scope="module")
def draw():
    """A jitted trace of the seeded model: the values and log probabilities of its sample sites, and its
    parameters.
    """

    @eqx.filter_jit
    def run(model, key):
        sites = trace(seed(model, key)).get_trace(GAS)
        samples = {name: site for name, site in sites.items() if site["type"] == "sample"}
        values = {name: site["value"] for name, site in samples.items()}
        log_probs = {name: site["fn"].log_prob(site["value"]) for name, site in samples.items()}
        params = {name: site["value"] for name, site in sites.items() if site["type"] == "param"}
        return values, log_probs, params

    return run


def test_seed_makes_the_model_reproducible(draw):
    first, again, other = (draw(electron_gas, random.key(i))[0] for i in (0, 0, 1))
    np.testing.assert_array_equal(first["R"], again["R"])
    assert not np.allclose(first["R"], other["R"])
    assert first["R"].shape == (3, 2)


def test_trace_gives_the_laws(draw):
    values, log_probs, params = draw(electron_gas, random.key(0))
    assert set(params) == {"occupation", "flow"}
    sites = trace(substitute(electron_gas, {**params, **values})).get_trace(GAS)
    assert float(sites["K"]["fn"].log_prob(values["K"])) == pytest.approx(float(log_probs["K"]))
    log_psi = sites["R"]["fn"].log_psi(values["R"])
    assert jnp.iscomplexobj(log_psi)
    assert 2 * float(log_psi.real) == pytest.approx(float(log_probs["R"]))


def test_substituted_parameters_reach_the_laws(draw):
    values, log_probs, params = draw(electron_gas, random.key(0))
    moved = jax.tree.map(lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size)).reshape(x.shape), params)
    _, moved_log_probs, seen = draw(substitute(electron_gas, {**moved, **values}), random.key(0))
    assert float(moved_log_probs["K"]) != pytest.approx(float(log_probs["K"]))
    assert float(moved_log_probs["R"]) != pytest.approx(float(log_probs["R"]))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), seen, moved))


def test_condition_fixes_the_state():
    ground_state = condition(electron_gas, {"K": GAS.ground_state})
    observed = {}

    def run(key):
        sites = trace(seed(ground_state, key)).get_trace(GAS)
        observed.update({name: s["is_observed"] for name, s in sites.items() if s["type"] == "sample"})
        return sites["K"]["value"], sites["R"]["value"]

    K, _ = jax.jit(run)(random.key(0))
    np.testing.assert_array_equal(K, GAS.ground_state)
    assert observed == {"K": True, "R": False}


def test_replay_repeats_the_values(draw):
    values, _, params = draw(electron_gas, random.key(0))
    guide = trace(substitute(electron_gas, {**params, **values})).get_trace(GAS)
    replayed, _, _ = draw(replay(electron_gas, guide), random.key(5))
    np.testing.assert_array_equal(replayed["R"], values["R"])


def test_block_hides_a_site(draw):
    values, _, _ = draw(block(electron_gas, hide=["K"]), random.key(0))
    assert set(values) == {"R"}


def test_predictive_draws_many(draw):
    _, _, params = draw(electron_gas, random.key(0))
    samples = Predictive(electron_gas, params=params, num_samples=6)(random.key(1), GAS)
    assert samples["K"].shape == (6, 3)
    assert samples["R"].shape == (6, 3, 2)
    assert len(np.unique(np.asarray(samples["R"]).round(6))) == 36


def test_a_plain_numpyro_site_may_stand_before_the_gas(draw):
    def with_nuclei(gas):
        pnct.sample("nuclei", numpyro_dist.Normal(jnp.zeros(3), 1.0).to_event(1))
        return electron_gas(gas)

    values, log_probs, _ = draw(with_nuclei, random.key(0))
    assert values["nuclei"].shape == (3,)
    assert set(log_probs) == {"nuclei", "K", "R"}


def test_an_unseeded_model_says_what_is_missing(draw):
    _, _, params = draw(electron_gas, random.key(0))
    with pytest.raises(ValueError, match=r"site 'K' without a random key.*numpyro\.handlers\.seed"):
        trace(substitute(electron_gas, params)).get_trace(GAS)
    with pytest.raises(ValueError, match=r"module 'occupation' with neither"):
        trace(electron_gas).get_trace(GAS)
    with pytest.raises(ValueError, match="site 'x' without a random key"), numpyro.handlers.block():
        pnct.sample("x", numpyro_dist.Normal(0.0, 1.0))


def test_module_wants_a_constructor():
    network = eqx.nn.Linear(2, 2, key=random.key(0))
    with pytest.raises(ValueError, match=r"function key -> eqx\.Module"):
        seed(pnct.module, random.key(0))("net", network)


def test_module_keeps_what_is_not_a_parameter():
    def make(key):
        return eqx.nn.MLP(2, 2, 4, 1, key=key)

    sites = trace(seed(lambda: pnct.module("net", make)(jnp.ones(2)), random.key(0))).get_trace()
    assert all(eqx.is_inexact_array(leaf) for leaf in jax.tree.leaves(sites["net"]["value"]))


def test_a_plate_is_refused_with_a_reason():
    K = GAS.ground_state

    def plated():
        with numpyro.plate("walkers", 4):
            pnct.sample("R", dist.Determinantal(GAS.orbitals, K))

    with pytest.raises(ValueError, match="one walker"):
        trace(seed(plated, random.key(0))).get_trace()


@pytest.mark.parametrize(
    ("R", "message"),
    [
        (np.zeros((2, 2)), r"Expected R of shape \(\.\.\., 3, 2\); got \(2, 2\)"),
        (np.full((3, 2), np.nan), "Expected finite coordinates R; got 6 entries that are not"),
    ],
)
def test_bad_coordinates_are_refused(draw, R, message):
    values, _, params = draw(electron_gas, random.key(0))
    program = trace(substitute(electron_gas, {**params, **values})).get_trace(GAS)["R"]["fn"]
    with pytest.raises(ValueError, match=message):
        program.log_psi(R)
    with pytest.raises(ValueError, match=message):
        program.log_prob(R)


@pytest.mark.parametrize("K", [[0, 0, 1], [1, 0, 0], [0, 99, 1], [-1, 2, 1]])
def test_an_impossible_state_has_probability_zero(draw, K):
    values, _, params = draw(electron_gas, random.key(0))
    program = trace(substitute(electron_gas, {**params, **values})).get_trace(GAS)["K"]["fn"]
    assert float(program.log_prob(jnp.array(K))) == -np.inf
    with pytest.raises(ValueError, match="Expected"):
        program.check(K)
