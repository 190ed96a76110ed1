"""Laws that every flow obeys. A new flow is tested by one line in FLOWS."""

from dataclasses import replace
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from pnct.distributions.born import Born
from pnct.flows import (
    CanonicalTransformation,
    Composed,
    FermiNet,
    backflow,
    continuous,
    damped_newton,
    ferminet,
    forward_and_log_det,
    jacobian,
    separated_centre_of_mass,
)
from pnct.flows import invert as inverse_of
from pnct.flows.base import automatic_derivatives
from pnct.flows.continuous.network import MAX_CORRECTIONS
from pnct.flows.ferminet.network import PairLayer, SingleLayer
from pnct.networks.layers import softplus
from pnct.orbitals.plane_waves import PlaneWaves
from pnct.space import Cell, OpenSpace
from pnct.systems.electron_gas import ElectronGas

# name -> constructor, and the spread of the random parameters that the laws are tried with
FLOWS = {
    "ferminet": (lambda space: ferminet(space, depth=2, width=6), 0.3),
    "ferminet depth 1": (lambda space: ferminet(space, depth=1, width=5), 0.3),
    "ferminet depth 3": (lambda space: ferminet(space, depth=3, width=4), 0.3),
    "backflow": (lambda space: backflow(space, depth=2, width=5), 0.12),
    "composed": (
        lambda space: (
            lambda key: Composed((ferminet(space, 1, width=4)(key), ferminet(space, 2, width=4)(key)))
        ),
        0.25,
    ),
    "continuous": (lambda space: continuous(space, depth=1, width=5), 0.15),
    "separated": (lambda space: separated_centre_of_mass(space, continuous(space, depth=1, width=5)), 0.15),
}
CELLS = {
    "polarised 2D": ElectronGas((4, 0), 2).space,
    "polarised 3D": ElectronGas((3, 0), 3).space,
    "unpolarised 2D": ElectronGas((2, 3), 2).space,
    "unpolarised 3D": ElectronGas((2, 2), 3).space,
    "one of each": ElectronGas((1, 1), 2).space,
    "one": ElectronGas((1, 0), 2).space,
    "open 2D": OpenSpace((2, 1), 2),
    "open 3D": OpenSpace((3, 0), 3),
}
# every flow in 2D and 3D, polarised and not, without all combinations: compiling takes the time
CASES = [
    ("ferminet", "polarised 3D"),
    ("ferminet", "unpolarised 2D"),
    ("ferminet depth 1", "unpolarised 3D"),
    ("ferminet depth 3", "polarised 2D"),
    ("backflow", "polarised 2D"),
    ("backflow", "unpolarised 3D"),
    ("composed", "unpolarised 3D"),
    ("continuous", "unpolarised 2D"),
    ("ferminet", "open 2D"),
    ("backflow", "open 3D"),
    ("continuous", "open 2D"),
    ("separated", "open 2D"),
]
every_flow = pytest.mark.parametrize(
    ("flow", "space"), [pytest.param(*case, id=", ".join(case)) for case in CASES]
)
periodic_flow = pytest.mark.parametrize(
    ("flow", "space"), [pytest.param(*case, id=", ".join(case)) for case in CASES if "open" not in case[1]]
)
radial_flow = pytest.mark.parametrize(("flow", "space"), CASES[-3:])
some_flows = pytest.mark.parametrize(("flow", "space"), [CASES[1], CASES[5], CASES[10]])


@lru_cache
def example(flow, space):
    """A flow with random parameters, and a configuration."""
    make, spread = FLOWS[flow]
    rng = np.random.default_rng(7)
    empty = jax.eval_shape(make(CELLS[space]), random.key(0))
    return jax.tree.map(lambda x: jnp.asarray(spread * rng.normal(size=x.shape)), empty), configuration(
        CELLS[space]
    )


