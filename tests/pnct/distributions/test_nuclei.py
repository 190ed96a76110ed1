"""Classical protons: their density, their constants, and samples of it. Statistics: 5 sigma."""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_flow import random_flow

from pnct import Hydrogen
from pnct.distributions import Nuclei
from pnct.flows import Composed, continuous, ferminet

PLASMA = Hydrogen((0, 0), 2, rs=4.0, temperature=0.2)
KEY = jax.random.key
GASES = [(1, 2.0, 0.1), (2, 2.0, 0.1), (2, 4.0, 0.2), (16, 1.25, 6000 * 3.166811563e-6)]


def law(plasma=PLASMA, spread=0.15):
    def flow(key):
        space = plasma.proton_space
        return Composed((continuous(space, depth=1, width=4)(key), ferminet(space, depth=1, width=4)(key)))

    return Nuclei(plasma, random_flow(flow, spread))


@pytest.mark.parametrize(("N", "rs", "T"), GASES)
def test_without_interaction_it_is_the_ideal_gas(N, rs, T, reference):
    """Sackur and Tetrode: F = T log_prob + 3 N_p T/2, S = -log_prob, the same for every X."""
    plasma = Hydrogen((0, 0), N, rs=rs, temperature=T)
    flow = ferminet(plasma.proton_space, depth=1, width=2)(KEY(0))
    log_prob = jax.jit(Nuclei(plasma, flow).log_prob)(jnp.ones((N, 3)))
    found = {
        "F (total)": T * log_prob + plasma.proton_kinetic_energy,
        "S (total, momenta included)": -log_prob,
    }
    with open(reference / "hydrogen.csv") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["system"].startswith("ideal gas")
            and (int(row["n_protons"]), float(row["rs_or_length"][3:])) == (N, rs)
            and float(row["temperature_Ha"]) == pytest.approx(T, rel=1e-5)
        ]
    assert len(rows) == 2
    for row in rows:
        np.testing.assert_allclose(found[row["quantity"]], float(row["value"]), atol=1.1e-6)


def test_density_is_normalised():
    """The mean of exp(log_prob - its constant) L^6 over uniform X is 1."""
    found = law()
    X = PLASMA.L * jax.random.uniform(KEY(3), (4096, 2, 3))
    ratio = jnp.exp(jax.jit(found.log_prob)(X) - PLASMA.log_constant + 6 * np.log(PLASMA.L))
    assert np.std(ratio) > 0.1  # not uniform
    assert abs(np.mean(ratio) - 1) < 5 * np.std(ratio) / 64


def test_samples_follow_the_density():
    """Means of two functions of r_12 over samples, and over uniform X weighted with the density."""
    found = law()
    keys = (KEY(4), KEY(5))
    samples = jax.jit(lambda key: found.sample(seed=key, sample_shape=4096))(keys[0])
    assert np.all(np.isfinite(samples))
    X = PLASMA.L * jax.random.uniform(keys[1], (8192, 2, 3))
    weight = np.asarray(jnp.exp(jax.jit(found.log_prob)(X) - PLASMA.log_constant + 6 * np.log(PLASMA.L)))
    kappa = 2 * np.pi / PLASMA.L

    def observables(X):
        angle = kappa * (X[:, 0] - X[:, 1])
        return np.stack([np.cos(angle).mean(axis=1), np.prod(np.cos(angle), axis=1)])

    one, other = observables(np.asarray(samples)), observables(np.asarray(X))
    expected = (weight * other).mean(axis=1)
    error = np.sqrt(one.var(axis=1) / 4096 + (weight * (other - expected[:, None])).var(axis=1) / 8192)
    assert np.all(np.abs(one.mean(axis=1) - expected) < 5 * error)


def test_protons_are_alike_and_the_cell_is_periodic():
    found = law(Hydrogen((0, 0), 3, rs=1.0, temperature=0.5))
    X = jnp.asarray(np.random.default_rng(0).uniform(0, 2, (3, 3)))
    log_prob = jax.jit(found.log_prob)
    for same in (X[::-1], X + 0.3, X + found.plasma.L * np.array([[1.0, 0, -1]])):
        np.testing.assert_allclose(log_prob(same), log_prob(X), rtol=1e-9)


def test_a_sample_of_a_folded_flow_is_no_number():
    found = law(spread=3.0)
    samples = np.asarray(jax.jit(lambda key: found.sample(seed=key, sample_shape=256))(KEY(6)))
    whole = np.all(np.isfinite(samples), axis=(1, 2))
    nothing = np.all(np.isnan(samples), axis=(1, 2))
    assert np.all(whole | nothing) and np.any(nothing)
    J = jax.jit(jax.vmap(lambda X: found.flow.jacobian(X)[1]))(samples[whole])
    assert np.all(np.linalg.det(J) > 0)
