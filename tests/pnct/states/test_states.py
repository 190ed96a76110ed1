"""The laws of many-body states, for every kind of them: orthonormal, antisymmetric, of definite quantum
numbers, with exact derivatives, drawn exactly. A new kind is one line of state_kinds. Statistics: 5 sigma.
"""

from functools import lru_cache
from itertools import combinations, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from small_flow import random_positions
from state_kinds import STATES

from pnct.distributions import Determinantal
from pnct.space import Cell
from pnct.states import SlaterJastrow, States, as_states, separated_pair
from pnct.states.base import automatic_derivatives
from pnct.systems import ElectronGas, HarmonicTrap

SIGMA = 5


kinds = pytest.mark.parametrize("name", STATES)


@lru_cache
def made(name: str, pair: bool = False) -> States:
    kind = STATES[name]
    return kind.make(kind.pair if pair else kind.system)


def all_names(states):
    """Every K."""
    each = [combinations(range(len(states)), n) for n in states.space.num_electrons]
    return np.array([sum(K, ()) for K in product(*each)])


def some_names(states, count=3):
    """Any K, the ground state first."""
    rng = np.random.default_rng(3)
    numbers = states.space.num_electrons
    excited = [
        np.concatenate([np.sort(rng.permutation(len(states))[:n]) for n in numbers]) for _ in range(count)
    ]
    return [np.concatenate([np.arange(n) for n in numbers]), *excited]


@lru_cache
def compiled(name: str, method: str):
    """A method of the states of the larger system, as a function of K and zeta."""
    states = made(name)
    f = {"log_amplitude": states.log_amplitude, "derivatives": states.derivatives}[method]
    return jax.jit(lambda K, zeta: f(K, zeta))


def log_amplitude(name, K, zeta):
    return compiled(name, "log_amplitude")(K, zeta)


def derivatives(name, K, zeta):
    return compiled(name, "derivatives")(K, zeta)


def wave(name, K, zeta):
    return complex(np.exp(log_amplitude(name, K, zeta)))


@lru_cache
def pair_amplitudes(name):
    """Of the states of two electrons: Ks -> Phi_K at each point of the quadrature, shape (states, points)."""
    states = made(name, pair=True)
    R, _ = quadrature(states.space)

    def of_state(K):
        return jnp.exp(jax.vmap(lambda R: states.log_amplitude(K, R))(R))

    return jax.jit(lambda Ks: jax.lax.map(of_state, Ks))


def quadrature(space):
    """Points of two electrons, and weights: exact for products of two states with the observables."""
    if isinstance(space, Cell):
        points = {2: 10, 3: 5}[space.dim]
        axis, weight = np.arange(points) / points * space.L, np.full(points, space.L / points)
    else:
        axis, weight = np.polynomial.hermite.hermgauss({2: 10, 3: 6}[space.dim])
        weight = weight * np.exp(axis**2)
    axes = [axis + (0.07 * i if isinstance(space, Cell) else 0) for i in range(2 * space.dim)]
    R = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2, space.dim)
    weights = np.prod(np.meshgrid(*[weight] * 2 * space.dim, indexing="ij"), axis=0).ravel()
    return jnp.asarray(R), weights


@kinds
def test_orthonormal(name):
    """<Phi_K|Phi_K'> = delta for all pairs of states of two electrons."""
    states = made(name, pair=True)
    _, weights = quadrature(states.space)
    Ks = all_names(states)
    phi = np.nan_to_num(np.asarray(pair_amplitudes(name)(jnp.asarray(Ks))))  # 0 where ln is -inf
    np.testing.assert_allclose((phi.conj() * weights) @ phi.T, np.eye(len(Ks)), rtol=0, atol=1e-12)


@kinds
def test_derivatives_are_those_of_the_log_amplitude(name):
    """Within 1e-11 and 1e-10 of those by automatic differentiation, in units of the largest above 1."""
    states = made(name)
    zeta = jnp.asarray(random_positions(states.space))
    automatic = jax.jit(lambda K, zeta: automatic_derivatives(lambda x: states.log_amplitude(K, x), zeta))
    for K in some_names(states, 1):
        found, expected = derivatives(name, K, zeta), automatic(K, zeta)
        np.testing.assert_allclose(np.exp(found[0] - expected[0]), 1, rtol=1e-12)
        for a, b, bound in zip(found[1:], expected[1:], (1e-11, 1e-10), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=bound * max(1, np.max(np.abs(b))))


@kinds
def test_exchange_within_a_species_changes_the_sign(name):
    states = made(name)
    zeta = random_positions(states.space)
    for K in some_names(states, 1):
        for species in states.space.species:
            if species.stop - species.start > 1:
                pair = [species.start, species.stop - 1]
                swapped = zeta.copy()
                swapped[pair] = zeta[pair[::-1]]
                before, after = (wave(name, K, z) for z in (zeta, swapped))
                assert np.isclose(after, -before, rtol=1e-11)


@kinds
def test_quantum_numbers_are_those_of_a_common_motion(name):
    """exp(i P.a) under a common shift; exp(i M angle) under a common rotation. Nothing is conserved among
    protons.
    """
    states = made(name)
    if states.quantum_numbers(some_names(states)[0]).size == 0:
        return
    zeta = random_positions(states.space)
    if isinstance(states.space, Cell):
        motion = np.array([0.3, -0.2, 0.9])[: states.space.dim]
        moved = zeta + motion
    else:
        motion = np.array([0.3])
        turn = np.eye(states.space.dim)
        turn[:2, :2] = [[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]]
        moved = zeta @ turn
    for K in some_names(states):
        phase = np.exp(1j * motion @ np.asarray(states.quantum_numbers(K))[: len(motion)])
        before, after = (wave(name, K, z) for z in (zeta, moved))
        assert np.isclose(after, phase * before, rtol=1e-10)


