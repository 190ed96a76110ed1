"""zeta ~ |Phi_K|^2: normalisation by quadrature, and exactly known correlations. Statistical checks allow 5
sigma.
"""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from pnct.distributions.determinantal import Determinantal
from pnct.states.projection_dpp import sample
from pnct.systems.electron_gas import ElectronGas

SIGMA = 5


@partial(jax.jit, static_argnums=2)
def drawn(law, keys, chunk):
    return jax.lax.map(lambda key: law.sample(seed=key), keys, batch_size=chunk)


def draw(law, n, key=0, chunk=64):
    return np.asarray(drawn(law, random.split(random.key(key), n), chunk))


def z_scores(samples, expected):
    """(mean - expected)/error along the first axis of independent samples."""
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    return (samples.mean(axis=0) - expected) / error


def structure_amplitudes(R, q, L):
    """rho_q = sum_i exp(2 pi i q.r_i/L), shape (samples, len(q))."""
    return np.sum(np.exp(2j * np.pi / L * R @ np.asarray(q).T), axis=1)


def grid(L, points, dim):
    return np.stack(np.meshgrid(*[np.arange(points) * L / points] * dim, indexing="ij"), axis=-1).reshape(
        -1, dim
    )


@pytest.mark.parametrize(
    ("num_electrons", "dim", "K"),
    [((1, 0), 3, [2]), ((2, 0), 2, [0, 4]), ((1, 1), 2, [3, 1]), ((0, 2), 2, [1, 2])],
)
def test_normalised_over_ordered_coordinates(num_electrons, dim, K):
    """The trapezoidal rule is exact for trigonometric polynomials."""
    gas = ElectronGas(num_electrons, dim, twist=0.1, cutoff=3.0)
    law = Determinantal(gas.orbitals, jnp.array(K))
    R = grid(gas.L, 8, dim * gas.N).reshape(-1, gas.N, dim)
    density = np.exp(jax.jit(law.log_prob)(R))
    np.testing.assert_allclose(density.mean() * gas.L ** (dim * gas.N), 1, rtol=1e-12)


def test_log_prob_is_that_of_free_electrons():
    gas = ElectronGas((2, 1), 2, twist=0.25, cutoff=3.0)
    K, R = jnp.array([0, 3, 1]), np.asarray(random.uniform(random.key(0), (3, 2))) * gas.L
    k = gas.orbitals.wavevectors[np.asarray(K)]
    up = np.linalg.det(np.exp(1j * R[:2] @ k[:2].T))
    expected = np.log(np.abs(up) ** 2 / 2) - 3 * np.log(gas.L**2)
    law = Determinantal(gas.orbitals, K)
    np.testing.assert_allclose(law.log_prob(jnp.asarray(R)), expected, rtol=1e-12)
    assert law.log_prob(jnp.zeros((4, 5, 3, 2)) + R).shape == (4, 5)


CASES = {
    "13, closed shell 2D": ((13, 0), 2, 0.0, np.arange(13), 4096),
    "7, excited, 2D": ((7, 0), 2, 0.25, np.array([0, 1, 3, 4, 8, 9, 12]), 8192),
    "7, excited, 3D": ((7, 0), 3, 0.1, np.array([0, 2, 3, 5, 8, 11, 12]), 8192),
}


@pytest.mark.parametrize("case", CASES)
def test_structure_factor(case):
    """S(q) = 1 - #{k - k' = q}/N, for all short q."""
    num_electrons, dim, twist, K, n = CASES[case]
    gas = ElectronGas(num_electrons, dim, twist=twist, cutoff=6.0)
    R = draw(Determinantal(gas.orbitals, jnp.asarray(K)), n)
    assert np.all((R >= 0) & (R < gas.L))

    q = np.array([q for q in itertools.product(range(-2, 3), repeat=dim) if q > (0,) * dim])
    k = np.round(gas.orbitals.indices[K] - twist).astype(int)
    differences = (k[:, None] - k[None]).reshape(-1, dim)
    pairs = np.array([np.sum(np.all(differences == v, axis=1)) for v in q])
    rho = structure_amplitudes(R, q, gas.L)

    assert np.max(np.abs(z_scores(np.abs(rho) ** 2 / gas.N, 1 - pairs / gas.N))) < SIGMA
    assert np.max(np.abs(z_scores(rho.real, 0))) < SIGMA
    assert np.max(np.abs(z_scores(rho.imag, 0))) < SIGMA


