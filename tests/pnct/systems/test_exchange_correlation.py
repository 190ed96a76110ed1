"""GDSMFB beside every row that a library gives for it, its entropy beside differences, s_0 beside series."""

import csv

import numpy as np
import pytest

from pnct import ElectronGas, ideal_gas
from pnct.systems.exchange_correlation import exchange_correlation, ideal_entropy


def test_every_row_of_the_library(reference):
    with open(reference / "free_energy_xc_3d.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["parametrisation"] == "GDSMFB"]
    assert len(rows) == 42
    for row in rows:
        found = exchange_correlation(float(row["rs"]), float(row["theta"]), float(row["xi"]))
        assert found.free_energy == pytest.approx(float(row["f_xc"]), abs=2e-5), row


@pytest.mark.parametrize("xi", [0, 1])
@pytest.mark.parametrize(("rs", "theta"), [(1.0, 0.0625), (10.0, 0.5), (4.0, 2.0)])
def test_entropy_is_the_slope_of_the_free_energy(rs, theta, xi):
    step = 1e-4 * theta
    higher, lower = (exchange_correlation(rs, theta + s * step, xi).free_energy for s in (1, -1))
    E_F = (9 * np.pi / 4 * (1 + xi)) ** (2 / 3) / (2 * rs**2)
    assert exchange_correlation(rs, theta, xi).entropy == pytest.approx(
        -(higher - lower) / (2 * step * E_F), rel=1e-6
    )


@pytest.mark.parametrize("xi", [0, 1])
def test_limits_of_high_temperature_and_density(xi):
    """Debye and Hueckel: f_xc -> -(4 pi n/T)^(1/2)/3; and the exchange of the ground state."""
    rs, theta = 1e-2, 1e6
    T = theta * (9 * np.pi / 4 * (1 + xi)) ** (2 / 3) / (2 * rs**2)
    n = 3 / (4 * np.pi * rs**3)
    assert exchange_correlation(rs, theta, xi).free_energy == pytest.approx(
        -((4 * np.pi * n / T) ** 0.5) / 3, rel=0.02
    )
    exchange = -3 / (4 * np.pi) * (9 * np.pi / 4 * (1 + xi)) ** (1 / 3)  # of the ground state, times rs
    assert exchange_correlation(1e-6, 1e-3, xi).free_energy * 1e-6 == pytest.approx(exchange, rel=2e-3)


def test_entropy_of_free_electrons():
    """The laws of Sommerfeld and of Sackur and Tetrode, and the canonical gas of many electrons."""
    for dim in (2, 3):
        theta = 0.01
        assert ideal_entropy(theta, dim) == pytest.approx(np.pi**2 / 6 * dim * theta, rel=2e-3)
        filled = 2 / dim * 50.0 ** (-dim / 2)
        gamma = {2: 1.0, 3: np.sqrt(np.pi) / 2}[dim]
        classical = (dim + 2) / 2 - np.log(filled / gamma)
        assert ideal_entropy(50.0, dim) == pytest.approx(classical, rel=1e-2)
    gas = ElectronGas((57, 0), 2, 1.0, 0.5, 0.25)
    assert ideal_gas(gas).entropy / gas.N == pytest.approx(ideal_entropy(0.5, 2), rel=0.04)


@pytest.mark.parametrize(
    ("rs", "theta", "xi", "message"),
    [
        (0.0, 1.0, 0, "Expected rs > 0; got 0.0"),
        (1.0, 0.0, 0, "Expected theta > 0, since the fit is of finite temperatures; got 0.0"),
        (1.0, 1.0, 0.5, "Expected polarisation 0 or 1, since the fit has parameters for these; got 0.5"),
        (1.0, np.nan, 1, "Expected theta > 0"),
    ],
)
def test_what_the_fit_is_not_for(rs, theta, xi, message):
    with pytest.raises(ValueError, match=message):
        exchange_correlation(rs, theta, xi)
