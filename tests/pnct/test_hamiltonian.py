"""The local energy: published values, the ideal gas, units, and finite differences of Psi itself."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference_network import load
from small_flow import random_positions, small_flow

from pnct.hamiltonian import hamiltonian
from pnct.kinetic import local_kinetic
from pnct.states.slater import as_states
from pnct.systems.electron_gas import ElectronGas
from pnct.systems.ewald import ewald


class Law(NamedTuple):
    """What the Hamiltonian reads off the law of R."""

    states: Any
    K: Any
    flow: Any


@jax.jit
def local_energy(hamiltonian, law, R):
    return hamiltonian.local_energy(law, R)


@jax.jit
def local_energy_and_log_psi(hamiltonian, law, R):
    return hamiltonian.local_energy(law, R), local_kinetic(law.states, law.K, law.flow, R)


@pytest.mark.parametrize("rs", [1.0, 10.0])
def test_trained_networks(trained_networks, rs):
    """N = 29. The published energies are in Ry/rs^2 = Ha/(2 rs^2), and their Madelung constant is good to
    1e-11.
    """
    net = load(trained_networks, rs)
    golden = np.load(trained_networks / f"golden_n29_rs{rs}.npz")
    H = hamiltonian(ElectronGas((29, 0), 2, rs, 0.15, 0.25))
    for K, R, V, log_p in zip(
        *(golden[x] for x in ("state_idx", "x", "V_ewald_total", "lnp_K")), strict=True
    ):
        np.testing.assert_allclose(H.potential(R) * 2 * rs**2, V, rtol=1e-10)
        np.testing.assert_allclose(net.occupation.log_prob(K), log_p, rtol=1e-11)

    for b in (0, 3):
        law = Law(as_states(net.orbitals), golden["state_idx"][b], net.flow)
        energy, psi = local_energy_and_log_psi(H, law, golden["x"][b])
        log_psi = psi.log_psi + math.lgamma(30) / 2  # theirs is without 1/sqrt(N!)
        np.testing.assert_allclose(log_psi.real, golden["lnpsi"][b].real, rtol=1e-11)
        np.testing.assert_allclose(np.exp(1j * (log_psi - golden["lnpsi"][b]).imag), 1, rtol=1e-11)
        np.testing.assert_allclose(psi.log_det_jacobian / 2, golden["half_logdetJ"][b], rtol=1e-11)
        np.testing.assert_allclose(psi.gradient, golden["grad_lnpsi"][b], rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(psi.laplacian, golden["lap_lnpsi"][b], rtol=1e-11)
        np.testing.assert_allclose(energy.kinetic * 2 * rs**2, golden["kinetic"][b], rtol=1e-11)
        np.testing.assert_allclose(energy.total * 2 * rs**2, golden["eloc"][b], rtol=1e-9)


def test_eigenstates_have_no_variance():
    """The ideal gas with the identity flow: every configuration has the energy of the occupied orbitals."""
    gas = ElectronGas((2, 3), 2, 3.0, 0.5, 0.25, cutoff=5.0)
    K = np.array([1, 4, 0, 2, 5])
    H = hamiltonian(gas, interaction=None)
    for seed in range(3):
        found = local_energy(
            H,
            Law(as_states(gas.orbitals), K, small_flow(gas.space, size=0.0)),
            random_positions(gas.space, seed),
        )
        assert np.isclose(found.total, np.sum(np.asarray(gas.orbital_energies)[K]), rtol=1e-9)
        assert found.potential == 0


def test_is_the_hamiltonian_applied_to_psi():
    """(H Psi)/Psi by finite differences of Psi, with H written out in hartree."""
    gas = ElectronGas((2, 1), 3, 2.5, 0.5, (0.1, 0.2, 0.3), cutoff=3.0)
    K, R, flow, h = np.array([0, 3, 1]), random_positions(gas.space), small_flow(gas.space), 2e-3

    def psi(R):
        J = jax.jacfwd(flow)(R).reshape(R.size, R.size)
        return jnp.exp(as_states(gas.orbitals).log_amplitude(K, flow(R))) * jnp.sqrt(jnp.linalg.det(J))

    steps = h * np.eye(R.size).reshape(-1, *R.shape)
    batch = np.concatenate([R[None] + c * steps for c in (-2, -1, 0, 1, 2)])
    values = np.asarray(jax.jit(jax.vmap(psi))(batch)).reshape(5, -1)
    laplacian = np.sum(np.array([-1, 16, -30, 16, -1]) @ values) / (12 * h**2)

    found = local_energy(hamiltonian(gas), Law(as_states(gas.orbitals), K, flow), R)
    assert np.isclose(found.kinetic, -laplacian / (2 * gas.rs**2) / psi(R), rtol=1e-6)
    assert np.isclose(found.potential, ewald(gas.space)(R) / gas.rs, rtol=1e-12)
    assert found.total == found.kinetic + found.potential


def test_scaling_with_density():
    """At fixed R in units of r_s a_0 the kinetic energy scales as 1/r_s^2 and the potential as 1/r_s."""
    R = random_positions(ElectronGas((3, 0), 2, cutoff=2.0).space)

    @jax.jit
    def energy(gas):
        law = Law(as_states(gas.orbitals), gas.ground_state, small_flow(gas.space))
        return hamiltonian(gas).local_energy(law, R)

    near, far = (energy(ElectronGas((3, 0), 2, rs, 0.2, 0.25, cutoff=2.0)) for rs in (1.0, 4.0))
    np.testing.assert_allclose(16 * far.kinetic, near.kinetic, rtol=1e-12)
    np.testing.assert_allclose(4 * far.potential, near.potential, rtol=1e-12)


def test_temperature_is_in_hartree():
    gas = ElectronGas((7, 0), 3, 4.0, 0.25)
    assert hamiltonian(gas).temperature == gas.theta * gas.E_F


def test_float32():
    gas = ElectronGas((2, 1), 3, 2.5, 0.5, (0.1, 0.2, 0.3), cutoff=3.0)
    R, law = (
        random_positions(gas.space),
        Law(as_states(gas.orbitals), gas.ground_state, small_flow(gas.space)),
    )
    exact, single = (local_energy(hamiltonian(gas), law, r) for r in (R, R.astype(np.float32)))
    assert {x.dtype.name for x in jax.tree.leaves(single)} == {"complex64", "float32"}
    np.testing.assert_allclose(single.total, exact.total, rtol=1e-3)
