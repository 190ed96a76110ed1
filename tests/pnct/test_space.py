"""Features of pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pnct.space import Cell


@pytest.mark.parametrize("dim", [2, 3])
def test_features_are_periodic_with_a_cusp_at_zero_only(dim):
    L, r = 3.0, np.random.default_rng(0).normal(size=(5, dim))
    features = Cell.features
    np.testing.assert_allclose(features(r + L, L), features(r, L), rtol=0, atol=1e-13)
    assert features(r, L).shape == (5, 3 * dim + 1)
    edge = jnp.full(dim, L / 2)
    slope = jax.jacfwd(lambda r: features(r, L))
    np.testing.assert_allclose(slope(edge - 1e-7), slope(edge + 1e-7), rtol=0, atol=1e-5)
