"""Gradients of F against exact enumeration over K and quadrature over R, for two electrons in a smooth
potential.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import pnct
import pnct.distributions as dist
from pnct import ElectronGas
from pnct.flows import backflow
from pnct.hamiltonian import ElectronHamiltonian
from pnct.inference.optimisation.gradients import (
    classical_scores,
    gradient,
    measured_scores,
    weighted_mean,
    without_control_variate,
)
from pnct.inference.sampling import sites as program
from pnct.inference.sampling.scores import complex_score, value_and_score
from pnct.networks.transformer import transformer

GAS = ElectronGas((2, 0), dim=2, rs=2.0, theta=0.5, twist=(0.1, 0.25), cutoff=1.0)
GRID = 48


class Cosine(eqx.Module):
    """A smooth periodic pair potential, so that quadrature converges fast; lopsided, so that wrong signs
    show.
    """

    L: float

    def __call__(self, R):
        x, y = 2 * np.pi * (R[0] - R[1]) / self.L
        return 0.3 * jnp.cos(x) + 0.2 * jnp.cos(y) * jnp.cos(x)


def model(gas):
    occupation = pnct.module("occupation", transformer(gas, layers=1, width=8, heads=2))
    flow = pnct.module("flow", backflow(gas.space, depth=1, width=4))
    K = pnct.sample("K", dist.Occupation(gas, occupation))
    return pnct.sample("R", dist.Born(gas.orbitals, K, flow))


def energies(gas):
    return ElectronHamiltonian(gas.temperature, gas.E_F, 1 / (2 * gas.rs**2), Cosine(gas.L))


@pytest.fixture(scope="module")
def setting():
    """Randomised parameters, the laws, all K, and relative positions: everything depends on r_1 -
    r_2 alone.
    """
    params = program.init_params(model, jax.random.key(1), (GAS,))
    flat, unravel = ravel_pytree(params)
    params = unravel(flat + 0.15 * jax.random.normal(jax.random.key(2), flat.shape))
    M = len(GAS.orbitals)
    K = jnp.array([(i, j) for i in range(M) for j in range(i + 1, M)])
    # Shifted so that no grid point is a node of Psi, where the local energy is 0/0.
    x, y = ((np.arange(GRID) + shift) * GAS.L / GRID for shift in (0.31, 0.57))
    r = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    R = jnp.stack([r, np.zeros_like(r)], axis=1)
    return params, program.read_sites(model, params, (GAS,)), K, R


def exact_values(params, sites, K, R):
    """ln p(K), |Psi_K(R)|^2 as a weight, E_loc: arrays (K,), (K, R), (K, R)."""

    def one(K, R):
        values = {"K": K, "R": R}
        born = program.trace_sites(model, params, values, (GAS,))["R"]["fn"].distribution
        e = energies(GAS).local_energy(born, R)
        return jnp.exp(2 * born.log_psi(R).real), e.kinetic + e.potential

    log_prob = jax.vmap(lambda K: program.log_prob(model, sites, params, {"K": K, "R": R[0]}, (GAS,)))(K)
    weight, energy = jax.vmap(lambda K: jax.lax.map(lambda R: one(K, R), R, batch_size=64))(K)
    # r_1 runs over the cell on the grid, r_2 over its volume.
    return log_prob, weight * GAS.L**2 * (GAS.L / GRID) ** 2, energy


@jax.jit
def exact_free_energy(params, K, R):
    sites = program.read_sites(model, params, (GAS,))
    log_prob, weight, energy = exact_values(params, sites, K, R)
    E_K = jnp.sum(weight * energy.real, axis=1) / jnp.sum(weight, axis=1)
    return jnp.sum(jnp.exp(log_prob) * (GAS.temperature * log_prob + E_K))


def test_laws_are_read_off_the_model(setting):
    _, sites, _, _ = setting
    assert (sites.measured, sites.classical, sites.observed, sites.state) == ("R", ("K",), (), ("K",))
    assert (sites.classical_params, sites.measured_params) == (("occupation",), ("flow",))
    assert (sites.shape, sites.dims, sites.continuous) == ((2, 2), ("electron", "axis"), ())


def test_both_gradients_equal_the_derivative_of_the_exact_free_energy(setting):
    params, sites, K, R = setting

    @jax.jit
    def score_gradient(params):
        log_prob, weight, energy = exact_values(params, sites, K, R)
        p = jnp.exp(log_prob)

        def scores(K):
            classical = jax.grad(lambda q: program.log_prob(model, sites, q, {"K": K, "R": R[0]}, (GAS,)))(
                params
            )

            def quantum(R):
                def f(q):
                    return program.log_modulus_and_phase(model, sites, q, {"K": K, "R": R}, (GAS,))

                return complex_score(f, params)

            return classical, jax.lax.map(quantum, R, batch_size=64)

        classical, quantum = jax.lax.map(scores, K)
        E_K = jnp.sum(weight * energy.real, axis=1)
        F_K = GAS.temperature * log_prob + E_K
        joint = (
            (p[:, None] * weight)[..., None] * 2 * jnp.stack([energy.real - E_K[:, None], energy.imag], -1)
        )
        return jax.tree.map(
            lambda c, q: jnp.tensordot(p * F_K, c, 1) + jnp.tensordot(joint, q, 3), classical, quantum
        )

    expected, _ = ravel_pytree(jax.grad(exact_free_energy)(params, K, R))
    found, _ = ravel_pytree(score_gradient(params))
    assert np.linalg.norm(expected) > 1e-2
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.linalg.norm(expected))


def test_sampled_gradient_agrees_with_the_exact_one(setting):
    """Without clipping, the mean of many walkers' gradients is the exact gradient within 5 sigma."""
    params, sites, K, R = setting
    expected, unravel = ravel_pytree(jax.grad(exact_free_energy)(params, K, R))

    @jax.jit
    def batch(key):
        def walker(key):
            K_key, R_key = jax.random.split(key)
            values = program.draw_classical(model, sites, params, K_key, (GAS,))
            log_prob = program.log_prob(model, sites, params, values, (GAS,))
            born, R, _ = program.draw_measured(model, sites, params, values, R_key, (GAS,))
            values, e = values | {"R": R}, energies(GAS).local_energy(born, R)
            classical = {"occupation": params["occupation"]}
            quantum = {"flow": params["flow"]}
            return (
                log_prob,
                e.kinetic + e.potential,
                value_and_score(
                    lambda p: program.log_prob(model, sites, params | p, values, (GAS,)), classical
                )[1],
                complex_score(
                    lambda p: program.log_modulus_and_phase(model, sites, params | p, values, (GAS,)), quantum
                ),
            )

        log_prob, energy, rows_c, rows_q = jax.vmap(walker)(jax.random.split(key, 512))
        weight = jnp.ones(512)
        c = gradient(classical_scores(rows_c, log_prob, energy, GAS.temperature, weight, GAS.N, clip=np.inf))
        q = gradient(measured_scores(rows_q, log_prob, energy, weight, 1, clip=np.inf))
        return ravel_pytree(c | q)[0]

    batches = np.stack([batch(key) for key in jax.random.split(jax.random.key(4), 80)])
    # Baselines fitted to the same walkers take 1/512 of the gradient away.
    error = batches.std(0, ddof=1) / np.sqrt(len(batches))
    same_order, _ = ravel_pytree({name: unravel(expected)[name] for name in ("occupation", "flow")})
    pull = (batches.mean(0) - same_order) / np.maximum(error, 1e-12)
    moving = np.abs(same_order) > 1e-10
    assert np.max(np.abs(pull[moving])) < 5
    assert np.mean(pull[moving] ** 2) < 2


def test_detrending_removes_a_linear_baseline_and_ignores_failed_walkers():
    x = jnp.array([1.0, 2.0, 4.0, 7.0])
    weight = jnp.array([1.0, 1.0, 2.0, 0.0])
    y = without_control_variate(3 * x + 1, x, weight)
    assert float(jnp.ptp(y[:3])) < 1e-12
    assert float(weighted_mean(jnp.array([1.0, 3.0, jnp.nan]), jnp.array([1.0, 3.0, 0.0]))) == 2.5


def test_a_state_that_p_has_lost_is_no_outlier():
    """In a cold gas with a good flow F_loc hardly varies; a state 5 T below keeps its residual, one 1000 T
    above does not.
    """
    T = 0.1
    log_prob, energy = jnp.zeros(1000).at[0].set(-5.0), jnp.zeros(1000, complex).at[1].set(1000 * T)
    scores = classical_scores({"logit": jnp.ones((1000, 1))}, log_prob, energy, T, jnp.ones(1000), 1)
    lost, outlier = scores.residual[:2] / T
    assert -6.5 < lost < -5.5 and outlier < 11
