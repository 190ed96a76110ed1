"""The fast derivatives of the FermiNet flow, and of flows after one another, are those of automatic
differentiation.
"""

import importlib
import itertools
import math
import re

import jax
import numpy as np
import pytest
from map_alone import MapAlone
from small_flow import random_positions

from pnct.flows import Composed, Flow, backflow
from pnct.flows.ferminet.derivatives import block_size, derivatives
from pnct.flows.ferminet.network import ferminet
from pnct.flows.irreducible_wedge import Conjugated
from pnct.systems.electron_gas import ElectronGas

CASES = [((2, 0), 3, 1), ((3, 0), 2, 2), ((1, 2), 3, 2), ((2, 1), 2, 3)]
ALL_CASES = itertools.product([(3, 0), (2, 1)], [2, 3], [1, 2, 3])


def random_weights(flow, seed=0):
    """Every weight and bias drawn anew, so that none is zero."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.normal(size=x.shape, scale=0.5), flow)


@pytest.mark.parametrize(
    "num_electrons, dim, depth",
    CASES + [pytest.param(*case, marks=pytest.mark.slow) for case in ALL_CASES if case not in CASES],
)
def test_equal_to_automatic_differentiation(num_electrons, dim, depth):
    space = ElectronGas(num_electrons, dim, cutoff=4.0).space
    flow, R = random_weights(ferminet(space, depth, width=3)(jax.random.key(0))), random_positions(space)
    found, expected = jax.jit(derivatives)(flow, R), jax.jit(Flow.derivatives)(flow, R)
    for name in expected._fields:
        x, y = getattr(found, name), getattr(expected, name)
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-11 * np.max(np.abs(y)), err_msg=name)


def test_in_blocks_of_any_size(monkeypatch):
    """Three blocks, the last one of them half empty, and all electrons at once."""
    space = ElectronGas((3, 2), 2, cutoff=4.0).space
    flow, R = random_weights(ferminet(space, 2, width=3)(jax.random.key(0))), random_positions(space)
    flow = jax.tree.map(lambda x: 0.5 * x, flow)
    assert block_size(space.N, space.dim) == space.N
    whole = jax.jit(derivatives)(flow, R)
    monkeypatch.setattr(importlib.import_module(derivatives.__module__), "CACHED", 1)
    assert block_size(space.N, space.dim) == 2
    parted = jax.jit(lambda flow, R: derivatives(flow, R))(flow, R)  # another function: traced again
    for x, y in zip(parted, whole, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-11 * np.max(np.abs(y)))


@pytest.mark.parametrize("num_electrons, dim", [((3, 0), 2), pytest.param((1, 2), 3, marks=pytest.mark.slow)])
def test_one_flow_after_another(num_electrons, dim):
    """Structured derivatives, those in turned coordinates and automatic ones, each along the frame of the
    flows before.
    """
    space = ElectronGas(num_electrons, dim, cutoff=4.0).space
    makers = ferminet(space, 1, width=3), ferminet(space, 2, width=2), backflow(space, 1, width=2)
    flows = [
        jax.tree.map(lambda x: 0.8 * x, random_weights(make(jax.random.key(0)), i))
        for i, make in enumerate(makers)
    ]
    flows[1] = Conjugated(flows[1], np.eye(dim, dtype=int)[::-1])
    flow, R = Composed(tuple(flows)), random_positions(space)
    found = jax.jit(lambda flow, R: flow.derivatives(R))(flow, R)
    expected = jax.jit(lambda flow, R: MapAlone(flow).derivatives(R))(flow, R)
    for name in expected._fields:
        x, y = getattr(found, name), getattr(expected, name)
        np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-10 * np.max(np.abs(y)), err_msg=name)


def test_float32():
    space = ElectronGas((3, 0), 2, cutoff=4.0).space
    flow, R = random_weights(ferminet(space, width=3)(jax.random.key(0))), random_positions(space)
    single = jax.tree.map(lambda x: x.astype(np.float32), (flow, R))
    exact, rounded = jax.jit(derivatives)(flow, R), jax.jit(derivatives)(*single)
    for x, y in zip(rounded, exact, strict=True):
        assert x.dtype == np.float32
        np.testing.assert_allclose(x, y, atol=2e-4 * np.max(np.abs(y)))


def test_the_pair_stream_is_never_differentiated_by_all_coordinates():
    """Neither for J, nor for the scores: that would take arrays of N^3 dim numbers per feature, as jacfwd
    does.
    """
    space = ElectronGas((5, 4), 3, cutoff=6.0).space
    flow, R = random_weights(ferminet(space, width=4)(jax.random.key(0))), random_positions(space)

    def largest(f):
        shapes = re.findall(r"f64\[([\d,]+)\]", str(jax.make_jaxpr(f)(flow, R)))
        return max(math.prod(map(int, shape.split(","))) for shape in shapes)

    scores = jax.grad(lambda flow, R: flow.forward_and_log_det(R)[1])
    dense = space.N**3 * space.dim * 4
    assert largest(type(flow).jacobian) < dense
    assert largest(scores) < dense
    assert largest(jax.jacfwd(type(flow).__call__, argnums=1)) >= dense
