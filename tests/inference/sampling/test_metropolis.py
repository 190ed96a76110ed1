"""Random-walk Metropolis on densities whose moments are known, none of them symmetric: symmetry hides wrong
signs.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from pnct.inference.diagnostics.diagnose import chain_estimate
from pnct.inference.sampling.metropolis import init, kernel, metropolis


def gumbel(R):
    """Independent coordinates with density exp(-x - exp(-x)): mean = the Euler constant, variance
    = pi^2/6.
    """
    return jnp.sum(-R - jnp.exp(-R))


def ring(R):
    """Two electrons on a ring of circumference 2 pi in one dimension; skewed, repelling and periodic."""
    x, y = R[0, 0], R[1, 0]
    return 1.5 * jnp.cos(x - 0.7) + 0.8 * jnp.sin(2 * y) - jnp.cos(x - y)


def check(x, exact):
    estimate, rhat = chain_estimate(np.asarray(x))
    assert estimate.ess > 1000
    assert rhat < 1.01
    assert abs(estimate.value - exact) < 5 * estimate.error


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_moments_of_a_skewed_density(dtype):
    initial = random.normal(random.key(1), (8, 2, 1), dtype)
    samples, acceptance = metropolis(random.key(2), gumbel, initial, 2000, thin=10, burn_in=500)
    assert samples.shape == (8, 2000, 2, 1)
    assert samples.dtype == dtype
    assert abs(acceptance - 0.5) < 0.05
    for i in range(2):
        x = samples[:, :, i, 0]
        check(x, np.euler_gamma)
        check((x - np.euler_gamma) ** 2, np.pi**2 / 6)


def test_two_electrons_against_quadrature():
    grid = np.linspace(0, 2 * np.pi, 200, endpoint=False)  # exact to rounding for a smooth periodic density
    x, y = np.meshgrid(grid, grid, indexing="ij")
    weight = np.exp(jax.vmap(ring)(jnp.stack([x, y], -1).reshape(-1, 2, 1)))
    weight /= weight.sum()

    initial = random.uniform(random.key(1), (8, 2, 1), maxval=2 * np.pi)
    samples, _ = metropolis(random.key(2), ring, initial, 2000, step_size=0.01)
    X, Y = np.asarray(samples[:, :, 0, 0]), np.asarray(samples[:, :, 1, 0])
    for f in (
        lambda x, y: np.sin(x),
        lambda x, y: np.sin(2 * y),
        lambda x, y: np.cos(x - y),
        lambda x, y: np.sin(x + y),
    ):
        check(f(X, Y), np.sum(weight * f(x, y).ravel()))


def test_nan_proposal_is_rejected():
    def half_line(R):  # nan for negative coordinates
        return jnp.sum(jnp.log(R) - R)

    samples, _ = metropolis(random.key(0), half_line, jnp.ones((4, 1, 1)), 2000, thin=10)
    assert np.all(samples > 0)
    check(samples[:, :, 0, 0], 2.0)


def test_kernel_keeps_or_moves_as_a_whole():
    state = init(jnp.zeros((3, 2)), gumbel)
    move = jax.jit(lambda key: kernel(key, state, gumbel, 1.0))
    for seed in range(10):
        new, info = move(random.key(seed))
        moved = np.asarray(new.position != state.position)
        assert np.all(moved) if info.is_accepted else not np.any(moved)
        assert new.log_prob == pytest.approx(gumbel(new.position))
        assert 0 <= info.acceptance_probability <= 1


def test_acceptance_probability_is_the_ratio():
    state = init(jnp.array([[0.3]]), gumbel)
    keys = random.split(random.key(0), 10_000)
    _, info = jax.jit(jax.vmap(lambda key: kernel(key, state, gumbel, 1.0)))(keys)
    assert abs(jnp.mean(info.is_accepted) - jnp.mean(info.acceptance_probability)) < 5 * 0.5 / np.sqrt(10_000)


def test_reproducible_and_without_adaptation():
    initial = jnp.zeros((2, 1, 1))
    a, _ = metropolis(random.key(0), gumbel, initial, 10, burn_in=0)
    b, _ = metropolis(random.key(0), gumbel, initial, 10, burn_in=0)
    assert np.array_equal(a, b)
    for chunk_size in (1, 5):  # changes no number
        c, _ = metropolis(random.key(0), gumbel, initial, 10, burn_in=0, chunk_size=chunk_size)
        np.testing.assert_allclose(a, c, rtol=1e-12)
    assert len(np.unique(a[:, -1])) == 2  # each chain has its own numbers


def test_expected_got():
    with pytest.raises(ValueError, match=r"Expected initial of shape \(chains, N, dim\); got \(2, 1\)"):
        metropolis(random.key(0), gumbel, jnp.zeros((2, 1)), 10)
    with pytest.raises(ValueError, match="Expected num_samples >= 1"):
        metropolis(random.key(0), gumbel, jnp.zeros((2, 1, 1)), 0)
    with pytest.raises(
        ValueError, match="Expected a finite log_prob at the start of every chain; got 1 of 2"
    ):
        metropolis(random.key(0), lambda R: jnp.log(R[0, 0]), jnp.array([[[1.0]], [[-1.0]]]), 10)
