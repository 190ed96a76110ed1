"""g(r), S(q) and n_k on configurations where they are known exactly."""

import jax
import numpy as np
import pytest

from pnct.distributions.determinantal import Determinantal
from pnct.inference.observables import correlations
from pnct.inference.observables.correlations import (
    ideal_pair_correlation,
    occupations,
    pair_correlation,
    structure_factor,
)
from pnct.orbitals.plane_waves import Cell
from pnct.systems.electron_gas import ElectronGas


def uniform(space, samples, seed=0):
    # Spread over several cells: coordinates need not be wrapped.
    return np.random.default_rng(seed).uniform(-space.L, 2 * space.L, (samples, space.N, space.dim))


def allowed_wavevectors(space):
    n = np.stack(np.meshgrid(*[np.arange(-1, 3)] * space.dim, indexing="ij"), -1).reshape(-1, space.dim)
    return (2 * np.pi / space.L) * n[np.any(n != 0, axis=1)]


def within_five_sigma(mean, error, exact):
    # Empty or rare bins have no Gaussian error: leave them out.
    return np.all(np.abs(mean - exact)[error > 0] < 5 * error[error > 0])


@pytest.mark.parametrize("dim", [2, 3])
def test_uniform_points(dim):
    space = Cell((4, 2), dim, 5.0)
    g = pair_correlation(uniform(space, 5000), space, bins=20)
    assert list(g.g) == ["up-up", "up-down", "down-down"]
    for name, exact in (("up-up", 1 - 1 / 4), ("up-down", 1.0), ("down-down", 1 - 1 / 2)):
        assert within_five_sigma(g.g[name][2:], g.error[name][2:], exact)
    assert g.error["up-up"][-1] < 0.02

    s = structure_factor(uniform(space, 5000), space, allowed_wavevectors(space))
    assert within_five_sigma(s.S, s.error, 1.0)


@pytest.mark.parametrize("dim", [2, 3])
def test_every_pair_within_half_the_cell_is_counted_once(dim):
    space = Cell((3, 1), dim, 2.0)
    R = uniform(space, 50)
    edges = np.linspace(0, space.L / 2, 8)
    volumes = np.diff(edges**dim) * {2: np.pi, 3: 4 * np.pi / 3}[dim]
    d = R[:, :, None] - R[:, None]
    images = np.stack(np.meshgrid(*[np.arange(-4, 5)] * dim, indexing="ij"), -1).reshape(-1, dim) * space.L
    r = np.linalg.norm(d[..., None, :] + images, axis=-1).min(-1)
    result = pair_correlation(R, space, bins=7)
    pairs = {"up-up": (slice(0, 3), slice(0, 3), 9), "up-down": (slice(0, 3), slice(3, 4), 3)}
    for name, (a, b, norm) in pairs.items():
        distances = r[:, a, b]
        distances = distances[distances > 0]
        expected = np.histogram(distances, edges)[0] * space.L**dim / (norm * len(R) * volumes)
        np.testing.assert_allclose(result.g[name], expected)
    assert np.all(result.g["down-down"] == 0)  # a single electron has no partner
    np.testing.assert_allclose(result.r, (edges[1:] + edges[:-1]) / 2)


def test_square_lattice():
    """Nearest neighbours at L/4 only below L/3; Bragg peaks S = N at the reciprocal lattice, 0 elsewhere."""
    side = 4
    space = Cell((side**2, 0), 2, 8.0)
    lattice = np.stack(np.meshgrid(*[np.arange(side)] * 2), -1).reshape(-1, 2) * (space.L / side)
    R = lattice + np.random.default_rng(0).uniform(0, space.L, (6, 1, 2))  # moved as a whole
    g = pair_correlation(R, space, bins=9)
    neighbours = g.g["up-up"] * np.diff(np.linspace(0, space.L / 2, 10) ** 2) * np.pi * space.N / space.L**2
    expected = np.zeros(9)
    expected[int(2.0 / (4.0 / 9))] = 4
    expected[int(np.sqrt(8) / (4.0 / 9))] = 4
    np.testing.assert_allclose(neighbours[:8], expected[:8], atol=1e-12)
    one_pair = 2 / 16**2 * space.L**2 / (np.diff(np.linspace(0, space.L / 2, 10) ** 2) * np.pi) / len(R)
    np.testing.assert_allclose(g.error["up-up"][:8], np.where(expected, 0, one_pair)[:8], atol=1e-12)

    q = 2 * np.pi / space.L * np.array([[0, 0], [4, 0], [4, 4], [1, 0], [2, 3]])
    s = structure_factor(R, space, q)
    np.testing.assert_allclose(s.S, [16, 16, 16, 0, 0], atol=1e-10)
    np.testing.assert_allclose(s.error, 0, atol=1e-10)


def test_occupations_by_hand():
    K = np.array([[0, 1], [0, 2], [0, 2], [1, 2]])
    n = occupations(K, 4)
    np.testing.assert_allclose(n.n, [0.75, 0.5, 0.75, 0.0])
    np.testing.assert_allclose(n.error, np.array([0.5, np.sqrt(1 / 3), 0.5, 0.0]) / 2)
    assert np.sum(n.n) == 2


