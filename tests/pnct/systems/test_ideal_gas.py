"""The exact canonical ideal gas: against 400-digit values, against brute force, and at its limits."""

import csv
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pnct import ElectronGas, ideal_gas
from pnct.systems.ideal_gas import canonical, conditional_table, log_partition

PER_ELECTRON_IN_RYDBERG = 2.0
REPRESENTATIVE = (3, 25, 44, 76)  # 2D and 3D, one and two species, N = 4 to 33


def rows_of(reference):
    with open(reference / "ideal_gas.csv") as file:
        return list(csv.DictReader(file))


def gas_of(row, cutoff=None):
    n = int(row["n_up"]), int(row["n_dn"])
    return ElectronGas(
        n, int(row["dim"]), rs=1.0, theta=float(row["theta"]), twist=float(row["twist"]), cutoff=cutoff
    )


def check_row(row):
    default = gas_of(row)
    generous = gas_of(row, cutoff=2.6 * default.cutoff + 3)
    exact, scale = ideal_gas(generous), PER_ELECTRON_IN_RYDBERG / generous.N
    assert exact.free_energy * scale == pytest.approx(float(row["F_rs2_per_electron_Ry"]), abs=2e-9)
    assert exact.energy * scale == pytest.approx(float(row["E_rs2_per_electron_Ry"]), abs=2e-9)
    assert exact.entropy / generous.N == pytest.approx(float(row["S_per_electron_kB"]), abs=1e-9)
    assert ideal_gas(default).entropy / default.N == pytest.approx(float(row["S_per_electron_kB"]), abs=1e-4)


def test_reference_values(reference):
    rows = rows_of(reference)
    for i in REPRESENTATIVE:
        check_row(rows[i])


@pytest.mark.slow
def test_all_reference_values(reference):
    for row in rows_of(reference):
        check_row(row)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 10])
def test_log_partition_by_enumeration(n):
    b = np.random.default_rng(n).normal(size=10) * 3
    brute = np.log(sum(np.exp(-sum(s)) for s in itertools.combinations(b, n)))
    assert float(log_partition(jnp.asarray(b), n)) == pytest.approx(brute, abs=1e-12)


def test_conditionals_by_enumeration():
    """exp l[i, m] = sum over all lists that go on from m, for every electron and orbital."""
    n, b = 3, np.random.default_rng(0).normal(size=7) * 2
    table = conditional_table(jnp.asarray(b), n)
    assert table.shape == (n, 7)
    for i, m in itertools.product(range(n), range(7)):
        ways = [np.exp(-b[m] - sum(rest)) for rest in itertools.combinations(b[m + 1 :], n - 1 - i)]
        if ways:
            assert float(table[i, m]) == pytest.approx(np.log(sum(ways)), abs=1e-12)
        else:
            assert table[i, m] < -1e29


def test_occupations_sum_to_the_electrons():
    gas = ElectronGas((7, 4), dim=3, rs=2.0, theta=0.5)
    result = ideal_gas(gas)
    assert result.occupations.shape == (2, len(gas.orbitals))
    np.testing.assert_allclose(result.occupations.sum(axis=1), gas.num_electrons, atol=1e-10)
    assert np.all((result.occupations >= 0) & (result.occupations <= 1 + 1e-12))
    assert result.free_energy == pytest.approx(result.energy - gas.temperature * result.entropy, rel=1e-13)
    for shell in np.unique(gas.shell_index):
        assert np.ptp(result.occupations[:, gas.shell_index == shell], axis=1).max() < 1e-12


@pytest.mark.parametrize(
    ("num_electrons", "dim", "degeneracy"),
    [
        ((5, 0), 2, 1),
        ((3, 0), 2, math.comb(4, 2)),
        ((7, 0), 3, 1),
        ((4, 2), 3, math.comb(6, 3) * 6),
        ((1, 0), 3, 1),
    ],
)
def test_zero_temperature_entropy_is_the_logarithm_of_the_degeneracy(num_electrons, dim, degeneracy):
    gas = ElectronGas(num_electrons, dim, theta=0.0)
    result = ideal_gas(gas)
    assert result.entropy == pytest.approx(np.log(degeneracy), abs=1e-12)
    ground = sum(gas.orbital_energies[:n].sum() for n in num_electrons)
    assert result.energy == pytest.approx(ground, rel=1e-12)
    assert result.free_energy == result.energy


def test_the_energy_is_the_slope_of_the_free_energy():
    """E = d(beta F)/d beta, by central differences of theta."""
    free = {
        t: ideal_gas(ElectronGas((13, 0), 2, rs=1.0, theta=t, cutoff=30.0)) for t in (0.2999, 0.3, 0.3001)
    }
    beta = {t: 1 / (t * ElectronGas((13, 0), 2, rs=1.0).E_F) for t in free}
    low, mid, high = free
    slope = (beta[high] * free[high].free_energy - beta[low] * free[low].free_energy) / (
        beta[high] - beta[low]
    )
    assert slope == pytest.approx(free[mid].energy, rel=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_gradients_are_finite(dtype):
    """Also where an orbital or a whole row of the table cannot be reached, and at the bound of the reduced
    energies.
    """
    b = jnp.asarray([-200.0, -3.0, 0.0, 0.0, 1.0, 200.0], dtype)
    for n in (1, 3, 6):
        jacobian = jax.jit(jax.jacrev(conditional_table), static_argnums=1)(b, n)
        assert jacobian.dtype == dtype
        assert np.isfinite(jacobian).all()
        assert np.isfinite(jax.jit(jax.grad(log_partition), static_argnums=1)(b, n)).all()


def test_no_electrons():
    log_z, occupations = canonical(np.arange(4.0), 0)
    assert log_z == 0
    np.testing.assert_array_equal(occupations, 0)
