"""Oscillator orbitals: eigenfunctions, their order; what positions in 3D are proposed from."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import eval_hermite

from pnct.orbitals.oscillator import fermi_quanta, hermite_functions, oscillators, step_envelope
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


@pytest.mark.parametrize("highest", [0, 5, 14])
def test_steps_lie_above_the_density_but_not_far(highest):
    steps = step_envelope(highest)
    x = np.linspace(-steps.edge, steps.edge, 200_001)
    step = np.minimum(
        (x + steps.edge) / (2 * steps.edge) * steps.heights.shape[1], steps.heights.shape[1] - 1
    ).astype(int)
    density = np.asarray(hermite_functions(jnp.asarray(x), highest)) ** 2
    assert np.all(steps.heights[:, step] > density)
    mass = np.sum(steps.heights, axis=1) * 2 * steps.edge / steps.heights.shape[1]
    np.testing.assert_allclose(mass, steps.mass, rtol=1e-12)
    assert np.all(mass < 1.3)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_inverse_of_the_distribution_of_the_steps(dtype):
    """Beside the sum of the heights up to x."""
    steps, n = step_envelope(12), jnp.asarray([0, 0, 1, 5, 12, 12, 3, 3])
    u = jnp.asarray([0.5, 1e-3, 0.3, 0.999, 0.01, 0.77, 0.0, 1.0], dtype)
    x, step = jax.jit(steps.invert)(n, u)
    assert x.dtype == dtype
    width = 2 * steps.edge / steps.heights.shape[1]
    position = (np.asarray(x, float) + steps.edge) / width
    below = [
        np.sum(steps.heights[k, :s]) + (p - s) * steps.heights[k, s]
        for k, s, p in zip(n, step, position, strict=True)
    ]
    np.testing.assert_allclose(
        np.array(below) * width / steps.mass[n], u, rtol=0, atol=1e-12 if dtype == jnp.float64 else 2e-5
    )


@pytest.mark.parametrize("dim", [2, 3])
def test_orbitals_are_eigenfunctions(dim):
    trap = HarmonicTrap((1, 0), dim=dim, cutoff=3)
    K, r = jnp.arange(len(trap.orbitals)), jnp.asarray(np.random.default_rng(0).normal(size=(1, dim)))

    def phi(r):
        return trap.orbitals.matrix(K, r)[0]

    laplacian = np.einsum("laa->l", np.asarray(jax.jacfwd(jax.jacfwd(phi))(r))[:, 0, :, 0, :])
    h_phi = -laplacian / 2 + np.sum(r**2) / 2 * phi(r)
    np.testing.assert_allclose(h_phi, trap.orbital_energies * phi(r), rtol=0, atol=1e-12)


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


def test_order_of_the_table():
    assert oscillators(OpenSpace((1, 0), 2), 2.5).num_quanta.tolist() == [0, 1, 1, 2, 2, 2]
    assert oscillators(OpenSpace((1, 0), 2), 1).quanta[1].tolist() == [[0, 1], [1, 0]]
    assert len(oscillators(OpenSpace((1, 0), 3), 4.5)) == math.comb(7, 3)
    assert [fermi_quanta((n, 0), 2) for n in (1, 2, 3, 4, 6, 7)] == [0, 1, 1, 2, 2, 3]
