"""Laws that every flow obeys. A new flow is tested by one line in FLOWS."""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from map_alone import MapAlone
from random_flow import configuration, random_flow, to_single

from pnct.flows import (
    Composed,
    Flow,
    backflow,
    continuous,
    ferminet,
    proton_cusps,
    radial_pair,
    separated_centre_of_mass,
)
from pnct.flows.irreducible_wedge import Conjugated
from pnct.smooth_space import smooth_space
from pnct.space import OpenSpace
from pnct.systems.electron_gas import ElectronGas


class PairShift(Flow):
    """zeta_i = r_i + a sum_j (L/2 pi) sin(2 pi (r_i - r_j)/L), as a user writes a flow: the map alone."""

    strength: jax.Array
    L: float = eqx.field(static=True)

    def __call__(self, R):
        kappa = 2 * np.pi / self.L
        return R + self.strength / kappa * jnp.sum(jnp.sin(kappa * (R[:, None] - R)), axis=1)


class Row(NamedTuple):
    """space -> (key -> flow), the spread of the random parameters that the laws are tried with, and where."""

    make: object
    spread: float
    spaces: tuple = ("unpolarised 2D", "polarised 3D")  # of which the first has all the laws
    turns: bool = False  # in open space, with the plane
    log_det: float = 1e-12  # error of ln|det J|
    lap_log_det: float = 1e-10  # of its derivatives
    nuclei: bool = False  # at places of their own, around which it is no identity
    slow: bool = False


def each(make, *others):
    """One flow after another, of the same space."""
    makers = make, *others
    return lambda space: lambda key: Composed(tuple(make(space)(key) for make in makers))


def conjugated(space):
    """FermiNet with its axes exchanged, one of them reflected."""
    g = np.roll(np.eye(space.dim, dtype=int), 1, axis=0) * np.where(np.arange(space.dim), 1, -1)
    return lambda key: Conjugated(ferminet(space, depth=1, width=4)(key), g)


def separated(make):
    return lambda space: separated_centre_of_mass(space, make(space))


def small_ferminet(space):
    return ferminet(space, depth=2, width=4)


def small_continuous(space):
    return continuous(space, depth=1, width=5)


def small_radial(space):
    return radial_pair(space, depth=2, width=5)


def small_backflow(space):
    return backflow(space, depth=2, width=5)


def protons_of(space):
    """Two places that none of the electrons is at."""
    return space.L * np.array([[0.11, 0.52, 0.37], [0.63, 0.24, 0.81]])


def with_nuclei(space):
    """FermiNet that sees two nuclei, behind the cusps of both."""

    def make(key):
        X = protons_of(space)
        first = proton_cusps(space)(key).around(X, np.array(1.4))
        return Composed((first, ferminet(space, 2, width=4, nuclear=3)(key).around(X)))

    return make


def cusps_alone(space):
    return lambda key: proton_cusps(space)(key).around(protons_of(space), np.array(1.4))


# every flow in 2D and 3D, polarised and not, without all combinations: compiling takes the time.
# A continuous flow integrates the divergence, in six steps of fifth order.
BY_STEPS = {"turns": True, "log_det": 1e-5, "lap_log_det": 1e-4}
FLOWS = {
    "ferminet": (
        lambda space: ferminet(space, depth=2, width=6),
        0.3,
        ("unpolarised 2D", "polarised 3D", "open 2D"),
    ),
    "ferminet depth 1": (lambda space: ferminet(space, depth=1, width=5), 0.3, ("unpolarised 3D",)),
    "ferminet depth 3": (lambda space: ferminet(space, depth=3, width=4), 0.3, ("polarised 2D",)),
    "backflow": (small_backflow, 0.12, ("unpolarised 3D", "polarised 2D", "open 3D"), True),
    "composed": (each(lambda space: ferminet(space, 1, width=4), small_ferminet), 0.25, ("unpolarised 3D",)),
    "composed in the open": (each(small_backflow, separated(small_backflow)), 0.1, ("open 2D",), True),
    "continuous": Row(small_continuous, 0.15, ("open 2D", "unpolarised 2D"), **BY_STEPS),
    "radial": Row(small_radial, 0.3, ("smooth open pair 3D", "smooth open pair 2D"), turns=True),
    "separated": Row(separated(small_backflow), 0.12, ("open 2D",), True),
    "separated, continuous": Row(separated(small_continuous), 0.15, ("open 2D",), **BY_STEPS, slow=True),
    "continuous, smooth pairs in 3D": Row(small_continuous, 0.15, ("smooth open 3D",), **BY_STEPS, slow=True),
    "continuous, smooth pairs": Row(small_continuous, 0.15, ("smooth open 2D",), **BY_STEPS, slow=True),
    "ferminet, smooth pairs": (small_ferminet, 0.3, ("smooth 2D",)),
    "conjugated": (conjugated, 0.3, ("unpolarised 2D",)),
    "proton cusps": Row(cusps_alone, 0.3, ("unpolarised 3D",), nuclei=True),
    "among protons": Row(with_nuclei, 0.3, ("unpolarised 3D", "polarised 3D"), nuclei=True),
    "the map alone": (lambda space: lambda key: PairShift(jnp.zeros(()), space.L), 0.05),
}
FLOWS = {name: Row(*row) for name, row in FLOWS.items()}
SPACES = {
    "polarised 2D": ElectronGas((4, 0), 2).space,
    "polarised 3D": ElectronGas((3, 0), 3).space,
    "unpolarised 2D": ElectronGas((2, 3), 2).space,
    "unpolarised 3D": ElectronGas((2, 2), 3).space,
    "open 2D": OpenSpace((2, 1), 2),
    "open 3D": OpenSpace((3, 0), 3),
    "smooth open 3D": smooth_space(OpenSpace((2, 1), 3), 0.5),
    "smooth open 2D": smooth_space(OpenSpace((2, 1), 2), 0.5),
    "smooth open pair 3D": smooth_space(OpenSpace((1, 1), 3), 0.5),
    "smooth open pair 2D": smooth_space(OpenSpace((1, 1), 2), 0.5),
    "smooth 2D": smooth_space(ElectronGas((2, 1), 2).space, 0.6),
}
CASES = [(name, space) for name, row in FLOWS.items() for space in row.spaces]