def configuration(space):
    rng = np.random.default_rng(8)
    shape = space.N, space.dim
    return jnp.asarray(
        rng.uniform(0, space.L, shape) if isinstance(space, Cell) else 1.5 * rng.normal(size=shape)
    )


evaluate = jax.jit(lambda flow, R: flow(R))
structured = jax.jit(jacobian)
dense = jax.jit(lambda flow, R: jax.jacfwd(flow)(R).reshape(R.size, R.size))
invert = jax.jit(inverse_of)
log_psi = jax.jit(lambda born, R: born.log_psi(R))


@some_flows
def test_is_the_identity_at_initialisation(flow, space):
    R = configuration(CELLS[space])
    made = jax.jit(FLOWS[flow][0](CELLS[space]))(random.key(0))
    assert all(leaf.size for leaf in jax.tree.leaves(made))
    np.testing.assert_array_equal(evaluate(made, R), R)


@every_flow
def test_structured_jacobian_is_the_derivative(flow, space):
    T, R = example(flow, space)
    zeta, J = structured(T, R)
    np.testing.assert_allclose(zeta, evaluate(T, R), rtol=0, atol=1e-13)
    np.testing.assert_allclose(J, dense(T, R), rtol=0, atol=1e-13)
    # the example is a bijection, and not trivial
    assert np.linalg.det(J) > 0 and np.max(np.abs(J - np.eye(R.size))) > 0.02


@some_flows
def test_scores_of_the_log_determinant(flow, space):
    """Reverse mode in the parameters, against a central difference along a random direction: error 1e-8."""
    T, R = example(flow, space)
    rng = np.random.default_rng(0)
    along = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), T)
    score = jax.jit(jax.grad(lambda T: jnp.linalg.slogdet(jacobian(T, R)[1])[1]))(T)
    h, moved = 1e-5, lambda h: jax.tree.map(lambda x, dx: x + h * dx, T, along)

    def log_det(T):
        return np.linalg.slogdet(dense(T, R))[1]

    expected = (log_det(moved(h)) - log_det(moved(-h))) / (2 * h)
    ours = sum(np.sum(g * dx) for g, dx in zip(jax.tree.leaves(score), jax.tree.leaves(along), strict=True))
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-6)


def test_scores_of_the_log_determinant_are_exact():
    T, R = example("ferminet", "unpolarised 2D")

    def by(jac):
        return jax.jit(jax.grad(lambda T: jnp.linalg.slogdet(jac(T))[1]))(T)

    ours = by(lambda T: jacobian(T, R)[1])
    theirs = by(lambda T: jax.jacfwd(T)(R).reshape(R.size, R.size))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


@every_flow
def test_inverse(flow, space):
    T, R = example(flow, space)
    inversion = invert(T, evaluate(T, R))
    assert inversion.converged and 1 <= inversion.iterations <= 12
    np.testing.assert_allclose(inversion.R, R, rtol=0, atol=1e-11)


@every_flow
def test_log_determinant_is_that_of_the_jacobian(flow, space):
    T, R = example(flow, space)
    zeta, log_det = jax.jit(forward_and_log_det)(T, R)
    np.testing.assert_allclose(zeta, evaluate(T, R), rtol=0, atol=1e-13)
    # a continuous flow integrates the divergence, in six steps of fifth order
    exact = np.linalg.slogdet(dense(T, R))[1]
    np.testing.assert_allclose(
        log_det, exact, rtol=0, atol=1e-5 if flow in ("continuous", "separated") else 1e-12
    )


@periodic_flow
def test_periodic(flow, space):
    T, R = example(flow, space)
    lattice = CELLS[space].L * np.random.default_rng(0).integers(-2, 3, R.shape)
    np.testing.assert_allclose(evaluate(T, R + lattice), evaluate(T, R) + lattice, rtol=0, atol=1e-12)


