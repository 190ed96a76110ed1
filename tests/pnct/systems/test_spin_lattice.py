"""Spins on graphs: Pauli strings against products of matrices, and all of spin_lattices.csv by
diagonalisation; free spins; what is refused.
"""

import csv
import itertools
import math
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pnct import ElectronGas, hamiltonian, spin_hamiltonian
from pnct.inference.training.model_checks import check_hamiltonian
from pnct.systems import (
    Lattice,
    PauliSum,
    SpinLattice,
    chain,
    heisenberg,
    pauli_sum,
    square,
    transverse_field_ising,
    xxz,
)
from pnct.systems.pauli import MATRICES

LATTICES = {
    "2x2 open": square(2, 2),
    "3x3 open": square(3, 3),
    "3x3 periodic": square(3, 3, periodic=True),
    "chain 5 open": chain(5),
    "chain 8 open": chain(8),
    "chain 8 periodic": chain(8, periodic=True),
}


def model(lattice, name, parameters, beta=1.0):
    """The system of a row of the table."""
    numbers = [float(word.split("=")[1]) for word in parameters.split() if "=" in word]
    if name == "TFIM":
        return transverse_field_ising(lattice, *numbers, beta)
    return heisenberg(lattice, beta, 1.0) if name == "Heisenberg" else xxz(lattice, *numbers, beta)


def test_all_rows_of_the_table_by_diagonalisation(reference):
    """E0, gap, F, E, S, variance of the energy, purity, each to the accuracy of its row."""
    with (reference / "spin_lattices.csv").open() as file:
        rows = list(csv.DictReader(file))
    levels = {}
    for row in rows:
        case = row["lattice"], row["model"], row["parameters"]
        if case not in levels:
            levels[case] = np.linalg.eigvalsh(model(LATTICES[case[0]], *case[1:]).terms.matrix())
        e = levels[case]
        beta = float(row["beta"])
        found = {"E0": e[0], "gap": e[1] - e[0]}
        if math.isfinite(beta):
            p = np.exp(-beta * (e - e[0]))
            p /= p.sum()
            E = p @ e
            F = e[0] - math.log(np.sum(np.exp(-beta * (e - e[0])))) / beta
            found = {"F_total": F, "E_total": E, "S_total": beta * (E - F)}
            found |= {"energy_variance": p @ (e - E) ** 2, "purity": p @ p}
        assert found[row["quantity"]] == pytest.approx(float(row["value"]), abs=2e-9), row
    assert len(rows) == 999 and len(levels) == 37


def random_sum(num_sites, number=12, seed=0) -> PauliSum:
    random = np.random.default_rng(seed)
    strings = list(itertools.product("IXYZ", repeat=num_sites))
    chosen = random.permutation(len(strings))[:number]
    return PauliSum(random.normal(size=number), tuple("".join(strings[i]) for i in chosen))


def test_matrix_and_local_value_are_those_of_products_of_matrices():
    """To 1e-12, of random strings and a random complex state of three sites."""
    terms = random_sum(3)
    full = sum(
        c * reduce(np.kron, [MATRICES[letter] for letter in string])
        for c, string in zip(terms.coefficients, terms.strings, strict=True)
    )
    np.testing.assert_allclose(terms.matrix(), full, atol=1e-14)
    random = np.random.default_rng(1)
    psi = jnp.asarray(random.normal(size=8) + 1j * random.normal(size=8))

    def log_psi(x):
        return jnp.log(psi[4 * x[0] + 2 * x[1] + x[2]])

    x = jnp.asarray(list(itertools.product((0, 1), repeat=3)))
    off_diagonal, diagonal = jax.jit(jax.vmap(lambda x: terms.local(log_psi, x)))(x)
    np.testing.assert_allclose(off_diagonal + diagonal, full @ psi / psi, atol=1e-12)
    np.testing.assert_allclose(diagonal, np.diag(full).real, atol=1e-14)


@pytest.mark.parametrize("axis", "XYZ")
def test_bits_of_another_axis_leave_the_levels_alone(axis):
    terms = random_sum(3)
    np.testing.assert_allclose(
        np.linalg.eigvalsh(terms.along(axis).matrix()), np.linalg.eigvalsh(terms.matrix()), atol=1e-12
    )
    only = pauli_sum(1, {f"{axis}0": 1.0}).along(axis)
    assert only.strings == ("Z",)


FIELDS = {
    "along X": ({"X0": -0.7, "X1": 0.4}, "Z"),
    "along Z": ({"Z0": -0.7, "Z1": 0.4}, "X"),
    "along X and Z": ({"X0": -0.7, "Z1": 0.4}, "Y"),
    "tilted": ({"X0": -0.7, "Y0": 0.2, "Z0": 0.3, "Y1": -0.5}, "Z"),
    "of one site": ({"X0": -0.7, "X0 X1": 0.0}, "Z"),
}