def cases(chosen):
    marked = [(c, pytest.mark.slow if FLOWS[c[0]].slow else ()) for c in chosen]
    return pytest.mark.parametrize(
        ("flow", "space"), [pytest.param(*c, id=", ".join(c), marks=marks) for c, marks in marked]
    )


every_flow = cases(CASES)
periodic_flow = cases(c for c in CASES if "open" not in c[1])
turning_flow = cases(c for c in CASES if "open" in c[1] and FLOWS[c[0]].turns)
shifting_flow = cases(c for c in CASES if "open" not in c[1] and not FLOWS[c[0]].nuclei)
each_flow_once = cases((name, row.spaces[0]) for name, row in FLOWS.items())


@lru_cache
def example(flow, space):
    """A flow with random parameters, and a configuration."""
    row = FLOWS[flow]
    return random_flow(row.make(SPACES[space]), row.spread), configuration(SPACES[space])


evaluate = jax.jit(lambda flow, R: flow(R))
structured = jax.jit(lambda flow, R: flow.jacobian(R))
dense = jax.jit(lambda flow, R: jax.jacfwd(flow)(R).reshape(R.size, R.size))
derivatives = jax.jit(lambda flow, R, frame: (flow.derivatives(R), flow.derivatives(R, frame)))
derivatives_along = jax.jit(lambda flow, R, frame: flow.derivatives(R, frame))


@jax.jit
def invert(flow, zeta):
    """The inversion, and the gradient of R."""

    def total(moving, zeta):
        inversion = eqx.combine(moving, fixed).invert(zeta)
        return jnp.sum(inversion.R), inversion

    moving, fixed = eqx.partition(flow, eqx.is_inexact_array)
    gradient, inversion = jax.grad(total, argnums=(0, 1), has_aux=True)(moving, zeta)
    return inversion, gradient


@each_flow_once
def test_is_the_identity_at_initialisation(flow, space):
    R = configuration(SPACES[space])
    made = FLOWS[flow].make(SPACES[space])(random.key(0))
    assert all(leaf.size for leaf in jax.tree.leaves(made))
    if FLOWS[flow].nuclei:  # all but the cusps
        made = Composed(made.flows[1:]) if isinstance(made, Composed) else Composed(())
    if "separated" in flow or "open" in flow:  # the identity, and then A
        np.testing.assert_allclose(np.linalg.norm(evaluate(made, R)), np.linalg.norm(R), rtol=1e-14)
    else:
        np.testing.assert_array_equal(evaluate(made, R), R)


@every_flow
def test_structured_jacobian_is_the_derivative(flow, space):
    T, R = example(flow, space)
    zeta, J = structured(T, R)
    np.testing.assert_allclose(zeta, evaluate(T, R), rtol=0, atol=1e-13)
    np.testing.assert_allclose(J, dense(T, R), rtol=0, atol=1e-13)
    # the example is a bijection, and not trivial
    assert np.linalg.det(J) > 0 and np.max(np.abs(J - np.eye(R.size))) > 0.02


@each_flow_once
def test_scores_of_the_log_determinant(flow, space):
    """Reverse mode in the parameters, against a central difference along a random direction: error 1e-8."""
    T, R = example(flow, space)
    rng = np.random.default_rng(0)
    parameters, constants = eqx.partition(T, eqx.is_inexact_array)
    along = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), parameters)

    def log_det(parameters):
        return jnp.linalg.slogdet(eqx.combine(parameters, constants).jacobian(R)[1])[1]

    score = jax.jit(jax.grad(log_det))(parameters)
    h = 1e-5

    def moved(h):
        T = eqx.combine(jax.tree.map(lambda x, dx: x + h * dx, parameters, along), constants)
        return np.linalg.slogdet(dense(T, R))[1]

    expected = (moved(h) - moved(-h)) / (2 * h)
    ours = sum(np.sum(g * dx) for g, dx in zip(jax.tree.leaves(score), jax.tree.leaves(along), strict=True))
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-6)


