"""Damped Newton iteration, and the flow as a distrax bijector."""

from collections.abc import Callable
from functools import lru_cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_flow import configuration, random_flow

from pnct.flows import CanonicalTransformation, Flow, damped_newton, ferminet
from pnct.systems.electron_gas import ElectronGas

SPACE = ElectronGas((2, 3), 2).space


class Elementwise(Flow):
    """zeta = f(R), number by number."""

    function: Callable = eqx.field(static=True)

    def __call__(self, R):
        return self.function(R)


@lru_cache
def example():
    """A flow with random parameters, and a configuration."""
    return random_flow(ferminet(SPACE, depth=2, width=6), 0.3), configuration(SPACE)


evaluate = jax.jit(lambda flow, R: flow(R))
dense = jax.jit(lambda flow, R: jax.jacfwd(flow)(R).reshape(R.size, R.size))
invert = jax.jit(lambda flow, zeta: flow.invert(zeta))


def newton(T, zeta):
    """Damped Newton iteration and nothing else: R, and whether it got there."""
    R, t = zeta, 1.0
    for _ in range(40):
        error = evaluate(T, R) - zeta
        size = np.max(np.abs(error))
        if size <= 64 * np.finfo(float).eps * max(np.max(np.abs(zeta)), 1):
            return R, True
        R_new = R - t * np.linalg.solve(dense(T, R), np.ravel(error)).reshape(R.shape)
        better = np.max(np.abs(evaluate(T, R_new) - zeta)) < size
        R, t = (R_new, min(2 * t, 1)) if better else (R, t / 2)
    return R, False


@pytest.mark.parametrize("spread, folds", [(0.3, False), (0.65, True)])
def test_the_roots_and_failures_are_newtons(spread, folds):
    T = random_flow(ferminet(SPACE, depth=2, width=6), spread)
    zeta = np.random.default_rng(1).uniform(0, SPACE.L, (12, SPACE.N, SPACE.dim))
    found = jax.jit(lambda T, zeta: jax.lax.map(T.invert, zeta))(T, zeta)
    R, converged = (np.stack(x) for x in zip(*[newton(T, z) for z in zeta], strict=True))
    assert np.sum(converged) >= 6 and folds == bool(np.any(~converged))
    np.testing.assert_array_equal(found.converged, converged)
    np.testing.assert_allclose(found.R[converged], R[converged], rtol=0, atol=1e-12)
    assert folds or np.max(found.iterations) <= 2


def test_newton_says_when_it_has_not_converged():
    arctan = Elementwise(lambda R: jnp.arctan(R + 3))
    near = jnp.full((1, 1), np.arctan(0.1))
    assert not jax.jit(lambda zeta: damped_newton(arctan, zeta, max_iterations=1).converged)(near)
    outside = -jnp.ones((1, 2))  # of the range of |R|
    stuck = jax.jit(lambda zeta: damped_newton(Elementwise(jnp.abs), zeta))(outside)
    assert not stuck.converged and stuck.iterations <= 40
    np.testing.assert_array_equal(
        jax.jit(CanonicalTransformation(Elementwise(jnp.abs)).inverse)(outside), np.nan
    )


def test_newton_is_damped():
    """x <- x - (1 + x^2)(arctan x - arctan 0.1) runs away from x = 3; half-steps bring it back."""
    zeta = jnp.full((1, 1), np.arctan(0.1))
    inversion = jax.jit(lambda zeta: damped_newton(Elementwise(lambda R: jnp.arctan(R + 3)), zeta))(zeta)
    assert inversion.converged
    np.testing.assert_allclose(inversion.R + 3, 0.1, rtol=1e-11)


def test_newton_under_vmap_and_without_gradient():
    T, R = example()
    batch = jnp.stack([evaluate(T, R), evaluate(T, R + 0.1), R])
    together = jax.jit(jax.vmap(damped_newton, in_axes=(None, 0)))(T, batch)
    for i, zeta in enumerate(batch):
        np.testing.assert_allclose(together.R[i], invert(T, zeta).R, rtol=0, atol=1e-12)
    gradient = jax.jit(jax.grad(lambda T, zeta: jnp.sum(damped_newton(T, zeta).R), argnums=(0, 1)))(T, R)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_newton_refuses_a_map_of_another_shape():
    with pytest.raises(
        ValueError, match=r"Expected a flow R -> zeta of one shape, \(2, 2\); got .* \(2, 1\)"
    ):
        damped_newton(Elementwise(lambda R: R[:, :1]), jnp.zeros((2, 2)))


def test_bijector():
    T, R = example()
    bijector = CanonicalTransformation(T)
    batch = jnp.stack([R, R + 0.1])
    zeta, log_det = jax.jit(lambda b, x: b.forward_and_log_det(x))(bijector, batch)
    back, inverse_log_det = jax.jit(lambda b, y: b.inverse_and_log_det(y))(bijector, zeta)
    np.testing.assert_allclose(zeta[0], evaluate(T, R), rtol=0, atol=1e-13)
    np.testing.assert_allclose(log_det[0], np.linalg.slogdet(dense(T, R))[1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(back, batch, rtol=0, atol=1e-11)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=0, atol=1e-10)
