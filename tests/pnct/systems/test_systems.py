"""The laws of systems: sizes, ground state, shells, reduced energies, the ideal gas within its limits, and
that determinants are eigenstates without interaction. A new system is one line of SYSTEMS.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_flow import random_positions

from pnct import ElectronGas, Gaussian, HarmonicTrap, Hydrogen, PoschlTeller, coulomb, hamiltonian, ideal_gas
from pnct.states import as_states
from pnct.systems import System, SystemPotential
from pnct.systems.electrons import LARGEST_REDUCED_ENERGY

SYSTEMS = {
    "polarised gas": ElectronGas((7, 0), 3, rs=4.0, theta=0.25),
    "gas": ElectronGas((3, 2), 3, rs=2.0, theta=0.5, twist=(0.1, 0.2, 0.3)),
    "polarised gas in 2D": ElectronGas((5, 0), 2, rs=10.0, theta=0.15, twist=0.25),
    "gas in 2D": ElectronGas((2, 4), 2, rs=1.0, theta=0.3),
    "gas of down electrons": ElectronGas((0, 3), 2, theta=0.2),
    "cold gas": ElectronGas((4, 2), 3, theta=0.0),
    "polarised dot": HarmonicTrap((3, 0), 1.0, 5.0),
    "dot": HarmonicTrap((2, 1), 3.0, 1.0),
    "trap": HarmonicTrap((2, 3), 2.0, 2.0, dim=3),
    "electrons among protons": Hydrogen((2, 1), 2, rs=3.0, temperature=0.3, cutoff=3.0).given(
        np.array([[0.1, 0.4, 0.2], [0.9, 0.5, 1.3]])
    ),
}
BANDS = {"electrons among protons"}  # eigenstates within their table alone
INTERACTIONS = coulomb, None, PoschlTeller(0.7, 3.0), Gaussian(-1.3, 0.4)
systems = pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS.keys())


@systems
def test_sizes(system):
    M, N = len(system.orbitals), sum(system.num_electrons)
    assert isinstance(system, System)
    assert system.N == N == system.space.N and system.dim == system.space.dim
    assert system.space == system.orbitals.space and system.space.num_electrons == system.num_electrons
    assert np.shape(system.orbital_energies) == np.shape(system.shell_index) == (M,)
    assert all(np.shape(b) == (M,) for b in system.reduced_energies) and len(system.reduced_energies) == 2
    assert system.temperature >= 0 and system.energy_scale > 0 and system.kinetic_prefactor > 0
    assert system.unit in ("hartree", "hbar omega")


@systems
def test_ground_state_fills_the_lowest_orbitals(system):
    K, up = system.ground_state, system.num_electrons[0]
    assert K.tolist() == [*range(up), *range(system.num_electrons[1])]
    assert [(s.start, s.stop) for s in system.space.species] == [
        (a, b) for a, b in ((0, up), (up, system.N)) if b > a
    ]
    assert np.all(np.diff(system.orbital_energies) >= -1e-9)


@systems
def test_degenerate_orbitals_share_a_shell(system):
    """Shells are numbered by their energies, and the table holds whole ones."""
    e, shells = np.asarray(system.orbital_energies), np.asarray(system.shell_index)
    assert shells[0] == 0 and set(np.diff(shells)) <= {0, 1}
    np.testing.assert_array_equal(np.diff(shells) > 0, np.diff(e) > 1e-8 * e[-1])


@systems
def test_reduced_energies_are_measured_from_the_highest_filled_level(system):
    e, T = np.asarray(system.orbital_energies), max(float(system.temperature), 1e-12)
    for b, n in zip(system.reduced_energies, system.num_electrons, strict=True):
        exact = (e - e[max(n, 1) - 1]) / T
        exact = np.where(np.abs(exact) < 1e-3, 0, exact)  # rounding of degenerate levels at T = 0
        np.testing.assert_allclose(
            b, np.clip(exact, -LARGEST_REDUCED_ENERGY, LARGEST_REDUCED_ENERGY), atol=1e-12
        )


@systems
def test_ideal_gas_is_within_its_limits(system):
    """0 <= S <= ln(number of states), F = E - T S <= E_0 <= E, E_0 of the ground state."""
    ideal, M = ideal_gas(system), len(system.orbitals)
    np.testing.assert_allclose(ideal.occupations.sum(axis=1), system.num_electrons, atol=1e-10)
    assert np.all((ideal.occupations >= 0) & (ideal.occupations <= 1 + 1e-12))
    assert 0 <= ideal.entropy <= sum(math.log(math.comb(M, n)) for n in system.num_electrons) + 1e-12
    assert ideal.free_energy == pytest.approx(ideal.energy - system.temperature * ideal.entropy, rel=1e-13)
    ground = np.sum(np.asarray(system.orbital_energies)[system.ground_state])
    assert ideal.free_energy <= ground * (1 + 1e-12) and ground <= ideal.energy * (1 + 1e-12)
    for shell in np.unique(system.shell_index):
        assert np.ptp(ideal.occupations[:, system.shell_index == shell], axis=1).max() < 1e-12


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name not in BANDS])
def test_determinants_are_eigenstates_without_interaction(name):
    """-c Lap Phi/Phi + V = sum of the orbital energies, at any positions."""
    system = SYSTEMS[name]
    R, K = jnp.asarray(random_positions(system.space)), np.asarray(system.ground_state)
    K[-1] += 1
    states = as_states(system.orbitals)
    phi = jax.jit(lambda K, R: states.derivatives(K, R))(K, R)
    laplacian = jnp.einsum("iaia->", phi.hessian) + jnp.sum(phi.gradient**2)
    found = -system.kinetic_prefactor * laplacian + system.potential(interaction=None)(R)
    np.testing.assert_allclose(found, np.sum(np.asarray(system.orbital_energies)[K]), rtol=1e-9)


@systems
def test_potential_belongs_to_the_system_and_to_all_electrons_alike(system):
    R = random_positions(system.space)
    for interaction in INTERACTIONS if min(system.num_electrons) else INTERACTIONS[:2]:
        V = system.potential(interaction)
        assert isinstance(V, SystemPotential) and V.interaction is interaction
        assert type(system.potential(V.interaction)) is type(V)
        H = hamiltonian(system, interaction)
        value = jax.jit(lambda R: (V(R), H.potential(R)))  # noqa: B023
        again = np.concatenate([R[s][::-1] for s in system.space.species])
        (found, same), exchanged = value(R), value(again)[0]
        np.testing.assert_allclose(exchanged, found, rtol=1e-12)
        np.testing.assert_allclose(same, found, rtol=1e-14)
        assert value(R.astype(np.float32))[0].dtype == jnp.float32
        assert (H.temperature, H.unit) == (system.temperature, system.unit)


@systems
def test_numbers_of_a_system_are_traced_and_its_sizes_are_not(system):
    """A jitted function of a system compiles once for all its densities and temperatures."""
    traces = []

    @jax.jit
    def reduced(system):
        traces.append(system.num_electrons)
        return system.reduced_energies, system.orbital_energies, system.temperature

    warmer = jax.tree.map(lambda x: 1.25 * x + 0.01 if isinstance(x, float) else x, system)
    for one in (system, warmer):
        for found, expected in zip(
            jax.tree.leaves(reduced(one)),
            jax.tree.leaves((one.reduced_energies, one.orbital_energies, one.temperature)),
            strict=True,
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
    assert traces == [system.num_electrons]
