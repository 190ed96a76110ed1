"""Flows for every total angular momentum: they turn with the plane, and Psi_K has the angular momentum of its determinant."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from pnct import HarmonicTrap
from pnct.distributions import Born
from pnct.flows import by_angular_momentum, continuous, separated_centres

TRAP = HarmonicTrap((2, 1), cutoff=4)
STATES = [[0, 1, 0], [0, 1, 2], [1, 3, 2], [2, 4, 1], [3, 6, 5]]  # M = 1, 0, 2, -2, 5


def shaken(flows, spread=0.2):
    """With random parameters; the angular momenta of the table, a numpy array, are none."""
    rng = np.random.default_rng(5)
    return jax.tree.map(lambda x: spread * rng.normal(size=x.shape) if isinstance(x, jax.Array) else x, flows)


def random_flows():
    return shaken(by_angular_momentum(TRAP, depth=1, width=4, steps=8)(random.key(0)))


def test_one_flow_at_first():
    flows = by_angular_momentum(TRAP, depth=1, width=4, steps=8)(random.key(0))
    flow = separated_centres(TRAP.cell, continuous(TRAP.cell, depth=1, width=4, steps=8))(random.key(0))
    for K in STATES:
        assert all(jax.tree.leaves(jax.tree.map(jnp.array_equal, flows(jnp.array(K)), flow)))


def test_a_flow_for_each_size_of_the_angular_momentum():
    flows, R = random_flows(), random.normal(random.key(1), (3, 2))
    zeta = jax.jit(lambda K: jax.lax.map(lambda K: flows(K)(R), K))(jnp.array(STATES))
    np.testing.assert_array_equal(zeta[2], zeta[3])
    apart = [np.max(np.abs(zeta[i] - zeta[j])) for i, j in ((0, 1), (0, 2), (1, 2), (2, 4))]
    assert min(apart) > 1e-3


@pytest.mark.parametrize("K", STATES[:3])
def test_turns_with_the_plane(K):
    """T(R g) = T(R) g for rotations and reflections g, and Psi_K(R turned by a) = exp(i M a) Psi_K(R)."""
    K, R, angle = jnp.array(K), random.normal(random.key(1), (3, 2)), 0.7
    flow, M = random_flows()(K), np.sum(TRAP.orbitals.angular_momenta[np.asarray(K)])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    psi = lambda R: (flow(R), Born(TRAP.orbitals, K, flow).log_psi(R))  # noqa: E731
    zeta, log = jax.jit(lambda R: jax.lax.map(psi, R))(jnp.stack([R, R @ turn, R * jnp.array([1, -1])]))
    np.testing.assert_allclose(zeta[1:], [zeta[0] @ turn, zeta[0] * jnp.array([1, -1])], rtol=0, atol=1e-13)
    np.testing.assert_allclose(np.exp(log[1] - log[0]), np.exp(1j * M * angle), rtol=1e-12)


def test_one_flow_in_three_dimensions():
    trap = HarmonicTrap((2, 0), cutoff=2, dim=3)
    flows = shaken(by_angular_momentum(trap, depth=1, width=2, steps=4)(random.key(0)))
    R = random.normal(random.key(1), (2, 3))
    zeta = jax.jit(lambda K: jax.lax.map(lambda K: flows(K)(R), K))(jnp.array([[0, 1], [2, 5]]))
    np.testing.assert_array_equal(zeta[0], zeta[1])
    assert np.max(np.abs(zeta[0] - R)) > 1e-2
