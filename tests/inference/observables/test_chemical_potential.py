"""Two routes to the chemical potential: on the ideal gas they differ by what the canonical ensemble demands,
no more.

Interacting electrons: two and three of them, whose states are known exactly.
"""

import csv

import numpy as np
import pytest
from jax import random
from scipy.optimize import brentq
from two_electrons import exact_two_electrons

from pnct import ElectronGas, hamiltonian, ideal_gas
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.inference.observables.chemical_potential import chemical_potential, size_effect
from pnct.inference.observables.thermodynamics import StatePoint, state_point, with_electrons
from pnct.models import electron_gas
from pnct.systems.ewald import madelung


def pair(N, dim=2, rs=1.0, theta=0.5, twist=0.25):
    """N and N + 1 electrons, the table up to ten Fermi energies."""
    fermi = N / np.pi if dim == 2 else (3 * N / (4 * np.pi)) ** (2 / 3)
    gas = ElectronGas((N, 0), dim, rs, theta, twist, 1 + 10 * fermi)
    return gas, with_electrons(gas, (N + 1, 0))


def exact_points(gases):
    ideal = [ideal_gas(gas) for gas in gases]
    return tuple(StatePoint(np.array([x.energy, 0.0, x.entropy]), np.zeros((3, 3))) for x in ideal)


def grand_canonical(gas, N):
    """mu and Var N of N electrons on average."""
    b = np.asarray(gas.orbital_energies) / gas.temperature

    def fermi(m):
        return 1 / (1 + np.exp(b - m))

    m = brentq(lambda m: np.sum(fermi(m)) - N, -50, 50, xtol=1e-12)
    return m * gas.temperature, np.sum(fermi(m) * (1 - fermi(m)))


@pytest.mark.parametrize(("dim", "sizes"), [(2, {5: 0.03, 20: 0.002}), (3, {12: 0.01})])
def test_on_the_ideal_gas_the_routes_differ_by_the_canonical_term_alone(dim, sizes):
    """(T/2N)[ln(2 pi Var N) - 1] accounts for their difference ever more exactly; both tend to the grand
    canonical mu.
    """
    for N, tolerance in sizes.items():
        gases = pair(N, dim)
        mu, T = chemical_potential(gases, exact_points(gases)), gases[0].temperature
        exact, variance = grand_canonical(gases[0], N + 0.5)
        canonical = T / (2 * (N + 0.5)) * (np.log(2 * np.pi * variance) - 1)
        assert mu.virial.value - mu.addition.value == pytest.approx(canonical, rel=tolerance)
        assert mu.addition.value == pytest.approx(exact, abs=T / (2 * N))
        assert mu.virial.error == mu.addition.error == 0


def test_first_order_accounts_for_the_difference():
    """Without interaction all of it. With it, what V adds is S(0) xi/(2 d L r_s), its own size error, but for
    the order 1/N.
    """
    gases = pair(3, rs=1e-6)
    mu = chemical_potential(gases, exact_points(gases))
    assert mu.virial.value - mu.size_effect == pytest.approx(mu.addition.value, rel=1e-5)
    shares = []
    for N in (6, 20):
        gases = pair(N)
        free = chemical_potential(gases, exact_points(gases))
        of_interaction = size_effect(gases) - (free.virial.value - free.addition.value)
        S_0 = grand_canonical(gases[0], N + 0.5)[1] / (N + 0.5)
        shares.append(of_interaction / (S_0 * madelung(2) / (4 * gases[0].L)))
    assert 0.7 < shares[0] < shares[1] < 1


