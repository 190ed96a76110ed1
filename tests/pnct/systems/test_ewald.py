"""The Ewald sum against lattice constants, exact Hartree-Fock energies, and its own splitting."""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_flow import random_positions

from pnct.orbitals.plane_waves import Cell
from pnct.systems.electron_gas import ElectronGas
from pnct.systems.ewald import ewald, madelung

dims = pytest.mark.parametrize("dim", [2, 3])


@jax.jit
def energy(ewald, R):
    return ewald(R)


def cell_of(dim, num_electrons=(3, 2)):
    return ElectronGas(num_electrons, dim, cutoff=5.0).space


def test_madelung_constants():
    zeta_half, beta_half = -1.4603545088095868, 0.6676914571896091  # 4 zeta(1/2) beta(1/2) in the plane
    assert np.isclose(madelung(2), 4 * zeta_half * beta_half, rtol=1e-13)
    assert np.isclose(madelung(3), -2.8372974794806, rtol=1e-12)


@dims
def test_one_electron_feels_its_images(dim):
    space = cell_of(dim, (1, 0))
    assert np.isclose(
        energy(ewald(space), random_positions(space)), madelung(dim) / (2 * space.L), rtol=1e-11
    )


@dims
def test_a_lattice_in_a_larger_cell_is_the_same_lattice(dim):
    axis = np.arange(2)
    sites = np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), axis=-1).reshape(-1, dim) / 2
    crystal = energy(ewald(Cell((2**dim, 0), dim, 2.0)), 2 * sites + 0.1)
    assert np.isclose(crystal / 2**dim, madelung(dim) / 2, rtol=1e-11)


def test_body_centred_cubic_crystal():
    """-0.895929255682 hartree/r_s, Fuchs 1935; digits: Coldwell-Horsfall, Maradudin 1960."""
    space = cell_of(3, (1, 1))
    crystal = energy(ewald(space), np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]) * space.L)
    assert np.isclose(crystal / 2, -0.895929255682, rtol=1e-11)


@dims
@pytest.mark.parametrize("splitting", [2.0, 3.3, 5.0, 7.5, 11.0])
def test_splitting_changes_nothing(dim, splitting):
    space = cell_of(dim)
    R = random_positions(space)
    assert np.isclose(energy(ewald(space, splitting), R), energy(ewald(space), R), rtol=1e-11)


