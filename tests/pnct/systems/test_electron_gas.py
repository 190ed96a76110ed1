"""The electron gas: its units, its orbital table, and what it says when it is asked for the impossible."""

import equinox as eqx
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pnct import ElectronGas
from pnct.orbitals.plane_waves import integer_vectors


def test_units_in_three_dimensions():
    """n = 3/(4 pi), E_F = (9 pi/2)^(2/3)/(2 rs^2) for the polarised gas."""
    gas = ElectronGas((7, 0), dim=3, rs=4.0, theta=0.25)
    assert gas.N == 7
    np.testing.assert_allclose(gas.L**3, 4 * np.pi * 7 / 3)
    np.testing.assert_allclose(gas.E_F, (9 * np.pi / 2) ** (2 / 3) / 32, rtol=1e-14)
    np.testing.assert_allclose(gas.E_F, 0.1827083, atol=1e-7)
    assert gas.temperature == pytest.approx(0.25 * gas.E_F)
    assert gas.beta * gas.temperature == pytest.approx(1)
    # a gas of both spins fills half as many levels of each: E_F = 1.84158.../rs^2
    np.testing.assert_allclose(ElectronGas((7, 7), dim=3, rs=1.0, theta=0.5).E_F, 1.8415843, atol=1e-7)


def test_units_in_two_dimensions():
    """n = 1/pi, E_F = 2/rs^2 polarised and 1/rs^2 unpolarised."""
    gas = ElectronGas((13, 0), dim=2, rs=10.0, theta=0.15, twist=0.25)
    np.testing.assert_allclose(gas.L, np.sqrt(13 * np.pi))
    np.testing.assert_allclose(gas.E_F, 0.02)
    np.testing.assert_allclose(ElectronGas((5, 5), dim=2, rs=2.0).E_F, 0.25)
    assert ElectronGas((5, 0), theta=0.0).beta == np.inf
    k = gas.orbitals.wavevectors
    np.testing.assert_allclose(k[0], 2 * np.pi / gas.L * np.array([0.25, 0.25]))
    np.testing.assert_allclose(gas.orbital_energies, np.sum(k**2, axis=1) / 200)


def test_table_is_ordered_by_energy_then_by_integer_vector():
    n = integer_vectors(2, (0.0, 0.0), 2.0)
    np.testing.assert_array_equal(
        n, [[0, 0], [-1, 0], [0, -1], [0, 1], [1, 0], [-1, -1], [-1, 1], [1, -1], [1, 1]]
    )
    # at twist 1/4 the vectors (-1, 0) and (0, -1) are degenerate only up to rounding
    n = integer_vectors(2, (0.25, 0.25), 0.7)
    np.testing.assert_array_equal(n, [[0, 0], [-1, 0], [0, -1]])


def test_degenerate_orbitals_share_a_shell():
    gas = ElectronGas((7, 0), dim=3, cutoff=3.0)
    np.testing.assert_array_equal(np.bincount(gas.shell_index), [1, 6, 12, 8])
    assert np.all(np.diff(gas.shell_index) >= 0)


def test_ground_state():
    gas = ElectronGas((3, 2), dim=2)
    np.testing.assert_array_equal(gas.ground_state, [0, 1, 2, 0, 1])
    assert [(s.start, s.stop) for s in gas.space.species] == [(0, 3), (3, 5)]
    assert [(s.start, s.stop) for s in ElectronGas((0, 3), dim=2).space.species] == [(0, 3)]