@every_flow
def test_equivariant_under_permutations_within_a_species(flow, space):
    T, R = example(flow, space)
    order = np.concatenate([np.roll(np.arange(CELLS[space].N)[s], 1) for s in CELLS[space].species])
    np.testing.assert_allclose(evaluate(T, R[order]), evaluate(T, R)[order], rtol=0, atol=1e-13)


@periodic_flow
def test_equivariant_under_translations(flow, space):
    T, R = example(flow, space)
    shift = jnp.arange(1.0, R.shape[1] + 1) / 3
    np.testing.assert_allclose(evaluate(T, R + shift), evaluate(T, R) + shift, rtol=0, atol=1e-13)


@radial_flow
def test_equivariant_under_rotations(flow, space):
    T, R = example(flow, space)
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(R.shape[1],) * 2))[0]
    np.testing.assert_allclose(evaluate(T, R @ rotation), evaluate(T, R) @ rotation, rtol=0, atol=1e-13)


@pytest.mark.parametrize("space", ["open 2D", "unpolarised 2D"])
def test_derivatives_of_a_continuous_flow(space):
    """Jets of zeta are those of the program; those of the integrated divergence come near with the fifth
    power of the step.
    """
    T, R = example("continuous", space)
    exact = jax.jit(lambda T: automatic_derivatives(T.__call__, R))(T)
    found = jax.jit(lambda T: T.derivatives(R))
    fine = found(replace(T, steps=2 * T.steps))
    for name in ("zeta", "jacobian", "laplacian"):
        np.testing.assert_allclose(
            getattr(found(T), name), getattr(exact, name), rtol=0, atol=1e-12, err_msg=name
        )
    assert found(T).det_sign == exact.det_sign == 1
    exact_fine = jax.jit(lambda T: automatic_derivatives(T.__call__, R))(replace(T, steps=2 * T.steps))
    for name in ("log_det", "grad_log_det", "lap_log_det"):
        error = np.max(np.abs(getattr(found(T), name) - getattr(exact, name)))
        error_fine = np.max(np.abs(getattr(fine, name) - getattr(exact_fine, name)))
        assert error < 1e-4 and error_fine < error / 20, (name, error, error_fine)


def test_derivatives_of_a_continuous_flow_with_cusps():
    """Three electrons, so gentle a flow that the integration errs by 1e-11."""
    T, R = example("continuous", "open 2D")
    T = replace(T, coupling=0.5)
    found, exact = (
        jax.jit(lambda R, f=f: f(R))(R)
        for f in (T.derivatives, lambda R: automatic_derivatives(T.__call__, R))
    )
    for name in exact._fields:
        np.testing.assert_allclose(
            getattr(found, name), getattr(exact, name), rtol=0, atol=1e-10, err_msg=name
        )
    assert np.max(np.abs(found.zeta - evaluate(replace(T, coupling=None), R))) > 1e-3


def test_a_coarse_integration_is_never_mistaken_for_an_energy():
    T, R = example("continuous", "open 2D")
    wild = jax.tree.map(lambda x: 12 * x, replace(T, steps=1))
    assert np.isnan(jax.jit(lambda T: T.derivatives(R))(wild).lap_log_det)


