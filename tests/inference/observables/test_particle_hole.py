"""The slope of the particle-hole energies is one without interaction, exchange's in plane waves, and has the
error of correlated samples.
"""

from itertools import product

import numpy as np
import pytest
from covered import REPEATS, assert_covered
from identity_flow import Identity
from jax import random

import pnct
import pnct.distributions as dist
from pnct import ElectronGas, HarmonicTrap, coulomb, hamiltonian
from pnct.estimate import mean_of_independent
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.inference.observables.excitations import Excitations, excitation_energies
from pnct.inference.observables.particle_hole import mass_from_excitations, particle_hole_states

COLD = ElectronGas((5, 0), 2, 1.0, 0.0, 0.0, cutoff=5.0)
WARM = ElectronGas((5, 1), 2, 1.0, 0.5, 0.0, cutoff=5.0)


def free_electrons(gas):
    K = pnct.sample("K", dist.Occupation(gas))
    return pnct.sample("R", dist.Born(gas.orbitals, K, Identity()))


def excitations_of(gas, states, interaction, samples):
    vfe = VariationalFreeEnergy(free_electrons, hamiltonian(gas, interaction), natural_gradient(), 1024, 64)
    return excitation_energies(random.key(0), vfe, {}, states, samples, gas)


def of_samples(differences):
    """Excitations with these differences, shape (n, S)."""
    return Excitations((), tuple(mean_of_independent(d) for d in differences), differences)


def first_order(gas, K):
    """Kinetic energy and exchange of a determinant, one pair after the other."""
    k = np.asarray(gas.orbitals.wavevectors)
    energy = sum(np.sum(k[m] ** 2) / (2 * gas.rs**2) for m in K)
    up = gas.num_electrons[0]
    for i, j in product(range(gas.N), repeat=2):
        if i < j and (i < up) == (j < up):
            q = np.linalg.norm(k[K[i]] - k[K[j]])
            v = 2 * np.pi / (gas.L**2 * q) if gas.dim == 2 else 4 * np.pi / (gas.L**3 * q**2)
            energy -= v / gas.rs
    return energy


def all_single_excitations(gas):
    """{K: (bare energy, e_h, e_p, |k_p - k_h|^2)} of all electrons of the more numerous spin that move up, in
    units of 2 pi/L.
    """
    n = np.asarray(gas.orbitals.indices)
    up, down = gas.num_electrons
    spin, found = (0 if up >= down else 1), {}
    for h, p in product(range(gas.num_electrons[spin]), range(len(n))):
        if p >= gas.num_electrons[spin]:
            kept = [list(range(up)), list(range(down))]
            kept[spin] = sorted({*kept[spin], p} - {h})
            e_h, e_p, q2 = np.round([n[h] @ n[h], n[p] @ n[p], (n[p] - n[h]) @ (n[p] - n[h])], 6)
            found[(*kept[0], *kept[1])] = (np.round(e_p - e_h, 6), e_h, e_p, q2)
    return found


@pytest.mark.parametrize(
    "gas",
    [
        COLD,
        WARM,
        ElectronGas((1, 5), 2, 1.0, 0.0, 0.0, cutoff=5.0),
        ElectronGas((5, 5), 2, 1.0, 0.3, 0.0, cutoff=5.0),
        ElectronGas((7, 0), 3, 1.0, 0.0, 0.0, cutoff=4.0),
        ElectronGas((3, 0), 2, 1.0, 0.0, (0.1, 0.3), cutoff=5.0),
        ElectronGas((3, 1), 2, 1.0, 0.5, 0.25, cutoff=5.0),
    ],
    ids=["cold", "warm", "more down", "unpolarised", "3D", "twist without symmetry", "twist"],
)
def test_states_are_the_lowest_single_excitations_one_of_each_class(gas):
    everything = all_single_excitations(gas)
    number = 5
    states = particle_hole_states(gas, number)
    assert states.shape == (number + 1, gas.N) and np.array_equal(states[0], gas.ground_state)
    found = [everything[tuple(K.tolist())] for K in states[1:]]  # each of them is one, ascending
    lowest = sorted({(x[0], x[3], x[1], x[2]) for x in everything.values()})  # by energy, then |k_p - k_h|
    assert [x[0] for x in found] == [x[0] for x in lowest[:number]]
    assert len(set(found)) == number and sorted(x[3] for x in found) == sorted(x[1] for x in lowest[:number])
    np.testing.assert_array_equal(particle_hole_states(gas, 2), states[:3])


def test_a_larger_table_has_the_same_states():
    """All that a table is asked for are the lowest of an infinite one."""
    larger = ElectronGas((5, 0), 2, 1.0, 0.0, 0.0, cutoff=20.0)
    with pytest.raises(ValueError, match="Expected number <= ") as refused:
        particle_hole_states(COLD, 100)
    most = int(str(refused.value).split("<= ")[1].split(",")[0])
    assert most > 5
    np.testing.assert_array_equal(particle_hole_states(COLD, most), particle_hole_states(larger, most))


def test_free_electrons_have_mass_one():
    states = particle_hole_states(WARM, 3)
    mass = mass_from_excitations(WARM, states, excitations_of(WARM, states, None, 64))
    assert mass.value == pytest.approx(1, abs=1e-8) and mass.error == 0


