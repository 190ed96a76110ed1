"""Flows in turned coordinates: their derivatives and inverse, which momenta share one, and that images have
equal energies.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from small_flow import random_positions, small_flow

from pnct.distributions import Born
from pnct.flows import Flow, by_sector, ferminet, in_irreducible_wedge
from pnct.flows.irreducible_wedge import Conjugated
from pnct.hamiltonian import hamiltonian
from pnct.systems.electron_gas import ElectronGas

TURN = jnp.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]])
CELL = ElectronGas((2, 1), 3).space


class Turned(Flow):
    """The map of the conjugated flow, written out."""

    def __call__(self, R):
        return small_flow(CELL)(R @ TURN.T) @ TURN


def test_derivatives_and_inverse():
    flow, R = Conjugated(small_flow(CELL), TURN), random_positions(CELL)
    expected = jax.jit(lambda R: Turned().derivatives(R))(R)
    for name, x in jax.jit(lambda R: flow.derivatives(R))(R)._asdict().items():
        np.testing.assert_allclose(x, getattr(expected, name), rtol=1e-9, atol=1e-10, err_msg=name)
    np.testing.assert_allclose(flow.jacobian(R)[1], expected.jacobian, atol=1e-12)
    zeta, log_det = flow.forward_and_log_det(R)
    np.testing.assert_allclose(zeta, expected.zeta, atol=1e-13)
    assert float(log_det) == pytest.approx(float(expected.log_det), rel=1e-10)
    found = jax.jit(lambda zeta: flow.invert(zeta))(zeta)
    assert found.converged
    np.testing.assert_allclose(found.R, R, atol=1e-9)


@pytest.mark.parametrize("twist", [0.0, 0.25, 0.5, (0.0, 0.25)])
def test_ordered_momenta(twist):
    """Momenta that the table's symmetries relate, up to N reciprocal-lattice vectors, become one; g is such a
    symmetry.
    """
    gas = ElectronGas((3, 0), 2, twist=twist, cutoff=4.0)
    table, order, unit = gas.orbitals, gas.orbitals.wedge_map(), 2 * np.pi / gas.L
    assert (order.exchanges, order.reflections) == (not isinstance(twist, tuple), twist in (0.0, 0.5))
    P = unit * (
        3 * np.broadcast_to(twist, 2) + np.stack(np.meshgrid(*[np.arange(-4, 5)] * 2), axis=-1).reshape(-1, 2)
    )
    g = np.asarray(jax.vmap(order)(jnp.asarray(P)))
    np.testing.assert_allclose(g @ np.swapaxes(g, 1, 2), np.broadcast_to(np.eye(2), g.shape))
    listed = {tuple(k) for k in np.round(table.indices, 6) + 0.0}
    assert all({tuple(k) for k in np.round(table.indices @ g.T, 6) + 0.0} == listed for g in g)
    ordered = np.einsum("pab,pb->pa", g, P) / unit
    classes = np.unique(np.round(ordered - 3 * np.round(ordered / 3 - 1e-4), 4), axis=0)
    assert len(classes) == {0.0: 3, 0.25: 6, 0.5: 3}.get(twist, 9)


@pytest.mark.parametrize(
    ("make", "twist"), [(by_sector, 0.0), (by_sector, 0.25), (in_irreducible_wedge, 0.0)]
)
def test_images_have_equal_energies(make, twist):
    """E_loc of a state and R is that of its image and R turned, where no symmetry but 1 leaves its momentum
    as it is.
    """
    gas = ElectronGas((5, 0), 2, rs=2.0, twist=twist, cutoff=6.0)
    rng = np.random.default_rng(3)
    flows = make(gas.orbitals, ferminet(gas.space, depth=2, width=4))(random.key(0))
    flows = jax.tree.map(
        lambda x: jnp.asarray(0.1 * rng.normal(size=x.shape)) if isinstance(x, jax.Array) else x, flows
    )
    n = np.round(gas.orbitals.indices - twist).astype(int)
    place = {tuple(k): i for i, k in enumerate(n.tolist())}
    g = np.array([[0, 1], [1, 0]] if twist else [[0, -1], [1, 0]])
    K = sorted(place[k] for k in ((0, 0), (1, 0), (-1, 0), (0, 1), (2, 0)))
    image, R = sorted(place[tuple(g @ n[k])] for k in K), random_positions(gas.space)

    @jax.jit
    def energy(K, R):
        born = Born(gas.orbitals, K, flows(gas.orbitals.quantum_numbers(K)))
        return hamiltonian(gas).local_energy(born, R).total

    found = [complex(energy(jnp.array(k), x)) for k, x in ((K, R), (image, R @ g.T), (image, R))]
    assert found[1] == pytest.approx(found[0], rel=1e-9)
    assert abs(found[2] - found[0]) > 1e-3


def test_one_flow_stays_as_it_is_where_there_are_no_reflections_and_keeps_its_precision():
    P = jnp.array([0.5, -1.5])
    for twist, turned in ((0.0, True), (0.25, False)):
        gas = ElectronGas((5, 0), 2, twist=twist, cutoff=6.0)
        flow = in_irreducible_wedge(gas.orbitals, ferminet(gas.space, depth=1, width=4))(random.key(0))(P)
        assert isinstance(flow, Conjugated) == turned
        single = jax.tree.map(
            lambda x: x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x, flow
        )
        assert Born(gas.orbitals, gas.ground_state, single).dtype == jnp.float32