def test_two_electrons_are_exact_in_the_coarsest_integration():
    """One step where far more would be needed: the map is still one-to-one, with an inverse and exact
    derivatives.
    """
    space, rng = OpenSpace((1, 1), 2), np.random.default_rng(0)
    empty = jax.eval_shape(continuous(space, depth=1, width=4, steps=1), random.key(0))
    steep = jax.tree.map(lambda x: jnp.asarray(0.5 * rng.normal(size=x.shape)), empty)
    R = jnp.asarray(rng.normal(size=(64, 2, 2)))

    @jax.jit
    @jax.vmap
    def both_ways(R):
        zeta, log_det = steep.forward_and_log_det(R)
        pairs, centre = steep.stages
        state = steep.integrate(pairs.velocity_and_divergence, (R, jnp.zeros(())), 1.0)
        _, integral = steep.integrate(centre.velocity_and_divergence, state, 1.0)
        back = steep.integrate(pairs.velocity, steep.integrate(centre.velocity, zeta, -1.0), -1.0)
        return log_det, integral, back, inverse_of(steep, zeta)

    log_det, integral, back, inversion = both_ways(R)
    assert np.max(np.abs(integral - log_det)) > 1e-2 and np.max(np.abs(back - R)) > 0.05  # what would be lost
    assert np.all(inversion.converged) and np.max(inversion.iterations) > MAX_CORRECTIONS
    np.testing.assert_allclose(inversion.R, R, rtol=0, atol=1e-10)
    worst = R[np.argmax(np.abs(integral - log_det))]
    found = jax.jit(lambda R: steep.derivatives(R))(worst)
    exact = jax.jit(lambda R: automatic_derivatives(steep.__call__, R))(worst)
    assert found.det_sign == 1
    for name in ("log_det", "grad_log_det", "lap_log_det"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(exact, name), rtol=1e-10, atol=1e-10, err_msg=name
        )


@some_flows
def test_float32_is_close_to_float64_and_stays_float32(flow, space):
    T, R = example(flow, space)

    def to32(tree):
        return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), tree)

    zeta, J = structured(T, R)
    zeta32, J32 = structured(to32(T), to32(R))
    inversion = invert(to32(T), zeta32)
    assert zeta32.dtype == J32.dtype == evaluate(to32(T), to32(R)).dtype == inversion.R.dtype == jnp.float32
    np.testing.assert_allclose(zeta32, zeta, rtol=0, atol=1e-5)
    np.testing.assert_allclose(J32, J, rtol=0, atol=1e-5)
    assert inversion.converged
    np.testing.assert_allclose(inversion.R, R, rtol=0, atol=1e-3)


@pytest.mark.parametrize("flow", ["ferminet", "backflow"])
def test_symmetric_under_exchange_of_the_names_of_the_species(flow):
    make, _ = FLOWS[flow]
    T, R = example(flow, "unpolarised 2D")
    empty = jax.eval_shape(make(ElectronGas((3, 2), 2).space), random.key(0))
    swapped = jax.tree.unflatten(jax.tree.structure(empty), jax.tree.leaves(T))
    order = np.array([2, 3, 4, 0, 1])
    np.testing.assert_allclose(evaluate(swapped, R[order]), evaluate(T, R)[order], rtol=0, atol=1e-13)


@pytest.mark.parametrize("flow", ["ferminet", "backflow"])
def test_spin_matters(flow):
    T, R = example(flow, "unpolarised 2D")
    order = np.array([2, 1, 0, 3, 4])
    assert np.max(np.abs(evaluate(T, R[order]) - evaluate(T, R)[order])) > 1e-3


def test_one_electron_of_each_spin():
    T, R = example("ferminet", "one of each")
    zeta, J = structured(T, R)
    np.testing.assert_allclose(zeta, evaluate(T, R), rtol=0, atol=1e-13)
    np.testing.assert_allclose(J, dense(T, R), rtol=0, atol=1e-13)


@pytest.mark.parametrize("flow", ["ferminet", "backflow"])
def test_a_single_electron_is_only_shifted(flow):
    T, R = example(flow, "one")
    np.testing.assert_array_equal(structured(T, R)[1], np.eye(2))


@pytest.mark.parametrize("flow", ["ferminet", "backflow"])
def test_three_derivatives_are_finite(flow):
    T, R = example(flow, "unpolarised 2D")
    along = jnp.asarray(np.random.default_rng(1).normal(size=R.shape))

    def derivative(f):
        return lambda R: jax.jvp(f, (R,), (along,))

    jet = jax.jit(lambda R: derivative(derivative(derivative(T)))(R))
    h = 1e-4

    def second(R):
        return jet(R)[0][1][1]

    expected = (second(R + h * along) - second(R - h * along)) / (2 * h)
    np.testing.assert_allclose(jet(R)[1][1][1], expected, rtol=1e-4, atol=1e-4)
    # finite also where electrons meet
    assert np.all(np.isfinite(jet(R.at[0].set(R[3]))[1][1][1]))


