"""Circuits on state vectors: against products of full matrices, and the measurement of what they make."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pnct.distributions as dist
from pnct import spin_hamiltonian
from pnct.circuits import brickwork
from pnct.circuits.base import index_of, memory
from pnct.circuits.brickwork import gates, in_groups
from pnct.hamiltonian import Values
from pnct.inference.sampling.scores import complex_score
from pnct.inference.sampling.state_energy import state_energy
from pnct.systems import Lattice, chain, heisenberg, square, transverse_field_ising

TRIANGLE = Lattice(3, [(0, 1), (0, 2), (1, 2)])
SPINS = transverse_field_ising(TRIANGLE, 0.8, 1.0, longitudinal=0.3)
ALL = jnp.asarray(list(itertools.product((0, 1), repeat=3)))


def random_circuit(lattice, depth, size=0.5):
    """A circuit whose parameters are normal numbers."""
    random = np.random.default_rng(depth)
    circuit = brickwork(lattice, depth)(jax.random.key(0))
    return jax.tree.map(lambda x: jnp.asarray(size * random.normal(size=x.shape)), circuit)


def embedded(gate, sites, n):
    """A gate on some sites as a matrix on all n."""
    x = np.array(list(itertools.product((0, 1), repeat=n)))
    others = [i for i in range(n) if i not in sites]
    same = np.all(x[:, None, others] == x[None, :, others], axis=-1)
    number = x[:, sites] @ (1 << np.arange(len(sites))[::-1])
    return jnp.where(same, gate[number[:, None], number[None, :]], 0)


def full_matrix(circuit):
    n = circuit.num_sites
    U = jnp.eye(2**n) + 0j
    for i in range(n):
        U = embedded(gates(circuit.of_sites)[i], (i,), n) @ U
    for layer in gates(circuit.of_bonds):
        for bond, gate in zip(circuit.bonds, layer, strict=True):
            U = embedded(gate, bond, n) @ U
    return U


def basis(K):
    """The states of the sites of |K>."""
    return jnp.eye(2)[K] + 0j


@pytest.mark.parametrize("depth", [0, 2])
def test_circuits_and_their_derivatives_are_those_of_full_matrices(depth):
    """To 1e-12: <x|U|K> for all x and K, and its gradient, which undoes the gates one after the other."""
    circuit = random_circuit(TRIANGLE, depth)

    @jax.jit
    def both(circuit):
        U = full_matrix(circuit)
        return U, jax.vmap(lambda K: circuit(basis(K)))(ALL).T

    U, psi = both(circuit)
    np.testing.assert_allclose(psi, U, atol=1e-12)
    np.testing.assert_allclose(U.conj().T @ U, np.eye(8), atol=1e-12)

    def log_psi(circuit):
        return jnp.log(circuit(basis(ALL[3]))[5])

    def by_matrix(circuit):
        return jnp.log(full_matrix(circuit)[5, 3])

    def slopes(f):
        def parts(circuit):
            return jnp.stack([f(circuit).real, f(circuit).imag])

        return jax.jit(jax.jacrev(parts))(circuit)

    for found, expected in zip(
        jax.tree.leaves(slopes(log_psi)), jax.tree.leaves(slopes(by_matrix)), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-12)
        assert expected.size == 0 or np.abs(expected).max() > 0.1


def test_gates_are_unitary_the_identity_at_first_and_reach_the_swap():
    """The swap has an eigenvalue -1; up to a phase it is a gate of finite parameters."""
    np.testing.assert_allclose(gates(jnp.zeros((2, 15))), np.broadcast_to(np.eye(4), (2, 4, 4)), atol=1e-15)
    theta = jnp.asarray(np.random.default_rng(0).normal(size=(3, 15)) * 5)
    G = gates(theta)
    np.testing.assert_allclose(
        jnp.swapaxes(G, 1, 2).conj() @ G, np.broadcast_to(np.eye(4), (3, 4, 4)), atol=1e-12
    )
    swap = np.eye(4)[[0, 2, 1, 3]]
    # A = t (XX + YY + ZZ) is t on the triplet and -3 t on the singlet; -1 apart where 3 t^2 = 1
    theta = np.zeros(15)
    theta[[4, 9, 14]] = 2 / np.sqrt(3)
    G = np.asarray(gates(jnp.asarray(theta)))
    np.testing.assert_allclose(G / G[0, 0], swap, atol=1e-12)


def test_bonds_of_a_round_come_in_groups_without_a_common_site():
    assert in_groups(chain(5).bonds) == ((0, 1), (2, 3), (1, 2), (3, 4))
    assert sorted(in_groups(square(3, 3).bonds)) == sorted(square(3, 3).bonds)


def test_what_is_measured_is_normalised_and_drawn_from_its_density():
    """Sum of |Psi|^2 to 1e-12; 20 000 bit strings to 5 sigma. Untrained, every bit string is as likely."""
    circuit = random_circuit(TRIANGLE, 1)
    born = dist.CircuitBorn(SPINS, jnp.asarray([1, 0, 1]), circuit)
    p = np.exp(np.asarray(born.log_prob(ALL)))
    assert p.sum() == pytest.approx(1, abs=1e-12) and p.max() > 1.5 * p.min()
    np.testing.assert_array_equal(born.all_values(), ALL)
    np.testing.assert_allclose(p, np.abs(born.state_vector()) ** 2, rtol=1e-12)
    x = np.asarray(born.sample(seed=jax.random.key(0), sample_shape=(20_000,)))
    assert x.dtype == np.int32
    share = np.bincount(np.asarray(index_of(x)), minlength=8) / len(x)
    assert np.all(np.abs(share - p) < 5 * np.sqrt(p * (1 - p) / len(x)))

    in_x = transverse_field_ising(TRIANGLE, 0.8)
    untrained = dist.CircuitBorn(in_x, jnp.asarray([1, 0, 1]), brickwork(TRIANGLE, 1)(jax.random.key(0)))
    np.testing.assert_allclose(untrained.log_prob(ALL), -3 * np.log(2), rtol=1e-13)


@pytest.mark.parametrize(
    "spins",
    [heisenberg(chain(10)), transverse_field_ising(Lattice(10, ((0, 1),)), 1.0)],
    ids=["a chain", "hardly any bonds"],
)
def test_memory_is_said_before_it_is_asked_for(spins):
    """What XLA takes for eight walkers of ten sites, scores and the sums over all x with their slopes, is
    within the bound, and near it.
    """
    lattice = spins.lattice
    circuit = random_circuit(lattice, 2)
    H = spin_hamiltonian(spins)

    def of_one_walker(circuit, K, x):
        def at(circuit):
            return dist.CircuitBorn(spins, K, circuit)

        def local(x):
            return H(at(circuit), Values({"x": x}, "x")).total

        return complex_score(lambda p: at(p).log_modulus_and_phase(x), circuit), state_energy(
            at, circuit, local
        )

    bits = jnp.zeros((8, 10), int)
    compiled = jax.jit(jax.vmap(of_one_walker, (None, 0, 0))).lower(circuit, bits, bits).compile()
    taken = compiled.memory_analysis().temp_size_in_bytes
    assert memory(lattice, 8) / 4 < taken < memory(lattice, 8)


def test_float32():
    circuit = random_circuit(TRIANGLE, 1)
    single = jax.tree.map(lambda x: x.astype(jnp.float32), circuit)
    found = dist.CircuitBorn(SPINS, ALL[3], single).log_psi(ALL[5])
    assert found.dtype == jnp.complex64
    np.testing.assert_allclose(found, dist.CircuitBorn(SPINS, ALL[3], circuit).log_psi(ALL[5]), rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: brickwork(TRIANGLE, -1), "depth to be a whole number >= 0; got -1"),
        (lambda: brickwork(TRIANGLE, 1.5), "depth to be a whole number"),
        (
            lambda: brickwork(chain(21), 1),
            "at most 20 sites .*; got 21, which would take 5.91 GB for each walker",
        ),
        (lambda: dist.CircuitBorn(SPINS, ALL[0], random_circuit(chain(4), 0)), "a circuit on the 3 sites"),
        (lambda: dist.CircuitBorn(SPINS, jnp.zeros(4, int), random_circuit(TRIANGLE, 0)), "K to be 3 bits"),
        (lambda: dist.CircuitBorn(SPINS, jnp.zeros(3), random_circuit(TRIANGLE, 0)), "K to be 3 bits"),
    ],
)
def test_what_cannot_be_is_refused(make, message, unchecked):
    with pytest.raises(ValueError, match=f"^Expected {message}"):
        make()
