"""The published trained networks of the 2D gas, N = 29, sampled exactly: no bias of a short Markov chain."""

import jax
import numpy as np
import pytest
from jax import random
from reference_network import as_ferminet, load

from pnct.coulomb import Coulomb, ewald
from pnct.distributions import Born
from pnct.estimate import mean_of_independent
from pnct.hamiltonian import Hamiltonian


def draw_occupations(occupation, num_samples, seed):
    """K ~ p(K), one electron after another."""
    rng, M, N = np.random.default_rng(seed), len(occupation.orbitals), occupation.num_electrons
    K = np.zeros((num_samples, N), int)
    for t in range(N):
        for k in K:
            lower = k[t - 1] + 1 if t else 0
            allowed = occupation.logits(k)[t, lower : M - N + t + 1]
            p = np.exp(allowed - allowed.max())
            k[t] = lower + rng.choice(len(p), p=p / p.sum())
    return K


@pytest.mark.slow
def test_exact_samples_of_the_trained_network_at_rs_10(reference):
    """E = -487.9(3), V = -569.3(3) in total, Ry/rs^2; the training log says V = -567.71. 4 sigma of both errors together."""
    trained = load(reference, 10.0)
    flow = as_ferminet(trained.flow, trained.orbitals.cell)
    energy = Hamiltonian(0.0, 1.0, 1 / (2 * trained.rs**2), Coulomb(trained.rs, ewald(trained.orbitals.cell)))

    @jax.jit
    def sample(K, key):
        born = Born(trained.orbitals, K, flow)
        R = born.sample(seed=key)
        e = energy(born, R)
        return e.kinetic, e.potential, e.det_sign

    num_samples = 4000
    K = draw_occupations(trained.occupation, num_samples, seed=0)
    keys = random.split(random.key(0), num_samples)
    kinetic, potential, sign = jax.lax.map(lambda a: sample(*a), (K, keys), batch_size=4)
    assert np.all(np.isfinite(kinetic)) and np.all(sign > 0)

    unit = 2 * trained.rs**2  # Ry/rs^2 in hartree
    E = mean_of_independent(unit * (np.asarray(kinetic).real + potential))
    V = mean_of_independent(unit * np.asarray(potential))
    print(f"E = {E}, V = {V}")
    assert abs(E.value + 487.88) < 4 * np.hypot(E.error, 0.25)
    assert abs(V.value + 569.25) < 4 * np.hypot(V.error, 0.23)
    assert abs(V.value + 567.71) > 4 * V.error