@pytest.mark.parametrize("dim", [2, 3])
def test_features_are_periodic_with_a_cusp_at_zero_only(dim):
    L, r = 3.0, np.random.default_rng(0).normal(size=(5, dim))
    features = Cell.features
    np.testing.assert_allclose(features(r + L, L), features(r, L), rtol=0, atol=1e-13)
    assert features(r, L).shape == (5, 3 * dim + 1)
    edge = jnp.full(dim, L / 2)
    slope = jax.jacfwd(lambda r: features(r, L))
    np.testing.assert_allclose(slope(edge - 1e-7), slope(edge + 1e-7), rtol=0, atol=1e-5)


@pytest.mark.parametrize("x", [-800.0, -30.0, -1e-9, 0.0, 0.5, 30.0, 800.0])
def test_softplus_derivatives(x):
    # the logistic function s and its derivatives, in the form that does not overflow
    s = np.exp(-np.logaddexp(0, -x))
    c = np.exp(-np.logaddexp(0, x))
    derivatives = [np.logaddexp(x, 0), s, s * c, s * c * (c - s)]
    f = softplus
    for expected in derivatives:
        np.testing.assert_allclose(f(x), expected, rtol=1e-12, atol=1e-15)
        f = jax.grad(f)


def test_newton_says_when_it_has_not_converged():
    T, R = example("ferminet", "unpolarised 2D")
    assert not jax.jit(lambda T, R: damped_newton(T, R, max_iterations=1).converged)(T, R)
    outside = -jnp.ones((1, 2))  # of the range of |R|
    stuck = jax.jit(lambda zeta: damped_newton(jnp.abs, zeta))(outside)
    assert not stuck.converged and stuck.iterations <= 40
    np.testing.assert_array_equal(jax.jit(CanonicalTransformation(jnp.abs).inverse)(outside), np.nan)


def test_newton_is_damped():
    """x <- x - (1 + x^2)(arctan x - arctan 0.1) runs away from x = 3; half-steps bring it back."""
    zeta = jnp.full((1, 1), np.arctan(0.1))
    inversion = jax.jit(lambda zeta: damped_newton(lambda R: jnp.arctan(R + 3), zeta))(zeta)
    assert inversion.converged
    np.testing.assert_allclose(inversion.R + 3, 0.1, rtol=1e-11)


