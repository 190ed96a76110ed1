"""What a run is of: every setting that changes its numbers is seen, and named where it differs."""

import functools
import json
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import optax
import pytest
from numpyro.handlers import condition
from tiny_program import model

from pnct import ElectronGas, HarmonicTrap
from pnct.inference import natural_gradient
from pnct.inference.optimisation.natural_gradient import as_optax
from pnct.inference.runs.fingerprint import constants, describe, describe_optimiser, differences

DEPTH = 1.0


def potential(r, depth=1.0, *, width=2.0):
    return depth * r**2 / width


def well(depth):
    def inner(r):
        return potential(r, depth)

    return lambda r: inner(r) + 1.0


def deep(r):
    return -DEPTH * r


plus_one, plus_two = (
    lambda r: r + 1.0,
    lambda r: r + 2.0,
)


def loop(n):
    return loop(n - 1) if n else 0


class Well(eqx.Module):
    depth: jax.Array
    shape: object = eqx.field(static=True)


class Scaled:
    def __init__(self, scale):
        self.scale = scale

    def times(self, x):
        return self.scale * x


def with_defaults(depth):
    def function(r, depth=depth, *, width=depth):
        return r * depth / width

    return function


def named_apart(a, b, name, values=None):
    """The first difference of the two descriptions, which are plain JSON."""
    a, b = json.loads(json.dumps([a, b]))
    found = differences(a, b)
    assert found.startswith(name), found
    return values is None or f"{name} ({values[0]} there, {values[1]} here)" in found


@pytest.mark.parametrize(
    ("one", "other", "name"),
    [
        (well(1.0), well(2.0), "inner.depth"),  # a constant that a nested function closes over
        (with_defaults(1.0), with_defaults(2.0), "depth"),
        (functools.partial(potential, depth=1.0), functools.partial(potential, depth=2.0), "bound.depth"),
        (functools.partial(potential, 1.0), functools.partial(potential, 2.0), "bound.0"),
        (Scaled(1.0).times, Scaled(2.0).times, "self.scale"),
        (Well(jnp.array(1.0), np.tanh), Well(jnp.array(2.0), np.tanh), "depth"),
        (jax.jit(well(1.0)), jax.jit(well(2.0)), "inner.depth"),
        (condition(model, {"K": np.array([0, 1])}), condition(model, {"K": np.array([0, 2])}), ""),
        ({"table": np.ones(500)}, {"table": np.full(500, 2.0)}, "table"),
        (plus_one, plus_two, "source"),
        ({"a": 1j}, {"a": 2j}, "a.imag"),
    ],
)
def test_every_value_that_a_function_holds_is_seen(one, other, name):
    assert describe(one) == describe(one)
    named_apart(describe(one), describe(other), name)


def test_constants_of_the_users_own_file_are_seen(monkeypatch):
    before = describe(deep)
    monkeypatch.setitem(deep.__globals__, "DEPTH", 2.0)
    assert differences(before, describe(deep)) == "uses.DEPTH (1.0 there, 2.0 here)"


def test_a_function_that_calls_itself_ends():
    assert describe(loop)["uses"] == {"loop": "itself"}


@pytest.mark.parametrize(
    ("one", "other", "name"),
    [
        (natural_gradient(damping=0.001), natural_gradient(damping=0.01), "damping"),
        (natural_gradient(learning_rate=0.5), natural_gradient(learning_rate=0.25), "learning_rate"),
        (
            natural_gradient(max_norm={"measured": 1.0}),
            natural_gradient(max_norm={"measured": 2.0}),
            "max_norm",
        ),
        (
            natural_gradient(damping=lambda n: 0.5),
            natural_gradient(damping=lambda n: 0.9),
            "damping.source",
        ),
        (optax.adam(1e-3, b1=0.9), optax.adam(1e-3, b1=0.8), "update_fns[0].tx.update.b1"),
        (optax.adam(1e-3), optax.adam(2e-3), "update_fns[1]"),
        (
            optax.chain(optax.clip(1.0), optax.sgd(1.0)),
            optax.chain(optax.clip(2.0), optax.sgd(1.0)),
            "update_fns",
        ),
        (
            optax.sgd(optax.cosine_decay_schedule(1.0, 10)),
            optax.sgd(optax.cosine_decay_schedule(1.0, 20)),
            "update_fns",
        ),
        (numpyro.optim.Adam(1e-3), numpyro.optim.Adam(2e-3), ""),
    ],
)
def test_every_setting_of_an_optimiser_is_seen(one, other, name):
    one, other = (describe_optimiser(as_optax(optim)) for optim in (one, other))
    named_apart(one, other, name)


def test_a_setting_is_named_as_the_user_knows_it():
    one, other = ({"optim": describe_optimiser(natural_gradient(damping=d))} for d in (0.001, 0.01))
    assert differences(one, other) == "optim.damping (0.001 there, 0.01 here)"


def test_the_constants_of_a_step_belong_to_it():
    step = constants("pnct.inference.training.step")
    assert step["AVERAGED_SHARE"] == 8 and step["MAX_BACKTRACKS"] == 4
    assert constants("pnct.inference.optimisation.gradients")["CLIP"] == 5.0
    batch = constants("pnct.inference.sampling.batch")
    assert batch["BROADENED_SHARE"] == 0.5 and len(batch["BROADENING_POWERS"]) > 1
    assert not any("CHUNK" in name for name in batch)  # bounds memory, changes no number


def test_descriptions_see_the_program_and_not_its_comments():
    def one(x):
        return x + 1

    def two(x):
        return x + 2

    first = describe(one)
    assert first["function"].endswith("one") and len(first["source"]) == 16
    assert describe(two)["source"] != first["source"]
    assert describe({"a": np.arange(3), "b": np.zeros((20, 20)), "c": [None, True]}) == {
        "a": [0, 1, 2],
        "b": "float64[20, 20] of norm 0.0",
        "c": [None, True],
    }


def test_differences_forgive_the_last_digit_only():
    assert not differences({"x": 0.1 + 0.2}, {"x": 0.3})
    assert differences({"x": 0.3}, {"x": 0.3 + 1e-9})
    assert differences({"x": 1}, {"x": True})
    assert differences({f"x{i}": 0 for i in range(9)}, {f"x{i}": 1 for i in range(9)}).endswith("6 more")


@pytest.mark.parametrize(
    "system", [ElectronGas((2, 1), 2, 3.0, 0.5), HarmonicTrap((2, 1)), HarmonicTrap((2, 0), dim=3)]
)
def test_every_table_of_orbitals_can_be_described_in_full(system):
    listed = describe(system.orbitals, listed=math.inf)
    assert not differences(json.loads(json.dumps(listed)), listed)
