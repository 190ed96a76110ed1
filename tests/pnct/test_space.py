"""Features of pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pnct.pair_potential import pair_potential
from pnct.space import Cell, OpenSpace, pair_distances, smallest_distance


@pytest.mark.parametrize("dim", [2, 3])
def test_features_are_periodic_with_a_cusp_at_zero_only(dim):
    L, r = 3.0, np.random.default_rng(0).normal(size=(5, dim))
    features = Cell.features
    np.testing.assert_allclose(features(r + L, L), features(r, L), rtol=0, atol=1e-13)
    assert features(r, L).shape == (5, 3 * dim + 1)
    edge = jnp.full(dim, L / 2)
    slope = jax.jacfwd(lambda r: features(r, L))
    np.testing.assert_allclose(slope(edge - 1e-7), slope(edge + 1e-7), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_pair_potential_sees_the_nearest_image_of_each_pair(dim):
    """Against the shortest of the distances to all images; periodic, and blind to the order."""
    space = Cell((2, 1), dim, 3.0)
    rng = np.random.default_rng(1)
    R = rng.uniform(0, space.L, (3, dim))
    images = space.L * np.stack(np.meshgrid(*[np.arange(-1, 2)] * dim), -1).reshape(-1, dim)
    pairs = [(0, 1), (0, 2), (1, 2)]
    r = [np.linalg.norm(R[i] - R[j] + images, axis=-1).min() for i, j in pairs]
    np.testing.assert_allclose(pair_distances(R, space), r, rtol=1e-12)
    assert float(smallest_distance(R, space)) == pytest.approx(min(r), rel=1e-12)

    V = pair_potential(space, lambda r: jnp.exp(-(r**2)))
    expected = sum(np.exp(-(x**2)) for x in r)
    moved = R + space.L * rng.integers(-2, 3, R.shape)
    for at in (R, moved, R[::-1]):
        assert float(V(at)) == pytest.approx(expected, rel=1e-12)
    apart = pair_potential(OpenSpace((2, 1), dim), lambda r: jnp.exp(-(r**2)))(R)
    assert float(apart) == pytest.approx(sum(np.exp(-np.sum((R[i] - R[j]) ** 2)) for i, j in pairs))


def test_a_pair_potential_of_one_number_is_refused():
    with pytest.raises(ValueError, match=r"Expected v to give an energy for each .* got shape \(\)"):
        pair_potential(OpenSpace((2, 0), 2), jnp.sum)