def test_newton_under_vmap_and_without_gradient():
    T, R = example("ferminet", "unpolarised 2D")
    batch = jnp.stack([evaluate(T, R), evaluate(T, R + 0.1), R])
    together = jax.jit(jax.vmap(damped_newton, in_axes=(None, 0)))(T, batch)
    for i, zeta in enumerate(batch):
        np.testing.assert_allclose(together.R[i], invert(T, zeta).R, rtol=0, atol=1e-12)
    gradient = jax.jit(jax.grad(lambda T, zeta: jnp.sum(damped_newton(T, zeta).R), argnums=(0, 1)))(T, R)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_bijector():
    T, R = example("ferminet", "unpolarised 2D")
    bijector = CanonicalTransformation(T)
    batch = jnp.stack([R, R + 0.1])
    zeta, log_det = jax.jit(lambda b, x: b.forward_and_log_det(x))(bijector, batch)
    back, inverse_log_det = jax.jit(lambda b, y: b.inverse_and_log_det(y))(bijector, zeta)
    np.testing.assert_allclose(zeta[0], evaluate(T, R), rtol=0, atol=1e-13)
    np.testing.assert_allclose(log_det[0], np.linalg.slogdet(dense(T, R))[1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(back, batch, rtol=0, atol=1e-11)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=0, atol=1e-10)


def test_sizes_are_checked():
    for make in (ferminet, backflow, continuous):
        with pytest.raises(ValueError, match="Expected depth to be a whole number >= 1; got 0"):
            make(CELLS["polarised 2D"], depth=0)
    with pytest.raises(ValueError, match="Expected steps to be a whole number >= 1; got 0"):
        continuous(CELLS["polarised 2D"], steps=0)


def published_features(r, L):
    """[cos, sin, |sin(2 pi r/L)|]: what the networks of Xie, Zhang, Wang were trained with."""
    sine = jnp.sin((2 * np.pi / L) * r)
    q = jnp.sum(sine**2, axis=-1, keepdims=True)
    return jnp.concatenate(
        [jnp.cos((2 * np.pi / L) * r), sine, jnp.where(q > 0, jnp.sqrt(jnp.where(q > 0, q, 1)), 0)], axis=-1
    )


def published_flow(weights, space) -> FermiNet:
    """Their mean over j includes j = i, a constant row per layer, which goes into our biases."""
    w = {
        name.removeprefix("flow/fermi_net/"): jnp.asarray(weights[name])
        for name in weights.files
        if "flow" in name
    }
    d, H = space.dim, w["linear/w"].shape[0]
    first, second = w["~/linear/w"][2 * d :], w["~/linear_1/w"]
    pair = PairLayer(w["~/linear_2/w"][None], w["~/linear_2/b"][None])
    own_features = jnp.concatenate([jnp.ones(d), jnp.zeros(d + 1)])
    own_pair = softplus(own_features @ pair.weight[0] + pair.bias[0])
    return FermiNet(
        single=(
            SingleLayer(None, None, first[None], w["~/linear/b"] + own_features @ first / space.N),
            SingleLayer(
                second[:H],
                second[None, H : 2 * H],
                second[None, 2 * H :],
                w["~/linear_1/b"] + own_pair @ second[2 * H :] / space.N,
            ),
        ),
        pair=(pair,),
        out=w["linear/w"],
        space=space,
        features=published_features,
    )


@pytest.mark.parametrize("rs", ["1.0", "10.0"])
def test_published_networks(reference, rs):
    """zeta, half ln|det J| and ln Psi of an independent program, to rounding; and Newton on the way back."""
    weights = np.load(reference / "trained_2d_gas" / f"n29_rs{rs}.npz")
    golden = np.load(reference / "trained_2d_gas" / f"golden_n29_rs{rs}.npz")
    space = Cell((29, 0), 2, float(golden["L"]))
    flow, shift = published_flow(weights, space), weights["flow/fermi_net/linear/b"]
    orbitals = PlaneWaves(weights["orbitals"], space)

    for K, R, z, half, psi in zip(
        *(golden[n] for n in ("state_idx", "x", "z", "half_logdetJ", "lnpsi")), strict=True
    ):
        zeta, J = structured(flow, jnp.asarray(R))
        np.testing.assert_allclose(zeta + shift, z, rtol=0, atol=1e-12)
        np.testing.assert_allclose(0.5 * np.linalg.slogdet(J)[1], half, rtol=0, atol=1e-12)
        # a common shift is a phase, and their determinant is not divided by sqrt(N!)
        phase = np.sum(orbitals.wavevectors[K] @ shift)
        ratio = np.exp(
            log_psi(Born(orbitals, K, flow), jnp.asarray(R))
            + 0.5 * np.sum(np.log(np.arange(1, 30)))
            + 1j * phase
            - psi
        )
        np.testing.assert_allclose(ratio, 1, rtol=0, atol=1e-10)

        inversion = invert(flow, zeta)
        assert inversion.converged and inversion.iterations <= 8
        np.testing.assert_allclose(inversion.R, R, rtol=0, atol=1e-11)
