"""The continuous flow: its rule of integration, its derivatives, and what a coarse integration costs."""

from dataclasses import replace
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from map_alone import MapAlone
from random_flow import configuration, random_flow

from pnct.flows import continuous
from pnct.flows.continuous.network import MAX_CORRECTIONS
from pnct.flows.continuous.runge_kutta import RUNGE_KUTTA, integrate
from pnct.space import OpenSpace
from pnct.systems.electron_gas import ElectronGas

SPACES = {"open 2D": OpenSpace((2, 1), 2), "unpolarised 2D": ElectronGas((2, 3), 2).space}


@lru_cache
def example(space):
    """A flow with random parameters, and a configuration."""
    make = continuous(SPACES[space], depth=1, width=5)
    return random_flow(make, 0.15), configuration(SPACES[space])


evaluate = jax.jit(lambda flow, R: flow(R))


def test_the_rule_is_of_fifth_order():
    """dx/dt = x y, dy/dt = 1 - y from (1, 0), the error falls by at least 2^5 with h/2."""
    exact = np.exp(np.exp(-1.0)), 1 - np.exp(-1.0)

    def error(steps):
        x, y = integrate(lambda s: (s[0] * s[1], 1 - s[1]), (jnp.ones(()), jnp.zeros(())), steps)
        return np.hypot(x - exact[0], y - exact[1])

    assert error(4) > 32 * error(8)
    np.testing.assert_allclose(np.sum(RUNGE_KUTTA[-1]), 1, rtol=1e-14)


def test_backwards_is_the_way_back():
    start = jnp.array([0.3, -1.0])
    end = integrate(jnp.sin, start, 8)
    np.testing.assert_allclose(integrate(jnp.sin, end, 8, duration=-1.0), start, rtol=0, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("space", ["open 2D", "unpolarised 2D"])
def test_derivatives_of_a_continuous_flow(space):
    """Jets of zeta are those of the program; those of the integrated divergence come near with the fifth
    power of the step.
    """
    T, R = example(space)
    exact = jax.jit(lambda T: MapAlone(T).derivatives(R))(T)
    found = jax.jit(lambda T: T.derivatives(R))
    fine = found(replace(T, steps=2 * T.steps))
    for name in ("zeta", "jacobian", "laplacian"):
        np.testing.assert_allclose(
            getattr(found(T), name), getattr(exact, name), rtol=0, atol=1e-12, err_msg=name
        )
    assert found(T).det_sign == exact.det_sign == 1
    exact_fine = jax.jit(lambda T: MapAlone(T).derivatives(R))(replace(T, steps=2 * T.steps))
    for name in ("log_det", "grad_log_det", "lap_log_det"):
        error = np.max(np.abs(getattr(found(T), name) - getattr(exact, name)))
        error_fine = np.max(np.abs(getattr(fine, name) - getattr(exact_fine, name)))
        assert error < 1e-4 and error_fine < error / 20, (name, error, error_fine)


def test_derivatives_of_a_continuous_flow_with_cusps():
    """Three electrons, so gentle a flow that the integration errs by 1e-11."""
    T, R = example("open 2D")
    T = replace(T, coupling=0.5)
    found, exact = (jax.jit(lambda R, f=f: f(R))(R) for f in (T.derivatives, MapAlone(T).derivatives))
    for name in exact._fields:
        np.testing.assert_allclose(
            getattr(found, name), getattr(exact, name), rtol=0, atol=1e-10, err_msg=name
        )
    assert np.max(np.abs(found.zeta - evaluate(replace(T, coupling=None), R))) > 1e-3


def test_a_coarse_integration_is_never_mistaken_for_an_energy():
    T, R = example("open 2D")
    wild = jax.tree.map(lambda x: 12 * x, replace(T, steps=1))
    assert np.isnan(jax.jit(lambda T: T.derivatives(R))(wild).lap_log_det)


def test_two_electrons_are_exact_in_the_coarsest_integration():
    """One step where far more would be needed: the map is still one-to-one, with an inverse and exact
    derivatives.
    """
    space, rng = OpenSpace((1, 1), 2), np.random.default_rng(0)
    empty = jax.eval_shape(continuous(space, depth=1, width=4, steps=1), random.key(0))
    steep = jax.tree.map(lambda x: jnp.asarray(0.5 * rng.normal(size=x.shape)), empty)
    R = jnp.asarray(rng.normal(size=(64, 2, 2)))

    @jax.jit
    @jax.vmap
    def both_ways(R):
        zeta, log_det = steep.forward_and_log_det(R)
        pairs, centre = steep.stages
        state = integrate(pairs.velocity_and_divergence, (R, jnp.zeros(())), steep.steps)
        _, integral = integrate(centre.velocity_and_divergence, state, steep.steps)
        back = integrate(centre.velocity, zeta, steep.steps, duration=-1.0)
        back = integrate(pairs.velocity, back, steep.steps, duration=-1.0)
        return log_det, integral, back, steep.invert(zeta)

    log_det, integral, back, inversion = both_ways(R)
    assert np.max(np.abs(integral - log_det)) > 1e-2 and np.max(np.abs(back - R)) > 0.05  # what would be lost
    assert np.all(inversion.converged) and np.max(inversion.iterations) > MAX_CORRECTIONS
    np.testing.assert_allclose(inversion.R, R, rtol=0, atol=1e-10)
    worst = R[np.argmax(np.abs(integral - log_det))]
    found = jax.jit(lambda R: steep.derivatives(R))(worst)
    exact = jax.jit(lambda R: MapAlone(steep).derivatives(R))(worst)
    assert found.det_sign == 1
    for name in ("log_det", "grad_log_det", "lap_log_det"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(exact, name), rtol=1e-10, atol=1e-10, err_msg=name
        )
