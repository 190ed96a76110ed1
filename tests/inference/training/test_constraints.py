"""Parameters with a constraint keep to it: they are moved in the unconstrained space, as NumPyro does."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import optax
import pytest
from numpyro.distributions import constraints
from tiny_program import GAS, Levels, Shift, digest, routine

import pnct
import pnct.distributions as dist
from pnct.inference import load, natural_gradient, save

KEY = jax.random.key(0)
START = 0.3
NUM_LEVELS = len(GAS.orbitals)


def program(read):
    """Levels s 0, s 1, ... and a flow that holds for s > 0 alone; `read` makes s."""

    def model(gas):
        s = read()
        w = jnp.sqrt(s) * jnp.ones(gas.dim) / 2
        K = pnct.sample("K", dist.Occupation(gas, Levels(s * jnp.arange(NUM_LEVELS))))
        return pnct.sample("R", dist.Born(gas.orbitals, K, Shift(w, 0.9, 2 * np.pi / gas.L)))

    return model


def constrained(param):
    return program(lambda: param("s", jnp.asarray(START), constraint=constraints.positive))


of_logarithm = program(lambda: jnp.exp(pnct.param("s", jnp.log(jnp.asarray(START)))))


@pytest.mark.parametrize(
    ("param", "optim"),
    [
        pytest.param(pnct.param, natural_gradient(), id="pnct, natural gradient"),
        pytest.param(numpyro.param, optax.adam(0.5), id="numpyro, adam", marks=pytest.mark.slow),
    ],
)
def test_a_positive_parameter_moves_as_the_exponential_of_a_free_one(param, optim):
    """F falls with s down to s < 0, where it must not go; every number is that of s = exp(u)."""
    vfe = routine(model=constrained(param), optim=optim, num_walkers=32)
    result = vfe.run(KEY, 4, GAS, progress_bar=False)
    free = routine(model=of_logarithm, optim=optim, num_walkers=32).run(KEY, 4, GAS, progress_bar=False)
    assert 0 < result.params["s"] < START
    np.testing.assert_allclose(result.params["s"], np.exp(free.params["s"]), rtol=1e-10)
    np.testing.assert_allclose(result.state.params["s"], np.exp(free.state.params["s"]), rtol=1e-10)
    np.testing.assert_allclose(result.history.free_energy, free.history.free_energy, rtol=1e-10)


def test_a_run_goes_on_and_parameters_are_saved_as_they_are_seen(tmp_path):
    model = constrained(pnct.param)
    vfe = routine(model=model, num_walkers=32)
    whole = vfe.run(KEY, 4, GAS, progress_bar=False)
    half = vfe.run(KEY, 2, GAS, progress_bar=False, checkpoint=tmp_path / "run")
    assert digest(vfe.run(KEY, 2, GAS, init_state=half.state, progress_bar=False).state) == digest(
        whole.state
    )
    kept = vfe.run(KEY, 4, GAS, progress_bar=False, checkpoint=tmp_path / "run")
    assert digest(kept.state) == digest(whole.state)

    save(tmp_path / "s.npz", whole)
    assert load(tmp_path / "s.npz", model, GAS)["s"] == whole.params["s"]
    s = whole.params["s"]
    given = vfe.evaluate(KEY, {"s": s}, 32, GAS)
    alike = routine(model=of_logarithm, num_walkers=32).evaluate(KEY, {"s": jnp.log(s)}, 32, GAS)
    np.testing.assert_allclose(given.log_prob, alike.log_prob, rtol=1e-10)


def test_constraints_of_another_shape_and_of_the_arguments():
    """A simplex has one free number less; an interval may have its ends from the system."""

    def model(gas):
        w = pnct.param("weights", jnp.ones(NUM_LEVELS) / NUM_LEVELS, constraint=constraints.simplex)
        a = pnct.param("a", jnp.asarray(0.5), constraint=constraints.interval(0.4, gas.rs))
        K = pnct.sample("K", dist.Occupation(gas, Levels(jnp.log(w))))
        return pnct.sample(
            "R", dist.Born(gas.orbitals, K, Shift(a * jnp.ones(gas.dim), 0.9, 2 * np.pi / gas.L))
        )

    result = routine(model=model, optim=optax.adam(0.5), num_walkers=32).run(KEY, 3, GAS, progress_bar=False)
    for params in (result.params, result.state.params):
        assert np.sum(params["weights"]) == pytest.approx(1) and np.all(params["weights"] > 0)
        assert np.ptp(params["weights"]) > 0.01 and 0.4 < params["a"] < GAS.rs


@pytest.mark.parametrize(
    ("value", "constraint", "message"),
    [
        (
            -0.1,
            constraints.positive,
            "first value of parameter 's' to be within its constraint, .*; got -0.1",
        ),
        (0.0, constraints.positive, "first value of parameter 's' to be within its constraint"),
        (2.0, constraints.unit_interval, "first value of parameter 's' to be within its constraint"),
        (1.0, constraints.nonnegative_integer, "constraint of parameter 's' to be one of real numbers"),
    ],
)
def test_a_first_value_outside_and_a_constraint_of_whole_numbers_are_refused(value, constraint, message):
    model = program(lambda: pnct.param("s", jnp.asarray(value), constraint=constraint))
    with pytest.raises(ValueError, match=f"^Expected the {message}"):
        routine(model=model).init(KEY, GAS)
