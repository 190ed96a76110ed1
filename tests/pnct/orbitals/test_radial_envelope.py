"""RadialEnvelope above the densities of oscillator orbitals: the densities themselves, bounds, and the
distribution of proposals.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from scipy.special import eval_genlaguerre, gammaln

from pnct.orbitals.radial_envelope import laguerre_functions, radial_envelope
from pnct.systems.harmonic_trap import HarmonicTrap


def table(cutoff):
    orbitals = HarmonicTrap((1, 0), cutoff=cutoff).orbitals
    return orbitals, radial_envelope(
        tuple(orbitals.num_quanta.tolist()), tuple(orbitals.angular_momenta.tolist())
    )


def test_recursion_gives_the_laguerre_functions():
    s = np.linspace(0, 40, 201)
    for m in (0, 1, 6):
        f = laguerre_functions(s, m, 8)
        for n in (0, 1, 2, 8):
            norm = np.exp((gammaln(n + 1) - gammaln(n + m + 1)) / 2)
            np.testing.assert_allclose(
                f[n], norm * s ** (m / 2) * np.exp(-s / 2) * eval_genlaguerre(n, m, s), atol=1e-12
            )


@pytest.mark.parametrize("cutoff", [0, 3, 14])
def test_rings_lie_above_the_density_but_not_far(cutoff):
    orbitals, rings = table(cutoff)
    r = np.linspace(0, rings.edge, 20_001)[:-1]
    points = jnp.asarray(np.stack([0.6 * r, 0.8 * r], axis=1))
    density = np.abs(np.asarray(orbitals.matrix(jnp.arange(len(orbitals)), points))).T ** 2
    height = rings.heights[:, (r / rings.edge * rings.heights.shape[1]).astype(int)]
    assert np.all(height > density)
    mass = (
        rings.heights
        @ (2 * np.arange(rings.heights.shape[1]) + 1)
        * np.pi
        * (rings.edge / rings.heights.shape[1]) ** 2
    )
    assert np.all(mass > 1) and np.all(mass < 1.3)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_proposals_are_uniform_in_the_angle_and_follow_the_heights(dtype):
    """Numbers in each ring, and the mean s within the first and the last: 5 sigma."""
    _, rings = table(2)
    height = np.zeros(rings.heights.shape[1])
    height[[0, 3, 10]] = 5.0, 1.0, 0.2
    u = random.uniform(random.key(0), (40_000, 2), dtype)
    r, g = jax.jit(rings.propose)(jnp.asarray(height, dtype), u)
    assert r.dtype == g.dtype == dtype
    r = np.asarray(r, float) * len(height) / rings.edge
    s = np.sum(r**2, axis=1)
    ring = np.sqrt(s * (1 - 1e-6)).astype(int)
    np.testing.assert_allclose(g, height[ring], rtol=1e-6)
    p = height * (2 * np.arange(len(height)) + 1)
    p /= p.sum()
    for b in (0, 3, 10):
        assert abs(np.mean(ring == b) - p[b]) < 5 * np.sqrt(p[b] / len(r))
        inside = s[ring == b]
        assert abs(inside.mean() - (b**2 + (b + 1) ** 2) / 2) < 5 * (2 * b + 1) / np.sqrt(12 * len(inside))
    angle = np.arctan2(r[:, 1], r[:, 0])
    for k in (1, 2):
        assert abs(np.mean(np.exp(1j * k * angle))) < 5 / np.sqrt(len(angle))
