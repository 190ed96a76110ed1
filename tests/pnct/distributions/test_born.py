"""R ~ |Psi_K|^2: orthonormality, samples against densities and against Psi. Statistical checks
allow 5 sigma.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from pnct.distributions.born import Born
from pnct.distributions.determinantal import Determinantal
from pnct.flows import backflow, ferminet
from pnct.states.slater import as_states
from pnct.systems.electron_gas import ElectronGas

SIGMA = 5


def random_flow(make, spread=0.3):
    rng = np.random.default_rng(7)
    return jax.tree.map(
        lambda x: jnp.asarray(spread * rng.normal(size=x.shape)), jax.eval_shape(make, random.key(0))
    )


gas = ElectronGas((3, 1), 2, twist=0.1, cutoff=4.0)
K = jnp.array([0, 2, 3, 1])
log_psi = jax.jit(lambda born, R: born.log_psi(R))


@pytest.fixture(scope="module")
def flow():
    return random_flow(ferminet(gas.space, depth=2, width=5))


@pytest.fixture(scope="module")
def draws(flow):
    """8192 samples of Psi_K with ln|Psi_K|^2 as the sampler gives it: shapes (128, 64, N, dim), (128, 64)."""
    draw = jax.jit(
        lambda born, keys: jax.lax.map(lambda k: born.sample_and_log_prob(seed=k, sample_shape=64), keys)
    )
    return draw(Born(gas.orbitals, K, flow), random.split(random.key(0), 128))


def z_scores(samples, expected):
    """(mean - expected)/error of independent samples along the first axis."""
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    return (samples.mean(axis=0) - expected) / error


@pytest.mark.parametrize(
    ("num_electrons", "make", "spread"),
    [((2, 0), ferminet, 0.2), ((1, 1), ferminet, 0.2), ((1, 1), backflow, 0.1)],
)
def test_orthonormal(num_electrons, make, spread):
    """<Psi_K|Psi_K'> = delta by quadrature over the relative coordinate, for states of the same total
    momentum.

    Others are orthogonal by translation. The cusp at r = 0 leaves an error of third order in the spacing.
    """
    gas = ElectronGas(num_electrons, 2, cutoff=2.0)
    T = random_flow(make(gas.space, width=5), spread)  # one-to-one
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


def test_samples_are_orthonormal_states(flow, draws):
    """E_K[Psi_K'/Psi_K] = <Psi_K|Psi_K'>, of variance one."""
    others = jnp.array([[0, 1, 2, 0], [0, 1, 4, 0], [1, 2, 5, 3], [0, 2, 4, 1]])

    def ratios(R):
        def psi(K):
            return Born(gas.orbitals, K, flow).log_psi(R)

        return jnp.exp(jax.vmap(psi)(others) - psi(K))

    x = np.asarray(jax.jit(lambda R: jax.lax.map(jax.vmap(ratios), R))(draws[0])).reshape(-1, len(others))
    assert np.max(np.abs(z_scores(x.real, 0))) < SIGMA
    assert np.max(np.abs(z_scores(x.imag, 0))) < SIGMA


def test_mean_score_vanishes(flow, draws):
    """E[d ln|Psi|^2/d theta] = 0 under the samples of |Psi|^2: sampler, density and reverse mode agree."""
    score = jax.grad(lambda flow, R: Born(gas.orbitals, K, flow).log_prob(R))
    scores = jax.jit(lambda R: jax.lax.map(jax.vmap(lambda R: score(flow, R)), R))(draws[0][:64])
    for leaf in jax.tree.leaves(scores):
        assert np.max(np.abs(z_scores(np.asarray(leaf).reshape(64 * 64, -1), 0))) < SIGMA


def test_samples_solve_the_flow(flow, draws):
    quasi_particles = Determinantal(gas.orbitals, K)
    zeta = jax.jit(lambda key: quasi_particles.sample(seed=key, sample_shape=64))(
        random.split(random.key(0), 128)[0]
    )
    np.testing.assert_allclose(jax.jit(jax.vmap(flow))(draws[0][0]), zeta, rtol=0, atol=1e-12)
    assert np.all(np.isfinite(draws[0])) and np.max(np.abs(draws[0][0] - zeta)) > 1e-2


def test_log_prob_is_that_of_log_psi(flow, draws):
    born, R, log_prob = Born(gas.orbitals, K, flow), draws[0][0], draws[1][0]
    np.testing.assert_allclose(jax.jit(born.log_prob)(R), log_prob, rtol=0, atol=1e-10)
    np.testing.assert_allclose(2 * log_psi(born, R[7]).real, log_prob[7], rtol=0, atol=1e-10)


def test_log_psi_of_the_identity_is_that_of_free_electrons():
    gas = ElectronGas((2, 2), 3, twist=0.2, cutoff=3.0)
    K, R = jnp.array([0, 2, 1, 3]), random.uniform(random.key(0), (4, 3)) * gas.L
    born = Born(gas.orbitals, K, jax.tree.map(jnp.zeros_like, random_flow(ferminet(gas.space))))
    free = jax.jit(lambda R: as_states(gas.orbitals).log_amplitude(K, R))
    np.testing.assert_allclose(log_psi(born, R), free(R), rtol=1e-13)


def test_antisymmetric_and_bloch(flow):
    """Psi changes sign under exchange of like electrons, and by exp(2 pi i twist) when one of them crosses
    the cell.
    """

    def psi(R):
        return np.exp(log_psi(Born(gas.orbitals, K, flow), R))

    R = random.uniform(random.key(1), (4, 2)) * gas.L
    np.testing.assert_allclose(psi(R[jnp.array([1, 0, 2, 3])]), -psi(R), rtol=1e-11)
    np.testing.assert_allclose(psi(R.at[2, 1].add(gas.L)), psi(R) * np.exp(2j * np.pi * 0.1), rtol=1e-11)
    # total momentum: a common displacement is a phase
    shift = jnp.array([0.3, 0.5])
    momentum = np.sum(gas.orbitals.wavevectors[np.asarray(K)], axis=0)
    np.testing.assert_allclose(psi(R + shift), psi(R) * np.exp(1j * momentum @ shift), rtol=1e-11)


def test_log_psi_has_exact_complex_scores(flow):
    """Real and imaginary part each, in reverse mode, against the dense Jacobian in forward mode along a
    direction.
    """
    R = random.uniform(random.key(1), (4, 2)) * gas.L
    along = random_flow(ferminet(gas.space, depth=2, width=5), 1.0)

    def dense_log_psi(flow):
        J = jax.jacfwd(flow)(R).reshape(R.size, R.size)
        return as_states(gas.orbitals).log_amplitude(K, flow(R)) + 0.5 * jnp.linalg.slogdet(J)[1]

    def parts(flow):
        psi = Born(gas.orbitals, K, flow).log_psi(R)
        return jnp.stack([psi.real, psi.imag])

    expected = jax.jit(lambda flow: jax.jvp(dense_log_psi, (flow,), (along,))[1])(flow)
    scores = jax.jit(jax.jacrev(parts))(flow)
    leaves = zip(jax.tree.leaves(scores), jax.tree.leaves(along), strict=True)
    ours = sum(jnp.sum((g * dx).reshape(2, -1), axis=1) for g, dx in leaves)
    np.testing.assert_allclose(ours, [expected.real, expected.imag], rtol=1e-10)


def test_is_a_pytree_over_K_and_flow(flow):
    Ks, keys = jnp.array([[0, 1, 2, 0], [1, 2, 5, 3]]), random.split(random.key(0), 2)
    laws = jax.vmap(lambda K: Born(gas.orbitals, K, flow))(Ks)
    R, log_prob = jax.jit(jax.vmap(lambda born, key: born.sample_and_log_prob(seed=key)))(laws, keys)
    traces = []
    traced = jax.jit(lambda born, R: traces.append(1) or born.log_prob(R))
    for i, K in enumerate(Ks):
        born = Born(gas.orbitals, K, flow)
        assert born.event_shape == (4, 2) and born.batch_shape == () and born.dtype == jnp.float64
        assert isinstance(jax.tree.map(lambda x: x, born), Born)
        np.testing.assert_allclose(traced(born, R[i]), log_prob[i], rtol=0, atol=1e-10)
    assert len(traces) == 1  # a new object is no new trace


def test_float32_follows_the_flow(flow):
    born = Born(gas.orbitals, K, jax.tree.map(lambda x: x.astype(jnp.float32), flow))
    R, log_prob = jax.jit(lambda born, key: born.sample_and_log_prob(seed=key))(born, random.key(0))
    psi32 = log_psi(born, R)
    assert R.dtype == log_prob.dtype == born.dtype == jnp.float32 and psi32.dtype == jnp.complex64
    psi64 = log_psi(Born(gas.orbitals, K, flow), R.astype(jnp.float64))
    np.testing.assert_allclose(2 * psi64.real, log_prob, rtol=0, atol=1e-3)
    np.testing.assert_allclose(np.exp(1j * (psi64 - psi32).imag), 1, rtol=0, atol=1e-3)
