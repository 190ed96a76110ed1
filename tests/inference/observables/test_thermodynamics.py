"""Thermodynamics on the ideal gas, where all of it is known: exactly, and from draws with errors
that cover.
"""

import jax
import numpy as np
import pytest
from covered import assert_covered, parts
from made_up_draws import draws_of_states
from two_electrons import exact_two_electrons

from pnct import ElectronGas, ideal_gas
from pnct.distributions import Occupation
from pnct.inference import natural_gradient
from pnct.inference.observables.thermodynamics import (
    GridEstimate,
    StatePoint,
    difference_matrix,
    heat_capacity,
    pressure,
    state_point,
    thermodynamics,
    volume,
    with_electrons,
)
from pnct.inference.workflows.sweep import sweep
from pnct.models import electron_gas
from pnct.systems.first_order import first_order_bound, pair_occupations
from pnct.systems.ideal_gas import log_partition


def gases_on(rs, theta, num_electrons=(3, 0), dim=2):
    return [[ElectronGas(num_electrons, dim, r, t, 0.25, cutoff=12.0) for t in theta] for r in rs]


def exact_point(gas):
    ideal = ideal_gas(gas)
    return StatePoint(np.array([ideal.energy, 0.0, ideal.entropy]), np.zeros((3, 3)))


def exact_heat_capacity(gas):
    """Var(E)/T^2 in the canonical ideal gas."""
    e, total = np.asarray(gas.orbital_energies), 0.0
    for b, n in zip(gas.reduced_energies, gas.num_electrons, strict=True):
        if n:
            pairs = pair_occupations(np.asarray(b), n)
            total += e @ pairs @ e - (np.diag(pairs) @ e) ** 2
    return total / gas.temperature**2


def draws_of(gas, samples, seed=0):
    program = Occupation(gas)
    K = jax.jit(lambda key: program.sample(seed=key, sample_shape=(samples,)))(jax.random.key(seed))
    energy = np.sum(np.asarray(gas.orbital_energies)[np.asarray(K)], axis=1)
    log_p = np.asarray(jax.jit(program.log_prob)(K))
    return draws_of_states(K, log_p, energy, gas.temperature)


@pytest.mark.parametrize(("num_electrons", "dim"), [((3, 0), 2), ((2, 1), 3)])
def test_ideal_gas_on_a_grid(num_electrons, dim):
    rs = np.array([1.0, 1.5, 2.5])
    errors = []
    for h in (0.04, 0.02):
        gases = gases_on(rs, 0.5 + h * np.arange(-1, 2), num_electrons, dim)
        grid = thermodynamics(gases, [[exact_point(g) for g in row] for row in gases])
        gas, N = gases[1][1], gases[1][1].N
        ideal, C, omega = ideal_gas(gas), exact_heat_capacity(gas), volume(gas)
        P = 2 * ideal.energy / (dim * omega)
        np.testing.assert_allclose(grid.pressure_virial.value[1, 1], P, rtol=1e-12)
        np.testing.assert_allclose(grid.pressure_free_energy.value, grid.pressure_virial.value, rtol=1e-10)
        np.testing.assert_allclose(
            grid.chemical_potential.value[1, 1], (ideal.free_energy + P * omega) / N, rtol=1e-12
        )
        np.testing.assert_allclose(grid.density[1], N / omega)

        # P Omega = 2 E/d and E = r_s^-2 x function of theta: (dE/dOmega)_T = (2/(d Omega)) (C T - E).
        modulus = (
            -omega
            * (2 / dim)
            * ((2 / (dim * omega)) * (C * gas.temperature - ideal.energy) / omega - ideal.energy / omega**2)
        )
        slope = (ideal.entropy - 2 * C / dim) / N
        exact = np.array([C / N, modulus, slope, slope])
        names = ("heat_capacity", "bulk_modulus", "entropy_slope", "chemical_potential_slope")
        scale = (
            np.array([C, N * modulus, ideal.entropy, ideal.entropy]) / N
        )  # in two dimensions the slopes nearly vanish
        errors.append((np.array([getattr(grid, name).value[1, 1] for name in names]) - exact) / scale)
    assert np.all(np.abs(errors[1]) < 5e-3)
    np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.1)  # parabolas through three points