def test_plane_waves_have_the_slope_of_exchange():
    """The exact energies on the same line, within 5 sigma. One of them is that of two Hartree-Fock levels and
    -f_ph = v(k_p - k_h).
    """
    gas, states = COLD, particle_hole_states(COLD, 4)
    found = excitations_of(gas, states, coulomb, 4096)
    mass = mass_from_excitations(gas, states, found)
    exact = np.array([first_order(gas, K) for K in states])
    x = np.sum(np.asarray(gas.orbital_energies)[states], axis=1)
    root = 1 / np.array([e.error for e in found.excitation[1:]])
    slope = np.linalg.lstsq((root * (x[1:] - x[0]))[:, None], root * (exact[1:] - exact[0]))[0][0]
    assert abs(mass.value - 1 / slope) < 5 * mass.error < 0.025
    assert mass.value < 0.95  # exchange makes the electrons lighter

    (h,), (p,) = set(states[0]) - set(states[1]), set(states[1]) - set(states[0])
    k = np.asarray(gas.orbitals.wavevectors)

    def v(i, j):
        return 2 * np.pi / (gas.L**2 * np.linalg.norm(k[i] - k[j])) / gas.rs

    def level(m):
        return np.sum(k[m] ** 2) / (2 * gas.rs**2) - sum(v(m, i) for i in states[0] if i != m)

    assert exact[1] - exact[0] == pytest.approx(level(p) - level(h) + v(p, h), rel=1e-12)


def made_up(states, samples, seed, slope=0.8):
    """Differences with correlated noise of unequal size about a line through the origin."""
    bare = np.sum(np.asarray(COLD.orbital_energies)[states], axis=1)
    rng = np.random.default_rng(seed)
    common, own = rng.normal(size=samples), rng.normal(size=(len(states), samples))
    size = np.linspace(1, 3, len(states))[:, None]
    differences = slope * (bare - bare[0])[:, None] + size * (0.7 * common + own)
    differences[0] = 0.0
    return differences


def test_the_line_and_its_error_are_those_of_numpy():
    states = particle_hole_states(COLD, 5)
    y = made_up(states, 300, 0)
    mass = mass_from_excitations(COLD, states, of_samples(y))
    x = np.sum(np.asarray(COLD.orbital_energies)[states], axis=1)
    x, y = x[1:] - x[0], y[1:]
    covariance = np.cov(y) / 300
    root = 1 / np.sqrt(np.diag(covariance))
    slope = np.linalg.lstsq((root * x)[:, None], root * np.mean(y, axis=1))[0][0]
    c = root**2 * x / np.sum((root * x) ** 2)
    assert mass.value == pytest.approx(1 / slope, rel=1e-12) and mass.ess == 300
    assert mass.error == pytest.approx(np.sqrt(c @ covariance @ c) / slope**2, rel=1e-12)
    uncorrelated = np.sqrt(np.sum(c**2 * np.diag(covariance))) / slope**2
    assert mass.error > 1.2 * uncorrelated


def test_a_state_without_noise_has_not_all_the_weight():
    """Three electrons at this twist: 0 -> (-1, -1) turns the closed shells into themselves, in motion."""
    gas = ElectronGas((3, 0), 2, 1.0, 0.0, 0.25, cutoff=5.0)
    states = particle_hole_states(gas, 4)
    energies = np.array([first_order(gas, K) for K in states])
    x = np.sum(np.asarray(gas.orbital_energies)[states], axis=1)
    in_motion = np.isclose(energies - energies[0], x - x[0], rtol=1e-9)[1:]
    assert 0 < np.sum(in_motion) < 4

    noise = np.random.default_rng(0).normal(0, 0.1, (5, 1000)) * np.array([0, *~in_motion])[:, None]
    differences = (energies - energies[0])[:, None] + noise
    mass = mass_from_excitations(gas, states, of_samples(differences))
    variance = np.var(differences[1:], axis=1)
    root = np.maximum(variance, 0.1 * np.mean(variance)) ** -0.5
    x, y = (x - x[0])[1:], np.mean(differences[1:], axis=1)
    slope = np.linalg.lstsq((root * x)[:, None], root * y)[0][0]
    assert mass.value == pytest.approx(1 / slope, rel=1e-12) and mass.value < 1 - 1e-5 and mass.error > 0


def test_the_error_covers_the_mass_at_the_stated_rate():
    states, z = particle_hole_states(COLD, 5), []
    for seed in range(REPEATS):
        mass = mass_from_excitations(COLD, states, of_samples(made_up(states, 1000, seed)))
        z.append((mass.value - 1 / 0.8) / mass.error)
    assert_covered({"m*/m": z})


def test_expected_got():
    def refuses(match, *args, function=particle_hole_states):
        with pytest.raises(ValueError, match=match):
            function(*args)

    refuses("Expected number to be a whole number >= 1; got 0", COLD, 0)
    refuses("Expected number to be a whole number >= 1; got 2.0", COLD, 2.0)
    refuses(
        "Expected closed shells, the nearest of 1 or 5 electrons of a spin; got 3 up",
        ElectronGas((3, 0), 2, 1.0, 0.5, 0.0),
        2,
    )
    refuses(
        "the nearest of 5 or 9 electrons of a spin; got 6 down", ElectronGas((9, 6), 2, 1.0, 0.0, 0.0, 5.0), 2
    )
    refuses("the nearest of 4 electrons of a spin; got 2 up", ElectronGas((2, 0), 2, 1.0, 0.5, 0.5), 2)
    refuses("Expected plane waves of a cell; got ", HarmonicTrap((1, 0)), 1)
    refuses("Expected a table with orbitals above", ElectronGas((5, 0), 2, 1.0, 0.0, 0.0), 1)
    refuses("for which a table of 9 orbitals holds them all; got 3", ElectronGas((5, 0), 2, 1, 0, 0, 2), 3)

    states, mass = particle_hole_states(COLD, 2), mass_from_excitations
    refuses(r"Expected states of shape \(4, N\)", COLD, states, of_samples(np.zeros((4, 9))), function=mass)
    same = np.tile(states[0], (3, 1))
    refuses("got 3 of one", COLD, same, of_samples(np.zeros((3, 9))), function=mass)
