"""Grids of twists, and what the symmetry of the cell leaves of them."""

import numpy as np
import pytest
from jax import random

from pnct import ElectronGas, ideal_gas
from pnct.inference.observables.twist_grid import irreducible_twists, monkhorst_pack, random_twists
from pnct.inference.observables.twists import with_twist
from pnct.systems.first_order import first_order_bound


def test_grid_integrates_plane_waves_exactly():
    grid = monkhorst_pack(4, 2)
    assert grid.shape == (16, 2) and np.all(np.abs(grid) < 0.5)
    for n in ([1, 0], [2, 3], [0, -3]):
        assert abs(np.mean(np.exp(2j * np.pi * grid @ n))) < 1e-12
    np.testing.assert_allclose(monkhorst_pack(1, 3), [[0, 0, 0]])
    np.testing.assert_allclose(np.sort(monkhorst_pack(2, 2)[:, 0]), [-0.25, -0.25, 0.25, 0.25])
    with pytest.raises(ValueError, match="Expected points >= 1"):
        monkhorst_pack(0, 2)


def test_random_twists():
    twists = random_twists(random.key(0), 2000, 3)
    assert np.all(np.abs(twists) <= 0.5) and twists.dtype == float
    assert np.all(np.abs(twists.mean(axis=0)) < 5 / np.sqrt(12 * 2000))


@pytest.mark.parametrize(
    ("points", "dim", "expected"),
    [
        (1, 2, [1]),
        (2, 2, [1]),
        (3, 2, [4 / 9, 4 / 9, 1 / 9]),
        (4, 2, [1 / 4, 1 / 2, 1 / 4]),
        (2, 3, [1]),
        (4, 3, [1 / 8, 3 / 8, 3 / 8, 1 / 8]),
    ],
)
def test_twists_that_symmetry_leaves(points, dim, expected):
    grid = monkhorst_pack(points, dim)
    twists, weights = irreducible_twists(grid)
    np.testing.assert_allclose(weights, expected, rtol=1e-14)
    # any function with the symmetry of the cell has the same mean
    c = np.cos(2 * np.pi * grid), np.cos(2 * np.pi * twists)
    full, reduced = (np.exp(x.sum(axis=1) + 0.3 * x.prod(axis=1)) for x in c)
    assert weights @ reduced == pytest.approx(full.mean(), rel=1e-12)


def test_twists_are_equal_modulo_whole_numbers_and_the_first_of_equal_ones_stays():
    twists, weights = irreducible_twists([[0.5, 0.2], [-0.2, -0.5], [0.8, 1.5], [0.5, 0.0], [0.1, 3.0]])
    np.testing.assert_array_equal(twists, [[0.5, 0.2], [0.5, 0.0], [0.1, 3.0]])
    np.testing.assert_allclose(weights, [3 / 5, 1 / 5, 1 / 5])
    unlike = np.array([[-0.25, 0.25], [0.1, 0.4], [-0.3, 0.0]])
    twists, weights = irreducible_twists(unlike)
    np.testing.assert_array_equal(twists, unlike)
    np.testing.assert_allclose(weights, 1 / 3)


def test_three_twists_have_the_averages_of_sixteen():
    """The ideal gas and the first-order bound of three electrons in two dimensions."""
    gas = ElectronGas((3, 0), 2, 3.0, 0.5, 0.0)

    def numbers(twist):
        at = with_twist(gas, twist)
        ideal, first = ideal_gas(at), first_order_bound(at)
        return [ideal.entropy, ideal.energy, ideal.free_energy, first.free_energy, first.potential]

    grid = monkhorst_pack(4, 2)
    twists, weights = irreducible_twists(grid)
    assert len(twists) == 3
    full, reduced = (np.array([numbers(t) for t in some]) for some in (grid, twists))
    np.testing.assert_allclose(weights @ reduced, full.mean(axis=0), rtol=1e-9)
    assert np.all(np.ptp(reduced, axis=0) > 1e-3 * np.abs(reduced[0]))  # they are not all the same


@pytest.mark.parametrize(
    ("twists", "message"),
    [
        ([0.1, 0.2], r"Expected twists of shape \(T, 2\) or \(T, 3\), T > 0; got shape \(2,\)"),
        (np.zeros((0, 2)), r"T > 0; got shape \(0, 2\)"),
        (np.zeros((3, 4)), r"got shape \(3, 4\)"),
        ([[0.1, 0.2], [0.1]], "Expected twists of shape"),
        ("grid", "Expected twists of shape .* got 'grid'"),
        ([[0.1, 0.2], [np.nan, 0.0]], r"Expected finite twists; got \[nan  0.\]"),
    ],
)
def test_what_is_no_grid_is_refused(unchecked, twists, message):
    with pytest.raises(ValueError, match=message):
        irreducible_twists(twists)
