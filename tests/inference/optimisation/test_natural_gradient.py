"""The natural gradient solves its linear system on either side, keeps to its bound, and is an ordinary optax
transformation.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import optax
import pytest
from numpyro.optim import Adam

from pnct.inference import natural_gradient
from pnct.inference.optimisation.gradients import Scores, gradient
from pnct.inference.optimisation.natural_gradient import MAX_METRIC_PARAMETERS, as_optax, solve


def scores(rows, parameters, seed=0):
    O = jax.random.normal(jax.random.key(seed), (rows, parameters))
    tree = {
        "net": {
            "w": O[:, 1:].reshape(rows, parameters - 1, 1),
            "b": O[:, 0],
            "nothing": jnp.zeros((rows, 0, 3)),
        }
    }
    return Scores(tree, jax.random.normal(jax.random.key(seed + 1), (rows,)), jnp.asarray(rows / 2)), O


@pytest.mark.parametrize(("rows", "parameters"), [(30, 7), (7, 30)])
def test_both_sides_solve_the_damped_normal_equations(rows, parameters):
    block, O = scores(rows, parameters)
    delta = solve(block, damping=0.1)["net"]
    flat = jnp.concatenate([delta["b"][None], delta["w"][:, 0]])
    B = rows / 2
    expected = np.linalg.solve(O.T @ O / B + 0.1 * np.eye(parameters), O.T @ block.residual / B)
    np.testing.assert_allclose(flat, expected, rtol=1e-10)
    assert delta["nothing"].shape == (0, 3)


@pytest.mark.parametrize(("rows", "parameters"), [(30, 7), (7, 30)])
def test_a_force_stands_in_the_place_of_residuals(rows, parameters):
    """What no row knows of is left out: (E + damping)^-1 E (E + damping)^-1 g, on either side."""
    block, O = scores(rows, parameters)
    g = np.random.default_rng(0).normal(size=parameters)
    force = {"net": {"w": jnp.asarray(g[1:, None]), "b": jnp.asarray(g[0]), "nothing": jnp.zeros((0, 3))}}
    block = block._replace(force=force)
    assert gradient(block) is force
    delta = solve(block, damping=0.1)["net"]
    E = np.asarray(O.T @ O) / (rows / 2)
    inverse = np.linalg.inv(E + 0.1 * np.eye(parameters))
    expected = inverse @ E @ inverse @ g
    np.testing.assert_allclose(
        jnp.concatenate([delta["b"][None], delta["w"][:, 0]]), expected, rtol=1e-9, atol=1e-12
    )


def test_no_step_is_made_where_the_remembered_metric_knows_nothing():
    """A force across all rows of the first batch moves nothing, however small the damping."""
    block, O = scores(7, 30)
    across = np.linalg.svd(np.asarray(O))[2][-1]
    w, b = jnp.asarray(across[1:, None]), jnp.asarray(across[0])
    block = block._replace(force={"net": {"w": w, "b": b, "nothing": jnp.zeros((0, 3))}})
    params = jax.tree.map(lambda leaf: leaf[0], block.rows)
    optim = natural_gradient(learning_rate=1.0, damping=1e-4, max_norm=np.inf)
    updates, _ = optim.update(params, optim.init(params), params, scores={"measured": block})
    assert max(jnp.max(jnp.abs(x)) for x in (updates["net"]["w"], updates["net"]["b"])) < 1e-6


def other_module(rows, seed):
    return {"other": jax.random.normal(jax.random.key(seed), (rows, 2))}


def test_a_law_of_few_parameters_is_solved_with_the_mean_metric_of_the_steps():
    """Of its own modules alone: another law, with more rows, leaves it as it is."""
    first, O1 = scores(40, 9)
    second, O2 = scores(40, 9, seed=7)
    params = jax.tree.map(lambda leaf: leaf[0], first.rows | other_module(60, 0))
    optim = natural_gradient(learning_rate=1.0, damping=0.1, max_norm=np.inf)
    state = optim.init(params)
    for step, block in enumerate((first, second)):
        sites = {
            "measured": block,
            "classical": Scores(other_module(60, step), jnp.ones(60), jnp.asarray(60.0)),
        }
        updates, state = optim.update(params, state, params, scores=sites)
    flat = jnp.concatenate([updates["net"]["b"][None], updates["net"]["w"][:, 0]])
    metric = (O1.T @ O1 + O2.T @ O2) / 2 / 20
    expected = -np.linalg.solve(metric + 0.1 * np.eye(9), O2.T @ second.residual / 20)
    np.testing.assert_allclose(flat, expected, rtol=1e-10)


def test_the_metric_of_a_law_of_two_modules_has_the_blocks_between_them():
    """Whatever the modules are: the steps are those of the same parameters in one module."""
    draws = [scores(40, 9), scores(40, 9, seed=7)]
    blocks = [Scores({"x": O}, block.residual, block.num_walkers) for block, O in draws]
    parted = [
        block._replace(rows={"b": block.rows["x"][:, :4], "a": block.rows["x"][:, 4:]}) for block in blocks
    ]
    made = []
    for steps in (blocks, parted):
        params = jax.tree.map(lambda leaf: leaf[0], steps[0].rows | other_module(3, 0))
        optim = natural_gradient()
        state = optim.init(params)
        for block in steps:
            updates, state = optim.update(params, state, params, scores={"measured": block})
        made.append(updates)
    np.testing.assert_allclose(jnp.concatenate([made[1]["b"], made[1]["a"]]), made[0]["x"], rtol=1e-9)


def test_what_a_memory_would_be_too_large_for_is_solved_from_the_batch():
    (first, _), (second, _) = (
        scores(40, MAX_METRIC_PARAMETERS + 1),
        scores(40, MAX_METRIC_PARAMETERS + 1, seed=7),
    )
    params = jax.tree.map(lambda leaf: leaf[0], first.rows)
    optim = natural_gradient(learning_rate=1.0, max_norm=np.inf)
    state = optim.init(params)
    assert not state.metric
    for block in (first, second):
        updates, state = optim.update(params, state, params, scores={"measured": block})
    np.testing.assert_allclose(updates["net"]["w"], -solve(second, 1e-3)["net"]["w"], rtol=1e-10)


def test_directions_that_no_walker_sees_stay_finite_in_float32():
    O = 30 * jax.random.normal(jax.random.key(0), (6, 40), jnp.float32)
    block = Scores({"x": O}, jnp.ones(6, jnp.float32), jnp.asarray(6.0, jnp.float32))
    params = {"x": jnp.zeros(40, jnp.float32)}
    optim = natural_gradient(damping=1e-12)
    updates, _ = optim.update(gradient(block), optim.init(params), params, scores={"measured": block})
    assert updates["x"].dtype == jnp.float32 and np.all(np.isfinite(updates["x"])) and np.any(updates["x"])


def test_equal_settings_are_equal_and_others_are_not():
    settings = {"learning_rate": {"measured": 0.5, "classical": 0.1}, "damping": 1e-3}
    assert natural_gradient(**settings) == natural_gradient(**settings)
    assert hash(natural_gradient(**settings)) == hash(natural_gradient(**settings))
    assert natural_gradient() == natural_gradient() != natural_gradient(damping=1e-2)


def test_settings_of_one_block_leave_the_other_its_default_and_unknown_blocks_are_refused():
    block = Scores({"x": jnp.eye(3)}, jnp.ones(3), jnp.asarray(3.0))
    params = {"x": jnp.zeros(3)}

    def step(optim, name):
        return np.asarray(
            optim.update(gradient(block), optim.init(params), params, scores={name: block})[0]["x"]
        )

    half = natural_gradient(learning_rate={"measured": 0.5}, max_norm=1e9)
    default = natural_gradient(max_norm=1e9)
    np.testing.assert_allclose(step(half, "measured"), 0.5 * step(default, "measured"))
    np.testing.assert_array_equal(step(half, "classical"), step(default, "classical"))
    with pytest.raises(ValueError, match=r"'classical' .*'continuous' .*'measured'; got \['quantum'\]"):
        natural_gradient(learning_rate={"quantum": 0.5})


@pytest.mark.parametrize(
    "optim", [optax.contrib.reduce_on_plateau(), numpyro.optim.optax_to_numpyro(optax.sgd(0.1))]
)
def test_an_optimiser_that_wants_the_value_gets_it(optim):
    optim = as_optax(optim)
    params = {"x": jnp.ones(2)}
    state = optim.init(params)
    updates, _ = optim.update(params, state, params, scores={}, value=jnp.asarray(1.0), grad=params)
    assert np.all(np.isfinite(updates["x"]))


def test_a_line_search_is_refused_at_construction():
    with pytest.raises(ValueError, match=r"Expected an optimiser that takes a gradient .*'value_fn'"):
        as_optax(optax.lbfgs())


@pytest.mark.parametrize("num_particles", [1, 9])
def test_a_step_is_no_longer_than_its_bound_and_descends(num_particles):
    block, O = scores(40, 9)
    block = block._replace(num_particles=num_particles)
    optim = natural_gradient(learning_rate=100.0, max_norm=0.05)
    params = jax.tree.map(lambda leaf: leaf[0], block.rows) | {"other": jnp.ones(2)}
    grads = gradient(block) | {"other": jnp.ones(2)}
    updates, state = optim.update(grads, optim.init(params), params, scores={"measured": block})
    flat = jnp.concatenate([updates["net"]["b"][None], updates["net"]["w"][:, 0]])
    assert float(jnp.linalg.norm(O @ flat) / jnp.sqrt(20.0)) == pytest.approx(0.05 * num_particles**0.5)
    assert float(optax.tree_utils.tree_vdot(updates["net"], grads["net"])) < 0
    assert not np.any(updates["other"])  # no law holds it
    assert int(state.count) == 1


def test_it_finds_the_minimum_of_a_quadratic():
    """F = |A x - y|^2/2 with scores A: one undamped step of rate one is the solution."""
    A = jax.random.normal(jax.random.key(0), (20, 5))
    x, y = jnp.ones(5), jax.random.normal(jax.random.key(1), (20,))
    optim = natural_gradient(learning_rate=1.0, damping=0.0, max_norm=np.inf)
    block = Scores({"x": A}, A @ x - y, jnp.asarray(20.0))
    updates, _ = optim.update({"x": x}, optim.init({"x": x}), scores={"law": block})
    np.testing.assert_allclose(x + updates["x"], np.linalg.lstsq(A, y)[0], rtol=1e-9)


@pytest.mark.parametrize("optim", [optax.sgd(0.1), Adam(0.1), natural_gradient()])
def test_any_optimiser_takes_scores(optim):
    block, _ = scores(12, 4)
    params = jax.tree.map(lambda leaf: leaf[0], block.rows)
    wrapped = as_optax(optim)
    updates, _ = wrapped.update(gradient(block), wrapped.init(params), params, scores={"classical": block})
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(updates))


def test_sgd_reached_through_numpyro_is_the_same_step():
    from numpyro.optim import SGD

    params, grads = {"x": jnp.array([1.0, 2.0])}, {"x": jnp.array([0.5, -1.0])}
    optim = as_optax(SGD(0.1))
    updates, _ = optim.update(grads, optim.init(params), params, scores={})
    np.testing.assert_allclose(updates["x"], -0.1 * grads["x"])


@pytest.mark.parametrize("wrong", ["adam", None, 1e-3, jnp.sin])
def test_an_unknown_optimiser_is_refused(wrong):
    with pytest.raises(ValueError, match="Expected optim to be an optax or numpyro optimiser"):
        as_optax(wrong)
