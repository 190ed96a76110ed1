"""The laws of single-particle states, for every kind of them: orthonormal, of definite quantum numbers, below
the envelope that positions are proposed from. A new kind is one line of ORBITALS. Statistics: 5 sigma.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from state_kinds import PROTONS, rotated, with_jastrow

from pnct.orbitals import Orbitals, SpeciesOrbitals
from pnct.space import Cell
from pnct.systems import ElectronGas, HarmonicTrap, Hydrogen

SIGMA = 5


def given_others(gas):
    """Those of the second species of Slater-Jastrow states, where the first one stands anywhere."""
    A = gas.L * random.uniform(random.key(3), (gas.num_electrons[0], gas.dim))
    return with_jastrow(gas, 0.05).given(A)


class Kind(NamedTuple):
    """A function of no arguments: the table and the orbitals of one species, or the latter alone."""

    make: Callable[[], tuple[Orbitals | None, SpeciesOrbitals]]
    closest: float = 0.1  # the mean of density/envelope is above it
    has_table: bool = True  # whether they have quantum numbers


def whole(table: Orbitals, s: int = 0) -> tuple[Orbitals, SpeciesOrbitals]:
    return table, table.of_species(s)


ORBITALS = {
    "plane waves": Kind(lambda: whole(ElectronGas((3, 2), 2, twist=(0.1, 0.2), cutoff=3.0).orbitals)),
    "plane waves in 3D": Kind(lambda: whole(ElectronGas((3, 0), 3, twist=0.25, cutoff=2.0).orbitals)),
    "plane waves without twist": Kind(lambda: whole(ElectronGas((3, 0), 3, cutoff=2.0).orbitals)),
    "oscillators": Kind(lambda: whole(HarmonicTrap((2, 1), cutoff=5).orbitals)),
    "oscillators in 3D": Kind(lambda: whole(HarmonicTrap((1, 0), dim=3, cutoff=3).orbitals)),
    "rotated orbitals in 3D": Kind(lambda: whole(rotated(HarmonicTrap((1, 2), dim=3, cutoff=4)))),
    "rotated orbitals": Kind(lambda: whole(rotated(HarmonicTrap((2, 1), cutoff=5)))),
    "rotated orbitals of the other species": Kind(lambda: whole(rotated(HarmonicTrap((2, 1), cutoff=5)), 1)),
    "bands": Kind(
        lambda: (None, Hydrogen((2, 1), 2, rs=3.0, cutoff=2.0, twist=0.1).given(PROTONS).orbitals),
        closest=0.05,
        has_table=False,  # nothing is conserved among protons
    ),
    "given the other species": Kind(
        lambda: (None, given_others(ElectronGas((3, 2), 2, twist=0.25, cutoff=3.0))),
        closest=0.02,
        has_table=False,
    ),
    "given the other species in 3D": Kind(
        lambda: (None, given_others(ElectronGas((2, 4), 3, twist=0.25, cutoff=2.0))),
        closest=0.01,
        has_table=False,
    ),
}
kinds = pytest.mark.parametrize("name", ORBITALS)
tables = pytest.mark.parametrize("name", [name for name, kind in ORBITALS.items() if kind.has_table])


@lru_cache
def made(name: str):
    return ORBITALS[name].make()


def functions(orbitals):
    """`matrix` and `propose` as one program each."""
    return jax.jit(lambda *x: orbitals.matrix(*x)), jax.jit(lambda *x: orbitals.propose(*x))


@lru_cache
def made_functions(name: str):
    return functions(made(name)[1])


@lru_cache
def quadrature(space):
    """Points and weights, exact for products of the orbitals of the table with observables."""
    if isinstance(space, Cell):
        points = 16
        axis, weight = np.arange(points) / points * space.L, np.full(points, space.L / points)
    else:
        axis, weight = np.polynomial.hermite.hermgauss(20)
        weight = weight * np.exp(axis**2)
    R = np.stack(np.meshgrid(*[axis] * space.dim, indexing="ij"), axis=-1).reshape(-1, space.dim)
    return jnp.asarray(R), np.prod(np.meshgrid(*[weight] * space.dim, indexing="ij"), axis=0).ravel()


@kinds
def test_orthonormal(name):
    (_, orbitals), (matrix, _) = made(name), made_functions(name)
    points, weights = quadrature(orbitals.space)
    phi = np.asarray(matrix(jnp.arange(len(orbitals)), points))
    np.testing.assert_allclose((phi.conj().T * weights) @ phi, np.eye(len(orbitals)), rtol=0, atol=1e-12)


@kinds
@pytest.mark.parametrize("weighted", [False, True])
def test_proposals_follow_an_envelope_of_the_density(name, weighted):
    """The envelope is nowhere below the density and not far above it; proposals weighted with the ratio have
    the moments of the density.
    """
    (_, orbitals), (matrix, propose) = made(name), made_functions(name)
    K = jnp.array([0, 3, 5, 3, len(orbitals) - 1])
    weights = jnp.array([1.0, 0.2, 2.0, 0.7, 0.4]) if weighted else None
    u = random.uniform(random.key(0), (40_000, orbitals.space.dim))
    r, g = propose(K, u, weights)

    def density(r):
        return np.abs(np.asarray(matrix(K, r))) ** 2 @ (weights if weighted else np.ones(len(K)))

    ratio = density(r) / np.asarray(g)
    assert np.all(ratio <= 1 + 1e-12) and ORBITALS[name].closest < ratio.mean()

    def observables(r):
        if not isinstance(orbitals.space, Cell):
            return np.stack([r[:, 0] ** 2, r[:, 0] * r[:, 1], r[:, 0] ** 2 * r[:, 1]], axis=1)
        phases = (2 * np.pi / orbitals.space.L) * np.stack([r[:, 0], r[:, 0] - r[:, 1], 2 * r[:, 1]], axis=1)
        return np.concatenate([np.cos(phases), np.sin(phases)], axis=1)

    points, weight = quadrature(orbitals.space)
    weight = weight * density(points)
    expected = weight @ observables(np.asarray(points)) / weight.sum()
    off = ratio[:, None] * (observables(np.asarray(r)) - expected)
    assert np.all(np.abs(off.mean(axis=0)) < SIGMA * off.std(axis=0) / np.sqrt(len(off)) + 1e-12)


@tables
def test_quantum_numbers_are_those_of_a_motion(name):
    """phi(r + a) = exp(i k.a) phi(r), phi(g r) = exp(i m angle) phi(r) for a rotation g."""
    (table, _), (matrix, _) = made(name), made_functions(name)
    r, K = np.random.default_rng(0).normal(size=(3, table.space.dim)), np.arange(len(table))
    Q = np.array([table.quantum_numbers(jnp.array([k])) for k in K])
    if isinstance(table.space, Cell):
        motion = np.array([0.3, -0.2, 0.9])[: table.space.dim]
        moved = r + motion
    else:
        motion = np.array([0.3])
        turn = np.eye(table.space.dim)
        turn[:2, :2] = [[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]]
        moved = r @ turn
    before, after = (np.asarray(matrix(jnp.asarray(K), jnp.asarray(x))) for x in (r, moved))
    np.testing.assert_allclose(after, np.exp(1j * Q @ motion) * before, rtol=0, atol=1e-12)


@kinds
def test_images_are_those_of_the_wedge_map(name):
    """phi_m(r) = phi_m'(g r)"""
    (table, _), (matrix, _) = made(name), made_functions(name)
    order = None if table is None else table.wedge_map()
    if order is None:
        return
    r = np.random.default_rng(0).normal(size=(3, table.space.dim))
    for k in range(len(table)):
        g = np.asarray(order(table.quantum_numbers(jnp.array([k]))))
        image = table.image(g)
        assert sorted(image) == list(range(len(table)))
        before = matrix(jnp.arange(len(table)), jnp.asarray(r))
        after = matrix(jnp.asarray(image), jnp.asarray(r @ g.T))
        np.testing.assert_allclose(after, before, rtol=0, atol=1e-12)


