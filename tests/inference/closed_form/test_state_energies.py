"""Energies of many states from the same samples: circuits against enumeration, electrons against what is
known of each state by itself.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from identity_flow import Identity

import pnct
import pnct.distributions as dist
from pnct import ElectronGas, hamiltonian, spin_hamiltonian
from pnct.circuits import brickwork
from pnct.distributions import bit_transformer, transformer
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.inference.closed_form.state_energies import state_energies
from pnct.inference.observables.excitations import excitation_energies
from pnct.systems import chain, transverse_field_ising
from pnct.systems.first_order import first_order_energies

KEY = jax.random.key
SPINS = transverse_field_ising(chain(3), Gamma=1.1, beta=1.25, J=0.6, longitudinal=0.4)
ALL = np.array(list(itertools.product((0, 1), repeat=3)))
SHARES = np.linspace(0.0, 1.4, len(ALL))  # ln c + constant, of no meaning
GAS = ElectronGas((3, 0), dim=2, rs=2.0, theta=0.5, twist=0.1, cutoff=2.0)
LOW = np.array([[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 4]])


def spins(system):
    network = pnct.module("network", bit_transformer(system, layers=1, width=4, heads=2))
    circuit = pnct.module("circuit", brickwork(system.lattice, depth=1))
    K = pnct.sample("K", dist.SpinStates(system, network))
    return pnct.sample("x", dist.CircuitBorn(system, K, circuit))


def free(gas):
    network = pnct.module("network", transformer(gas, layers=1, width=4, heads=2))
    K = pnct.sample("states", dist.Occupation(gas, network))
    return pnct.sample("R", dist.Born(gas.orbitals, K, Identity()))


def moved(params, by):
    random = np.random.default_rng(0)
    return jax.tree.map(lambda x: x + by * random.normal(size=x.shape), params)


@pytest.fixture(scope="module")
def circuit():
    vfe = VariationalFreeEnergy(spins, spin_hamiltonian, natural_gradient(), num_walkers=512)
    params = moved(vfe.init(KEY(0), SPINS).params, 0.2)
    psi = np.asarray(jax.vmap(lambda K: dist.CircuitBorn(SPINS, K, params["circuit"]).state_vector())(ALL))
    exact = np.einsum("kx,xy,ky->k", psi.conj(), SPINS.measured_terms.matrix(), psi).real
    return vfe, params, exact


def test_all_energies_are_those_of_enumeration(circuit):
    """8 states, within 4 standard errors, one of which is small."""
    vfe, params, exact = circuit
    found = state_energies(vfe, KEY(1), params, ALL, SHARES, 4096, SPINS)
    error = found.error_of(np.asarray)
    assert np.all(np.abs(found.energy - exact) < 4 * error) and np.max(error) < 0.1


def test_the_errors_are_those_of_repeated_runs(circuit):
    """16 runs of 8 states and of one difference: bounds at 4 sigma for a standard deviation known to 18 %."""
    vfe, params, _ = circuit
    runs = [state_energies(vfe, KEY(i), params, ALL, SHARES, 640, SPINS) for i in range(16)]

    def numbers(energy):
        return np.append(energy, energy[7] - energy[0])

    spread = np.std([numbers(run.energy) for run in runs], axis=0)
    told = np.median([run.error_of(numbers) for run in runs], axis=0)
    assert np.all((told / spread > 0.55) & (told / spread < 1.9))


def test_free_electrons_have_no_noise():
    vfe = VariationalFreeEnergy(free, hamiltonian(GAS, interaction=None), natural_gradient(), num_walkers=32)
    params = vfe.init(KEY(0), GAS).params
    found = state_energies(vfe, KEY(1), params, LOW, np.zeros(4), 40, GAS)
    exact = np.asarray(GAS.orbital_energies)[LOW].sum(axis=1)
    np.testing.assert_allclose(found.energy, exact, rtol=1e-9)
    assert np.all(found.error_of(np.asarray) < 1e-9)


def half_a_cell(R):
    """No energy, and no number where the first electron is in the left half."""
    return jnp.where(R[0, 0] < GAS.space.L / 2, jnp.nan, 0.0)


def test_samples_that_are_not_finite_are_left_out():
    """Those that are left have no noise; with none at all it says so."""
    params = VariationalFreeEnergy(free, hamiltonian(GAS), natural_gradient()).init(KEY(0), GAS).params
    vfe = VariationalFreeEnergy(free, hamiltonian(GAS, potential=half_a_cell), natural_gradient())
    found = state_energies(vfe, KEY(1), params, LOW, np.zeros(4), 80, GAS)
    np.testing.assert_allclose(found.energy, np.asarray(GAS.orbital_energies)[LOW].sum(axis=1), rtol=1e-9)
    nowhere = VariationalFreeEnergy(free, hamiltonian(GAS, potential=nothing), natural_gradient())
    with pytest.raises(ValueError, match="Expected finite samples of 4 states; got none"):
        state_energies(nowhere, KEY(1), params, LOW, np.zeros(4), 80, GAS)


def nothing(R):
    return jnp.nan * jnp.sum(R)


def test_interacting_electrons_have_the_energies_of_first_order():
    """Without a flow, within 4 standard errors; some of the samples are of other states than the one that is
    asked for, and all count: E_t - E_0 is known better than from as many samples of each.
    """
    vfe = VariationalFreeEnergy(free, hamiltonian, natural_gradient(), num_walkers=256)
    params = vfe.init(KEY(0), GAS).params
    found = state_energies(vfe, KEY(2), params, LOW, np.zeros(4), 4096, GAS)
    exact = first_order_energies(GAS, LOW)
    assert np.all(np.abs(found.energy - exact) < 4 * found.error_of(np.asarray))
    error = found.error_of(difference)
    assert np.all(np.abs(difference(found.energy) - difference(exact)) < 4 * error)
    single = excitation_energies(KEY(1), vfe, params, LOW, 1024, GAS)
    assert np.all(error < [one.error for one in single.excitation[1:]])


def difference(energy):
    return energy[1:] - energy[0]


def test_it_says_what_it_needs():
    vfe = VariationalFreeEnergy(
        lambda gas: pnct.sample("R", dist.Born(gas.orbitals, gas.ground_state, Identity())),
        hamiltonian(GAS),
        natural_gradient(),
        num_walkers=32,
    )
    with pytest.raises(ValueError, match="Expected one unobserved site, which names the states; got"):
        state_energies(vfe, KEY(1), {}, LOW, np.zeros(4), 40, GAS)
