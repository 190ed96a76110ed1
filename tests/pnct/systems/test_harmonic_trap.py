"""Electrons in a trap: exact partition functions, sampler, local energy, and messages."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from pnct import HarmonicTrap, coulomb, hamiltonian, ideal_gas
from pnct.distributions import Born, Determinantal
from pnct.flows import backflow, by_sector, continuous, ferminet, separated_centre_of_mass
from pnct.orbitals.rotated import rotated_orbitals

SIGMA = 5


def random_flow(make, spread):
    rng = np.random.default_rng(7)
    return jax.tree.map(
        lambda x: jnp.asarray(spread * rng.normal(size=x.shape)), jax.eval_shape(make, random.key(0))
    )


def z_scores(samples, expected):
    """(mean - expected)/error of independent samples along the first axis."""
    return (samples.mean(axis=0) - expected) / (samples.std(axis=0, ddof=1) / np.sqrt(len(samples)))


@pytest.mark.parametrize(("dim", "beta"), [(2, 1.0), (2, 5.0), (3, 2.0)])
def test_ideal_dot(dim, beta):
    """One and two fermions in closed form: Z_1 = (2 sinh(beta/2))^-dim, Z_2 = (Z_1(beta)^2 -
    Z_1(2 beta))/2.
    """

    def Z1(beta):
        return (2 * np.sinh(beta / 2)) ** -dim

    F1, F2 = -np.log(Z1(beta)) / beta, -np.log((Z1(beta) ** 2 - Z1(2 * beta)) / 2) / beta
    for num_electrons, F in (((1, 0), F1), ((2, 0), F2), ((1, 1), 2 * F1), ((2, 1), F2 + F1)):
        trap = HarmonicTrap(num_electrons, beta=beta, dim=dim)
        ideal = ideal_gas(trap)
        np.testing.assert_allclose(ideal.free_energy, F, rtol=0, atol=2e-4 / beta * trap.N)
        assert ideal.free_energy > F  # a finite table
        np.testing.assert_allclose(ideal.occupations.sum(axis=1), num_electrons, rtol=1e-12)


@pytest.mark.parametrize(("K", "dim"), [([0, 2], 2), ([0, 1, 2], 2), ([1, 4, 7], 2), ([0, 3, 9], 3)])
def test_density_and_pair_density_of_free_fermions(K, dim):
    """<sum_i f(r_i)> and <sum_{i != j} f(r_i) g(r_j)> by Wick's theorem, matrix elements by Gauss-Hermite
    quadrature.
    """
    trap = HarmonicTrap((len(K), 0), cutoff=4, dim=dim)
    orbitals = trap.orbitals
    draw = jax.jit(
        lambda keys: jax.lax.map(
            lambda k: Determinantal(orbitals, jnp.array(K)).sample(seed=k), keys, batch_size=64
        )
    )
    R = np.asarray(draw(random.split(random.key(0), 8192)))
    assert np.all(np.isfinite(R))

    observables = [
        lambda r: r[..., 0] ** 2,
        lambda r: np.cos(r[..., 0] + 2 * r[..., 1]),
        lambda r: np.exp(-(r[..., 1] ** 2)) + r[..., 0],
    ]
    x, w = np.polynomial.hermite.hermgauss(60 if dim == 2 else 30)
    points = np.stack(np.meshgrid(*[x] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    weights = np.prod(np.meshgrid(*[w] * dim, indexing="ij"), axis=0).ravel()
    weights = weights * np.exp(np.sum(points**2, axis=-1))
    phi = np.asarray(orbitals.matrix(jnp.array(K), jnp.asarray(points)))
    elements = [np.einsum("p,pk,p,pl->kl", weights, phi.conj(), f(points), phi) for f in observables]

    for f, A in zip(observables, elements, strict=True):
        assert abs(z_scores(f(R).sum(axis=1), np.trace(A).real)) < SIGMA
    for (f, A), (g, B) in itertools.combinations_with_replacement(
        list(zip(observables, elements, strict=True)), 2
    ):
        pairs = f(R).sum(axis=1) * g(R).sum(axis=1) - (f(R) * g(R)).sum(axis=1)
        assert abs(z_scores(pairs, (np.trace(A) * np.trace(B) - np.trace(A @ B)).real)) < SIGMA


def test_free_electrons_have_no_variance():
    """At the identity flow and without interaction, the local energy of every state is its ideal energy."""
    trap = HarmonicTrap((2, 1), coupling=3.0, cutoff=4)
    K = jnp.array([1, 6, 3])
    flow = jax.tree.map(jnp.zeros_like, random_flow(continuous(trap.space, width=3), 1.0))
    R = random.normal(random.key(0), (3, 2))
    born = Born(trap.orbitals, K, flow)
    local = jax.jit(lambda R: [hamiltonian(trap, x).local_energy(born, R) for x in (None, coulomb)])
    free, interacting = local(R)
    np.testing.assert_allclose(free.total, np.sum(trap.orbital_energies[np.asarray(K)]), rtol=1e-12)
    distances = [np.linalg.norm(R[i] - R[j]) for i, j in itertools.combinations(range(3), 2)]
    np.testing.assert_allclose(
        interacting.total - free.total, 3 * np.sum(1 / np.array(distances)), rtol=1e-12
    )
    assert free.diagnostics == {"log_det_jacobian": 0, "det_sign": 1}


def separated(space, width):
    return separated_centre_of_mass(space, continuous(space, width=width))


@pytest.mark.parametrize(
    ("make", "tolerance"),
    [(separated, 1e-4), pytest.param(ferminet, 1e-6, marks=pytest.mark.slow), (backflow, 1e-6)],
)
def test_local_energy_against_finite_differences(make, tolerance):
    """The continuous flow within the error of its integrated ln|det J|."""
    trap = HarmonicTrap((2, 1), coupling=2.0, cutoff=4)
    born = Born(trap.orbitals, jnp.array([0, 4, 1]), random_flow(make(trap.space, width=4), 0.3))
    R, h = np.random.default_rng(1).normal(size=(3, 2)), 2e-3
    steps = h * np.eye(R.size).reshape(-1, *R.shape)
    batch = np.stack([R + c * steps for c in (-2, -1, 0, 1, 2)])
    log = np.asarray(jax.jit(lambda R: jax.lax.map(jax.vmap(born.log_psi), R))(batch))
    log = log - log[2, 0]
    psi = np.exp(log)
    laplacian = np.sum(np.array([-1, 16, -30, 16, -1]) @ psi) / (12 * h**2)
    local = jax.jit(lambda R: hamiltonian(trap).local_energy(born, R))(R)
    np.testing.assert_allclose(local.kinetic, -laplacian / 2, rtol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("num_electrons", [(2, 0), (1, 1)])
def test_orthonormal(num_electrons):
    """<Psi_K|Psi_K'> = delta by quadrature in all four coordinates, for states of the same and of other
    angular momenta, which have flows of their own; the cusp at coalescence leaves 2e-3.
    """
    trap = HarmonicTrap(num_electrons, cutoff=3)
    flow, rng = (
        separated_centre_of_mass(trap.space, continuous(trap.space, depth=1, width=5, steps=8)),
        np.random.default_rng(7),
    )
    flows = jax.tree.map(
        lambda x: 0.2 * rng.normal(size=x.shape), by_sector(trap.orbitals, flow)(random.key(0))
    )
    orbitals = rotated_orbitals(trap.orbitals)(random.key(0))
    orbitals = eqx.tree_at(lambda mixed: mixed.angles, orbitals, orbitals.angles + 3.0)
    Ks = jnp.array([[0, 1], [2, 3], [0, 2], [1, 2], [0, 4]])  # M = 1, 1, -1, 0, -2
    axis = np.linspace(-5.5, 5.5, 21)
    R = np.stack(np.meshgrid(*[axis] * 4, indexing="ij"), axis=-1).reshape(-1, 21, 2, 2)

    def amplitudes(R):
        return jax.vmap(lambda K: jnp.exp(Born(orbitals, K, flows(orbitals.quantum_numbers(K))).log_psi(R)))(
            Ks
        )

    psi = np.asarray(jax.jit(lambda R: jax.lax.map(jax.vmap(amplitudes), R))(R)).reshape(-1, len(Ks))
    moved = jax.jit(lambda R: [flows(orbitals.quantum_numbers(Ks[i]))(R) - R for i in (0, 3, 4)])(R[3000, 7])

    def farthest(x):
        return np.max(np.abs(x), axis=(1, 2))

    assert np.min(farthest(np.array(moved))) > 0.05 and np.min(farthest(np.diff(moved, axis=0))) > 0.02
    overlap = psi.conj().T @ psi * (axis[1] - axis[0]) ** 4
    np.testing.assert_allclose(overlap, np.eye(len(Ks)), rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"cutoff": 1, "num_electrons": (4, 0)},
            r"Expected num_orbitals >= num_electrons; got 3 < 4\. Raise `cutoff`",
        ),
        ({"coupling": -1.0}, r"Expected coupling >= 0; got -1\.0"),
        ({"beta": 0.0}, r"Expected beta > 0; got 0\.0"),
        ({"beta": -2.0}, r"Expected beta > 0; got -2\.0"),
        ({"cutoff": -1}, r"Expected cutoff >= 0; got -1"),
        ({"dim": 1}, r"Expected dim = 2 or 3; got 1"),
        ({"num_electrons": (0, 0)}, r"Expected num_electrons = \(up, down\) >= 0 and not both 0"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        HarmonicTrap(**arguments)
