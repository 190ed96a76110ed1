"""Features of pairs."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pnct.pair_potential import pair_potential
from pnct.smooth_space import smooth_space
from pnct.space import Cell, OpenSpace, chord, norm, pair_distances, root, smallest_distance


@pytest.mark.parametrize("dim", [2, 3])
def test_features_are_periodic_with_a_cusp_at_zero_only(dim):
    L, r = 3.0, np.random.default_rng(0).normal(size=(5, dim))
    features = Cell.features
    np.testing.assert_allclose(features(r + L, L), features(r, L), rtol=0, atol=1e-13)
    assert features(r, L).shape == (5, 3 * dim + 1)
    edge = jnp.full(dim, L / 2)
    slope = jax.jacfwd(lambda r: features(r, L))
    np.testing.assert_allclose(slope(edge - 1e-7), slope(edge + 1e-7), rtol=0, atol=1e-5)


@pytest.mark.parametrize("space", [Cell((1, 1), 3, 3.0), OpenSpace((1, 1), 2)])
def test_smooth_features_have_no_cusp_and_two_lengths(space):
    """Along a line through r = 0 third differences of the features fall like h^3, those of |r| like h; b sets
    where the last of them is a half; in a cell all are periodic, and even ones are even.
    """
    smooth = smooth_space(space, 0.2)
    line, L = np.random.default_rng(0).normal(size=space.dim), space.L
    line /= np.linalg.norm(line)
    r = np.random.default_rng(1).normal(size=(4, space.dim))
    for features in (smooth.features, smooth.even_features, smooth.directions):
        sizes = []
        for h in (2e-3, 1e-3):
            x = jnp.asarray(h * np.array([-2, -1, 0, 1, 2])[:, None] * line)
            found = np.asarray(features(x, L)).reshape(5, -1)
            sizes.append(np.max(np.abs(np.array([-1, 2, 0, -2, 1]) @ found) / 2))
        assert sizes[1] < 0.14 * sizes[0] + 1e-14
        assert features(r, L).shape[-1] == features(np.zeros((1, space.dim)), L).shape[-1]
    even = smooth.even_features(jnp.asarray(r), L)
    np.testing.assert_allclose(smooth.even_features(-jnp.asarray(r), L), even, rtol=0, atol=1e-14)
    half = smooth.even_features(0.2 * line[None], L)[0, -1]
    assert float(half) == pytest.approx(0.5, abs=0.01 if space.is_periodic else 1e-12)
    if space.is_periodic:
        np.testing.assert_allclose(smooth.features(r + L, L), smooth.features(r, L), rtol=0, atol=1e-11)
    slopes, direction = smooth.cusp_slopes(L)
    assert slopes.shape == even.shape[-1:] and not np.any(slopes) and direction == 0


@pytest.mark.parametrize("space", [Cell((3, 0), 3, 1.3), Cell((3, 0), 2, 1.3), OpenSpace((3, 0), 3)])
def test_directions_are_odd_and_r_near_zero_and_in_a_cell_span_all(space):
    r = jnp.asarray(np.random.default_rng(0).uniform(-0.6, 0.6, (5, space.dim)))
    d = space.directions(r, space.L)
    np.testing.assert_allclose(space.directions(-r, space.L), -d, rtol=1e-13)
    near = space.directions(1e-7 * r, space.L) / 1e-7
    np.testing.assert_allclose(near, jnp.broadcast_to(r[:, None], near.shape), rtol=1e-6)
    if space.is_periodic:
        assert np.min(np.abs(np.linalg.det(d))) > 1e-7
        np.testing.assert_allclose(space.directions(r + space.L, space.L), d, rtol=0, atol=1e-13)


def test_a_length_that_the_space_does_not_hold_is_refused():
    for length in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="Expected length > 0 and < inf; got"):
            smooth_space(OpenSpace((1, 1), 2), length)
    with pytest.raises(ValueError, match=r"Expected length > 0 and < 1\.5; got 1\.5"):
        smooth_space(Cell((1, 1), 3, 3.0), 1.5)


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


def test_a_distance_has_the_derivatives_of_the_root_and_none_at_zero():
    q = np.array([0.0, 1e-6, 0.7, 3.0])
    slope = root
    for order, factor in enumerate((1 / 2, -1 / 4, 3 / 8), 1):
        slope = jax.grad(slope)
        expected = np.append(0, factor * q[1:] ** (0.5 - order))
        np.testing.assert_allclose(jax.jit(jax.vmap(slope))(q), expected, rtol=1e-14)
    flat = jax.hessian(lambda r: norm(r)[0])(np.zeros(3)), jax.jacfwd(lambda r: chord(r, 2.0))(np.zeros(2))
    assert all(np.all(x == 0) for x in flat)
