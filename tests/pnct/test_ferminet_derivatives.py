"""The fast derivatives of the FermiNet flow are those of automatic differentiation."""

import jax
import numpy as np
import pytest
from small_flow import random_positions

from pnct.flows.derivatives import automatic_derivatives
from pnct.flows.ferminet import ferminet
from pnct.flows.ferminet_derivatives import derivatives
from pnct.system import ElectronGas


def random_weights(flow, seed=0):
    """Every weight and bias drawn anew, so that none is zero."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.normal(size=x.shape, scale=0.5), flow)


@pytest.mark.parametrize(
    "num_electrons, dim, depth",
    [((2, 0), 3, 1), ((3, 0), 2, 2), ((1, 2), 3, 2), ((2, 1), 2, 3)],
)
def test_equal_to_automatic_differentiation(num_electrons, dim, depth):
    cell = ElectronGas(num_electrons, dim, cutoff=4.0).cell
    flow, R = random_weights(ferminet(cell, depth, width=3)(jax.random.key(0))), random_positions(cell)
    found, expected = jax.jit(derivatives)(flow, R), jax.jit(automatic_derivatives)(flow, R)
    for name in expected._fields:
        x, y = getattr(found, name), getattr(expected, name)
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-11 * np.max(np.abs(y)), err_msg=name)


def test_float32():
    cell = ElectronGas((3, 0), 2, cutoff=4.0).cell
    flow, R = random_weights(ferminet(cell, width=3)(jax.random.key(0))), random_positions(cell)
    single = jax.tree.map(lambda x: x.astype(np.float32), (flow, R))
    exact, rounded = jax.jit(derivatives)(flow, R), jax.jit(derivatives)(*single)
    for x, y in zip(rounded, exact, strict=True):
        assert x.dtype == np.float32
        np.testing.assert_allclose(x, y, atol=2e-4 * np.max(np.abs(y)))
