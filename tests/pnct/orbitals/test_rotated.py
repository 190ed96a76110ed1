"""Mixed orbitals: orthonormal, of the symmetry of the table, drawn exactly, for each species their own."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from pnct import HarmonicTrap, hamiltonian
from pnct.distributions import Born, Determinantal
from pnct.flows import continuous
from pnct.orbitals.rotated import rotated_orbitals


def mixed(trap, spread=4.0):
    """Mixed by random angles."""
    orbitals = rotated_orbitals(trap.orbitals)(random.key(0))
    angles = spread * np.random.default_rng(3).normal(size=orbitals.angles.shape)
    return eqx.tree_at(lambda mixed: mixed.angles, orbitals, jnp.asarray(angles))


def plane():
    """Points and weights of a quadrature that is exact for products of the orbitals of these tests."""
    x, w = np.polynomial.hermite.hermgauss(40)
    points = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 2)
    return jnp.asarray(points), np.outer(w, w).ravel() * np.exp(np.sum(points**2, axis=-1))


def test_at_first_the_table():
    trap = HarmonicTrap((2, 1), cutoff=5)
    orbitals, r, K = (
        rotated_orbitals(trap.orbitals)(random.key(0)),
        random.normal(random.key(1), (4, 2)),
        jnp.arange(21),
    )
    assert orbitals.angles.shape == (2, 8) and len(orbitals) == 21 and orbitals.space == trap.space
    np.testing.assert_allclose(
        orbitals.of_species(1).matrix(K, r), trap.orbitals.matrix(K, r), rtol=0, atol=1e-14
    )


def test_orthonormal_and_of_one_angular_momentum():
    trap = HarmonicTrap((2, 1), cutoff=5)
    points, weights = plane()
    K, m = jnp.arange(21), trap.orbitals.angular_momenta
    up, down = (np.asarray(mixed(trap).of_species(s).matrix(K, points)) for s in (0, 1))
    assert np.max(np.abs(up - down)) > 0.1
    for chi in (up, down):
        np.testing.assert_allclose(chi.conj().T * weights @ chi, np.eye(21), rtol=0, atol=1e-12)
        overlap = np.abs(np.asarray(trap.orbitals.matrix(K, points)).conj().T * weights @ chi)
        assert (
            np.all(overlap[m[:, None] != m] < 1e-12)
            and np.max(overlap[(m[:, None] == m) & ~np.eye(21, dtype=bool)]) > 0.2
        )
    by_state = {(q, l): k for k, (q, l) in enumerate(zip(trap.shell_index.tolist(), m.tolist(), strict=True))}
    reversed_in_time = [by_state[q, -l] for q, l in by_state]
    np.testing.assert_allclose(up[:, reversed_in_time], up.conj(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("K", [[5], [0, 5, 7]])
def test_drawn_exactly(K):
    """<sum_i f(r_i)> of the determinant within five standard errors of the integral."""
    trap = HarmonicTrap((len(K), 0), cutoff=4)
    orbitals, (points, weights) = mixed(trap), plane()
    draw = jax.jit(
        lambda keys: jax.lax.map(
            lambda k: Determinantal(orbitals, jnp.array(K)).sample(seed=k), keys, batch_size=64
        )
    )
    R = np.asarray(draw(random.split(random.key(0), 1024)))
    density = weights * np.sum(
        np.abs(np.asarray(orbitals.of_species(0).matrix(jnp.array(K), points))) ** 2, axis=1
    )
    for f in (
        lambda r: np.exp(-np.sum(r**2, axis=-1)),
        lambda r: r[..., 0] ** 2,
        lambda r: np.cos(r[..., 0] + 2 * r[..., 1]),
    ):
        found = f(R).sum(axis=1)
        assert abs(found.mean() - density @ f(np.asarray(points))) < 5 * found.std() / np.sqrt(len(found))


def test_local_energy_against_finite_differences():
    trap = HarmonicTrap((2, 1), coupling=2.0, cutoff=4)
    flow = jax.tree.map(lambda x: x + 0.2, continuous(trap.space, width=3)(random.key(1)))
    born = Born(mixed(trap), jnp.array([0, 5, 5]), flow)
    R, h = np.random.default_rng(1).normal(size=(3, 2)), 2e-3
    steps = h * np.eye(R.size).reshape(-1, *R.shape)
    batch = np.stack([R + c * steps for c in (-2, -1, 0, 1, 2)])
    log = np.asarray(jax.jit(lambda R: jax.lax.map(jax.vmap(born.log_psi), R))(batch))
    laplacian = np.sum(np.array([-1, 16, -30, 16, -1]) @ np.exp(log - log[2, 0])) / (12 * h**2)
    np.testing.assert_allclose(
        jax.jit(lambda R: hamiltonian(trap).local_energy(born, R))(R).kinetic, -laplacian / 2, rtol=1e-4
    )


def test_in_space_all_m_of_one_degree_rotate_alike():
    """Radial functions are mixed, and no others: chi_nlm of the orbitals of one l are one function of r times
    Y_lm.
    """
    trap = HarmonicTrap((2, 1), dim=3, cutoff=5)
    table, orbitals = trap.orbitals, mixed(trap).of_species(1)
    r = jnp.asarray(np.random.default_rng(2).normal(size=(4, 3)))
    K = jnp.arange(len(table))
    chi, phi = np.asarray(orbitals.matrix(K, r)), np.asarray(table.matrix(K, r))
    q, l, m = table.num_quanta, table.degrees, table.angular_momenta
    own = {}
    for k in range(len(table)):
        lowest = np.nonzero((q == l[k]) & (l == l[k]) & (m == m[k]))[0][0]
        ratio = chi[:, k] / phi[:, lowest]
        np.testing.assert_allclose(ratio.imag, 0, atol=1e-9)
        np.testing.assert_allclose(ratio, own.setdefault((q[k], l[k]), ratio), rtol=1e-8)
    assert np.max(np.abs(chi - phi)) > 0.1