def test_first_order_is_exact_in_rs():
    """At first order r_s^2 F is linear in r_s, so -dF/dOmega is the virial pressure whatever the spacing."""
    gases = gases_on([0.5, 2.0, 3.0], [0.3, 0.4])
    points = []
    for row in gases:
        bounds = [first_order_bound(g) for g in row]
        points.append(
            [StatePoint(np.array([b.kinetic, b.potential, b.entropy]), np.zeros((3, 3))) for b in bounds]
        )
    grid = thermodynamics(gases, points)
    np.testing.assert_allclose(grid.pressure_free_energy.value, grid.pressure_virial.value, rtol=1e-9)


def test_interacting_electrons_obey_the_virial_theorem_and_maxwell():
    """Two electrons, exactly: what is left is the error of differences, a quarter of it at half
    the spacing.
    """
    errors = []
    for h in (0.1, 0.05):
        gases = gases_on(1 + h * np.arange(-1, 2), 0.9 * (1 + h * np.arange(-1, 2)), (2, 0))
        grid = thermodynamics(gases, [[exact_two_electrons(g) for g in row] for row in gases])
        ideal = thermodynamics(gases, [[exact_point(g) for g in row] for row in gases])

        def middle(field):
            return field.value[1, 1]

        P, slope = middle(grid.pressure_virial), middle(grid.entropy_slope)
        errors.append(
            [middle(grid.pressure_free_energy) / P - 1, middle(grid.chemical_potential_slope) / slope - 1]
        )
    assert abs(P / middle(ideal.pressure_virial) - 1) > 0.2 < abs(slope)  # the interaction is no small thing
    np.testing.assert_allclose(errors[1], 0, atol=2e-3)
    np.testing.assert_allclose(np.divide(*errors), 4, rtol=0.3)


def test_draws_of_one_state_cover_the_truth_at_the_stated_rate():
    """200 repeats on the ideal gas: 68 % and 95 % of the intervals hold the exact value, to 3
    binomial sigma.
    """
    gas = ElectronGas((3, 0), 2, 2.0, 0.5, 0.25)
    draws, ideal = draws_of(gas, 200 * 1000), ideal_gas(gas)
    exact = {
        "heat capacity": exact_heat_capacity(gas),
        "pressure": 2 * ideal.energy / (2 * volume(gas)),
        "entropy": ideal.entropy,
    }
    z = {name: [] for name in exact}
    for part in parts(1000):
        some = draws.take(part)
        mean, covariance = state_point(some)
        form = np.array(
            [1, 1, -gas.temperature]
        )  # F = T ln p + E is one number for all states: no error at all
        assert (
            form @ mean == pytest.approx(ideal.free_energy, rel=1e-9)
            and abs(form @ covariance @ form) < 1e-12
        )
        found = {
            "heat capacity": heat_capacity(some)[:2],
            "pressure": pressure(gas, some)[:2],
            "entropy": (mean[2], np.sqrt(covariance[2, 2])),
        }
        for name, (value, error) in found.items():
            z[name].append((value - exact[name]) / error)
    assert_covered(z)