@pytest.mark.parametrize(("terms", "axis"), FIELDS.values(), ids=FIELDS.keys())
def test_free_states_are_those_of_the_fields(terms, axis):
    """Eigenstates at +-|h|; no measured bit is certain in one of them."""
    spins = SpinLattice(chain(2), pauli_sum(2, terms), 1.0)
    assert spins.measured_axis == axis
    states = np.asarray(spins.free_states)
    h = np.asarray(spins.measured_terms.fields())
    size = np.linalg.norm(h, axis=1)
    np.testing.assert_allclose(np.linalg.norm(np.asarray(spins.terms.fields()), axis=1), size)
    np.testing.assert_allclose(spins.splittings, 2 * size)
    for i in range(2):
        H = -sum(h[i, a] * MATRICES[letter] for a, letter in enumerate("XYZ"))
        np.testing.assert_allclose(states[i].conj().T @ states[i], np.eye(2), atol=1e-14)
        np.testing.assert_allclose(
            states[i].conj().T @ H @ states[i], np.diag([-size[i], size[i]]), atol=1e-14
        )
    assert np.abs(states).min() > 0.2


def test_lattices():
    assert chain(4).bonds == ((0, 1), (1, 2), (2, 3)) and chain(4, True).bonds[-1] == (0, 3)
    assert len(square(3, 3).bonds) == 12 and len(square(3, 3, True).bonds) == 18
    assert square(1, 3).bonds == chain(3).bonds == square(3, 1).bonds
    assert Lattice(3, [(2, 0)]).bonds == ((0, 2),) and chain(1).bonds == ()


@pytest.mark.parametrize("make", [lambda: chain(2, periodic=True), lambda: square(2, 3, periodic=True)])
def test_a_periodic_side_of_two_has_each_bond_once_and_says_so(make):
    with pytest.warns(UserWarning, match="each of its bonds counts once"):
        lattice = make()
    assert len(set(lattice.bonds)) == len(lattice.bonds) == {2: 1, 6: 9}[lattice.num_sites]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Lattice(3, [(0, 3)]), r"bonds between two of the sites 0 ... 2; got \(0, 3\)"),
        (lambda: Lattice(3, [(1, 1)]), r"bonds between two of the sites 0 ... 2; got \(1, 1\)"),
        (lambda: Lattice(3, [(-1, 1)]), "bonds between"),
        (lambda: Lattice(3, [(0, 1), (1, 0)]), "every bond once"),
        (lambda: Lattice(3, [3]), "a bond to be a pair of sites; got 3"),
        (lambda: Lattice(0, []), "num_sites to be a whole number >= 1; got 0"),
        (lambda: chain(-1), "length to be a whole number >= 1"),
        (lambda: transverse_field_ising(chain(2), math.nan), "Gamma finite; got nan"),
        (lambda: transverse_field_ising(chain(2), math.inf), "Gamma finite; got inf"),
        (lambda: heisenberg(chain(2), longitudinal=math.inf), "longitudinal finite; got inf"),
        (lambda: xxz(chain(2), "a", 1.0), "Jxy to be one number finite; got 'a'"),
        (lambda: transverse_field_ising(chain(2), 1.0, beta=0.0), "beta > 0; got 0.0"),
        (lambda: SpinLattice(chain(3), pauli_sum(2, {"X0": 1.0})), "terms of the 3 sites .*; got 2"),
        (lambda: pauli_sum(2, {"X2": 1.0}), "Pauli strings such as .*; got 'X2'"),
        (lambda: pauli_sum(2, {"X0 Z0": 1.0}), "Pauli strings .* at most once; got 'X0 Z0'"),
        (lambda: pauli_sum(2, {}), "at least one Pauli string"),
        (lambda: heisenberg(chain(13)).terms.matrix(), "at most 12 sites for a full matrix; got 13"),
    ],
)
def test_what_cannot_be_is_refused(make, message, unchecked):
    with pytest.raises(ValueError, match=f"^Expected {message}"):
        make()


def test_a_hamiltonian_of_another_lattice_is_refused():
    weak, strong = (transverse_field_ising(chain(3), Gamma) for Gamma in (0.5, 2.0))
    check_hamiltonian(spin_hamiltonian(weak), (weak,))
    with pytest.raises(
        ValueError,
        match=r"^Expected the hamiltonian of the system .* got one that differs in .*terms\.coefficients",
    ):
        check_hamiltonian(spin_hamiltonian(strong), (weak,))
    gas = ElectronGas((2, 0), 2, 4.0, 0.4, cutoff=2.0)
    for made_for, given, found in (
        (spin_hamiltonian(weak), gas, "spins"),
        (hamiltonian(gas), weak, "EwaldEnergy"),
    ):
        with pytest.raises(
            ValueError, match=f"^Expected the hamiltonian of the model's .*; got one .*{found}"
        ):
            check_hamiltonian(made_for, (given,))


def test_other_numbers_of_a_lattice_compile_nothing_again():
    traces = []

    @jax.jit
    def free_energy(spins):
        traces.append(spins.N)
        return -jnp.sum(jnp.log(2 * jnp.cosh(spins.beta * spins.splittings / 2))) / spins.beta

    for Gamma, beta in ((1.0, 1.0), (2.0, 0.5)):
        F = free_energy(transverse_field_ising(chain(3), Gamma, beta))
        assert float(F) == pytest.approx(-3 / beta * math.log(2 * math.cosh(Gamma * beta)), rel=1e-14)
    assert traces == [3]
