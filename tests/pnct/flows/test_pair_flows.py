"""FermiNet and backflow: what their spin channels do, and what is known where electrons are few or meet."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from random_flow import configuration, random_flow

from pnct.flows import backflow, ferminet
from pnct.systems.electron_gas import ElectronGas

MAKERS = {
    "ferminet": lambda space: ferminet(space, depth=2, width=6),
    "backflow": lambda space: backflow(space, depth=2, width=5),
}
SPREAD = {"ferminet": 0.3, "backflow": 0.12}
CELLS = {
    "unpolarised 2D": ElectronGas((2, 3), 2).space,
    "one of each": ElectronGas((1, 1), 2).space,
    "one": ElectronGas((1, 0), 2).space,
}


@lru_cache
def example(flow, space):
    """A flow with random parameters, and a configuration."""
    return random_flow(MAKERS[flow](CELLS[space]), SPREAD[flow]), configuration(CELLS[space])


evaluate = jax.jit(lambda flow, R: flow(R))
structured = jax.jit(lambda flow, R: flow.jacobian(R))
dense = jax.jit(lambda flow, R: jax.jacfwd(flow)(R).reshape(R.size, R.size))


def test_scores_of_the_log_determinant_are_exact():
    T, R = example("ferminet", "unpolarised 2D")

    def by(jac):
        return jax.jit(jax.grad(lambda T: jnp.linalg.slogdet(jac(T))[1]))(T)

    ours = by(lambda T: T.jacobian(R)[1])
    theirs = by(lambda T: jax.jacfwd(T)(R).reshape(R.size, R.size))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("flow", ["ferminet", "backflow"])
def test_symmetric_under_exchange_of_the_names_of_the_species(flow):
    T, R = example(flow, "unpolarised 2D")
    empty = jax.eval_shape(MAKERS[flow](ElectronGas((3, 2), 2).space), random.key(0))
    swapped = jax.tree.unflatten(jax.tree.structure(empty), jax.tree.leaves(T))
    order = np.array([2, 3, 4, 0, 1])
    np.testing.assert_allclose(evaluate(swapped, R[order]), evaluate(T, R)[order], rtol=0, atol=1e-13)


@pytest.mark.parametrize("flow", ["ferminet", "backflow"])
def test_spin_matters(flow):
    T, R = example(flow, "unpolarised 2D")
    order = np.array([2, 1, 0, 3, 4])
    assert np.max(np.abs(evaluate(T, R[order]) - evaluate(T, R)[order])) > 1e-3


def test_one_electron_of_each_spin():
    T, R = example("ferminet", "one of each")
    zeta, J = structured(T, R)
    np.testing.assert_allclose(zeta, evaluate(T, R), rtol=0, atol=1e-13)
    np.testing.assert_allclose(J, dense(T, R), rtol=0, atol=1e-13)


@pytest.mark.parametrize("flow", ["ferminet", "backflow"])
def test_a_single_electron_is_only_shifted(flow):
    T, R = example(flow, "one")
    np.testing.assert_array_equal(structured(T, R)[1], np.eye(2))


@pytest.mark.parametrize("flow", ["ferminet", "backflow"])
def test_three_derivatives_are_finite(flow):
    T, R = example(flow, "unpolarised 2D")
    along = jnp.asarray(np.random.default_rng(1).normal(size=R.shape))

    def derivative(f):
        return lambda R: jax.jvp(f, (R,), (along,))

    jet = jax.jit(lambda R: derivative(derivative(derivative(T)))(R))
    h = 1e-4

    def second(R):
        return jet(R)[0][1][1]

    expected = (second(R + h * along) - second(R - h * along)) / (2 * h)
    np.testing.assert_allclose(jet(R)[1][1][1], expected, rtol=1e-4, atol=1e-4)
    # finite also where electrons meet
    assert np.all(np.isfinite(jet(R.at[0].set(R[3]))[1][1][1]))
