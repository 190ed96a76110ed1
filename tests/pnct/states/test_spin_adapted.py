"""Spin-adapted states: their definition, parity, exchange splitting, and samples. Statistical checks allow 5
sigma.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from identity_flow import Identity
from jax import random
from small_flow import random_positions

from pnct.distributions import Born
from pnct.distributions.determinantal import Determinantal
from pnct.hamiltonian import hamiltonian
from pnct.states.slater import SlaterDeterminants, as_states
from pnct.states.spin_adapted import spin_adapted
from pnct.systems.electron_gas import ElectronGas

SIGMA = 5
PAIR = ElectronGas((1, 1), 2, rs=3.0, twist=0.25, cutoff=2.0)
GASES = {
    "2D": ElectronGas((2, 2), 2, twist=0.1, cutoff=3.0),
    "3D": ElectronGas((1, 1), 3, twist=(0.1, 0.2, 0.0), cutoff=3.0),
}
STATES = {"2D": [[0, 3, 0, 3], [0, 3, 1, 2], [1, 2, 0, 3], [0, 3, 0, 2]], "3D": [[1, 1], [0, 2], [2, 0]]}
cases = pytest.mark.parametrize(("gas", "K"), [(name, K) for name, Ks in STATES.items() for K in Ks])


@cases
def test_is_the_combination_of_two_determinants(gas, K):
    gas, K = GASES[gas], np.array(K)
    zeta = random_positions(gas.space)
    flipped = np.concatenate(np.split(K, 2)[::-1])
    phi, phi_flipped = (np.exp(complex(as_states(gas.orbitals).log_amplitude(k, zeta))) for k in (K, flipped))
    parity = 1 if K.tolist() < flipped.tolist() else -1
    expected = phi if K.tolist() == flipped.tolist() else (phi + parity * phi_flipped) / np.sqrt(2)
    states = spin_adapted(gas.orbitals)
    found = np.exp(complex(states.log_amplitude(K, zeta)))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    # what the other species would see: +1 or -1, as the quantum number says
    turned = np.exp(complex(states.log_amplitude(K, states.flip(zeta))))
    np.testing.assert_allclose(turned, (1 - 2 * states.quantum_numbers(K)[-1]) * found, rtol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
@pytest.mark.parametrize("K", [(1, 1), (0, 2), (2, 0)])
def test_samples(K, dtype):
    """|Phi|^2 = [1 +- cos((k_a - k_b).r)]/V^2, and uniform for equal orbitals: moments of cos(q.r) and of the
    centre.
    """
    states, n = spin_adapted(PAIR.orbitals), 16384

    def draw(key):
        return Determinantal(states, jnp.array(K), dtype).sample(seed=key)

    R = np.asarray(
        jax.jit(lambda keys: jax.lax.map(draw, keys, batch_size=64))(random.split(random.key(0), n)), float
    )
    q = PAIR.orbitals.wavevectors[K[0]] - PAIR.orbitals.wavevectors[K[1]]
    side = 2 * np.pi / PAIR.L * np.array([1.0, 2.0])
    phases = np.stack(
        [
            (R[:, 0] - R[:, 1]) @ q,
            (R[:, 0] - R[:, 1]) @ (q + side),
            R[:, 0] @ side,
            (R[:, 0] + R[:, 1]) @ side,
        ]
    )
    expected = np.array([{(1, 1): 1.0, (0, 2): 0.5, (2, 0): -0.5}[K], 0, 0, 0])
    values = np.cos(phases)
    assert np.all(np.abs(values.mean(axis=1) - expected) <= SIGMA * values.std(axis=1) / np.sqrt(n) + 1e-6)


def test_exchange_splits_singlet_and_triplet():
    """<V> of the even and of the odd state differ by 2 v(k_a - k_b)/V, in 2D v = 2 pi/q, in units
    of 1/r_s.
    """
    states = spin_adapted(PAIR.orbitals)
    local = hamiltonian(PAIR)

    @jax.jit
    def energies(K, keys):
        born = Born(states, K, Identity())
        return jax.lax.map(lambda key: local.local_energy(born, born.sample(seed=key)), keys, batch_size=256)

    even, odd = (
        energies(jnp.array(K), random.split(random.key(i), 16384)) for i, K in enumerate([(0, 2), (2, 0)])
    )
    q = np.linalg.norm(PAIR.orbitals.wavevectors[0] - PAIR.orbitals.wavevectors[2])
    difference = np.mean(even.potential) - np.mean(odd.potential)
    error = np.hypot(np.std(even.potential), np.std(odd.potential)) / 128
    assert abs(difference - 2 * (2 * np.pi / q) / PAIR.L**2 / PAIR.rs) < SIGMA * error < 0.2 * difference
    np.testing.assert_allclose(even.kinetic, PAIR.orbital_energies[np.array([0, 2])].sum(), rtol=1e-9)


def test_other_numbers_of_electrons_keep_their_determinants():
    for numbers in ((2, 0), (2, 1), (0, 3)):
        table = ElectronGas(numbers, 2).orbitals
        states = spin_adapted(table)
        assert isinstance(states, SlaterDeterminants) and len(states) == len(table)
        assert spin_adapted(states) is states
