"""Slater determinants against their definition and finite differences; what all states obey: test_states."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_flow import random_positions

from pnct.states.slater import as_states
from pnct.systems.electron_gas import ElectronGas

GASES = {
    "2D polarised": ElectronGas((5, 0), 2, twist=(0.25, 0.1), cutoff=6.0),
    "2D": ElectronGas((3, 2), 2, cutoff=4.0),
    "3D": ElectronGas((2, 4), 3, twist=0.25, cutoff=3.0),
    "3D down only": ElectronGas((0, 3), 3, cutoff=3.0),
}
gases = pytest.mark.parametrize("gas", GASES.values(), ids=GASES.keys())


def excited(gas, seed=3):
    """An excited state: strictly increasing indices in each species."""
    rng = np.random.default_rng(seed)
    return np.concatenate([np.sort(rng.permutation(len(gas.orbitals))[:n]) for n in gas.num_electrons])


@jax.jit
def log_amplitude(orbitals, K, zeta):
    return as_states(orbitals).log_amplitude(K, zeta)


@jax.jit
def derivatives(orbitals, K, zeta):
    return as_states(orbitals).derivatives(K, zeta)


def wave(log):
    return complex(np.exp(log))


@gases
def test_is_the_sum_over_permutations(gas):
    K, zeta, k = excited(gas), random_positions(gas.space), gas.orbitals.wavevectors
    phi = 1.0
    for i in gas.space.species:
        phases, n = zeta[i] @ k[K[i]].T, len(K[i])
        terms = [
            np.linalg.det(np.eye(n)[list(p)]) * np.exp(1j * sum(phases[range(n), p]))
            for p in itertools.permutations(range(n))
        ]
        phi *= sum(terms) / np.sqrt(math.factorial(n)) / gas.L ** (n * gas.dim / 2)
    assert np.isclose(wave(log_amplitude(gas.orbitals, K, zeta)), phi, rtol=1e-12)


def test_derivatives_are_finite_differences():
    gas = GASES["2D"]
    K, zeta, h = excited(gas), random_positions(gas.space), 1e-5
    found = derivatives(gas.orbitals, K, zeta)
    direction = np.random.default_rng(0).normal(size=zeta.shape)
    plus, minus = (derivatives(gas.orbitals, K, zeta + step * direction) for step in (h, -h))
    slope = (plus.log_amplitude - minus.log_amplitude) / (2 * h)
    curvature = (plus.gradient - minus.gradient) / (2 * h)
    np.testing.assert_allclose(np.sum(found.gradient * direction), slope, rtol=1e-7)
    np.testing.assert_allclose(
        np.einsum("iajb,jb->ia", found.hessian, direction), curvature, rtol=1e-6, atol=1e-6
    )


@gases
def test_kinetic_energy_of_plane_waves(gas):
    """-Lap Phi = sum |k|^2 Phi, whatever the positions."""
    K, zeta = excited(gas), random_positions(gas.space)
    found = derivatives(gas.orbitals, K, zeta)
    laplacian = jnp.einsum("iaia->", found.hessian) + jnp.sum(found.gradient**2)
    assert np.isclose(-laplacian, np.sum(gas.orbitals.wavevectors[K] ** 2), rtol=1e-9)


def test_density_is_normalised():
    """Two like electrons and one unlike, by the trapezoidal rule, which is exact for plane waves."""
    gas = ElectronGas((2, 1), 2, cutoff=1.0)
    points = (np.arange(5) + 0.3) / 5 * gas.L
    grid = np.stack(np.meshgrid(points, points, indexing="ij"), axis=-1).reshape(-1, 2)
    i, j, k = (x.ravel() for x in np.meshgrid(*[np.arange(25)] * 3, indexing="ij"))
    K = np.array([1, 3, 2])
    density = jax.jit(jax.vmap(lambda z: jnp.exp(2 * log_amplitude(gas.orbitals, K, z).real)))
    total = np.sum(density(np.stack([grid[i], grid[j], grid[k]], axis=1)))
    assert np.isclose(total * (gas.L / 5) ** 6, 1.0, rtol=1e-10)
