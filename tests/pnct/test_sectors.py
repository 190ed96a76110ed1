"""A flow for every total momentum: orthonormal states, one flow at first, and the symmetry that its parameters keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from pnct.distributions.born import Born
from pnct.flows import by_momentum, continuous, ferminet
from pnct.system import ElectronGas


def random_flows(cell, spread=0.3):
    """Flows with random parameters and random slopes."""
    rng, make = np.random.default_rng(7), by_momentum(ferminet(cell, depth=2, width=5))
    return jax.tree.map(lambda x: jnp.asarray(spread * rng.normal(size=x.shape)), jax.eval_shape(make, random.key(0)))


def far_apart(T, U, R):
    return float(jnp.max(jnp.abs(T(R) - U(R))))


@pytest.mark.parametrize("num_electrons", [(2, 0), (1, 1)])
def test_orthonormal(num_electrons):
    """<Psi_K|Psi_K'> = delta by quadrature over both electrons of a 2D cell, for pairs of states of equal and of other momenta.

    The cusp at r = 0 leaves an error of third order in the spacing of r; that of the centre of mass is exact.
    """
    gas = ElectronGas(num_electrons, 2, twist=0.25, cutoff=2.0)
    flows = random_flows(gas.cell, 0.1)
    Ks = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 4)] if num_electrons == (2, 0) else [(0, 0), (0, 1), (1, 0), (1, 2), (0, 3)]
    points, centres = 40, 5
    grid = lambda n: np.stack(np.meshgrid(*[(np.arange(n) + 0.5) / n] * 2, indexing="ij"), axis=-1).reshape(-1, 2)  # noqa: E731
    r, centre = gas.L * grid(points), gas.L * grid(centres)
    R = jnp.asarray(np.stack([centre[:, None] + r, centre[:, None] + 0 * r], axis=2).reshape(-1, 2, 2))

    def psi(K):
        born = Born(gas.orbitals, K, flows(gas.orbitals.total_momentum(K)))
        return jnp.exp(jax.lax.map(jax.vmap(born.log_psi), R.reshape(centres**2, -1, 2, 2)).ravel())

    psi = np.stack([jax.jit(psi)(jnp.array(K)) for K in Ks])
    overlap = psi.conj() @ psi.T * gas.L**4 / (points * centres) ** 2
    np.testing.assert_allclose(overlap, np.eye(len(Ks)), rtol=0, atol=2e-3)
    momenta = np.round(np.stack([gas.orbitals.total_momentum(np.array(K)) for K in Ks]), 9)
    assert 1 < len(np.unique(momenta, axis=0)) < len(Ks)


def test_one_flow_at_first():
    gas = ElectronGas((3, 1), 3, cutoff=3.0)
    make = ferminet(gas.cell, depth=2, width=5)
    flows, R = by_momentum(make)(random.key(1)), random.uniform(random.key(0), (4, 3)) * gas.L
    T = flows(gas.orbitals.total_momentum(jnp.array([0, 2, 5, 1])))
    for ours, theirs in zip(jax.tree.leaves(T), jax.tree.leaves(make(random.key(1))), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert np.max(np.abs(T(R) - R)) == 0


def test_only_the_momentum_of_relative_motion_counts():
    """Equal flows for equal P, and where all electrons gain one reciprocal-lattice vector; others for others."""
    gas = ElectronGas((3, 0), 2, twist=0.25, cutoff=9.0)
    flows, R = random_flows(gas.cell), random.uniform(random.key(0), (3, 2)) * gas.L
    n = np.round(gas.orbitals.indices - 0.25).astype(int).tolist()
    at = lambda *vectors: flows(gas.orbitals.total_momentum(jnp.array([n.index(list(v)) for v in vectors])))  # noqa: E731
    ground = at((0, 0), (-1, 0), (0, -1))
    assert far_apart(ground, at((0, 0), (-1, 1), (0, -2)), R) < 1e-12
    assert far_apart(ground, at((1, 0), (0, 0), (1, -1)), R) < 1e-12
    assert far_apart(ground, at((0, 0), (-1, 0), (-1, -1)), R) > 1e-3


def test_flows_without_a_total_momentum_are_refused():
    gas = ElectronGas((2, 0), 2, cutoff=2.0)
    with pytest.raises(ValueError, match=r"^Expected a function key -> FermiNet of a periodic cell; got one to Continuous"):
        by_momentum(continuous(gas.cell))(random.key(0))
