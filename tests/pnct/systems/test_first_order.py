"""F_0 + <V>_0 against the reference averages, and against the closed shells at zero temperature."""

import csv
from itertools import combinations

import numpy as np
import pytest

from pnct.systems.electron_gas import ElectronGas
from pnct.systems.first_order import first_order_bound, pair_occupations


def rows(path):
    with open(path) as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("equal", [(3, 4), (6, 7), (5, 6, 7)])
def test_pair_occupations_match_enumeration(equal):
    """Degenerate orbitals among others, and at the end of the table, where the sums of both are equal."""
    b = np.random.default_rng(0).uniform(0, 4, 8)
    b[list(equal)] = b[equal[0]]
    expected = np.zeros((8, 8))
    for K in combinations(range(8), 3):
        expected[np.ix_(K, K)] += np.exp(-b[list(K)].sum())
    expected /= np.trace(expected) / 3
    np.testing.assert_allclose(pair_occupations(b, 3), expected, atol=1e-13)


def test_ideal_average_of_the_potential(reference):
    for row in rows(reference / "first_order_potential.csv"):
        n = int(row["num_electrons_polarised"])
        if n > 13:
            continue
        gas = ElectronGas((n, 0), int(row["dim"]), 1.0, float(row["theta"]), float(row["twist"]))
        gas = ElectronGas((n, 0), gas.dim, 1.0, gas.theta, gas.twist, cutoff=gas.cutoff + 4)
        assert 2 * first_order_bound(gas).potential / n == pytest.approx(
            float(row["V_rs_per_electron_Ry"]), abs=3e-5
        )


def test_closed_shells_at_zero_temperature_are_hartree_fock(reference):
    for row in rows(reference / "hartree_fock.csv"):
        gas = ElectronGas(
            (int(row["n_up"]), int(row["n_dn"])), int(row["dim"]), 2.0, 0.0, float(row["twist"])
        )
        bound = first_order_bound(gas)
        assert bound.entropy == pytest.approx(0, abs=1e-12)
        assert 4 * bound.kinetic / gas.N == pytest.approx(float(row["K_rs2_per_electron_Ha"]), rel=1e-7)
        assert 2 * bound.potential / gas.N == pytest.approx(float(row["V_rs_per_electron_Ha"]), abs=2e-8)