def test_occupations_of_both_species_together():
    n = occupations(np.array([[0, 1, 0, 1], [0, 1, 0, 2]], np.int32), 3)
    np.testing.assert_allclose(n.n, [2.0, 1.5, 0.5])
    np.testing.assert_allclose(n.error, [0.0, 0.5, 0.5])


@pytest.mark.parametrize("dim", [2, 3])
def test_ideal_curve_is_the_angular_average_of_the_exact_law(dim):
    gas = ElectronGas((5, 3), dim=dim, twist=0.1)
    K = np.array([0, 1, 2, 4, 7, 1, 2, 5])
    direction = np.random.default_rng(0).normal(size=(400_000, dim))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    r = np.array([0.0, 0.3, 1.1])
    exact = ideal_pair_correlation(gas.orbitals, K, r)
    for name, occupied in (("up-up", K[:5]), ("down-down", K[5:])):
        k = gas.orbitals.wavevectors[occupied]
        values = 1 - np.abs(np.exp(1j * r[:, None, None] * (direction @ k.T)).sum(-1)) ** 2 / len(k) ** 2
        np.testing.assert_allclose(
            exact[name], values.mean(1), atol=5 * values.std(1).max() / np.sqrt(400_000) + 1e-12
        )
        assert abs(exact[name][0]) < 1e-12  # Pauli
    np.testing.assert_array_equal(exact["up-down"], 1.0)


@pytest.mark.parametrize("dim", [2, 3])
def test_sampled_determinant_follows_the_ideal_curve(dim):
    gas = ElectronGas((4, 3), dim=dim, twist=0.1)
    K = np.array([0, 1, 3, 5, 0, 2, 3])
    R = np.asarray(Determinantal(gas.orbitals, K).sample(seed=jax.random.key(0), sample_shape=(2000,)))
    g = pair_correlation(R, gas.space, bins=15)

    edges = np.linspace(0, gas.L / 2, 16)
    fine = edges[:-1, None] + (np.arange(200) + 0.5) / 200 * np.diff(edges)[:, None]
    curve = ideal_pair_correlation(gas.orbitals, K, fine.ravel())
    for name in g.g:
        weight = fine ** (dim - 1)
        exact = np.sum(curve[name].reshape(fine.shape) * weight, 1) / np.sum(weight, 1)
        assert within_five_sigma(g.g[name][3:], g.error[name][3:], exact[3:])

    q = allowed_wavevectors(gas.space)
    k = gas.orbitals.wavevectors
    differences = np.concatenate([(k[s][:, None] - k[s]).reshape(-1, dim) for s in (K[:4], K[4:])])
    coincidences = np.sum(np.all(np.isclose(q[:, None], differences), axis=-1), axis=1)
    s = structure_factor(R, gas.space, q)
    assert within_five_sigma(s.S, s.error, 1 - coincidences / gas.N)
    assert list(s.by_spin) == ["up-up", "up-down", "down-down"]
    np.testing.assert_allclose(
        s.by_spin["up-up"] + 2 * s.by_spin["up-down"] + s.by_spin["down-down"], s.S, atol=1e-12
    )
    for name, occupied in (("up-up", K[:4]), ("down-down", K[4:])):
        differences = (k[occupied][:, None] - k[occupied]).reshape(-1, dim)
        coincidences = np.sum(np.all(np.isclose(q[:, None], differences), axis=-1), axis=1)
        assert within_five_sigma(
            s.by_spin[name], s.by_spin_error[name], (len(occupied) - coincidences) / gas.N
        )
    assert within_five_sigma(s.by_spin["up-down"], s.by_spin_error["up-down"], 0)


def test_chunks_change_nothing(monkeypatch):
    space = Cell((3, 2), 3, 4.0)
    R = uniform(space, 101).astype(np.float32)
    q, K = allowed_wavevectors(space)[:5], np.random.default_rng(0).integers(0, 9, (101, 5))
    whole = pair_correlation(R, space, 10), structure_factor(R, space, q), occupations(K, 9)
    monkeypatch.setattr(correlations, "CHUNK_NUMBERS", 60)
    parts = pair_correlation(R, space, 10), structure_factor(R, space, q), occupations(K, 9)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), whole, parts)


def test_failed_walkers_are_left_out():
    space = Cell((3, 0), 2, 4.0)
    R = uniform(space, 40)
    failed = R.copy()
    failed[7, 1] = np.nan
    jax.tree.map(
        np.testing.assert_array_equal,
        pair_correlation(failed, space),
        pair_correlation(np.delete(R, 7, axis=0), space),
    )


def test_expected_got():
    space = Cell((2, 1), 2, 4.0)
    with pytest.raises(ValueError, match=r"Expected R of shape \(samples, 3, 2\); got \(3, 2\)"):
        pair_correlation(np.zeros((3, 2)), space)
    with pytest.raises(ValueError, match="Expected at least one finite sample"):
        pair_correlation(np.full((2, 3, 2), np.nan), space)
    with pytest.raises(ValueError, match="Expected q in multiples"):
        structure_factor(np.zeros((2, 3, 2)), space, np.array([[1.0, 0.0]]))
    with pytest.raises(ValueError, match=r"Expected orbitals between 0 and 3; got 0 \.\.\. 4"):
        occupations(np.array([[0, 4]]), 4)
