"""Electrons and protons: units, the constants of the protons, and bad input in one sentence each."""

import numpy as np
import pytest

import pnct
from pnct import ElectronGas, Hydrogen
from pnct.hydrogen_hamiltonian import hydrogen_hamiltonian
from pnct.systems.ewald import ewald, madelung


def test_units():
    """L is that of the electrons: 3.223984 bohr at r_s = 2 for one, and of the protons without electrons."""
    np.testing.assert_allclose(2.0 * Hydrogen((1, 0), 2, rs=2.0).L, 3.223984, atol=1e-6)
    np.testing.assert_allclose(2.0 * Hydrogen((1, 1), 2, rs=2.0).L, 4.061965, atol=1e-6)
    plasma = Hydrogen((0, 0), 5, rs=2.0)
    np.testing.assert_allclose(plasma.L**3, 4 * np.pi * 5 / 3)
    assert plasma.N == 5
    gas = ElectronGas((3, 1), 3, rs=2.0)
    assert Hydrogen((3, 1), 4, rs=2.0).energy_scale == pytest.approx(gas.E_F)
    kappa = Hydrogen((2, 2), 4, rs=2.0).screening / 2.0
    n = 3 / (4 * np.pi * 2.0**3)
    assert float(kappa) ** 2 == pytest.approx(4 * (3 * np.pi**2 * n) ** (1 / 3) / np.pi)
    assert Hydrogen((1, 0), 1).screening == 0


def test_the_default_table_holds_an_atom_and_the_entropy():
    assert len(Hydrogen((1, 0), 1, rs=2.0, temperature=0.01).orbitals) == 57
    assert len(Hydrogen((1, 0), 1, rs=4.0, temperature=1.0).orbitals) > 100


def test_electrons_and_protons_in_one_sum():
    """V(R, X) is the energy of the electrons, of the protons, and of their attraction."""
    plasma = Hydrogen((2, 1), 3, rs=1.5, cutoff=2.0)
    rng = np.random.default_rng(0)
    R, X = rng.uniform(0, plasma.L, (2, 3, 3))
    space = plasma.space
    both = ewald(space)(R) + ewald(space)(X)
    pair = ewald(pnct.space.Cell((2, 0), 3, plasma.L))
    own = madelung(3) / plasma.L
    attraction = sum(pair(np.stack([r, x])) - own for r in R for x in X)
    found = plasma.given(X).potential()(R)
    np.testing.assert_allclose(found, (both - attraction) / 1.5, rtol=1e-10)
    assert plasma.given(X).potential(None)(R) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0.0}, r"Expected temperature > 0 \(hartree\); got 0\.0"),
        ({"temperature": -0.1}, r"Expected temperature > 0 \(hartree\); got -0\.1"),
        ({"theta": 0.2}, r"Expected temperature, in hartree; got theta = 0\.2"),
        ({"mass": 0.0}, r"Expected mass > 0 \(electron masses\); got 0\.0"),
        ({"rs": -1.0}, r"Expected rs > 0; got -1\.0"),
        ({"num_protons": 0}, "Expected num_protons to be a whole number >= 1; got 0"),
        ({"num_protons": 1.5}, "Expected num_protons to be a whole number >= 1; got 1.5"),
        ({"num_electrons": (-1, 2)}, r"Expected num_electrons = \(up, down\) >= 0 and not both 0"),
        ({"num_electrons": 3}, r"Expected num_electrons = \(up, down\), two whole numbers; got 3"),
        (
            {"num_electrons": (8, 1), "cutoff": 1.0},
            "num_orbitals >= num_electrons; got 7 < 8. Raise",
        ),
        ({"twist": "half"}, "Expected twist to be one number"),
        ({"dim": 2}, "Expected dim = 3, in which hydrogen is done; got 2"),
    ],
)
def test_bad_numbers_get_a_sentence(arguments, message):
    with pytest.raises(ValueError, match=message):
        Hydrogen(**arguments)


PLASMA = Hydrogen((1, 1), 2, rs=2.5, cutoff=2.0)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((3, 3)), r"Expected X of shape \(2, 3\), a place for each proton; got \(3, 3\)"),
        (np.full((2, 3), np.nan), "Expected finite places of protons; got 6 that are not"),
        (np.array([[0.0, 0, 0], [2.5, 0, 0]]), r"within the cell, up to L = 2\.0310 .* got 2\.5000\. Divide"),
        (np.array([[0.1, 0, 0], [0.1, 0, -PLASMA.L]]), "Expected protons apart from each other; got 0 and 1"),
    ],
)
def test_places_that_cannot_be_are_refused(X, message):
    with pytest.raises(ValueError, match=message):
        PLASMA.check_protons(X)
    if X.shape != (2, 3):
        with pytest.raises(ValueError, match=message):
            PLASMA.given(X)


def test_the_hamiltonian_is_that_of_a_hydrogen(unchecked):
    with pytest.raises(ValueError, match="Expected a Hydrogen; got a ElectronGas"):
        hydrogen_hamiltonian(ElectronGas((2, 0)))
