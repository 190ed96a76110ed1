"""R ~ |Psi_K|^2: orthonormality, samples against densities and against Psi. Every statistical check allows 5 sigma."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from pnct import slater
from pnct.distributions.born import Born
from pnct.distributions.determinantal import Determinantal
from pnct.flows import backflow, ferminet
from pnct.system import ElectronGas

SIGMA = 5


def random_flow(make, spread=0.15, seed=0):
    leaves, tree = jax.tree.flatten(make(random.key(seed)))
    keys = random.split(random.key(seed + 1), len(leaves))
    return jax.tree.unflatten(tree, [x + spread * random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)])


def make_gas(num_electrons=(3, 1), dim=2, twist=0.1):
    gas = ElectronGas(num_electrons, dim, twist=twist, cutoff=4.0)
    return gas, random_flow(ferminet(gas.cell, depth=2, width=5))


@pytest.fixture(scope="module")
def gas_and_flow():
    return make_gas()


def z_scores(samples, expected):
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    return (samples.mean(axis=0) - expected) / error


@pytest.mark.parametrize("num_electrons", [(2, 0), (1, 1)])
@pytest.mark.parametrize("flow", [ferminet, backflow])
def test_orthonormal(num_electrons, flow):
    """<Psi_K|Psi_K'> = delta by quadrature over the relative coordinate: K and K' have the same total momentum (others are
    orthogonal by translation). The cusp at r = 0 leaves errors of third order in the spacing."""
    gas = ElectronGas(num_electrons, 2, cutoff=2.0)
    T = random_flow(flow(gas.cell, width=5), 0.1)
    n = gas.orbitals.indices.astype(int).tolist()
    pairs = [([1, 0], [-1, 0]), ([0, 1], [0, -1]), ([1, 1], [-1, -1]), ([1, -1], [-1, 1])]
    Ks = jnp.array([sorted([n.index(a), n.index(b)]) for a, b in pairs])

    points = 48
    axis = (np.arange(points) + 0.5) * gas.L / points
    r = jnp.stack(jnp.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    R = jnp.stack([r, jnp.zeros_like(r)], axis=1)
    psi = jax.jit(lambda K: jnp.exp(jax.vmap(Born(gas.orbitals, K, T).log_psi)(R)))
    psi = np.stack([psi(K) for K in Ks])
    overlap = psi.conj() @ psi.T * (gas.L / points) ** 2 * gas.L**2
    np.testing.assert_allclose(overlap, np.eye(4), rtol=0, atol=1e-3)


def test_samples_are_orthonormal_states(gas_and_flow):
    """E_K[Psi_K'/Psi_K] = <Psi_K|Psi_K'>, of variance one."""
    gas, flow = gas_and_flow
    Ks = jnp.array([[0, 1, 2, 0], [0, 1, 4, 0], [1, 2, 5, 3], [0, 2, 3, 1]])
    born = Born(gas.orbitals, Ks[0], flow)

    def ratios(key):
        R = born.sample(seed=key)
        return jax.vmap(lambda K: jnp.exp(Born(gas.orbitals, K, flow).log_psi(R) - born.log_psi(R)))(Ks[1:])

    x = np.asarray(jax.jit(lambda keys: jax.lax.map(ratios, keys, batch_size=64))(random.split(random.key(2), 8192)))
    assert np.max(np.abs(z_scores(x.real, 0))) < SIGMA
    assert np.max(np.abs(z_scores(x.imag, 0))) < SIGMA


def test_mean_score_vanishes(gas_and_flow):
    """E[d ln|Psi|^2/d theta] = 0 under the samples of |Psi|^2: sampler, density and reverse mode agree."""
    gas, flow = gas_and_flow

    def score(key):
        born = Born(gas.orbitals, gas.ground_state, flow)
        R = born.sample(seed=key)
        return jax.grad(lambda flow: Born(gas.orbitals, gas.ground_state, flow).log_prob(R))(flow)

    scores = jax.jit(lambda keys: jax.lax.map(score, keys, batch_size=64))(random.split(random.key(3), 4096))
    for leaf in jax.tree.leaves(scores):
        assert np.max(np.abs(z_scores(np.asarray(leaf), 0))) < SIGMA


def test_sample_solves_the_flow(gas_and_flow):
    gas, flow = gas_and_flow
    born = Born(gas.orbitals, gas.ground_state, flow)
    draw = jax.jit(lambda key: (born.sample(seed=key), Determinantal(gas.orbitals, gas.ground_state).sample(seed=key)))
    for i in range(5):
        R, zeta = draw(random.key(i))
        np.testing.assert_allclose(flow(R), zeta, rtol=0, atol=1e-12)
        assert np.max(np.abs(R - zeta)) > 1e-2


def test_log_prob_is_that_of_log_psi(gas_and_flow):
    gas, flow = gas_and_flow
    born = Born(gas.orbitals, gas.ground_state, flow)
    R, log_prob = jax.jit(lambda key: born.sample_and_log_prob(seed=key, sample_shape=(2, 3)))(random.key(0))
    assert R.shape == (2, 3, 4, 2) and log_prob.shape == (2, 3)
    np.testing.assert_allclose(jax.jit(born.log_prob)(R), log_prob, rtol=0, atol=1e-10)
    np.testing.assert_allclose(2 * jax.jit(born.log_psi)(R[1, 2]).real, log_prob[1, 2], rtol=0, atol=1e-10)
    as_distrax = jax.jit(lambda born, R: distrax.Transformed.log_prob(born, R))
    np.testing.assert_allclose(as_distrax(born, R[1, 2]), log_prob[1, 2], rtol=0, atol=1e-10)


def test_log_psi_is_free_at_initialisation():
    gas = ElectronGas((2, 2), 3, twist=0.2, cutoff=3.0)
    K, R = jnp.array([0, 2, 1, 3]), random.uniform(random.key(0), (4, 3)) * gas.L
    born = Born(gas.orbitals, K, ferminet(gas.cell)(random.key(0)))
    np.testing.assert_allclose(born.log_psi(R), slater.log_det(gas.orbitals, K, R), rtol=1e-13)


def test_antisymmetric_and_bloch(gas_and_flow):
    """Psi changes sign under exchange of like electrons, and by exp(2 pi i twist) when one of them crosses the cell."""
    gas, flow = gas_and_flow
    K = jnp.array([0, 2, 3, 1])
    psi = jax.jit(lambda R: jnp.exp(Born(gas.orbitals, K, flow).log_psi(R)))
    R = random.uniform(random.key(1), (4, 2)) * gas.L
    np.testing.assert_allclose(psi(R[jnp.array([1, 0, 2, 3])]), -psi(R), rtol=1e-11)
    np.testing.assert_allclose(psi(R.at[2, 1].add(gas.L)), psi(R) * np.exp(2j * np.pi * 0.1), rtol=1e-11)
    # total momentum: a common displacement is a phase
    shift = jnp.array([0.3, 0.5])
    momentum = np.sum(gas.orbitals.wavevectors[np.asarray(K)], axis=0)
    np.testing.assert_allclose(psi(R + shift), psi(R) * np.exp(1j * momentum @ shift), rtol=1e-11)


def test_log_psi_has_exact_complex_scores(gas_and_flow):
    """Real and imaginary part each, in reverse mode, against the dense Jacobian in forward mode along a direction."""
    gas, flow = gas_and_flow
    K, R = jnp.array([0, 2, 3, 1]), random.uniform(random.key(1), (4, 2)) * gas.L
    along = random_flow(lambda key: jax.tree.map(jnp.zeros_like, flow), 1.0, seed=5)

    def dense_log_psi(flow):
        J = jax.jacfwd(flow)(R).reshape(R.size, R.size)
        return slater.log_det(gas.orbitals, K, flow(R)) + 0.5 * jnp.linalg.slogdet(J)[1]

    expected = jax.jit(lambda flow: jax.jvp(dense_log_psi, (flow,), (along,))[1])(flow)
    for part in (jnp.real, jnp.imag):
        score = jax.jit(jax.grad(lambda flow, part=part: part(Born(gas.orbitals, K, flow).log_psi(R))))(flow)
        ours = sum(jnp.sum(g * dx) for g, dx in zip(jax.tree.leaves(score), jax.tree.leaves(along), strict=True))
        np.testing.assert_allclose(ours, part(expected), rtol=1e-10)


def test_is_a_pytree_over_K_and_flow(gas_and_flow):
    gas, flow = gas_and_flow
    Ks, keys = jnp.array([[0, 1, 2, 0], [1, 2, 5, 3]]), random.split(random.key(0), 2)
    laws = jax.vmap(lambda K: Born(gas.orbitals, K, flow))(Ks)
    traces = []

    def draw(born, key):
        traces.append(1)
        R, log_prob = born.sample_and_log_prob(seed=key)
        return R, log_prob, born.log_psi(R)

    R, log_prob, log_psi = jax.jit(jax.vmap(draw))(laws, keys)
    one = jax.jit(draw)
    for i, K in enumerate(Ks):
        born = Born(gas.orbitals, K, flow)
        assert born.event_shape == (4, 2) and born.batch_shape == () and born.dtype == jnp.float64
        assert isinstance(jax.tree.map(lambda x: x, born), Born)
        for ours, theirs in zip((R[i], log_prob[i], log_psi[i]), one(born, keys[i]), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10)
    assert len(traces) == 2  # a new object is no new trace


def test_float32_follows_the_flow(gas_and_flow):
    gas, flow = gas_and_flow
    K = jnp.array([0, 2, 3, 1])
    born = Born(gas.orbitals, K, jax.tree.map(lambda x: x.astype(jnp.float32), flow))
    R, log_prob = jax.jit(lambda key: born.sample_and_log_prob(seed=key))(random.key(0))
    log_psi = jax.jit(born.log_psi)(R)
    assert R.dtype == log_prob.dtype == born.dtype == jnp.float32 and log_psi.dtype == jnp.complex64
    exact = jax.jit(Born(gas.orbitals, K, flow).log_psi)(R.astype(jnp.float64))
    np.testing.assert_allclose(2 * exact.real, log_prob, rtol=0, atol=1e-3)
    np.testing.assert_allclose(np.exp(1j * (exact - log_psi).imag), 1, rtol=0, atol=1e-3)
