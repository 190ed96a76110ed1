"""The size correction against sums done by brute force, and the line in 1/N against another fit."""

import numpy as np
import pytest

from pnct import ElectronGas
from pnct.estimate import Estimate
from pnct.inference.observables.correlations import StructureFactor
from pnct.inference.observables.finite_size import (
    against_size,
    potential_size_correction,
    square_lattice_sum,
)


def brute_force(dim, power, reach, width):
    """integral - sum over n != 0 of |n|^power exp(-width n^2) over the lattice of integers."""
    axis = np.arange(-reach, reach + 1.0)
    n2 = sum(x**2 for x in np.meshgrid(*[axis] * dim))
    n2 = n2[n2 > 0]
    total = np.sum(n2 ** (power / 2) * np.exp(-width * n2))
    r = (np.arange(400_000) + 0.5) * reach / 400_000
    surface = 2 * np.pi * r if dim == 2 else 4 * np.pi * r**2
    return np.sum(surface * r**power * np.exp(-width * r**2)) * reach / 400_000 - total


def test_lattice_sums():
    assert square_lattice_sum(2.0) == pytest.approx(6.0268120396, abs=1e-8)  # 4 zeta(2) Catalan
    assert brute_force(2, 0.5, 60, 0.01) == pytest.approx(-square_lattice_sum(-0.25), rel=1e-3)
    assert brute_force(3, 0.0, 40, 0.03) == pytest.approx(1, abs=1e-6)
    with pytest.raises(ValueError, match="Expected s < 0 or s > 1"):
        square_lattice_sum(0.5)


@pytest.mark.parametrize("dim", [2, 3])
def test_size_correction(dim):
    """S of the plasmons at small k: in 3D the correction is omega_p/4N; in 2D the sum over k, continued, by
    hand.
    """
    gas = ElectronGas((13, 0), dim, 5.0, 0.1, 0.0)
    q = 2 * np.pi / gas.L * np.array([[0] * dim, [1] + [0] * (dim - 1), [1] * dim])
    k = np.linalg.norm(q, axis=1) / gas.rs
    if dim == 3:
        omega = np.sqrt(3 / gas.rs**3)
        S = k**2 / (2 * omega)
        expected = omega / (4 * gas.N)
    else:
        density = 1 / (np.pi * gas.rs**2)
        S = k**1.5 / (2 * np.sqrt(2 * np.pi * density))  # k^2/(2 omega), omega^2 = 2 pi n k
        side = gas.L * gas.rs
        v_S = 2 * np.pi / (2 * np.sqrt(2 * np.pi * density)) * np.sqrt(2 * np.pi / side)
        expected = v_S / (2 * side**2) * brute_force(2, 0.5, 60, 0.01)
        assert expected > 0
    found = potential_size_correction(gas, StructureFactor(q, S, 0.1 * S, {}, {}))
    assert found.value == pytest.approx(expected, rel=1e-3)
    assert found.error == pytest.approx(0.1 * expected, rel=1e-3)
    with pytest.raises(ValueError, match="q != 0"):
        potential_size_correction(gas, StructureFactor(q[:1], S[:1], S[:1], {}, {}))


NUMBERS = np.array([13, 21, 37, 57, 89])
VALUES = np.array([0.912, 0.938, 0.951, 0.960, 0.961])
ERRORS = np.array([0.004, 0.003, 0.005, 0.004, 0.006])


def made_up(values=VALUES, errors=ERRORS):
    return [Estimate(float(x), float(e), 100.0) for x, e in zip(values, errors, strict=True)]


@pytest.mark.parametrize("scatter", [1.0, 20.0], ids=["as the errors", "more than the errors"])
def test_line_through_sizes_is_that_of_numpy(scatter):
    """numpy.polyfit with weights 1/error; unscaled, or scaled by chi^2/dof where that is more."""
    line = 0.97 - 0.7 / NUMBERS
    values = line + scatter * (VALUES - line) / 4
    (slope, intercept), covariance = np.polyfit(1 / NUMBERS, values, 1, w=1 / ERRORS, cov="unscaled")
    chi2 = np.sum(((values - intercept - slope / NUMBERS) / ERRORS) ** 2) / 3
    assert (chi2 > 1) == (scatter > 1)
    covariance = covariance * max(1, chi2)

    a, b = against_size(NUMBERS, made_up(values))
    assert a.value == pytest.approx(intercept, rel=1e-10) and b.value == pytest.approx(slope, rel=1e-9)
    assert a.error == pytest.approx(np.sqrt(covariance[1, 1]), rel=1e-9)
    assert b.error == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-9)
    assert a.ess == b.ess == 500


def test_line_through_two_sizes_meets_both():
    """a = (N_2 X_2 - N_1 X_1)/(N_2 - N_1), and the error of that."""
    a, b = against_size([10, 40], made_up([0.8, 0.95], [0.01, 0.02]))
    assert a.value == pytest.approx(1.0) and a.error == pytest.approx(np.hypot(40 * 0.02, 10 * 0.01) / 30)
    assert b.value == pytest.approx(-2.0) and b.error == pytest.approx(np.hypot(0.01, 0.02) / (3 / 40))


def test_errors_of_the_line_cover():
    noise = np.random.default_rng(0).normal(size=(2000, len(NUMBERS))) * ERRORS
    plain = np.polyfit(1 / NUMBERS, noise.T, 1, w=1 / ERRORS)[1]
    exact = np.linalg.inv(
        np.stack([np.ones(5), 1 / NUMBERS]) / ERRORS**2 @ np.stack([np.ones(5), 1 / NUMBERS]).T
    )
    assert np.std(plain) == pytest.approx(np.sqrt(exact[0, 0]), rel=0.06)
    found = against_size(NUMBERS, made_up(1 - 0.5 / NUMBERS))[0]  # on a line: chi^2 = 0, nothing is scaled
    assert found.error == pytest.approx(np.sqrt(exact[0, 0]), rel=1e-9)


@pytest.mark.parametrize(
    ("numbers", "estimates", "message"),
    [
        ([13], made_up()[:1], r"Expected two different numbers of electrons or more, > 0; got \[13.0\]"),
        ([13, 13], made_up()[:2], "Expected two different numbers"),
        ([13, 0], made_up()[:2], "Expected two different numbers"),
        ([13, np.nan], made_up()[:2], "Expected two different numbers"),
        ([13, 21, 37], made_up()[:2], r"Expected one number .*; got numbers of shape \(3,\) for 2 estimates"),
        ("all", made_up()[:2], "Expected numbers of electrons; got 'all'"),
        ([13, 21], made_up([1, 2], [0.1, 0.0]), r"errors > 0; got 1.00\(10\), 2.000000\(0\)"),
        ([13, 21], made_up([1, np.inf], [0.1, 0.1]), "Expected finite estimates"),
    ],
)
def test_what_makes_no_line_is_refused(unchecked, numbers, estimates, message):
    with pytest.raises(ValueError, match=message):
        against_size(numbers, estimates)