def test_errors_add_up():
    gases = pair(3)
    rng = np.random.default_rng(0)
    factors = [rng.normal(size=(3, 3)) for _ in range(2)]
    points = [StatePoint(np.zeros(3), a @ a.T) for a in factors]
    draws = [rng.normal(size=(200_000, 3)) @ a.T for a in factors]
    mu, T = chemical_potential(gases, points), gases[0].temperature
    F = [x[:, 0] + x[:, 1] - T * x[:, 2] for x in draws]
    virial = [(f + x[:, 0] + x[:, 1] / 2) / n for f, x, n in zip(F, draws, (3, 4), strict=True)]
    assert mu.addition.error == pytest.approx(np.std(F[1] - F[0]), rel=0.01)
    assert mu.virial.error == pytest.approx(np.std(sum(virial) / 2), rel=0.01)


def exact_three_electrons(reference, gas):
    """K, V and S, totals."""
    with open(reference / "exact_diagonalisation.csv") as file:
        row = next(
            r
            for r in csv.DictReader(file)
            if [float(r[c]) for c in COLUMNS] == [2, 3, 0, gas.rs, gas.theta, 0.25]
        )
    return StatePoint(
        np.array([1.5 * float(row["K/N"]), 1.5 * float(row["V/N"]), float(row["S_total"])]), np.zeros((3, 3))
    )


COLUMNS = ("dim", "n_up", "n_dn", "rs", "theta", "twist")


def two_and_three(rs):
    three = ElectronGas((3, 0), 2, rs, 0.5, 0.25)
    return with_electrons(three, (2, 0)), three


def test_two_electrons_are_those_of_the_reference(reference):
    with open(reference / "exact_diagonalisation.csv") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if (row["n_up"], row["n_dn"], row["theta"]) == ("2", "0", "0.5")
        ]
    for row in rows[1:]:
        K, V, S = exact_two_electrons(ElectronGas((2, 0), 2, float(row["rs"]), 0.5, 0.25)).mean
        np.testing.assert_allclose([K, V, S], [float(row[c]) for c in ("K/N", "V/N", "S_total")], atol=2e-5)


@pytest.mark.parametrize("rs", [0.5, 1.0])
def test_routes_on_the_exact_interacting_gas(reference, rs):
    """Two and three electrons, diagonalise: they differ, and the size effect of first order is that
    difference to 2 % of T.
    """
    gases = two_and_three(rs)
    mu = chemical_potential(
        gases, (exact_two_electrons(gases[0]), exact_three_electrons(reference, gases[1]))
    )
    print(mu)
    difference, T = mu.virial.value - mu.addition.value, gases[0].temperature
    assert abs(difference) > 0.1 * T
    assert abs(difference - mu.size_effect) < 0.02 * T


@pytest.mark.slow
def test_both_routes_on_a_trained_gas(reference):
    """Two and three electrons at rs = 1, trained: each route gives its exact value, 4 sigma."""
    gases = two_and_three(1.0)
    exact = chemical_potential(
        gases, (exact_two_electrons(gases[0]), exact_three_electrons(reference, gases[1]))
    )
    points = []
    for gas in gases:
        vfe = VariationalFreeEnergy(electron_gas, hamiltonian(gas), natural_gradient(), num_walkers=256)
        params = vfe.run(random.key(0), 150, gas, progress_bar=False).params
        points.append(state_point(vfe.evaluate(random.key(1), params, 16384, gas)))
    mu = chemical_potential(gases, tuple(points))
    print(mu, exact)
    assert abs(mu.addition.value - exact.addition.value) < 4 * mu.addition.error
    assert abs(mu.virial.value - exact.virial.value) < 4 * mu.virial.error


def test_expected_got():
    gas = ElectronGas((3, 0), 2, 1.0, 0.5, 0.25)
    with pytest.raises(
        ValueError, match="Expected 4 electrons in the volume and at the temperature of the 3; got 5"
    ):
        chemical_potential((gas, with_electrons(gas, (5, 0))), exact_points((gas, gas)))
    with pytest.raises(ValueError, match="Expected 4 electrons in the volume"):
        chemical_potential((gas, ElectronGas((4, 0), 2, 1.0, 0.5, 0.25)), exact_points((gas, gas)))