@kinds
def test_a_table_has_a_row_for_each_orbital(name):
    """In the order of the energies; also what files keep of it."""
    table, orbitals = made(name)
    if table is None:
        return
    M = len(table)
    assert len(orbitals) == M and table.space == orbitals.space
    assert table.energies.shape == (M,) and np.all(np.diff(table.energies) >= 0)
    assert table.features.shape[0] == M and np.all(np.abs(table.features) < 10)
    assert len(np.unique(table.features, axis=0)) == M
    for dims, column in table.columns().values():
        assert len(dims) == np.ndim(column)
        assert dict(zip(dims, np.shape(column), strict=True)).get("orbital", M) == M
    if table.wedge_map() is None:
        with pytest.raises(ValueError, match="Expected orbitals that symmetries relate; got"):
            table.image(np.eye(table.space.dim, dtype=int))


@kinds
def test_precision_is_that_of_the_positions(name):
    single = {jnp.dtype("float64"): jnp.float32, jnp.dtype("complex128"): jnp.complex64}
    orbitals = jax.tree.map(
        lambda x: x.astype(single[x.dtype]) if isinstance(x, jax.Array) else x, made(name)[1]
    )
    matrix, propose = functions(orbitals)
    K, u = jnp.array([0, 2, 1]), random.uniform(random.key(0), (4, orbitals.space.dim), jnp.float32)
    r, g = propose(K, u)
    D = matrix(K, r)
    assert r.dtype == g.dtype == np.float32 and D.dtype in (np.float32, np.complex64)
    np.testing.assert_allclose(D, matrix(K, r.astype(float)), rtol=0, atol=1e-4)


def test_twist_in_files_is_that_of_the_gas():
    for twist in ((0.1, 0.2, 0.3), (-0.25, 0.0, 0.5), (0.49, -0.1, 0.25)):
        assert ElectronGas((3, 0), 3, twist=twist).orbitals.columns()["twist"][1].tolist() == list(twist)
