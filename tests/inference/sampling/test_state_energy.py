"""The energy of one state by the sum over all x: where some have Psi(x) = 0, and in how much memory."""

import jax
import jax.numpy as jnp
import numpy as np

import pnct.distributions as dist
from pnct import spin_hamiltonian
from pnct.circuits import brickwork
from pnct.circuits.base import memory
from pnct.hamiltonian import Values
from pnct.inference.sampling.state_energy import state_energy
from pnct.systems import SpinLattice, chain, heisenberg, pauli_sum


def test_bit_strings_that_are_never_measured_leave_the_energy_and_its_slope_finite():
    """Half of them, as U = 1 and the first spin is along the axis that is measured. To 1e-12 E_K, and the
    slope by gates on the other sites, which leave these x impossible.
    """
    fields = {"X0": -1.0, "Z1": -0.7, "Y2": -0.4}  # no axis is across all of them
    spins = SpinLattice(chain(3), pauli_sum(3, {"Z0 Z1": -0.6, "Z1 X2": 0.8, **fields}))
    circuit = brickwork(spins.lattice, 1)(jax.random.key(0))
    terms = spin_hamiltonian(spins)
    H = spins.measured_terms.matrix()

    def law(circuit):
        return dist.CircuitBorn(spins, jnp.array([1, 0, 1]), circuit)

    def by_matrix(circuit):
        psi = law(circuit).state_vector()
        return jnp.vdot(psi, H @ psi).real

    @jax.jit
    def both(circuit):
        found = state_energy(law, circuit, lambda x: terms(law(circuit), Values({"x": x}, "x")).total)
        return law(circuit).state_vector(), found, *jax.value_and_grad(by_matrix)(circuit)

    psi, found, energy, slope = both(circuit)
    assert np.sum(np.abs(psi) ** 2 == 0) == 4
    np.testing.assert_allclose(found.energy, energy, rtol=1e-12)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found.slope))
    np.testing.assert_allclose(found.slope.of_sites[1:], slope.of_sites[1:], atol=1e-12)
    assert np.abs(slope.of_sites[1:]).max() > 0.1


def test_it_has_room_in_the_memory_that_is_said():
    """Eight walkers of ten sites, of a Hamiltonian that flips the bits of every bond."""
    spins = heisenberg(chain(10))
    terms = spin_hamiltonian(spins)
    circuit = brickwork(spins.lattice, 2)(jax.random.key(0))

    def one(circuit, K):
        def law(circuit):
            return dist.CircuitBorn(spins, K, circuit)

        return state_energy(law, circuit, lambda x: terms(law(circuit), Values({"x": x}, "x")).total)

    compiled = jax.jit(jax.vmap(one, (None, 0))).lower(circuit, jnp.zeros((8, 10), int)).compile()
    taken = compiled.memory_analysis().temp_size_in_bytes
    assert memory(spins.lattice, 8) / 4 < taken < memory(spins.lattice, 8)
