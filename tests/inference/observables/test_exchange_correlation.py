"""f_xc of untrained electrons, which is first-order perturbation theory, and of exact ones by both routes."""

import csv

import numpy as np
import pytest
from identity_flow import Identity
from jax import random

import pnct
import pnct.distributions as dist
from pnct import ElectronGas, hamiltonian, ideal_gas
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.inference.observables.exchange_correlation import (
    coupling_integral,
    coupling_mean,
    exchange_correlation,
    size_correction,
)
from pnct.inference.observables.finite_size import potential_size_correction
from pnct.inference.observables.ideal_correlations import canonical_structure_factor
from pnct.inference.observables.thermodynamics import StatePoint, state_point
from pnct.inference.workflows.sweep import sweep
from pnct.models import electron_gas
from pnct.systems.first_order import first_order_bound

GAS = ElectronGas((7, 0), 3, 4.0, 0.5)


def untrained(gas):
    K = pnct.sample("K", dist.Occupation(gas))
    return pnct.sample("R", dist.Born(gas.orbitals, K, Identity()))


@pytest.fixture(scope="module")
def draws():
    vfe = VariationalFreeEnergy(untrained, hamiltonian(GAS), natural_gradient(), 512, 16)
    return vfe.evaluate(random.key(0), {}, 4096, GAS)


def test_untrained_electrons_have_the_functional_of_first_order(draws):
    """F - F_0 = <V>_0 and S = S_0, 4 sigma; S(q), and so the size correction, is that of the ideal gas."""
    found = exchange_correlation(GAS, draws)
    first = first_order_bound(GAS)
    assert abs(found.free_energy.value - first.potential / 7) < 4 * found.free_energy.error < 0.01
    assert abs(found.entropy.value) < 4 * found.entropy.error
    assert abs(found.entropy_ratio.value - 1) < 4 * found.entropy_ratio.error
    q = 2 * np.pi / GAS.L * np.eye(3)
    ideal = potential_size_correction(GAS, canonical_structure_factor(GAS, q)).value
    assert found.size_correction.value == pytest.approx(ideal, rel=0.05)
    assert found.infinite.value == pytest.approx(found.free_energy.value + found.size_correction.value)


def test_the_mean_over_the_coupling():
    """S_r = S_0/(1 + gamma r)^power, integrated; where S << S_0 it is 2 S, so omega_p/4N is doubled."""
    S = np.array([0.2])
    r = (np.arange(100_000) + 0.5) / 100_000
    for S_0 in (1.001 * S, 3 * S, 20 * S):
        for mean, power in zip(coupling_mean(S, S_0), (0.5, 1), strict=True):
            gamma = (S_0 / S) ** (1 / power) - 1
            assert mean[0] == pytest.approx(np.mean(S_0 / (1 + gamma * r) ** power), rel=1e-5)
    assert coupling_mean(S, 1e6 * S)[0][0] == pytest.approx(2 * S[0], rel=1e-5)
    gas = ElectronGas((19, 0), 3, 10.0, 0.0625)
    plasmon = (3 / gas.rs**3) ** 0.5
    q = 2 * np.pi / gas.L * np.eye(3)
    cold = canonical_structure_factor(gas, q)._replace(
        S=np.full(3, 2 * (q[0, 0] / gas.rs) ** 2 / (2 * plasmon))
    )
    assert potential_size_correction(gas, cold).value == pytest.approx(plasmon / (2 * 19), rel=1e-10)


@pytest.mark.parametrize("theta", [0.15, 0.5])
def test_the_coupling_integral_of_exact_electrons_is_their_free_energy(reference, theta):
    """Three electrons in 2D, diagonalised: F from V at four densities and none, to 1 %."""
    with open(reference / "exact_diagonalisation.csv") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if (row["dim"], row["n_up"], row["n_dn"]) == ("2", "3", "0") and float(row["theta"]) == theta
        ]
    assert len(rows) == 4
    gases = [ElectronGas((3, 0), 2, float(row["rs"]), theta, 0.25) for row in rows]
    points = [
        StatePoint(np.array([np.nan, 1.5 * float(row["V/N"]), np.nan]), np.zeros((3, 3))) for row in rows
    ]
    exact = [float(row["F/N"]) / 2 - free(gas) for row, gas in zip(rows, gases, strict=True)]
    found = coupling_integral(gases, points)
    print([(x.value, y) for x, y in zip(found, exact, strict=True)])
    np.testing.assert_allclose([x.value for x in found], exact, rtol=0.01)
    assert all(x.error == 0 for x in found)
    noisy = [p._replace(covariance=np.diag([0, 1e-8 * (i + 1), 0])) for i, p in enumerate(points)]
    rng = np.random.default_rng(0)
    moved = [
        [p._replace(mean=p.mean + rng.normal(size=3) * np.sqrt(np.diag(p.covariance))) for p in noisy]
        for _ in range(400)
    ]
    spread = np.std([[x.value for x in coupling_integral(gases, m)] for m in moved], axis=0)
    np.testing.assert_allclose([x.error for x in coupling_integral(gases, noisy)], spread, rtol=0.15)


def free(gas):
    """F_0 per electron of a table that holds all of it."""
    whole = ElectronGas(gas.num_electrons, gas.dim, gas.rs, gas.theta, gas.twist, gas.cutoff + 20)
    return ideal_gas(whole).free_energy / gas.N


@pytest.mark.slow
def test_the_coupling_integral_of_trained_electrons(reference):
    """Three electrons in 2D, theta = 0.5: both routes to f_xc within 1 % at r_s = 10."""
    gases = [ElectronGas((3, 0), 2, rs, 0.5, 0.25) for rs in (0.5, 1.0, 2.5, 5.0, 10.0)]
    settings = {"num_steps": 80, "num_samples": 16_384, "warm_steps": 50, "progress_bar": False}
    found = list(sweep(random.key(0), electron_gas, gases, natural_gradient(), **settings))
    points = [state_point(x.draws) for x in found]
    for gas, solution, by_coupling in zip(gases, found, coupling_integral(gases, points), strict=True):
        direct = exchange_correlation(gas, solution.draws).free_energy
        print(f"rs = {gas.rs}: f_xc {direct}, by the coupling {by_coupling}")
    assert by_coupling.value == pytest.approx(direct.value, rel=0.01)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_seven_electrons_beside_the_fit():
    """3D, r_s = 10, theta = 0.25: f_xc of N = 7 within 3 % of that of the infinite gas."""
    gas = ElectronGas((7, 0), 3, 10.0, 0.25)
    vfe = VariationalFreeEnergy(electron_gas, hamiltonian(gas), natural_gradient(), 256)
    params = vfe.run(random.key(0), 120, gas, progress_bar=False).params
    found = exchange_correlation(gas, vfe.evaluate(random.key(1), params, 8192, gas))
    print(found)
    assert found.free_energy.value == pytest.approx(-0.06766, rel=0.03)


def test_expected_got(draws):
    other = ElectronGas((7, 0), 3, 4.0, 0.25)
    with pytest.raises(ValueError, match=r"Expected draws of 7 electrons at T = .*; got 7 at "):
        exchange_correlation(other, draws)
    with pytest.raises(
        ValueError, match=r"of ascending rs and one N, theta and twist; got 1 points, rs = \[4.0"
    ):
        coupling_integral([GAS, other], [state_point(draws)])
    assert np.isfinite(size_correction(GAS, draws).error)
