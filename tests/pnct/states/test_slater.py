"""ln Phi_K against its definition, its symmetries, and automatic differentiation."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_flow import random_positions

from pnct.states import slater
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


log_det, derivatives = jax.jit(slater.log_det), jax.jit(slater.derivatives)


def wave(log):
    return complex(np.exp(log))


def as_pair(z):
    return z.real, z.imag


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
    assert np.isclose(wave(log_det(gas.orbitals, K, zeta)), phi, rtol=1e-12)


@gases
def test_derivatives_are_those_of_log_det(gas):
    K, zeta = excited(gas), random_positions(gas.space)
    found = derivatives(gas.orbitals, K, zeta)
    assert np.isclose(found.log_det, log_det(gas.orbitals, K, zeta), rtol=1e-13)

    @jax.jit
    def automatic(zeta):
        """Reverse mode for s, forward over reverse for S."""
        real, phase = (
            jax.grad(lambda z, i=i: as_pair(slater.log_det(gas.orbitals, K, z))[i]) for i in (0, 1)
        )
        return real(zeta) + 1j * phase(zeta), jax.jacfwd(real)(zeta) + 1j * jax.jacfwd(phase)(zeta)

    gradient, hessian = automatic(zeta)
    np.testing.assert_allclose(found.gradient, gradient, atol=1e-11)
    np.testing.assert_allclose(found.hessian, hessian, atol=1e-9)


def test_derivatives_are_finite_differences():
    gas = GASES["2D"]
    K, zeta, h = excited(gas), random_positions(gas.space), 1e-5
    found = derivatives(gas.orbitals, K, zeta)
    direction = np.random.default_rng(0).normal(size=zeta.shape)
    plus, minus = (derivatives(gas.orbitals, K, zeta + step * direction) for step in (h, -h))
    slope = (plus.log_det - minus.log_det) / (2 * h)
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


@gases
def test_total_momentum(gas):
    """A shift of all electrons multiplies Phi by exp(i P.a), so the total gradient is i P."""
    K, zeta = excited(gas), random_positions(gas.space)
    P = np.sum(gas.orbitals.wavevectors[K], axis=0)
    np.testing.assert_allclose(np.sum(derivatives(gas.orbitals, K, zeta).gradient, axis=0), 1j * P, atol=1e-9)


@pytest.mark.parametrize("pair, sign", [((0, 2), -1), ((3, 4), -1)])
def test_exchange_within_a_species_changes_the_sign(pair, sign):
    gas = GASES["2D"]
    K, zeta = excited(gas), random_positions(gas.space)
    swapped = zeta.copy()
    swapped[list(pair)] = zeta[list(pair)[::-1]]
    before, after = (wave(log_det(gas.orbitals, K, z)) for z in (zeta, swapped))
    assert np.isclose(after, sign * before, rtol=1e-12)


@gases
def test_lattice_translation_gives_the_twist_phase(gas):
    K, zeta = excited(gas), random_positions(gas.space)
    moved = zeta.copy()
    moved[1, 1] += gas.L
    before, after = (wave(log_det(gas.orbitals, K, z)) for z in (zeta, moved))
    assert np.isclose(after, np.exp(2j * np.pi * gas.twist[1]) * before, rtol=1e-11)


def test_density_is_normalised():
    """Two like electrons and one unlike, by the trapezoidal rule, which is exact for plane waves."""
    gas = ElectronGas((2, 1), 2, cutoff=1.0)
    points = (np.arange(5) + 0.3) / 5 * gas.L
    grid = np.stack(np.meshgrid(points, points, indexing="ij"), axis=-1).reshape(-1, 2)
    i, j, k = (x.ravel() for x in np.meshgrid(*[np.arange(25)] * 3, indexing="ij"))
    K = np.array([1, 3, 2])
    density = jax.jit(jax.vmap(lambda z: jnp.exp(2 * log_det(gas.orbitals, K, z).real)))
    total = np.sum(density(np.stack([grid[i], grid[j], grid[k]], axis=1)))
    assert np.isclose(total * (gas.L / 5) ** 6, 1.0, rtol=1e-10)


@gases
def test_float32(gas):
    K, zeta = excited(gas), random_positions(gas.space)
    exact = derivatives(gas.orbitals, K, zeta)
    single = derivatives(gas.orbitals, K, zeta.astype(np.float32))
    assert [x.dtype for x in single] == [np.complex64] * 3
    assert np.isclose(wave(single.log_det - exact.log_det), 1.0, atol=1e-4)
    for x, y in zip(single[1:], exact[1:], strict=True):
        np.testing.assert_allclose(x, y, atol=1e-3 * np.max(np.abs(y)))


def test_wrong_shapes_are_named():
    gas = GASES["2D"]
    with pytest.raises(ValueError, match=r"Expected K of shape \(5,\)"):
        slater.log_det(gas.orbitals, np.arange(4), np.zeros((5, 2)))
    with pytest.raises(ValueError, match=r"Expected coordinates of shape \(5, 2\); got \(5, 3\)"):
        slater.derivatives(gas.orbitals, np.arange(5), np.zeros((5, 3)))
