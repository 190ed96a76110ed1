"""Oscillator orbitals: eigenfunctions, their angular momenta, their order."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import eval_genlaguerre, eval_hermite, gammaln, sph_harm_y

from pnct.orbitals.oscillator import fermi_quanta
from pnct.orbitals.planar_oscillator import hermite_functions, planar_oscillators
from pnct.orbitals.spherical_oscillator import spherical_oscillators
from pnct.space import OpenSpace
from pnct.systems.harmonic_trap import HarmonicTrap

X = np.linspace(-9, 9, 181)


def test_recursion_gives_the_hermite_functions():
    phi = np.asarray(hermite_functions(jnp.asarray(X), 30))
    for n in (0, 1, 2, 7, 30):
        norm = math.pi**-0.25 / math.sqrt(2.0**n * math.factorial(n))
        np.testing.assert_allclose(
            phi[n], norm * eval_hermite(n, X) * np.exp(-(X**2) / 2), rtol=0, atol=1e-12
        )
    np.testing.assert_allclose(phi @ phi.T * (X[1] - X[0]), np.eye(31), rtol=0, atol=1e-2)
    phi32 = hermite_functions(jnp.asarray(X, jnp.float32), 30)
    assert phi32.dtype == jnp.float32
    np.testing.assert_allclose(phi32, phi, rtol=0, atol=2e-5)


def value_and_energy(table, K):
    """phi_K(r) and (H phi_K)(r) of one electron, by automatic differentiation."""

    def phi(r):
        return table.matrix(K, r)[0]

    @jax.jit
    def both(r):
        laplacian = jnp.einsum("laa->l", jax.jacfwd(jax.jacfwd(phi))(r)[:, 0, :, 0, :])
        return phi(r), -laplacian / 2 + jnp.sum(r**2) / 2 * phi(r)

    return both


@pytest.mark.parametrize("dim", [2, 3])
def test_orbitals_are_eigenfunctions(dim):
    trap = HarmonicTrap((1, 0), dim=dim, cutoff=3)
    K, r = np.arange(len(trap.orbitals)), np.random.default_rng(0).normal(size=(1, dim))
    phi, h_phi = value_and_energy(trap.orbitals, K)(r)
    np.testing.assert_allclose(h_phi, trap.orbital_energies * phi, rtol=0, atol=1e-12)


def test_angular_momentum():
    """phi(turned r) = exp(i m angle) phi(r): by descending |m|, m > 0 before m < 0; orthonormal at equal
    quanta.
    """
    trap = HarmonicTrap((1, 0), cutoff=4)
    U = trap.orbitals.coefficients
    np.testing.assert_allclose(
        (U.conj() @ U.T) * (trap.shell_index[:, None] == trap.shell_index), np.eye(15), rtol=0, atol=1e-14
    )
    r, K, angle = jnp.array([[0.7, -0.4]]), jnp.arange(15), 0.3
    turn = jnp.array([[jnp.cos(angle), jnp.sin(angle)], [-jnp.sin(angle), jnp.cos(angle)]])
    m = np.array([0, 1, -1, 2, -2, 0, 3, -3, 1, -1, 4, -4, 2, -2, 0])
    assert trap.orbitals.angular_momenta.tolist() == m.tolist()
    phi = trap.orbitals.matrix(K, r)[0]
    np.testing.assert_allclose(
        trap.orbitals.matrix(K, r @ turn)[0], np.exp(1j * m * angle) * phi, rtol=0, atol=1e-13
    )


def test_spherical_harmonics():
    """phi = R_nl(r) Y_lm: beside those of scipy, whose sign is that of Condon and Shortley."""
    table = spherical_oscillators(OpenSpace((1, 0), 3), 9)
    r = np.random.default_rng(0).normal(size=(5, 3))
    distance = np.linalg.norm(r, axis=1)
    q, l, m = table.num_quanta, table.degrees, table.angular_momenta
    n = (q - l) // 2
    log_norm = math.log(2) + gammaln(n + 1) - gammaln(n + l + 1.5)
    radial = np.exp(log_norm / 2 - distance[:, None] ** 2 / 2) * distance[:, None] ** l
    radial = radial * eval_genlaguerre(n, l + 0.5, distance[:, None] ** 2)
    theta, phi = np.arccos(r[:, 2] / distance)[:, None], np.arctan2(r[:, 1], r[:, 0])[:, None]
    Y = sph_harm_y(l, np.abs(m), theta, phi) * (-1.0) ** np.abs(m)
    expected = radial * np.where(m < 0, Y.conj(), Y)
    found = table.matrix(jnp.arange(len(table)), jnp.asarray(r))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    single = table.matrix(jnp.arange(len(table)), jnp.asarray(r, jnp.float32))
    assert single.dtype == jnp.complex64
    np.testing.assert_allclose(single, expected, rtol=0, atol=2e-5)


def test_high_orbitals_are_eigenfunctions_at_the_centre_and_far_away():
    """q = 16: H phi = (q + 3/2) phi at r = 0 and at the turning point."""
    table = spherical_oscillators(OpenSpace((1, 0), 3), 16)
    K = np.nonzero(table.num_quanta == 16)[0]
    both = value_and_energy(table, K)
    for r in (np.zeros((1, 3)), np.array([[3.0, -2.0, 4.0]])):
        phi, h_phi = both(r)
        np.testing.assert_allclose(h_phi, 17.5 * phi, rtol=0, atol=1e-10)


def test_order_of_the_table():
    assert planar_oscillators(OpenSpace((1, 0), 2), 2.5).num_quanta.tolist() == [0, 1, 1, 2, 2, 2]
    assert planar_oscillators(OpenSpace((1, 0), 2), 1).quanta[1].tolist() == [[0, 1], [1, 0]]
    table = spherical_oscillators(OpenSpace((1, 0), 3), 4.5)
    assert len(table) == math.comb(7, 3)
    assert table.degrees[:10].tolist() == [0, 1, 1, 1, 2, 2, 2, 2, 2, 0]
    assert table.angular_momenta[:10].tolist() == [0, 1, -1, 0, 2, -2, 1, -1, 0, 0]
    assert [fermi_quanta((n, 0), 2) for n in (1, 2, 3, 4, 6, 7)] == [0, 1, 1, 2, 2, 3]
