"""Three free electrons whose p(K) has wrong levels: its law and energies by enumeration, and draws of it."""

from functools import cache
from itertools import combinations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from made_up_draws import draws_of_states

from pnct import ElectronGas
from pnct.distributions import Occupation, transformer

GAS = ElectronGas((3, 0), dim=2, rs=1.0, theta=0.5, twist=0.1, cutoff=2.0)
LEVELS = int(GAS.shell_index.max()) + 1
WRONG = 0.2 * np.sin(1.0 + np.arange(LEVELS))  # in units of T: the levels of p(K) are off by this
STATES = np.array(list(combinations(range(len(GAS.orbitals)), 3)))
ENERGIES = np.asarray(GAS.orbital_energies)[STATES].sum(axis=1)
T = float(GAS.temperature)


def occupation(shifts):
    return eqx.tree_at(lambda o: o.energy_shifts, transformer(GAS)(jax.random.key(0)), jnp.asarray(shifts))


def exact(shifts):
    """ln p, S and F of the law, by enumeration."""
    return enumerated(tuple(shifts))


@cache
def enumerated(shifts):
    log_p = np.asarray(Occupation(GAS, occupation(shifts)).log_prob(STATES))
    p = np.exp(log_p)
    return log_p, -np.sum(p * log_p), np.sum(p * (T * log_p + ENERGIES))


def draws(shifts, num_samples, noise, seed=0):
    """Samples of the law, with a local energy that fluctuates about E_K by `noise` times T."""
    log_p = exact(shifts)[0]
    rng = np.random.default_rng(seed)
    i = rng.choice(len(STATES), num_samples, p=np.exp(log_p) / np.sum(np.exp(log_p)))
    energy = ENERGIES[i] + noise * T * rng.normal(size=num_samples) + 0.3j
    return draws_of_states(STATES[i], log_p[i], energy, T)
