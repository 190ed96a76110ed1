"""Slater-Jastrow states: orthonormal orbitals, a bounded factor, and free electrons times it where the table
is filled.
"""

from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

import pnct
import pnct.distributions as dist
from pnct import ElectronGas, Hydrogen, hamiltonian
from pnct.distributions import Determinantal
from pnct.flows import Flow
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.states import SlaterJastrow, as_states, jastrow
from pnct.states.base import log_norm
from pnct.states.slater import log_det
from pnct.systems.first_order import first_order_energies


def states_of(gas, cutoff=2.0, size=0.1, key=0) -> SlaterJastrow:
    """With random coefficients."""
    factor = jastrow(gas.space, cutoff)(random.key(key))
    values = size * random.normal(random.key(key + 1), factor.coefficients.shape)
    return SlaterJastrow(gas.orbitals, eqx.tree_at(lambda x: x.coefficients, factor, values))


def grid(gas, points):
    """All points of a grid in the cell, whose mean is the exact one of sums of waves shorter than
    the grid.
    """
    axis = np.arange(points) * gas.space.L / points
    return jnp.asarray(np.stack(np.meshgrid(*[axis] * gas.dim, indexing="ij"), axis=-1).reshape(-1, gas.dim))


@pytest.mark.parametrize(("num_electrons", "dim"), [((3, 2), 2), ((2, 4), 3)])
def test_orbitals_are_orthonormal_wherever_the_others_stand(num_electrons, dim):
    gas = ElectronGas(num_electrons, dim, 1.0, 0.3, 0.25, cutoff=3.0)
    states = states_of(gas, cutoff=3.0)
    A = gas.space.L * random.uniform(random.key(3), (num_electrons[0], dim))
    points = grid(gas, 12)
    chi = jax.jit(lambda A: states.given(A).matrix(jnp.arange(len(states)), points))(A)
    np.testing.assert_allclose(
        chi.conj().T @ chi * gas.space.L**dim / len(points), np.eye(len(states)), atol=1e-12
    )


def test_filled_table_is_free_electrons_times_the_factor():
    """Phi prod_i g/(det S)^1/2, S by a sum over a grid."""
    gas = ElectronGas((5, 5), 2, 1.0, 0.0)
    states, K = states_of(gas, cutoff=5.0, size=0.05), jnp.asarray(gas.ground_state)
    R = gas.space.L * random.uniform(random.key(4), (10, 2))
    G = states.jastrow.amplitudes(R[:5])
    points = grid(gas, 16)
    g = 1 + sum(
        c * sum(np.cos(2 * np.pi / gas.space.L * (points - a) @ n) for a in R[:5] for n in waves)
        for c, waves in zip(states.jastrow.coefficients, shells(2, 5), strict=True)
    )
    np.testing.assert_allclose(states.jastrow.factor(G, points), g, atol=1e-12)
    phi = gas.orbitals.matrix(jnp.arange(5), points) * g[:, None]
    S = phi.conj().T @ phi * gas.space.L**2 / len(points)
    expected = jnp.sum(jnp.log(jnp.abs(states.jastrow.factor(G, R[5:])))) - np.linalg.slogdet(S)[1] / 2
    found = jax.jit(lambda R: states.log_amplitude(K, R) - as_states(gas.orbitals).log_amplitude(K, R))(R)
    assert float(found.real) == pytest.approx(float(expected), rel=1e-10)
    assert np.sin(float(found.imag)) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("among_protons", [False, True], ids=["plane waves", "bands"])
def test_derivatives_of_the_orbitals_are_those_of_a_cholesky_factor(among_protons):
    """ln Phi, its Hessian, and the slopes of the gradient by the factor's coefficients, beside chi whose
    mixing is differentiated through the whole factor.
    """
    gas = ElectronGas((2, 2), 2, 1.0, 0.3, (0.1, 0.25), cutoff=2.0)
    if among_protons:
        gas = Hydrogen((2, 2), 1, rs=2.0, cutoff=1.0).given(np.array([[0.3, 0.2, 0.9]]))
    states, K = states_of(gas), jnp.asarray([0, 2, 1, 4])
    R = gas.space.L * random.uniform(random.key(5), (4, gas.dim))

    def at(coefficients):
        return eqx.tree_at(lambda x: x.jastrow.coefficients, states, coefficients)

    def ours(coefficients, R):
        value = at(coefficients).log_amplitude(K, R)
        return jnp.stack([value.real, value.imag])

    def whole(coefficients, R):
        """By the Cholesky factor."""
        first, second = states.space.species
        chi = at(coefficients).given(R[first]).matrix(K[second], R[second])
        value = log_det(states.orbitals.matrix(K[first], R[first])) + log_det(chi) - log_norm(states.space)
        return jnp.stack([value.real, value.imag])

    def derivatives(f):
        return jax.jit(lambda *x: (f(*x), jax.jacfwd(jax.jacrev(f, (0, 1)), 1)(*x)))

    found, expected = (derivatives(f)(states.jastrow.coefficients, R) for f in (ours, whole))
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def shells(dim, cutoff):
    """The integer vectors n != 0 by their length, as far as |n|^2 <= cutoff."""
    n = np.array(list(product(range(-3, 4), repeat=dim)))
    squares = np.sum(n**2, axis=1)
    return [n[squares == q] for q in np.unique(squares) if 0 < q <= cutoff]


