"""The power series of sine and cosine, and their derivatives, beside numpy's."""

import jax
import jax.numpy as jnp
import numpy as np

from pnct.angles import angle, half_angle


def test_angles_are_those_of_sine_and_cosine():
    L, r = 3.0, np.append(np.random.default_rng(0).uniform(-9, 9, 2000), [0.0, 1e-9, 1.5 - 1e-9, 1.5 + 1e-9])
    turn = jax.jit(lambda r: angle(r, L))
    x = 2 * np.pi * r / L
    np.testing.assert_allclose(turn(r), [np.cos(x), np.sin(x)], rtol=0, atol=1e-14)

    c, s = jax.jit(lambda r: half_angle(r, L))(r)
    nearest = np.pi * (r - L * np.round(r / L)) / L
    np.testing.assert_allclose([c, s], [np.cos(nearest), np.sin(nearest)], rtol=0, atol=3e-15)
    near = jnp.array([1e-300, 1e-9, 0.4, 1.4])
    s = jax.jit(lambda r: half_angle(r, L)[1])(near)
    np.testing.assert_allclose(s, np.sin(np.pi * near / L), rtol=1e-15)

    third = jax.jit(jax.vmap(jax.grad(jax.grad(jax.grad(lambda r: angle(r, L)[1])))))
    np.testing.assert_allclose(third(r), -((2 * np.pi / L) ** 3) * np.cos(x), rtol=0, atol=1e-12)