@every_flow
def test_inverse_without_a_gradient(flow, space):
    T, R = example(flow, space)
    inversion, gradient = invert(T, evaluate(T, R))
    assert inversion.converged and 1 <= inversion.iterations <= 12
    np.testing.assert_allclose(inversion.R, R, rtol=0, atol=1e-11)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))


@every_flow
def test_log_determinant_is_that_of_the_jacobian(flow, space):
    T, R = example(flow, space)
    zeta, log_det = jax.jit(lambda T, R: T.forward_and_log_det(R))(T, R)
    np.testing.assert_allclose(zeta, evaluate(T, R), rtol=0, atol=1e-13)
    exact = np.linalg.slogdet(dense(T, R))[1]
    np.testing.assert_allclose(log_det, exact, rtol=0, atol=FLOWS[flow].log_det)


@each_flow_once
def test_derivatives_are_those_of_the_map(flow, space):
    """By R, and along a frame."""
    T, R = example(flow, space)
    C = np.eye(R.size) + 0.2 * np.random.default_rng(9).normal(size=(R.size, R.size))
    for found, frame in zip(derivatives(T, R, C), (np.eye(R.size), C), strict=True):
        exact = derivatives_along(MapAlone(T), R, frame)
        for name in exact._fields:
            x, y = getattr(found, name), getattr(exact, name)
            atol = FLOWS[flow].lap_log_det if "log_det" in name else 1e-11
            assert x.dtype == y.dtype and x.shape == y.shape
            np.testing.assert_allclose(x, y, rtol=1e-10, atol=atol * max(1, np.max(np.abs(y))), err_msg=name)


@periodic_flow
def test_periodic(flow, space):
    T, R = example(flow, space)
    lattice = SPACES[space].L * np.random.default_rng(0).integers(-2, 3, R.shape)
    np.testing.assert_allclose(evaluate(T, R + lattice), evaluate(T, R) + lattice, rtol=0, atol=1e-12)


@every_flow
def test_equivariant_under_permutations_within_a_species(flow, space):
    T, R = example(flow, space)
    order = np.concatenate([np.roll(np.arange(SPACES[space].N)[s], 1) for s in SPACES[space].species])
    np.testing.assert_allclose(evaluate(T, R[order]), evaluate(T, R)[order], rtol=0, atol=1e-13)


@shifting_flow
def test_equivariant_under_translations(flow, space):
    T, R = example(flow, space)
    shift = jnp.arange(1.0, R.shape[1] + 1) / 3
    np.testing.assert_allclose(evaluate(T, R + shift), evaluate(T, R) + shift, rtol=0, atol=1e-13)


@turning_flow
def test_equivariant_under_rotations(flow, space):
    T, R = example(flow, space)
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(R.shape[1],) * 2))[0]
    np.testing.assert_allclose(evaluate(T, R @ rotation), evaluate(T, R) @ rotation, rtol=0, atol=1e-13)


@each_flow_once
def test_float32_is_close_to_float64_and_stays_float32(flow, space):
    T, R = example(flow, space)
    single = to_single(T)
    zeta, J = structured(T, R)
    zeta32, J32 = structured(single, to_single(R))
    inversion, _ = invert(single, zeta32)
    assert {x.dtype for x in (zeta32, J32, inversion.R)} == {np.dtype(np.float32)}
    assert evaluate(single, to_single(R)).dtype == np.float32
    np.testing.assert_allclose(zeta32, zeta, rtol=0, atol=1e-5)
    np.testing.assert_allclose(J32, J, rtol=0, atol=1e-5)
    assert inversion.converged
    np.testing.assert_allclose(inversion.R, R, rtol=0, atol=1e-3)


def test_sizes_are_checked():
    for make in (ferminet, backflow, continuous):
        with pytest.raises(ValueError, match="Expected depth to be a whole number >= 1; got 0"):
            make(SPACES["polarised 2D"], depth=0)
    with pytest.raises(ValueError, match="Expected steps to be a whole number >= 1; got 0"):
        continuous(SPACES["polarised 2D"], steps=0)
    with pytest.raises(ValueError, match=r"Expected one fermion of each spin; got \(2, 1\)"):
        radial_pair(SPACES["smooth open 2D"])


def test_the_flow_of_a_pair_is_the_continuous_one_without_a_centre():
    """With the same eta and xi = 0, but for what the steps of the integrations leave."""
    space = SPACES["smooth open pair 3D"]
    radial, R = example("radial", "smooth open pair 3D")
    whole = continuous(space, depth=2, width=5, steps=24)(random.key(0))
    whole = eqx.tree_at(lambda flow: flow.eta, whole, radial.eta)
    found = evaluate(replace(radial, steps=24), R)
    assert np.max(np.abs(found - R)) > 0.02
    np.testing.assert_allclose(found, evaluate(whole, R), rtol=0, atol=1e-7)


def test_a_flow_without_a_map_is_none():
    class Nothing(Flow):
        pass

    with pytest.raises(TypeError, match="__call__"):
        Nothing()
