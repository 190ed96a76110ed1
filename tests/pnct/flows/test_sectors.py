"""A flow for every symmetry sector: one flow at first, flows with the symmetry, orthonormal states with its
quantum numbers.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from pnct.distributions import Born
from pnct.flows import by_sector, continuous, ferminet, separated_centre_of_mass
from pnct.flows.irreducible_wedge import Conjugated
from pnct.states.spin_adapted import spin_adapted
from pnct.systems.electron_gas import ElectronGas
from pnct.systems.harmonic_trap import HarmonicTrap

GAS = ElectronGas((2, 1), 2, twist=0.25, cutoff=4.0)
TRAP = HarmonicTrap((2, 1), cutoff=4)
OF_TRAP = [[0, 1, 0], [0, 1, 2], [1, 3, 2], [2, 4, 1], [3, 6, 5]]  # M = 1, 0, 2, -2, 5


def flow_of(system):
    if isinstance(system, ElectronGas):
        return ferminet(system.space, depth=2, width=5)
    return separated_centre_of_mass(system.space, continuous(system.space, depth=1, width=4, steps=8))


def random_flows(system, spread=0.2, orbitals=None):
    """Flows with random parameters and random slopes."""
    rng, make = np.random.default_rng(7), by_sector(orbitals or system.orbitals, flow_of(system))
    return jax.tree.map(
        lambda x: jnp.asarray(spread * rng.normal(size=x.shape)), jax.eval_shape(make, random.key(0))
    )


def images(system, flows, states, R):
    """T(R) of each state."""
    zeta = jax.jit(lambda K: jax.lax.map(lambda K: flows(system.orbitals.quantum_numbers(K))(R), K))
    return np.asarray(zeta(jnp.array(states)))


def positions(system):
    return random.normal(random.key(1), (3, 2)) * system.space.L / 3


@pytest.mark.parametrize("system", [GAS, TRAP])
def test_one_flow_at_first(system):
    make = flow_of(system)
    flows, flow = by_sector(system.orbitals, make)(random.key(3)), make(random.key(3))
    for K in OF_TRAP:
        ours = flows(system.orbitals.quantum_numbers(jnp.array(K)))
        ours = ours.flow if isinstance(ours, Conjugated) else ours
        assert all(jax.tree.leaves(jax.tree.map(jnp.array_equal, ours, flow)))


@pytest.mark.parametrize("num_electrons", [(2, 0), (1, 1)])
def test_orthonormal_in_a_cell(num_electrons):
    """<Psi_K|Psi_K'> = delta by quadrature over both electrons of a 2D cell, for states of equal and other
    momenta and parities.

    The cusp at r = 0 leaves an error of third order in the spacing of r; that of the centre of mass is exact.
    """
    gas = ElectronGas(num_electrons, 2, twist=0.25, cutoff=2.0)
    orbitals = spin_adapted(gas.orbitals)
    flows = random_flows(gas, 0.1, orbitals)
    Ks = (
        [(0, 1), (0, 2), (1, 2), (0, 3), (1, 4)]
        if num_electrons == (2, 0)
        else [(0, 0), (0, 1), (1, 0), (1, 2), (0, 3)]
    )
    points, centres = 40, 5

    def grid(n):
        return np.stack(np.meshgrid(*[(np.arange(n) + 0.5) / n] * 2, indexing="ij"), axis=-1).reshape(-1, 2)

    r, centre = gas.L * grid(points), gas.L * grid(centres)
    R = jnp.asarray(np.stack([centre[:, None] + r, centre[:, None] + 0 * r], axis=2))

    def wave_function(K):
        born = Born(orbitals, K, flows(orbitals.quantum_numbers(K)))
        return jnp.exp(jax.lax.map(jax.vmap(born.log_psi), R)).ravel()

    psi = np.asarray(jax.jit(lambda K: jax.lax.map(wave_function, K))(jnp.array(Ks)))
    overlap = psi.conj() @ psi.T * gas.L**4 / (points * centres) ** 2
    np.testing.assert_allclose(overlap, np.eye(len(Ks)), rtol=0, atol=2e-3)
    momenta = np.round([gas.orbitals.quantum_numbers(np.array(K)) for K in Ks], 9)
    assert 1 < len(np.unique(momenta, axis=0)) < len(Ks)


def test_a_flow_for_each_parity():
    """The singlet and the triplet of equal momentum have flows of their own, which do not change under a flip
    of all spins.
    """
    gas = ElectronGas((2, 2), 2, twist=0.25, cutoff=4.0)
    orbitals = spin_adapted(gas.orbitals)
    flows, R = random_flows(gas, orbitals=orbitals), random.normal(random.key(1), (4, 2))
    even, odd = (flows(orbitals.quantum_numbers(jnp.array(K))) for K in ([0, 1, 0, 2], [0, 2, 0, 1]))
    assert np.max(np.abs(even(R) - odd(R))) > 1e-3
    for flow in (even, odd):
        np.testing.assert_allclose(flow(orbitals.flip(R)), orbitals.flip(flow(R)), rtol=0, atol=1e-13)


def test_only_the_momentum_of_relative_motion_counts():
    """Equal flows for equal P, and where all electrons gain one reciprocal-lattice vector; others
    for others.
    """
    gas = ElectronGas((3, 0), 2, twist=0.25, cutoff=9.0)
    n = np.round(gas.orbitals.indices - 0.25).astype(int).tolist()

    def state(*vectors):
        return [n.index(list(v)) for v in vectors]

    ground, others = state((0, 0), (-1, 0), (0, -1)), state((0, 0), (-1, 0), (-1, -1))
    same_P, boosted = state((0, 0), (-1, 1), (0, -2)), state((1, 0), (0, 0), (1, -1))
    zeta = images(gas, random_flows(gas), [ground, same_P, boosted, others], positions(gas))
    np.testing.assert_allclose(zeta[1:3], zeta[:1].repeat(2, axis=0), rtol=0, atol=1e-12)
    assert np.max(np.abs(zeta[3] - zeta[0])) > 1e-3


def test_a_flow_for_each_size_of_the_angular_momentum():
    zeta = images(TRAP, random_flows(TRAP), OF_TRAP, positions(TRAP))
    np.testing.assert_array_equal(zeta[2], zeta[3])
    apart = [np.max(np.abs(zeta[i] - zeta[j])) for i, j in ((0, 1), (0, 2), (1, 2), (2, 4))]
    assert min(apart) > 1e-3


@pytest.mark.parametrize("K", OF_TRAP[:3])
def test_turns_with_the_plane(K):
    """T(R g) = T(R) g for rotations and reflections g, and Psi_K(R turned by a) = exp(i M a) Psi_K(R)."""
    K, R, angle = jnp.array(K), positions(TRAP), 0.7
    M = TRAP.orbitals.quantum_numbers(K)
    flow = random_flows(TRAP)(M)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])

    def psi(R):
        return (flow(R), Born(TRAP.orbitals, K, flow).log_psi(R))

    zeta, log = jax.jit(lambda R: jax.lax.map(psi, R))(jnp.stack([R, R @ turn, R * jnp.array([1, -1])]))
    np.testing.assert_allclose(zeta[1:], [zeta[0] @ turn, zeta[0] * jnp.array([1, -1])], rtol=0, atol=1e-13)
    np.testing.assert_allclose(np.exp(log[1] - log[0]), np.exp(1j * M[0] * angle), rtol=1e-12)


def test_by_the_angular_momentum_along_z_in_space():
    """M = 1, -1 and 0 of two electrons; each flow turns with the electrons, about any axis."""
    trap = HarmonicTrap((2, 0), cutoff=2, dim=3)
    R = random.normal(random.key(1), (2, 3))
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    Ks = [[0, 1], [0, 2], [0, 3]]
    zeta, turned = (images(trap, random_flows(trap), Ks, x) for x in (R, R @ turn))
    np.testing.assert_array_equal(zeta[0], zeta[1])
    assert np.max(np.abs(zeta[2] - zeta[0])) > 1e-3 and np.max(np.abs(zeta[0] - R)) > 1e-2
    np.testing.assert_allclose(turned, zeta @ turn, rtol=0, atol=1e-12)