@pytest.mark.parametrize("name", [name for name in STATES if isinstance(STATES[name].system, ElectronGas)])
def test_in_a_cell(name):
    """A lattice translation gives the phase of the twist; the total gradient is i P."""
    states = made(name)
    gas, zeta, K = STATES[name].system, random_positions(states.space), some_names(states, 1)[1]
    moved = zeta.copy()
    moved[1, 1] += gas.L
    assert np.isclose(
        wave(name, K, moved), np.exp(2j * np.pi * gas.twist[1]) * wave(name, K, zeta), rtol=1e-11
    )
    P = np.sum(gas.orbitals.wavevectors[K], axis=0)
    np.testing.assert_allclose(np.sum(derivatives(name, K, zeta).gradient, axis=0), 1j * P, atol=1e-9)


@kinds
def test_symmetries_change_states_by_a_factor_of_length_one(name):
    states = made(name)
    zeta = random_positions(states.space)
    for move in states.symmetries:
        for K in some_names(states):
            ratio = log_amplitude(name, K, np.asarray(move(zeta))) - log_amplitude(name, K, zeta)
            assert abs(ratio.real) < 1e-10


@kinds
def test_images_under_symmetries_of_the_cell(name):
    """Phi_K(R) = +- Phi_K'(g R)."""
    states, order = made(name), made(name).orbitals.wedge_map()
    if not STATES[name].has_images:
        if order is None or isinstance(states, SlaterJastrow):
            with pytest.raises(ValueError, match=r"Expected .* that symmetries .*relate; got"):
                states.images(np.array(some_names(states)), np.eye(states.space.dim, dtype=int))
        return
    zeta = random_positions(states.space)
    for K in some_names(states, 5):
        g = np.asarray(order(states.orbitals.quantum_numbers(K)))
        images, signs = states.images(np.array([K]), g)
        image = wave(name, images[0], zeta @ g.T)
        assert np.isclose(wave(name, K, zeta), signs[0] * image, rtol=1e-9)


@kinds
def test_samples_follow_the_density(name):
    """Moments of 4096 samples of an excited state beside quadrature over |Phi_K|^2."""
    states, n = made(name, pair=True), 4096
    K = jnp.asarray(all_names(states)[min(4, len(all_names(states)) - 1)])
    points, weights = quadrature(states.space)
    density = weights * np.abs(np.nan_to_num(np.asarray(pair_amplitudes(name)(K[None]))[0])) ** 2

    def observables(R):
        x, y, u, v = R[:, 0, 0], R[:, 0, 1], R[:, 1, 0], R[:, 1, 1]
        if not isinstance(states.space, Cell):
            return np.stack([x**2, u**2 + v**2, x * u, x * v, y * v, x**2 * v**2], axis=1)
        k = 2 * np.pi / states.space.L
        phases = k * np.stack([x - u, y - v, x - v, x + u, y + u, x, v], axis=1)
        return np.concatenate([np.cos(phases), np.sin(phases)], axis=1)

    def draw(key):
        return Determinantal(states, K).sample(seed=key)

    R = jax.jit(lambda keys: jax.lax.map(draw, keys, batch_size=64))(random.split(random.key(0), n))
    found, expected = observables(np.asarray(R)), density @ observables(np.asarray(points))
    assert np.all(np.isfinite(found))
    error = found.std(axis=0) / np.sqrt(n)
    assert np.all(np.abs(found.mean(axis=0) - expected) < SIGMA * error + 1e-6)


@kinds
def test_float32(name):
    states = made(name)
    K, zeta = some_names(states, 1)[1], random_positions(states.space)
    exact, single = derivatives(name, K, zeta), derivatives(name, K, zeta.astype(np.float32))
    assert [x.dtype for x in single] == [np.complex64] * 3
    assert np.isclose(complex(np.exp(single.log_amplitude - exact.log_amplitude)), 1.0, atol=1e-4)
    for x, y in zip(single[1:], exact[1:], strict=True):
        np.testing.assert_allclose(x, y, atol=1e-3 * np.max(np.abs(y)))


@pytest.mark.usefixtures("unchecked")
@kinds
def test_wrong_shapes_are_named(name):
    states = made(name)
    N, dim = states.space.N, states.space.dim
    for method in (states.log_amplitude, states.derivatives):
        with pytest.raises(ValueError, match=rf"Expected K of shape \({N},\), one orbital per electron; got"):
            method(np.arange(N - 1), np.zeros((N, dim)))
        with pytest.raises(
            ValueError, match=rf"Expected coordinates of shape \({N}, {dim}\); got \({N}, 1\)"
        ):
            method(np.arange(N), np.zeros((N, 1)))


@pytest.mark.usefixtures("unchecked")
def test_only_tables_of_orbitals_stand_for_states():
    with pytest.raises(ValueError, match="Expected states or a table of orbitals; got HarmonicTrap"):
        as_states(HarmonicTrap())


def test_a_pair_is_one_of_each_spin():
    """The quantum numbers of one in space: M, the orbital of the centre, l and m of the relative motion."""
    pair = separated_pair(HarmonicTrap((1, 1), cutoff=2, dim=3).orbitals)
    assert np.asarray(pair.quantum_numbers(np.array([1, 5]))).tolist() == [-1, 1, 2, -2]
    assert np.asarray(pair.degree(np.array([1, 9]))).tolist() == [0]
    with pytest.raises(ValueError, match=r"Expected one fermion of each spin; got \(2, 0\)"):
        separated_pair(HarmonicTrap((2, 0)).orbitals)
