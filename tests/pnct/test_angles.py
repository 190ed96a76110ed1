"""The power series of sine and cosine, and their derivatives, beside numpy's."""

import jax
import jax.numpy as jnp
import numpy as np

from pnct.angles import angle, haversine, turn


def test_angles_are_those_of_sine_and_cosine():
    L, r = 3.0, np.append(np.random.default_rng(0).uniform(-9, 9, 2000), [0.0, 1e-9, 1.5 - 1e-9, 1.5 + 1e-9])
    x = 2 * np.pi * r / L
    np.testing.assert_allclose(jax.jit(lambda r: angle(r, L))(r), [np.cos(x), np.sin(x)], rtol=0, atol=1e-14)
    near = jnp.array([1e-150, 1e-9, 0.4, 1.4])
    found = jax.jit(lambda r: haversine(r, L))(near)
    np.testing.assert_allclose(found, np.sin(np.pi * near / L) ** 2, rtol=2e-15)


def test_derivatives_of_any_order():
    """n more quarters of a turn, times (2 pi)^n; and sin^2(pi x) = 1/2 - cos(2 pi x)/2."""
    x = np.random.default_rng(1).uniform(-3, 3, 200)
    slope = turn
    for order in (1, 2, 3):
        slope = jax.jacfwd(slope)
        phase = 2 * np.pi * x + order * np.pi / 2
        expected = (2 * np.pi) ** order * np.array([np.cos(phase), np.sin(phase), -np.cos(phase) / 2])
        np.testing.assert_allclose(jax.jit(jax.vmap(slope))(x), expected, rtol=0, atol=1e-12)