def test_factor_is_bounded():
    """No value is beyond the bound, which is not far from the largest."""
    gas = ElectronGas((3, 3), 3, 1.0, 0.1)
    for key in range(5):
        factor = states_of(gas, cutoff=6.0, size=0.05, key=key).jastrow
        G = factor.amplitudes(gas.space.L * random.uniform(random.key(key), (3, 3)))
        largest = np.max(np.abs(factor.factor(G, gas.space.L * random.uniform(random.key(9), (20_000, 3)))))
        assert largest <= factor.largest(G) <= 1.6 * largest


@pytest.mark.parametrize("num_electrons", [(1, 1), (3, 3)])
def test_samples_follow_the_state(num_electrons):
    """Means over samples, weighted back to free electrons, whose means are known: 1, and 0 of a wave of
    unlike electrons.
    """
    gas = ElectronGas(num_electrons, 2, 1.0, 0.0, 0.25)
    states, K = states_of(gas, cutoff=2.0, size=0.06), jnp.asarray(gas.ground_state)
    z = jax.jit(lambda key: Determinantal(states, K).sample(seed=key, sample_shape=(8192,)))(random.key(5))
    log_ratio = jax.jit(
        jax.vmap(
            lambda R: 2 * (as_states(gas.orbitals).log_amplitude(K, R) - states.log_amplitude(K, R)).real
        )
    )(z)
    weight = np.exp(log_ratio)
    up = num_electrons[0]
    wave = np.mean(np.cos(2 * np.pi / gas.space.L * (z[:, :up, None] - z[:, None, up:])[..., 0]), axis=(1, 2))
    for values, exact in [(weight, 1.0), (weight * wave, 0.0)]:
        assert np.mean(values) == pytest.approx(exact, abs=4 * np.std(values) / len(values) ** 0.5)
    assert abs(np.mean(wave)) > 5 * np.std(wave) / len(wave) ** 0.5  # the factor matters


def test_at_first_the_states_are_determinants():
    gas = ElectronGas((2, 2), 2, 2.0, 0.2, 0.25)
    states = SlaterJastrow(gas.orbitals, jastrow(gas.space)(random.key(0)))
    R, K = gas.space.L * random.uniform(random.key(2), (4, 2)), jnp.asarray([0, 2, 1, 3])
    found, free = jax.jit(lambda R: [x.log_amplitude(K, R) for x in (states, as_states(gas.orbitals))])(R)
    assert complex(np.exp(found)) == pytest.approx(complex(np.exp(free)))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_the_factor_alone_makes_a_correlation_hole(dtype):
    """Trained without a flow: far below the energy of one determinant, with every electron drawn exactly."""
    gas = ElectronGas((2, 2), 2, 5.0, 0.0, 0.25)

    def model(gas):
        states = SlaterJastrow(gas.orbitals, pnct.module("jastrow", jastrow(gas.space, 5.0)))
        return pnct.sample("R", dist.Born(states, jnp.asarray(gas.ground_state), Still(jnp.zeros((), dtype))))

    vfe = VariationalFreeEnergy(model, hamiltonian(gas), natural_gradient(), num_walkers=128)
    start = jax.tree.map(
        lambda x: x.astype(dtype) if x.dtype == jnp.float64 else x, vfe.init(random.key(0), gas)
    )
    result = vfe.run(random.key(0), 15, gas, progress_bar=False, init_state=start)
    draws = vfe.evaluate(random.key(1), result.params, 1024, gas)
    energy = draws.kinetic.real + draws.potential
    bound = first_order_energies(gas, gas.ground_state[None])[0]
    assert draws.samples["R"].dtype == dtype
    assert np.mean(energy) + 4 * np.std(energy) / 32 < bound


class Still(Flow):
    """zeta = R, with a number of the dtype that is asked for."""

    number: jax.Array

    def __call__(self, R):
        return R


@pytest.mark.usefixtures("unchecked")
def test_bad_input():
    with pytest.raises(ValueError, match=r"Expected a periodic cell with electrons of both spins"):
        jastrow(ElectronGas((3, 0), 2, 1.0, 0.1).space)
    gas = ElectronGas((2, 2), 2, 1.0, 0.1)
    with pytest.raises(ValueError, match=r"Expected cutoff >= 1; got 0.5"):
        jastrow(gas.space, 0.5)
    with pytest.raises(
        ValueError,
        match=r"Expected plane waves or bands, and a module that jastrow\(cell\) makes; got .* and function",
    ):
        SlaterJastrow(gas.orbitals, jastrow(gas.space))