def test_pair_correlation():
    """g(r) = 1 - |sum_k exp(i k.r)|^2/N^2, in a histogram over the cell."""
    gas = ElectronGas((5, 0), 2, twist=0.25, cutoff=4.0)
    K, bins, fine = np.array([0, 1, 2, 4, 6]), 6, 16
    R = draw(Determinantal(gas.orbitals, jnp.asarray(K)), 8192)

    i, j = np.triu_indices(5, 1)
    cells = np.floor((R[:, i] - R[:, j]) % gas.L / gas.L * bins).astype(int) % bins
    counts = np.array([np.bincount(c @ [bins, 1], minlength=bins**2) for c in cells])

    r = grid(gas.L, bins * fine, 2) + gas.L / (2 * bins * fine)
    g = 1 - np.abs(np.sum(np.exp(1j * r @ gas.orbitals.wavevectors[K].T), axis=1)) ** 2 / 5**2
    # the pair density n_pairs g/V times N/(N - 1): its integral over the cell is the number of pairs
    expected = g.reshape(bins, fine, bins, fine).mean(axis=(1, 3)).ravel() * len(i) / bins**2 * 5 / 4
    # the midpoint rule leaves 1e-3 of one count's error
    assert np.max(np.abs(z_scores(counts, expected))) < SIGMA


def test_three_body_correlation():
    """N = 3: the mean of cos(q.r_12) cos(p.r_23 + 0.3) against quadrature: pairs alone would not tell."""
    gas = ElectronGas((3, 0), 2, twist=0.1, cutoff=2.0)
    law = Determinantal(gas.orbitals, jnp.array([0, 1, 3]))
    q, p = 2 * np.pi / gas.L * np.array([[1, 0], [0, 1]])

    def observable(R):
        return np.cos((R[:, 0] - R[:, 1]) @ q) * np.cos((R[:, 1] - R[:, 2]) @ p + 0.3)

    R = grid(gas.L, 8, 4).reshape(-1, 2, 2)
    R = np.concatenate([R, np.zeros_like(R[:, :1])], axis=1)  # translation invariant
    weight = np.exp(jax.jit(law.log_prob)(R))
    expected = np.sum(weight * observable(R)) / np.sum(weight)

    assert abs(z_scores(observable(draw(law, 8192)), expected)) < SIGMA


def test_species_are_independent():
    """<rho_up(q) rho_down(q)^*> = 0 and each species has its own S(q)."""
    gas = ElectronGas((5, 4), 2, twist=0.1, cutoff=4.0)
    K = np.array([0, 1, 2, 3, 4, 0, 2, 5, 7])
    R = draw(Determinantal(gas.orbitals, jnp.asarray(K)), 4096)
    q = np.array([q for q in itertools.product(range(-2, 3), repeat=2) if q > (0, 0)])
    up, down = structure_amplitudes(R[:, :5], q, gas.L), structure_amplitudes(R[:, 5:], q, gas.L)
    assert np.max(np.abs(z_scores((up * down.conj()).real, 0))) < SIGMA
    assert np.max(np.abs(z_scores((up * down.conj()).imag, 0))) < SIGMA
    a, b = np.abs(up) ** 2, np.abs(down) ** 2
    assert np.max(np.abs(z_scores((a - a.mean(axis=0)) * (b - b.mean(axis=0)), 0))) < SIGMA


