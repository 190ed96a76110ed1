"""The published trained networks of the 2D gas, N = 29, sampled exactly: no bias of a short chain, no
infinite variance.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from published_networks import average_over_disc, nearest_kink, sample
from reference_network import load
from scipy.integrate import dblquad

from pnct.estimate import mean_of_independent


def test_a_mean_that_is_finite_where_the_variance_is_not():
    def e(x, y):
        return (0.7 + 0.2 * x) / np.hypot(x, y) - 1.3 * y

    def w(x, y):
        return np.exp(0.8 * x - 0.5 * y)

    def polar(f):
        return dblquad(lambda s, t: s * f(s * np.cos(t), s * np.sin(t)), 0, 2 * np.pi, 0, 0.3)[0]

    expected = polar(lambda x, y: w(x, y) * e(x, y)) / polar(w)

    def at(r):
        return (0.7 + 0.2 * r[0]) / jnp.linalg.norm(r) - 1.3 * r[1], 0.8 * r[0] - 0.5 * r[1]

    assert float(average_over_disc(at, 0.3)) == pytest.approx(expected, rel=1e-8)


def test_the_nearest_kink():
    r = np.array(
        [[0.1, 0.2], [3.0, -4.9], [0.1, 5.02]]
    )  # L = 10: kinks at (5, 0), (0, 5), (5, 5) and their images
    distance, pair, offset = nearest_kink(r, 10.0)
    assert int(pair) == 2 and float(distance) == pytest.approx(np.hypot(0.1, 0.02) / 10)
    np.testing.assert_allclose(offset, [0.1, 0.02], atol=1e-12)


@pytest.mark.slow
def test_exact_samples_of_the_trained_network_at_rs_10(trained_networks):
    """E = -487.9(3), V = -569.3(3) in total, Ry/rs^2; the training log says V = -567.71. 4 sigma of both
    errors together.
    """
    draws, total = sample(load(trained_networks, 10.0), 8192, seed=0, radius=0.002), 29 * 10.0**2
    T = 4 * 0.15  # Ry/rs^2
    E = mean_of_independent(total * draws["F"] + T * 29 * draws["S"])
    V = mean_of_independent(total * draws["V"])
    print(f"E = {E}, V = {V}")
    assert abs(E.value + 487.88) < 4 * np.hypot(E.error, 0.25)
    assert abs(V.value + 569.25) < 4 * np.hypot(V.error, 0.23)
    assert abs(V.value + 567.71) > 4 * V.error
    # the same mean, on the same draws
    lack = mean_of_independent(draws["F without averages"] - draws["F"])
    assert abs(lack.value) < 4 * lack.error
    assert np.std(draws["F"]) < np.std(draws["F without averages"])