def rock_salt(dim):
    """Charges +-1 on the sites of a cubic (square) lattice of spacing 1, two along each axis."""
    sites = np.stack(np.meshgrid(*[np.arange(2.0)] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    return sites, 1 - 2 * (sites.sum(axis=1) % 2)


@pytest.mark.parametrize(("dim", "constant"), [(3, -1.7475645946331822), (2, -1.6155426267128247)])
def test_rock_salt(dim, constant):
    """The energy of a pair of neighbours at distance 1: Borwein, Borwein, Taylor, J. Math. Phys. 26, 2999
    (1985); in the plane 4 (2^(1/2) - 1) zeta(1/2) beta(1/2).
    """
    sites, charges = rock_salt(dim)
    crystal = energy(ewald(Cell((2**dim, 0), dim, 2.0), charges=charges), sites + 0.1)
    assert np.isclose(2 * crystal / 2**dim, constant, rtol=1e-11)


def test_charges_of_a_body_centred_cubic_crystal(reference):
    """16 protons at r_s = 1.31, which hydrogen.csv has in hartree per atom."""
    cube = np.stack(np.meshgrid(*[np.arange(2.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    L = ElectronGas((16, 0), 3, cutoff=5.0).L
    R = np.concatenate([cube, cube + 0.5]) * L / 2
    found = energy(ewald(Cell((16, 0), 3, L), charges=np.ones(16)), R) / 1.31 / 16
    with open(reference / "hydrogen.csv") as file:
        (row,) = (row for row in csv.DictReader(file) if row["quantity"] == "V_pp/N")
    assert np.isclose(found, float(row["value"]), atol=1e-6)


@dims
@pytest.mark.parametrize("charges", [np.array([1, 1, -1, -1, 0.5]), np.array([2, -1, -1, 0.25, -0.25])])
def test_splitting_changes_nothing_for_charges(dim, charges):
    """With a background, and neutral."""
    space = cell_of(dim)
    R = random_positions(space)
    found = [energy(ewald(space, splitting, charges=charges), R) for splitting in (2.0, 3.7, 6.0)]
    assert np.ptp(found) < 1e-11 * np.abs(found[0])


@dims
def test_pairs_of_charges_add_up(dim):
    """E is quadratic in the charges: what a pair adds is q q' of what a pair of unit charges adds."""
    space = Cell((3, 0), dim, 1.7)
    R = random_positions(space)
    q = np.array([0.7, -1.3, 2.0])
    pairs = [(0, 1), (0, 2), (1, 2)]
    own = madelung(dim) / (2 * space.L)
    of_pairs = [energy(ewald(Cell((2, 0), dim, space.L)), R[list(ij)]) - 2 * own for ij in pairs]
    expected = np.sum(q**2) * own + sum(q[i] * q[j] * v for (i, j), v in zip(pairs, of_pairs, strict=True))
    assert np.isclose(energy(ewald(space, charges=q), R), expected, rtol=1e-11)


@dims
def test_periodic_and_symmetric(dim):
    space = cell_of(dim)
    R, the_sum = random_positions(space), ewald(space)
    winding = np.random.default_rng(1).integers(-3, 4, R.shape)
    for moved in (R + 0.37, R + space.L * winding, R[::-1], -R):
        assert np.isclose(energy(the_sum, moved), energy(the_sum, R), rtol=1e-12)


@dims
def test_scales_as_one_over_length(dim):
    space = cell_of(dim)
    R = random_positions(space)
    large = Cell(space.num_electrons, dim, 3 * space.L)
    assert np.isclose(energy(ewald(large), 3 * R), energy(ewald(space), R) / 3, rtol=1e-12)


def about_the_origin(dim, L, order):
    """Quadrature points and weights in the cell for integrands with a 1/r singularity, by r = u (1, w)."""
    x, weight = np.polynomial.legendre.leggauss(order)
    u, u_weight = (x + 1) * L / 4, weight * L / 4
    grids = np.meshgrid(u, *[x] * (dim - 1), indexing="ij")
    weights = np.prod(
        np.meshgrid(u_weight * u ** (dim - 1), *[weight] * (dim - 1), indexing="ij"), axis=0
    ).ravel()
    pyramid = grids[0].ravel()[:, None] * np.stack(
        [np.ones(weights.size), *(g.ravel() for g in grids[1:])], axis=-1
    )
    points = np.concatenate(
        [sign * np.roll(pyramid, axis, axis=-1) for axis in range(dim) for sign in (1, -1)]
    )
    return points, np.tile(weights, 2 * dim)


@dims
def test_hartree_fock(dim, reference):
    """V = N xi/2 - (1/2 L^d) sum over species of int |the_sumk exp(i k.r)|^2 v(r) dr, in every closed shell.

    v(r) is the energy of a pair without its own images, whose mean over the cell is zero.
    """
    points, weights = about_the_origin(dim, 1.0, {2: 40, 3: 22}[dim])
    pair = ewald(Cell((2, 0), dim, 1.0))

    def at(r):
        return pair(jnp.stack([jnp.zeros_like(r), r]))

    v = np.asarray(jax.jit(lambda r: jax.lax.map(at, r, batch_size=512))(points)) - madelung(dim)
    assert abs(v @ weights) < 1e-9

    with open(reference / "hartree_fock.csv") as file:
        rows = [row for row in csv.DictReader(file) if int(row["dim"]) == dim]
    for row in rows:
        gas = ElectronGas((int(row["n_up"]), int(row["n_dn"])), dim, 1.0, 0.0, float(row["twist"]))
        n = gas.orbitals.indices
        exchange = sum(
            np.abs(np.sum(np.exp(2j * np.pi * points @ n[K].T), axis=1)) ** 2 @ (v * weights)
            for K in (gas.ground_state[i] for i in gas.space.species)
        )
        V = (gas.N * madelung(dim) - exchange) / (2 * gas.L)
        assert np.isclose(V / gas.N, float(row["V_rs_per_electron_Ha"]), atol=2e-8)


@dims
def test_float32(dim):
    space = cell_of(dim, (14, 0))
    R = random_positions(space) + space.L
    single = energy(ewald(space), R.astype(np.float32))
    assert single.dtype == np.float32
    assert np.isclose(single, energy(ewald(space), R), rtol=1e-5)


def test_bad_arguments_are_named():
    space = cell_of(2)
    with pytest.raises(ValueError, match="Expected splitting > 0; got -1"):
        ewald(space, splitting=-1.0)
    with pytest.raises(ValueError, match="Expected 0 < accuracy < 1"):
        ewald(space, accuracy=0.0)
    with pytest.raises(ValueError, match=r"Expected 5 finite charges, one a particle; got \[1.0, 1.0\]"):
        ewald(space, charges=np.ones(2))
    with pytest.raises(ValueError, match=r"Expected R of shape \(5, 2\)"):
        ewald(space)(np.zeros((4, 2)))