@pytest.mark.parametrize("proposals", [1, 4])
def test_the_law_does_not_depend_on_the_proposals_per_round(proposals):
    gas = ElectronGas((3, 0), 2, twist=0.25, cutoff=2.0)
    keys = random.split(random.key(1), 8192)

    def draw_one(key):
        return sample(key, gas.orbitals, jnp.array([0, 1, 2]), jnp.float64, proposals)

    R = np.asarray(jax.jit(jax.vmap(draw_one))(keys))
    q = np.array([[1, 0], [0, 1], [1, -1]])
    n = np.round(gas.orbitals.indices[:3] - 0.25).astype(int)
    pairs = [np.sum(np.all(n[:, None] - n[None] == v, axis=-1)) for v in q]
    assert (
        np.max(np.abs(z_scores(np.abs(structure_amplitudes(R, q, gas.L)) ** 2, 3 - np.array(pairs)))) < SIGMA
    )


def test_samples_do_not_depend_on_the_batch():
    gas = ElectronGas((4, 0), 2, cutoff=4.0)
    law = Determinantal(gas.orbitals, jnp.asarray(gas.ground_state))
    alone, together = draw(law, 16, chunk=1), draw(law, 16, chunk=16)
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-12)
    assert len(np.unique(alone[:, 0, 0])) == 16


@pytest.mark.parametrize("dtype", [jnp.float32, None])
def test_dtype_and_shapes(dtype):
    gas = ElectronGas((2, 1), 3)
    law = Determinantal(gas.orbitals, jnp.asarray(gas.ground_state), dtype)
    R, log_prob = jax.jit(lambda law, key: law.sample_and_log_prob(seed=key, sample_shape=(2, 3)))(
        law, random.key(0)
    )
    assert R.shape == (2, 3, 3, 3) and log_prob.shape == (2, 3)
    assert law.event_shape == (3, 3) and law.batch_shape == ()
    assert R.dtype == law.dtype == log_prob.dtype == (dtype or jnp.float64)


def test_is_a_pytree_over_K():
    gas = ElectronGas((2, 0), 2, cutoff=3.0)
    Ks, keys = jnp.array([[0, 1], [1, 3], [2, 4]]), random.split(random.key(0), 3)
    laws = jax.vmap(lambda K: Determinantal(gas.orbitals, K))(Ks)
    R = jax.jit(jax.vmap(lambda law, key: law.sample(seed=key)))(laws, keys)
    for i, K in enumerate(Ks):
        alone = drawn(Determinantal(gas.orbitals, K), keys[i : i + 1], 1)
        np.testing.assert_allclose(R[i], alone[0], rtol=0, atol=1e-12)


def test_an_orbital_named_twice_gives_nan():
    gas = ElectronGas((2, 0), 2, cutoff=3.0)
    assert np.all(np.isnan(draw(Determinantal(gas.orbitals, jnp.array([1, 1])), 1, chunk=1)))


@pytest.mark.slow
@pytest.mark.parametrize(("num_electrons", "dim"), [((29, 0), 2), ((33, 0), 3)])
def test_structure_factor_of_large_systems(num_electrons, dim):
    """S(q) for all q up to 2 k_F and beyond, where it becomes 1; 16384 samples, float64 and float32."""
    gas = ElectronGas(num_electrons, dim, twist=0.25 if dim == 2 else 0.0)
    for dtype in (jnp.float64, jnp.float32):
        R = draw(Determinantal(gas.orbitals, gas.ground_state, dtype), 16384).astype(float)
        q = np.array([q for q in itertools.product(range(-3, 4), repeat=dim) if q > (0,) * dim])
        k = np.round(gas.orbitals.indices[: gas.N] - gas.twist).astype(int)
        differences = (k[:, None] - k[None]).reshape(-1, dim)
        pairs = np.array([np.sum(np.all(differences == v, axis=1)) for v in q])
        rho = structure_amplitudes(R, q, gas.L)
        assert np.max(np.abs(z_scores(np.abs(rho) ** 2 / gas.N, 1 - pairs / gas.N))) < SIGMA