def test_zero_temperature_has_the_smallest_table():
    assert len(ElectronGas((7, 0), dim=3, theta=0.0).orbitals) == 7
    assert len(ElectronGas((3, 0), dim=2, theta=0.0).orbitals) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rs": -1.0}, r"Expected rs > 0; got -1\.0"),
        ({"rs": 0}, "Expected rs > 0; got 0"),
        ({"rs": float("nan")}, "Expected rs > 0; got nan"),
        ({"rs": "one"}, "Expected rs to be one number > 0; got 'one'"),
        ({"theta": -0.1}, r"Expected theta >= 0; got -0\.1"),
        ({"theta": [0.1, 0.2]}, "Expected theta to be one number >= 0; got"),
        ({"theta": float("inf")}, "Expected theta >= 0; got inf"),
        ({"cutoff": -1.0}, r"Expected cutoff >= 0; got -1\.0"),
        (
            {"num_electrons": (14, 0), "cutoff": 1.0},
            r"num_orbitals >= num_electrons; got 7 < 14\. Raise `cutoff`",
        ),
        (
            {"twist": (0.1, 0.2)},
            r"Expected twist to be one number, or one per axis \(3\); got \(0\.1, 0\.2\)",
        ),
        ({"twist": float("nan")}, "Expected a finite twist; got nan"),
        ({"twist": "a"}, "Expected twist to be one number"),
        ({"dim": 1}, "Expected dim = 2 or 3; got 1"),
        ({"dim": "3"}, "Expected dim = 2 or 3; got '3'"),
        ({"num_electrons": 7}, r"Expected num_electrons = \(up, down\), two whole numbers; got 7"),
        ({"num_electrons": (1, 2, 3)}, r"Expected num_electrons = \(up, down\)"),
        (
            {"num_electrons": (0, 0)},
            r"Expected num_electrons = \(up, down\) >= 0 and not both 0; got \(0, 0\)",
        ),
        ({"num_electrons": (-1, 3)}, r"Expected num_electrons = \(up, down\) >= 0"),
        ({"num_electrons": (2.5, 1)}, r"Expected num_electrons = \(up, down\)"),
    ],
    ids=str,
)
def test_errors_say_what_was_expected(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        ElectronGas(**{"num_electrons": (7, 0), **arguments})
    assert "\n" not in str(error.value)


def test_one_compilation_serves_all_densities_and_temperatures():
    @jax.jit
    def beta_and_energies(gas):
        return gas.beta, gas.reduced_energies, gas.orbital_energies

    gases = [
        ElectronGas((5, 2), dim=2, rs=rs, theta=theta, cutoff=6.0)
        for rs, theta in ((1.0, 0.1), (5.0, 0.5), (2.0, 0.0))
    ]
    for gas in gases:
        beta, b, e = beta_and_energies(gas)
        assert beta == pytest.approx(gas.beta)
        np.testing.assert_allclose(b, gas.reduced_energies, rtol=1e-12)
        np.testing.assert_allclose(e, gas.orbital_energies, rtol=1e-12)
    assert beta_and_energies._cache_size() == 1
    assert np.isfinite(
        jax.grad(lambda theta: eqx.tree_at(lambda g: g.theta, gases[0], theta).reduced_energies[0].sum())(0.1)
    )


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    dim=st.sampled_from([2, 3]),
    n=st.tuples(st.integers(0, 8), st.integers(0, 8)).filter(any),
    theta=st.floats(0, 0.5),
    twist=st.floats(-0.5, 0.5),
)
def test_any_gas_has_a_sorted_table_that_holds_its_ground_state(dim, n, theta, twist):
    gas = ElectronGas(n, dim, rs=2.0, theta=theta, twist=twist)
    e, q = gas.orbital_energies, np.sum(gas.orbitals.indices**2, axis=1)
    assert np.all(np.diff(e) >= -1e-9)
    assert len(np.unique(gas.orbitals.indices, axis=0)) == len(e) >= max(n)
    assert np.ptp(q[gas.shell_index == gas.shell_index[-1]]) < 1e-8
    assert all(
        np.isfinite(b).all() and b[k - 1] == 0 for b, k in zip(gas.reduced_energies, n, strict=True) if k
    )
    # no orbital of the last level was left out
    assert len(integer_vectors(dim, gas.twist, gas.cutoff)) == len(e)
