"""SphericalEnvelope above the densities of oscillator orbitals in space, not far, and the steps inverted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pnct.orbitals.spherical_envelope import CONES, SHELLS, spherical_envelope
from pnct.systems.harmonic_trap import HarmonicTrap


def table(cutoff):
    orbitals = HarmonicTrap((1, 0), dim=3, cutoff=cutoff).orbitals
    numbers = orbitals.num_quanta, orbitals.degrees, orbitals.angular_momenta
    return orbitals, spherical_envelope(*(tuple(x.tolist()) for x in numbers))


@pytest.mark.parametrize("cutoff", [0, 3, 14])
def test_steps_lie_above_the_density_but_not_far(cutoff):
    orbitals, envelope = table(cutoff)
    rng = np.random.default_rng(0)
    r = envelope.edge * rng.uniform(size=20_000) ** 1.5
    theta, angle = np.pi * rng.uniform(size=len(r)), 2 * np.pi * rng.uniform(size=len(r))
    across = np.sin(theta)
    points = r[:, None] * np.stack([across * np.cos(angle), across * np.sin(angle), np.cos(theta)], axis=1)
    density = np.abs(np.asarray(orbitals.matrix(jnp.arange(len(orbitals)), jnp.asarray(points)))).T ** 2
    shell, cone = (r / envelope.edge * SHELLS).astype(int), (theta / np.pi * CONES).astype(int)
    radial = envelope.radial.heights[envelope.radial_row][:, shell]
    height = radial * envelope.polar.heights[envelope.polar_row][:, cone]
    assert np.all(height > density)
    edges = np.cos(np.linspace(0, np.pi, CONES + 1))
    volumes = np.diff((envelope.edge / SHELLS * np.arange(SHELLS + 1)) ** 3) / 3
    mass = 2 * np.pi * (envelope.radial.heights @ volumes)[envelope.radial_row]
    mass = mass * (envelope.polar.heights @ -np.diff(edges))[envelope.polar_row]
    assert np.all(mass > 1) and np.all(mass < 1.45)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_inverse_of_the_distribution_of_the_steps(dtype):
    """Beside the sum of the measures up to the point."""
    _, envelope = table(4)
    row = jnp.asarray([0, 0, 1, 5, 2, 2, 3, 3])
    u = jnp.asarray([0.5, 1e-3, 0.3, 0.999, 0.01, 0.77, 0.0, 1.0], dtype)
    step, within = jax.jit(envelope.radial.invert)(row, u)
    assert within.dtype == dtype
    measure = np.diff((envelope.edge / SHELLS * np.arange(SHELLS + 1)) ** 3) / 3
    for k, s, x, target in zip(row, np.asarray(step), np.asarray(within, float), u, strict=True):
        parts = envelope.radial.heights[k] * measure
        found = (np.sum(parts[:s]) + x * parts[s]) / np.sum(parts)
        np.testing.assert_allclose(found, target, rtol=0, atol=1e-12 if dtype == jnp.float64 else 2e-5)