def test_grids_of_draws_cover_the_truth_at_the_stated_rate():
    """200 repeats of 250 draws of the ideal gas, at all six points of a grid, beside the same differences of
    exact numbers.
    """
    gases = gases_on([1.0, 2.0], [0.4, 0.5, 0.6])
    draws = [
        [draws_of(g, 200 * 250, seed=7 * a + b) for b, g in enumerate(row)] for a, row in enumerate(gases)
    ]
    exact, z = thermodynamics(gases, [[exact_point(g) for g in row] for row in gases]), {}
    for part in parts(250):
        found = thermodynamics(gases, [[state_point(d.take(part)) for d in row] for row in draws])
        for name, field in found._asdict().items():
            if isinstance(field, GridEstimate) and name != "free_energy":  # without error in the ideal gas
                z.setdefault(name, []).append((field.value - getattr(exact, name).value) / field.error)
    assert len(z) == 9
    assert_covered(z)


def test_one_more_electron_in_the_same_volume():
    gas = ElectronGas((12, 0), 2, 3.0, 0.4, 0.25)
    more = with_electrons(gas, (13, 0))
    assert volume(more) == pytest.approx(volume(gas)) and more.temperature == pytest.approx(gas.temperature)
    np.testing.assert_allclose(more.orbital_energies, gas.orbital_energies, rtol=1e-12)
    b = np.asarray(gas.orbital_energies) / gas.temperature
    log_z = jax.jit(log_partition, static_argnums=1)
    mu = -gas.temperature * float(log_z(b, 13) - log_z(b, 12))
    added = ideal_gas(more).free_energy - ideal_gas(gas).free_energy
    assert added == pytest.approx(mu, rel=1e-9)
    # The other route is that of the infinite system, off by 1/N.
    ideal = ideal_gas(gas)
    assert added == pytest.approx((ideal.free_energy + ideal.energy) / gas.N, rel=0.15)


@pytest.mark.slow
def test_trained_gas_obeys_the_virial_theorem_and_maxwell():
    """Three electrons at r_s near 3: pressures from 2 K + V and from -dF/dOmega, heat capacities, entropy
    slopes; 4 sigma.
    """
    gases = gases_on([2.5, 3.0, 3.5], [0.4, 0.5, 0.6])
    path = [(a, b if a % 2 == 0 else 2 - b) for a in range(3) for b in range(3)]
    settings = {"num_steps": 80, "warm_steps": 30, "num_samples": 16384, "progress_bar": False}
    run = sweep(
        jax.random.key(0), electron_gas, [gases[a][b] for a, b in path], natural_gradient(), **settings
    )
    draws = {where: solution.draws for where, solution in zip(path, run, strict=True)}
    grid = thermodynamics(gases, [[state_point(draws[a, b]) for b in range(3)] for a in range(3)])

    def agree(x, y, a, b):
        print(x.value[a, b], x.error[a, b], y.value[a, b], y.error[a, b])
        return abs(x.value[a, b] - y.value[a, b]) < 4 * np.hypot(x.error[a, b], y.error[a, b])

    assert all(agree(grid.pressure_virial, grid.pressure_free_energy, a, b) for a, b in path)
    assert agree(grid.entropy_slope, grid.chemical_potential_slope, 1, 1)
    C = heat_capacity(draws[1, 1]).scaled(1 / 3)
    assert abs(C.value - grid.heat_capacity.value[1, 1]) < 4 * np.hypot(
        C.error, grid.heat_capacity.error[1, 1]
    )


def test_differences():
    x = np.array([0.1, 0.4, 0.5, 1.1])
    np.testing.assert_allclose(difference_matrix(x) @ (3 * x**2 - x), 6 * x - 1)
    np.testing.assert_allclose(difference_matrix(x[:2]) @ (2 * x[:2]), 2)


def test_expected_got():
    gases = gases_on([1.0, 2.0], [0.4, 0.5])
    points = [[exact_point(g) for g in row] for row in gases]
    with pytest.raises(ValueError, match="Expected gases and points on one grid"):
        thermodynamics(gases, points[:1])
    with pytest.raises(ValueError, match="Expected rs ascending"):
        thermodynamics(gases[::-1], points)
    with pytest.raises(ValueError, match="Expected temperature > 0"):
        heat_capacity(draws_of(gases[0][0], 10)._replace(temperature=0.0))
